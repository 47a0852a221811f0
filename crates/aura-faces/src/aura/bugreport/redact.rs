//! What takes names out of texts that others are going to read.
//!
//! A text is let through word by word, and only words that this program has itself; everything else is replaced, so that
//! what nobody thought of does not get out either. The same name is the same pseudonym everywhere in one report.
//!
//! Invariants:
//! - no word comes out that is neither in `words.txt`, nor a number, a moment or a pseudonym;
//! - a path that leads into a clone, or to a place that is not known, comes out as one pseudonym, whatever its parts are;
//! - a name that was learned is replaced also where it is a word of ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use aura_semantic::language_of;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::escape::without_tokens;

/// The words that come out as they are, one a line, sorted.
const WORDS: &str = include_str!("words.txt");
/// Longest number that comes out; a longer one may be a secret.
const DIGITS_MAX: usize = 6;
/// A word of this length with a digit in it is an identifier.
const ID_LEN_MIN: usize = 16;
/// Signs that a name may have within; everything else stands between names.
const WITHIN_NAMES: &str = "_-./:@+~%";

/// What a name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Address,
    Branch,
    File,
    Host,
    Id,
    Path,
    Peer,
    Symbol,
    Team,
    User,
    Word,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Branch => "branch",
            Self::File => "file",
            Self::Host => "host",
            Self::Id => "id",
            Self::Path => "path",
            Self::Peer => "peer",
            Self::Symbol => "symbol",
            Self::Team => "team",
            Self::User => "user",
            Self::Word => "word",
        }
    }
}

/// Where a document comes from: the same key means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// An answer of the daemon.
    Answer,
    /// A line of its log.
    Log,
}

/// Directories whose paths are said shorter.
pub(super) const HOME: &str = "AURA_HOME";
pub(super) const CLONE: &str = "CLONE";
pub(super) const USER_HOME: &str = "~";

