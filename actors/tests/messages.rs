//! Actors that are asked: echo, counter, os.

#[path = "support/pool.rs"]
mod support;

use pspawn::Error;
use pspawn_actors::counter::{Counter, Get, Inc};
use pspawn_actors::echo::{Echo, Say};
use pspawn_actors::os::{Os, ProcessId};
use support::on_pool;

#[test]
fn echo_answers_what_it_got_on_every_node() {
    on_pool(|pool| async move {
        for node in pool.nodes().await? {
            let echo = pool.spawn_on::<Echo>(node, ()).await?;
            assert_eq!(echo.node(), node);
            assert_eq!(echo.send(Say("grüß dich".to_owned())).await?, "grüß dich");
        }
        Ok(())
    });
}

#[test]
fn a_counter_counts_what_all_ask_it_to_from_where_it_began() {
    on_pool(|pool| async move {
        let counter = pool.pspawn::<Counter>(40).await?;
        counter.do_send(Inc(3));
        assert_eq!(counter.send(Inc(-1)).await?, 42);
        assert_eq!(counter.send(Get).await?, 42);
        counter.do_send(Inc(i64::MAX));
        assert_eq!(counter.send(Get).await?, i64::MAX);
        Ok(())
    });
}

#[test]
fn every_node_is_an_os_process_of_its_own() {
    on_pool(|pool| async move {
        let mut ids = Vec::new();
        for node in pool.nodes().await? {
            ids.push(pool.spawn_on::<Os>(node, ()).await?.send(ProcessId).await?);
        }
        assert_eq!(ids[0], std::process::id());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3);
        Ok::<(), Error>(())
    });
}
