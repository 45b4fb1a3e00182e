//! Scenarios: the same steps carried out by processes on several nodes, and one line for what came of
//! each, the same line that a real Erlang/OTP gives.
//!
//! ```text
//! $ cargo run --example scenario -- examples/scenario.json
//! {"id":"a crash travels","procs":{"a":{"alive":false,"died":4,"inbox":[],"node":"n1","reason":"boom"},"b":{"alive":false,"died":4,"inbox":[],"node":"n2","reason":"boom"},"watcher":{"alive":true,"inbox":[[4,"EXIT","b","boom"]],"links":[],"monitors":[],"name":null,"node":"n0","trap":true}},"results":["ok","ok","ok","ok","ok"]}
//! ```
//!
//! `pspawn scenario` is the same command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pspawn_actors::cli::scenario_main()
}
