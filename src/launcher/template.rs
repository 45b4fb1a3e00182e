//! The launcher for everything else: a command line with gaps.

use std::process::Command;

use super::{Launcher, Order, StartFault};

/// Starts slaves with a command that is made from a template: `docker exec -i {host} {pspawn}`.
///
/// The template is split into words as a shell does it; then these are filled in:
///
/// | gap | becomes |
/// |---|---|
/// | `{host}` | the host's name |
/// | `{user}`, `{port}` | the user and the port of the hosts file; a word with one that is not given there is left out |
/// | `{node}` | the slave's name, `name@host` |
/// | `{pspawn}` | the command to run there: `sh`, which is told the rest on its standard input |
///
/// The command has to pass standard input on, as `docker exec -i`, `kubectl exec -i` and `nsenter` do, and must not
/// make a terminal.
#[derive(Clone, Debug)]
pub struct Template {
    words: Vec<String>,
}

/// The template is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Its quotes do not match, or there is nothing in it.
    #[error("{template:?} is no command line: it is empty, or a quote is not closed")]
    NoWords {
        /// The template.
        template: String,
    },
    /// It does not say where our part goes.
    #[error(
        "{template:?} says nowhere what to run: put {{pspawn}} where the command goes, as in \
         'docker exec -i {{host}} {{pspawn}}'"
    )]
    NoProgram {
        /// The template.
        template: String,
    },
    /// It has a gap that nothing fills.
    #[error(
        "{template:?}: there is no {gap}: expected {{host}}, {{user}}, {{port}}, {{node}} or {{pspawn}}"
    )]
    UnknownGap {
        /// The template.
        template: String,
        /// The gap.
        gap: String,
    },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn new(template: &str) -> Result<Template, TemplateError> {
        let template = template.to_owned();
        let words = match shlex::split(&template) {
            Some(words) if !words.is_empty() => words,
            _ => return Err(TemplateError::NoWords { template }),
        };
        let gaps = words.iter().flat_map(|word| gaps(word));
        if let Some(gap) = gaps.into_iter().find(|gap| !GAPS.contains(gap)) {
            let gap = gap.to_owned();
            return Err(TemplateError::UnknownGap { template, gap });
        }
        if !words.iter().any(|word| word.contains(PSPAWN)) {
            return Err(TemplateError::NoProgram { template });
        }
        Ok(Template { words })
    }

    fn fill(&self, order: &Order<'_>) -> Vec<String> {
        let host = order.host();
        let port = host.port().map(|port| port.to_string());
        let mut filled = Vec::new();
        for word in &self.words {
            let missing = word.contains("{user}") && host.user().is_none()
                || word.contains("{port}") && port.is_none();
            if !missing {
                filled.push(
                    word.replace("{host}", host.host())
                        .replace("{user}", host.user().unwrap_or_default())
                        .replace("{port}", port.as_deref().unwrap_or_default())
                        .replace("{node}", order.node().as_str())
                        .replace(PSPAWN, order.shell()),
                );
            }
        }
        filled
    }
}

impl Launcher for Template {
    fn name(&self) -> &str {
        &self.words[0]
    }

    fn command(&self, order: &Order<'_>) -> Result<Command, StartFault> {
        let words = self.fill(order);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        Ok(command)
    }
}

/// What stands in braces in `word`.
fn gaps(word: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = word;
    while let Some(open) = rest.find('{')
        && let Some(close) = rest[open..].find('}')
    {
        let gap = &rest[open..=open + close];
        if gap[1..gap.len() - 1].chars().all(|c| c.is_ascii_lowercase()) {
            found.push(gap);
        }
        rest = &rest[open + close + 1..];
    }
    found
}

const PSPAWN: &str = "{pspawn}";
const GAPS: [&str; 5] = ["{host}", "{user}", "{port}", "{node}", PSPAWN];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::hosts::HostEntry;

    #[test]
    fn gaps_are_filled_and_words_without_a_value_left_out() {
        let filled = |template: &str, host: &str| {
            let host: HostEntry = host.parse().unwrap();
            let (node, program) = ("w@c1".parse().unwrap(), Path::new("/p"));
            let order = Order { host: &host, node, program, args: &[] };
            Template::new(template).unwrap().fill(&order)
        };
        let docker = filled("docker exec -i --user={user} {host} {pspawn}", "c1");
        assert_eq!(docker[..5], ["docker", "exec", "-i", "c1", "sh"]);
        let docker = filled("docker exec -i --user={user} {host} {pspawn}", "ops@c1");
        assert_eq!(docker[3], "--user=ops");
        let shell = filled("rsh -p{port} {host} 'cd /tmp; {pspawn}'", "c1:7");
        assert_eq!(shell, ["rsh", "-p7", "c1", "cd /tmp; sh"]);
    }

    #[test]
    fn what_is_no_template_is_refused_with_what_is_missing() {
        assert!(matches!(Template::new("a 'b"), Err(TemplateError::NoWords { .. })));
        assert!(matches!(
            Template::new("docker exec {host}"),
            Err(TemplateError::NoProgram { .. })
        ));
        let unknown = Template::new("docker exec {hots} {pspawn}").unwrap_err();
        assert!(
            matches!(&unknown, TemplateError::UnknownGap { gap, .. } if gap == "{hots}"),
            "{unknown}"
        );
        assert!(
            Template::new("x '{\"a\": {host}}' {pspawn}").is_ok(),
            "other braces are the user's"
        );
    }
}
