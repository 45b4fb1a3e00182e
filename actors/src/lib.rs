//! Ready-made actors for pspawn: one a file, each a lesson, and all of them in the stock node `pspawn`.
//!
//! Erlang's pool finds code on every node's code path. A Rust program has no such path: what a node can
//! start is what was linked into its executable, and master and slaves are the same executable. This
//! package is that path. To have a node with actors of your own:
//!
//! 1. copy this directory, and rename the package in `Cargo.toml`;
//! 2. put your actors beside these, or in their place, each with its line `remote_actor!` or
//!    `remote_fn!`;
//! 3. name their modules here, so that they are linked;
//! 4. `cargo run -- kinds` lists what your node can start, and every other command works on it, too.
//!
//! A program with a `main` of its own needs no more than the actors and [`pspawn::run`].
//!
//! | to see | read |
//! |---|---|
//! | an actor that answers | [`echo`] |
//! | an actor of a given node | [`os`] |
//! | an actor with a state and arguments | [`counter`] |
//! | how actors end, and what others hear of it | [`fuse`] |
//! | addresses in messages, links | [`relay`] |
//! | functions of one line, and one that crashes | [`math`] |
//! | a function that waits for files, and one whose end says why it failed | [`text`] |
//! | functions that read the master's files, wherever they run | [`shared`] |
//! | a function that computes for long and is a good neighbour | [`primes`] |
//! | the same with results as messages: what `pspawn demo` draws | [`mandelbrot`] |
//! | OS processes that end with their actor; what must not be started by anybody | [`shell`] |

mod bench;
pub mod cli;
pub mod counter;
pub mod echo;
pub mod fuse;
pub mod mandelbrot;
pub mod math;
pub mod os;
pub mod primes;
pub mod relay;
pub mod scenario;
pub mod shared;
pub mod shell;
pub mod text;
