//! Fixtures and a seeded maker of plausible edits.
//!
//! Invariants:
//! - equal seeds give equal edits, so a failure names everything needed to repeat it.
#![allow(dead_code)] // Each test file uses its own part.

use std::path::Path;

use aura_semantic::{Budget, Indexed, Unit, UnitKind, index, outline};

/// One file for each of the languages that the tests of the whole system use as well.
pub(crate) const FIXTURES: &[&str] = &[
    "Ledger.java",
    "cart.jsx",
    "orders.py",
    "panel.tsx",
    "pool.cpp",
    "queue.go",
    "ring.c",
    "risk.rs",
    "shapes.ts",
];

/// One file for each other language with functions.
pub(crate) const MORE_FIXTURES: &[&str] = &[
    "Depot.cs",
    "Garden.kt",
    "Player.swift",
    "Routes.scala",
    "invoice.php",
    "ledger.rb",
    "release.sh",
    "world.lua",
];

/// One file for each format of data and pages.
pub(crate) const DATA_FIXTURES: &[&str] = &[
    "guide.md",
    "index.html",
    "package.json",
    "pipeline.yaml",
    "server.toml",
    "site.css",
];

/// The files with functions.
pub(crate) fn code_fixtures() -> impl Iterator<Item = &'static str> {
    FIXTURES.iter().chain(MORE_FIXTURES).copied()
}

/// A file for each language there is.
pub(crate) fn all_fixtures() -> impl DoubleEndedIterator<Item = &'static str> {
    let code = FIXTURES.iter().chain(MORE_FIXTURES);
    code.chain(DATA_FIXTURES).copied()
}

/// The bytes of a fixture; other crates' tests find them from where they stand.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here
        .ancestors()
        .map(|above| above.join("crates/aura-semantic/fixtures"))
        .find(|folder| folder.is_dir());
    let file = folder
        .expect("the fixtures are in the workspace")
        .join(name);
    std::fs::read(file).expect("the fixture is part of the crate")
}

/// Indexes bytes without a past.
pub(crate) fn fresh(path: &str, bytes: &[u8]) -> Indexed {
    index(path, bytes, None, &Budget::default())
}

/// Indexes bytes as the successor of a version.
pub(crate) fn next(before: &Indexed, bytes: &[u8]) -> Indexed {
    index(&before.path, bytes, Some(before), &Budget::default())
}

/// A small generator (xorshift), so that seeds mean the same everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (sides.max(1) as u64)).expect("below sides")
    }
}

/// The ways in which one text can be stored.
pub(crate) fn disguises(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let lf = String::from_utf8(text.to_vec()).expect("fixtures are text");
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend_from_slice(text);
    let mut mixed = String::new();
    for (at, line) in lf.split_inclusive('\n').enumerate() {
        mixed.push_str(&if at % 3 == 0 {
            line.replace('\n', "\r\n")
        } else {
            line.to_owned()
        });
    }
    let latin = replace(text, b"omment", b"omm\xe9nt");
    let latin = replace(&latin, b"detached", b"d\xe9tach\xff");
    vec![
        ("plain", text.to_vec()),
        ("crlf", lf.replace('\n', "\r\n").into_bytes()),
        ("bom", bom),
        ("tabs", lf.replace("    ", "\t").into_bytes()),
        ("mixed", mixed.into_bytes()),
        ("no final newline", lf.trim_end().as_bytes().to_vec()),
        ("latin-1", latin),
        ("nul", replace(text, b"\"", b"\"\0")[..text.len()].to_vec()),
    ]
}

