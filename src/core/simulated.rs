//! What the placement policy promises, in the simulator of `cargo bench --bench placement`: seeded, so
//! that it is the same at each run. That bench has the whole table.

#[allow(dead_code)]
#[path = "../../benches/placement/policies.rs"]
mod policies;
#[allow(dead_code)]
#[path = "../../benches/placement/simulation.rs"]
mod simulation;

use self::policies::Who;
use self::simulation::{Hosts, Jobs, Lengths, NEAR_BY, Outcome, Service, Setting, run};

#[test]
fn jobs_respond_almost_as_fast_as_with_true_loads() {
    for (lengths, nodes, job_mean) in [
        (Lengths::Exponential, 8, 0.2),
        (Lengths::HeavyTailed, 8, 2.0),
        (Lengths::Exponential, 2, 0.01),
        (Lengths::HeavyTailed, 32, 0.2),
        (Lengths::HeavyTailed, 8, 0.001),
    ] {
        let ratio = ratio(&Hosts::even(nodes), lengths, job_mean, Who::Ours, Who::Oracle);
        assert!(
            ratio < 1.05,
            "{lengths:?}, {nodes} nodes, {job_mean} s: {ratio:.3} of the oracle's"
        );
    }
}

#[test]
fn no_other_policy_is_better() {
    for (hosts, job_mean) in [
        (Hosts::even(8), 0.001),
        (Hosts::even(8), 0.2),
        (Hosts::even(32), 2.0),
        (Hosts::uneven(8), 0.01),
    ] {
        for other in [Who::RoundRobin, Who::Random, Who::Otp] {
            let ratio = ratio(&hosts, Lengths::HeavyTailed, job_mean, Who::Ours, other);
            assert!(ratio < 1.0, "{hosts:?}, {job_mean} s: {ratio:.3} of {other:?}");
        }
    }
}

#[test]
fn jobs_much_shorter_than_the_time_between_reports_are_dealt_out_in_turn() {
    let hosts = Hosts::even(8);
    let ratio = ratio(&hosts, Lengths::Exponential, 0.001, Who::OursSlow, Who::RoundRobin);
    assert!(ratio < 1.02, "PL-5, PL-6: {ratio:.3} of round robin");
}

#[test]
fn few_jobs_wait_long_behind_one_that_is_a_thousand_times_as_long() {
    let hosts = Hosts(vec![(1, 1.0); 5]);
    let jobs = Jobs::new(20_000, Lengths::HeavyTailed);
    let p99 = |who| simulate(&hosts, &jobs, 0.1, 0.7, Service::InTurn, who).p99_response;
    let (ours, otp) = (p99(Who::Ours), p99(Who::Otp));
    assert!(ours < otp * 0.45, "{ours:.3} s, OTP {otp:.3} s");
}

/// The mean response with one policy, divided by that with the other.
fn ratio(hosts: &Hosts, lengths: Lengths, job_mean: f64, one: Who, other: Who) -> f64 {
    let jobs = Jobs::new(20_000, lengths);
    let mean = |who| simulate(hosts, &jobs, job_mean, 0.8, Service::Shared, who).mean_response;
    mean(one) / mean(other)
}

fn simulate(
    hosts: &Hosts,
    jobs: &Jobs,
    job_mean: f64,
    utilisation: f64,
    service: Service,
    who: Who,
) -> Outcome {
    let jobs = jobs.first(20_000);
    let (reports, network) = (who.reports(NEAR_BY), NEAR_BY);
    let setting = Setting { hosts, jobs, job_mean, utilisation, reports, service, network };
    run(&setting, &mut *who.policy(hosts, NEAR_BY))
}
