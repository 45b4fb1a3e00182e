//! Plans of supervisors: strategy, intensity, children; and what makes a plan none.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ChildSpec, RestartType};

/// A supervisor that is not started yet: Erlang's supervisor flags and child specifications.
///
/// Unless told otherwise it allows one restart in five seconds (rule V13), and its children's ends alone
/// do not end it. It is a plain value, so it can be sent, and be the child of another: [`spec`](Supervisor::spec).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Supervisor {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: u32,
    pub(crate) period: Duration,
    pub(crate) auto_shutdown: AutoShutdown,
    /// In the order of their starts.
    pub(crate) children: Vec<(String, ChildSpec)>,
}

impl Supervisor {
    /// A supervisor without children.
    #[must_use]
    pub fn new(strategy: Strategy) -> Supervisor {
        Supervisor {
            strategy,
            intensity: INTENSITY,
            period: PERIOD,
            auto_shutdown: AutoShutdown::Never,
            children: Vec::new(),
        }
    }

    /// [`Strategy::OneForOne`].
    #[must_use]
    pub fn one_for_one() -> Supervisor {
        Supervisor::new(Strategy::OneForOne)
    }

    /// [`Strategy::OneForAll`].
    #[must_use]
    pub fn one_for_all() -> Supervisor {
        Supervisor::new(Strategy::OneForAll)
    }

    /// [`Strategy::RestForOne`].
    #[must_use]
    pub fn rest_for_one() -> Supervisor {
        Supervisor::new(Strategy::RestForOne)
    }

    /// [`Strategy::SimpleOneForOne`]: all its children are alike, and are started one by one later.
    #[must_use]
    pub fn simple_one_for_one(child: ChildSpec) -> Supervisor {
        Supervisor::new(Strategy::SimpleOneForOne).child("child", child)
    }

    /// So many restarts in this time are done; one more ends the supervisor (V12). The time is
    /// counted in whole seconds.
    #[must_use]
    pub fn intensity(self, restarts: u32, period: Duration) -> Supervisor {
        Supervisor { intensity: restarts, period, ..self }
    }

    /// When the ends of significant children are the supervisor's own.
    #[must_use]
    pub fn auto_shutdown(self, auto_shutdown: AutoShutdown) -> Supervisor {
        Supervisor { auto_shutdown, ..self }
    }

    /// One more child; they start in this order, and end in reverse (V1).
    #[must_use]
    pub fn child(mut self, id: impl Into<String>, spec: ChildSpec) -> Supervisor {
        self.children.push((id.into(), spec));
        self
    }

    /// Whether it can be started (V30).
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if self.period.as_secs() == 0 || self.period.subsec_nanos() != 0 {
            return Err(SpecError::BadPeriod { period: self.period });
        }
        match self.strategy {
            Strategy::SimpleOneForOne if self.children.len() != 1 => {
                return Err(SpecError::NotOneChild { children: self.children.len() });
            }
            Strategy::SimpleOneForOne
            | Strategy::OneForOne
            | Strategy::OneForAll
            | Strategy::RestForOne => {}
        }
        for (at, (id, spec)) in self.children.iter().enumerate() {
            if self.children[..at].iter().any(|(other, _)| other == id) {
                return Err(SpecError::DuplicateChild { id: id.clone() });
            }
            spec.check(id, self.auto_shutdown)?;
        }
        Ok(())
    }
}

impl ChildSpec {
    /// Whether a supervisor of this kind can have it as a child (V30, V34).
    pub(crate) fn check(&self, id: &str, auto_shutdown: AutoShutdown) -> Result<(), SpecError> {
        let id = id.to_owned();
        if let Err(why) = &self.start.args {
            return Err(SpecError::BadArguments { id, why: why.clone() });
        }
        match (self.significant, auto_shutdown, self.restart) {
            (true, AutoShutdown::Never, _) => Err(SpecError::SignificantForNobody { id }),
            (true, _, RestartType::Permanent) => Err(SpecError::SignificantPermanent { id }),
            (true, AutoShutdown::AnySignificant | AutoShutdown::AllSignificant, _)
            | (false, _, _) => Ok(()),
        }
    }
}

/// Who is started again when one child has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// That child alone (rule V6).
    OneForOne,
    /// All: the others are ended first, youngest first (V7).
    OneForAll,
    /// It and those that were started after it: they are ended first, youngest first (V8).
    RestForOne,
    /// That child alone; all children are alike and have no names, only pids (V28).
    SimpleOneForOne,
}

/// Whether a supervisor ends, with `shutdown`, when significant children have ended and are not to be
/// started again (rule V34).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AutoShutdown {
    /// No; then no child may be significant.
    Never,
    /// When the first of them has.
    AnySignificant,
    /// When the last of them has.
    AllSignificant,
}

/// A plan that cannot be carried out (rule V30).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Two children have one name: OTP's `duplicate_child_name`.
    #[error("two children are called {id:?}")]
    DuplicateChild {
        /// Their name.
        id: String,
    },
    /// OTP's `bad_combination` of `permanent` and `significant`.
    #[error(
        "{id:?} is permanent, so its end cannot be its supervisor's: it may not be significant"
    )]
    SignificantPermanent {
        /// The child.
        id: String,
    },
    /// OTP's `bad_combination` of `never` and `significant`.
    #[error(
        "{id:?} is significant, but auto_shutdown says that no child's end ends its supervisor"
    )]
    SignificantForNobody {
        /// The child.
        id: String,
    },
    /// OTP's `invalid_period`.
    #[error("restarts are counted in whole seconds, one or more, not in {period:?}")]
    BadPeriod {
        /// What was given.
        period: Duration,
    },
    /// OTP's `bad_start_spec`.
    #[error("simple_one_for_one has one spec for all its children, not {children}")]
    NotOneChild {
        /// How many were given.
        children: usize,
    },
    /// What was given as arguments is no list of arguments.
    #[error("not arguments for {id:?}: {why}")]
    BadArguments {
        /// The child.
        id: String,
        /// What it is instead.
        why: String,
    },
}

/// The defaults of V13.
const INTENSITY: u32 = 1;
const PERIOD: Duration = Duration::from_secs(5);