/// Replaces every occurrence.
pub(crate) fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(from) {
            out.extend_from_slice(to);
            at += from.len();
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

/// Units without members that have a body longer than a line.
pub(crate) fn bodies(file: &Indexed) -> Vec<usize> {
    let with_body = |unit: &Unit| {
        let function = matches!(unit.kind, UnitKind::Function | UnitKind::Method);
        let long = unit.body.is_some() && unit.end_line > unit.start_line + 1;
        function && unit.inner.is_none() && !unit.opaque && long
    };
    let units = file.outline.units.iter().enumerate();
    units
        .filter(|(_, unit)| with_body(unit))
        .map(|(at, _)| at)
        .collect()
}

/// Doubles the first line of a body that is a whole statement, or the nearest to it.
pub(crate) fn edit_body(file: &Indexed, unit: usize, mark: &str) -> Vec<u8> {
    let unit = &file.outline.units[unit];
    let bytes = &file.bytes[..];
    let body = unit.body.clone().expect("chosen for its body");
    // A new last line before the closing, or after the last line where nothing closes.
    let text = &bytes[body.clone()];
    let python = file.path.ends_with(".py");
    let closings: &[&[u8]] = if python {
        &[b"}"]
    } else {
        &[b"}", b")", b"end"]
    };
    let closes = closings.iter().any(|end| text.ends_with(end));
    let crlf = bytes.windows(2).any(|pair| pair == b"\r\n");
    let end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    let mut out;
    if closes {
        let line = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(1, |at| at + 1);
        out = bytes[..body.start + line].to_vec();
        out.extend_from_slice(format!("        {} {mark}", comment_sign(&file.path)).as_bytes());
        out.extend_from_slice(end);
        out.extend_from_slice(&bytes[body.start + line..]);
    } else {
        out = bytes[..body.start].to_vec();
        let column = bytes[..body.start]
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count();
        let indent = bytes[body.start - column..body.start].to_vec();
        out.extend_from_slice(format!("mark = \"{mark}\"").as_bytes());
        out.extend_from_slice(end);
        out.extend_from_slice(&indent);
        out.extend_from_slice(&bytes[body.start..]);
    }
    out
}

fn comment_sign(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("lua") => "--",
        Some("py" | "rb" | "sh") => "#",
        _ => "//",
    }
}

/// What stands between two units.
fn separator(path: &str) -> &'static [u8] {
    if path.ends_with(".json") { b"," } else { b"" }
}

/// A unit with what parts it from the one behind it, or before it if it is the last.
fn with_separator(file: &Indexed, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let (apart, bytes) = (separator(&file.path), &file.bytes);
    let before = bytes[..span.start].trim_ascii_end();
    if apart.is_empty() {
        span
    } else if bytes[span.end..].starts_with(apart) {
        span.start..span.end + apart.len()
    } else if before.ends_with(apart) {
        before.len() - apart.len()..span.end
    } else {
        span
    }
}

/// A unit twice, the second time under another name.
fn copied(file: &Indexed, unit: usize, name: &std::ops::Range<usize>, mark: &str) -> Vec<u8> {
    let (unit, bytes) = (&file.outline.units[unit], &file.bytes);
    let mut copy = bytes[unit.span.start..name.start].to_vec();
    copy.extend_from_slice(format!("copy{mark}").as_bytes());
    copy.extend_from_slice(&bytes[name.end..unit.span.end]);
    let line = bytes[..unit.core.start].iter().rev();
    let indent = vec![b' '; line.take_while(|byte| **byte != b'\n').count()];
    let own = &bytes[unit.span.clone()];
    [own, separator(&file.path), b"\n\n", &indent, &copy].concat()
}

