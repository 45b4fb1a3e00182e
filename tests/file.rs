//! The master's files, from any node: read, written and listed, below the shared directories and nowhere
//! else; and nothing is left open of whom has ended.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use pspawn::prelude::*;
use pspawn::{FileError, FileKind, PoolError, StartError};
use sha2::{Digest, Sha256};
use support::{DEADLINE, TestPool};
use tempfile::TempDir;

// ---- reading and writing ------------------------------------------------------------------------

#[actix::test]
async fn what_is_written_from_any_node_is_read_on_any_other() {
    let (mut pool, dir) = shared(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    // Around the size of a chunk and of the window.
    let sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, 11 * CHUNK + 7];
    for (round, len) in sizes.into_iter().enumerate() {
        let bytes = noise(len);
        let path = format!("round {round}");
        let from = nodes[round % 3];
        assert_eq!(pool.does(from, Do::Write(path.clone(), bytes.clone())).await, Told::Done);
        assert_eq!(fs::read(dir.path().join(&path)).expect("it is there"), bytes);
        for node in &nodes {
            let told = pool.does(*node, Do::Read(path.clone())).await;
            assert_eq!(told, Told::Bytes(len, hash(&bytes)), "{len} bytes, on {node}");
        }
    }
    pool.stop().await;
}

#[actix::test]
async fn a_file_that_is_written_again_has_nothing_left_of_before() {
    let (pool, _dir) = shared(0).await;
    let files = pool.files();
    files.write("again", noise(3 * CHUNK)).await.expect("it is written");
    files.write("again", "short").await.expect("it is written");
    assert_eq!(files.read_to_string("again").await, Ok("short".to_owned()));
    pool.stop().await;
}

#[actix::test]
async fn appending_goes_on_at_the_end_also_of_several_at_once() {
    let (mut pool, dir) = shared(2).await;
    let nodes = pool.nodes().await.expect("the master answers");
    for node in &nodes {
        assert_eq!(pool.does(*node, Do::Append("log".into(), 100)).await, Told::Done);
    }
    for node in &nodes {
        pool.starts(*node, Do::Append("log".into(), 100)).await;
    }
    for _ in &nodes {
        assert_eq!(pool.next::<Told>().await, Told::Done);
    }
    let log = fs::read_to_string(dir.path().join("log")).expect("it is there");
    assert_eq!(log.lines().count(), 600);
    assert!(log.lines().all(|line| line.ends_with(" says hello")), "whole lines: {log}");
    pool.stop().await;
}

#[actix::test]
async fn a_writer_flushes_and_seeks_are_heard() {
    let (pool, dir) = shared(0).await;
    let mut writer = pool.files().create("piecewise").await.expect("it may");
    for piece in ["a", "bc", "", "def"] {
        writer.write_all(piece.as_bytes()).await.expect("it is taken");
    }
    assert_eq!(fs::read(dir.path().join("piecewise")).expect("it was made"), b"");
    writer.flush().await.expect("it is written");
    assert_eq!(fs::read(dir.path().join("piecewise")).expect("it is there"), b"abcdef");

    // Who reads it to its end and comes again sees what was written meanwhile.
    let mut reader = pool.files().open("piecewise").await.expect("it is there");
    assert_eq!((reader.len(), reader.is_empty()), (6, false));
    assert_eq!(reader.read_chunk().await, Ok(Some(b"abcdef".to_vec())));
    assert_eq!(reader.read_chunk().await, Ok(None));
    writer.write_all(b"ghi").await.expect("it is taken");
    writer.close().await.expect("it is on the disk");
    assert_eq!(reader.read_chunk().await, Ok(Some(b"ghi".to_vec())));
    assert_eq!(reader.read_chunk().await, Ok(None));
    assert_eq!(reader.read_chunk().await, Ok(None));
    reader.seek(4);
    assert_eq!(reader.read_to_string().await, Ok("efghi".to_owned()));
    pool.stop().await;
}

