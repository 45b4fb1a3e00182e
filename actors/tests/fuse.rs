//! The fuse: every way to end, as seen by who asked and by who is linked.

#[path = "support/pool.rs"]
mod support;

use pspawn::SendError;
use pspawn::prelude::*;
use pspawn_actors::fuse::{Blow, Burn, Divide, Fuse, Spin};
use support::on_pool;

#[test]
fn dividing_by_zero_ends_it_with_the_text_and_the_place_of_the_panic() {
    on_pool(|pool| async move {
        let mut me = pool.mailbox();
        let fuse = me.pspawn_link::<Fuse>(()).await?;
        assert_eq!(fuse.send(Divide(3)).await?, 33);
        let failed = fuse.send(Divide(0)).await;
        let Err(SendError::Exit { pid, reason: ExitReason::Panicked { text, place } }) = &failed
        else {
            panic!("{failed:?}");
        };
        assert_eq!(*pid, fuse.pid());
        assert_eq!(text, "attempt to divide by zero");
        assert!(place.contains("fuse.rs:"), "{place}");
        let reason = ExitReason::Panicked { text: text.clone(), place: place.clone() };
        assert_eq!(me.receive::<Exited>().await, Exited { pid: *pid, reason });
        Ok(())
    });
}

#[test]
fn it_blows_for_the_reason_it_is_given() {
    on_pool(|pool| async move {
        let mut me = pool.mailbox();
        let fuse = me.pspawn_link::<Fuse>(()).await?;
        let reason = ExitReason::exit("too hot");
        let failed = fuse.send(Blow("too hot".to_owned())).await.unwrap_err();
        assert_eq!(failed.exit_reason(), Some(&reason));
        assert_eq!(me.receive::<Exited>().await, Exited { pid: fuse.pid(), reason });
        Ok(())
    });
}

#[test]
fn burnt_down_it_has_ended_normally() {
    on_pool(|pool| async move {
        let mut me = pool.mailbox();
        let fuse = me.pspawn_link::<Fuse>(()).await?;
        fuse.do_send(Burn);
        let normal = Exited { pid: fuse.pid(), reason: ExitReason::Normal };
        assert_eq!(me.receive::<Exited>().await, normal);
        Ok(())
    });
}

#[test]
fn spinning_it_answers_nobody_and_can_be_killed() {
    on_pool(|pool| async move {
        let mut me = pool.mailbox();
        let fuse = me.pspawn_link::<Fuse>(()).await?;
        fuse.do_send(Spin);
        let unanswered = fuse.send(Divide(5));
        me.exit(fuse.pid(), ExitReason::Kill);
        assert_eq!(unanswered.await.unwrap_err().exit_reason(), Some(&ExitReason::Killed));
        let killed = Exited { pid: fuse.pid(), reason: ExitReason::Killed };
        assert_eq!(me.receive::<Exited>().await, killed);
        Ok(())
    });
}
