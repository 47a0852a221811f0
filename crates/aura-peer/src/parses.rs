//! Which texts the parsers are at, written down, so that a text that ends the daemon ends it once.
//!
//! Grammars are C code of others. An abort, an endless loop or a memory without bounds cannot be caught here, and the
//! next start would read the same file; a process for every text would cost more than parsing does.
//!
//! Invariants:
//! - a text stands in the file while a parser of this process is at it, and at no other time;
//! - what stood there when a daemon ended is parsed here again only after another process has parsed it;
//! - what other processes fail at is never parsed here again, as long as this program is the same one;
//! - losing the files costs one more end of the daemon for each such text, and nothing else.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use aura_api::{NoAnswer, ask_worker};
use aura_semantic::{Language, ParseWatch};
use aura_store::{open_private, write_atomic};
use blake3::Hash;
use serde::{Deserialize, Serialize};

/// Parsers that are watched at the same time; more than there are threads that parse.
const PLACES: usize = 64;
const HASH_BYTES: usize = blake3::OUT_LEN;
/// What stands in a place without a parser at work.
const NOTHING: [u8; HASH_BYTES] = [0; HASH_BYTES];
/// How long another process may take: ordinary texts take milliseconds.
const TRIAL: Duration = Duration::from_secs(10);
/// How often it is looked whether a parser comes back.
const LOOK: Duration = Duration::from_secs(1);
/// A parser that does not come back for so many looks never does: the budgets end each one within seconds.
const LOOKS_MAX: u32 = 60;
/// After so many failing texts of one language, each text of it that is new is tried elsewhere first.
const FAILURES_MAX: usize = 3;
/// A text that others parse and that was there so often when the daemon ended is not parsed here again: it may be
/// the memory of this process that does not do.
const ACQUITTALS_MAX: u32 = 3;
/// Texts remembered; beyond, they are forgotten and may be tried again.
const REMEMBERED_MAX: usize = 10_000;

thread_local! {
    /// The place of the text that this thread parses.
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// What is known of texts, by the hexadecimal hash of language and text.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    /// The program that all of it holds for.
    program: String,
    /// There when a daemon ended, and not tried yet.
    suspects: BTreeSet<String>,
    /// Not parsed here again, and the language of each.
    failing: BTreeMap<String, String>,
    /// Suspects that another process parsed, and how often.
    acquitted: BTreeMap<String, u32>,
}

impl Known {
    fn failures(&self, language: Language) -> usize {
        let of = |name: &&String| *name == language.name();
        self.failing.values().filter(of).count()
    }

    fn bound(&mut self) {
        let sizes = [
            self.suspects.len(),
            self.failing.len(),
            self.acquitted.len(),
        ];
        if sizes.into_iter().any(|size| size > REMEMBERED_MAX) {
            let program = std::mem::take(&mut self.program);
            *self = Self {
                program,
                ..Self::default()
            };
        }
    }
}

/// For how many looks the parser of each place has been at its text; none where there is none.
#[derive(Debug)]
struct Places {
    looks: [Option<u32>; PLACES],
    is_looked_at: bool,
}

impl Places {
    fn take(&mut self) -> Option<usize> {
        let free = self.looks.iter().position(Option::is_none)?;
        self.looks[free] = Some(0);
        Some(free)
    }

    /// One look: whether any parser is at work, and whether one of them will not come back.
    fn look(&mut self) -> (bool, bool) {
        let busy = self.looks.iter_mut().flatten();
        let looks = busy.map(|looks| {
            *looks += 1;
            *looks
        });
        let longest = looks.max();
        (longest.is_some(), longest >= Some(LOOKS_MAX))
    }
}

/// The watch over the parsers of this process.
#[derive(Debug)]
pub(crate) struct Parses {
    /// Which texts the parsers are at: a hash for each place, zeros where there is none.
    at_work: File,
    known: Mutex<Known>,
    known_file: PathBuf,
    places: Mutex<Places>,
    /// A parser begins and nobody looks.
    begins: Condvar,
    /// What parses a text in a process of its own.
    exe: PathBuf,
}

