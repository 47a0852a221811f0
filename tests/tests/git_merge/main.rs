//! Merges that git makes, with `aura` as its merge driver, and without a team.

#![allow(clippy::unwrap_used, missing_docs)]

mod driver;
mod preview;
mod setup;

use mothership_tests::repo::Repo;

pub(crate) const BASE: &str = "\
use std::fmt;

pub(crate) fn cap(a: u32) -> u32 {
    a.min(100)
}

pub(crate) fn load() -> u32 {
    7
}
";

/// Both added an import at one place and a function at the end: git alone sees two conflicts.
pub(crate) fn ours() -> String {
    BASE.replace("fmt;\n", "fmt;\nuse std::fs;\n") + "\nfn mine() {\n    one();\n}\n"
}

pub(crate) fn theirs() -> String {
    BASE.replace("fmt;\n", "fmt;\nuse std::io;\n") + "\nfn other() {\n    two();\n}\n"
}

pub(crate) fn both() -> String {
    BASE.replace("fmt;\n", "fmt;\nuse std::fs;\nuse std::io;\n")
        + "\nfn mine() {\n    one();\n}\n\nfn other() {\n    two();\n}\n"
}

/// One file that both sides changed.
pub(crate) fn one(path: &str, base: &str, ours: &str, theirs: &str) -> Repo {
    let versions = [base, ours, theirs].map(|text| Some(text.as_bytes()));
    Repo::forked(&[(path, versions)])
}

/// Both changed the body of one function.
pub(crate) fn clash() -> Repo {
    let side = |cap: &str| BASE.replace("100", cap);
    one("src/risk.rs", BASE, &side("200"), &side("300"))
}

/// What git leaves of a merge without the driver.
pub(crate) fn alone(repo: &Repo, path: &str) -> (Option<i32>, Vec<u8>) {
    let merged = repo.try_git(&["merge", "-q", "-m", "merged", "topic"]);
    let found = (merged.status.code(), repo.bytes(path));
    repo.git(&["reset", "-q", "--hard", "ORIG_HEAD"]);
    found
}
