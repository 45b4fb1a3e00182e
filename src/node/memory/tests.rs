//! Two ends in one OS process, each by its own map.

use std::io::IoSlice;
use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, poll};

use super::*;

/// One end, as whoever looks after it has it.
struct End {
    reader: Reader,
    writer: Writer,
    memory: Arc<Memory>,
    socket: UnixStream,
}

fn pair() -> (End, End) {
    let (dialed, came) = UnixStream::pair().unwrap();
    let mut made = Memory::offer(&dialed).unwrap().expect("there is memory");
    let offer = Memory::hear_offer(&came).unwrap().expect("it was offered");
    let taken = offer.take().unwrap().expect("there is room for it");
    Memory::answer(&came, true).unwrap();
    assert!(made.is_taken(&dialed).unwrap());
    assert!(made.sight().is_some() && taken.sight().is_some(), "each has a witness");
    let end = |memory: Box<Memory>, socket| {
        let (reader, writer, memory) = memory.ends();
        End { reader, writer, memory, socket }
    };
    (end(made, dialed), end(taken, came))
}

impl End {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let (front, back) = bytes.split_at(bytes.len() / 3);
        let parts = [front, &[], back].map(IoSlice::new);
        self.writer.write(&parts, self.socket.as_fd()).unwrap()
    }

    fn read(&mut self, most: usize) -> Vec<u8> {
        let mut read = Vec::new();
        let count = self.reader.read(&mut read, most, self.socket.as_fd()).unwrap();
        assert_eq!(count, read.len());
        read
    }

    /// Sleeps as the watcher does.
    fn sleep(&self) {
        if !self.memory.sleep() {
            let mut bell = [PollFd::new(&self.socket, PollFlags::IN)];
            let patience = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
            assert_eq!(poll(&mut bell, Some(&patience)).unwrap(), 1, "SM-1: nobody has rung");
            hush(&self.socket);
        }
        self.memory.awake();
    }

    fn has_rung(&self) -> bool {
        let mut bell = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut bell, Some(&NO_TIME)).unwrap() == 1
    }
}

fn bytes_from(at: usize, count: usize) -> Vec<u8> {
    (at..at + count).map(|at| (at % 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_one_end_writes_the_other_reads(
        steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0..200_000usize), 1..60),
    ) {
        let (a, b) = pair();
        let mut ends = [a, b];
        let (mut written, mut read) = ([0; 2], [0; 2]);
        for (end, writes, count) in steps {
            let (us, them) = (usize::from(end), usize::from(!end));
            if writes {
                let taken = ends[us].write(&bytes_from(written[us], count));
                written[us] += taken;
                prop_assert_eq!(taken == count || written[us] - read[them] == RING_BYTES, true);
            } else {
                let came = ends[us].read(count);
                prop_assert_eq!(&came, &bytes_from(read[us], came.len()));
                read[us] += came.len();
                prop_assert_eq!(came.len() == count || read[us] == written[them], true);
            }
            prop_assert_eq!(ends[us].memory.has_come(), read[us] < written[them]);
        }
    }
}

#[test]
fn nobody_sleeps_beside_what_has_come_or_beside_room_sm1() {
    const TOTAL: usize = 64 << 20;
    let (mut a, mut b) = pair();
    // Each end both sends and takes, and sleeps whenever it can do neither: a bell that nobody rang would be the end.
    let run = |end: &mut End, mut step: usize| {
        let (mut sent, mut came) = (0, 0);
        let mut slept = 0;
        while sent < TOTAL || came < TOTAL {
            step = step % 70_001 + 997;
            let written = match sent < TOTAL {
                true => end.write(&bytes_from(sent, step.min(TOTAL - sent))),
                false => 0,
            };
            let read = end.read(step * 3 % 50_000 + 1);
            assert_eq!(read, bytes_from(came, read.len()));
            (sent, came) = (sent + written, came + read.len());
            if written == 0 && read.is_empty() {
                end.sleep();
                slept += 1;
            }
        }
        slept
    };
    let slept = std::thread::scope(|scope| {
        let there = scope.spawn(|| run(&mut b, 1));
        run(&mut a, 33_333) + there.join().unwrap()
    });
    assert!(slept > 0, "it was about that");
}

#[test]
fn the_bell_is_rung_for_those_that_sleep_and_once() {
    let (mut a, mut b) = pair();
    a.write(b"x");
    assert!(!b.has_rung(), "it does not sleep");
    assert!(b.memory.sleep(), "SM-1: something is there");
    b.memory.awake();
    assert_eq!(b.read(9), b"x");
    assert!(!b.memory.sleep());
    a.write(b"y");
    a.write(b"z");
    assert!(!hush(&b.socket) && !b.has_rung());
    a.write(b"!");
    assert!(!b.has_rung(), "it has been woken and does not say that it sleeps again");
    b.memory.awake();
    assert_eq!(b.read(9), b"yz!");
}

