//! What the sealed body of a patch or of an intent says.
//!
//! Invariants:
//! - `parents` has one row per touched unit of the patch, in the same order;
//! - a version's name follows from unit, parents and content, so equal edits made apart are one version.

use aura_proto::{
    Incarnation, RepoPath,
    codec::{self, DecodeError},
    limits::BODY_BYTES_MAX,
    pack::{pack, unpack},
    path::PathError,
};
use aura_semantic::{ContentHash, FilePatch, Touched, UnitId, Untrue};
use serde::{Deserialize, Serialize};

/// Longest name of a branch, a commit or a unit, in bytes.
pub const WORD_BYTES_MAX: usize = 4_096;
/// Longest reason, in bytes.
pub const WHY_BYTES_MAX: usize = 64 << 10;
/// Versions that one version may follow: more heads than a unit is ever settled from.
pub const PARENTS_MAX: usize = 1_024;
/// Units that one patch may touch: each costs every member memory for good. An id and a hash, 48 bytes, do not
/// compress, so no more fit into one entry.
pub const TOUCHED_MAX: usize = BODY_BYTES_MAX / 48;
/// Parents of all units of a patch together: each beside an id, 32 bytes, that do not compress either.
pub const PARENTS_SUM_MAX: usize = BODY_BYTES_MAX / 32;
/// Bytes that a body has, packed, for each unit and each parent that it names: the length of a name that is a hash.
pub const NAME_BYTES: usize = 16;

/// Entries that one intent may name.
pub const INTENT_ENTRIES_MAX: usize = 4_096;

/// Names one version of one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionId(pub [u8; 16]);

impl VersionId {
    /// The version of `unit` with this content (`None`: deleted) that follows `parents`.
    // spec: patch/2.1
    pub fn of(unit: UnitId, parents: &[Self], content: Option<ContentHash>) -> Self {
        let mut sorted: Vec<Self> = parents.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut hasher = blake3::Hasher::new_derive_key("aura/v1/version");
        hasher.update(&unit.0);
        hasher.update(&(sorted.len() as u64).to_be_bytes());
        for parent in &sorted {
            hasher.update(&parent.0);
        }
        if let Some(content) = content {
            hasher.update(&content.0);
        }
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }

    /// The version that a unit has where no log entry speaks of it: its content in the commit at hand.
    pub fn birth(unit: UnitId, content: ContentHash) -> Self {
        Self::of(unit, &[], Some(content))
    }

    /// Six characters for people.
    pub fn short(&self) -> String {
        aura_proto::ids::base32().encode(&self.0)[..6].to_owned()
    }
}

/// What led to a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Somebody saved.
    Edit,
    /// Two versions that do not exclude each other were joined by the second writer.
    Merge,
    /// A conflict was settled.
    Resolve,
    /// An earlier operation was taken back.
    Undo,
}

/// The body of a patch entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchBody {
    /// The branch that it was made on.
    pub channel: String,
    /// The commit that was checked out.
    pub commit: String,
    /// What led to it.
    pub cause: Cause,
    /// Why, in the author's words.
    pub why: Option<String>,
    /// The change of one file.
    pub patch: FilePatch,
    /// For each touched unit, the versions that the new one follows.
    pub parents: Vec<Vec<VersionId>>,
}

/// Why a body is not taken in: no honest daemon seals one like it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A name, a reason or a list of parents is longer than anybody needs.
    #[error("TOO_LARGE: a name, a reason or the number of parents is over its limit")]
    Bounds,
    /// Its versions do not follow from its operations.
    #[error("PATCH: {0}")]
    Patch(Untrue),
    /// Its path is not one that every member can hold.
    #[error("{id}: {0}", id = .0.id())]
    Path(PathError),
}

