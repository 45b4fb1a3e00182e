//! A function that computes for long: it counts primes with a segmented sieve of Eratosthenes.
//!
//! Its arbiter runs many actors on one thread. Between two segments the function asks whether it has
//! had its turn, with [`yield_now`]: its neighbours stay responsive, and it can be killed. Its memory is
//! one segment and the primes up to the root, however long the range.
//!
//! ```text
//! $ pspawn spawn primes count '[0, 100000000]'
//! ```

use pspawn::prelude::*;

/// Counts the primes that are at least `from` and less than `to`.
pub async fn count(_: Ctx, from: u64, to: u64) -> u64 {
    if to > TO_MAX {
        exit(ExitReason::exit(format!("primes:count counts up to {TO_MAX}")));
    }
    let mut primes = 0;
    let mut start = from.max(2);
    if start >= to {
        return 0;
    }
    let mut strikes: Vec<Strike> = Vec::new();
    for prime in small_primes(to.isqrt()).await {
        strikes.push(Strike { prime, next: start.next_multiple_of(prime).max(prime * prime) });
    }
    while start < to {
        let mut segment = vec![true; SEGMENT.min(to - start) as usize];
        let end = start + segment.len() as u64;
        for strike in strikes.iter_mut().take_while(|strike| strike.prime * strike.prime < end) {
            while strike.next < end {
                segment[(strike.next - start) as usize] = false;
                strike.next += strike.prime;
            }
        }
        primes += segment.iter().filter(|&&prime| prime).count() as u64;
        start = end;
        yield_now().await;
    }
    primes
}

remote_fn!("primes": count);

/// A prime, and its multiple that is struck out next.
struct Strike {
    prime: u64,
    next: u64,
}

/// The primes up to and with `max`.
async fn small_primes(max: u64) -> Vec<u64> {
    let mut prime = vec![true; max as usize + 1];
    let mut primes = Vec::new();
    for n in 2..=max {
        if prime[n as usize] {
            primes.push(n);
            for multiple in (n * n..=max).step_by(n as usize) {
                prime[multiple as usize] = false;
            }
            yield_now().await;
        }
    }
    primes
}

/// Numbers that are sieved at once: what fits into a core's first cache.
const SEGMENT: u64 = 32 << 10;
/// Beyond it the primes up to the root would take too much memory.
const TO_MAX: u64 = 100_000_000_000_000;
