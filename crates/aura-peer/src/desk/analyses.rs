//! What a reading of a file found, by path and content, so that what was read once is not read again.
//!
//! Invariants:
//! - what is kept was found by this very program: another build begins anew;
//! - a row that does not fit its sum is not there;
//! - losing any of it costs a reading of files; it is never synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use aura_proto::{codec, limits::MESSAGE_BYTES_MAX};
use aura_semantic::{Budget, FileReferences, Outline, analyse};
use aura_store::open_private;
use serde::{Serialize, de::DeserializeOwned};

/// More than this on the disk is let go, all of it.
const BYTES_MAX: u64 = 256 << 20;
/// Once so many bytes are of no use, and more than are, the rest is written anew.
const DEAD_BYTES_MAX: u64 = 1 << 20;
const MAGIC: [u8; 16] = *b"aura-analyses-1\n";
const HEAD_BYTES: u64 = 32;
const ROW_HEAD_BYTES: usize = 36;

type Key = [u8; 16];

/// What is asked of a file.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Outline,
    References,
}

/// The rows of one working copy; the graph's thread and the daemon's use them.
#[derive(Debug)]
pub(crate) struct Analyses {
    /// None where the disk does not take them.
    store: Mutex<Option<Store>>,
}

#[derive(Debug)]
struct Store {
    at: PathBuf,
    program: Key,
    file: File,
    /// Where the payload of a row begins, and how long it is.
    rows: BTreeMap<Key, (u64, u32)>,
    end: u64,
}

impl Analyses {
    pub(super) fn open(state_dir: &Path) -> Self {
        let store = crate::program()
            .and_then(|program| Store::open(state_dir.join("analyses"), short(&program)));
        if let Err(error) = &store {
            tracing::warn!(%error, "what files hold is not kept over restarts");
        }
        Self {
            store: Mutex::new(store.ok()),
        }
    }

    /// The outline of a file, if it was read before.
    pub(super) fn outline(&self, path: &str, bytes: &[u8]) -> Option<Outline> {
        self.get(key(Kind::Outline, path, blake3::hash(bytes)))
    }

    /// What a file uses and defines; it is read if it was not read before.
    pub(super) fn references(&self, path: &str, bytes: &[u8], budget: &Budget) -> FileReferences {
        self.references_of(path, blake3::hash(bytes), bytes, budget)
    }

    /// The same, for whoever knows the hash of the bytes.
    pub(super) fn references_of(
        &self,
        path: &str,
        content: blake3::Hash,
        bytes: &[u8],
        budget: &Budget,
    ) -> FileReferences {
        let key_of = |kind| key(kind, path, content);
        if let Some(references) = self.get(key_of(Kind::References)) {
            return references;
        }
        let (outline, references) = analyse(path, bytes, budget);
        // What has no grammar is read at no cost.
        if outline.language.is_some() {
            self.put(key_of(Kind::Outline), &outline);
            self.put(key_of(Kind::References), &references);
        }
        references
    }

    /// What a file of this content uses and defines, if it was read before.
    pub(super) fn known_references(&self, path: &str, content: [u8; 32]) -> Option<FileReferences> {
        self.get(key(Kind::References, path, content.into()))
    }

