//! `pspawn doctor`: each host tried step by step, and what to do about those that fail.
//!
//! It starts a pool of its own on the hosts, with the same code as `pspawn start`, so what it says is what a start
//! would say; then it asks each slave how it is, and ends the pool.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use futures::future::join_all;
use pspawn::{Cookie, Error, HostFailure, NodeName, Pool, StartError, StartEvent, StartStep, Via};
use serde_json::{Value as Json, json};

use super::hosts::Hosts;
use super::out::{BOLD, DIM, GREEN, PLAIN, RED, print, tell};
use crate::os::{Os, ProcessId, Vitals};

/// Try each host step by step, and say what to do about those that fail
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    /// Print one JSON object a host, as is done where there is no terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hosts: Hosts,
}

pub(super) async fn doctor(args: Doctor) -> Result<(), Error> {
    args.hosts.be_in_allocation("doctor")?;
    let charts = Arc::new(Charts::default());
    let heard = charts.clone();
    let builder = Pool::builder("doctor")
        .cookie(Cookie::random().map_err(StartError::from)?)
        .output(|_| {}) // what a slave says before it fails is in the failure
        .min_nodes(0)
        .on_progress(move |event| heard.note(event));
    let pool = args.hosts.set(builder, "doctor").start().await?;
    let loads: BTreeMap<NodeName, f64> = pool.nodes_and_load().await?.into_iter().collect();
    let up: Vec<(String, NodeName)> = charts.up();
    let health = join_all(up.iter().map(|(_, node)| examine(&pool, *node))).await;
    let stopped = pool.stop().await;

    let mut charts = charts.take();
    for ((host, node), health) in up.into_iter().zip(health) {
        let chart = charts.iter_mut().find(|chart| chart.host == host).expect("it has one");
        match health {
            Ok(health) => {
                chart.health = Some(Health { load: loads.get(&node).copied(), ..health });
            }
            Err(why) => chart.sick = Some(why.to_string()),
        }
    }
    let text = match args.json || !stdout().is_terminal() {
        true => charts.iter().map(|chart| format!("{}\n", chart.json())).collect(),
        false => table(&charts, columns()),
    };
    print(&text)?;
    stopped?;
    let ill = charts.iter().filter(|chart| !chart.is_well()).count();
    match ill {
        0 => Ok(()),
        _ => Err(format!("{ill} of {} hosts cannot be used as they are", charts.len()).into()),
    }
}

/// How a slave that is up does.
async fn examine(pool: &Pool, node: NodeName) -> Result<Health, Error> {
    let os = pool.spawn_on::<Os>(node, ()).await?;
    let mut round_trip = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let begin = Instant::now();
        os.send(ProcessId).await?;
        round_trip = round_trip.min(begin.elapsed());
    }
    let (before, begin) = (unix_micros(), Instant::now());
    let vitals = os.send(Vitals).await?;
    let half = i64::try_from(begin.elapsed().as_micros() / 2).unwrap_or_default();
    let clock_micros = vitals.unix_micros - (before + half);
    Ok(Health { round_trip, clock_micros, cores: vitals.cores, load: None, via: pool.via(node) })
}

fn unix_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// What is known of each host, in the order in which they were begun.
#[derive(Default)]
struct Charts(Mutex<Vec<Chart>>);

/// What is known of one host.
struct Chart {
    host: String,
    passed: Vec<(StartStep, String)>,
    failed: Option<HostFailure>,
    up: Option<(NodeName, Duration)>,
    health: Option<Health>,
    /// Up, and then something else.
    sick: Option<String>,
}

#[derive(Clone, Copy)]
struct Health {
    round_trip: Duration,
    /// How far its clock is ahead of ours.
    clock_micros: i64,
    cores: u32,
    load: Option<f64>,
    via: Option<Via>,
}

impl Charts {
    fn note(&self, event: &StartEvent) {
        let mut charts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            StartEvent::Starting { host } => {
                if stderr().is_terminal() {
                    tell(&format!("{DIM}trying {host}{PLAIN}"));
                }
                chart(&mut charts, host);
            }
            StartEvent::Passed { host, step, detail } => {
                chart(&mut charts, host).passed.push((*step, detail.clone()));
            }
            StartEvent::Up { host, node, after } => {
                chart(&mut charts, host).up = Some((*node, *after));
            }
            StartEvent::Failed(failure) => {
                chart(&mut charts, &failure.host).failed = Some(failure.clone());
            }
            _ => {} // from a library newer than this
        }
    }

    fn up(&self) -> Vec<(String, NodeName)> {
        let charts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        charts.iter().filter_map(|chart| Some((chart.host.clone(), chart.up?.0))).collect()
    }

    fn take(&self) -> Vec<Chart> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn chart<'a>(charts: &'a mut Vec<Chart>, host: &str) -> &'a mut Chart {
    let at = charts.iter().position(|chart| chart.host == host).unwrap_or_else(|| {
        charts.push(Chart::new(host));
        charts.len() - 1
    });
    &mut charts[at]
}

impl Chart {
    fn new(host: &str) -> Chart {
        let host = host.to_owned();
        Chart { host, passed: Vec::new(), failed: None, up: None, health: None, sick: None }
    }

    fn is_well(&self) -> bool {
        self.up.is_some() && self.failed.is_none() && self.sick.is_none()
    }

    /// Done, failed, or not come to: a step that was not told is done if a later one is.
    fn state(&self, step: StartStep) -> Option<bool> {
        let failed = self.failed.as_ref().map(|failure| failure.step);
        let last = self.passed.iter().map(|(step, _)| *step).max();
        match failed {
            Some(failed) if failed == step => Some(false),
            Some(failed) if step < failed => Some(true),
            Some(_) => None,
            None if self.up.is_some() || last >= Some(step) => Some(true),
            None => None,
        }
    }

