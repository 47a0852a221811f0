//! The repository that the team works on: real sources where they are at hand, and one file that the play edits.
//!
//! Invariant: the file of the play is the same whatever surrounds it.

use std::{fs, io, path::Path};

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

/// Fills an empty directory; returns how many files it holds then.
pub(crate) fn fill(root: &Path) -> io::Result<usize> {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/aura-semantic/src");
    fs::create_dir_all(root.join("src"))?;
    fs::write(root.join(FILE), PARCEL)?;
    fs::write(root.join("src/address.rs"), ADDRESS)?;
    let mut count = 2;
    if !real.is_dir() {
        return Ok(count);
    }
    let semantic = root.join("semantic");
    fs::create_dir_all(&semantic)?;
    for found in fs::read_dir(real)? {
        let found = found?;
        if found.file_type()?.is_file() {
            fs::copy(found.path(), semantic.join(found.file_name()))?;
            count += 1;
        }
    }
    Ok(count)
}
