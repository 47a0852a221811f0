//! Claiming zones, and saying that they are over.
//!
//! Invariants:
//! - whoever claims is told what the log says, never what this device would like;
//! - what a claim covers is named as its user named it, and compared by tags that say nothing to the Mothership.

use aura_api::{Exit, Failure, shell_operand};
use aura_engine::{
    peer::replica::{self, Own},
    zones::Zone,
};
use aura_proto::{
    Kind, RepoPath,
    limits::{ZONE_DETAILS_BYTES_MAX, ZONE_PLACES_MAX, ZONE_TTL_MS_MAX},
    path::composed,
    zone::{Covered, Place, Sealed, ZoneBody, ZoneDetails, ZoneMode},
};
use aura_semantic::UnitId;
use aura_trust::{KeyRing, SEAL_OVERHEAD_BYTES, Tagger, seal};
use globset::{GlobBuilder, GlobMatcher};

use super::Desk;

/// Claims of more than this part of the files are refused.
const WIDTH_PERCENT_MAX: usize = 25;
/// Where there are fewer files, a directory is soon a large part of them.
const FILES_MIN: usize = 20;

/// What somebody wants to claim.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) what: Vec<String>,
    pub(crate) why: String,
    pub(crate) ttl_ms: u64,
    pub(crate) mode: ZoneMode,
    /// Whether it is for all branches.
    pub(crate) is_everywhere: bool,
    pub(crate) takes: bool,
}

/// A claim that may be made.
pub(crate) struct Claim {
    covers: Vec<Covered>,
    pub(crate) zone: Zone,
}

impl Desk {
    /// What a claim would be; nothing of it is sent.
    pub(crate) fn claim_of(&mut self, wanted: &Wanted, ring: &KeyRing) -> Result<Claim, Failure> {
        super::intent::check_why(Some(&wanted.why))?;
        check_ttl(wanted.ttl_ms)?;
        let tagger = self.tagger(ring)?;
        let mut covers = Vec::new();
        for what in &wanted.what {
            for covered in self.covered(what)? {
                if !covers.contains(&covered) {
                    covers.push(covered);
                }
            }
        }
        if ZONE_PLACES_MAX < covers.len() {
            let message = format!(
                "that is {} places; a zone has at most {ZONE_PLACES_MAX}",
                covers.len()
            );
            return Err(Failure::new("AE-ZONE-WIDE", Exit::USAGE, message)
                .next("aura zone claim 'DIRECTORY/**'", "a directory is one place"));
        }
        self.refuse_wide(&covers)?;
        let places = covers.iter().map(|covered| place_of(&tagger, covered));
        let branch = tagger.branch(self.units.channel());
        let zone = Zone {
            fence: 0,
            claim: 0,
            holder: self.key_peer,
            mode: wanted.mode,
            branch: (!wanted.is_everywhere).then_some(branch),
            places: places.collect::<Option<Vec<Place>>>().ok_or_else(|| {
                Failure::new("AE-USAGE", Exit::USAGE, "a path that no repository has")
            })?,
            ttl_ms: wanted.ttl_ms,
        };
        Ok(Claim { covers, zone })
    }

    /// The places that a word names, to be compared with those of zones.
    pub(crate) fn places_of(&mut self, what: &str, ring: &KeyRing) -> Result<Vec<Place>, Failure> {
        let tagger = self.tagger(ring)?;
        let covers = self.covered(what)?;
        let places = covers.iter().filter_map(|one| place_of(&tagger, one));
        Ok(places.collect())
    }

    /// Zones of others that keep changes of these files back, or of something in them.
    pub(crate) fn zones_over(&self, paths: &[String], ring: &KeyRing) -> Vec<&Zone> {
        let Ok(tagger) = self.tagger(ring) else {
            return Vec::new();
        };
        let branch = tagger.branch(self.units.channel());
        let paths = paths.iter().map(|path| whole(path));
        let places: Vec<Place> = paths.filter_map(|one| place_of(&tagger, &one)).collect();
        let blocks = |zone: &&Zone| {
            let is_others = zone.mode == ZoneMode::Block && zone.holder != self.key_peer;
            let is_here = zone.branch.is_none_or(|there| there == branch);
            is_others && is_here && zone.meets(&places)
        };
        self.law.zones.live().filter(blocks).collect()
    }

    fn tagger(&self, ring: &KeyRing) -> Result<Tagger, Failure> {
        Tagger::new(ring, self.book.replica.log()).ok_or_else(|| {
            let message = "this device does not have the team key yet";
            Failure::new("AE-NO-KEY", Exit::NOT_SET_UP, message)
                .next("aura status", "an admin approves it first")
        })
    }