impl Parses {
    /// Opens what the last daemon left in this directory; `program` names what runs, `exe` is how to start it again.
    pub(crate) fn open(dir: &Path, program: &str, exe: PathBuf) -> io::Result<Self> {
        let at_work = open_private(&dir.join("parsing"))?;
        let known_file = dir.join("parsed.json");
        let read = std::fs::read(&known_file).ok();
        let read = read.and_then(|bytes| serde_json::from_slice::<Known>(&bytes).ok());
        let mut known = read
            .filter(|known| known.program == program)
            .unwrap_or_default();
        program.clone_into(&mut known.program);
        let mut left = vec![0; PLACES * HASH_BYTES];
        let read = at_work.read_at(&mut left, 0)?;
        let (texts, _) = left[..read].as_chunks::<HASH_BYTES>();
        let texts = texts.iter().filter(|text| **text != NOTHING);
        let texts = texts.map(|text| Hash::from_bytes(*text).to_string());
        known.suspects.extend(texts);
        let parses = Self {
            at_work,
            known: Mutex::new(known),
            known_file,
            places: Mutex::new(Places {
                looks: [None; PLACES],
                is_looked_at: true,
            }),
            begins: Condvar::new(),
            exe,
        };
        if !parses.known().suspects.is_empty() {
            parses.keep(&mut parses.known())?;
        }
        parses.at_work.write_all_at(&[0; PLACES * HASH_BYTES], 0)?;
        Ok(parses)
    }

