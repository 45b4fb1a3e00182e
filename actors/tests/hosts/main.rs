//! Pools over several machines: pretend hosts with a sshd each, that can be cut off, slowed down and powered off.
//!
//! They need Linux, root and a few packages (`tests/hosts/net.sh able` says which); where they cannot be had each test
//! says so and passes. `tests/hosts/net.sh hold 3` gives a person the same hosts to play with.

#[path = "../support/mod.rs"]
mod support;

mod capture;
mod fixture;

mod ends;
mod faults;
mod files;
mod partitions;
mod plain;
mod secrets;
mod slurm;
mod starts;
mod ways;

use pspawn::prelude::*;
// What the stock node can start, its slaves that run this executable can start too.
use pspawn_actors as _;

/// Watches a process on another node, and returns why that has ended.
async fn watch(mut ctx: Ctx, node: NodeName) -> String {
    let it = ctx.pool().spawn_mfa_on(node, "hosts", "wait", ()).await;
    let it = it.unwrap_or_else(|why| exit(ExitReason::exit(why.to_string())));
    ctx.monitor(it);
    say!("watching {it}");
    ctx.receive::<Down>().await.reason.to_string()
}

async fn wait(mut ctx: Ctx) {
    ctx.receive::<()>().await;
}

/// As many bytes as asked for, from another node.
async fn fetch(ctx: Ctx, node: NodeName, bytes: usize) -> usize {
    let called = ctx.pool().call_on::<String>(node, "hosts", "text", (bytes,)).await;
    let text = match called {
        Ok(running) => running.result().await.map_err(|why| why.to_string()),
        Err(why) => Err(why.to_string()),
    };
    text.unwrap_or_else(|why| exit(ExitReason::exit(why))).len()
}

async fn text(_: Ctx, bytes: usize) -> String {
    "x".repeat(bytes)
}

// For slaves that run this very executable.
remote_fn!("hosts": watch, wait, fetch, text);
