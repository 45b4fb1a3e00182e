//! Whoever reaches a node's port without the cookie, or with it and bad intentions: refused, logged
//! with the address, and the node goes on with what it does.

mod enemy;

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use futures::executor::block_on;
use pspawn::prelude::*;
use pspawn::{Cookie, FreeNode, PoolBuilder};

use enemy::{Enemy, Greeting, Hello, Log, VERSION, frame, greeting_body, proof};

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u32")]
struct Work;

/// What the pool is doing when the enemy comes.
struct Job {
    done: u32,
}

impl Actor for Job {
    type Context = Context<Self>;
}

impl Handler<Work> for Job {
    type Result = u32;

    fn handle(&mut self, _: Work, _: &mut Context<Self>) -> u32 {
        self.done += 1;
        self.done
    }
}

remote_actor!(Job as "job", new() = Job { done: 0 }, handles[Work]);

/// A master, a node attached to it with a job on it, and what the master logs.
struct Target {
    pool: Pool,
    free: FreeNode,
    job: RemoteAddr<Job>,
    log: Log,
}

impl Target {
    fn new() -> Target {
        Target::with(|builder| builder)
    }

    fn with(set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Target {
        let (logger, log) = Log::new();
        block_on(async {
            let master = builder("target").local(0).logger(logger);
            let pool = set(master).start().await.unwrap();
            let free = builder("target-free").start_free(LOOPBACK.parse().unwrap()).await.unwrap();
            let node = free.pool().here();
            assert!(pool.attach(node, free.pool().address()).await.unwrap().newly);
            let job = pool.spawn_on::<Job>(node, ()).await.unwrap();
            assert_eq!(job.send(Work).await.unwrap(), 1);
            Target { pool, free, job, log }
        })
    }

    fn enemy(&self) -> Enemy {
        Enemy::connect(self.pool.address())
    }

    /// The job has not noticed anything, and another can be started.
    fn goes_on(self) {
        block_on(async {
            assert_eq!(self.job.send(Work).await.unwrap(), 2);
            let another = self.pool.spawn_on::<Job>(self.job.node(), ()).await.unwrap();
            assert_eq!(another.send(Work).await.unwrap(), 1);
            assert_eq!(self.pool.nodes().await.unwrap().len(), 2);
            self.pool.stop().await.unwrap();
            self.free.pool().stopped().await;
        });
    }
}

fn builder(name: &str) -> PoolBuilder {
    Pool::builder(name).cookie(Cookie::new(COOKIE)).workers(1)
}

#[test]
fn a_wrong_cookie_is_refused_and_learns_nothing_of_the_right_one() {
    let target = Target::new();
    let mut enemy = target.enemy();
    let me = Hello::of("enemy@nowhere");
    enemy.say(&Greeting::Hello(me.clone()));
    let Some(Greeting::Hello(them)) = enemy.hear() else { panic!("no hello") };
    enemy.say(&Greeting::Proof(proof("guessed!", b"pspawn dialer", &me, &them)));
    assert!(matches!(enemy.hear(), Some(Greeting::Refused(_))), "and no proof");
    target.log.refused(enemy.address(), "wrong cookie");
    enemy.is_hung_up_on();
    target.goes_on();
}

#[test]
fn another_protocol_version_is_told_which_one_is_spoken_here() {
    let target = Target::new();
    let mut enemy = target.enemy();
    let hello = Greeting::Hello(Hello::of("enemy@nowhere"));
    enemy.send(&frame(&greeting_body(VERSION + 1, &hello)));
    let Some(Greeting::Refused(why)) = enemy.hear() else { panic!("not refused") };
    assert!(why.to_string().contains("Protocol"), "{why}");
    target.log.refused(
        enemy.address(),
        &format!("protocol version: here {VERSION}, there {}", VERSION + 1),
    );
    target.goes_on();
}

#[test]
fn what_a_port_scanner_says_is_refused() {
    let target = Target::new();
    let mut random = 0x9E37_79B9_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    })
    .take(5_000)
    .collect();
    let probes: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: target\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"\r\n\r\n",
        &noise,
        &[0],
    ];
    for probe in probes {
        let mut enemy = target.enemy();
        enemy.send(probe);
        target.log.refused(enemy.address(), "a frame starts with the byte 0xC6");
        enemy.is_hung_up_on();
    }
    // What is framed, but no greeting: a log line stays one line.
    let version = VERSION.try_into().unwrap();
    for (has_version, rest) in [
        (false, &b""[..]),
        (true, b""),
        (true, b"\xC1"),
        (true, b"\x81\xA7Refused\x81\xA7Garbage\xA5a\nfoo"),
    ] {
        let body = if has_version { [&[version], rest].concat() } else { rest.to_vec() };
        let mut enemy = target.enemy();
        enemy.send(&frame(&body));
        let line = target.log.wait_for(&["refused", &format!("from={} ", enemy.address())]);
        assert!(line.contains("not a greeting") && !line.contains('\n'), "{line:?}");
    }
    target.goes_on();
}

