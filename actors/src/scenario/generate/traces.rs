//! Random supervisor traces.

use super::super::format::{Child, Restart, Shutdown, TraceOp};
use super::dice::Dice;
use super::{Strategy, Trace};

/// The trace of this seed and number.
pub(super) fn trace(seed: u64, index: u64) -> Trace {
    // Other throws than those for the scenario of the same number.
    let mut dice = Dice::new(seed ^ 0x7261_6365, index);
    let strategy = *dice.one_of(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]);
    let count = dice.between(1, 6);
    let children: Vec<Child> = (0..count).map(|at| child(&mut dice, at, 3)).collect();
    let mut known = children.clone();
    let count = dice.between(3, 16);
    let ops = (0..count).map(|at| op(&mut dice, &mut known, at + 1 == count)).collect();
    Trace {
        id: format!("t{seed}-{index:05}"),
        title: None,
        style: None,
        strategy,
        intensity: dice.weighted(INTENSITIES),
        children,
        ops,
    }
}

/// A child that has not been before: its starts may fail this often, in percent.
fn child(dice: &mut Dice, at: usize, fails: u32) -> Child {
    let id = char::from(b'a' + u8::try_from(at).expect("children are few")).to_string();
    let fail = if dice.percent(fails) { dice.below(3) + 1 } else { 0 };
    Child { fail, ..again(dice, &id) }
}

/// A specification for this id.
fn again(dice: &mut Dice, id: &str) -> Child {
    let restart = dice.weighted(RESTARTS);
    let shutdown = dice.weighted(SHUTDOWNS);
    Child { id: id.to_owned(), restart, shutdown, fail: 0 }
}

fn op(dice: &mut Dice, known: &mut Vec<Child>, is_last: bool) -> TraceOp {
    let id = dice.one_of(known).id.clone();
    if is_last && dice.percent(60) {
        return TraceOp::Stop(dice.weighted(STOPS).to_owned());
    }
    match dice.below(100) {
        0..=49 => TraceOp::Die { id, reason: dice.weighted(REASONS).to_owned() },
        50..=60 => TraceOp::Fail { id, starts: dice.below(3) + 1 },
        61..=71 => TraceOp::Terminate(stranger(dice, id)),
        72..=81 => TraceOp::Restart(stranger(dice, id)),
        82..=88 => TraceOp::Delete(stranger(dice, id)),
        89..=97 => {
            // A new one, or one that is or was there already.
            let is_new = dice.percent(50) && known.len() < 10;
            let child = match is_new {
                true => child(dice, known.len(), 15),
                false => again(dice, &id),
            };
            if is_new {
                known.push(child.clone());
            }
            TraceOp::Start(child)
        }
        _ => TraceOp::Stop(dice.weighted(STOPS).to_owned()),
    }
}

/// This id, now and then one that nobody has.
fn stranger(dice: &mut Dice, id: String) -> String {
    if dice.percent(5) { "z".to_owned() } else { id }
}

const INTENSITIES: &[(u32, u32)] =
    &[(2, 0), (2, 1), (2, 2), (2, 3), (3, 4), (3, 5), (3, 6), (3, 7), (4, 8)];

const RESTARTS: &[(u32, Restart)] =
    &[(5, Restart::Permanent), (4, Restart::Transient), (2, Restart::Temporary)];

const SHUTDOWNS: &[(u32, Shutdown)] =
    &[(5, Shutdown::Millis(2000)), (2, Shutdown::BrutalKill), (2, Shutdown::Infinity)];

const REASONS: &[(u32, &str)] =
    &[(5, "boom"), (3, "normal"), (2, "shutdown"), (2, "shutdown:x"), (2, "killed"), (1, "noproc")];

const STOPS: &[(u32, &str)] =
    &[(2, "normal"), (2, "shutdown"), (2, "boom"), (1, "shutdown:x"), (1, "killed")];
