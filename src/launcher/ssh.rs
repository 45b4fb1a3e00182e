//! The launcher for hosts that are reached by ssh: the system's own client, so that `~/.ssh/config`, agents, jump
//! hosts, ports and users just work.

use std::process::Command;

use super::{Launcher, Order, Silence, StartFault, StartStep};

/// Starts slaves through the system's `ssh`.
///
/// It never asks for a password: many would ask at once. A host whose key is not known, or that does not let us in
/// with a key or an agent, fails with a word on what to do.
#[derive(Clone, Debug)]
pub struct Ssh {
    words: Vec<String>,
}

impl Ssh {
    /// The command in `PSPAWN_SSH`, or plain `ssh`.
    ///
    /// # Errors
    /// [`StartFault`] if the quotes in `PSPAWN_SSH` do not match.
    pub fn from_env() -> Result<Ssh, StartFault> {
        match std::env::var("PSPAWN_SSH") {
            Ok(words) if !words.trim().is_empty() => Ssh::with(&words),
            _ => Ssh::with("ssh"),
        }
    }

    /// Another program, or options: `ssh -F farm_config -i key`. Read as a shell would.
    ///
    /// # Errors
    /// [`StartFault`] if it has no words, or its quotes do not match.
    pub fn with(command: &str) -> Result<Ssh, StartFault> {
        match shlex::split(command) {
            Some(words) if !words.is_empty() => Ok(Ssh { words }),
            _ => Err(StartFault::new(StartStep::Launch, format!("{command:?} is no ssh command"))
                .remedy("say something like --ssh 'ssh -F farm_config'")),
        }
    }

    /// As a user would type it, to reach `host`.
    fn typed(&self, order: &Order<'_>) -> String {
        let words = shlex::try_join(self.words.iter().map(String::as_str)).unwrap_or_default();
        let host = order.host();
        let port = host.port().map(|port| format!(" -p {port}")).unwrap_or_default();
        let user = host.user().map(|user| format!("{user}@")).unwrap_or_default();
        format!("{words}{port} {user}{}", host.host())
    }
}

impl Launcher for Ssh {
    fn name(&self) -> &str {
        "ssh"
    }

    fn command(&self, order: &Order<'_>) -> Result<Command, StartFault> {
        let mut ssh = Command::new(&self.words[0]);
        ssh.args(&self.words[1..]);
        // Behind the user's own options: of two that say the same, ssh takes the first.
        ssh.args(["-T", "-o", "BatchMode=yes", "-o", CONNECT_TIMEOUT, "-o", "LogLevel=ERROR"]);
        // One whose connection is dead ends by itself, if nobody has ended it before.
        ssh.args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]);
        let host = order.host();
        if let Some(port) = host.port() {
            ssh.arg("-p").arg(port.to_string());
        }
        if let Some(user) = host.user() {
            ssh.arg("-l").arg(user);
        }
        // `exec`, so that no login shell stands between.
        ssh.arg("--").arg(host.host()).arg(format!("exec {}", order.shell()));
        Ok(ssh)
    }

    fn explain(&self, order: &Order<'_>, silence: &Silence<'_>) -> Option<StartFault> {
        // What the host itself has answered with is not for ssh to explain.
        if silence.code.is_some_and(|code| code != SSH_FAILED) {
            return None;
        }
        let (host, typed) = (order.host(), self.typed(order));
        let said = |words: &[&str]| words.iter().find_map(|word| line_with(silence.stderr, word));
        let fault =
            |step, why: &str, remedy: String| Some(StartFault::new(step, why).remedy(remedy));
        let name = host.host();
        let user = host.user().map(|user| format!("{user}@")).unwrap_or_default();
        if let Some(why) = said(&["Could not resolve hostname", "not known"]) {
            let remedy = format!(
                "check the name in the hosts file; if it is an alias, give it a HostName in ~/.ssh/config; \
                 try: getent hosts {name}"
            );
            return fault(StartStep::Resolve, why, remedy);
        }
        if let Some(why) = said(&["REMOTE HOST IDENTIFICATION HAS CHANGED", "Offending"]) {
            let remedy = format!(
                "if the host was really set up anew: ssh-keygen -R {name}; then log in once by hand: {typed}"
            );
            return fault(StartStep::HostKey, why.trim_matches(['@', ' ']), remedy);
        }
        if let Some(why) = said(&["Host key verification failed", "host key is known"]) {
            let remedy =
                format!("its key is not known here: log in once by hand and compare it: {typed}");
            return fault(StartStep::HostKey, why, remedy);
        }
        if let Some(why) = said(&["Permission denied (", "Too many authentication failures"]) {
            let remedy = format!(
                "let us in without a password: ssh-copy-id {user}{name}, or start an agent; try: {typed} true"
            );
            return fault(StartStep::Login, why, remedy);
        }
        if let Some(why) = said(&[
            "Connection refused",
            "No route to host",
            "Network is unreachable",
            "Connection timed out",
            "Operation timed out",
            "Connection reset",
            "Connection closed",
            "kex_exchange_identification",
            "banner exchange",
        ]) {
            let port = host.port().unwrap_or(22);
            let remedy = format!(
                "is the host up, does sshd listen on port {port}, is there a firewall between? try: {typed} true"
            );
            return fault(StartStep::Connect, why, remedy);
        }
        None
    }
}

