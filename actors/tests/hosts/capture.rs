//! What went between the hosts, read from a capture: TCP streams, put together from their packets.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

/// One direction of a TCP connection, from its first byte on.
pub(crate) struct Stream {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) bytes: Vec<u8>,
}

/// All that a capture holds.
pub(crate) struct Capture {
    pub(crate) streams: Vec<Stream>,
    /// The protocol numbers of IP packets that are neither TCP nor the kernel's own talk about groups.
    pub(crate) others: Vec<u8>,
}

impl Capture {
    /// Reads a file of tcpdump's: a header of 24 bytes, and 16 before each packet.
    pub(crate) fn read(path: &Path) -> Capture {
        let file = fs::read(path).unwrap();
        assert_eq!(
            file[..4],
            0xa1b2_c3d4_u32.to_ne_bytes(),
            "not a capture in this machine's byte order"
        );
        assert_eq!(u32_at(&file, 20), 1, "not of Ethernet");
        let mut halves: BTreeMap<(SocketAddrV4, SocketAddrV4), Half> = BTreeMap::new();
        let mut others = Vec::new();
        let mut rest = &file[24..];
        while rest.len() >= 16 {
            let (kept, was) = (u32_at(rest, 8) as usize, u32_at(rest, 12) as usize);
            assert_eq!(kept, was, "the capture has cut a packet");
            let Some(packet) = rest.get(16..16 + kept) else { break };
            rest = &rest[16 + kept..];
            match Segment::of(packet) {
                Some(Ok(segment)) => {
                    halves.entry((segment.from, segment.to)).or_default().add(&segment)
                }
                Some(Err(protocol)) => others.push(protocol),
                None => {}
            }
        }
        let streams =
            halves.into_iter().map(|((from, to), half)| Stream { from, to, bytes: half.bytes() });
        Capture { streams: streams.collect(), others }
    }
}

impl Stream {
    pub(crate) fn has(&self, text: &str) -> bool {
        has(&self.bytes, text.as_bytes())
    }

    /// Whether it is TLS records from end to end; the last one may be cut off.
    pub(crate) fn is_tls(&self) -> bool {
        let mut rest = &self.bytes[..];
        while let [kind, 3, 1..=4, high, low, after @ ..] = rest {
            let length = usize::from(*high) << 8 | usize::from(*low);
            let is_record = (0x14..=0x17).contains(kind) && length <= RECORD_BYTES_MAX;
            if !is_record {
                return false;
            }
            rest = after.get(length..).unwrap_or_default();
        }
        rest.len() < 5 && self.bytes.first().is_none_or(|first| *first == 0x16)
    }
}

/// Whether these bytes are anywhere in those.
pub(crate) fn has(bytes: &[u8], part: &[u8]) -> bool {
    // By its first byte: a plain search over windows is slow without optimisation.
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == part[0]) {
        rest = &rest[at..];
        if rest.starts_with(part) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

struct Segment<'a> {
    from: SocketAddrV4,
    to: SocketAddrV4,
    number: u32,
    is_first: bool,
    data: &'a [u8],
}

impl<'a> Segment<'a> {
    /// None if it is none of ours; the protocol's number if it is no TCP.
    fn of(packet: &'a [u8]) -> Option<Result<Segment<'a>, u8>> {
        let ip = packet.get(14..).filter(|_| packet[12..14] == [8, 0])?;
        if ip[9] != TCP {
            return (ip[9] != IGMP).then_some(Err(ip[9]));
        }
        // Shorter than the packet where Ethernet has filled it up.
        let tcp = &ip[usize::from(ip[0] & 15) * 4..usize::from(u16_at(ip, 2))];
        let host = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        Some(Ok(Segment {
            from: SocketAddrV4::new(host(12), u16_at(tcp, 0)),
            to: SocketAddrV4::new(host(16), u16_at(tcp, 2)),
            number: u32::from_be_bytes(tcp[4..8].try_into().unwrap()),
            is_first: tcp[13] & SYN != 0,
            data: &tcp[usize::from(tcp[12] >> 4) * 4..],
        }))
    }
}

/// One direction of a connection, as its segments come.
#[derive(Default)]
struct Half {
    first: Option<u32>,
    /// By their place in the stream.
    parts: BTreeMap<u32, Vec<u8>>,
}

impl Half {
    fn add(&mut self, segment: &Segment<'_>) {
        if segment.is_first {
            self.first = Some(segment.number.wrapping_add(1));
        }
        let (Some(first), false) = (self.first, segment.data.is_empty()) else { return };
        let part = self.parts.entry(segment.number.wrapping_sub(first)).or_default();
        if part.len() < segment.data.len() {
            *part = segment.data.to_vec(); // sent again, with more in it
        }
    }

    /// All up to the first gap.
    fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, part) in self.parts {
            let known = bytes.len().checked_sub(at as usize);
            let Some(known) = known else { break };
            bytes.extend_from_slice(part.get(known..).unwrap_or_default());
        }
        bytes
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// In the order of the network.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

const TCP: u8 = 6;
const IGMP: u8 = 2;
const SYN: u8 = 2;
/// A record's text, and what encryption may add.
const RECORD_BYTES_MAX: usize = (1 << 14) + 256;
