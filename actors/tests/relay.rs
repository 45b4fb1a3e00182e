//! Relays: addresses in arguments and messages, and chains that break as a whole.

#[path = "support/pool.rs"]
mod support;

use pspawn::prelude::*;
use pspawn_actors::echo::{Echo, Say};
use pspawn_actors::relay::{Redirect, Relay};
use support::on_pool;

#[test]
fn what_is_said_goes_down_the_chain_and_the_answer_comes_back() {
    on_pool(|pool| async move {
        let nodes = pool.nodes().await?;
        let echo = pool.spawn_on::<Echo>(nodes[0], ()).await?;
        let second = pool.spawn_on::<Relay>(nodes[2], echo.recipient()).await?;
        let first = pool.spawn_on::<Relay>(nodes[1], second.recipient()).await?;
        assert_eq!(first.send(Say("pass it on".to_owned())).await?, "pass it on");
        Ok(())
    });
}

#[test]
fn a_chain_breaks_as_a_whole_when_its_end_is_lost() {
    on_pool(|pool| async move {
        let nodes = pool.nodes().await?;
        let mut me = pool.mailbox();
        let echo = pool.spawn_on::<Echo>(nodes[2], ()).await?;
        let relay = pool.spawn_on::<Relay>(nodes[1], echo.recipient()).await?;
        relay.send(Say("linked by now".to_owned())).await?;
        me.monitor(relay.pid());
        me.exit(echo.pid(), ExitReason::exit("gone"));
        let down = me.receive::<Down>().await;
        assert_eq!((down.object, down.reason), (relay.pid().into(), ExitReason::exit("gone")));
        Ok(())
    });
}

#[test]
fn redirected_it_no_longer_cares_for_the_one_before() {
    on_pool(|pool| async move {
        let nodes = pool.nodes().await?;
        let mut me = pool.mailbox();
        let before = pool.spawn_on::<Echo>(nodes[1], ()).await?;
        let after = pool.spawn_on::<Echo>(nodes[2], ()).await?;
        let relay = pool.spawn_on::<Relay>(nodes[0], before.recipient()).await?;
        assert_eq!(relay.send(Redirect(after.recipient())).await?, before.pid());
        me.monitor(before.pid());
        me.exit(before.pid(), ExitReason::Kill);
        assert_eq!(me.receive::<Down>().await.object, before.pid());
        assert_eq!(relay.send(Say("still here".to_owned())).await?, "still here");
        Ok(())
    });
}
