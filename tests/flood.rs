//! A thousand connections that say nothing, and lengths that no memory holds: real peers still get in,
//! and the memory of the OS process stays what it was. Alone in its executable, so that it measures
//! nobody else.

mod enemy;

use std::fs;
use std::time::Duration;

use futures::executor::block_on;
use pspawn::{Cookie, FreeNode, Pool, PoolBuilder};

use enemy::{Enemy, Hello, Log};

#[test]
fn a_flood_of_strangers_keeps_nobody_out_and_fills_no_memory() {
    let (logger, log) = Log::new();
    let patient = Duration::from_secs(600);
    let (pool, free) = block_on(async {
        let master = builder("target").greeting_timeout(patient).logger(logger);
        let pool = master.local(0).start().await.unwrap();
        (pool, start_free("early").await)
    });
    assert!(attach(&pool, &free));
    let before = rss_bytes();

    for number in 0..200 {
        let mut stranger = Enemy::connect(pool.address());
        stranger.send(&[0xC6, 0x7F, 0xFF, 0xFF, 0xFF]);
        stranger.is_hung_up_on();
        if number < 10 {
            log.refused(stranger.address(), "2147483647 bytes was announced");
        }
        let me = Hello::of(&format!("enemy{number}@nowhere"));
        let (mut peer, _) = Enemy::greeted(pool.address(), &me, COOKIE);
        peer.send(&[0xC6, 0x7F, 0xFF, 0xFF, 0xFF]);
        peer.is_hung_up_on();
        // The longest frame there may be, and then nothing of it.
        let (mut peer, _) = Enemy::greeted(pool.address(), &me, COOKIE);
        peer.send(&[0xC6, 4, 0, 0, 0]);
    }
    let mut silent: Vec<Enemy> = (0..1_000).map(|_| Enemy::connect(pool.address())).collect();
    silent[0].is_hung_up_on(); // too many others wait
    log.wait_for(&["refused more", "within_seconds=10"]); // LS-3

    // LS-1: somebody dials in, and somebody is dialed.
    let hidden = block_on(Pool::connect(enemy::running(&pool, COOKIE))).unwrap();
    assert_eq!(block_on(hidden.nodes()).unwrap().len(), 2);
    let late = block_on(start_free("late"));
    assert!(attach(&pool, &late));
    let grown = rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more than before");

    block_on(pool.stop()).unwrap();
    for free in [free, late] {
        block_on(free.pool().stopped());
    }
}

fn attach(pool: &Pool, free: &FreeNode) -> bool {
    block_on(pool.attach(free.pool().here(), free.pool().address())).unwrap().newly
}

async fn start_free(name: &str) -> FreeNode {
    builder(name).start_free("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn builder(name: &str) -> PoolBuilder {
    Pool::builder(name).cookie(Cookie::new(COOKIE)).workers(1)
}

/// What this OS process has in memory.
fn rss_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

const COOKIE: &str = "correct horse battery staple";
