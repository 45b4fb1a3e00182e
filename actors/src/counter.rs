//! An actor with a state: arguments that travel make it, messages change it one at a time.
//!
//! No lock is needed, and no two messages are ever handled at once, whichever nodes they come from.

use pspawn::prelude::*;

/// Counts, from where it was told to begin.
#[derive(Debug)]
pub struct Counter {
    total: i64,
}

/// Adds a number; is answered with the new total.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
pub struct Inc(pub i64);

/// Is answered with the total.
#[derive(Clone, Debug, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "i64")]
pub struct Get;

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Inc> for Counter {
    type Result = i64;

    fn handle(&mut self, Inc(n): Inc, _: &mut Context<Self>) -> i64 {
        self.total = self.total.saturating_add(n);
        self.total
    }
}

impl Handler<Get> for Counter {
    type Result = i64;

    fn handle(&mut self, Get: Get, _: &mut Context<Self>) -> i64 {
        self.total
    }
}

remote_actor!(Counter as "counter", new(total: i64) = Counter { total }, handles[Inc, Get]);
