//! What a command line is given: arguments, environment, directory, streams.
//!
//! Invariant: nothing else in this crate asks the process for them, so a test can give others.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{BufRead, Write},
    path::PathBuf,
};

use jiff::Timestamp;

/// The surroundings of one command.
pub(crate) struct World<'a> {
    /// Program name and arguments.
    pub(crate) args: Vec<OsString>,
    /// Environment.
    pub(crate) env: Env,
    /// Current directory.
    pub(crate) dir: PathBuf,
    /// The program, for starting the daemon.
    pub(crate) exe: PathBuf,
    /// Now.
    pub(crate) now: Timestamp,
    /// Standard input, output and error.
    pub(crate) input: &'a mut dyn BufRead,
    pub(crate) out: &'a mut dyn Write,
    pub(crate) err: &'a mut dyn Write,
    /// Which of the three are terminals.
    pub(crate) terminals: Terminals,
}

/// Which streams people look at, and how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terminals {
    pub(crate) input: bool,
    pub(crate) out: bool,
    pub(crate) err: bool,
    /// How wide the second is, in columns, where that is known.
    pub(crate) columns: Option<u16>,
}

/// Environment variables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env(pub(crate) BTreeMap<OsString, OsString>);

impl Env {
    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The same as text; what is not text counts as unset.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// Whether a switch such as `AURA_NO_AUTOSTART` is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "0")
    }
}
