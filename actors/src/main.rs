//! The stock node and command line.

use std::process::ExitCode;

use clap::Parser;

mod cli {
    pub(crate) mod demo;
}

#[derive(Parser)]
#[command(name = "pspawn", version, about = "A set of machines used as one set of processors")]
enum Command {
    /// A local pool, a real computation, a crash, a recovery, a picture
    Demo(cli::demo::Demo),
}

fn main() -> ExitCode {
    let Command::Demo(args) = Command::parse();
    pspawn::run(|| cli::demo::demo(args))
}
