//! Functions instead of lines: outline, identity, patch, apply and merge of source files.
//!
//! Everything here is a pure function of its arguments: no files, no clock, no threads.
//!
//! Invariants:
//! - bytes are never normalised; what an operation does not name stays as it is;
//! - no input makes it panic or recurse, and every cost has a bound in [`Budget`] or a constant;
//! - equal inputs give equal outputs on every machine.
//!
//! Each language is a feature, `lang-rust` and so on, all on by default. Which languages there are decides which units
//! a file has, so devices that work together should be built alike.

#![cfg_attr(
    not(feature = "default"),
    allow(dead_code, reason = "what only the tables of absent languages say")
)]

mod apply;
mod check;
mod diff;
mod draft;
mod extract;
mod guard;
mod holds;
mod identity;
mod impact;
mod indexed;
mod language;
mod lines;
mod markers;
mod merge;
mod naming;
mod onto;
mod outline;
mod own;
mod parameters;
mod parser;
mod patch;
mod place;
mod references;
mod reparse;
mod similar;
mod steps;
mod tables;
mod unified;
mod untrue;
mod value;
mod walk;
mod whole;
mod without;

pub use apply::{Applied, Landing, apply, land, splice};
pub use diff::{Change, UnitChange, diff_files, diff_indexed};
pub use extract::{extract, moves};
pub use holds::holds;
pub use impact::{
    ALERTS_MAX, Alert, Changed, Effect, alerts, effect_of_texts, effects, effects_in,
};
pub use indexed::{Indexed, index, match_outlines};
pub use language::{Language, UnitKind, language_of, languages};
pub use lines::{Chunk, LineMerge, merge_lines, merge_lines_by_myers};
pub use markers::{Labels, Markers, Style, render, render_diff3};
pub use merge::{
    Explained, FileMerge, MergeLevel, Part, Reason, Why, merge_explained, merge_files,
    merge_files_within,
};
pub use onto::{bring, bring_back};
pub use outline::{Budget, Outline, Problem, Unit, outline};
pub use own::{join, merge_own};
pub use parser::{ParseWatch, watch_parsers};
pub use patch::{Clash, FilePatch, Op, Refusal, Touched};
pub use references::{
    CALLERS_MAX, Confidence, FileReferences, Graph, Reference, analyse, references,
};
pub use unified::{kept_lines, unified};
pub use untrue::Untrue;
pub use value::{ContentHash, OwnText, ParseHexError, Text, UnitId};
pub use without::{Without, without};
