//! Decisions: plain functions of what has happened. No clock, socket, thread or actix in here.

pub(crate) mod balance;
pub(crate) mod calls;
pub(crate) mod credit;
pub(crate) mod differences;
pub(crate) mod directory;
pub(crate) mod flow;
pub(crate) mod fold;
pub(crate) mod jobs;
pub(crate) mod life;
pub(crate) mod members;
pub(crate) mod mutant;
pub(crate) mod pace;
pub(crate) mod pause;
pub(crate) mod placement;
pub(crate) mod ranking;
pub(crate) mod refusals;
pub(crate) mod relay;
pub(crate) mod replica;
pub(crate) mod restart;
pub(crate) mod ring;
#[cfg(test)]
mod simulated;
pub(crate) mod spin;
pub(crate) mod spool;
