//! An actor that never lets go of its thread cannot be stopped, but everybody else goes on.

use std::sync::mpsc;

use pspawn::prelude::*;
use slog::Drain;

/// Says that it runs, and then spins until the test is over.
async fn spin(ctx: Ctx, tell: Pid, until: String) {
    ctx.send(tell, true);
    while !std::path::Path::new(&until).exists() {
        std::hint::spin_loop();
    }
}

remote_fn!("zombie": spin);

#[actix_rt::test]
async fn a_killed_actor_that_never_yields_counts_as_ended_after_the_grace_time() {
    let folder = tempfile::tempdir().unwrap();
    let until = folder.path().join("over");
    let (tell, heard) = mpsc::channel();
    let pool = Pool::builder("zombie")
        .cookie(pspawn::Cookie::new("a cookie for tests"))
        .local(0)
        .workers(2)
        .zombie_timeout(Duration::from_millis(50))
        .logger(slog::Logger::root(Tell(tell.into()).fuse(), slog::o!()))
        .start()
        .await
        .unwrap();
    let mut me = pool.mailbox();
    let args = (me.pid(), until.display().to_string());
    let spinner = me.pspawn_link_mfa("zombie", "spin", args).await.unwrap();
    assert!(me.receive_within::<bool>(Duration::from_secs(20)).await.expect("it runs"));
    me.exit(spinner, ExitReason::Kill);
    let exited: Exited = me.receive_within(Duration::from_secs(20)).await.expect("told");
    assert_eq!((exited.pid, exited.reason), (spinner, ExitReason::Killed));
    let logged = std::iter::from_fn(|| heard.recv_timeout(Duration::from_secs(20)).ok());
    assert!(logged.into_iter().any(|record| record.contains("zombie")));
    std::fs::write(&until, "").unwrap();
    pool.stop().await.unwrap();
}

/// Hands on what is logged.
struct Tell(std::sync::Mutex<mpsc::Sender<String>>);

impl Drain for Tell {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        let _ = self.0.lock().unwrap().send(record.msg().to_string());
        Ok(())
    }
}