    /// What a word names: the repository, a directory, files, or a unit.
    fn covered(&mut self, what: &str) -> Result<Vec<Covered>, Failure> {
        let text = composed(what.strip_prefix("./").unwrap_or(what));
        let text = text.as_str();
        let dir = text.strip_suffix("/**").or(text.strip_suffix('/'));
        if matches!(text, "." | "**") {
            return Ok(vec![whole("")]);
        }
        if let Some(dir) = dir
            && RepoPath::try_from(dir).is_ok()
            && !is_pattern(dir)
        {
            return Ok(vec![whole(dir)]);
        }
        if is_pattern(text) {
            return self.matching(text);
        }
        if self.files.paths().any(|path| is_in(path.as_str(), text)) {
            return Ok(vec![whole(text)]);
        }
        match self.symbol(text) {
            Ok(symbol) if symbol.is_file() => Ok(vec![whole(&symbol.path)]),
            Ok(symbol) => Ok(vec![Covered {
                path: symbol.path.to_string(),
                unit: Some((symbol.unit.0, symbol.name)),
            }]),
            // A file may be claimed before it is written.
            Err(_) if what.contains('/') && RepoPath::try_from(text).is_ok() => {
                Ok(vec![whole(text)])
            }
            Err(failure) => Err(failure),
        }
    }

    /// The files that a pattern names now.
    fn matching(&self, pattern: &str) -> Result<Vec<Covered>, Failure> {
        let matcher = matcher(pattern)?;
        let files = self
            .files
            .paths()
            .filter(|path| matcher.is_match(path.as_str()));
        let found: Vec<Covered> = files.map(|path| whole(path.as_str())).collect();
        if found.is_empty() {
            let message = format!("no file matches {pattern}");
            return Err(Failure::new("AE-NO-SYMBOL", Exit::USAGE, message)
                .next("aura find WORD", "finds files and symbols"));
        }
        Ok(found)
    }

    fn refuse_wide(&self, covers: &[Covered]) -> Result<(), Failure> {
        let is_covered = |path: &&RepoPath| {
            covers.iter().any(|covered| {
                let dir = covered.path.as_str();
                covered.unit.is_none() && (dir.is_empty() || is_in(path.as_str(), dir))
            })
        };
        let (all, count) = (
            self.files.len(),
            self.files.paths().filter(is_covered).count(),
        );
        let percent = count * 100 / all.max(1);
        if all < FILES_MIN || percent <= WIDTH_PERCENT_MAX {
            return Ok(());
        }
        let message = format!(
            "that is {percent}% of the repository ({count} of {all} files); the limit is {WIDTH_PERCENT_MAX}%"
        );
        Err(Failure::new("AE-ZONE-WIDE", Exit::USAGE, message)
            .next("aura zone claim 'DIRECTORY/**'", "claim less"))
    }

    /// Writes a claim; answers which own entry it is.
    pub(crate) fn claim(
        &mut self,
        claim: Claim,
        wanted: &Wanted,
        ring: &KeyRing,
    ) -> Result<Own, Failure> {
        let branch = (!wanted.is_everywhere).then(|| self.units.channel().to_owned());
        let details = ZoneDetails {
            covers: claim.covers,
            branch,
            text: wanted.why.clone(),
        };
        if ZONE_DETAILS_BYTES_MAX < details.encode().len() + SEAL_OVERHEAD_BYTES {
            let message = "the names of what it covers are too long together";
            return Err(Failure::new("AE-ZONE-WIDE", Exit::USAGE, message)
                .next("aura zone claim 'DIRECTORY/**'", "a directory is one name"));
        }
        let body = ZoneBody::Claim {
            mode: claim.zone.mode,
            branch: claim.zone.branch,
            places: claim.zone.places,
            ttl_ms: claim.zone.ttl_ms,
            takes: wanted.takes,
            details: self.sealed(&details, ring)?,
        };
        self.say(&body, ring)
    }

    /// Asks the holder of a zone for it.
    pub(crate) fn ask_for(
        &mut self,
        fence: u64,
        text: &str,
        ring: &KeyRing,
    ) -> Result<Own, Failure> {
        super::intent::check_why(Some(text))?;
        let details = self.sealed_text(text, ring)?;
        self.say(&ZoneBody::Ask { fence, details }, ring)
    }

    /// Answers a question about an own zone.
    pub(crate) fn answer(
        &mut self,
        (ask, grants): (u64, bool),
        text: &str,
        ring: &KeyRing,
    ) -> Result<Own, Failure> {
        super::intent::check_why(Some(text))?;
        let details = self.sealed_text(text, ring)?;
        let body = ZoneBody::Answer {
            ask,
            grants,
            details,
        };
        self.say(&body, ring)
    }

    fn sealed_text(&self, text: &str, ring: &KeyRing) -> Result<Sealed, Failure> {
        let details = ZoneDetails {
            text: text.to_owned(),
            ..ZoneDetails::default()
        };
        self.sealed(&details, ring)
    }

    /// Seals what is said, for the place that the next own entry has.
    fn sealed(&self, details: &ZoneDetails, ring: &KeyRing) -> Result<Sealed, Failure> {
        let Some(key) = ring.current() else {
            return self.tagger(ring).map(|_| Sealed::default());
        };
        let context = self.next_context(Kind::ZONE);
        let bytes = seal(key, &context, crate::clock::random(), &details.encode());
        Ok(Sealed {
            key_epoch: key.epoch,
            bytes,
        })
    }

