//! Starts that are interrupted: what had been launched for them is gone.

use std::time::Duration;

use pspawn::launcher::{Launcher, Order, StartFault, StartStep};
use pspawn::prelude::*;
use support::{DEADLINE, TestPool};

mod support;

/// Reaches a host that never says anything, by way of a child of its own.
struct Mute(String);

impl Mute {
    /// One that is known by a number of seconds that nobody else sleeps.
    fn new(number: u32) -> Mute {
        Mute(format!("{number}.{}", std::process::id()))
    }

    fn is_there(&self) -> bool {
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = pids.filter_map(|pid| std::fs::read(pid.path().join("cmdline")).ok());
        lines.any(|line| line.split(|byte| *byte == 0).any(|word| word == self.0.as_bytes()))
    }

    async fn until(&self, there: bool) {
        let begin = std::time::Instant::now();
        while self.is_there() != there {
            assert!(begin.elapsed() < DEADLINE, "sleep {}: {}", self.0, !there);
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Launcher for Mute {
    fn name(&self) -> &str {
        "mute"
    }

    fn command(&self, order: &Order<'_>) -> Result<std::process::Command, StartFault> {
        if order.host().host() == "none" {
            return Err(
                StartFault::new(StartStep::Resolve, "there is no such host").remedy("take another")
            );
        }
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("sleep {}; true", self.0)]);
        Ok(command)
    }
}

#[actix::test]
async fn a_start_that_is_dropped_leaves_nothing() {
    let mute = Mute::new(47_161);
    let known = Mute(mute.0.clone());
    let builder = Pool::builder("dropped").hosts(["there"]).launcher(mute);
    let starting = Box::pin(builder.cookie(pspawn::Cookie::random().unwrap()).start());
    let there = Box::pin(known.until(true));
    let futures::future::Either::Right((_, starting)) =
        futures::future::select(starting, there).await
    else {
        panic!("nothing comes up there");
    };
    drop(starting);
    known.until(false).await;
}

#[actix::test]
async fn the_end_of_a_pool_does_not_wait_for_a_host_that_says_nothing() {
    let mute = Mute::new(47_162);
    let known = Mute(mute.0.clone());
    let pool = TestPool::start_with(0, |builder| builder.launcher(mute)).await;
    let starting = actix_rt::spawn({
        let pool = (*pool).clone();
        async move { pool.start_slave("there", "slave").await }
    });
    known.until(true).await;
    pool.stop().await;
    let failure = starting.await.unwrap().expect_err("it has not come up");
    assert_eq!((failure.step, failure.why.as_str()), (StartStep::Launch, "the pool stops"));
    known.until(false).await;
}

#[actix::test]
async fn what_a_launcher_says_of_a_host_is_what_the_start_says() {
    let pool = TestPool::start_with(0, |builder| builder.launcher(Mute::new(47_163))).await;
    let failure = pool.start_slave("none", "slave").await.expect_err("there is no such host");
    assert_eq!(failure.to_string(), "none: resolve: there is no such host; take another");
    let failure = pool.start_slave("a b", "slave").await.expect_err("it is no host's name");
    assert_eq!(failure.step, StartStep::Name);
    pool.stop().await;
}
