//! A master may have many files and sockets open, whatever its shell says. Alone in its executable: the limit is that of
//! the OS process.

use pspawn::Cookie;
use pspawn::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn a_master_raises_the_limit_of_open_files_and_so_do_its_slaves() {
    let allowed = getrlimit(Resource::Nofile);
    let low = Rlimit { current: Some(256), maximum: allowed.maximum };
    setrlimit(Resource::Nofile, low).unwrap();
    let enough = allowed.maximum.map_or(1 << 16, |hard| hard.min(1 << 16));
    futures::executor::block_on(async {
        let pool = Pool::builder("many").cookie(Cookie::new("correct horse battery staple"));
        let pool = pool.workers(1).local(1).start().await.unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, Some(enough));
        let slave = pool.nodes().await.unwrap()[1];
        let theirs = pool.call_on::<Option<u64>>(slave, "descriptors", "limit", ()).await.unwrap();
        assert_eq!(theirs.result().await, Ok(Some(enough)));
        pool.stop().await.unwrap();
    });
}

async fn limit(_: Ctx) -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
remote_fn!("descriptors": limit);
