//! Nobody on the network, and no other user of a host, learns what is none of their business.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::capture::{Capture, has};
use crate::fixture::{Hosts, this_program};
use crate::support::{Process, WORKER, until};

#[test]
fn between_hosts_there_is_nothing_but_ssh_and_tls() {
    let Some(hosts) = Hosts::up(3) else { return };
    hosts.install("tests", this_program());
    hosts.now("capture on");
    let program = ["--allow", "shell", "--", &Hosts::installed("tests")];
    let pool = hosts.pool(&["h2", "h3"], &program);
    // From master to slave and back, and from slave to slave.
    for host in ["h2", "h3"] {
        let (node, args) =
            (format!("w@{host}"), serde_json::json!([format!("echo {MARK}")]).to_string());
        let spawn = ["pspawn", "spawn", "shell", "run", &args, "--node", &node];
        let done = hosts.run("h1", &spawn).with_code(0);
        assert!(done.out.contains(MARK), "{done:?}");
    }
    let fetch = ["pspawn", "spawn", "hosts", "fetch", "[\"w@h3\", 100000]", "--node", "w@h2"];
    assert_eq!(hosts.run("h1", &fetch).with_code(0).out, "100000\n");
    let cookie = cookie(&hosts);
    hosts.stop(pool);
    hosts.now("capture off");

    let capture = Capture::read(&hosts.folder().join("capture.pcap"));
    assert!(capture.others.is_empty(), "packets of the protocols {:?}", capture.others);
    let (mut ssh, mut tls) = (0, 0);
    for stream in capture.streams.iter().filter(|stream| !stream.bytes.is_empty()) {
        let (from, to) = (stream.from, stream.to);
        let begin = String::from_utf8_lossy(&stream.bytes[..stream.bytes.len().min(80)]);
        for secret in [MARK, &cookie, PLAIN] {
            assert!(!stream.has(secret), "{secret:?} goes from {from} to {to} in the clear");
        }
        if from.port() == 22 || to.port() == 22 {
            assert!(begin.starts_with("SSH-2.0-"), "{from} to {to}: {begin:?}");
            ssh += 1;
        } else {
            assert!(stream.is_tls(), "{from} to {to}: {begin:?}");
            tls += 1;
        }
    }
    println!("{ssh} directions of ssh, {tls} of TLS");
    assert!(ssh >= 4, "two sessions, both ways");
    assert!(tls >= 6, "master and two slaves, each with each, both ways");
}

#[test]
fn the_cookie_is_nowhere_but_in_its_file() {
    let Some(hosts) = Hosts::up(3) else { return };
    let mut command = hosts.command("h1", &["env", "PSPAWN_LOG=debug", "pspawn", "start", "w"]);
    hosts.write("h1", ".hosts.erlang", "h2.\nh3.\n");
    command.args(["--allow", "shell"]);
    let mut pool = crate::support::Started::new(command);
    pool.line_with("is up: 3 nodes");
    let cookie = cookie(&hosts);
    // What a slave starts inherits nothing either.
    hosts.leave_running("h2", "sleep 4712");
    hosts.until_with_arg("h2", "4712");
    let mut looked_at = 0;
    for host in hosts.from(1) {
        for Process { pid, .. } in hosts.processes(&host) {
            for file in ["cmdline", "environ"] {
                let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                assert!(
                    !has(&text, cookie.as_bytes()),
                    "{host}: /proc/{pid}/{file} has the cookie"
                );
                looked_at += 1;
            }
        }
    }
    assert!(looked_at >= 2 * 6, "master, ssh, guards and workers");

    // A slave that crashes leaves no core, or one without it.
    for worker in hosts.with_arg("h2", WORKER) {
        worker.signal(Signal::SEGV);
    }
    hosts.until_slaves(&["h3"]);
    hosts.until_nothing_is_left(&["h2"]);
    let own =
        ["h1/root/.pspawn.cookie", "h1/tmp/pspawn-0/w.json"].map(|name| hosts.folder().join(name));
    let mut files = Vec::new();
    for host in hosts.from(1) {
        for folder in ["root", "home", "tmp"] {
            files_below(&hosts.folder().join(&host).join(folder), &mut files);
        }
        let inside = PathBuf::from(format!("/proc/{}/root", hosts.first_process(&host).unwrap()));
        for folder in ["run", "var/log", "dev/shm"] {
            files_below(&inside.join(folder), &mut files);
        }
    }
    assert!(own.iter().all(|file| files.contains(file)), "{own:?} in {files:?}");
    println!(
        "{} files, of them cores: {:?}",
        files.len(),
        files.iter().filter(|file| is_core(file)).collect::<Vec<_>>()
    );
    for file in files.iter().filter(|file| !own.contains(file)) {
        let bytes = fs::read(file).unwrap_or_default();
        assert!(!has(&bytes, cookie.as_bytes()), "{} has the cookie", file.display());
    }
    hosts.run("h1", &["pspawn", "stop"]).with_code(0);
    let said = pool.wait().with_code(0);
    assert!(!said.err.contains(&cookie) && !said.out.contains(&cookie), "{said:#?}");
    assert!(said.err.len() > 200, "it was to talk: {said:#?}");
    hosts.until_nothing_is_left(&hosts.from(1));
}

/// Nobody can join a pool without its cookie, from any host.
#[test]
fn who_has_another_cookie_is_refused() {
    let Some(hosts) = Hosts::up(2) else { return };
    let mut pool = hosts.pool(&["h2"], &[]);
    let line = pool.line_with("is up: ");
    let master = line.split_once(", master ").unwrap().1.trim_end_matches(',').to_owned();
    let script = "umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n' > other.cookie";
    hosts.sh("h1", script);
    let words = ["pspawn", "nodes", "--master", &master, "--cookie-file", "other.cookie"];
    hosts.run("h1", &words).with_code(3);
    hosts.until_slaves(&["h2"]);
    hosts.stop(pool);
}

fn cookie(hosts: &Hosts) -> String {
    let cookie = until(|| {
        fs::read_to_string(hosts.home("h1").join(".pspawn.cookie")).map_err(|why| why.to_string())
    });
    let cookie = cookie.trim().to_owned();
    assert_eq!(cookie.len(), 64);
    cookie
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

fn is_core(file: &Path) -> bool {
    file.file_name().unwrap().to_string_lossy().starts_with("core")
}

/// What a job says.
const MARK: &str = "a-word-that-nobody-else-says";
/// What the greeting and the orders of nodes have in them.
const PLAIN: &str = "cube_of";
