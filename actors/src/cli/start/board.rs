//! How the start of a pool goes, host by host: on a terminal a line a host that changes in place, else
//! a line an event.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pspawn::StartEvent;

use crate::cli::out::{DIM, GREEN, PLAIN, RED, tell};

pub(super) struct Board {
    live: bool,
    rows: Mutex<Rows>,
}

/// What is on the terminal; the hosts may be named several times.
#[derive(Default)]
struct Rows {
    rows: Vec<(String, Row)>,
    drawn: usize,
    ended: bool,
}

enum Row {
    Starting,
    Up { node: String, after: Duration },
    Failed { step: String, why: String },
}

impl Board {
    pub(super) fn new() -> Board {
        Board { live: io::stderr().is_terminal(), rows: Mutex::default() }
    }

    pub(super) fn show(&self, event: &StartEvent) {
        let (host, row) = match event {
            StartEvent::Starting { host } => (host, Row::Starting),
            StartEvent::Up { host, node, after } => {
                (host, Row::Up { node: node.to_string(), after: *after })
            }
            StartEvent::Failed(failure) => (
                &failure.host,
                Row::Failed { step: failure.step.to_string(), why: failure.why.clone() },
            ),
            _ => return, // a library newer than this
        };
        if !self.live {
            return match row {
                Row::Starting => {}
                Row::Up { .. } | Row::Failed { .. } => tell(&line(host, &row)),
            };
        }
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let starting =
            rows.rows.iter_mut().find(|(of, row)| of == host && matches!(row, Row::Starting));
        match (starting, row) {
            (Some(place), row @ (Row::Up { .. } | Row::Failed { .. })) => place.1 = row,
            (_, row) => rows.rows.push((host.clone(), row)),
        }
        rows.draw();
    }

    /// Lets go of the terminal: the lines stay as they are.
    pub(super) fn end(&self) {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    }
}

impl Rows {
    fn draw(&mut self) {
        if self.ended {
            return;
        }
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        for (host, row) in &self.rows {
            let colour = match row {
                Row::Starting => DIM,
                Row::Up { .. } => GREEN,
                Row::Failed { .. } => RED,
            };
            let _ = writeln!(text, "\r\x1b[2K{colour}{}{PLAIN}", line(host, row));
        }
        self.drawn = self.rows.len();
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

fn line(host: &str, row: &Row) -> String {
    match row {
        Row::Starting => format!("{host}: starting"),
        Row::Up { node, after } => format!("{host}: {node} is up after {} ms", after.as_millis()),
        Row::Failed { step, why } => format!("{host}: failed at step {step}: {why}"),
    }
}
