//! Links and monitors in thousands of orders.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Link(usize, usize),
    Unlink(usize, usize),
    Monitor(usize, usize),
    MonitorByName(usize, usize),
    /// Takes back the monitor of this number, if it is one's own.
    Demonitor(usize, u64),
    Exit(usize, usize, u8),
    End(usize, u8),
    Trap(usize, bool),
    Deliver(usize),
    /// A node loses the connection with the other.
    Cut(usize),
    /// Somebody hears of a loss.
    TellLoss(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..5usize;
    prop_oneof![
        3 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::Link(a, b)),
        2 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::Unlink(a, b)),
        2 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::Monitor(a, b)),
        2 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::MonitorByName(a, b)),
        2 => (who.clone(), 0..12u64).prop_map(|(a, number)| Act::Demonitor(a, number)),
        1 => (who.clone(), who.clone(), 0..3u8).prop_map(|(a, b, r)| Act::Exit(a, b, r)),
        1 => (who.clone(), 0..3u8).prop_map(|(a, r)| Act::End(a, r)),
        1 => (who, any::<bool>()).prop_map(|(a, on)| Act::Trap(a, on)),
        4 => (0..64usize).prop_map(Act::Deliver),
        1 => (0..2usize).prop_map(Act::Cut),
        1 => (0..64usize).prop_map(Act::TellLoss),
    ]
}

fn reason(of: u8) -> ExitReason {
    match of {
        0 => ExitReason::Normal,
        1 => ExitReason::Kill,
        _ => boom(),
    }
}

/// What two trapping actors do whose nodes cut their connection again and again.
fn act_of_a_pair() -> impl Strategy<Value = Act> {
    let pair = prop_oneof![Just((0, 2)), Just((2, 0))];
    prop_oneof![
        3 => pair.clone().prop_map(|(a, b)| Act::Link(a, b)),
        3 => pair.prop_map(|(a, b)| Act::Unlink(a, b)),
        2 => (0..2usize).prop_map(Act::Cut),
        4 => (0..64usize).prop_map(Act::Deliver),
        1 => (0..64usize).prop_map(Act::TellLoss),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// LK-1: whatever happens, in whatever order signals arrive, once all is at rest the two ends of
    /// each link agree, no living actor is tied to a dead one, and each monitor fired at most once.
    #[test]
    fn at_rest_both_ends_of_every_tie_agree(
        acts in prop::collection::vec(act(), 1..60),
        picks in prop::collection::vec(0..64usize, 64),
    ) {
        agree_at_rest(acts, &picks)?;
    }

    #[test]
    fn at_rest_a_pair_agrees_whenever_its_connection_was_cut_lk4(
        acts in prop::collection::vec(act_of_a_pair(), 1..40),
        picks in prop::collection::vec(0..64usize, 64),
    ) {
        let traps = [Act::Trap(0, true), Act::Trap(2, true)];
        agree_at_rest(traps.into_iter().chain(acts), &picks)?;
    }
}

fn agree_at_rest(
    acts: impl IntoIterator<Item = Act>,
    picks: &[usize],
) -> Result<(), TestCaseError> {
    let mut world = World::new(5);
    for act in acts {
        match act {
            Act::Link(a, b) => world.act(a, |life, out| life.link(pid(b), out)),
            Act::Unlink(a, b) => world.act(a, |life, out| life.unlink(pid(b), out)),
            Act::Monitor(a, b) if world.lives[a].is_running() => {
                world.monitor(a, b);
            }
            Act::MonitorByName(a, b) if world.lives[a].is_running() => {
                world.refs += 1;
                let monitor = Ref::new(pid(a).node(), Incarnation(1), world.refs);
                let to = To::Name(b.to_string(), pid(b).node());
                world.act(a, |life, out| life.monitor(to, monitor, out));
            }
            Act::Demonitor(a, number) if world.lives[a].is_running() => {
                let monitor = Ref::new(pid(a).node(), Incarnation(1), number);
                world.act(a, |life, out| {
                    life.demonitor(monitor, out);
                });
            }
            Act::Exit(a, b, r) if world.lives[a].is_running() => world.exit(a, b, reason(r)),
            Act::End(a, r) if world.lives[a].is_running() => world.end(a, reason(r)),
            Act::Trap(a, on) => {
                world.lives[a].trap_exits(on);
            }
            Act::Deliver(pick) => {
                world.step(pick);
            }
            Act::Cut(node) => world.cut(node),
            Act::TellLoss(pick) if !world.losses.is_empty() => world.tell_loss(pick),
            Act::TellLoss(_)
            | Act::Monitor(..)
            | Act::MonitorByName(..)
            | Act::Demonitor(..)
            | Act::Exit(..)
            | Act::End(..) => {}
        }
    }
    let mut turn = 0;
    world.settle(|| {
        turn += 1;
        picks[turn % picks.len()]
    });

    for (a, life) in world.lives.iter().enumerate() {
        let Some(ties) = &life.ties else { continue };
        prop_assert!(life.is_running());
        for (other, link) in &ties.links {
            prop_assert_eq!(link.state, LinkState::Active, "an unlink was never acknowledged");
            let b = usize::try_from(other.number()).unwrap();
            prop_assert!(
                world.lives[b].links().contains(&pid(a)),
                "{} thinks it is linked with {}",
                a,
                b
            );
        }
        for (monitor, watch) in &ties.watching {
            prop_assert!(!watch.dropped, "a monitor that was taken back is still known");
            let b = at(&watch.object);
            prop_assert_eq!(watch.who, Some(pid(b)), "who has the name was never said");
            let known = world.lives[b].ties.as_ref().and_then(|t| t.watchers.get(monitor));
            prop_assert_eq!(known.map(|watcher| watcher.pid), Some(pid(a)));
        }
        for (monitor, watcher) in &ties.watchers {
            let b = usize::try_from(watcher.pid.number()).unwrap();
            let known = world.lives[b].ties.as_ref().and_then(|t| t.watching.get(monitor));
            prop_assert_eq!(known.map(|watch| at(&watch.object)), Some(a));
        }
    }
    for notices in &world.inbox {
        let mut downs: Vec<Ref> = notices
            .iter()
            .filter_map(|n| match n {
                Notice::Down { monitor, .. } => Some(*monitor),
                Notice::Exited { .. } | Notice::NodeDown { .. } | Notice::NodeUp { .. } => None,
            })
            .collect();
        let all = downs.len();
        downs.sort_unstable();
        downs.dedup();
        prop_assert_eq!(all, downs.len(), "a monitor fired twice");
    }
    Ok(())
}
