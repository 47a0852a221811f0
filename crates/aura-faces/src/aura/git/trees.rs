//! Which files two sides changed, and which of them have to be merged.
//!
//! Invariants:
//! - every path of either side is counted once: as taken, or as a file to be merged or in conflict;
//! - what cannot be read is none, never a guess.

use std::collections::{BTreeMap, BTreeSet};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    mode: Vec<u8>,
    pub(super) id: String,
}

impl Entry {
    fn is_file(&self) -> bool {
        self.mode.starts_with(b"100")
    }
}

/// What became of a file of the base.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    before: Entry,
    /// Where it stands now; gone if nowhere.
    after: Option<(Vec<u8>, Entry)>,
}

/// All that one side changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    changed: BTreeMap<Vec<u8>, Change>,
    added: BTreeMap<Vec<u8>, Entry>,
}

impl Changes {
    /// Reads the output of `git diff-tree -r -z --raw --full-index`.
    pub(super) fn parse(raw: &[u8]) -> Option<Self> {
        let mut changes = Self::default();
        let mut fields = super::fields(raw);
        while let Some(facts) = fields.next() {
            let facts: Vec<&[u8]> = facts
                .strip_prefix(b":")?
                .split(|byte| *byte == b' ')
                .collect();
            let [old_mode, new_mode, old_id, new_id, status] = facts[..] else {
                return None;
            };
            let entry = |mode: &[u8], id: &[u8]| {
                let id = std::str::from_utf8(id).ok()?;
                let is_hex = id.bytes().all(|byte| byte.is_ascii_hexdigit());
                let (mode, id) = (mode.to_vec(), id.to_owned());
                is_hex.then_some(Entry { mode, id })
            };
            let (old, new) = (entry(old_mode, old_id)?, entry(new_mode, new_id)?);
            let path = fields.next()?.to_vec();
            let after = match status.first()? {
                b'A' => {
                    changes.added.insert(path, new);
                    continue;
                }
                b'D' => None,
                b'R' => Some((fields.next()?.to_vec(), new)),
                b'M' | b'T' => Some((path.clone(), new)),
                _ => return None,
            };
            changes.changed.insert(path, Change { before: old, after });
        }
        Some(changes)
    }

    /// Paths that are new on this side, each with the path of the base that it comes from.
    fn arrivals(&self) -> BTreeMap<&[u8], Option<&[u8]>> {
        let moved = self.changed.iter().filter_map(|(from, change)| {
            let (to, _) = change.after.as_ref()?;
            (to != from).then_some((&to[..], Some(&from[..])))
        });
        let added = self.added.keys().map(|path| (&path[..], None));
        moved.chain(added).collect()
    }
}

/// A file that both sides have something to say about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its texts are to be merged; a file that both added has no base.
    Merge {
        path: Vec<u8>,
        base: Option<String>,
        ours: String,
        theirs: String,
    },
    /// No text can settle it: the code of the reason.
    Conflict { path: Vec<u8>, code: &'static str },
}

/// What a merge of trees comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fates {
    /// Files that one side alone changed, or both in the same way.
    pub(super) taken: u64,
    pub(super) files: Vec<Fate>,
}

impl Fates {
    fn conflict(&mut self, path: &[u8], code: &'static str) {
        let path = path.to_vec();
        self.files.push(Fate::Conflict { path, code });
    }

    /// One path whose entries are known in all versions.
    fn entries(&mut self, path: &[u8], base: Option<&Entry>, ours: &Entry, theirs: &Entry) {
        let is_taken = ours == theirs || Some(ours) == base || Some(theirs) == base;
        let all = [Some(ours), Some(theirs), base];
        let is_file = all.into_iter().flatten().all(Entry::is_file);
        let is_module = |entry: &Entry| entry.mode == b"160000";
        let has_module = all.into_iter().flatten().any(is_module);
        let base_mode = base.map(|base| &base.mode);
        let is_mode_settled = ours.mode == theirs.mode
            || base_mode == Some(&ours.mode)
            || base_mode == Some(&theirs.mode);
        let base = base.map(|base| base.id.clone());
        let is_text_settled = ours.id == theirs.id
            || base.as_ref() == Some(&ours.id)
            || base.as_ref() == Some(&theirs.id);
        if is_taken || is_file && is_mode_settled && is_text_settled {
            self.taken += 1;
        } else if has_module {
            self.conflict(path, "submodule");
        } else if !is_file {
            self.conflict(path, "not_a_file");
        } else if !is_mode_settled {
            self.conflict(path, "mode");
        } else {
            self.files.push(Fate::Merge {
                path: path.to_vec(),
                base,
                ours: ours.id.clone(),
                theirs: theirs.id.clone(),
            });
        }
    }

