//! `pspawn`: the stock node with the ready-made actors, and the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    pspawn_actors::cli::main()
}