    fn detail(&self, step: StartStep) -> &str {
        let passed = self.passed.iter().find(|(passed, _)| *passed == step);
        passed.map_or("", |(_, detail)| detail)
    }

    fn json(&self) -> Json {
        let steps = StartStep::ALL.into_iter().filter_map(|step| {
            let ok = self.state(step)?;
            Some(json!({ "step": step.to_string(), "ok": ok, "detail": self.detail(step) }))
        });
        let failed = self.failed.as_ref().map(|HostFailure { step, why, remedy, .. }| {
            json!({ "step": step.to_string(), "why": why, "remedy": remedy })
        });
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        json!({
            "host": self.host,
            "ok": self.is_well(),
            "steps": steps.collect::<Vec<_>>(),
            "failed": failed,
            "sick": self.sick,
            "node": self.up.map(|(node, _)| node.to_string()),
            "up_after_ms": self.up.map(|(_, after)| millis(after)),
            "via": self.health.and_then(|health| health.via).map(|via| via.to_string()),
            "round_trip_ms": self.health.map(|health| millis(health.round_trip)),
            "clock_ahead_ms": self.health.map(|health| milliseconds(health.clock_micros)),
            "cores": self.health.map(|health| health.cores),
            "load": self.health.and_then(|health| health.load),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a clock that is further off is wrong anyway")]
fn milliseconds(micros: i64) -> f64 {
    micros as f64 / 1000.0
}

/// For people: a row a host, with a column a step where there is room, and below it what is wrong.
fn table(charts: &[Chart], columns: usize) -> String {
    let heads = StartStep::ALL.map(|step| step.to_string());
    let names = charts.iter().map(|chart| chart.host.chars().count());
    let wide = names.max().unwrap_or_default().max("host".len());
    let steps_wide = heads.iter().map(|head| head.len() + 2).sum::<usize>();
    let each = wide + steps_wide + VITALS_WIDE <= columns;
    let mut text = format!("{BOLD}{:wide$}", "host");
    if each {
        text.extend(heads.iter().map(|head| format!("  {head}")));
    } else {
        text += &format!("  {:SHORT_WIDE$}", "steps");
    }
    text += &format!("  {:>8}  {:>10}  {:>9}  cores  load{PLAIN}\n", "via", "round trip", "clock");
    for chart in charts {
        text += &format!("{:wide$}", chart.host);
        if each {
            for (step, head) in StartStep::ALL.into_iter().zip(&heads) {
                let (colour, mark) = match chart.state(step) {
                    Some(true) => (GREEN, "ok"),
                    Some(false) => (RED, "FAILS"),
                    None => (DIM, "-"),
                };
                text += &format!("  {colour}{mark:<0$}{PLAIN}", head.len());
            }
        } else {
            let (colour, mark) = match &chart.failed {
                Some(failure) => (RED, format!("{} FAILS", failure.step)),
                None => (GREEN, "all ok".to_owned()),
            };
            text += &format!("  {colour}{mark:SHORT_WIDE$}{PLAIN}");
        }
        if let Some(Health { round_trip, clock_micros, cores, load, via }) = chart.health {
            let via = via.map(|via| via.to_string()).unwrap_or_default();
            let round_trip = format!("{:.2} ms", round_trip.as_secs_f64() * 1000.0);
            let clock = format!("{:+.0} ms", milliseconds(clock_micros) + 0.0);
            let load = load.map(|load| format!("{load:.2}")).unwrap_or_default();
            text += &format!("  {via:>8}  {round_trip:>10}  {clock:>9}  {cores:>5}  {load:>4}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for chart in charts {
        if let Some(HostFailure { host, step, why, remedy, .. }) = &chart.failed {
            text += &format!("\n{RED}{host} fails at step {step}{PLAIN}: {why}\n");
            if let Some(remedy) = remedy {
                text += &format!("  {BOLD}what to do{PLAIN}: {remedy}\n");
            }
        }
        if let Some(why) = &chart.sick {
            text += &format!("\n{RED}{} was up, and then{PLAIN}: {why}\n", chart.host);
        }
        let ahead = chart.health.map(|health| health.clock_micros).unwrap_or_default();
        if ahead.unsigned_abs() > CLOCK_MICROS_MAX {
            let host = &chart.host;
            text += &format!(
                "\n{host}: its clock differs by {:.1} s: pspawn does not mind, logs and make do; `timedatectl` shows \
                 whether it is kept\n",
                milliseconds(ahead) / 1000.0
            );
        }
    }
    text
}

/// How wide the terminal is.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(stdout());
    size.map_or(COLUMNS, |size| match size.ws_col {
        0 => COLUMNS,
        columns => columns.into(),
    })
}

/// Of a terminal that does not say.
const COLUMNS: usize = 80;
/// What follows the steps in a row.
const VITALS_WIDE: usize = 49;
/// What stands for all steps where there is no room for each: `call back FAILS`.
const SHORT_WIDE: usize = 15;
/// The shortest of so many counts.
const ROUND_TRIPS: usize = 5;
/// Clocks that differ by more are worth a word.
const CLOCK_MICROS_MAX: u64 = 500_000;

const EXAMPLES: &str = "\
Examples:
  pspawn doctor                           the hosts of .hosts.erlang
  pspawn doctor --hosts farm.hosts
  pspawn doctor --slurm                   inside a Slurm allocation
  pspawn doctor --json | jq 'select(.ok | not) | .failed.remedy'

The steps are those of a start: name, resolve, connect, host key, login, shell, platform, cache, ship, launch, call
back. A slave that comes up is asked for its clock, cores and load, and is stopped again.
Exit codes: 0 all hosts are well, 1 some are not.";
