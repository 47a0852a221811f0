//! The working copy against real files, real git and real editors' habits.
#![allow(clippy::unwrap_used)]

mod apply;
mod editor;
mod git;
mod ground;
mod motion;
mod scan;
mod watch;