    /// Lets go of what none of these files holds, when it is most of what is kept.
    pub(super) fn keep<'a>(&self, files: impl Iterator<Item = (&'a str, blake3::Hash)>) {
        let keys_of = |(path, content)| {
            [Kind::Outline, Kind::References].map(|kind| key(kind, path, content))
        };
        let live = files.flat_map(keys_of).collect();
        if let Some(store) = &mut *self.lock()
            && let Err(error) = store.keep(&live)
        {
            tracing::debug!(%error, "what is no longer of use stays");
        }
    }

    fn get<T: DeserializeOwned>(&self, key: Key) -> Option<T> {
        let payload = self.lock().as_ref()?.get(key)?;
        codec::decode(&payload).ok()
    }

    fn put<T: Serialize>(&self, key: Key, value: &T) {
        let payload = codec::encode(value);
        if let Some(store) = &mut *self.lock()
            && payload.len() < MESSAGE_BYTES_MAX
            && let Err(error) = store.put(key, &payload)
        {
            tracing::debug!(%error, "a file will be read again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn open(at: PathBuf, program: Key) -> io::Result<Self> {
        let file = open_private(&at)?;
        if !file.metadata()?.is_file() {
            // Nobody may ever write to a pipe.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        let mut store = Self {
            at,
            program,
            file,
            rows: BTreeMap::new(),
            end: HEAD_BYTES,
        };
        if store.read().is_err() {
            store.begin()?;
        }
        Ok(store)
    }

    /// Begins anew.
    fn begin(&mut self) -> io::Result<()> {
        self.rows.clear();
        self.end = HEAD_BYTES;
        self.file.set_len(0)?;
        self.file.write_all_at(&[MAGIC, self.program].concat(), 0)
    }

    /// Finds the rows, up to one that is not whole.
    fn read(&mut self) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        let mut reader = BufReader::new(&self.file);
        let mut head = [0; HEAD_BYTES as usize];
        reader.read_exact(&mut head)?;
        if head[..] != [MAGIC, self.program].concat() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut row = [0; ROW_HEAD_BYTES];
        while reader.read_exact(&mut row).is_ok() {
            let (key, rest) = row.split_first_chunk().unwrap_or((&[0; 16], &[]));
            let size = rest
                .first_chunk()
                .map_or(0, |size| u32::from_le_bytes(*size));
            let from = self.end + ROW_HEAD_BYTES as u64;
            if len < from + u64::from(size) {
                break;
            }
            reader.seek_relative(i64::from(size))?;
            self.rows.insert(*key, (from, size));
            self.end = from + u64::from(size);
        }
        Ok(())
    }

    fn get(&self, key: Key) -> Option<Vec<u8>> {
        let (from, size) = *self.rows.get(&key)?;
        let mut sum = [0; 16];
        let mut payload = vec![0; size as usize];
        self.file.read_exact_at(&mut sum, from - 16).ok()?;
        self.file.read_exact_at(&mut payload, from).ok()?;
        (sum == sum_of(&payload)).then_some(payload)
    }

    fn put(&mut self, key: Key, payload: &[u8]) -> io::Result<()> {
        if BYTES_MAX < self.end {
            self.begin()?;
        }
        let size = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let row = [&key[..], &size.to_le_bytes(), &sum_of(payload), payload].concat();
        self.file.write_all_at(&row, self.end)?;
        self.rows
            .insert(key, (self.end + ROW_HEAD_BYTES as u64, size));
        self.end += row.len() as u64;
        Ok(())
    }

    fn keep(&mut self, live: &BTreeSet<Key>) -> io::Result<()> {
        let sizes = self.rows.iter().filter(|(key, _)| live.contains(*key));
        let bytes: u64 = sizes
            .map(|(_, (_, size))| ROW_HEAD_BYTES as u64 + u64::from(*size))
            .sum();
        let dead = self.end.saturating_sub(HEAD_BYTES + bytes);
        if dead < DEAD_BYTES_MAX.max(bytes) {
            return Ok(());
        }
        let beside = self.at.with_extension("new");
        fs::remove_file(&beside).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let mut anew = Self::open(beside, self.program)?;
        for key in self.rows.keys().filter(|key| live.contains(*key)) {
            if let Some(payload) = self.get(*key) {
                anew.put(*key, &payload)?;
            }
        }
        fs::rename(&anew.at, &self.at)?;
        anew.at.clone_from(&self.at);
        *self = anew;
        Ok(())
    }
}

fn key(kind: Kind, path: &str, content: blake3::Hash) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind as u8]);
    hasher.update(content.as_bytes());
    hasher.update(path.as_bytes());
    short(&hasher)
}

