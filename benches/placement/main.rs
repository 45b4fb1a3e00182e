//! The pool's placement policy in a simulated time, against others: `cargo bench --bench placement`.
//! With `--quick` fewer jobs and settings, with `--markdown` the tables as docs/performance.md has
//! them. Nothing is timed: the figures are the same on every machine.

// The policy itself, as it is: the library's own files.
#[path = "../../src/core"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod core {
    pub(crate) mod jobs;
    pub(crate) mod members;
    pub(crate) mod pace;
    pub(crate) mod placement;
    pub(crate) mod ranking;
    pub(crate) mod replica;
}
#[path = "../../src/term/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod term;

mod policies;
mod simulation;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use policies::Who;
use simulation::{Hosts, Jobs, Lengths, NEAR_BY, Outcome, Service, Setting, run};

/// One row's setting, and one column's.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    lengths: Lengths,
    uneven: bool,
    network: f64,
    nodes: usize,
    job_millis: u32,
    percent: u32,
}

/// What ran in a cell.
type Results = HashMap<&'static str, Outcome>;

const POLICIES: [(&str, Who); 7] = [
    ("oracle", Who::Oracle),
    ("distant", Who::Distant),
    ("round robin", Who::RoundRobin),
    ("random", Who::Random),
    ("OTP", Who::Otp),
    ("ours", Who::Ours),
    ("ours, 100 ms", Who::OursSlow),
];

fn main() {
    let has = |flag: &str| std::env::args().any(|arg| arg == flag);
    if !has("--bench") {
        return; // `cargo test` runs it as it is: not optimised, this takes an hour
    }
    let (quick, markdown) = (has("--quick"), has("--markdown"));
    let cells = cells(quick);
    let sets = [Lengths::Exponential, Lengths::HeavyTailed];
    let sets = sets.map(|lengths| (lengths, Jobs::new(JOBS_MAX, lengths)));
    let results: Vec<Mutex<Results>> = cells.iter().map(|_| Mutex::default()).collect();
    let tasks: Vec<(usize, usize)> = (0..cells.len())
        .flat_map(|cell| (0..POLICIES.len()).map(move |policy| (cell, policy)))
        .collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&(at, policy)) = tasks.get(next.fetch_add(1, Relaxed)) {
                    let (name, who) = POLICIES[policy];
                    let outcome = simulate(&cells[at], who, &sets, quick);
                    results[at].lock().expect("no thread panicked").insert(name, outcome);
                }
            });
        }
    });
    let results: Vec<Results> =
        results.into_iter().map(|cell| cell.into_inner().expect("no thread panicked")).collect();
    for (lengths, uneven, network) in KINDS {
        let of =
            |cell: &&Cell| (cell.lengths, cell.uneven, cell.network) == (lengths, uneven, network);
        let cells: Vec<&Cell> = cells.iter().filter(of).collect();
        print!("{}", table(&cells, |cell| find(cell, &results, quick), markdown));
    }
    print!("{}", waits(&sets[1].1, markdown));
    print!("{}", copies(&sets, quick, markdown));
    print!("{}", verdict(&cells, &results));
}

/// Where slaves choose by copies of the master's table.
fn copies(sets: &[(Lengths, Jobs)], quick: bool, markdown: bool) -> String {
    let deciders = [1, 4, 16];
    let mut text = String::from(
        "\nexponential job lengths, even hosts, 1, 4, 16 slaves that choose by copies\n\n",
    );
    text.push_str(if markdown {
        "| nodes | job | 50 % | 80 % | 95 % |\n|---|---|---|---|---|\n"
    } else {
        ""
    });
    let nodes: &[usize] = if quick { &[8, 32] } else { &[8, 32, 100] };
    for &nodes in nodes {
        for job_millis in [1, 10, 200, 2_000] {
            let _ = write!(text, "| {nodes} | {job_millis} ms |");
            for percent in [50, 80, 95] {
                let (lengths, uneven, network) = (Lengths::Exponential, false, NEAR_BY);
                let cell = Cell { lengths, uneven, network, nodes, job_millis, percent };
                let mean = |who| simulate(&cell, who, sets, true).mean_response;
                let oracle = mean(Who::Oracle);
                for count in deciders {
                    let _ = write!(text, " {:.3}", mean(Who::Copies(count)) / oracle);
                }
                text.push_str(" |");
            }
            text.push('\n');
        }
    }
    text
}

