//! The actors of one node, by number.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use super::cell::{Cell, lock};

/// Who lives on this node. Split in shards, so that arbiters do not wait for each other.
pub(crate) struct Table {
    shards: Vec<Mutex<Shard>>,
}

type Shard = HashMap<u64, Arc<Cell>, BuildHasherDefault<Number>>;

impl Table {
    pub(crate) fn new() -> Table {
        Table { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    pub(crate) fn insert(&self, cell: Arc<Cell>) {
        self.shard(cell.pid.number()).insert(cell.pid.number(), cell);
    }

    pub(crate) fn remove(&self, number: u64) {
        let mut shard = self.shard(number);
        let removed = shard.remove(&number);
        if shard.capacity() > SPARE_MAX && shard.len() < shard.capacity() / 8 {
            let room = shard.len() * 2;
            shard.shrink_to(room);
        }
        drop(shard);
        drop(removed);
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Cell>> {
        self.shard(number).get(&number).cloned()
    }

    /// Everybody who lives here.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        self.shards
            .iter()
            .flat_map(|shard| lock(shard).values().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// How many actors live here.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[number as usize % SHARDS])
    }
}

/// Pid numbers are dealt in sequence: spreading their bits is all that a table needs.
#[derive(Default)]
struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

const SHARDS: usize = 32;
/// Room that a shard keeps.
const SPARE_MAX: usize = 256;