#[actix::test]
async fn a_seek_in_the_middle_of_a_long_file_gives_what_is_there() {
    let (pool, _dir) = shared(0).await;
    let bytes = noise(20 * CHUNK + 3);
    pool.files().write("long", &bytes).await.expect("it is written");
    let mut reader = pool.files().open("long").await.expect("it is there");
    for at in [0, 17, 5 * CHUNK, 20 * CHUNK, 3] {
        reader.seek(at as u64);
        let chunk = reader.read_chunk().await.expect("it is read").expect("there is more");
        assert_eq!(chunk, bytes[at..(at + CHUNK).min(bytes.len())], "from {at}");
    }
    reader.seek(1 << 40);
    assert_eq!(reader.read_chunk().await, Ok(None));
    pool.stop().await;
}

#[actix::test]
async fn a_hundred_slaves_processes_read_at_once() {
    let (mut pool, _dir) = shared(2).await;
    let slaves = pool.slaves().await;
    let bytes = noise(1 << 20);
    pool.files().write("shared", &bytes).await.expect("it is written");
    for number in 0..100 {
        pool.starts(slaves[number % 2], Do::Read("shared".into())).await;
    }
    for _ in 0..100 {
        assert_eq!(pool.next::<Told>().await, Told::Bytes(bytes.len(), hash(&bytes)));
    }
    pool.stop().await;
}

#[actix::test]
async fn text_that_is_none_is_an_error_that_says_where() {
    let (pool, _dir) = shared(0).await;
    pool.files().write("mixed", b"abc\xFFdef").await.expect("it is written");
    let why = pool.files().read_to_string("mixed").await.expect_err("it is no text");
    assert!(matches!(why, FileError::NotText { at: 3, .. }), "{why}");
    pool.stop().await;
}

// Whoever works on threads of tokio's own can use files, too.
#[test]
fn files_and_what_they_promise_go_to_other_threads() {
    fn goes(_: impl Send) {}
    let all = |files: pspawn::Files, reader: pspawn::RemoteFile, writer: pspawn::RemoteWriter| {
        goes(files.open(""));
        goes(files.write("", ""));
        goes(files.list(""));
        goes(files.stat(""));
        goes(reader.into_stream());
        goes(writer.close());
    };
    let _ = all;
}

// ---- lists --------------------------------------------------------------------------------------

#[actix::test]
async fn a_directory_is_listed_by_name_with_what_is_in_it() {
    let (mut pool, dir) = shared(1).await;
    let slave = pool.slaves().await[0];
    assert_eq!(pool.does(slave, Do::List(".".into())).await, Told::Names(vec![]));
    fs::create_dir(dir.path().join("below")).expect("it is made");
    fs::write(dir.path().join("b"), "1234").expect("it is made");
    symlink("b", dir.path().join("a")).expect("it is made");
    for path in ["", ".", dir.path().to_str().expect("a plain path")] {
        let entries = pool.files().list(path).await.expect("it may be listed");
        let entries: Vec<_> =
            entries.iter().map(|e| (e.name.to_str().expect("plain"), e.kind, e.len)).collect();
        assert_eq!(entries[0].0, "a");
        assert_eq!(entries[0].1, FileKind::Symlink);
        assert_eq!(entries[1], ("b", FileKind::File, 4));
        assert_eq!((entries[2].0, entries[2].1), ("below", FileKind::Directory));
        assert_eq!(entries.len(), 3);
    }
    // More than are told at once.
    let names: Vec<String> = (0..2500).map(|number| format!("{number:04}")).collect();
    for name in &names {
        fs::write(dir.path().join("below").join(name), "").expect("it is made");
    }
    assert_eq!(pool.does(slave, Do::List("below".into())).await, Told::Names(names));
    pool.stop().await;
}

#[actix::test]
async fn stat_says_what_is_at_the_end_of_the_links() {
    let (pool, dir) = shared(0).await;
    fs::write(dir.path().join("file"), "12345").expect("it is made");
    symlink("file", dir.path().join("link")).expect("it is made");
    let files = pool.files();
    for path in ["file", "link"] {
        let info = files.stat(path).await.expect("it is there");
        assert_eq!((info.kind, info.len, info.shared_for_writing), (FileKind::File, 5, true));
        let modified = fs::metadata(dir.path().join("file")).and_then(|data| data.modified());
        assert_eq!(info.modified, modified.expect("it has a time"));
    }
    assert_eq!(files.stat(".").await.expect("it is there").kind, FileKind::Directory);
    assert!(matches!(files.stat("none").await, Err(FileError::NotFound { .. })));
    pool.stop().await;
}