/// How long the hundredth that waits longest takes, where a job that has a core keeps it to its end:
/// heavy-tailed jobs of 100 ms, five nodes of one core.
fn waits(jobs: &Jobs, markdown: bool) -> String {
    let hosts = Hosts(vec![(1, 1.0); 5]);
    let who = [Who::Oracle, Who::Ours, Who::RoundRobin, Who::Otp];
    let mut text = String::from(
        "\nthe slowest hundredth of heavy-tailed jobs, one after another, in seconds\n\n",
    );
    let head = "| utilisation | oracle | ours | round robin | OTP | ours / OTP |\n|---|---|---|---|---|---|\n";
    text.push_str(if markdown { head } else { "     oracle ours round robin OTP; ours / OTP\n" });
    for percent in [50, 70, 90] {
        let p99 = who.map(|who| {
            let setting = Setting {
                hosts: &hosts,
                jobs: jobs.first(JOBS),
                job_mean: 0.1,
                utilisation: f64::from(percent) / 100.0,
                reports: who.reports(NEAR_BY),
                service: Service::InTurn,
                network: NEAR_BY,
            };
            run(&setting, &mut *who.policy(&hosts, NEAR_BY)).p99_response
        });
        let [oracle, ours, round_robin, otp] = p99;
        let _ = writeln!(
            text,
            "| {percent} % | {oracle:.2} | {ours:.2} | {round_robin:.2} | {otp:.2} | {:.2} |",
            ours / otp
        );
    }
    text
}

fn cells(quick: bool) -> Vec<Cell> {
    let nodes: &[usize] = if quick { &[2, 8, 32] } else { &[2, 8, 32, 100, 1_000] };
    let percents: &[u32] = if quick { &[50, 80, 95] } else { &[50, 70, 80, 90, 95] };
    let mut cells = Vec::new();
    for (lengths, uneven, network) in KINDS {
        // How far it is makes a difference to short jobs only.
        let jobs = if network == NEAR_BY { &JOB_MILLIS[..] } else { &JOB_MILLIS[..2] };
        for &nodes in nodes {
            for &job_millis in jobs {
                for &percent in percents {
                    cells.push(Cell { lengths, uneven, network, nodes, job_millis, percent });
                }
            }
        }
    }
    cells
}

fn simulate(cell: &Cell, who: Who, sets: &[(Lengths, Jobs)], quick: bool) -> Outcome {
    let hosts = if cell.uneven { Hosts::uneven(cell.nodes) } else { Hosts::even(cell.nodes) };
    let (_, jobs) = sets.iter().find(|(lengths, _)| *lengths == cell.lengths).expect("both");
    let setting = Setting {
        hosts: &hosts,
        jobs: jobs.first(match (quick, cell.nodes) {
            (true, _) => JOBS_QUICK,
            (false, ..1_000) => JOBS,
            (false, 1_000..) => JOBS_MAX, // a hundred for each core
        }),
        job_mean: f64::from(cell.job_millis) / 1e3,
        utilisation: f64::from(cell.percent) / 100.0,
        reports: who.reports(cell.network),
        service: Service::Shared,
        network: cell.network,
    };
    run(&setting, &mut *who.policy(&hosts, cell.network))
}

fn find<'a>(cell: &Cell, results: &'a [Results], quick: bool) -> &'a Results {
    let at = cells(quick).iter().position(|other| other == cell).expect("a cell of the table");
    &results[at]
}

/// How much longer than with the oracle's choices the jobs took in the mean.
fn ratio(results: &Results, who: &str) -> f64 {
    results[who].mean_response / results["oracle"].mean_response
}

