//! The command line of this OS process, also before `main`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// The arguments, the first of them the program; none if nobody says them.
pub(crate) fn own_args() -> Vec<OsString> {
    let args: Vec<OsString> = std::env::args_os().collect();
    if !args.is_empty() {
        return args;
    }
    // Before `main` only glibc has them at hand; with musl the kernel is asked.
    std::fs::read("/proc/self/cmdline").map(|line| split(&line)).unwrap_or_default()
}

/// Each ends with a zero; an empty one is one, too.
fn split(line: &[u8]) -> Vec<OsString> {
    let line = line.strip_suffix(&[0]).unwrap_or(line);
    match line {
        [] => Vec::new(),
        line => line.split(|byte| *byte == 0).map(|arg| OsString::from_vec(arg.to_vec())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_the_same_arguments_as_the_library() {
        let said = std::fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(split(&said), own_args());
    }

    #[test]
    fn arguments_end_with_a_zero_each_and_may_be_empty_or_no_text() {
        let of = |args: &[&[u8]]| {
            Vec::from_iter(args.iter().map(|arg| OsString::from_vec(arg.to_vec())))
        };
        assert_eq!(split(b"a\0--pspawn guard\0\xFF\0"), of(&[b"a", b"--pspawn guard", b"\xFF"]));
        assert_eq!(split(b"a\0\0b\0\0"), of(&[b"a", b"", b"b", b""]));
        assert_eq!(split(b"a"), of(&[b"a"]), "a program has written over its own");
        assert_eq!(split(b""), of(&[]), "nobody says them");
    }
}