// ---- what is refused ----------------------------------------------------------------------------

#[actix::test]
async fn what_is_missing_or_no_file_is_an_error_that_names_it() {
    let (mut pool, dir) = shared(1).await;
    let slave = pool.slaves().await[0];
    let master = pool.here();
    let missing = format!("none/such is not there, on {master}");
    assert_eq!(pool.does(slave, Do::Read("none/such".into())).await, Told::No(missing.clone()));
    assert_eq!(pool.does(slave, Do::List("none/such".into())).await, Told::No(missing.clone()));
    let write = Do::Write("none/such".into(), vec![]);
    assert_eq!(pool.does(slave, write).await, Told::No(missing));

    fs::create_dir(dir.path().join("dir")).expect("it is made");
    let files = pool.files();
    let is_dir =
        |why: FileError| matches!(why, FileError::NotAFile { is: FileKind::Directory, .. });
    assert!(is_dir(files.read("dir").await.expect_err("it is a directory")));
    assert!(is_dir(files.write("dir", "").await.expect_err("it is a directory")));
    assert!(is_dir(files.read(".").await.expect_err("it is a directory")));
    fs::write(dir.path().join("file"), "").expect("it is made");
    let why = files.list("file").await.expect_err("it is no directory");
    assert!(matches!(why, FileError::Io { kind: std::io::ErrorKind::NotADirectory, .. }), "{why}");
    let why = files.read("file/below").await.expect_err("it is no directory");
    assert!(why.to_string().contains("file/below"), "{why}");
    pool.stop().await;
}

// Nobody is at the other end of this pipe: whoever opens it like a file waits for ever.
#[actix::test]
async fn pipes_sockets_and_devices_keep_nobody_waiting() {
    let (pool, dir) = shared(0).await;
    let pipe = dir.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("it is made");
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).expect("bound");
    let files = pool.files();
    for path in ["pipe", "socket"] {
        for why in [
            files.read(path).await.expect_err("it is no file"),
            files.write(path, "").await.expect_err("it is no file"),
            files.append(path).await.expect_err("it is no file"),
        ] {
            assert!(matches!(why, FileError::NotAFile { is: FileKind::Other, .. }), "{why}");
        }
        assert_eq!(files.stat(path).await.expect("it is there").kind, FileKind::Other);
    }
    pool.stop().await;
    let set = |builder: pspawn::PoolBuilder| builder.share("/dev");
    let pool = TestPool::start_with(0, set).await;
    let why = pool.files().read("zero").await.expect_err("it is no file");
    assert!(matches!(why, FileError::NotAFile { is: FileKind::Other, .. }), "{why}");
    pool.stop().await;
}

// FI-1: no path leads out, from whichever node, for whatever purpose.
#[actix::test]
async fn no_path_leads_out_of_the_shared_directories() {
    let (mut pool, dir) = shared(1).await;
    let slave = pool.slaves().await[0];
    let outside = TempDir::new().expect("a directory");
    fs::write(outside.path().join("secret"), "secret").expect("it is made");
    fs::create_dir(dir.path().join("below")).expect("it is made");
    symlink(outside.path(), dir.path().join("out")).expect("it is made");
    symlink(outside.path().join("secret"), dir.path().join("below/direct")).expect("it is made");
    symlink(outside.path().join("new"), dir.path().join("dangling")).expect("it is made");
    symlink("/proc/self/root", dir.path().join("magic")).expect("it is made");
    let up = format!("../{}", outside.path().file_name().unwrap().to_str().unwrap());
    symlink(&up, dir.path().join("up")).expect("it is made");
    let secret = outside.path().join("secret").to_str().unwrap().to_owned();
    for path in [
        secret.as_str(),
        "/",
        "/etc/passwd",
        "/proc/self/cwd",
        "..",
        "below/../../x",
        "below/..",
        &format!("{up}/secret"),
        &format!("{}/{up}/secret", dir.path().display()),
        "out/secret",
        "out",
        "below/direct",
        "magic/etc/passwd",
        "up/secret",
        "dangling",
    ] {
        let shared = dir.path().canonicalize().unwrap();
        let no = format!(
            "{path} may not be reached: {} shares what is below {}, and nothing through `..` or a link that leads out",
            pool.here(),
            shared.display(),
        );
        for what in [Do::Read, Do::List, Do::Stat] {
            assert_eq!(pool.does(slave, what(path.into())).await, Told::No(no.clone()), "FI-1");
        }
        let write = Do::Write(path.into(), vec![1]);
        assert_eq!(pool.does(slave, write).await, Told::No(no.clone()), "FI-1");
        assert_eq!(pool.does(slave, Do::Append(path.into(), 1)).await, Told::No(no), "FI-1");
    }
    assert_eq!(fs::read_to_string(&secret).expect("it is there"), "secret");
    assert_eq!(fs::read_dir(outside.path()).expect("it is there").count(), 1, "nothing was made");
    pool.stop().await;
}

