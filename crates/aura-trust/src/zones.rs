//! Names of places that the Mothership can compare and not read.
//!
//! Invariants:
//! - two spellings of one path on a file system that ignores case or composition have the same tag;
//! - a tag says nothing without the team's first key, and nothing in another log.

use aura_proto::{
    LogId, RepoPath,
    path::fold_key,
    zone::{Place, Tag},
};
use zeroize::Zeroizing;

use crate::{derive::derive, keys::KeyRing};

/// What separates the kinds of tags, so that no branch can be taken for a file.
const BRANCH: u8 = b'b';
const PATH: u8 = b'p';
const UNIT: u8 = b'u';

/// Makes the tags of one log.
pub struct Tagger {
    key: Zeroizing<[u8; 32]>,
}

impl Tagger {
    /// With the first key of the ring; none as long as there is no key.
    ///
    /// The first one, since zones outlive a change of keys, and all members have all of them.
    // spec: zones/1.2
    pub fn new(ring: &KeyRing, log: LogId) -> Option<Self> {
        let first = ring.iter().next()?;
        let key = derive(first.secret(), &log.0, &[b"aura/v1/zone-tag\0"]);
        Some(Self {
            key: Zeroizing::new(key),
        })
    }

    fn tag(&self, kind: u8, parts: &[&[u8]]) -> Tag {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[kind]);
        for part in parts {
            hasher.update(part);
        }
        let mut tag = [0; 16];
        hasher.finalize_xof().fill(&mut tag);
        Tag(tag)
    }

    /// A branch, by its full name.
    pub fn branch(&self, name: &str) -> Tag {
        self.tag(BRANCH, &[name.as_bytes()])
    }

    /// The whole repository.
    pub fn root(&self) -> Place {
        Place {
            above: Vec::new(),
            own: self.tag(PATH, &[]),
        }
    }

    /// A file or a directory.
    pub fn path(&self, path: &RepoPath) -> Place {
        let folded = fold_key(path.as_str());
        let ends = folded.match_indices('/').map(|(at, _)| at);
        let prefixes = ends.map(|at| self.tag(PATH, &[&folded.as_bytes()[..at]]));
        Place {
            above: std::iter::once(self.root().own).chain(prefixes).collect(),
            own: self.tag(PATH, &[folded.as_bytes()]),
        }
    }

    /// A unit of a file, by its id.
    pub fn unit(&self, path: &RepoPath, unit: &[u8; 16]) -> Place {
        let Place { mut above, own } = self.path(path);
        above.push(own);
        let folded = fold_key(path.as_str());
        Place {
            own: self.tag(UNIT, &[folded.as_bytes(), b"\0", unit]),
            above,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::TeamKey;

    fn path(text: &str) -> RepoPath {
        RepoPath::try_from(text).unwrap()
    }

    fn tagger(seed: u8, log: u8) -> Tagger {
        let mut ring = KeyRing::new();
        ring.insert(TeamKey::new(1, [seed; 32])).unwrap();
        ring.insert(TeamKey::new(2, [seed + 100; 32])).unwrap();
        Tagger::new(&ring, LogId([log; 16])).unwrap()
    }

    #[test]
    fn a_directory_holds_what_is_in_it_by_components() {
        let tags = tagger(1, 1);
        let (src, file) = (tags.path(&path("src")), tags.path(&path("src/a.rs")));
        assert!(src.holds(&file) && !file.holds(&src) && file.meets(&src));
        assert!(!src.meets(&tags.path(&path("src2/a.rs"))));
        assert!(tags.root().holds(&src) && tags.root().holds(&file));
        let unit = tags.unit(&path("src/a.rs"), &[7; 16]);
        assert!(src.holds(&unit) && file.holds(&unit) && !unit.holds(&file));
        assert!(!unit.meets(&tags.unit(&path("src/a.rs"), &[8; 16])));
        assert!(!unit.meets(&tags.unit(&path("src/b.rs"), &[7; 16])));
    }

    #[test]
    fn case_086_one_file_under_two_spellings_has_one_tag() {
        let tags = tagger(1, 1);
        let same = [
            ("Src/A.rs", "src/a.rs"),
            ("CAFÉ.rs", "café.rs"),
            ("STRASSE", "straße"),
        ];
        for (one, other) in same {
            assert_eq!(tags.path(&path(one)), tags.path(&path(other)), "{one}");
        }
    }

    #[test]
    fn a_tag_says_nothing_in_another_log_or_team_and_no_kind_passes_for_another() {
        let tags = tagger(1, 1);
        let own = |tags: &Tagger| tags.path(&path("src")).own;
        assert_ne!(own(&tags), own(&tagger(1, 2)));
        assert_ne!(own(&tags), own(&tagger(2, 1)));
        assert_ne!(own(&tags), tags.branch("src"));
    }
}