/// The line of `text` that has `word` in it.
fn line_with<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.split(['\n', '\r']).map(str::trim).find(|line| line.contains(word))
}

/// What ssh exits with if it, and not the command there, has failed.
const SSH_FAILED: i32 = 255;
/// A host that does not answer is given up long before the deadline of its start.
const CONNECT_TIMEOUT: &str = "ConnectTimeout=10";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::hosts::HostEntry;

    #[test]
    fn options_of_the_user_come_first_and_the_host_behind_a_double_dash() {
        let host: HostEntry = "ops@h2:2222".parse().unwrap();
        let ssh = Ssh::with("ssh -F 'my config' -o BatchMode=no").unwrap();
        let command = ssh.command(&order(&host)).unwrap();
        let words: Vec<String> =
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let wanted = "-F|my config|-o|BatchMode=no|-T|-o|BatchMode=yes|-o|ConnectTimeout=10|-o|LogLevel=ERROR|\
                      -o|ServerAliveInterval=15|-o|ServerAliveCountMax=4|-p|2222|-l|ops|--|h2|exec sh";
        assert_eq!(words.join("|"), wanted);
        assert!(Ssh::with("ssh 'x").is_err() && Ssh::with(" ").is_err());
    }

    #[test]
    fn what_ssh_says_is_a_step_and_a_remedy() {
        let host: HostEntry = "h2".parse().unwrap();
        let cases = [
            ("ssh: Could not resolve hostname h2: Name or service not known", StartStep::Resolve),
            ("ssh: connect to host h2 port 22: Connection refused", StartStep::Connect),
            ("ssh: connect to host h2 port 22: No route to host", StartStep::Connect),
            ("ssh: connect to host h2 port 22: Connection timed out", StartStep::Connect),
            ("kex_exchange_identification: read: Connection reset by peer", StartStep::Connect),
            ("Host key verification failed.", StartStep::HostKey),
            (
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.",
                StartStep::HostKey,
            ),
            ("root@h2: Permission denied (publickey).", StartStep::Login),
        ];
        for (stderr, step) in cases {
            let silence = Silence { code: Some(255), stderr };
            let fault = Ssh::with("ssh").unwrap().explain(&order(&host), &silence).unwrap();
            assert_eq!(fault.step, step, "{stderr}");
            assert!(fault.remedy.is_some(), "{stderr}");
        }
        let silence = Silence { code: Some(127), stderr: "sh: not found" };
        assert_eq!(Ssh::with("ssh").unwrap().explain(&order(&host), &silence), None);
    }

    fn order(host: &HostEntry) -> Order<'_> {
        Order { host, node: "w@h2".parse().unwrap(), program: Path::new("/p"), args: &[] }
    }
}
