//! Conformance: random scenarios of links, exits, monitors, names and lost nodes, and random lives of
//! supervisors, on pspawn and on a real Erlang/OTP; the first difference in its smallest form.
//!
//! `cargo run --release --example conformance -- --seed 7 --count 10000` needs `erl` on the `PATH`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pspawn_actors::cli::conformance_main()
}