/// The names met so far, and what stands for them.
pub(super) struct Redactor {
    words: BTreeSet<&'static str>,
    /// Longest first.
    places: Vec<(String, &'static str)>,
    /// Names that are replaced wherever they stand.
    known: BTreeMap<String, Kind>,
    given: BTreeMap<String, String>,
    counts: BTreeMap<Kind, u64>,
}

impl Redactor {
    /// Knows directories by what is said for them.
    pub(super) fn new(places: Vec<(String, &'static str)>) -> Self {
        let mut places = places;
        // A root would be everywhere.
        places.retain(|(path, _)| path.trim_end_matches('/').contains('/'));
        places.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self {
            words: WORDS.lines().collect(),
            places,
            known: BTreeMap::new(),
            given: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Has a name replaced from now on wherever it stands.
    pub(super) fn learn(&mut self, kind: Kind, name: &str) {
        if !name.is_empty() {
            self.known.entry(name.to_owned()).or_insert(kind);
        }
    }

    /// Learns the names in a document.
    pub(super) fn learn_from(&mut self, source: Source, document: &Value) {
        match document {
            Value::Object(fields) => {
                for (key, value) in fields {
                    if let Some(kind) = kind_of(source, key) {
                        texts(value).for_each(|name| self.learn(kind, name));
                    }
                    self.learn_from(source, value);
                }
            }
            Value::Array(rows) => rows.iter().for_each(|row| self.learn_from(source, row)),
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// A document whose texts can be shown.
    pub(super) fn document(&mut self, source: Source, document: &Value) -> Value {
        match document {
            Value::Object(fields) => {
                let mut shown = Map::new();
                for (key, value) in fields {
                    shown.insert(self.key(key), self.field(source, key, value));
                }
                Value::Object(shown)
            }
            Value::Array(rows) => {
                let rows = rows.iter().map(|row| self.document(source, row));
                Value::Array(rows.collect())
            }
            Value::String(text) => Value::String(self.text(text)),
            Value::Bool(_) | Value::Null | Value::Number(_) => document.clone(),
        }
    }

    fn field(&mut self, source: Source, key: &str, value: &Value) -> Value {
        match (value, kind_of(source, key)) {
            (Value::String(text), Some(kind)) => Value::String(self.name(kind, text)),
            (Value::Array(rows), Some(_)) => {
                let rows = rows.iter().map(|row| self.field(source, key, row));
                Value::Array(rows.collect())
            }
            (Value::String(text), None) if key == "target" && is_own_module(text) => value.clone(),
            _ => self.document(source, value),
        }
    }

    /// A key of a document; ours are made of our words.
    fn key(&mut self, key: &str) -> String {
        let is_own = key.split('_').all(|part| self.words.contains(part));
        match is_own {
            true => key.to_owned(),
            false => self.text(key),
        }
    }

    /// What stands for a name as a whole.
    pub(super) fn name(&mut self, kind: Kind, name: &str) -> String {
        match name {
            "" => String::new(),
            _ => match self.shortened(name) {
                short if short == name => self.pseudonym(kind, name),
                short => self.text(&short),
            },
        }
    }

    /// A text whose words can be shown.
    pub(super) fn text(&mut self, text: &str) -> String {
        let text = without_tokens(text).replace("ms1-[redacted]", "[token]");
        let text = self.shortened(&text);
        let is_within = |sign: char| sign.is_alphanumeric() || WITHIN_NAMES.contains(sign);
        let mut out = String::with_capacity(text.len());
        for piece in pieces(&text, is_within) {
            match piece.starts_with(is_within) {
                true => out += &self.chunk(piece),
                false => out += piece,
            }
        }
        out
    }

    /// The path of a file of ours below `AURA_HOME`.
    pub(super) fn own_path(&mut self, path: &str) -> String {
        self.words_of(path)
    }

    /// A text with known directories said shorter.
    fn shortened(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, short) in &self.places {
            if text.contains(path) {
                text = in_place_of(&text, path, short);
            }
        }
        text
    }

    /// What has no sign within that could not belong to one name.
    fn chunk(&mut self, chunk: &str) -> String {
        let core = chunk.trim_end_matches(['.', ':', '-']);
        let end = &chunk[core.len()..];
        if core.is_empty() {
            return chunk.to_owned();
        }
        let shown = match () {
            () if self.is_known(core) => self.pseudonym(Kind::Word, core),
            () if core.parse::<Timestamp>().is_ok() || is_short_id(core) => core.to_owned(),
            () if self.words.contains(core) => core.to_owned(),
            () if is_address(core) => self.pseudonym(Kind::Address, core),
            () if core.contains("::") => self.pseudonym(Kind::Symbol, core),
            () => self.parts(core),
        };
        shown + end
    }

    /// What stands between colons: `src/risk.rs:42`.
    fn parts(&mut self, chunk: &str) -> String {
        let parts: Vec<String> = chunk
            .split(':')
            .map(|part| match () {
                () if self.is_known(part) => self.pseudonym(Kind::Word, part),
                () if part.contains('/') => self.path(part),
                () if is_source(part) && !self.words.contains(part) => {
                    self.pseudonym(Kind::File, part)
                }
                () => self.words_of(part),
            })
            .collect();
        parts.join(":")
    }

    fn path(&mut self, path: &str) -> String {
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (place, below) = path.split_once('/').unwrap_or((path, ""));
        match place {
            _ if path.split('/').all(is_number) => path.to_owned(),
            HOME => self.words_of(path),
            CLONE if below.is_empty() || below.starts_with(".git/") => self.words_of(path),
            CLONE => format!("{CLONE}/{}", self.pseudonym(Kind::File, below)),
            USER_HOME if below.is_empty() => path.to_owned(),
            USER_HOME => format!("{USER_HOME}/{}", self.pseudonym(Kind::Path, below)),
            _ => self.pseudonym(Kind::Path, path),
        }
    }

    /// Each word by itself.
    fn words_of(&mut self, text: &str) -> String {
        let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
        let mut out = String::new();
        for piece in pieces(text, is_word) {
            match piece.starts_with(is_word) {
                true => out += &self.word(piece),
                false => out += piece,
            }
        }
        out
    }

    fn word(&mut self, word: &str) -> String {
        if self.is_known(word) {
            return self.pseudonym(Kind::Word, word);
        }
        if self.words.contains(word) || is_number(word) {
            return word.to_owned();
        }
        let lower = word.to_lowercase();
        let rest_is = |is: fn(char) -> bool| word.chars().skip(1).all(is);
        // A name of code with capitals inside is none of ours.
        let is_plain = rest_is(char::is_lowercase) || word.chars().all(char::is_uppercase);
        if is_plain && self.words.contains(lower.as_str()) {
            return word.to_owned();
        }
        let is_id = ID_LEN_MIN <= word.len() && word.bytes().any(|byte| byte.is_ascii_digit());
        self.pseudonym(if is_id { Kind::Id } else { Kind::Word }, word)
    }

    fn is_known(&self, name: &str) -> bool {
        self.known.contains_key(name) || self.given.contains_key(name)
    }

    /// What stands for a name; the kind counts where nothing better is known of it.
    fn pseudonym(&mut self, kind: Kind, name: &str) -> String {
        if let Some(given) = self.given.get(name) {
            return given.clone();
        }
        let kind = self.known.get(name).copied().unwrap_or(kind);
        let count = self.counts.entry(kind).or_default();
        *count = count.saturating_add(1);
        let mut pseudonym = format!("{}-{count}", kind.word());
        if matches!(kind, Kind::File | Kind::Path) && is_source(name) {
            // The language is what a fault of a parser depends on.
            let end = name.rsplit_once('.').map_or("", |(_, end)| end);
            pseudonym += &format!(".{end}");
        }
        self.given.insert(name.to_owned(), pseudonym.clone());
        pseudonym
    }
}

/// What the texts below a key name, where that is the same in every document.
fn kind_of(source: Source, key: &str) -> Option<Kind> {
    match (source, key) {
        (_, "symbol" | "covers" | "about") => Some(Kind::Symbol),
        (_, "endpoint" | "address" | "remote") => Some(Kind::Address),
        (_, "branch") => Some(Kind::Branch),
        (_, "team") => Some(Kind::Team),
        (_, "peer" | "team_id" | "root_commit" | "head" | "device_words" | "ca_words") => {
            Some(Kind::Id)
        }
        (_, "holder" | "who" | "from" | "with" | "author" | "actor") => Some(Kind::Peer),
        (Source::Answer, "name") => Some(Kind::Peer),
        (Source::Log, "name") => Some(Kind::Word),
        (Source::Log, "path" | "file" | "repo" | "log" | "home") => Some(Kind::File),
        _ => None,
    }
}

/// The texts of a field: one, or each of a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let rows = value.as_array().map(Vec::as_slice);
    let rows = rows.unwrap_or(std::slice::from_ref(value));
    rows.iter().filter_map(Value::as_str)
}

/// Text cut where `is_within` changes.
fn pieces(text: &str, is_within: impl Fn(char) -> bool) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut was) = (0, None);
    for (at, sign) in text.char_indices() {
        let is = is_within(sign);
        if was.is_some_and(|was| was != is) {
            pieces.push(&text[start..at]);
            start = at;
        }
        was = Some(is);
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

/// A text with a path said shorter, but not one that only begins alike.
fn in_place_of(text: &str, path: &str, short: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(path) {
        let (before, after) = (&rest[..at], &rest[at + path.len()..]);
        let goes_on = |sign: char| sign.is_alphanumeric() || "_-.".contains(sign);
        out += before;
        out += if after.starts_with(goes_on) {
            path
        } else {
            short
        };
        rest = after;
    }
    out + rest
}

/// `c-12`, `o-7f5p`: what this program calls things itself.
fn is_short_id(text: &str) -> bool {
    let Some((kind, number)) = text.split_once('-') else {
        return false;
    };
    let is_made = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    matches!(kind, "a" | "c" | "i" | "m" | "o" | "p" | "z")
        && (1..=8).contains(&number.len())
        && number.bytes().all(is_made)
        && number.bytes().any(|byte| byte.is_ascii_digit())
}

/// A number, also with a unit.
fn is_number(word: &str) -> bool {
    let unit = word.trim_start_matches(|sign: char| sign.is_ascii_digit());
    let digits = word.len() - unit.len();
    (1..=DIGITS_MAX).contains(&digits)
        && matches!(
            unit,
            "" | "ms" | "s" | "m" | "h" | "d" | "B" | "KiB" | "MiB" | "GiB"
        )
}

/// An address of the network, with or without a port; also by the name of a host.
fn is_address(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_host = host.contains('.') && !host.contains('/') && !is_source(host);
    is_host && port.parse::<u16>().is_ok()
}

/// Whether something has the name of a file that is understood.
fn is_source(text: &str) -> bool {
    text.contains('.') && language_of(text).is_some()
}

/// The path of a module of this program, which log lines name.
fn is_own_module(text: &str) -> bool {
    const CRATES: [&str; 12] = [
        "aura",
        "aura_api",
        "aura_engine",
        "aura_faces",
        "aura_mothership",
        "aura_net",
        "aura_peer",
        "aura_proto",
        "aura_semantic",
        "aura_store",
        "aura_tree",
        "aura_trust",
    ];
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte == b':';
    let first = text.split("::").next().unwrap_or_default();
    CRATES.contains(&first) && text.bytes().all(is_name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redactor() -> Redactor {
        let mut redactor = Redactor::new(vec![
            ("/srv/ann".to_owned(), USER_HOME),
            ("/srv/ann/.local/state/aura".to_owned(), HOME),
            ("/srv/ann/pricing".to_owned(), CLONE),
            ("/".to_owned(), USER_HOME),
        ]);
        redactor.learn(Kind::Peer, "ann@thinkpad");
        redactor.learn(Kind::Peer, "bob");
        redactor.learn(Kind::File, "src/risk.rs");
        redactor.learn(Kind::Symbol, "src/risk.rs::score");
        redactor
    }

    #[test]
    fn the_list_of_words_is_sorted_and_has_none_twice() {
        let words: Vec<&str> = WORDS.lines().collect();
        let next = |pair: &[&str]| pair[0] < pair[1];
        let astray = words.windows(2).find(|pair| !next(pair));
        assert_eq!(astray, None);
        assert!(words.iter().all(|word| !word.trim().is_empty()));
    }

    #[test]
    fn what_the_program_says_itself_stays_and_names_in_it_do_not() {
        for (text, shown) in [
            ("the daemon is not running", "the daemon is not running"),
            (
                "No such file or directory (os error 2)",
                "No such file or directory (os error 2)",
            ),
            (
                "bob and ann@thinkpad both changed it",
                "peer-1 and peer-2 both changed it",
            ),
            ("bob.", "peer-1."),
            ("src/risk.rs: line 88", "file-1.rs: line 88"),
            ("aura show src/risk.rs::score", "aura show symbol-1"),
            ("carol is online", "word-1 is online"),
            ("aura conflicts show c-12", "aura conflicts show c-12"),
            ("at 2026-11-20T13:05:11Z", "at 2026-11-20T13:05:11Z"),
            ("10.0.1.5:7777 refused", "address-1 refused"),
            ("[fd00::7]:7777, fd00::7", "[address-2]:7777, address-2"),
            ("box.acme.example:7777", "address-3"),
            ("12 ms, 64 KiB, 3/4/8", "12 ms, 64 KiB, 3/4/8"),
        ] {
            assert_eq!(redactor_after(&[text]), shown, "{text}");
        }
    }

    /// The last of several texts, as one redactor shows them; numbers begin anew for each call.
    fn redactor_after(texts: &[&str]) -> String {
        let mut redactor = redactor();
        // Addresses are numbered through the table above.
        redactor.pseudonym(Kind::Address, "10.0.1.5:7777");
        redactor.pseudonym(Kind::Address, "fd00::7");
        let mut shown = String::new();
        for text in texts {
            shown = redactor.text(text);
        }
        shown
    }

    #[test]
    fn a_path_says_what_it_is_below_and_nothing_of_a_clone_or_of_elsewhere() {
        let mut redactor = redactor();
        for (text, shown) in [
            (
                "/srv/ann/.local/state/aura/daemon.log",
                "AURA_HOME/daemon.log",
            ),
            (
                "/srv/ann/.local/state/aura/run/daemon.sock",
                "AURA_HOME/run/daemon.sock",
            ),
            ("/srv/ann/pricing", "CLONE"),
            (
                "/srv/ann/pricing/.git/info/attributes",
                "CLONE/.git/info/attributes",
            ),
            ("/srv/ann/pricing/src/risk.rs:42", "CLONE/file-1.rs:42"),
            // Made of words of ours, and a name all the same.
            ("/srv/ann/pricing/publish/merge", "CLONE/file-2"),
            ("/srv/ann/clone/publish", "~/path-1"),
            ("/srv/anna/x", "path-2"),
            ("publish/merge.py", "path-3.py"),
            ("merge.py", "file-3.py"),
        ] {
            assert_eq!(redactor.text(text), shown, "{text}");
        }
    }

    #[test]
    fn code_secrets_and_keys_have_no_way_out() {
        let mut redactor = redactor();
        let hostile = "let limit_4711 = quokkaRate(12345678); // größe \u{1b}[2J \
            ms1-c7q2wabcdef-9d MS1-XYZ -----BEGIN PRIVATE KEY----- MC4CAQAwBQYDK2Vw \
            0123456789abcdef0123 Wombat::publish QUOKKA_MAX wombat@kiosk \"quokka\" 'kiosk'";
        let shown = redactor.text(hostile);
        for canary in [
            "limit_4711",
            "uokka",
            "12345678",
            "größe",
            "c7q2w",
            "ms1-",
            "XYZ",
            "MC4C",
            "DYDK",
            "0123456789",
            "ombat",
            "Wombat::publish",
            "QUOKKA",
            "kiosk",
        ] {
            assert!(!shown.contains(canary), "{canary}: {shown}");
        }
        assert!(
            shown.contains("[token]") && shown.contains("id-1"),
            "{shown}"
        );
    }

    #[test]
    fn one_name_is_one_pseudonym_in_texts_and_documents() {
        let mut redactor = redactor();
        let answer = json!({"name": "ann@thinkpad", "peers": [
            {"name": "the", "state": "online", "path": "direct lan", "rtt_ms": 12345678}],
            "needs_you": [{"symbol": "deep::Quokka", "with": ["bob", "kiosk"]}],
            "team": "publish", "kiosk_mode": true});
        redactor.learn_from(Source::Answer, &answer);
        let shown = redactor.document(Source::Answer, &answer);
        assert_eq!(
            shown,
            json!({"name": "peer-1", "needs_you": [{"symbol": "symbol-1", "with": ["peer-2", "peer-3"]}],
                "peers": [{"name": "peer-4", "state": "online", "path": "direct lan", "rtt_ms": 12345678}],
                "team": "team-1", "word-1": true}),
        );
        assert_eq!(
            redactor.text("the bob of publish"),
            "peer-4 peer-2 of team-1"
        );
    }

    #[test]
    fn a_line_of_the_log_keeps_what_a_reader_of_the_sources_knows() {
        let mut redactor = redactor();
        let line = json!({"timestamp": "2026-11-20T13:05:11.123456Z", "level": "WARN",
            "fields": {"message": "not served", "path": "/srv/ann/pricing", "failure": "Quokka is busy"},
            "target": "aura_peer::daemon"});
        assert_eq!(
            redactor.document(Source::Log, &line),
            json!({"timestamp": "2026-11-20T13:05:11.123456Z", "level": "WARN",
                "fields": {"message": "not served", "path": "CLONE", "failure": "word-1 is busy"},
                "target": "aura_peer::daemon"})
        );
        let foreign = json!({"target": "quokka::publish"});
        let shown = redactor.document(Source::Log, &foreign);
        assert_eq!(shown, json!({"target": "symbol-1"}));
    }
}
