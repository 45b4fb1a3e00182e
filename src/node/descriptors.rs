//! How many files and sockets this OS process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::{Logger, debug};

/// Raises the limit of this OS process as far as a master needs it. A slave on another host takes three pipes, a pidfd
/// and perhaps a socket, so the usual 1,024 are used up by two hundred hosts.
///
/// What is started from here inherits it: slaves of this machine, which gain as well, and through them programs of
/// users. The usual limit is low for the sake of programs that use `select`, which still get low numbers as long as
/// they open few files.
pub(crate) fn raise_limit(log: &Logger) {
    let now = getrlimit(Resource::Nofile);
    let Some(wanted) = raised(now) else { return };
    if let Err(why) = setrlimit(Resource::Nofile, wanted) {
        debug!(log, "open files stay limited"; "limit" => now.current, "wanted" => wanted.current, "reason" => %why);
    }
}

/// The limit to ask for, if that is more than now. None in a limit: there is none.
fn raised(now: Rlimit) -> Option<Rlimit> {
    let soft = now.current?;
    let wanted = now.maximum.map_or(ENOUGH, |hard| hard.min(ENOUGH));
    (soft < wanted).then_some(Rlimit { current: Some(wanted), maximum: now.maximum })
}

/// More is not asked for: some programs close every number up to the limit when they start, and would take minutes where
/// the administrator allows a thousand million.
const ENOUGH: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_allowed_and_enough_and_never_lowered() {
        let asked = |current, maximum| {
            raised(Rlimit { current, maximum }).map(|to| (to.current, to.maximum))
        };
        assert_eq!(asked(Some(1024), Some(4096)), Some((Some(4096), Some(4096))));
        assert_eq!(asked(Some(1024), Some(1 << 30)), Some((Some(ENOUGH), Some(1 << 30))));
        assert_eq!(asked(Some(1024), None), Some((Some(ENOUGH), None)));
        assert_eq!(asked(Some(4096), Some(4096)), None);
        assert_eq!(asked(Some(1 << 20), Some(1 << 30)), None);
        assert_eq!(asked(None, None), None);
    }
}