    /// Ends the process when a parser does not come back. Never returns.
    fn look_on(&self) {
        loop {
            thread::sleep(LOOK);
            let mut places = lock(&self.places);
            let (is_busy, is_stuck) = places.look();
            if is_stuck {
                tracing::error!(
                    "a parser does not come back; the next start keeps its text from it"
                );
                std::process::abort();
            }
            if !is_busy {
                places.is_looked_at = false;
                let waited = self
                    .begins
                    .wait_while(places, |places| !places.is_looked_at);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    fn may_parse(&self, language: Language, path: &str, bytes: &[u8], text: &str) -> bool {
        let (is_suspect, is_new) = {
            let known = self.known();
            if known.failing.contains_key(text) {
                return false;
            }
            let is_new = !known.acquitted.contains_key(text);
            let is_suspect = known.suspects.contains(text);
            (
                is_suspect,
                is_new && known.failures(language) >= FAILURES_MAX,
            )
        };
        if !is_suspect && !is_new {
            return true;
        }
        let mut command = Command::new(&self.exe);
        command.arg("parse-trial").arg("--").arg(path);
        let verdict = ask_worker(&mut command, bytes.to_vec(), 1, TRIAL);
        if verdict == Err(NoAnswer::NotStarted) {
            tracing::warn!(
                path,
                "not parsed: no process of its own could be started for it"
            );
            return false;
        }
        let mut known = self.known();
        known.suspects.remove(text);
        let acquittals = known.acquitted.entry(text.to_owned()).or_default();
        *acquittals += u32::from(is_suspect);
        let may = verdict.is_ok() && *acquittals <= ACQUITTALS_MAX;
        if !may {
            tracing::error!(
                path,
                language = language.name(),
                "the parser fails on this text"
            );
            known.acquitted.remove(text);
            known
                .failing
                .insert(text.to_owned(), language.name().to_owned());
        }
        if let Err(error) = self.keep(&mut known) {
            tracing::warn!(%error, "what a parser fails on is not kept");
        }
        may
    }

    fn keep(&self, known: &mut Known) -> io::Result<()> {
        known.bound();
        let bytes = serde_json::to_vec(known)?;
        write_atomic(&self.known_file, &bytes, 0o600).map_err(io::Error::other)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    fn write(&self, place: usize, text: &[u8; HASH_BYTES]) {
        let offset = place.saturating_mul(HASH_BYTES) as u64;
        if let Err(error) = self.at_work.write_all_at(text, offset) {
            tracing::debug!(%error, "a parser is not watched");
        }
    }
}

impl ParseWatch for Parses {
    fn may_begin(&self, language: Language, path: &str, bytes: &[u8]) -> bool {
        let text = hash(language, bytes);
        if !self.may_parse(language, path, bytes, &text.to_string()) {
            return false;
        }
        let place = {
            let mut places = lock(&self.places);
            let place = places.take();
            if !places.is_looked_at {
                places.is_looked_at = true;
                self.begins.notify_one();
            }
            place
        };
        PLACE.set(place);
        if let Some(place) = place {
            self.write(place, text.as_bytes());
        }
        true
    }

    fn has_ended(&self) {
        if let Some(place) = PLACE.take() {
            self.write(place, &NOTHING);
            lock(&self.places).looks[place] = None;
        }
    }
}

/// Has the parsers of this process watched from now on; without a disk that takes it they are not.
pub(crate) fn watch(dir: &Path) {
    let opened = crate::program().and_then(|program| {
        // The program that runs, even when another one has taken its place since.
        let own = Path::new("/proc/self/exe");
        let exe = match own.exists() {
            true => own.to_owned(),
            false => std::env::current_exe()?,
        };
        Parses::open(dir, &program.finalize().to_string(), exe)
    });
    let parses: &'static Parses = match opened {
        Ok(parses) => Box::leak(Box::new(parses)),
        Err(error) => {
            tracing::warn!(%error, "the parsers are not watched");
            return;
        }
    };
    let looks = thread::Builder::new()
        .name("parsers".to_owned())
        .spawn(|| parses.look_on());
    if let Err(error) = looks {
        tracing::warn!(%error, "nobody looks whether parsers come back");
    }
    aura_semantic::watch_parsers(parses);
}

fn hash(language: Language, bytes: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(language.name().as_bytes())
        .update(&[0])
        .update(bytes);
    hasher.finalize()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, os::unix::fs::PermissionsExt};

    use aura_semantic::language_of;

    use super::*;

    /// A directory of a daemon, and what it starts to try texts.
    struct Scene(tempfile::TempDir);

    impl Scene {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// A daemon of this program, whose trials come out as the script says; each one leaves a line.
        fn start(&self, program: &str, script: &str) -> Parses {
            let (exe, beside) = (self.0.path().join("exe"), self.0.path().join("beside"));
            let tried = self.0.path().join("tried");
            let script = format!("#!/bin/sh\necho \"$3\" >> {}\n{script}\n", tried.display());
            fs::write(&beside, script).unwrap();
            fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
            fs::rename(beside, &exe).unwrap();
            Parses::open(self.0.path(), program, exe).unwrap()
        }

        fn tried(&self) -> Vec<String> {
            let read = fs::read_to_string(self.0.path().join("tried")).unwrap_or_default();
            read.lines().map(str::to_owned).collect()
        }
    }

    fn begin(parses: &Parses, path: &str, text: &str) -> bool {
        let language = language_of(path).unwrap();
        loop {
            let may = parses.may_begin(language, path, text.as_bytes());
            // A file that was just written may still be open in a child of another test.
            let is_judged = may || parses.known().failing.contains_key(&name(path, text));
            if is_judged {
                return may;
            }
        }
    }

    fn name(path: &str, text: &str) -> String {
        hash(language_of(path).unwrap(), text.as_bytes()).to_string()
    }

    /// The parser comes back.
    fn parse(parses: &Parses, path: &str, text: &str) -> bool {
        let may = begin(parses, path, text);
        if may {
            parses.has_ended();
        }
        may
    }

    /// The daemon ends while it parses.
    fn die(parses: Parses, path: &str, text: &str) {
        assert!(begin(&parses, path, text));
        PLACE.take();
        drop(parses);
    }

    #[test]
    fn a_text_that_ends_the_daemon_ends_it_once() {
        let scene = Scene::new();
        die(scene.start("1", "exit 0"), "a.rs", "bad");
        for script in ["kill -SEGV $$", "exit 0"] {
            let parses = scene.start("1", script);
            assert!(!parse(&parses, "a.rs", "bad"));
            assert!(!parse(&parses, "b.rs", "bad"));
            // The same bytes are another text to another grammar.
            assert!(parse(&parses, "a.py", "bad"));
            assert!(parse(&parses, "a.rs", "good"));
        }
        assert_eq!(scene.tried(), ["a.rs"]);
    }

    #[test]
    fn a_text_that_was_there_by_chance_is_parsed_again() {
        let scene = Scene::new();
        die(scene.start("1", "exit 0"), "a.rs", "text");
        let parses = scene.start("1", "cat > /dev/null");
        assert!(parse(&parses, "a.rs", "text"));
        assert!(parse(&parses, "a.rs", "text"));
        assert_eq!(scene.tried(), ["a.rs"]);
        // What is left of a parser that came back blames nobody.
        assert!(scene.start("1", "exit 1").known().suspects.is_empty());
    }

    #[test]
    fn a_text_that_only_ends_this_process_does_so_a_few_times() {
        let scene = Scene::new();
        let ends = (0..10).take_while(|_| {
            let parses = scene.start("1", "cat > /dev/null");
            let may = begin(&parses, "a.rs", "large");
            PLACE.take();
            may
        });
        assert_eq!(ends.count(), 1 + ACQUITTALS_MAX as usize);
        assert!(!parse(&scene.start("1", "exit 0"), "a.rs", "large"));
    }

    #[test]
    fn a_text_that_somebody_left_by_killing_the_daemon_is_tried_even_if_others_came_between() {
        let scene = Scene::new();
        die(scene.start("1", "exit 0"), "a.rs", "bad");
        assert!(parse(&scene.start("1", "exit 1"), "b.rs", "good"));
        assert!(!parse(&scene.start("1", "exit 1"), "a.rs", "bad"));
    }

    #[test]
    fn a_language_whose_parser_fails_again_and_again_is_tried_before_it_ends_the_daemon() {
        let scene = Scene::new();
        for text in ["one", "two", "three"] {
            die(scene.start("1", "exit 0"), "a.rs", text);
            assert!(!parse(&scene.start("1", "exit 1"), "a.rs", text));
        }
        let parses = scene.start("1", "exit 1");
        assert!(!parse(&parses, "a.rs", "four"));
        assert!(parse(&parses, "a.py", "four"));
        let parses = scene.start("1", "cat > /dev/null");
        assert!(parse(&parses, "b.rs", "five"));
        assert!(parse(&parses, "c.rs", "five"));
        assert_eq!(scene.tried(), ["a.rs", "a.rs", "a.rs", "a.rs", "b.rs"]);
    }

    #[test]
    fn another_program_begins_anew_and_so_does_one_whose_files_are_damaged() {
        let scene = Scene::new();
        die(scene.start("1", "exit 0"), "a.rs", "bad");
        assert!(!parse(&scene.start("1", "exit 1"), "a.rs", "bad"));
        assert!(parse(&scene.start("2", "exit 1"), "a.rs", "bad"));
        fs::write(scene.0.path().join("parsed.json"), "{").unwrap();
        fs::write(scene.0.path().join("parsing"), "abc").unwrap();
        assert!(parse(&scene.start("2", "exit 1"), "a.rs", "bad"));
    }

    #[test]
    fn a_parser_that_does_not_come_back_is_told_from_many_that_do() {
        let scene = Scene::new();
        let parses = scene.start("1", "exit 0");
        assert_eq!(lock(&parses.places).look(), (false, false));
        for _ in 0..2 * LOOKS_MAX {
            assert!(begin(&parses, "a.rs", "text"));
            assert_eq!(lock(&parses.places).look(), (true, false));
            parses.has_ended();
        }
        assert!(begin(&parses, "a.rs", "text"));
        let looks: Vec<bool> = (0..LOOKS_MAX)
            .map(|_| lock(&parses.places).look().1)
            .collect();
        assert_eq!(
            looks.iter().position(|is_stuck| *is_stuck),
            Some(LOOKS_MAX as usize - 1)
        );
    }

    #[test]
    fn more_parsers_than_there_are_places_parse_unwatched() {
        let scene = Scene::new();
        let parses = scene.start("1", "exit 0");
        for number in 0..PLACES + 2 {
            assert!(begin(&parses, "a.rs", &number.to_string()));
        }
        assert_eq!(PLACE.get(), None);
        parses.has_ended();
        let left = scene.start("1", "exit 0").known().suspects.len();
        assert_eq!(left, PLACES);
    }
}
