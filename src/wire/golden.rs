//! Golden bytes: what `docs/protocol.md` shows is what goes over the wire, byte for byte.

use std::fmt::Write;

use rmpv::Value;

use super::greeting::{Channel, Greeting, Hello, Part, Refusal, encode, proof_for_docs};
use super::*;
use crate::term::{At, Figure, HostId, Incarnation, Kind, LoadReport, Pid, Ref, Table};

#[test]
fn the_documented_bytes_are_those_of_the_wire() {
    let document = include_str!("../../docs/protocol.md");
    let mut missing = String::new();
    for (what, bytes) in samples() {
        // In the document a long frame goes over several lines.
        let shown = hex(&bytes);
        if !document.split_whitespace().collect::<Vec<_>>().join(" ").contains(&shown) {
            writeln!(missing, "{what}\n    {shown}").unwrap();
        }
    }
    assert!(missing.is_empty(), "not in docs/protocol.md:\n{missing}");
}

#[test]
fn the_documented_tags_are_those_of_the_wire() {
    let document = include_str!("../../docs/protocol.md");
    let named = ["i64", "String", "Vec<Job>", "(Pid, i64)", "Inc"];
    for name in named {
        let line = format!("| `{name}` | `{:08X}` |", tag_named(name));
        assert!(document.contains(&line), "{line}");
    }
}

