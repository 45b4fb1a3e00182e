//! How the start of a pool goes, host by host: a line each as it is done, and on a terminal below them
//! who is still to come, and how far the first of them is.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use pspawn::{StartEvent, StartStep};

use crate::cli::out::{DIM, GREEN, PLAIN, RED, tell};

pub(super) struct Board {
    live: bool,
    /// The hosts that are still to come; one may be named several times.
    starting: Mutex<Vec<Coming>>,
}

/// A host that is still to come.
struct Coming {
    host: String,
    /// What is being done there.
    at: String,
}

impl Board {
    pub(super) fn new() -> Board {
        Board { live: io::stderr().is_terminal(), starting: Mutex::default() }
    }

    pub(super) fn show(&self, event: &StartEvent) {
        let mut starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            StartEvent::Starting { host } => {
                starting.push(Coming { host: host.clone(), at: String::new() });
                self.line(None, &starting);
            }
            StartEvent::Passed { host, step, .. } => {
                let next = StartStep::ALL.into_iter().find(|next| next > step);
                let at = next.map(|next| next.to_string()).unwrap_or_default();
                self.go_on(&mut starting, host, at);
            }
            StartEvent::Sent { host, bytes, of } => {
                let (sent, of) = (bytes >> 20, of >> 20);
                self.go_on(&mut starting, host, format!("sending, {sent} of {of} MiB"));
            }
            StartEvent::Up { host, node, after } => {
                remove(&mut starting, host);
                let text = format!("{host}: {node} is up after {} ms", after.as_millis());
                self.line(Some((GREEN, text)), &starting);
            }
            StartEvent::Failed(failure) => {
                remove(&mut starting, &failure.host);
                let (host, step, why) = (&failure.host, failure.step, &failure.why);
                let remedy = failure.remedy.as_ref().map(|remedy| format!("; {remedy}"));
                let remedy = remedy.unwrap_or_default();
                let text = format!("{host}: failed at step {step}: {why}{remedy}");
                self.line(Some((RED, text)), &starting);
            }
            _ => {} // from a library newer than this
        }
    }

    fn go_on(&self, starting: &mut [Coming], host: &str, at: String) {
        if let Some(coming) = starting.iter_mut().find(|coming| coming.host == host)
            && coming.at != at
        {
            coming.at = at;
            self.line(None, starting);
        }
    }

    /// One line that stays, if there is one, and one that the next call overwrites.
    fn line(&self, done: Option<(&str, String)>, starting: &[Coming]) {
        if !self.live {
            if let Some((_, text)) = done {
                tell(&text);
            }
            return;
        }
        let done = done.map(|(colour, text)| format!("{colour}{text}{PLAIN}\n"));
        let coming = match starting {
            [] => String::new(),
            [first, others @ ..] => {
                // Short, as a line that wraps cannot be overwritten.
                let host: String = first.host.chars().take(30).collect();
                let at =
                    if first.at.is_empty() { String::new() } else { format!(" ({})", first.at) };
                let others = match others.len() {
                    0 => String::new(),
                    others => format!(" and {others} more"),
                };
                format!("{DIM}starting {host}{at}{others}{PLAIN}")
            }
        };
        let text = format!("\r{CLEAR_LINE}{}{coming}", done.unwrap_or_default());
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

fn remove(starting: &mut Vec<Coming>, host: &str) {
    if let Some(at) = starting.iter().position(|coming| coming.host == host) {
        starting.remove(at);
    }
}

const CLEAR_LINE: &str = "\x1b[2K";
