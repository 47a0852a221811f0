//! Source trees to work on: real ones from disk, and as many small files as wanted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mothership_tests::git;

use crate::Failure;

/// Where cargo unpacks what it has built from.
pub(crate) fn registry() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    Some(home.join("registry/src"))
}

/// What was copied.
#[derive(Default)]
pub(crate) struct Copied {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

/// Copies Rust files of `from` into `to` until there are so many lines, in the order of their names.
pub(crate) fn copy(from: &Path, to: &Path, lines_max: usize) -> Result<Copied, Failure> {
    let mut copied = Copied::default();
    let mut pending = vec![from.to_owned()];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.path()));
            let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
            entries.sort_by(|a, b| b.cmp(a));
            pending.extend(entries);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read(&path)?;
            let file = to.join(path.strip_prefix(from)?);
            fs::create_dir_all(file.parent().unwrap_or(to))?;
            fs::write(&file, &text)?;
            copied.lines += text.iter().filter(|byte| **byte == b'\n').count();
            copied.bytes += text.len();
            copied.files.push(file);
            if lines_max <= copied.lines {
                break;
            }
        }
    }
    Ok(copied)
}

/// Writes `count` files of about `bytes` each, twenty to a directory, each with a function `f0` to edit.
pub(crate) fn write(dir: &Path, count: usize, bytes: usize) -> Result<(), Failure> {
    for n in 0..count {
        let path = dir.join(small(n));
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        let mut text = String::new();
        for unit in 0.. {
            if bytes < text.len() {
                break;
            }
            text += &format!(
                "/// Number {unit}.\npub fn f{unit}(a: u64) -> u64 {{\n    let cap = {n}{unit:04};\n    if a < cap {{ a + 1 }} else {{ cap }}\n}}\n\n"
            );
        }
        fs::write(path, text)?;
    }
    Ok(())
}

/// The path of the `n`-th file of [`write()`].
pub(crate) fn small(n: usize) -> String {
    format!("src/d{}/m{n}.rs", n / 20)
}

pub(crate) fn commit(dir: &Path) {
    git(dir, &["add", "."]);
    git(dir, &["commit", "-qm", "tree"]);
}