#[test]
fn every_sample_reads_back_as_what_it_was() {
    for (what, bytes) in samples() {
        if let Ok(Cut::Whole(length)) = cut(&bytes, 1 << 20) {
            let greeting = what.starts_with("greeting");
            assert!(greeting || read_body(&bytes[PREFIX_BYTES..length]).is_ok(), "{what}");
            assert_eq!(bytes.len(), length, "{what}");
        }
    }
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let a: NodeName = "a@h".parse().unwrap();
    let pid = |number| Pid::new(a, Incarnation(7), number);
    let monitor = Ref::new(a, Incarnation(7), 5);
    let at = |local: &str, remote: &[&str]| At {
        host: HostId::UNKNOWN,
        local: local.parse().unwrap(),
        remote: remote.iter().map(|address| address.parse().unwrap()).collect(),
    };
    let hello = |name: &str, nonce| Hello {
        node: name.to_owned(),
        incarnation: Incarnation(7),
        part: Part::Free,
        build: "0.1.0".to_owned(),
        digest: "d".to_owned(),
        at: Some(at("127.0.0.1:4370", &[])),
        cores: 2,
        nonce: [nonce; 16],
    };
    let (dialer, listener) = (hello("a@h", 1), hello("b@h", 2));
    let prefixed = |greeting: &Greeting| framed(&encode(greeting));
    let reason = ExitReason::Exit("boom".into());
    let options = SpawnOptions {
        link: Some(pid(1)),
        monitor: None,
        leader: a,
        result: None,
        parent: Some(pid(1)),
        up: None,
        placed: true,
    };
    let order = SpawnOrder {
        question: 9,
        kind: Kind::new("math", "square"),
        args: vec![0x91, 0x07],
        options,
    };
    let signal = |signal| Control::Signal { to: 3, signal };
    let load = LoadReport {
        runnable: 1,
        running: 2,
        blocking: 0,
        delayed: 0.5,
        foreign: 0.0,
        cores: 4,
        accepted: 6,
        job: 0.25,
        prompt: true,
    };
    let figure = Figure { node: a, cores: 4, jobs: 0.5, steady: false };
    let table = Table { nodes: vec![figure], job: 0.25, choosers: 1, contains: 6 };
    let member = MemberInfo {
        node: a,
        incarnation: Incarnation(7),
        at: at("[::1]:4370", &["192.0.2.5:4711"]),
    };
    let fingerprint = "sha256:0101010101010101010101010101010101010101010101010101010101010101";
    let credentials = Credentials { ca: vec![1], cert: vec![2], key: vec![3] };
    let asked = |query| Control::Ask { question: 9, query };
    let told = |answer| Control::Told { question: 9, answer };
    let failed = |fault| Control::Failed { question: 9, fault };
    let refused = |fault| Control::SpawnRefused { question: 9, fault };
    let relay = |what| Control::Relay { peer: a, stream: monitor, what };
    let exit = |reason| signal(Signal::Exit { from: pid(1), reason });
    let mut samples = vec![
        ("greeting: Hello of the dialer", prefixed(&Greeting::Hello(dialer.clone()))),
        ("greeting: Hello of the listener", prefixed(&Greeting::Hello(listener.clone()))),
        (
            "greeting: Proof of the dialer",
            prefixed(&proof_for_docs(Channel::PLAIN, true, &dialer, &listener)),
        ),
        (
            "greeting: Proof of the listener",
            prefixed(&proof_for_docs(Channel::PLAIN, false, &dialer, &listener)),
        ),
        (
            "greeting: Proof of the dialer by TLS",
            prefixed(&proof_for_docs(Channel([3; 32]), true, &dialer, &listener)),
        ),
        ("greeting: wrong cookie", prefixed(&Greeting::Refused(Refusal::Cookie))),
        (
            "greeting: protocol",
            prefixed(&Greeting::Refused(Refusal::Protocol { here: 1, there: 2 })),
        ),
        ("greeting: name taken", prefixed(&Greeting::Refused(Refusal::NameTaken("a@h".into())))),
    ];
    let push = |head, value: &Value| {
        let mut out = Draft::default();
        frame(&mut out, 1 << 20, head, |out| rmpv::encode::write_value(&mut out.own, value))
            .unwrap()
            .unwrap();
        out.own
    };
    let mut numbered = Draft::default();
    frame_type(&mut numbered, 0, tag_named("Inc"));
    samples.extend([
        ("Type", numbered.own),
        ("Long", [&piece_head(Some(4), 2)[..], &[0x01, 0x03]].concat()),
        ("More", [&piece_head(None, 2)[..], &[0x00, 0x05]].concat()),
        ("Message", push(Head::Message { to: 3, kind: 0 }, &5.into())),
        ("Request", push(Head::Request { to: 3, kind: 0, question: 9 }, &5.into())),
        ("Reply", push(Head::Reply { question: 9 }, &12.into())),
        ("Named", push(Head::Named { name: "printer", kind: 0 }, &5.into())),
    ]);
    let controls = [
        ("Pause", Control::Pause { to: 3 }),
        ("Resume", Control::Resume { to: 3 }),
        ("Tick", Control::Tick),
        ("Load", Control::Load(load)),
        ("Table", Control::Table(table)),
        ("Chosen", Control::Chosen { number: 6, counts: vec![(a, 2)] }),
        ("Link", signal(Signal::Link { from: pid(1) })),
        ("Unlink", signal(Signal::Unlink { from: pid(1), id: 4 })),
        ("UnlinkAck", signal(Signal::UnlinkAck { from: pid(1), id: 4 })),
        ("LinkExit", signal(Signal::LinkExit { from: pid(1), reason: ExitReason::Normal })),
        ("Exit", exit(ExitReason::Kill)),
        ("Monitor", signal(Signal::Monitor { from: pid(1), monitor })),
        ("Demonitor", signal(Signal::Demonitor { from: pid(1), monitor })),
        ("Down", signal(Signal::Down { from: pid(1), monitor, reason: ExitReason::NoProc })),
        ("Found", signal(Signal::Found { from: pid(1), monitor })),
        ("Lead", signal(Signal::Lead { from: pid(1), leader: a })),
        (
            "SignalNamed",
            Control::SignalNamed {
                name: "printer".into(),
                signal: Signal::Monitor { from: pid(1), monitor },
            },
        ),
        ("reason Exit", exit(reason.clone())),
        ("reason Thrown", exit(ExitReason::Thrown("boom".into()))),
        ("reason ShutdownWith", exit(ExitReason::ShutdownWith(1.into()))),
        (
            "reason Panicked",
            exit(ExitReason::Panicked { text: "no".into(), place: "a.rs:1".into() }),
        ),
        ("reason Undef", exit(ExitReason::Undef(Kind::new("m", "f")))),
        ("Spawn", Control::Spawn(order)),
        ("Spawned", Control::Spawned { question: 9, pid: pid(3) }),
        ("SpawnRefused", refused(SpawnFault::UnknownKind)),
        ("SpawnRefused BadArguments", refused(SpawnFault::BadArguments("why".into()))),
        ("Failed Exit", failed(Fault::Exit(ExitReason::NoProc))),
        ("Failed NotAccepted", failed(Fault::NotAccepted { tag: 7 })),
        ("Failed Undecodable", failed(Fault::Undecodable("why".into()))),
        ("Failed NoAnswer", failed(Fault::NoAnswer)),
        ("Ask Place", asked(Query::Place)),
        ("Ask Unplace", asked(Query::Unplace(a))),
        ("Ask IsAlive", asked(Query::IsAlive(pid(3)))),
        ("Told Alive", told(Answer::Alive(true))),
        (
            "Ask Attach",
            asked(Query::Attach { node: a, at: at("127.0.0.1:4370", &[]), fingerprint: None }),
        ),
        (
            "Ask Attach of another host",
            asked(Query::Attach {
                node: a,
                at: at("192.0.2.5:4711", &["192.0.2.5:4711"]),
                fingerprint: Some(fingerprint.parse().unwrap()),
            }),
        ),
        ("Ask Enlist", asked(Query::Enlist(Some(credentials.clone())))),
        ("Ask HaveCall", asked(Query::HaveCall(a))),
        ("Call", Control::Call(a)),
        ("Ask Credentials", asked(Query::Credentials)),
        ("Told Credentials", told(Answer::Credentials(Box::new(credentials)))),
        ("Told Placed", told(Answer::Placed(Some(a)))),
        ("Told Placed none", told(Answer::Placed(None))),
        ("Told Loads", told(Answer::Loads(vec![(a, 0.5)]))),
        ("Told Explained", told(Answer::Explained(vec!["why".into()]))),
        (
            "Told Kinds",
            told(Answer::Kinds(vec![KindInfo {
                kind: Kind::new("m", "f"),
                params: "(i64)".into(),
                messages: Vec::new(),
                guarded: false,
            }])),
        ),
        (
            "Told Attached",
            told(Answer::Attached { already: false, differences: vec!["why".into()] }),
        ),
        ("Told Done", told(Answer::Done)),
        ("Told Refused", told(Answer::Refused("why".into()))),
        ("Members", Control::Members(vec![member])),
        ("Halt", Control::Halt),
        ("Bye", Control::Bye),
        ("Output", Control::Output { pid: pid(3), stream: Stream::Out, line: "hi".into() }),
        ("Shown", Control::Shown { lines: 64, bytes: 1_000 }),
        ("Relay Open", relay(Relayed::Open)),
        ("Relay Piece", relay(Relayed::Piece(vec![1, 2, 3]))),
        ("Relay Taken", relay(Relayed::Taken(65_600))),
        ("Relay Closed", relay(Relayed::Closed)),
    ];
    for (what, control) in controls {
        let mut out = Draft::default();
        frame_control(&mut out, 1 << 20, &control).unwrap();
        samples.push((what, out.own));
    }
    samples
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[0xC6][..], &length, body].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}