#[actix::test]
async fn links_that_stay_below_are_followed() {
    let (pool, dir) = shared(0).await;
    fs::create_dir_all(dir.path().join("a/b")).expect("it is made");
    fs::write(dir.path().join("a/file"), "inside").expect("it is made");
    symlink("../file", dir.path().join("a/b/link")).expect("it is made");
    symlink("a/b", dir.path().join("short")).expect("it is made");
    let files = pool.files();
    assert_eq!(files.read_to_string("short/link").await, Ok("inside".to_owned()));
    symlink("a/made", dir.path().join("new")).expect("it is made");
    files.write("new", "through a link").await.expect("it stays below");
    assert_eq!(files.read_to_string("a/made").await, Ok("through a link".to_owned()));
    symlink("itself", dir.path().join("itself")).expect("it is made");
    let why = files.read("itself").await.expect_err("it leads nowhere");
    assert!(matches!(why, FileError::Io { .. }), "{why}");
    pool.stop().await;
}

// FI-1: while it is in use, a directory on the way becomes a link to the outside, and back, all the time.
#[actix::test]
async fn a_link_that_is_swapped_in_meanwhile_leads_nowhere() {
    let (pool, dir) = shared(0).await;
    let outside = TempDir::new().expect("a directory");
    fs::write(outside.path().join("file"), "secret").expect("it is made");
    fs::create_dir(dir.path().join("way")).expect("it is made");
    fs::write(dir.path().join("way/file"), "inside").expect("it is made");
    symlink(outside.path(), dir.path().join("other")).expect("it is made");
    let stop = AtomicBool::new(false);
    let (way, other) = (dir.path().join("way"), dir.path().join("other"));
    // Two names change their meanings in one step.
    let swap = || {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        let cwd = rustix::fs::CWD;
        rustix::fs::renameat_with(cwd, &way, cwd, &other, flags).expect("they are swapped");
    };
    let files = pool.files();
    let (mut inside, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                swap();
            }
        });
        let looks = async {
            while inside < 20 || refused < 20 {
                match files.read_to_string("way/file").await {
                    Ok(text) => {
                        assert_eq!(text, "inside", "FI-1");
                        inside += 1;
                    }
                    Err(FileError::NotAllowed { .. }) => refused += 1,
                    Err(FileError::Io { kind, .. }) => {
                        assert_eq!(kind, std::io::ErrorKind::WouldBlock, "too many swaps at once");
                    }
                    Err(why) => panic!("{why}"),
                }
            }
        };
        // Not `await`: the swapping thread is to be stopped whatever happens.
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            futures::executor::block_on(looks);
        }));
        stop.store(true, Ordering::Relaxed);
        looked.expect("no look led out");
    });
    assert_eq!(fs::read_to_string(outside.path().join("file")).expect("there"), "secret");
    pool.stop().await;
}

