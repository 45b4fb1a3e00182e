//! What two nodes can start that differs, in words for a person.

use std::collections::BTreeMap;

use crate::term::Kind;
use crate::wire::KindInfo;

/// What differs between what can be started here and there, a line each, in the order of names.
pub(crate) fn differences(here: &[KindInfo], there: &[KindInfo]) -> Vec<String> {
    let mut pairs = BTreeMap::<&Kind, [Option<&KindInfo>; 2]>::new();
    for (side, infos) in [here, there].into_iter().enumerate() {
        for info in infos {
            pairs.entry(&info.kind).or_default()[side] = Some(info);
        }
    }
    let mut found = Vec::new();
    for (kind, sides) in pairs {
        let name = name(kind);
        match sides {
            [Some(here), Some(there)] => {
                found.extend(of_two(here, there).iter().map(|what| format!("{name}: {what}")));
            }
            [Some(_), None] => found.push(format!("{name}: there missing")),
            [None, Some(_)] => found.push(format!("{name}: here missing")),
            [None, None] => unreachable!("it is in one of the lists"),
        }
    }
    found
}

/// The first of them on one line.
pub(crate) fn in_a_line(differences: &[String]) -> String {
    let shown = differences.len().min(SHOWN_MAX);
    let mut line = differences[..shown].join("; ");
    if shown < differences.len() {
        line += &format!("; and {} more", differences.len() - shown);
    }
    line
}

fn of_two(here: &KindInfo, there: &KindInfo) -> Vec<String> {
    let mut found = Vec::new();
    if here.params != there.params {
        found.push(format!("here {}, there {}", here.params, there.params));
    }
    if here.messages != there.messages {
        let list = |messages: &[String]| match messages {
            [] => "none".to_owned(),
            some => some.join(" "),
        };
        let (here, there) = (list(&here.messages), list(&there.messages));
        found.push(format!("messages here {here}, there {there}"));
    }
    if here.guarded != there.guarded {
        let word = |guarded| if guarded { "guarded" } else { "not guarded" };
        found.push(format!("here {}, there {}", word(here.guarded), word(there.guarded)));
    }
    found
}

/// `math.cube`; an actor type by its module alone.
fn name(kind: &Kind) -> String {
    match kind.function() {
        "new" => kind.module().to_owned(),
        function => format!("{}.{function}", kind.module()),
    }
}

/// What differs everywhere is another program: no need to say how.
const SHOWN_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_what_does_not_is_not() {
        let here = [
            info("fuse", "new", "()", &["Blow"]),
            info("counter", "new", "(start: i64)", &["Inc", "Get"]),
            info("math", "cube", "(to: Pid, x: i64)", &[]),
            info("math", "square", "(x: i64)", &[]),
        ];
        let there = [
            info("counter", "new", "(start: i64)", &["Inc"]),
            info("math", "cube", "(x: i64)", &[]),
            info("math", "square", "(x: i64)", &[]),
            KindInfo { guarded: true, ..info("os", "run", "()", &[]) },
        ];
        let expected = "counter: messages here Inc Get, there Inc; fuse: there missing; \
                        math.cube: here (to: Pid, x: i64), there (x: i64); os.run: here missing";
        assert_eq!(in_a_line(&differences(&here, &there)), expected);
        assert!(differences(&here, &here).is_empty());
    }

    #[test]
    fn one_kind_may_differ_in_all_it_has() {
        let here = [info("a", "new", "()", &[])];
        let there = [KindInfo { guarded: true, ..info("a", "new", "(x: u8)", &["M"]) }];
        let expected = ["a: here (), there (x: u8)", "a: messages here none, there M"];
        assert_eq!(differences(&here, &there)[..2], expected);
        assert_eq!(differences(&here, &there)[2], "a: here not guarded, there guarded");
    }

    #[test]
    fn another_program_altogether_does_not_fill_the_log() {
        let here: Vec<_> = (0..50).map(|at| info(&format!("m{at:02}"), "f", "()", &[])).collect();
        let line = in_a_line(&differences(&here, &[]));
        assert!(line.ends_with("m19.f: there missing; and 30 more"), "{line}");
    }

    fn info(module: &str, function: &str, params: &str, messages: &[&str]) -> KindInfo {
        KindInfo {
            kind: Kind::new(module.to_owned(), function.to_owned()),
            params: params.to_owned(),
            messages: messages.iter().map(|name| (*name).to_owned()).collect(),
            guarded: false,
        }
    }
}