#[test]
fn whoever_says_nothing_more_is_let_go_of_when_the_greetings_time_is_up() {
    let soon = Duration::from_millis(300);
    let target = Target::with(|builder| builder.greeting_timeout(soon));
    let mut silent = target.enemy();
    let mut half = target.enemy();
    half.say(&Greeting::Hello(Hello::of("enemy@nowhere")));
    assert!(matches!(half.hear(), Some(Greeting::Hello(_))));
    for enemy in [&mut silent, &mut half] {
        enemy.is_hung_up_on();
    }
    target.log.wait_for(&["refused", "no greeting within 300ms"]);
    target.log.wait_for(&["refused", "no greeting within 300ms"]);
    target.goes_on();
}

#[test]
fn a_length_that_cannot_be_is_refused_before_and_after_the_greeting() {
    let target = Target::new();
    let mut before = target.enemy();
    before.send(&[0xC6, 0x7F, 0xFF, 0xFF, 0xFF]);
    target.log.refused(before.address(), "a frame of 2147483647 bytes was announced");

    let mut long = target.enemy();
    long.send(&[0xC6, 0, 0, 8, 1]);
    target.log.refused(long.address(), "a frame of 2049 bytes was announced; the limit is 2048");

    let me = Hello::of("enemy@nowhere");
    let (mut after, _) = Enemy::greeted(target.pool.address(), &me, COOKIE);
    after.send(&[0xC6, 0x7F, 0xFF, 0xFF, 0xFF]);
    target.log.wait_for(&["node down", "peer=enemy@nowhere", "2147483647 bytes"]);
    after.is_hung_up_on();
    target.goes_on();
}

#[test]
fn words_out_of_turn_are_refused() {
    let target = Target::new();
    let mut early = target.enemy();
    early.say(&Greeting::Proof([0; 32]));
    target.log.refused(early.address(), "a proof before the hello");

    let mut twice = target.enemy();
    twice.say(&Greeting::Hello(Hello::of("enemy@nowhere")));
    twice.say(&Greeting::Hello(Hello::of("enemy@nowhere")));
    target.log.refused(twice.address(), "a second hello");
    target.goes_on();
}

#[test]
fn a_peer_that_sends_garbage_is_lost_and_nobody_else() {
    let target = Target::new();
    let garbage: [(&[u8], &str); 12] = [
        (&[0x00], "not a control message"),
        (&[0x00, 0xA4, b'N', b'o', b'p', b'e'], "not a control message"),
        (&[0x09], "unknown operation 9"),
        (&[0x01, 0xC0], "not made of MessagePack integers"),
        (&[], "not made of MessagePack integers"),
        // A name that is none, where a pid should be.
        (b"\x00\x81\xA7Spawned\x92\x01\x93\xA1x\x01\x01", "not a control message"),
        // An exit reason that is nested far deeper than any stack.
        (&nested_reason(), "depth limit exceeded"),
        (&[0x01, 0x01, 0x00, 0xC0], "type number 0, which stands for none"),
        (&[0x05, 0x01, 0x07], "a type was numbered 1 after 0"),
        (&[0x07, 0x01], "a piece of nothing"),
        (&[0x06, 0xCE, 0x7F, 0xFF, 0xFF, 0xFF, 0x01], "a body of 2147483647 bytes in pieces"),
        // Pieces of pieces would cost stack.
        (&[0x06, 0x03, 0x06, 0x01, 0x01], "a piece of a piece"),
    ];
    for (at, (body, why)) in garbage.into_iter().enumerate() {
        let name = format!("enemy{at}@nowhere");
        let (mut peer, _) = Enemy::greeted(target.pool.address(), &Hello::of(&name), COOKIE);
        peer.send(&frame(body));
        target.log.wait_for(&["node down", &format!("peer={name}"), why]);
        peer.is_hung_up_on();
    }
    let (mut peer, _) = Enemy::greeted(target.pool.address(), &Hello::of("enemy@nowhere"), COOKIE);
    peer.send(b"GET / HTTP/1.1\r\n");
    target.log.wait_for(&["node down", "peer=enemy@nowhere", "0xC6"]);
    target.goes_on();
}