    /// One file of the base that both changed.
    fn both(&mut self, base_path: &[u8], ours: &Change, theirs: &Change) {
        match (&ours.after, &theirs.after) {
            (None, None) => self.taken += 1,
            (None, Some((path, _))) => self.conflict(path, "deleted_by_ours"),
            (Some((path, _)), None) => self.conflict(path, "deleted_by_theirs"),
            (Some((one, ours_entry)), Some((other, theirs_entry))) => {
                if one != other && one != base_path && other != base_path {
                    self.conflict(base_path, "renamed_twice");
                    return;
                }
                let path = if one == base_path { other } else { one };
                self.entries(path, Some(&ours.before), ours_entry, theirs_entry);
            }
        }
    }
}

/// Merges what two sides did to one base.
pub(super) fn merge(ours: &Changes, theirs: &Changes) -> Fates {
    let mut fates = Fates::default();
    let taken = collisions(ours, theirs, &mut fates);
    for (path, change) in &ours.changed {
        match theirs.changed.get(path) {
            Some(other) => fates.both(path, change, other),
            None => fates.taken += u64::from(!is_in(&taken, change)),
        }
    }
    for (path, change) in &theirs.changed {
        let is_alone = !ours.changed.contains_key(path);
        fates.taken += u64::from(is_alone && !is_in(&taken, change));
    }
    for (path, entry) in &ours.added {
        match theirs.added.get(path) {
            Some(other) => fates.entries(path, None, entry, other),
            None => fates.taken += u64::from(!taken.contains(&path[..])),
        }
    }
    for path in theirs.added.keys() {
        let is_alone = !ours.added.contains_key(path) && !taken.contains(&path[..]);
        fates.taken += u64::from(is_alone);
    }
    fates
}

fn is_in(taken: &BTreeSet<&[u8]>, change: &Change) -> bool {
    let after = change.after.as_ref();
    after.is_some_and(|(path, _)| taken.contains(&path[..]))
}

