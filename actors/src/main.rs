//! `pspawn`: the stock node with the ready-made actors, and the command line.

use std::process::ExitCode;

// A library has no say in it: this is for the binary alone.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pspawn_actors::cli::main()
}
