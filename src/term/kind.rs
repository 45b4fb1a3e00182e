//! Kinds: the name an actor type or a function is started by.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Module and function, as in Erlang's `apply(Module, Function, Args)`.
///
/// An actor type is the function `new` of the module that it was registered as.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kind {
    module: Cow<'static, str>,
    function: Cow<'static, str>,
}

impl Kind {
    /// The kind `module:function`.
    pub fn new(
        module: impl Into<Cow<'static, str>>,
        function: impl Into<Cow<'static, str>>,
    ) -> Kind {
        Kind { module: module.into(), function: function.into() }
    }

    /// What is the library's own.
    pub(crate) const fn of_ours(function: &'static str) -> Kind {
        Kind { module: Cow::Borrowed("pspawn"), function: Cow::Borrowed(function) }
    }

    /// Erlang's module: what `remote_actor!` or `remote_fn!` was given as a name.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Erlang's function: `new` for an actor type.
    #[must_use]
    pub fn function(&self) -> &str {
        &self.function
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.module, self.function))
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