#[actix::test]
async fn what_is_shared_for_reading_only_is_not_written() {
    let (writable, readable) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(readable.path().join("file"), "as it was").expect("it is made");
    let set = |builder: pspawn::PoolBuilder| {
        builder.share(writable.path()).share_read_only(readable.path())
    };
    let mut pool = TestPool::start_with(1, set).await;
    let slave = pool.slaves().await[0];
    let there = readable.path().join("file");
    let files = pool.files();
    assert_eq!(files.read_to_string(&there).await, Ok("as it was".to_owned()));
    assert!(!files.stat(&there).await.expect("it is there").shared_for_writing);
    for why in [
        files.write(&there, "changed").await.expect_err("it is for reading only"),
        files.append(&there).await.expect_err("it is for reading only"),
        files.create(readable.path().join("new")).await.expect_err("it is for reading only"),
    ] {
        assert!(matches!(why, FileError::ReadOnly { .. }), "{why}");
    }
    // Relative paths start at the first one.
    assert_eq!(pool.does(slave, Do::Write("new".into(), vec![7])).await, Told::Done);
    assert_eq!(fs::read(writable.path().join("new")).expect("it is there"), [7]);
    assert_eq!(fs::read(&there).expect("it is there"), b"as it was");
    pool.stop().await;
}

#[actix::test]
async fn without_shares_there_are_no_files_and_without_settings_the_working_directory() {
    let pool = TestPool::start_with(0, pspawn::PoolBuilder::no_share).await;
    let why = pool.files().list(".").await.expect_err("nothing is shared");
    assert!(matches!(&why, FileError::NotAllowed { shared, .. } if shared.is_empty()), "{why}");
    assert!(why.to_string().contains("shares no directory"), "{why}");
    pool.stop().await;

    let mut pool = TestPool::start(1).await;
    let slave = pool.slaves().await[0];
    let here = fs::read("Cargo.toml").expect("tests run in the package's folder");
    let told = pool.does(slave, Do::Read("Cargo.toml".into())).await;
    assert_eq!(told, Told::Bytes(here.len(), hash(&here)));
    pool.stop().await;
}

#[actix::test]
async fn a_directory_that_is_not_there_cannot_be_shared() {
    let builder = Pool::builder("never").local(0).cookie(pspawn::Cookie::random().unwrap());
    let why = builder.share("none/such").start().await.expect_err("it cannot be shared");
    assert!(
        matches!(&why, StartError::Share { dir, .. } if dir == Path::new("none/such")),
        "{why}"
    );
}

// A slave shares nothing: there is no way to its files, though it can start the same process.
#[actix::test]
async fn a_slaves_own_files_are_nobodys_business() {
    let (mut pool, _dir) = shared(1).await;
    let slave = pool.slaves().await[0];
    let args = (pool.inbox.pid(), std::ffi::OsString::from("Cargo.toml"), "Read");
    pool.spawn_mfa_on(slave, "pspawn", "file", args).await.expect("it starts");
    let letter = pool.inbox.receive_any_within(DEADLINE).await.expect("it has answered");
    let said = letter.value().expect("it came from another node").to_string();
    assert!(said.contains("NotAllowed"), "{said}");
    pool.stop().await;
}

// FI-4: it would use up the descriptors of the master, which everybody needs.
#[actix::test]
async fn no_node_has_more_files_open_than_its_share() {
    let (mut pool, _dir) = shared(1).await;
    let (here, slave) = (pool.here(), pool.slaves().await[0]);
    pool.files().write("file", "text").await.expect("it is written");
    let mut open = Vec::new();
    let why = loop {
        match pool.files().open("file").await {
            Ok(file) => open.push(file),
            Err(why) => break why,
        }
    };
    assert_eq!(open.len(), 256, "FI-4");
    assert!(
        matches!(&why, FileError::TooManyOpen { node, max: 256, .. } if *node == here),
        "{why}"
    );
    assert!(pool.files().stat("file").await.is_ok(), "nothing stays open for it");
    let told = pool.does(slave, Do::Read("file".into())).await;
    assert_eq!(told, Told::Bytes(4, hash(b"text")), "the others have theirs");
    let closed = open.pop().expect("one of them");
    let monitor = pool.inbox.monitor(closed.pid());
    drop(closed);
    assert_eq!(pool.next_down().await.monitor, monitor);
    open.push(pool.files().open("file").await.expect("it may again"));
    assert!(pool.files().open("file").await.is_err(), "FI-4");
    pool.stop().await;
}

// ---- ends ---------------------------------------------------------------------------------------

