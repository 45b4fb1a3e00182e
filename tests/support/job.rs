//! An actor that does something: it counts how often it was called.
#![allow(unreachable_pub, reason = "a test is a crate of its own")]

use pspawn::prelude::*;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u32")]
pub struct Work;

pub struct Job(u32);

impl Actor for Job {
    type Context = Context<Self>;
}

impl Handler<Work> for Job {
    type Result = u32;

    fn handle(&mut self, _: Work, _: &mut Context<Self>) -> u32 {
        self.0 += 1;
        self.0
    }
}

remote_actor!(Job as "job", new() = Job(0), handles[Work]);
