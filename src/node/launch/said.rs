//! What a slave's OS processes write to their standard output and standard error.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use slog::debug;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Plan;
use crate::node::Node;
use crate::node::cell::lock;
use crate::node::guard::WorkerEnd;
use crate::node::output::OutputLine;
use crate::node::screen::Source;
use crate::term::NodeName;
use crate::wire::Stream;

pub(super) fn in_words(end: WorkerEnd) -> String {
    match end {
        WorkerEnd::Code(code) => format!("its worker exited with code {code}"),
        WorkerEnd::Signal(signal) => format!("its worker was killed by signal {signal}"),
        WorkerEnd::Silent => "its worker was silent".to_owned(),
    }
}

/// What a slave writes to its standard output and standard error: before it can talk it goes to
/// `$HOME/.erlang.slave.out.HOST`, then to the pool's output; the end of it is kept for error reports.
pub(crate) struct Said {
    node: Arc<Node>,
    pub(super) slave: NodeName,
    /// With how many bytes it may still take.
    file: Mutex<Option<(File, usize)>>,
    tail: Mutex<VecDeque<String>>,
    pub(super) report: Mutex<Option<WorkerEnd>>,
}

impl Said {
    pub(super) fn new(node: Arc<Node>, plan: &Plan) -> Said {
        let file = out_file(&plan.host.to_string()).and_then(|path| {
            let file = File::options().create(true).append(true).open(&path);
            let mut file = file
                .map_err(|why| debug!(node.log, "no file for a slave's output"; "reason" => %why))
                .ok()?;
            if file.metadata().is_ok_and(|meta| meta.len() > OUT_FILE_BYTES_MAX as u64) {
                let _ = file.set_len(0);
            }
            let _ = writeln!(file, "== {} started by {}", plan.name, node.name);
            Some((file, OUT_FILE_BYTES_MAX))
        });
        Said {
            node,
            slave: plan.name,
            file: Mutex::new(file),
            tail: Mutex::default(),
            report: Mutex::default(),
        }
    }

    /// From now on lines go to the pool's output.
    pub(crate) fn can_talk(&self) {
        *lock(&self.file) = None;
    }

    /// `why`, and what the slave wrote last.
    pub(crate) fn with_tail(&self, why: &str) -> String {
        let tail = lock(&self.tail);
        match tail.is_empty() {
            true => why.to_owned(),
            false => {
                let lines: Vec<&str> = tail.iter().map(String::as_str).collect();
                format!("{why}; it wrote: {}", lines.join(" / "))
            }
        }
    }

    /// What the slave wrote last, a line each.
    pub(super) fn tail_text(&self) -> String {
        Vec::from_iter(lock(&self.tail).iter().cloned()).join("\n")
    }

    fn line(&self, stream: Stream, line: String) {
        if let Ok(end) = line.parse::<WorkerEnd>() {
            *lock(&self.report) = Some(end);
            return;
        }
        {
            let mut tail = lock(&self.tail);
            if tail.len() == TAIL_LINES_MAX {
                tail.pop_front();
            }
            tail.push_back(line.chars().take(TAIL_CHARS_MAX).collect());
        }
        let mut file = lock(&self.file);
        match file.as_mut() {
            Some((file, room)) => {
                if let Some(left) = room.checked_sub(line.len() + 1) {
                    *room = left;
                    let _ = writeln!(file, "{line}"); // the tail has it too
                }
            }
            None => {
                drop(file);
                let line = OutputLine { node: self.slave, pid: None, stream, line };
                self.node.screen.push(self.slave, line, Source::Pipe);
            }
        }
    }

    /// Waits while too much of this slave's output waits to be shown.
    async fn room(&self) {
        self.node.screen.room(self.slave).await;
    }
}

/// `$HOME/.erlang.slave.out.HOST`.
fn out_file(host: &str) -> Option<PathBuf> {
    let plain: String = host.chars().map(|c| if c == '/' { '_' } else { c }).collect();
    Some(PathBuf::from(std::env::var_os("HOME")?).join(format!(".erlang.slave.out.{plain}")))
}

/// Hands on line by line; a line without an end is cut, so that it cannot fill the memory. While too much
/// waits to be shown nothing more is read, and so the slave waits with its `println!`.
pub(super) async fn pump(mut from: impl AsyncRead + Unpin, to: Arc<Said>, stream: Stream) {
    let mut held = Vec::new();
    let mut read = vec![0; 8 << 10];
    loop {
        let bytes = match from.read(&mut read).await {
            Ok(0) | Err(_) => break,
            Ok(bytes) => bytes,
        };
        held.extend_from_slice(&read[..bytes]);
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            to.line(stream, String::from_utf8_lossy(&line[..end]).into_owned());
            to.room().await;
        }
        if held.len() > LINE_BYTES_MAX {
            let line = std::mem::take(&mut held);
            to.line(stream, String::from_utf8_lossy(&line).into_owned());
            to.room().await;
        }
    }
    if !held.is_empty() {
        to.line(stream, String::from_utf8_lossy(&held).into_owned());
    }
}

const LINE_BYTES_MAX: usize = 64 << 10;
const TAIL_LINES_MAX: usize = 8;
const TAIL_CHARS_MAX: usize = 400;
/// Of one start; a file that is longer from former ones is begun anew.
const OUT_FILE_BYTES_MAX: usize = 1 << 20;
