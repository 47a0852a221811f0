//! What the team knows this working copy to have, file by file.
//!
//! A file that equals its blob at HEAD needs no copy; every other shadow is kept with the ids of its units.
//!
//! Invariants:
//! - a shadow is replaced whole or not at all;
//! - what git cannot be asked for is not known: it is an error, never a file that is gone;
//! - losing the shadow of a tracked file costs a comparison with HEAD, never an edit: so it is not synced, and is never
//!   on the disk before the file that it was taken from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use aura_api::{Exit, Failure};
use aura_proto::{Digest, RepoPath, codec};
use aura_semantic::{Indexed, Text, UnitId};
use aura_store::{FileError, ensure_private_dir, sweep_temporaries, write_atomic, write_unsynced};
use aura_tree::{ObjectId, Repo, git::Blobs};
use serde::{Deserialize, Serialize};

use super::{git_failure, storage};

/// A kept shadow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    path: String,
    /// `None` when the file is known to be gone.
    pub(super) text: Option<Text>,
    pub(super) ids: Vec<UnitId>,
    /// Whether it was taken from the disk as git or its user left it, so that more is in it than the team was told.
    is_local: bool,
}

impl Kept {
    fn is_blob(&self, id: &ObjectId) -> bool {
        let text = self.text.as_ref();
        text.is_some_and(|text| id.is_blob(text.bytes()))
    }
}

/// The text of a shadow and, when kept, the ids of its units.
type TextAndIds = (Vec<u8>, Option<Vec<UnitId>>);

pub(super) struct Shadows {
    dir: PathBuf,
    repo: Repo,
    at_head: BTreeMap<RepoPath, ObjectId>,
    blobs: Blobs,
    may_filter: bool,
}

impl Shadows {
    pub(super) fn open(state_dir: &Path, repo: &Repo) -> Result<Self, Failure> {
        let dir = state_dir.join("shadow");
        ensure_private_dir(&dir).map_err(|error| storage(&error))?;
        sweep_temporaries(&dir).map_err(|error| storage(&error))?;
        let blobs = Blobs::start(repo).map_err(|error| git_failure(&error))?;
        let mut shadows = Self {
            dir,
            repo: repo.clone(),
            at_head: BTreeMap::new(),
            blobs,
            may_filter: false,
        };
        shadows.rebase(repo)?;
        Ok(shadows)
    }

    /// Looks at HEAD anew.
    pub(super) fn rebase(&mut self, repo: &Repo) -> Result<(), Failure> {
        let head = repo.head().map_err(|error| git_failure(&error))?;
        self.at_head = repo
            .blobs_of(&head.commit)
            .map_err(|error| git_failure(&error))?;
        self.may_filter = repo.may_filter().map_err(|error| git_failure(&error))?;
        Ok(())
    }

    /// Looks at HEAD anew after a commit; every file that the commit changed keeps the shadow that it had.
    /// Answers which these are.
    pub(super) fn rebase_keeping(&mut self, repo: &Repo) -> Result<BTreeSet<RepoPath>, Failure> {
        let head = repo.head().map_err(|error| git_failure(&error))?;
        let after = repo.blobs_of(&head.commit);
        let after = after.map_err(|error| git_failure(&error))?;
        let before = self.at_head.clone();
        let paths: BTreeSet<&RepoPath> = before.keys().chain(after.keys()).collect();
        let moved: BTreeSet<RepoPath> = paths
            .into_iter()
            .filter(|path| before.get(path) != after.get(path))
            .cloned()
            .collect();
        for path in &moved {
            if let Some(kept) = self.kept(path) {
                let is_it = |id: &ObjectId| kept.is_blob(id);
                // More, or less, was committed than the team was told.
                if !after.get(path).map_or(kept.text.is_none(), is_it) && !kept.is_local {
                    self.keep(path, kept.text.map(|text| text.0), kept.ids, true)?;
                }
                continue;
            }
            let text = match before.get(path) {
                Some(id) => Some(self.blob(id)?),
                None => None,
            };
            self.keep(path, text, Vec::new(), true)?;
        }
        // Last: what could not be kept is still found by the commit before.
        self.rebase(repo)?;
        Ok(moved)
    }

    /// The content of a blob that HEAD names; a git that ended is started anew.
    fn blob(&mut self, id: &ObjectId) -> Result<Vec<u8>, Failure> {
        let bytes = self.blobs.read(id).or_else(|_| {
            self.blobs = Blobs::start(&self.repo)?;
            self.blobs.read(id)
        });
        let bytes = bytes.map_err(|error| git_failure(&error))?;
        bytes.ok_or_else(|| {
            let message = format!("git does not have the blob {id}, or it is too large");
            Failure::new("AE-GIT", Exit::FAILED, message)
        })
    }

