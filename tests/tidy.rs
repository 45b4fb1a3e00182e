//! The house keeps its plan: imports go down, files say what they are for, rules have tests, and the
//! changelog has its shape.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src/`, from the ground floor up. Rooms on one line do not know each other.
const FLOORS: &[&[&str]] = &[
    &["term", "hosts", "cookie", "log"],
    &["runtime_file", "wire", "launcher"],
    &["core"],
    &["message", "payload"],
    &["node"],
    &["actor"],
    &["addr"],
    &["pool"],
    &["context", "process"],
    &["directory", "file", "supervisor"],
    &["entry"],
    &["macros", "prelude", "lib"],
];

#[test]
fn every_file_imports_from_lower_floors_only() {
    let mut faults = Vec::new();
    for file in sources("src") {
        let room = room(&file);
        let floor = floor(&room);
        for (number, line) in code_lines(&file) {
            for (at, _) in line.match_indices("crate::") {
                if line[..at].ends_with('$') {
                    continue; // a macro's path, for the crate that uses it
                }
                let rest = &line[at + "crate::".len()..];
                for name in names(rest) {
                    let Some(other) = known_floor(&name) else { continue };
                    if name != room && other >= floor {
                        faults.push(format!("{}:{number}: {room} knows {name}", file.display()));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "up the stairs:\n{}", faults.join("\n"));
}

#[test]
fn the_core_only_decides_and_one_file_reads_the_clock() {
    let shell =
        ["Instant", "SystemTime", "tokio::", "actix", "std::net::Tcp", "std::thread", "async "];
    for file in sources("src") {
        let of_core = file.starts_with("src/core");
        let of_clock = file.ends_with("node/clock.rs");
        for (number, line) in code_lines(&file) {
            let at = format!("{}:{number}", file.display());
            if of_core && !file.ends_with("tests.rs") {
                let known = shell.iter().find(|word| line.contains(**word));
                assert!(known.is_none(), "{at}: the core knows {known:?}");
            }
            let reads = line.contains("Instant::now") || line.contains("SystemTime::now");
            assert!(!reads || of_clock, "{at}: the time is read in node/clock.rs only");
        }
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for folder in ["src", "actors", "tests", "examples"] {
        for file in sources(folder) {
            if file.components().any(|part| part.as_os_str() == "compile_fail") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with("//! "), "{} has no head comment", file.display());
        }
    }
}

#[test]
fn no_file_has_grown_past_one_subject() {
    for folder in ["src", "actors"] {
        for file in sources(folder) {
            let code = code_lines(&file).len();
            assert!(code <= 600, "{} has {code} lines of code", file.display());
        }
    }
}

#[test]
fn every_rule_that_is_stated_is_on_the_map() {
    let map = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let on_map: BTreeSet<&str> =
        map.split("**").filter_map(|bold| bold.split('-').next()).collect();
    for file in sources("src") {
        for line in fs::read_to_string(&file).unwrap().lines() {
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            let stated = comment.trim_start_matches(['/', '!', ' ']);
            let Some((tag, rule)) = stated.split_once(": ") else { continue };
            let Some((letters, number)) = tag.split_once('-') else { continue };
            let is_tag = letters.len() == 2
                && letters.chars().all(|c| c.is_ascii_uppercase())
                && number.parse::<u32>().is_ok();
            if is_tag && !rule.is_empty() {
                assert!(
                    on_map.contains(letters),
                    "{}: {tag} is not in ARCHITECTURE.md",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_changelog_has_its_shape() {
    let log = fs::read_to_string("CHANGELOG.md").unwrap();
    let mut headings = log.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(headings.next(), Some("Unreleased"));
    for line in log.lines().filter(|line| line.starts_with("- ")) {
        let (topic, change) =
            line[2..].split_once(": ").unwrap_or_else(|| panic!("no topic: {line}"));
        assert!(topic.chars().all(|c| c.is_lowercase() || c == ' '), "no topic: {line}");
        assert!(!change.ends_with('.'), "one line, no full stop: {line}");
    }
}

/// The Rust files below a folder.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// `node` for `src/node/cell.rs`, `pool` for `src/pool.rs`.
fn room(file: &Path) -> String {
    let inner = file.strip_prefix("src").unwrap();
    let first = inner.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(room: &str) -> usize {
    known_floor(room).unwrap_or_else(|| panic!("{room} is on no floor: give it one"))
}

fn known_floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

/// The lines that are neither comments nor tests, with their numbers.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned()));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

/// The first names of `a::b` or of `{a::b, c}`.
fn names(path: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    match path.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap_or_default().split(',').map(word).collect(),
        None => vec![word(path)],
    }
}