#[test]
fn who_waits_for_room_hears_of_it_once_there_is_enough() {
    let (mut a, mut b) = pair();
    assert_eq!(a.write(&vec![0; RING_BYTES + 1]), RING_BYTES);
    assert!(!a.memory.sleep(), "it has not been refused yet: nobody waits");
    assert_eq!(a.write(b"x"), 0);
    assert!(!a.memory.sleep());
    b.read(RING_BYTES / 2 - 1);
    assert!(!a.has_rung() && !a.memory.has_room_again());
    b.read(1);
    assert!(a.has_rung() && a.memory.has_room_again() && !a.memory.has_much_room());
    hush(&a.socket);
    // What is long waits for more.
    assert!(a.memory.waits_for_much_room() && !a.memory.has_room_again());
    assert!(!a.memory.sleep());
    b.read(RING_BYTES * 7 / 16 - 1);
    assert!(!a.has_rung() && !a.memory.has_room_again());
    b.read(1);
    assert!(a.has_rung() && a.memory.has_room_again() && a.memory.has_much_room());
    assert_eq!(a.write(b"x"), 1);
    assert!(!a.memory.has_room_again(), "nobody waits any more");
}

#[test]
fn what_is_waited_for_is_said_once_more_before_sleep_sm1() {
    let (mut a, mut b) = pair();
    a.write(&[0; 100_000]);
    assert!(a.memory.waits_for_much_room());
    // The reader saw room that was taken when it said so.
    b.memory.way_in().wanted.0.store(0, Ordering::Relaxed);
    assert!(!a.memory.sleep());
    b.read(100_000);
    assert!(a.has_rung(), "SM-1");
}

#[test]
fn what_was_written_before_the_end_is_read_after_it() {
    let (mut a, mut b) = pair();
    assert!(!b.memory.sleep());
    a.write(b"last words");
    drop(a);
    assert!(!hush(&b.socket), "a bell first");
    assert!(hush(&b.socket), "it is gone");
    assert_eq!(b.read(100), b"last words");
}

#[test]
fn memory_that_could_shrink_or_is_of_another_length_is_not_taken_sm2() {
    let (dialed, came) = UnixStream::pair().unwrap();
    let offer = |bytes: usize, seals: SealFlags| {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create("test", flags).unwrap();
        ftruncate(&fd, bytes as u64).unwrap();
        fcntl_add_seals(&fd, seals).unwrap();
        say(&dialed, true, [Some(fd.as_fd()), None]).unwrap();
        let offer = Memory::hear_offer(&came)?.expect("it was offered");
        offer.take().map(|memory| memory.is_some())
    };
    assert!(offer(MAP_BYTES, SEALS).unwrap());
    assert_eq!(offer(MAP_BYTES, SealFlags::GROW).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(offer(MAP_BYTES - 1, SEALS).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn who_offers_nothing_is_taken_at_its_word_and_any_other_word_is_none() {
    let (dialed, came) = UnixStream::pair().unwrap();
    let say = |word: u8| {
        assert_eq!(send(&dialed, &[word], SendFlags::NOSIGNAL), Ok(1));
        Memory::hear_offer(&came).map(|offer| offer.is_some())
    };
    assert!(!say(THROUGH_SOCKET).unwrap());
    let without_fd = say(THROUGH_MEMORY).unwrap_err();
    assert_eq!(without_fd.kind(), io::ErrorKind::InvalidData);
    assert_eq!(say(0xC6).unwrap_err().kind(), io::ErrorKind::InvalidData);
    drop(dialed);
    assert_eq!(Memory::hear_offer(&came).err().unwrap().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn what_is_not_taken_is_not_used_and_there_need_be_no_witness() {
    let (dialed, came) = UnixStream::pair().unwrap();
    let mut made = Memory::offer(&dialed).unwrap().expect("there is memory");
    Memory::answer(&came, false).unwrap();
    assert!(!made.is_taken(&dialed).unwrap());
    send(&came, &[THROUGH_MEMORY], SendFlags::NOSIGNAL).unwrap();
    assert!(made.is_taken(&dialed).unwrap() && made.sight().is_none());
    send(&came, &[0xC6], SendFlags::NOSIGNAL).unwrap();
    assert_eq!(made.is_taken(&dialed).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn wrong_counts_of_the_other_side_are_the_end_and_nothing_else_rg1() {
    let (a, mut b) = pair();
    a.memory.way_out().written.0.store(RING_BYTES as u64 + 1, Ordering::Relaxed);
    assert_eq!(b.reader.read(&mut Vec::new(), 9, b.socket.as_fd()), Err(Nonsense));
    a.memory.way_in().read.0.store(7, Ordering::Relaxed);
    assert_eq!(b.writer.write(&[IoSlice::new(b"x")], b.socket.as_fd()), Err(Nonsense));
    assert!(!b.memory.has_room_again());
}

const NO_TIME: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
