//! A failure as users and programs meet it: id, exit code, one line, and a way out.
//!
//! Invariant: the text never carries a key, a token or a file's contents.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Exit, schema::JsonSchema};

/// A step that can be pasted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Next {
    /// The command.
    pub cmd: String,
    /// Why it helps.
    pub why: String,
}

/// Why a call could not be done; the `error` member of `aura.error/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Stable id, such as `AE-TOKEN-USED` or `BEHIND_PEERS`.
    pub id: String,
    /// Exit code of the process.
    pub exit: Exit,
    /// What happened first, to what, who.
    pub message: String,
    /// What to do now.
    pub next: Vec<Next>,
    /// Whether repeating the same call may work.
    pub retryable: bool,
    /// What programs may want to know beside, such as who holds a zone.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

impl Failure {
    /// A failure without a next step yet.
    pub fn new(id: &str, exit: Exit, message: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            exit,
            message: message.into(),
            next: Vec::new(),
            retryable: false,
            data: Map::new(),
        }
    }

    /// Adds a step that can be pasted; text from outside stands in it as a [`crate::shell_operand`].
    #[must_use]
    pub fn next(mut self, cmd: impl Into<String>, why: impl Into<String>) -> Self {
        self.next.push(Next {
            cmd: cmd.into(),
            why: why.into(),
        });
        self
    }

    /// Adds something for programs.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }

    /// Says that repeating may work.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.id)
    }
}

impl std::error::Error for Failure {}
