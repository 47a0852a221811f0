//! The one way to the code of grammars, which is C, is not ours, and may not come back.
//!
//! Invariants:
//! - whoever watches is asked before a text is parsed, and told on the same thread when the parser came back;
//! - whether a text is parsed is all that a watch decides.

use std::{ops::ControlFlow, sync::OnceLock};

use tree_sitter::{ParseOptions, Parser, Tree};

use crate::{language::Language, outline::Budget};

/// Stands beside the parser in a process that must outlive it.
pub trait ParseWatch: Send + Sync {
    /// Asked before a text is parsed; after a no it is handled as a whole.
    fn may_begin(&self, language: Language, path: &str, bytes: &[u8]) -> bool;

    /// Told after each yes, once the parser came back.
    fn has_ended(&self);
}

static WATCH: OnceLock<&'static dyn ParseWatch> = OnceLock::new();

/// Has all parsers of this process watched, for good; the first who asks does it.
pub fn watch_parsers(watch: &'static dyn ParseWatch) {
    // Whoever comes second finds them watched.
    WATCH.set(watch).ok();
}

struct Begun(Option<&'static dyn ParseWatch>);

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(watch) = self.0 {
            watch.has_ended();
        }
    }
}

/// What parsing comes to; none where the watch keeps the text from the parser.
pub(crate) fn watched<T>(
    language: Language,
    path: &str,
    bytes: &[u8],
    parse: impl FnOnce() -> T,
) -> Option<T> {
    let watch = WATCH.get().copied();
    if watch.is_some_and(|watch| !watch.may_begin(language, path, bytes)) {
        return None;
    }
    let _begun = Begun(watch);
    Some(parse())
}

/// Reports that one report counts for while the parser recovers from an error, since a hundred
/// operations take several times longer then.
const ERROR_COST: usize = 6;

/// The tree of a text; none where the budget does not do.
pub(crate) fn parse(
    language: Language,
    bytes: &[u8],
    edited: Option<&Tree>,
    budget: &Budget,
) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&(language.0.grammar)()).ok()?;
    let of_size = bytes
        .len()
        .div_ceil(1024)
        .saturating_mul(budget.reports_per_kib);
    let mut left = budget
        .reports_base
        .saturating_add(of_size)
        .min(budget.reports_max);
    let mut progress = |state: &tree_sitter::ParseState| {
        let cost = if state.has_error() { ERROR_COST } else { 1 };
        match left.checked_sub(cost) {
            None => ControlFlow::Break(()),
            Some(rest) => {
                left = rest;
                ControlFlow::Continue(())
            }
        }
    };
    let options = ParseOptions::new().progress_callback(&mut progress);
    let mut read = |offset: usize, _| bytes.get(offset..).unwrap_or_default();
    parser.parse_with_options(&mut read, edited, Some(options))
}