    /// Whether a file that git takes as unchanged may differ from its blob.
    pub(super) fn may_filter(&self) -> bool {
        self.may_filter
    }

    /// Whether a file that is to equal its blob does not.
    pub(super) fn is_off_head(&self, path: &RepoPath, bytes: &[u8]) -> bool {
        let id = self.at_head.get(path);
        id.is_some_and(|id| !id.is_blob(bytes)) && self.kept(path).is_none()
    }

    /// Whether these bytes are the shadow.
    pub(super) fn equals(&self, path: &RepoPath, bytes: &[u8]) -> bool {
        match (self.kept(path), self.at_head.get(path)) {
            (Some(kept), _) => kept.text.is_some_and(|text| text.0 == bytes),
            (None, Some(id)) => id.is_blob(bytes),
            (None, None) => false,
        }
    }

    /// The shadow of a file: its text and, when kept, the ids of its units.
    pub(super) fn get(&mut self, path: &RepoPath) -> Result<Option<TextAndIds>, Failure> {
        if let Some(kept) = self.kept(path) {
            return Ok(kept.text.map(|text| (text.0, Some(kept.ids))));
        }
        Ok(self.head_text(path)?.map(|bytes| (bytes, None)))
    }

    /// Whether the team knows this working copy to have the file.
    pub(super) fn holds(&self, path: &RepoPath) -> bool {
        match self.kept(path) {
            Some(kept) => kept.text.is_some(),
            None => self.is_tracked(path),
        }
    }

    /// Adds to `hasher` what changes whenever the shadow does; answers when it changed, in nanoseconds since 1970.
    pub(super) fn mark(&self, path: &RepoPath, hasher: &mut blake3::Hasher) -> i128 {
        // A kept shadow is replaced by another file, never written over.
        if let Ok(kept) = fs::metadata(self.file(path)) {
            let ctime_ns = i128::from(kept.ctime()) * 1_000_000_000 + i128::from(kept.ctime_nsec());
            hasher.update(&ctime_ns.to_be_bytes());
            hasher.update(&kept.ino().to_be_bytes());
            return ctime_ns;
        }
        if let Some(id) = self.at_head.get(path) {
            hasher.update(id.as_str().as_bytes());
        }
        0
    }

    /// The text at HEAD.
    pub(super) fn head_text(&mut self, path: &RepoPath) -> Result<Option<Vec<u8>>, Failure> {
        let id = self.at_head.get(path).cloned();
        id.map(|id| self.blob(&id)).transpose()
    }

    /// The name of its blob at HEAD.
    pub(super) fn blob_name(&self, path: &RepoPath) -> Option<String> {
        self.at_head.get(path).map(|id| id.as_str().to_owned())
    }

    /// Whether git tracks the file at HEAD.
    pub(super) fn is_tracked(&self, path: &RepoPath) -> bool {
        self.at_head.contains_key(path)
    }

    /// The shadow after a change that the team knows: of a file as one piece nothing is in it but what was told.
    pub(super) fn set_told(
        &self,
        path: &RepoPath,
        shadow: Option<&Indexed>,
        is_whole: bool,
    ) -> Result<(), Failure> {
        self.set(path, shadow, !is_whole && self.is_local(path))
    }

    /// The shadow after a change; whether it `is_local` as what git wrote is.
    pub(super) fn set(
        &self,
        path: &RepoPath,
        shadow: Option<&Indexed>,
        is_local: bool,
    ) -> Result<(), Failure> {
        let text = shadow.map(|shadow| shadow.bytes.to_vec());
        let ids = shadow.map(|shadow| shadow.ids.clone()).unwrap_or_default();
        self.keep(path, text, ids, is_local)
    }

    /// Whether there may be more, or less, in the shadow than what git has and the team was told.
    pub(super) fn is_local(&self, path: &RepoPath) -> bool {
        self.kept(path).is_some_and(|kept| {
            let is_at_head = || self.at_head.get(path).is_some_and(|id| kept.is_blob(id));
            kept.is_local && !is_at_head()
        })
    }

    /// Whether the shadow is what HEAD has.
    pub(super) fn is_at_head(&self, path: &RepoPath) -> bool {
        self.kept(path).is_none()
    }

    fn keep(
        &self,
        path: &RepoPath,
        text: Option<Vec<u8>>,
        ids: Vec<UnitId>,
        is_local: bool,
    ) -> Result<(), Failure> {
        let kept = Kept {
            path: path.as_str().to_owned(),
            text: text.map(Text),
            ids,
            is_local,
        };
        let kept = codec::encode(&kept);
        let summed = [blake3::hash(&kept).as_bytes(), &kept[..]].concat();
        let file = self.file(path);
        let written = match self.is_tracked(path) {
            true => write_unsynced(&file, &summed, 0o600),
            // There is no HEAD to compare it with.
            false => write_atomic(&file, &summed, 0o600),
        };
        written.map_err(|error| storage(&error))
    }