/// `Signal` 1 to an `Exit` from somebody, its reason 100,000 arrays in each other.
fn nested_reason() -> Vec<u8> {
    let mut body =
        b"\x00\x81\xA6Signal\x92\x01\x81\xA4Exit\x92\x93\xA3a@b\x01\x01\x81\xA4Exit".to_vec();
    body.extend([0x91; 100_000]);
    body.push(0xC0);
    body
}

#[test]
fn well_formed_nonsense_from_a_peer_does_no_harm() {
    let target = Target::new();
    let me = Hello::of("enemy@nowhere");
    let (mut peer, _) = Enemy::greeted(target.pool.address(), &me, COOKIE);
    let nonsense: [&[u8]; 12] = [
        b"\x05\x00\x07", // a type that nobody takes
        b"\x03\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xC0", // an answer nobody waits for
        b"\x01\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00\xC0", // a message to nobody
        b"\x02\x00\x00\x01\xC0",                         // a request to nobody
        b"\x00\x81\xA5Pause\x91\x07",
        b"\x00\x81\xA6Resume\x91\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\x00\xA4Halt",
        b"\x00\x81\xA7Members\x90", // the master takes no orders
        b"\x00\x81\xA7Spawned\x92\x01\x93\xADenemy@nowhere\x07\x01",
        b"\x00\x81\xA4Load\x99\xCE\xFF\xFF\xFF\xFF\x01\x01\xCA\x7F\xC0\x00\x00\xCA\xFF\x80\x00\x00\x00\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xCA\x7F\xC0\x00\x00\xC3",
        b"\x00\x81\xA3Ask\x92\x05\x81\xA6Enlist\xC0",
        b"\x00\xA3Bye",
    ];
    for body in nonsense {
        peer.send(&frame(body));
    }
    target.log.wait_for(&["a master takes no orders", "from=enemy@nowhere"]);
    target.log.wait_for(&["node down", "peer=enemy@nowhere", "it left"]);
    target.goes_on();
}

// OU-3: what a peer prints without credit is dropped, counted, and acknowledged all the same.
#[test]
fn a_peer_that_prints_without_end_fills_no_memory() {
    let (show, lines) = sync_channel(0);
    let target = Target::with(|builder| {
        let builder = builder.heartbeat(Duration::from_secs(10), Duration::from_secs(60));
        builder.output(move |line| drop(show.send(line.line.clone())))
    });
    let me = Hello::of("enemy@nowhere");
    let (mut peer, _) = Enemy::greeted(target.pool.address(), &me, COOKIE);
    let line = frame(b"\x00\x81\xA6Output\x93\x93\xADenemy@nowhere\x07\x01\xA3Out\xA2hi");
    for _ in 0..100 {
        peer.send(&line.repeat(1_000));
    }
    let mut done = 0;
    while done < 90_000 {
        let frame = peer.hear_frame().expect("the connection is up");
        let control: pspawn::Value = rmp_serde::from_slice(&frame[1..]).unwrap();
        let shown = control.as_map().filter(|of| of[0].0.as_str() == Some("Shown"));
        done += shown.map_or(0, |of| of[0].1[0].as_u64().unwrap());
    }
    // Whoever says that all of it was shown has no more credit for that.
    peer.send(&frame(b"\x00\x81\xA5Shown\x92\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"));
    let (mut shown, mut lost) = (0, 0);
    while shown + lost < 100_000 {
        let line = lines.recv_timeout(Duration::from_secs(30)).expect("more lines");
        match line
            .strip_prefix("… ")
            .and_then(|line| line.split_once(" lines of enemy@nowhere were lost"))
        {
            Some((lines, _)) => lost += lines.parse::<u64>().unwrap(),
            None => shown += u64::from(line == "hi"),
        }
    }
    assert!(shown <= 8_193 && shown + lost == 100_000, "{shown} shown, {lost} lost");
    drop(lines);
    target.goes_on();
}