fn table<'a>(cells: &[&Cell], of: impl Fn(&Cell) -> &'a Results, markdown: bool) -> String {
    let Some(first) = cells.first() else { return String::new() };
    let mut text = String::new();
    let lengths = match first.lengths {
        Lengths::Exponential => "exponential job lengths",
        Lengths::HeavyTailed => "heavy-tailed job lengths",
    };
    let hosts = if first.uneven { "uneven hosts" } else { "even hosts" };
    let network = first.network * 1e3;
    let mut percents: Vec<u32> = cells.iter().map(|cell| cell.percent).collect();
    percents.sort_unstable();
    percents.dedup();
    let _ = writeln!(
        text,
        "\n{}{lengths}, {hosts}, {network} ms away\n",
        if markdown { "#### " } else { "" }
    );
    let head: Vec<String> = percents.iter().map(|percent| format!("{percent} %")).collect();
    if markdown {
        let _ = writeln!(text, "| nodes | job | {} |", head.join(" | "));
        let _ = writeln!(text, "|---|---|{}", "---|".repeat(head.len()));
    } else {
        let _ = write!(text, "{:>6}{:>9}", "nodes", "job");
        head.iter().for_each(|head| _ = write!(text, "{head:>32}"));
        text.push('\n');
    }
    for row in cells.chunks(percents.len()) {
        let job = match row[0].job_millis {
            millis @ ..1_000 => format!("{millis} ms"),
            millis => format!("{} s", millis / 1_000),
        };
        let shown = row.iter().map(|cell| {
            let results = of(cell);
            let bound = |who| match ratio(results, who) {
                ratio if ratio < 10.0 => format!("{ratio:.2}"),
                ratio => format!("{ratio:.0}"),
            };
            let ours = format!("{:.3}", ratio(results, "ours"));
            let rest = ["distant", "ours, 100 ms", "round robin", "OTP"].map(bound).join(" ");
            if markdown { format!("**{ours}** {rest}") } else { format!("{ours} {rest}") }
        });
        if markdown {
            let shown: Vec<String> = shown.collect();
            let _ = writeln!(text, "| {} | {job} | {} |", row[0].nodes, shown.join(" | "));
        } else {
            let _ = write!(text, "{:>6}{job:>9}", row[0].nodes);
            shown.for_each(|shown| _ = write!(text, "{shown:>32}"));
            text.push('\n');
        }
    }
    text
}

/// Where ours is not as good as it should be, and whether anybody could be.
fn verdict(cells: &[Cell], results: &[Results]) -> String {
    let mut text = String::new();
    let mut near: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut reports = 0.0_f64;
    for (cell, results) in cells.iter().zip(results) {
        let [ours, distant] = ["ours", "distant"].map(|who| ratio(results, who));
        let others = ["round robin", "random", "OTP"].map(|who| ratio(results, who));
        let best_other = others.into_iter().fold(f64::INFINITY, f64::min);
        let hosts = if cell.uneven { Hosts::uneven(cell.nodes) } else { Hosts::even(cell.nodes) };
        let jobs = f64::from(cell.percent) * 10.0 * hosts.capacity() / f64::from(cell.job_millis);
        let which = match (jobs > PLACED_MAX, cell.network == NEAR_BY) {
            (true, _) => "of more jobs than anybody places",
            (false, true) => "near by",
            (false, false) => "far away",
        };
        let (of, all) = near.entry(which).or_default();
        (*of, *all) = (*of + usize::from(ours <= NEAR), *all + 1);
        reports = reports.max(results["ours"].reports_per_job);
        if ours > NEAR || ours > best_other * NOISE {
            let _ = writeln!(
                text,
                "{cell:?}: ours {ours:.3}, distant {distant:.3}, best other {best_other:.3}, {:.2} reports a job",
                results["ours"].reports_per_job
            );
        }
    }
    let _ = writeln!(text, "\nwithin {NEAR} of the oracle; {reports:.1} reports a job at most");
    for (which, (near, all)) in near {
        let _ = writeln!(text, "{near} of {all} {which}");
    }
    text
}

/// One way over the network to another town, in seconds.
const FAR: f64 = 0.001;

/// The tables.
const KINDS: [(Lengths, bool, f64); 8] = [
    (Lengths::Exponential, false, NEAR_BY),
    (Lengths::HeavyTailed, false, NEAR_BY),
    (Lengths::Exponential, true, NEAR_BY),
    (Lengths::HeavyTailed, true, NEAR_BY),
    (Lengths::Exponential, false, FAR),
    (Lengths::HeavyTailed, false, FAR),
    (Lengths::Exponential, true, FAR),
    (Lengths::HeavyTailed, true, FAR),
];

const JOB_MILLIS: [u32; 5] = [1, 10, 200, 2_000, 20_000];

/// So many jobs a second nobody places: the cell is what it would be like.
const PLACED_MAX: f64 = 1e6;

/// How many jobs there are in a cell.
const JOBS_QUICK: usize = 40_000;
const JOBS: usize = 150_000;
const JOBS_MAX: usize = 400_000;

/// So near to the oracle is near.
const NEAR: f64 = 1.05;

/// Less is noise.
const NOISE: f64 = 1.005;
