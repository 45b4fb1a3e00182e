//! Erlang's side: a real Erlang/OTP, if the `PATH` leads to one.
//!
//! Its program is in this executable, and is compiled into a directory that is gone afterwards. The nodes find
//! each other by files there (as those of `pspawn scenario` do), so that no `epmd` is started and none of the
//! user's is disturbed. Each measurement has fresh nodes; they end with their standard input.

use std::ffi::OsStr;
use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pspawn::Error;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::measure::median;
use super::{Effort, jobs, kill};
use crate::scenario::otp::{Erlang as Installation, Home, Otp};

/// Which nodes a workload needs, besides the one that measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nodes {
    /// None.
    Alone,
    /// One to talk to.
    Pair,
    /// A pool's master, and so many slaves, one of which measures.
    Pool(usize),
    /// Those that are killed.
    Victims,
}

/// An installation, and our program compiled for it.
pub(crate) struct Erlang {
    of: Installation,
    home: Home,
}

impl Erlang {
    /// The one that the `PATH` leads to, if there is one.
    ///
    /// # Errors
    /// If it does not compile our program.
    pub(crate) async fn find() -> Result<Option<Erlang>, Error> {
        let Some(of) = Otp::find() else { return Ok(None) };
        let home = Home::new("pspawn-bench").map_err(|why| why.to_string())?;
        let mut compile = Command::new(&of.erlc);
        compile.current_dir(home.path());
        for (name, text) in FILES {
            let path = home.path().join(name);
            fs::write(&path, text)?;
            if path.extension() == Some(OsStr::new("erl")) {
                compile.arg(path);
            }
        }
        let compiled = compile.kill_on_drop(true).output().await?;
        if !compiled.status.success() {
            let said = [compiled.stdout, compiled.stderr].concat();
            return Err(format!("erlc: {}", String::from_utf8_lossy(&said)).into());
        }
        Ok(Some(Erlang { of, home }))
    }

    /// Measures a workload on fresh nodes.
    pub(super) async fn measure(
        &self,
        workload: &str,
        nodes: Nodes,
        effort: Effort,
    ) -> Result<f64, Error> {
        if let Nodes::Pool(slaves) = nodes {
            fs::write(self.home.path().join("jobs"), jobs::as_text(effort, slaves + 1))?;
        }
        let others = match nodes {
            Nodes::Alone => 0,
            Nodes::Pair => 1,
            Nodes::Pool(slaves) => slaves, // one is the near node, and a master comes with them
            Nodes::Victims => effort.kills as usize,
        };
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut others_up = Vec::new();
        let mut names = Vec::new();
        for _ in 0..others {
            let name = format!("far{}@127.0.0.1", NUMBER.fetch_add(1, Ordering::Relaxed));
            others_up.push(self.node(&name, &["-s", "bench", "peer"])?);
            names.push(name);
        }
        // One that is connected with before it is all up loses what is started there.
        let mut open = Vec::new();
        for other in &mut others_up {
            let mut said = lines_of(other)?;
            match timeout(PATIENCE, said.next_line()).await {
                Ok(Ok(Some(line))) if line == "up" => open.push(said),
                Ok(said) => return Err(format!("Erlang says: {said:?}").into()),
                Err(_) => return Err("Erlang does not come up".into()),
            }
        }
        let name = format!("near{}@127.0.0.1", NUMBER.fetch_add(1, Ordering::Relaxed));
        let Effort { warm, long, idle, flood, transfer, asks, .. } = effort;
        let effort = format!(
            "warm_ms={},long_ms={},idle={idle},flood={flood},transfer={transfer},asks={asks}",
            warm.as_millis(),
            long.as_millis(),
        );
        let mut args = vec!["-s", "bench", "main", "-extra", workload, &effort];
        args.extend(names.iter().map(String::as_str));
        let mut near = self.node(&name, &args)?;
        let measured = match timeout(PATIENCE, figure(&mut near)).await {
            Ok(measured) => measured,
            Err(_) => Err(format!("Erlang has no figure after {PATIENCE:?}").into()),
        };
        for mut node in others_up.into_iter().chain([near]) {
            node.kill().await?; // and it has been waited for
        }
        measured
    }

    fn node(&self, name: &str, args: &[&str]) -> Result<Child, Error> {
        let mut node = Command::new(&self.of.erl);
        // The cookie is in there, and nothing of the user's is read.
        node.env("HOME", self.home.path()).env("ERL_CRASH_DUMP_SECONDS", "0");
        node.current_dir(self.home.path()).args(ALL_NODES).args(["-name", name]).args(args);
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        Ok(node.spawn()?)
    }
}

fn lines_of(node: &mut Child) -> Result<Lines<BufReader<ChildStdout>>, Error> {
    Ok(BufReader::new(node.stdout.take().ok_or("it has no output")?).lines())
}

/// Longer than any measurement takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the near node says in the end; whom it wants to have killed is.
async fn figure(near: &mut Child) -> Result<f64, Error> {
    let mut lines = lines_of(near)?;
    let (mut killed_at, mut notices) = (0, Vec::new());
    while let Some(line) = lines.next_line().await? {
        let (word, number) = line.split_once(' ').unwrap_or((&line, ""));
        match (word, number.parse::<f64>(), number.parse::<u64>()) {
            ("figure", Ok(figure), _) => return Ok(figure),
            ("kill", _, Ok(os_process)) => killed_at = kill::now_and_kill(os_process)?,
            ("noticed", _, Ok(at)) => notices.push(kill::millis(killed_at, at)),
            ("done", ..) => return Ok(median(&notices)),
            _ => return Err(format!("Erlang says: {line}").into()),
        }
    }
    Err("Erlang ended without a word".into())
}

/// Erlang's own defaults, but for how nodes are found, and where they listen.
const ALL_NODES: &[&str] = &[
    "-noshell",
    "-boot",
    "no_dot_erlang",
    "-epmd_module",
    "otp_names",
    "-start_epmd",
    "false",
    "-kernel",
    "inet_dist_use_interface",
    "{127,0,0,1}",
    "-kernel",
    "logger_level",
    "none",
];

const FILES: [(&str, &str); 3] = [
    ("bench.erl", include_str!("bench.erl")),
    ("otp_names.erl", include_str!("../../../tests/otp/otp_names.erl")),
    (".hosts.erlang", ""),
];
