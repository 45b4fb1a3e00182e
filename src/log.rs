//! The log: slog records with the keys `node`, `pid`, `kind`, `reason`.

use std::sync::Mutex;

use slog::{Drain, Level, LevelFilter, Logger, o};

/// A logger that writes to standard error: warnings and worse, or what `PSPAWN_LOG` says (`error`,
/// `warning`, `info`, `debug`).
pub(crate) fn to_stderr() -> Logger {
    let asked = std::env::var("PSPAWN_LOG").ok();
    let level = asked.and_then(|level| level.parse().ok()).unwrap_or(Level::Warning);
    let decorator = slog_term::PlainSyncDecorator::new(std::io::stderr());
    let format = slog_term::FullFormat::new(decorator).build();
    Logger::root(LevelFilter::new(Mutex::new(format).ignore_res(), level).fuse(), o!())
}