impl PatchBody {
    /// Whether an honest daemon could have made it.
    // spec: patch/2.8
    pub fn check(&self) -> Result<(), BodyError> {
        RepoPath::try_from(self.patch.path.as_str()).map_err(BodyError::Path)?;
        let words = [&self.channel, &self.commit];
        let names = self.patch.touched.iter().map(|row| &row.name);
        let is_bounded = words
            .into_iter()
            .chain(names)
            .all(|word| word.len() <= WORD_BYTES_MAX)
            && self
                .why
                .as_ref()
                .is_none_or(|why| why.len() <= WHY_BYTES_MAX)
            && self.patch.touched.len() <= TOUCHED_MAX
            && self.parents.iter().all(|row| row.len() <= PARENTS_MAX)
            && self.parents.iter().map(Vec::len).sum::<usize>() <= PARENTS_SUM_MAX;
        if !is_bounded {
            return Err(BodyError::Bounds);
        }
        // What is gone before and after is told only of a unit that somebody else told of.
        let is_rootless = |(row, parents): &(&Touched, &Vec<VersionId>)| {
            row.before.is_none() && row.after.is_none() && parents.is_empty()
        };
        let mut rows = self.patch.touched.iter().zip(&self.parents);
        if let Some((row, _)) = rows.find(is_rootless) {
            let name = row.name.clone();
            return Err(BodyError::Patch(Untrue { name }));
        }
        self.patch.check().map_err(BodyError::Patch)
    }

    /// The bytes that are sealed.
    pub fn encode(&self) -> Vec<u8> {
        pack(codec::encode(self))
    }

    /// Reads unsealed bytes.
    // spec: patch/2.5, patch/2.11
    pub fn decode(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        // Names that are hashes do not compress: who has more of them made them up, so that they cost him nothing.
        let names_max = bytes.len() / NAME_BYTES;
        let body: Self = codec::decode(&unpack(bytes)?)?;
        let rows = body.patch.touched.len();
        let parents: usize = body.parents.iter().map(Vec::len).sum();
        if body.parents.len() != rows || names_max < rows + parents {
            return Err(DecodeError::Malformed);
        }
        Ok(body)
    }

    /// The new versions: unit, version, its parents.
    pub fn versions(&self) -> impl Iterator<Item = (UnitId, VersionId, &[VersionId])> {
        self.patch
            .touched
            .iter()
            .zip(&self.parents)
            .map(|(touched, parents)| {
                (
                    touched.unit,
                    VersionId::of(touched.unit, parents, touched.after),
                    &parents[..],
                )
            })
    }
}

/// An earlier entry of the author of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRef {
    /// Under which incarnation it was written.
    pub incarnation: Incarnation,
    /// Its number.
    pub author_seq: u64,
}

/// The body of an intent entry: the reason for patches that its author published before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentBody {
    /// Why, in the author's words.
    pub why: String,
    /// For which entries.
    pub entries: Vec<EntryRef>,
}

impl IntentBody {
    /// Whether an honest daemon could have made it.
    // spec: patch/5.3
    pub fn check(&self) -> Result<(), BodyError> {
        let is_bounded = self.why.len() <= WHY_BYTES_MAX
            && (1..=INTENT_ENTRIES_MAX).contains(&self.entries.len());
        is_bounded.then_some(()).ok_or(BodyError::Bounds)
    }

    /// The bytes that are sealed.
    pub fn encode(&self) -> Vec<u8> {
        pack(codec::encode(self))
    }

    /// Reads unsealed bytes.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        codec::decode(&unpack(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_edits_made_apart_are_one_version() {
        let unit = UnitId([1; 16]);
        let (a, b) = (VersionId([2; 16]), VersionId([3; 16]));
        let content = Some(ContentHash([4; 32]));
        assert_eq!(
            VersionId::of(unit, &[a, b], content),
            VersionId::of(unit, &[b, a, b], content)
        );
        assert_ne!(
            VersionId::of(unit, &[a], content),
            VersionId::of(unit, &[b], content)
        );
        assert_ne!(
            VersionId::of(unit, &[a], content),
            VersionId::of(unit, &[a], None)
        );
    }
}
