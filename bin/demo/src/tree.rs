//! The repository that the team works on: real sources where they are at hand, and one file that the play edits.
//!
//! Invariant: the file of the play is the same whatever surrounds it.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

/// Where the file that the play edits stands.
pub(crate) const FILE: &str = "src/parcel.rs";

const PARCEL: &str = "\
//! What a parcel costs.

/// Price in cents for a weight in grams.
pub fn price(grams: u64) -> u64 {
    let base = 450;
    let per_kilo = 120;
    base + grams * per_kilo / 1000
}

/// Days until a parcel arrives.
pub fn days(kilometres: u64) -> u64 {
    1 + kilometres / 400
}

/// Whether a parcel needs a second carrier.
pub fn is_heavy(grams: u64) -> bool {
    grams > 31_500
}

/// What insuring a value in cents costs.
pub fn insurance(value: u64) -> u64 {
    value / 100
}
";

const ADDRESS: &str = "\
//! Where a parcel goes.

/// A postal code of five digits.
pub struct Code(u32);

impl Code {
    /// Reads a code; nothing else than digits is one.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|code| *code < 100_000).map(Self)
    }
}
";

/// Fills an empty directory with the sources of `tree`, or with some of our own, and the file of the play; returns
/// how many files it holds then.
pub(crate) fn fill(root: &Path, tree: Option<&Path>) -> io::Result<usize> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/aura-semantic/src");
    let mut count = match tree {
        Some(tree) => copy(tree, root)?,
        None if own.is_dir() => copy(&own, &root.join("semantic"))?,
        None => 0,
    };
    fs::create_dir_all(root.join("src"))?;
    for (file, text) in [(FILE, PARCEL), ("src/address.rs", ADDRESS)] {
        fs::write(root.join(file), text)?;
        count += 1;
    }
    Ok(count)
}

/// Copies regular files, without what a build or git keeps beside them.
fn copy(from: &Path, to: &Path) -> io::Result<usize> {
    let mut count = 0;
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        fs::create_dir_all(to.join(&inner))?;
        for found in fs::read_dir(from.join(&inner))? {
            let found = found?;
            let (path, kind) = (inner.join(found.file_name()), found.file_type()?);
            let is_source = ![".git", "target", "node_modules"]
                .map(OsStr::new)
                .contains(&&*found.file_name());
            if kind.is_dir() && is_source {
                open.push(path);
            } else if kind.is_file() && is_source {
                fs::copy(found.path(), to.join(path))?;
                count += 1;
            }
        }
    }
    Ok(count)
}