#[test]
fn a_frame_cut_short_is_a_lost_connection() {
    let target = Target::new();
    let mut stranger = target.enemy();
    stranger.send(&[0xC6, 0, 0, 0, 100, 1, 2, 3]);
    target.log.refused(stranger.close(), "closed during the greeting");

    let me = Hello::of("enemy@nowhere");
    let (mut peer, _) = Enemy::greeted(target.pool.address(), &me, COOKIE);
    peer.send(&[0xC6, 0, 0, 0, 100, 1, 2, 3]);
    drop(peer);
    target.log.wait_for(&["node down", "peer=enemy@nowhere"]);
    target.goes_on();
}

#[test]
fn the_nodes_own_words_prove_nothing() {
    let target = Target::new();
    let me = Hello::of("enemy@nowhere");
    let mut first = target.enemy();
    first.say(&Greeting::Hello(me.clone()));
    let Some(own) = first.hear() else { panic!("no hello") };

    // Its own hello, then its own next hello, then a proof of its own making from elsewhere.
    let mut mirror = target.enemy();
    mirror.say(&own);
    let Some(next) = mirror.hear() else { panic!("no hello") };
    mirror.say(&next);
    target.log.refused(mirror.address(), "a second hello");

    let mut replay = target.enemy();
    replay.say(&Greeting::Hello(me.clone()));
    let Some(Greeting::Hello(them)) = replay.hear() else { panic!("no hello") };
    let listeners = proof(COOKIE, b"pspawn listen", &me, &them);
    replay.say(&Greeting::Proof(listeners));
    target.log.refused(replay.address(), "wrong cookie");

    // A greeting that was right once: the node's nonce is another by now.
    let (once, them) = Enemy::greeted(target.pool.address(), &me, COOKIE);
    drop(once);
    target.log.wait_for(&["node down", "peer=enemy@nowhere"]);
    let mut again = target.enemy();
    again.say(&Greeting::Hello(me.clone()));
    again.say(&Greeting::Proof(proof(COOKIE, b"pspawn dialer", &me, &them)));
    target.log.refused(again.address(), "wrong cookie");
    target.goes_on();
}

#[test]
fn what_a_peer_can_start_that_differs_is_named() {
    let target = Target::new();
    let me = Hello { digest: "other".to_owned(), ..Hello::of("differs@nowhere") };
    let (mut peer, _) = Enemy::greeted(target.pool.address(), &me, COOKIE);
    let question = loop {
        let body = peer.hear_frame().expect("it asks what we can start");
        if body.ends_with(b"Kinds") {
            // 0, a map of one, "Ask", an array of two
            break body[b"\0\x81\xA3Ask\x92".len()..body.len() - b"\xA5Kinds".len()].to_vec();
        }
    };
    let job = b"\x94\x92\xA3job\xA3new\xA8(x: i64)\x91\xA4Rest\xC2";
    let told = [&b"\0\x81\xA4Told\x92"[..], &question, b"\x81\xA5Kinds\x91", job].concat();
    peer.send(&frame(&told));
    let line = target.log.wait_for(&["can start other things", "peer=differs@nowhere"]);
    assert!(
        line.contains("job: here (), there (x: i64); job: messages here Work, there Rest"),
        "{line}"
    );
    assert!(line.contains("pspawn.supervisor: there missing"), "{line}");
    target.goes_on();
}

#[test]
fn a_name_belongs_to_who_has_it() {
    let target = Target::new();
    for name in [target.job.node(), target.pool.here()] {
        let me = Hello::of(name.as_str());
        let mut enemy = target.enemy();
        enemy.say(&Greeting::Hello(me.clone()));
        let Some(Greeting::Hello(them)) = enemy.hear() else { panic!("no hello") };
        enemy.say(&Greeting::Proof(proof(COOKIE, b"pspawn dialer", &me, &them)));
        assert!(matches!(enemy.hear(), Some(Greeting::Refused(_))), "PE-2");
        target.log.refused(enemy.address(), "is connected already");
    }
    target.goes_on();
}

const COOKIE: &str = "correct horse battery staple";
const LOOPBACK: &str = "127.0.0.1:0";
