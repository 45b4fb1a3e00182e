//! The launcher for this machine: an OS process, without a shell.

use std::process::Command;

use super::{Launcher, Order, StartFault};

/// Starts slaves as OS processes of this machine: what hosts such as `localhost` get.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Launcher for Local {
    fn name(&self) -> &str {
        "local"
    }

    fn command(&self, order: &Order<'_>) -> Result<Command, StartFault> {
        let words = order.program_words();
        let (program, args) = words.split_first().expect("the program comes first");
        let mut command = Command::new(program);
        command.args(args);
        Ok(command)
    }

    fn ships(&self) -> bool {
        false
    }

    fn is_local(&self) -> bool {
        true
    }
}
