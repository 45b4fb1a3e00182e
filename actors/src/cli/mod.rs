//! The command line, for any program: its own actors are those that it links.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     pspawn_actors::cli::main()
//! }
//! ```
//!
//! Exit codes: 0 done, 1 the work failed, 2 usage, 3 could not start or reach the pool. Data goes to
//! standard output, everything else to standard error.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use pspawn::Error;

mod attach;
mod bench;
mod conformance;
mod demo;
mod doctor;
mod hosts;
mod kill;
mod kinds;
mod node;
mod nodes;
mod out;
mod place;
mod running;
mod scenario;
mod signals;
mod spawn;
mod start;
mod stop;

/// Reads the command line, does what it says, and gives the exit code.
///
/// In an OS process that was started as a slave it is the slave, and never returns.
#[must_use]
pub fn main() -> ExitCode {
    pspawn::init(); // before clap: the arguments of a slave are none of ours
    let Cli { command } = Cli::parse();
    if let Command::BenchPeer(peer) = command {
        return bench::peer(&peer); // the limit is measured with nothing of pspawn around it
    }
    pspawn::run(|| run(command))
}

/// `pspawn scenario` as a program of its own.
///
/// In an OS process that was started as a slave it is the slave, and never returns.
#[must_use]
pub fn scenario_main() -> ExitCode {
    pspawn::init();
    let args = ScenarioCli::parse();
    pspawn::run(|| scenario::scenario(args.scenario))
}

/// Random scenarios on pspawn and on a real Erlang/OTP, as a program of its own.
///
/// In an OS process that was started as a slave it is the slave, and never returns.
#[must_use]
pub fn conformance_main() -> ExitCode {
    pspawn::init();
    let args = ConformanceCli::parse();
    pspawn::run(|| conformance::conformance(args.conformance))
}

async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Bench(args) => bench::bench(args).await,
        Command::BenchPeer(_) => unreachable!("it was looked at before"),
        Command::Demo(args) => signals::unless_asked_to_end(demo::demo(args)).await,
        Command::Doctor(args) => signals::unless_asked_to_end(doctor::doctor(args)).await,
        Command::Start(args) => start::start(args).await,
        Command::Node(args) => node::node(args).await,
        Command::Nodes(args) => nodes::nodes(args).await,
        Command::Kinds(args) => kinds::kinds(args).await,
        Command::Scenario(args) => scenario::scenario(args).await,
        Command::Spawn(args) => spawn::spawn(args).await,
        Command::Attach(args) => attach::attach(args).await,
        Command::Kill(args) => kill::kill(args).await,
        Command::Stop(args) => stop::stop(args).await,
    }
}

/// Ends with what clap says of wrong arguments: for what only shows when they are looked at together.
fn usage(command: &str, why: &str) -> ! {
    let mut cli = Cli::command();
    cli.build();
    let of = cli.find_subcommand_mut(command).expect("one of ours");
    of.error(ErrorKind::ValueValidation, why).exit()
}

/// Erlang's pool for Rust: a set of machines used as one set of processors.
#[derive(Debug, Parser)]
#[command(name = "pspawn", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Parser)]
#[command(name = "scenario", max_term_width = 100)]
struct ScenarioCli {
    #[command(flatten)]
    scenario: scenario::Scenario,
}

#[derive(Debug, Parser)]
#[command(name = "conformance", max_term_width = 100)]
struct ConformanceCli {
    #[command(flatten)]
    conformance: conformance::Conformance,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(bench::Bench),
    #[command(hide = true)]
    BenchPeer(bench::Peer),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    Start(start::Start),
    Node(node::Node),
    Nodes(nodes::Nodes),
    Kinds(kinds::Kinds),
    Scenario(scenario::Scenario),
    Spawn(spawn::Spawn),
    Attach(attach::Attach),
    Kill(kill::Kill),
    Stop(stop::Stop),
}

const EXAMPLES: &str = "\
Examples:
  pspawn demo                          a pool, a picture, a crash, a recovery
  pspawn doctor                        try each host of .hosts.erlang, and say what is wrong
  pspawn start demo --local 2          in one terminal: a pool of two slaves on this machine
  pspawn nodes                         in another: who is in it, with load
  pspawn kinds                         what can be started
  pspawn spawn math cube_of '[7]'      start one, print its result
  pspawn stop                          end the pool
  pspawn bench                         how fast it is here, next to the limit and to Erlang

Exit codes: 0 done, 1 the work failed, 2 usage, 3 could not start or reach the pool.";