    /// Whoever may only read has nothing to say: the Mothership would refuse it, and all that is written behind it.
    pub(super) fn may_speak(&self) -> Result<(), Failure> {
        let member = self.roster.member(self.key_peer);
        if member.is_none_or(|member| member.role.may_write()) {
            return Ok(());
        }
        let message = "the role of this device is to read";
        Err(Failure::new("FORBIDDEN", Exit::REFUSED, message)
            .next("aura whoami", "its role; an admin can give it another one"))
    }

    /// Writes an entry about zones.
    pub(crate) fn say(&mut self, body: &ZoneBody, ring: &KeyRing) -> Result<Own, Failure> {
        self.may_speak()?;
        if let ZoneBody::End { fence } = body {
            self.law.ending.insert(*fence);
        }
        let own = Own {
            incarnation: self.book.replica.writer().incarnation,
            author_seq: self.book.replica.next_number(),
        };
        let input = replica::Input::Author {
            kind: Kind::ZONE,
            fence: 0,
            key_epoch: 0,
            body: body.encode(),
            time_ms: self.clock.wall_ms(),
            author_seq: own.author_seq,
            replaces: None,
        };
        self.feed(input, ring);
        match self.book.replica.next_number() != own.author_seq {
            true => Ok(own),
            false => Err(super::publish::no_space()),
        }
    }
}

fn whole(path: &str) -> Covered {
    Covered {
        path: path.to_owned(),
        unit: None,
    }
}

/// Whether a path is this one, or in this directory.
pub(super) fn is_in(path: &str, dir: &str) -> bool {
    let rest = path.strip_prefix(dir);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Files that somebody names.
#[derive(Debug, Clone)]
pub(crate) enum Meant {
    /// This one, or all in this directory.
    In(String),
    /// Those that a pattern names.
    Matching(GlobMatcher),
}

impl Meant {
    /// What a word names.
    pub(crate) fn of(word: &str) -> Result<Self, Failure> {
        let text = composed(word.strip_prefix("./").unwrap_or(word));
        let text = text.as_str();
        let dir = text.strip_suffix("/**").or(text.strip_suffix('/'));
        match dir.unwrap_or(text) {
            "." | "**" => Ok(Self::In(String::new())),
            plain if !is_pattern(plain) => Ok(Self::In(plain.to_owned())),
            _ => Ok(Self::Matching(matcher(text)?)),
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        match self {
            Self::In(dir) => dir.is_empty() || is_in(path, dir),
            Self::Matching(matcher) => matcher.is_match(path),
        }
    }
}

fn matcher(pattern: &str) -> Result<GlobMatcher, Failure> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob.map_err(|error| {
        Failure::new("AE-USAGE", Exit::USAGE, format!("no pattern: {error}")).next(
            "aura help",
            "a path, a directory, or a pattern such as 'src/**/*.rs'",
        )
    })?;
    Ok(glob.compile_matcher())
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The place of what is covered; none where the path is no path.
pub(crate) fn place_of(tagger: &Tagger, covered: &Covered) -> Option<Place> {
    if covered.path.is_empty() {
        return Some(tagger.root());
    }
    let path = RepoPath::try_from(covered.path.as_str()).ok()?;
    Some(match &covered.unit {
        Some((unit, _)) if UnitId(*unit) != UnitId::file(&covered.path) => tagger.unit(&path, unit),
        _ => tagger.path(&path),
    })
}

/// Refuses a time that no zone has.
pub(crate) fn check_ttl(ttl_ms: u64) -> Result<(), Failure> {
    if (1..=ZONE_TTL_MS_MAX).contains(&ttl_ms) {
        return Ok(());
    }
    let message = "a zone lasts a day at most, from the last change of its holder in it";
    Err(Failure::new("AE-USAGE", Exit::USAGE, message).next(
        "aura zone claim WHAT --ttl 8h",
        "a zone that is worked in is renewed",
    ))
}

/// How people name a zone.
pub(crate) fn zone_name(fence: u64) -> String {
    format!("z-{fence}")
}

/// The fence that a name stands for.
pub(crate) fn fence_of(name: &str) -> Result<u64, Failure> {
    let number = name
        .strip_prefix("z-")
        .and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        let message = format!("{name} is no zone; zones have names such as z-12");
        Failure::new("AE-USAGE", Exit::USAGE, message).next("aura zone list", "names them")
    })
}

/// What is said of a zone that is not held.
pub(crate) fn no_zone(name: &str) -> Failure {
    let message = format!("nobody holds {name} now");
    Failure::new("AE-NO-ZONE", Exit::USAGE, message)
        .next("aura zone list", "the zones that are held")
}

/// What is said of somebody else's zone.
pub(crate) fn not_holder(name: &str, holder: &str) -> Failure {
    let message = format!("{name} is held by {holder}");
    Failure::new("FORBIDDEN", Exit::REFUSED, message).next(
        format!("aura zone ask {} \"text\"", shell_operand(name)),
        "asks for it",
    )
}
