//! Pools in a Slurm allocation, on pretend hosts with a Slurm of their own.

use crate::fixture::{Hosts, able, script, tiles};
use crate::support::{Started, until};

#[test]
fn inside_an_allocation_of_3_nodes_there_is_a_slave_on_each() {
    let Some(hosts) = cluster() else { return };
    let words = ["salloc", "-Q", "-N3", "pspawn", "start", "w", "--slurm"];
    let mut pool = hosts.start("h1", &words);
    pool.line_with("is up: 4 nodes");
    let slaves: Vec<String> =
        hosts.nodes().into_iter().filter(|node| !node.contains("master")).collect();
    for host in ["h1", "h2", "h3"] {
        let node = slaves.iter().find(|node| node.ends_with(&format!("@{host}")));
        let node = node.unwrap_or_else(|| panic!("none on {host}: {slaves:?}"));
        let spawn = ["pspawn", "spawn", "math", "cube_of", "[7]", "--node", node];
        assert_eq!(hosts.run("h1", &spawn).with_code(0).out, "343\n");
    }
    hosts.run("h1", &["pspawn", "stop"]).with_code(0);
    pool.wait().with_code(0);
    nothing_is_left(&hosts);
}

#[test]
fn the_demo_runs_in_an_allocation_that_it_makes_itself() {
    let Some(hosts) = cluster() else { return };
    let ended = hosts
        .run("h1", &["salloc", "-Q", "-N3", "pspawn", "demo", "--slurm", "--size", "480x300"])
        .with_code(0);
    assert!(
        hosts.from(1).iter().all(|host| tiles(&ended, &format!("demo@{host}")) > 0),
        "{ended:#?}"
    );
    nothing_is_left(&hosts);

    let mut pool = hosts.start("h1", &["pspawn", "start", "w", "--slurm", "--nodes", "3"]);
    pool.line_with("is up: 4 nodes");
    hosts.run("h1", &["pspawn", "stop"]).with_code(0);
    pool.wait().with_code(0);
    nothing_is_left(&hosts);
}

#[test]
fn a_cancelled_job_leaves_nothing() {
    let Some(hosts) = cluster() else { return };
    let pool = busy(&hosts);
    hosts.run("h1", &["scancel", "-u", "root"]).with_code(0);
    hosts.until_nothing_is_left(&["h2", "h3"]);
    drop(pool.wait());
    nothing_is_left(&hosts);
}

fn busy(hosts: &Hosts) -> Started {
    let words = ["salloc", "-Q", "-N3", "pspawn", "start", "w", "--slurm", "--allow", "shell"];
    let mut pool = hosts.start("h1", &words);
    pool.line_with("is up: 4 nodes");
    for node in hosts.nodes().iter().filter(|node| !node.contains("master")) {
        let args = "[\"trap '' TERM; setsid sleep 4711 & sleep 4712\"]";
        let spawn = ["pspawn", "spawn", "shell", "run", args, "--node", node, "--no-wait"];
        hosts.run("h1", &spawn).with_code(0);
    }
    hosts.from(1).iter().for_each(|host| hosts.until_with_arg(host, "4711"));
    pool
}

fn nothing_is_left(hosts: &Hosts) {
    hosts.until_nothing_is_left(&hosts.from(1));
    until(|| match hosts.sh("h1", "squeue -h").as_str() {
        "" => Ok(()),
        jobs => Err(format!("jobs: {jobs}")),
    });
}

/// Three hosts under Slurm, h1 of them the one with the controller.
fn cluster() -> Option<Hosts> {
    if !able(&["slurm.sh"], "the tests under Slurm") {
        return None;
    }
    let hosts = Hosts::up(3)?;
    let up = script("slurm.sh").arg("up").arg(hosts.folder()).args(hosts.from(1)).status().unwrap();
    assert!(up.success());
    Some(hosts)
}
