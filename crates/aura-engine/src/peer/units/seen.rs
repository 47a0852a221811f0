//! What is known of a file, and what whoever settles it has seen of it.

use std::sync::Arc;

use aura_proto::Writer;
use aura_semantic::{ContentHash, UnitId};

use super::{
    super::{agreement::PatchSet, body::VersionId},
    Units,
};

impl Units {
    /// The patches of a file that are known on this branch.
    pub fn patch_set(&self, path: &str) -> PatchSet {
        let sets = self.files.get(path).map(|file| &file.sets);
        let set = sets.and_then(|sets| sets.get(&*self.channel));
        set.copied().unwrap_or_default()
    }

    /// An own entry was written again under another number, or can never be placed: nobody else will know of it.
    pub fn retire(&mut self, writer: Writer, author_seq: u64) {
        let index = self.by_entry.get(&(writer, author_seq));
        if let Some(recorded) = index.map(|index| &self.recorded[*index])
            && recorded.origin.seq.is_none()
            && let Some(file) = self.files.get_mut(&recorded.path)
        {
            // What is in a set twice is not in it.
            file.add(&recorded.channel, &recorded.origin);
        }
    }

    /// The patch of a file on this branch that was placed last; one without a place comes behind.
    pub fn newest_of(&self, path: &str) -> Option<usize> {
        let patches = self.files.get(path)?.patches.iter().copied();
        let here = patches.filter(|index| self.recorded[*index].channel == self.channel);
        here.max_by_key(|index| self.place(*index))
    }

    /// Whether this peer has a patch of a file on this branch.
    pub fn wrote_in(&self, path: &str) -> bool {
        self.wrote_since(path, Some(0))
    }

    /// Whether this peer has a patch of a file that comes behind a place in the log.
    pub fn wrote_since(&self, path: &str, seq: Option<u64>) -> bool {
        let patches = self.files.get(path).map(|file| &file.patches);
        let mut mine = patches
            .into_iter()
            .flatten()
            .filter(|mine| self.is_mine(**mine) && self.recorded[**mine].channel == self.channel);
        seq.is_some_and(|seq| mine.any(|mine| seq < self.place(*mine).0))
    }

    /// Whether units of a file have several heads, or others worked in what was deleted of it.
    pub fn is_open(&self, path: &str) -> bool {
        let path: Arc<str> = path.into();
        let [first, last] = [0, u8::MAX].map(|byte| (Arc::clone(&path), UnitId([byte; 16])));
        // Who deleted the same apart from each other agree.
        let is_gone = |unit| {
            let heads = self.heads(&path, unit);
            heads.iter().all(|head| self.is_deleted(&path, unit, *head))
        };
        let forked = self.forked.range(first.clone()..=last.clone());
        let mut forked = forked.filter(|(_, unit)| !is_gone(*unit));
        let mut strays = self.strays.range(first..=last);
        forked.next().is_some() || strays.next().is_some() || self.is_orphaned(&path)
    }

    /// The versions of its file that a patch of it as one piece follows; none where it is another patch.
    pub fn file_parents(&self, index: usize) -> &[VersionId] {
        let recorded = &self.recorded[index];
        let (path, file) = (&*recorded.path, UnitId::file(&recorded.path));
        let mut rows = recorded.touched.iter();
        let row = rows.find(|row| row.0 == file && recorded.is_whole);
        row.map_or(&[], |row| self.parents(path, file, row.2))
    }

    /// Whether a patch replaces a file as one piece and follows the version that stands for just this content of it:
    /// whoever made it has seen every byte that it replaces.
    // spec: patch/6.5
    pub fn replaces(&self, index: usize, content: Option<ContentHash>) -> bool {
        let path = &*self.recorded[index].path;
        let (file, parents) = (UnitId::file(path), self.file_parents(index));
        let is_gone = |parent: &VersionId| self.is_deleted(path, file, *parent);
        // Of two who replaced it in different ways neither has seen what the other made of it; and whoever settles what
        // becomes of a deleted file was shown another text than those that it follows.
        !parents.is_empty()
            && self.heads(path, file).len() < 2
            && !parents.iter().any(is_gone)
            && self
                .working(path, file, content)
                .is_some_and(|working| parents.contains(&working))
    }
}