/// Paths at which the sides put different things, or one a file and one a directory.
fn collisions<'a>(ours: &'a Changes, theirs: &'a Changes, fates: &mut Fates) -> BTreeSet<&'a [u8]> {
    let sides = [ours.arrivals(), theirs.arrivals()];
    let mut taken = BTreeSet::new();
    for (path, origin) in &sides[0] {
        // Added by both, or the same file moved by both.
        if sides[1].get(path).is_some_and(|other| other != origin) {
            fates.conflict(path, "path_taken");
            taken.insert(*path);
        }
    }
    for (one, other) in [(0, 1), (1, 0)] {
        for path in sides[one].keys() {
            let below = [path, &b"/"[..]].concat();
            let behind = sides[other].range(&below[..]..).next();
            if behind.is_some_and(|(next, _)| next.starts_with(&below)) {
                fates.conflict(path, "file_and_directory");
                taken.insert(*path);
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    /// Changes from lines such as `M a 1 2`, `A a 1`, `D a 1`, `R a 1 b 2`; a letter behind an id is a mode.
    fn changes(lines: &[&str]) -> Changes {
        let mut raw = String::new();
        let zero = "0".repeat(40);
        let facts = |entry: &str| {
            let mode = match entry.trim_start_matches(|c: char| c.is_ascii_digit()) {
                "x" => "100755",
                "l" => "120000",
                "s" => "160000",
                _ => "100644",
            };
            let id = entry.trim_end_matches(char::is_alphabetic);
            (mode, format!("{id:0>40}"))
        };
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let none = ("000000", zero.clone());
            let (old, new, tail) = match words[..] {
                ["A", path, new] => (none, facts(new), path.to_owned()),
                ["D", path, old] => (facts(old), none, path.to_owned()),
                ["M", path, old, new] => (facts(old), facts(new), path.to_owned()),
                ["R", from, old, to, new] => (facts(old), facts(new), format!("{from}\0{to}")),
                _ => (none.clone(), none, String::new()),
            };
            let status = if words[0] == "R" { "R090" } else { words[0] };
            raw.push_str(&format!(
                ":{} {} {} {} {status}\0{tail}\0",
                old.0, new.0, old.1, new.1
            ));
        }
        Changes::parse(raw.as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(ours: &[&str], theirs: &[&str], taken: u64, expected: &[&str]) {
        let fates = merge(&changes(ours), &changes(theirs));
        let told = fates.files.iter().map(|fate| match fate {
            Fate::Merge { path, base, .. } => {
                let base = if base.is_some() { "" } else { " without base" };
                format!("merge {}{base}", String::from_utf8_lossy(path))
            }
            Fate::Conflict { path, code } => format!("{code} {}", String::from_utf8_lossy(path)),
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
        assert_eq!(fates.taken, taken);
    }

    #[test]
    fn what_one_side_did_alone_or_both_did_the_same_is_taken() {
        check(&["M a 1 2", "A n 5"], &["M b 1 2", "D c 1"], 4, &[]);
        check(
            &["M a 1 2", "D b 1", "A n 5"],
            &["M a 1 2", "D b 1", "A n 5"],
            3,
            &[],
        );
        check(&["R a 1 b 1"], &["M a 1 2"], 1, &[]);
        check(&["M a 1 1x"], &["M a 1 2"], 1, &[]);
    }

    #[test]
    fn texts_that_both_changed_are_merged_where_the_file_stands_now() {
        check(&["M a 1 2"], &["M a 1 3"], 0, &["merge a"]);
        check(&["R a 1 b 2"], &["M a 1 3"], 0, &["merge b"]);
        check(&["R a 1 b 2"], &["R a 1 b 3"], 0, &["merge b"]);
        check(&["A a 2"], &["A a 3"], 0, &["merge a without base"]);
    }

    #[test]
    fn what_no_text_can_settle_is_a_conflict() {
        check(&["D a 1"], &["M a 1 2"], 0, &["deleted_by_ours a"]);
        check(&["M a 1 2"], &["D a 1"], 0, &["deleted_by_theirs a"]);
        check(&["R a 1 b 1"], &["R a 1 c 1"], 0, &["renamed_twice a"]);
        check(&["M a 1l 2l"], &["M a 1l 3l"], 0, &["not_a_file a"]);
        check(&["M a 1s 2s"], &["M a 1s 3s"], 0, &["submodule a"]);
        check(&["A a 2"], &["A a 2x"], 0, &["mode a"]);
        check(&["R a 1 n 1"], &["A n 2"], 0, &["path_taken n"]);
        check(&["A n 1"], &["A n/x 2"], 1, &["file_and_directory n"]);
        check(
            &["A n-a 1", "A n/x 1"],
            &["A n 2"],
            2,
            &["file_and_directory n"],
        );
    }

    #[test]
    fn many_files_that_both_added_beside_many_changed_ones_are_merged_at_once() {
        let entry = |id: u32| Entry {
            mode: b"100644".to_vec(),
            id: id.to_string(),
        };
        let side = move |id: u32| {
            let names = |word| (0..40_000).map(move |nth| format!("{word}/{nth}").into_bytes());
            let changed = names("changed").map(|path| {
                let (before, after) = (entry(0), Some((path.clone(), entry(id))));
                (path, Change { before, after })
            });
            Changes {
                changed: changed.collect(),
                added: names("added").map(|path| (path, entry(id))).collect(),
            }
        };
        let (told, answer) = mpsc::channel();
        thread::spawn(move || told.send(merge(&side(1), &side(2)).files.len()));
        // Compared each with each, it would take minutes.
        let files = answer.recv_timeout(Duration::from_secs(20));
        assert_eq!(files, Ok(80_000));
    }

    #[test]
    fn what_is_no_listing_is_none() {
        assert_eq!(Changes::parse(b""), Some(Changes::default()));
        for raw in [
            &b"x"[..],
            b":1 2 3\0a\0",
            b":1 2 3 4 M\0",
            b":1 2 3 zz M\0a\0",
            b":1 2 3 4 R9\0a\0",
        ] {
            assert_eq!(Changes::parse(raw), None);
        }
    }
}