// FI-2: killed in the middle, with all its chunks on their way.
#[actix::test]
async fn an_open_file_ends_with_whoever_has_it_open() {
    let (mut pool, _dir) = shared(2).await;
    pool.files().write("long", noise(8 * CHUNK)).await.expect("it is written");
    for node in pool.nodes().await.expect("the master answers") {
        for what in [Do::Hold("long".into()), Do::HoldWriter("new".into())] {
            let holder = pool.starts(node, what).await;
            let Told::Holds(file) = pool.next().await else { panic!("it holds none") };
            assert_eq!(file.node(), pool.here());
            let monitor = pool.inbox.monitor(file);
            assert_eq!(pool.is_process_alive(file).await, Ok(true));
            pool.exit(holder, ExitReason::Kill);
            let down = pool.next_down().await;
            assert_eq!((down.monitor, down.reason), (monitor, ExitReason::Normal), "FI-2");
        }
    }
    pool.stop().await;
}

#[actix::test]
async fn an_open_file_ends_with_its_owners_node() {
    let (mut pool, _dir) = shared(1).await;
    let slave = pool.slaves().await[0];
    pool.files().write("long", noise(8 * CHUNK)).await.expect("it is written");
    pool.starts(slave, Do::Hold("long".into())).await;
    let Told::Holds(file) = pool.next().await else { panic!("it holds none") };
    let monitor = pool.inbox.monitor(file);
    pool.kill(slave).await;
    assert_eq!(pool.next_down().await.monitor, monitor, "FI-2");
    pool.stop().await;
}

#[actix::test]
async fn a_file_whose_process_is_killed_is_an_error_that_names_it() {
    let (pool, _dir) = shared(0).await;
    pool.files().write("long", noise(20 * CHUNK)).await.expect("it is written");
    let mut reader = pool.files().open("long").await.expect("it is there");
    let mut writer = pool.files().create("other").await.expect("it may");
    reader.read_chunk().await.expect("it is read");
    pool.exit(reader.pid(), ExitReason::Kill);
    pool.exit(writer.pid(), ExitReason::Kill);
    let why = loop {
        match reader.read_chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("that was not all"),
            Err(why) => break why,
        }
    };
    let FileError::Lost { path, pid, reason, .. } = &why else { panic!("{why}") };
    assert_eq!((path.as_path(), *pid), (Path::new("long"), reader.pid()));
    assert_eq!(*reason, ExitReason::Killed);
    assert_eq!(reader.read_chunk().await, Err(why), "and it stays so");
    let why = loop {
        if let Err(why) = writer.write_all(&noise(CHUNK)).await {
            break why;
        }
    };
    assert!(matches!(&why, FileError::Lost { reason: ExitReason::Killed, .. }), "{why}");
    assert_eq!(writer.flush().await, Err(why.clone()));
    assert_eq!(writer.close().await, Err(why));
    pool.stop().await;
}

// The slave's own end comes with it, so it is watched on a node that survives the master.
#[actix::test]
async fn a_lost_master_is_an_error_and_no_wait() {
    let (dir, cookie) = (TempDir::new().unwrap(), pspawn::Cookie::random().unwrap());
    let set = |builder: pspawn::PoolBuilder| builder.share(dir.path()).cookie(cookie.clone());
    let pool = TestPool::start_with(0, set).await;
    pool.files().write("long", noise(20 * CHUNK)).await.expect("it is written");
    let running = pspawn::RunningPool {
        name: "any".into(),
        master: pool.here().to_string(),
        address: pool.address(),
        os_pid: std::process::id(),
        cookie: cookie.clone(),
        heartbeat: None,
    };
    let hidden = Pool::connect(running).await.expect("the master answers");
    let mut reader = hidden.files().open("long").await.expect("it is there");
    let mut writer = hidden.files().create("other").await.expect("it may");
    reader.read_chunk().await.expect("it is read");
    pool.stop().await;
    let why = loop {
        match reader.read_chunk().await {
            Ok(Some(_)) => {} // was on its way
            Ok(None) => panic!("that was not all"),
            Err(why) => break why,
        }
    };
    assert!(matches!(why, FileError::Lost { .. }), "{why}");
    let why = loop {
        if let Err(why) = writer.write_all(&noise(CHUNK)).await {
            break why;
        }
    };
    assert!(matches!(why, FileError::Lost { .. }), "{why}");
    let why = hidden.files().read("long").await.expect_err("the master is gone");
    assert!(
        matches!(why, FileError::Pool(PoolError::NoPool | PoolError::MasterLost { .. })),
        "{why}"
    );
}