/// Makes one plausible edit; may give the bytes back unchanged.
pub(crate) fn edit(file: &Indexed, dice: &mut Dice, mark: &str) -> Vec<u8> {
    let units = &file.outline.units;
    let bytes = file.bytes.to_vec();
    if units.is_empty() {
        return bytes;
    }
    let chosen = dice.roll(units.len());
    let unit = &units[chosen];
    let splice = |range: std::ops::Range<usize>, text: &[u8]| {
        [&bytes[..range.start], text, &bytes[range.end..]].concat()
    };
    match dice.roll(9) {
        0 | 1 => match bodies(file) {
            some if some.is_empty() => bytes,
            some => edit_body(file, some[dice.roll(some.len())], mark),
        },
        2 => match unit.name_span.clone() {
            Some(name) => splice(name, format!("renamed{mark}").as_bytes()),
            None => bytes,
        },
        3 => splice(with_separator(file, unit.span.clone()), b""),
        4 => match unit.name_span.clone() {
            Some(name) => {
                let text = copied(file, chosen, &name, mark);
                splice(unit.span.clone(), &text)
            }
            None => bytes,
        },
        5 => {
            let sibling = units
                .get(unit.end)
                .filter(|other| other.parent == unit.parent);
            match sibling {
                Some(other) => [
                    &bytes[..unit.span.start],
                    &bytes[other.span.clone()],
                    &bytes[unit.span.end..other.span.start],
                    &bytes[unit.span.clone()],
                    &bytes[other.span.end..],
                ]
                .concat(),
                None => bytes,
            }
        }
        6 => splice(unit.span.start..unit.span.start, b"\n"),
        7 => {
            // A line lost, whatever it was.
            let starts: Vec<usize> = std::iter::once(0)
                .chain(
                    bytes
                        .iter()
                        .enumerate()
                        .filter(|(_, b)| **b == b'\n')
                        .map(|(at, _)| at + 1),
                )
                .collect();
            let line = dice.roll(starts.len());
            let end = starts.get(line + 1).copied().unwrap_or(bytes.len());
            splice(starts[line]..end, b"")
        }
        _ => {
            let at = dice.roll(bytes.len());
            splice(
                at..at,
                [" ", "(", "}", "x", "\n", "\u{e9}"][dice.roll(6)].as_bytes(),
            )
        }
    }
}

/// Asserts that units and gaps of every level join to the file.
pub(crate) fn assert_tiled(path: &str, bytes: &[u8]) {
    let outline = outline(path, bytes, &Budget::default());
    let units = &outline.units;
    for (at, unit) in units.iter().enumerate() {
        let limits = unit.parent.map_or(0..bytes.len(), |parent| {
            assert!(parent < at, "a container stands before its members");
            units[parent]
                .inner
                .clone()
                .expect("a parent has an inner range")
        });
        assert!(
            limits.start <= unit.span.start && unit.span.end <= limits.end,
            "{path} {at}"
        );
        assert!(unit.span.start <= unit.core.start && unit.core.end <= unit.span.end);
        assert!(!unit.span.is_empty(), "no unit is empty");
        if let Some(following) = units
            .get(unit.end)
            .filter(|next| next.parent == unit.parent)
        {
            assert!(
                unit.span.end <= following.span.start,
                "siblings do not overlap"
            );
        }
    }
}

/// Asserts the outline of a fixture.
pub(crate) fn check(name: &str, expected: &str) {
    let file = fresh(name, &fixture(name));
    assert_eq!(file.outline.problems, []);
    assert_eq!(file.outline.errors, 0);
    let units = file.outline.units.iter();
    let rows = units.map(|unit| format!("{} {}{}", unit.kind, unit.qualified, unit.parameters));
    let expected = expected.trim().lines().map(str::trim_start);
    assert_eq!(
        rows.collect::<Vec<_>>(),
        expected.collect::<Vec<_>>(),
        "{name}"
    );
}

/// All the text of the first unit of this name in a text, with what is attached.
pub(crate) fn unit<'a>(path: &str, text: &'a str, qualified: &str) -> &'a str {
    let found = outline(path, text.as_bytes(), &Budget::default());
    let mut units = found.units.iter();
    let unit = units.find(|unit| unit.qualified == qualified);
    &text[unit
        .unwrap_or_else(|| panic!("no {qualified}"))
        .span
        .clone()]
}

/// The text of a fixture.
pub(crate) fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}
