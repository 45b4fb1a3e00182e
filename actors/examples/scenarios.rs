//! Writes random scenarios and supervisor traces, one a line.
//!
//! ```text
//! cargo run -p pspawn-actors --example scenarios -- scenarios SEED COUNT
//! cargo run -p pspawn-actors --example scenarios -- traces SEED COUNT
//! ```

use std::env;

use pspawn_actors::scenario::generate;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [what, seed, count] = words[..] else { panic!("expected WHAT SEED COUNT") };
    let (seed, count): (u64, u64) = (seed.parse().unwrap(), count.parse().unwrap());
    for index in 0..count {
        let line = match what {
            "scenarios" => serde_json::to_string(&generate::scenario(seed, index)),
            "traces" => serde_json::to_string(&generate::trace(seed, index)),
            _ => panic!("expected scenarios or traces"),
        };
        println!("{}", line.unwrap());
    }
}
