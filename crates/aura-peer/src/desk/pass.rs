//! What is looked at when waiting patches are taken, and what came of it.

use std::{collections::BTreeSet, sync::Arc};

use super::take::Taken;

/// Files of which something that waits may go now. What is not among them costs nothing, however much of it waits.
#[derive(Debug)]
pub(super) enum Due {
    /// Any.
    All,
    /// These.
    Files(BTreeSet<Arc<str>>),
}

impl Due {
    /// Takes in a file that has changed, or of which there is news.
    pub(super) fn add(&mut self, path: &str) {
        if let Self::Files(paths) = self
            && !paths.contains(path)
        {
            paths.insert(path.into());
        }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Files(paths) => paths.contains(path),
        }
    }
}

/// One file while waiting patches are taken.
#[derive(Default)]
pub(super) struct Pass {
    /// Whether something was taken, or waits for something else than a version.
    pub(super) is_due: bool,
    /// Whether it is left alone for now: its user is saving it.
    pub(super) is_moved: bool,
    /// Whether something was written.
    pub(super) is_written: bool,
    /// The last patch that is here now and was not known to be.
    pub(super) taken: Option<usize>,
}

impl Pass {
    pub(super) fn note(&mut self, index: usize, outcome: &Taken) {
        self.is_written |= matches!(outcome, Taken::Applied | Taken::Partly(_));
        if matches!(outcome, Taken::Applied | Taken::Partly(_) | Taken::Known) {
            self.taken = self.taken.max(Some(index));
        }
        match outcome {
            Taken::Waiting(why) if !is_passing(why) => {}
            Taken::Applied
            | Taken::Partly(_)
            | Taken::Known
            | Taken::WouldApply
            | Taken::Waiting(_) => {
                self.is_due = true;
                self.is_moved |= matches!(outcome, Taken::Waiting(why) if why.starts_with("MOVED"));
            }
        }
    }
}

/// Whether a patch waits for something else than versions.
pub(super) fn is_passing(why: &str) -> bool {
    let passing = ["MOVED", "NO_SPACE", "STORAGE", "UNSAFE_TARGET", "its "];
    passing.iter().any(|passing| why.starts_with(passing))
}