#[actix::test]
async fn a_writer_that_is_dropped_has_written_what_it_has_sent() {
    let (mut pool, dir) = shared(0).await;
    let bytes = noise(3 * CHUNK + 5);
    let mut writer = pool.files().create("dropped").await.expect("it may");
    writer.write_all(&bytes).await.expect("it is taken");
    let monitor = pool.inbox.monitor(writer.pid());
    drop(writer);
    assert_eq!(pool.next_down().await.monitor, monitor);
    let written = fs::read(dir.path().join("dropped")).expect("it is there");
    assert_eq!(written, bytes[..3 * CHUNK], "what fills no chunk is lost, as the docs say");
    pool.stop().await;
}

// ---- who does it --------------------------------------------------------------------------------

/// A pool that shares a directory of its own.
async fn shared(slaves: usize) -> (TestPool, TempDir) {
    let dir = TempDir::new().expect("a directory");
    let pool = TestPool::start_with(slaves, |builder| builder.share(dir.path())).await;
    (pool, dir)
}

impl TestPool {
    /// Lets a process on that node do it, and hears how it went.
    async fn does(&mut self, node: NodeName, what: Do) -> Told {
        self.starts(node, what).await;
        self.next().await
    }

    /// Lets a process on that node do it.
    async fn starts(&self, node: NodeName, what: Do) -> Pid {
        let args = (self.inbox.pid(), what);
        self.inbox.spawn_fn("file_test", "does", args).on(node).await.expect("it starts")
    }
}

#[derive(Serialize, Deserialize)]
enum Do {
    Read(String),
    Write(String, Vec<u8>),
    /// So many lines, each of them at once.
    Append(String, usize),
    List(String),
    Stat(String),
    /// Reads a chunk, and then keeps the file open.
    Hold(String),
    /// Writes a chunk, likewise.
    HoldWriter(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Told {
    Done,
    Bytes(usize, [u8; 32]),
    Names(Vec<String>),
    Holds(Pid),
    No(String),
}

async fn does(ctx: Ctx, tester: Pid, what: Do) {
    let told = try_to(&ctx, tester, what).await;
    ctx.send(tester, told.unwrap_or_else(|why| Told::No(why.to_string())));
}
remote_fn!("file_test": does);

async fn try_to(ctx: &Ctx, tester: Pid, what: Do) -> Result<Told, FileError> {
    let files = ctx.files();
    Ok(match what {
        Do::Read(path) => {
            let mut file = files.open(path).await?;
            let (mut len, mut hash) = (0, Sha256::new());
            while let Some(chunk) = file.read_chunk().await? {
                len += chunk.len();
                hash.update(chunk);
            }
            Told::Bytes(len, hash.finalize().into())
        }
        Do::Write(path, bytes) => {
            files.write(path, bytes).await?;
            Told::Done
        }
        Do::Append(path, lines) => {
            let mut file = files.append(path).await?;
            for line in 0..lines {
                file.write_all(format!("{} line {line} says hello\n", ctx.pid()).as_bytes())
                    .await?;
                file.flush().await?;
            }
            file.close().await?;
            Told::Done
        }
        Do::List(path) => {
            let entries = files.list(path).await?;
            Told::Names(entries.iter().map(|e| e.name.to_string_lossy().into()).collect())
        }
        Do::Stat(path) => {
            files.stat(path).await?;
            Told::Done
        }
        Do::Hold(path) => {
            let mut file = files.open(path).await?;
            file.read_chunk().await?;
            ctx.send(tester, Told::Holds(file.pid()));
            std::future::pending().await
        }
        Do::HoldWriter(path) => {
            let mut file = files.create(path).await?;
            file.write_all(&noise(CHUNK)).await?;
            ctx.send(tester, Told::Holds(file.pid()));
            std::future::pending().await
        }
    })
}

/// Bytes without a pattern that a chunk in a wrong place would leave as it is.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(len);
    bytes
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What is read or written at once.
const CHUNK: usize = 64 << 10;
