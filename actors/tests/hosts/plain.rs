//! The hosts themselves, with plain ssh: what the other tests take for granted.

use crate::capture::{Capture, Stream};
use crate::fixture::Hosts;
use crate::support::until;

#[test]
fn processes_are_found_on_their_host_and_gone_with_the_hosts() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.now("capture on");
    let session = hosts.start("h1", &["ssh", "h2", "echo a plain word; exec sleep 4714"]);
    hosts.until_with_arg("h2", "4714");
    assert_eq!(hosts.processes("h2").len(), 1, "{:?}", hosts.processes("h2"));
    assert!(hosts.processes("h3").is_empty(), "{:?}", hosts.processes("h3"));
    let sleeper = hosts.with_arg("h2", "4714").remove(0).pid;
    let mut other = hosts.start("h1", &["sh", "-c", "exec sleep 4715"]);
    hosts.until_with_arg("h1", "4715");
    hosts.signal(&other, rustix::process::Signal::KILL);
    until(|| match hosts.with_arg("h1", "4715").len() {
        0 => Ok(()),
        _ => Err("it lives on".to_owned()),
    });
    other = hosts.start("h3", &["bash", "-c", "echo a plain word > /dev/tcp/h1/22"]);
    other.wait().with_code(0);
    hosts.now("capture off");

    let capture = Capture::read(&hosts.folder().join("capture.pcap"));
    let streams: Vec<&Stream> =
        capture.streams.iter().filter(|stream| !stream.bytes.is_empty()).collect();
    let plain = streams.iter().filter(|stream| stream.has("a plain word")).count();
    assert_eq!(plain, 1, "what went around ssh");
    let ssh = streams.iter().filter(|stream| stream.bytes.starts_with(b"SSH-2.0-")).count();
    assert!(ssh >= 2 && ssh + plain >= streams.len(), "{ssh} and {plain} of {}", streams.len());
    assert!(streams.iter().all(|stream| !stream.is_tls()));

    let folder = hosts.folder().to_owned();
    drop(hosts);
    drop(session);
    assert!(!folder.exists(), "{folder:?}");
    assert!(crate::support::Process::read(sleeper).is_none_or(|process| process.args.is_empty()));
}

#[test]
fn records_of_tls_are_told_from_anything_else() {
    let is_tls = |bytes: &[u8]| {
        let nowhere = "192.0.2.1:1".parse().unwrap();
        Stream { from: nowhere, to: nowhere, bytes: bytes.to_vec() }.is_tls()
    };
    assert!(is_tls(b"\x16\x03\x01\x00\x02ab\x14\x03\x03\x00\x01c\x17\x03\x03\x00\x00"));
    assert!(is_tls(b"\x16\x03\x01\x00\x09the en"), "cut off in a record");
    assert!(is_tls(b"\x16\x03\x01\x00\x02ab\x17\x03"), "cut off in a head");
    assert!(!is_tls(b"\x17\x03\x03\x00\x02ab"), "no greeting");
    assert!(!is_tls(b"\x16\x03\x01\x00\x02abc_plain words"));
    assert!(!is_tls(b"\x16\x03\x01\xff\xff"));
    assert!(!is_tls(b"SSH-2.0-OpenSSH"));
}
