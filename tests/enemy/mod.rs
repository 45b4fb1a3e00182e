//! An enemy: speaks the wire protocol by hand, as `docs/protocol.md` describes it, and as badly as it
//! likes. And a log that a test can wait for.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use pspawn::{Cookie, Pool, RunningPool};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use slog::{Drain, KV, Level, Logger, Never, OwnedKVList, Record, o};

/// A pool of this OS process, as a command would find it.
pub fn running(pool: &Pool, cookie: &str) -> RunningPool {
    RunningPool {
        name: "target".to_owned(),
        master: pool.here().to_string(),
        address: pool.address(),
        os_pid: std::process::id(),
        cookie: Cookie::new(cookie),
        heartbeat: None,
    }
}

/// One step of a greeting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Greeting {
    Hello(Hello),
    Proof([u8; 32]),
    Refused(pspawn::Value),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub node: String,
    pub incarnation: u32,
    pub part: String,
    pub build: String,
    pub digest: String,
    pub at: Option<At>,
    pub cores: u32,
    pub nonce: [u8; 16],
}

impl Hello {
    pub fn of(node: &str) -> Hello {
        Hello {
            node: node.to_owned(),
            incarnation: 7,
            part: "Free".to_owned(),
            build: "enemy".to_owned(),
            digest: String::new(),
            at: None,
            cores: 1,
            nonce: [7; 16],
        }
    }
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct At {
    pub host: [u8; 16],
    pub local: SocketAddr,
    pub remote: Vec<SocketAddr>,
}

/// One connection of the enemy's.
pub struct Enemy(TcpStream);

impl Enemy {
    pub fn connect(to: SocketAddr) -> Enemy {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Enemy(stream)
    }

    /// Connects and greets as it should be done; also returns who answered.
    pub fn greeted(to: SocketAddr, me: &Hello, cookie: &str) -> (Enemy, Hello) {
        let mut enemy = Enemy::connect(to);
        enemy.say(&Greeting::Hello(me.clone()));
        let Some(Greeting::Hello(them)) = enemy.hear() else { panic!("no hello") };
        enemy.say(&Greeting::Proof(proof(cookie, b"pspawn dialer", me, &them)));
        let said = enemy.hear();
        assert_eq!(said, Some(Greeting::Proof(proof(cookie, b"pspawn listen", me, &them))));
        (enemy, them)
    }

    /// Takes in a node that dials, and greets it as it should be done; also returns who dialed. `me` says who
    /// we are to that node.
    pub fn dialed(
        listener: &TcpListener,
        cookie: &str,
        me: impl FnOnce(&Hello) -> Hello,
    ) -> (Enemy, Hello) {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut enemy = Enemy(stream);
        let Some(Greeting::Hello(them)) = enemy.hear() else { panic!("no hello") };
        let me = me(&them);
        enemy.say(&Greeting::Hello(me.clone()));
        let said = enemy.hear();
        assert_eq!(said, Some(Greeting::Proof(proof(cookie, b"pspawn dialer", &them, &me))));
        enemy.say(&Greeting::Proof(proof(cookie, b"pspawn listen", &them, &me)));
        (enemy, them)
    }

    /// As the node sees it.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The node may have hung up already, which is what is wanted.
        let _ = self.0.write_all(bytes);
    }

    pub fn say(&mut self, greeting: &Greeting) {
        self.send(&frame(&greeting_body(VERSION, greeting)));
    }

    /// What the node says next; none if it hangs up.
    pub fn hear(&mut self) -> Option<Greeting> {
        let body = self.hear_frame()?;
        let mut rest = rmp::decode::Bytes::new(&body);
        assert_eq!(rmp::decode::read_int::<u32, _>(&mut rest).unwrap(), VERSION);
        Some(rmp_serde::from_slice(rest.remaining_slice()).unwrap())
    }

    pub fn hear_frame(&mut self) -> Option<Vec<u8>> {
        let mut prefix = [0; 5];
        self.0.read_exact(&mut prefix).ok()?;
        assert_eq!(prefix[0], 0xC6);
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap());
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body).ok()?;
        Some(body)
    }

    /// Waits until the node has hung up.
    pub fn is_hung_up_on(&mut self) {
        let mut rest = [0; 4096];
        loop {
            match self.0.read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(why) if why.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(why) => panic!("the node does not hang up: {why}"),
            }
        }
    }

    /// Says no more, and closes.
    pub fn close(self) -> SocketAddr {
        self.address()
    }
}

pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xC6];
    frame.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

pub fn greeting_body(version: u32, greeting: &Greeting) -> Vec<u8> {
    let mut body = Vec::new();
    rmp::encode::write_uint(&mut body, version.into()).unwrap();
    body.extend(rmp_serde::to_vec(greeting).unwrap());
    body
}

/// The proof of one side.
pub fn proof(cookie: &str, side: &[u8], dialer: &Hello, listener: &Hello) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(cookie.as_bytes()).unwrap();
    mac.update(side);
    mac.update(&[0; 32]); // no TLS
    for hello in [dialer, listener] {
        let said = rmp_serde::to_vec(hello).unwrap();
        mac.update(&(said.len() as u64).to_be_bytes());
        mac.update(&said);
    }
    mac.finalize().into_bytes().into()
}

/// What a node has logged, as lines of `message key=value …`.
pub struct Log {
    lines: mpsc::Receiver<String>,
    /// Come, and not waited for yet.
    seen: RefCell<Vec<String>>,
}

impl Log {
    pub fn new() -> (Logger, Log) {
        let (lines, log) = mpsc::channel();
        (Logger::root(Lines(Mutex::new(lines)), o!()), Log { lines: log, seen: RefCell::default() })
    }

    /// Waits for a line that has all of these in it, and takes it.
    pub fn wait_for(&self, parts: &[&str]) -> String {
        let mut seen = self.seen.borrow_mut();
        loop {
            let at = seen.iter().position(|line| parts.iter().all(|part| line.contains(part)));
            if let Some(at) = at {
                return seen.remove(at);
            }
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {parts:?} among {seen:#?}"),
            }
        }
    }

    /// Waits for the line that this stranger was refused, and why.
    pub fn refused(&self, from: SocketAddr, why: &str) {
        self.wait_for(&["refused", &format!("from={from} "), why]);
    }
}

struct Lines(Mutex<mpsc::Sender<String>>);

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if record.level() <= Level::Info {
            let mut line = Line(format!("{} ", record.msg()));
            let _ = record.kv().serialize(record, &mut line);
            let _ = values.serialize(record, &mut line);
            let _ = self.0.lock().unwrap().send(line.0); // the test may be over
        }
        Ok(())
    }
}

struct Line(String);

impl slog::Serializer for Line {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        self.0 += &format!("{key}={value} ");
        Ok(())
    }
}

pub const VERSION: u32 = 6;
/// Longer than anything takes that happens at all.
const PATIENCE: Duration = Duration::from_secs(30);