fn sum_of(payload: &[u8]) -> Key {
    short(blake3::Hasher::new().update(payload))
}

fn short(hasher: &blake3::Hasher) -> Key {
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    key
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{os::unix::fs::symlink, process::Command};

    use super::*;

    const TEXT: &str =
        "use a::b;\n\nfn f() {\n    b(1);\n}\n\nstruct S;\n\nimpl S {\n    fn g() {}\n}\n";

    fn read(analyses: &Analyses) -> FileReferences {
        analyses.references("src/a.rs", TEXT.as_bytes(), &Budget::default())
    }

    #[test]
    fn what_was_read_is_there_after_a_restart_and_is_what_a_reading_finds() {
        let dir = tempfile::tempdir().unwrap();
        let found = analyse("src/a.rs", TEXT.as_bytes(), &Budget::default());
        assert_eq!(read(&Analyses::open(dir.path())), found.1);
        let again = Analyses::open(dir.path());
        assert_eq!(again.outline("src/a.rs", TEXT.as_bytes()), Some(found.0));
        assert_eq!(
            again.get(key(
                Kind::References,
                "src/a.rs",
                blake3::hash(TEXT.as_bytes())
            )),
            Some(found.1)
        );
        assert_eq!(again.outline("src/b.rs", TEXT.as_bytes()), None);
        assert_eq!(again.outline("src/a.rs", b"fn f() {}\n"), None);
    }

    #[test]
    fn a_damaged_row_a_torn_end_and_another_program_cost_a_reading() {
        let dir = tempfile::tempdir().unwrap();
        read(&Analyses::open(dir.path()));
        let at = dir.path().join("analyses");
        let whole = fs::read(&at).unwrap();
        let (outline, references) = analyse("src/a.rs", TEXT.as_bytes(), &Budget::default());
        let outline_of = |bytes: &[u8]| {
            fs::write(&at, bytes).unwrap();
            let analyses = Analyses::open(dir.path());
            let found = analyses.outline("src/a.rs", TEXT.as_bytes());
            assert_eq!(read(&analyses), references);
            found
        };
        assert_eq!(outline_of(&whole).as_ref(), Some(&outline));
        assert_eq!(outline_of(&whole[..100]), None);
        for at in 0..whole.len() {
            outline_of(&whole[..at]);
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            let found = outline_of(&damaged);
            assert!(found.is_none_or(|found| found == outline), "at {at}");
        }
    }

    #[test]
    fn a_link_or_a_pipe_in_its_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (at, victim) = (dir.path().join("analyses"), dir.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &at).unwrap();
        let found = read(&Analyses::open(dir.path()));
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        fs::remove_file(&at).unwrap();
        let made = Command::new("mkfifo").arg(&at).status().unwrap();
        assert!(made.success());
        assert_eq!(read(&Analyses::open(dir.path())), found);
    }

    #[test]
    fn what_no_file_holds_any_more_goes_when_it_is_most() {
        let dir = tempfile::tempdir().unwrap();
        let analyses = Analyses::open(dir.path());
        let text = |n: usize| format!("fn f{n}() {{\n    // {}\n}}\n", "x".repeat(n));
        for n in 0..6_000 {
            analyses.references("src/a.rs", text(n).as_bytes(), &Budget::default());
        }
        let len = || fs::metadata(dir.path().join("analyses")).unwrap().len();
        let before = len();
        let last = blake3::hash(text(5_999).as_bytes());
        analyses.keep([("src/a.rs", last)].into_iter());
        assert!(len() < 2_000 && 1 << 20 < before, "{before} to {}", len());
        assert!(
            analyses
                .outline("src/a.rs", text(5_999).as_bytes())
                .is_some()
        );
        assert!(analyses.outline("src/a.rs", text(1).as_bytes()).is_none());
        read(&analyses);
        let again = Analyses::open(dir.path());
        assert!(again.outline("src/a.rs", TEXT.as_bytes()).is_some());
    }
}