    /// Puts back a shadow that was kept, or that was not.
    pub(super) fn restore(&self, path: &RepoPath, kept: Option<Kept>) -> Result<(), Failure> {
        match kept {
            Some(kept) => {
                let text = kept.text.map(|text| text.0);
                self.keep(path, text, kept.ids, kept.is_local)
            }
            None => {
                self.forget(path);
                Ok(())
            }
        }
    }

    /// Takes HEAD as the shadow again.
    pub(super) fn forget(&self, path: &RepoPath) {
        // A shadow that was never kept needs no removal, and one that stays only costs a comparison.
        fs::remove_file(self.file(path)).ok();
    }

    /// Takes HEAD as the shadow of every tracked file that is there; answers which were not.
    pub(super) fn forget_edits(&self) -> Vec<RepoPath> {
        let tracked = self.held().filter(|path| self.is_tracked(path));
        tracked.inspect(|path| self.forget(path)).collect()
    }

    /// Files that HEAD has.
    pub(super) fn tracked(&self) -> Vec<RepoPath> {
        self.at_head.keys().cloned().collect()
    }

    /// Files of the team that git does not have.
    pub(super) fn untracked(&self) -> impl Iterator<Item = RepoPath> + '_ {
        self.held().filter(|path| !self.is_tracked(path))
    }

    /// Every file whose shadow holds nothing but what HEAD has or the team was told.
    pub(super) fn told(&self) -> Vec<RepoPath> {
        self.held().filter(|path| !self.is_local(path)).collect()
    }

    /// Every file that the team was told to be gone.
    pub(super) fn gone(&self) -> Vec<RepoPath> {
        let gone = self
            .all_kept()
            .filter(|kept| kept.text.is_none() && !kept.is_local);
        gone.filter_map(|kept| RepoPath::try_from(&*kept.path).ok())
            .collect()
    }

    /// Every kept shadow of a file that is there.
    fn held(&self) -> impl Iterator<Item = RepoPath> {
        let held = self.all_kept().filter(|kept| kept.text.is_some());
        held.filter_map(|kept| RepoPath::try_from(&*kept.path).ok())
    }

    fn all_kept(&self) -> impl Iterator<Item = Kept> {
        let kept = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        kept.filter_map(|file| read_kept(&file.path()))
    }

    /// A file that git does not track counts as it was when the working copy was first looked at.
    pub(super) fn adopt_untracked(&self, path: &RepoPath, bytes: &[u8]) -> Result<(), Failure> {
        if self.is_tracked(path) || self.kept(path).is_some() {
            return Ok(());
        }
        self.adopt(path, bytes)
    }

    /// Takes these bytes as what the team knows.
    pub(super) fn adopt(&self, path: &RepoPath, bytes: &[u8]) -> Result<(), Failure> {
        self.keep(path, Some(bytes.to_vec()), Vec::new(), true)
    }

    /// Where edits are kept that met an incoming change.
    pub(super) fn rescue_dir(&self) -> PathBuf {
        let dir = self.dir.join("rescued");
        ensure_private_dir(&dir).ok();
        dir
    }

    pub(super) fn kept(&self, path: &RepoPath) -> Option<Kept> {
        read_kept(&self.file(path)).filter(|kept| kept.path == path.as_str())
    }

    fn file(&self, path: &RepoPath) -> PathBuf {
        self.dir
            .join(&Digest::of(path.as_str().as_bytes()).to_string()[..32])
    }
}

/// Keeps content that is in no file any more in `dir`; answers where.
pub(super) fn keep_beside(
    dir: &Path,
    wall_ms: u64,
    path: &str,
    bytes: &[u8],
) -> Result<PathBuf, FileError> {
    let hash = Digest::of(bytes).to_string();
    let name = path.rsplit('/').next().unwrap_or(path);
    let name: String = name.chars().take(50).collect();
    // Two of one name differ in what they hold.
    let file = dir.join(format!("{wall_ms}-{}-{name}", &hash[..16]));
    write_atomic(&file, bytes, 0o600)?;
    Ok(file)
}

/// A kept shadow, if it is whole.
fn read_kept(file: &Path) -> Option<Kept> {
    let bytes = fs::read(file).ok()?;
    let (sum, kept) = bytes.split_first_chunk::<32>()?;
    let is_whole = blake3::hash(kept) == *sum;
    codec::decode(kept).ok().filter(|_| is_whole)
}
