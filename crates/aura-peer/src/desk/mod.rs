//! One repository on this laptop: what its files hold, what the team has, and how the two meet.
//!
//! Invariants:
//! - the *shadow* of a file is what the team knows this working copy to have; an edit is what differs from it;
//! - a file is written only where the shadow and the file agree on every unit that the change touches;
//! - nothing is published that does not parse where it parsed before, and nothing while git moves files.

mod agree;
mod analyses;
mod batch;
pub(crate) mod blame;
pub(crate) mod claim;
mod counted;
mod damage;
mod decide;
pub(crate) mod doing;
mod edits;
mod files;
pub(crate) mod flow;
mod heard;
pub(crate) mod held;
pub(crate) mod impact;
pub(crate) mod inbox;
mod intent;
pub(crate) mod law;
mod loose;
mod motion;
mod open;
mod own;
mod pass;
pub(crate) mod pause;
pub(crate) mod publish;
pub(crate) mod restore;
mod shadow;
mod stale;
pub(crate) mod symbols;
pub(crate) mod take;
#[cfg(test)]
mod tests;
pub(crate) mod then;
mod undo;
mod withdraw;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use aura_api::{Exit, Failure};
use aura_engine::peer::{
    agreement::Agreement,
    body::PatchBody,
    replica,
    standing::Standing,
    units::{Conflict, OpenConflict, Origin, Recorded, Units},
};
use aura_proto::{Entry, Kind, PeerId, RepoPath, TeamId, Writer, event::Placed, message::Message};
use aura_semantic::{Budget, ContentHash, Indexed, OwnText, UnitId};
use aura_tree::{Keep, Motion, Repo, WorkingCopy};
use aura_trust::{KeyRing, Roster, SealContext, open};
use serde::{Deserialize, Serialize};

use crate::{book::Book, clock::Clock};
use analyses::Analyses;
use files::Files;
use loose::Loose;
pub(crate) use open::Ground;
use shadow::Shadows;

/// What incoming versions do to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Files stay untouched until `pull`.
    Observe,
    /// Like observe, and asks.
    Ask,
    /// Clean units are written at once.
    Live,
}

impl Mode {
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "observe" => Some(Self::Observe),
            "ask" => Some(Self::Ask),
            "live" => Some(Self::Live),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Ask => "ask",
            Self::Live => "live",
        }
    }

    pub(crate) fn means(self) -> &'static str {
        match self {
            Self::Observe => {
                "you see what others change; your files are touched by aura pull alone"
            }
            Self::Ask => "as observe; aura status offers each change, aura pull SYMBOL takes it",
            Self::Live => "changes of others are written into units that you have not touched",
        }
    }
}

/// What makes saved edits travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publishing {
    /// Saving does.
    Save,
    /// Only `publish` does.
    Intent,
    /// A commit does, with its subject as the reason.
    Commit,
}

impl Publishing {
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "save" => Some(Self::Save),
            "intent" => Some(Self::Intent),
            "commit" => Some(Self::Commit),
            _ => None,
        }
    }
}

/// Something that faces may want to hear of.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) kind: &'static str,
    pub(crate) symbol: Option<String>,
    pub(crate) peer: Option<PeerId>,
    pub(crate) text: String,
}

/// Where an entry of another stands in the log, and since when by the Mothership's clock.
#[derive(Debug, Clone, Copy)]
struct Place {
    seq: u64,
    time_ms: u64,
}

impl Place {
    fn of(placed: &Placed) -> Self {
        Self {
            seq: placed.seq,
            time_ms: placed.time_ms,
        }
    }
}

/// By which way an entry came.
#[derive(Debug, Clone, Copy)]
enum Came {
    /// This disk wrote it.
    Own,
    /// From a neighbour; it has no place yet.
    Heard,
    /// From the Mothership's log.
    Placed(Place),
}

impl Came {
    fn place(self) -> Option<Place> {
        match self {
            Self::Placed(place) => Some(place),
            Self::Heard | Self::Own => None,
        }
    }
}

/// One repository.
pub(crate) struct Desk {
    pub(crate) repo: Repo,
    pub(crate) path: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) publishing: Publishing,
    pub(crate) copy: WorkingCopy,
    pub(crate) motion: Motion,
    pub(crate) book: Book,
    pub(crate) units: Units,
    pub(crate) files: Files,
    pub(crate) held_back: BTreeMap<RepoPath, held::Held>,
    pub(crate) stream: Option<u32>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) sends: Vec<Message>,
    pub(crate) fault: Option<(aura_proto::Code, String)>,
    /// What the disk did to the log, until its user has decided.
    pub(crate) damage: Option<damage::Damage>,
    mend: Option<damage::Mend>,
    /// Whether the log may have lost something and is not known again as far as it goes.
    is_recall_due: bool,
    /// Whose patches count.
    pub(crate) roster: Arc<Roster>,
    /// Why nothing may be sealed.
    pub(crate) distrust: Option<String>,
    team: TeamId,
    key_peer: PeerId,
    state_dir: PathBuf,
    shadows: Shadows,
    impacts: impact::Impacts,
    analyses: Arc<Analyses>,
    commit: String,
    /// Patches of others that the working copy does not have.
    waiting: BTreeSet<usize>,
    loose: Loose,
    agreement: Agreement,
    doubts: agree::Doubts,
    lately: stale::Lately,
    /// Files that git wrote since the daemon runs.
    adopted: BTreeSet<RepoPath>,
    due: pass::Due,
    /// How far they came the last time, as long as it would end in the same way.
    tried: BTreeMap<usize, (take::Standing, take::Taken)>,
    /// Entries under a key that this device does not have yet: record, and how it came.
    sealed: Vec<(u64, Came)>,
    judged: counted::Ledger,
    pub(crate) law: law::Law,
    pub(crate) doing: doing::Doing,
    pub(crate) standing: Standing,
    pub(crate) flow: flow::Flow,
    pub(crate) inbox: inbox::Inbox,
    /// What neighbours showed and was not taken: who, and why.
    pub(crate) not_heard: Vec<(u64, aura_proto::Code, &'static str)>,
    /// When the Mothership is offered what others wrote without it.
    offer_at_ms: Option<u64>,
    conflicts_seen: BTreeSet<String>,
    /// Conflicts of which no edit can follow where its function went.
    left: BTreeSet<String>,
    pulls: batch::Pulls,
    /// A motion of git that could not be acted on yet.
    unsettled: Option<aura_tree::Settled>,
    pub(crate) pause: pause::Pause,
    /// A publication that was asked for while git moved.
    postponed: Option<publish::Intent>,
    /// Records of changes that count no more and are still to be taken out of the shadows.
    withdrawn: BTreeSet<u64>,
    /// When what could not be done is tried again.
    retry_at_ms: Option<u64>,
    /// The shadow that was asked for last, with the ids that its units were born with.
    parsed: Option<Indexed>,
    budget: Budget,
    clock: Clock,
}

/// How long after a full disk it is tried again, in milliseconds.
pub(crate) const RETRY_MS: u64 = 5_000;

impl Desk {
    /// An entry has its place in the Mothership's log.
    fn placed(&mut self, writer: Writer, author_seq: u64, seq: u64) {
        self.units.placed(writer, author_seq, seq);
        self.agreement.placed(writer, author_seq, seq);
    }

    fn writer(&self, own: replica::Own) -> Writer {
        Writer {
            peer: self.key_peer,
            incarnation: own.incarnation,
        }
    }

    /// How many patches of others the working copy does not have.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many conflicts are open, as far as was told.
    pub(crate) fn conflicts_open(&self) -> usize {
        self.conflicts_seen.len()
    }

    /// The commit that is checked out.
    pub(crate) fn commit(&self) -> &str {
        &self.commit
    }

    /// Begins with another mode.
    pub(crate) fn set_mode(&mut self, mode: Mode, ring: &KeyRing) {
        self.mode = mode;
        self.agreement.look_again(self.clock.mono_ms());
        self.due = pass::Due::All;
        self.settle(ring);
    }

    /// Feeds the replica and carries out what it orders.
    pub(crate) fn feed(&mut self, input: replica::Input, ring: &KeyRing) {
        for output in self.book.feed(input) {
            self.carry_out(output, ring);
        }
        self.obey(ring);
    }

    fn carry_out(&mut self, output: replica::Output, ring: &KeyRing) {
        match output {
            replica::Output::Send(message) => self.sends.push(message),
            replica::Output::Queued { lsn, entry } => self.note(lsn, entry, Came::Own, ring),
            replica::Output::Acknowledged { own, seq, time_ms } => {
                let number = (self.writer(own), own.author_seq);
                self.placed_by_number(number, Place { seq, time_ms }, ring);
            }
            replica::Output::Delivered { lsn, placed } => {
                let place = Place::of(&placed);
                self.flow.delivered(self.clock.wall_ms(), place.time_ms);
                self.found_place(&placed.entry, place, false, ring);
                let came = Came::Placed(place);
                self.note(lsn, placed.entry, came, ring);
            }
            replica::Output::Heard { lsn, entry } => self.note(lsn, entry, Came::Heard, ring),
            replica::Output::Settled {
                writer,
                author_seq,
                seq,
                time_ms,
            } => self.found_its_place((writer, author_seq), Place { seq, time_ms }, ring),
            replica::Output::Contradicted { writer, .. } => self.contradicted(writer.peer, ring),
            replica::Output::GivenUp(given_up) => self.given_up(given_up, ring),
            replica::Output::NotHeard {
                from, code, detail, ..
            } => {
                self.not_heard.push((from, code, detail));
            }
            replica::Output::OfferLater => self.offer_later(),
            replica::Output::Refused { author_seq, code } => {
                self.notice("refused", None, format!("own entry {author_seq}: {code}"));
            }
            replica::Output::Fault { code, detail } => {
                self.notice("fault", None, format!("{code}: {detail}"));
                self.fault = Some((code, detail));
            }
            replica::Output::CaughtUp { .. } => {
                if let Err(failure) = self.recall(ring) {
                    tracing::error!(%failure, "it is not known yet what the disk has lost");
                }
                self.agreement.look_again(self.clock.mono_ms());
            }
            replica::Output::RetryLater => {
                self.retry_in(RETRY_MS);
            }
            replica::Output::NotStored => {
                self.notice(
                    "no_space",
                    None,
                    "the disk is full; it is tried again until there is space".to_owned(),
                );
            }
            replica::Output::Stranded(entry) => self.write_again(&entry, ring),
            replica::Output::Append { .. } | replica::Output::Reincarnate => {}
        }
    }

    /// Puts an entry into the outbox again that a restored disk had numbered like another one.
    fn write_again(&mut self, entry: &Entry, ring: &KeyRing) {
        let own = replica::Own::of(entry);
        if !self.book.replica.holds(own) {
            return;
        }
        match open_body(entry, ring) {
            // A full disk is tried again, and this with it.
            Some(body) => {
                if matches!(self.queue_for(&body, Some(own), ring), Ok(true)) {
                    self.units.retire(self.writer(own), own.author_seq);
                }
            }
            None if self.explain_again(entry, ring) => {}
            None => self.feed(replica::Input::Retire(own), ring),
        }
    }

    fn retry_in(&mut self, ms: u64) {
        let at = self.clock.mono_ms() + ms;
        self.retry_at_ms = Some(self.retry_at_ms.map_or(at, |before| before.min(at)));
    }

    /// When something that could not be done is tried again, on the monotonic clock.
    pub(crate) fn retry_deadline(&self) -> Option<u64> {
        let times = [
            self.retry_at_ms,
            self.offer_at_ms,
            self.agreement.deadline(),
            self.pause_ends_ms(),
        ];
        times.into_iter().flatten().min()
    }

    /// Tries again what could not be done.
    pub(crate) fn retry(&mut self, ring: &KeyRing) -> Result<(), Failure> {
        let now_ms = self.clock.mono_ms();
        self.agree(now_ms, ring);
        self.end_pause(ring);
        if self.offer_at_ms.is_some_and(|at| at <= now_ms) {
            self.offer_at_ms = None;
            self.feed(replica::Input::Offer, ring);
        }
        if self.retry_at_ms.is_none_or(|at| now_ms < at) {
            return Ok(());
        }
        self.retry_at_ms = None;
        self.settle_late(ring)?;
        self.withdraw(ring)?;
        self.recall(ring)?;
        self.due = pass::Due::All;
        self.feed(replica::Input::Retry, ring);
        self.publish_saved(ring)?;
        self.settle(ring);
        Ok(())
    }

    /// Takes a durable entry into the versions.
    fn note(&mut self, lsn: u64, entry: Entry, came: Came, ring: &KeyRing) {
        let header = entry.header();
        if !matches!(
            header.kind,
            Kind::PATCH | Kind::INTENT | Kind::STATE | Kind::MESSAGE
        ) {
            return;
        }
        if !self.law.counts(header.writer, header.author_seq) {
            return self.pass_over(&entry, ring);
        }
        if ring.get(header.key_epoch).is_none() {
            // spec: patch/1.4
            self.sealed.push((lsn, came));
            if header.kind == Kind::PATCH {
                self.loose.hold(lsn);
            }
            return;
        }
        // Another clone of this device, or a disk before it was restored, wrote what came back placed.
        let is_own = matches!(came, Came::Own);
        let log = self.book.replica.log();
        let time_ms = came.place().map(|place| place.time_ms);
        if !is_own
            && header.writer.peer != self.key_peer
            && !self.judged.judge(&self.roster, log, header, time_ms)
        {
            let why = "FORBIDDEN: its author may not write".to_owned();
            self.pass_over(&entry, ring);
            return self.refused(header.writer.peer, why);
        }
        match header.kind {
            Kind::INTENT => return self.note_intent(&entry, ring),
            Kind::MESSAGE => return self.note_message(lsn, &entry, ring),
            _ => {}
        }
        let (author_seq, writer, time_ms) = (header.author_seq, header.writer, header.time_ms);
        let origin = Origin {
            writer,
            author_seq,
            lsn,
            time_ms,
            seq: came.place().map(|place| place.seq),
        };
        if header.kind == Kind::STATE {
            return self.note_state(&entry, origin, is_own, ring);
        }
        let opened = open_body(&entry, ring)
            .ok_or_else(|| "DECODE: its body does not open".to_owned())
            .and_then(|body| body.check().map(|()| body).map_err(|why| why.to_string()));
        let body = match opened {
            Ok(body) => body,
            Err(why) => return self.refused(writer.peer, why),
        };
        self.record(&body, origin, is_own);
    }

    /// A change that counts nowhere: others may have made something from it that does.
    fn pass_over(&mut self, entry: &Entry, ring: &KeyRing) {
        let body = open_body(entry, ring).filter(|body| body.check().is_ok());
        if let Some(body) = body {
            self.units.pass_over(&body);
        }
    }

    /// Takes in a change that counts.
    fn record(&mut self, body: &PatchBody, origin: Origin, is_own: bool) {
        let lsn = origin.lsn;
        let (index, is_new) = self.units.record(body, origin);
        self.due.add(&body.patch.path);
        if !is_new {
            return;
        }
        let is_for_files = !is_own || body.cause != aura_engine::peer::body::Cause::Edit;
        if is_for_files || self.loose.is_dropped(lsn) {
            self.waiting.insert(index);
            let place = origin.seq.zip(self.mend);
            if !place.is_some_and(|(seq, mend)| mend.had(lsn, seq)) {
                let moves_again = self.units.inserts_again(index);
                self.loose.note(lsn, &body.patch, moves_again);
            }
        }
        let now_ms = self.clock.mono_ms();
        (self.agreement).patched(&body.patch.path, origin.seq, now_ms);
        if !is_own {
            self.received(index, body);
        }
    }

    /// A patch of another, or of another clone of this device, is here.
    fn received(&mut self, index: usize, body: &PatchBody) {
        let (origin, kind) = {
            let recorded = &self.units.recorded()[index];
            (recorded.origin, recorded.kind)
        };
        let peer = origin.writer.peer;
        if peer != self.key_peer {
            self.impacts.push(index, origin.lsn, self.clock.mono_ms());
        }
        let symbol = body.patch.touched.first().map(|row| row.name.clone());
        let name = symbol.clone().unwrap_or_else(|| body.patch.path.clone());
        self.notices.push(Notice {
            kind: "received",
            symbol,
            peer: Some(peer),
            text: format!("{kind} {name}"),
        });
    }

    /// Says that an entry of somebody is not taken.
    fn refused(&mut self, peer: PeerId, text: String) {
        self.notices.push(Notice {
            kind: "refused",
            symbol: None,
            peer: Some(peer),
            text,
        });
    }

    /// Opens what could not be opened before, after the team key arrived.
    pub(crate) fn unseal(&mut self, ring: &KeyRing) {
        // What was sealed was not judged either.
        if self.law.is_in_force() {
            if let Err(failure) = self.recount("a team key has arrived", ring) {
                tracing::error!(%failure, "the log cannot be taken in anew");
            }
            self.retry_in(0);
            return;
        }
        for (lsn, came) in std::mem::take(&mut self.sealed) {
            if let Some(entry) = self.book.entry(lsn) {
                self.note(lsn, entry, came, ring);
            }
        }
        self.agreement.look_again(self.clock.mono_ms());
        self.impacts.save();
    }

    /// The body of a recorded patch, read from the log again.
    pub(crate) fn body_of(&self, index: usize, ring: &KeyRing) -> Option<PatchBody> {
        self.body(self.units.recorded().get(index)?, ring)
    }

    /// The same.
    pub(crate) fn body(&self, recorded: &Recorded, ring: &KeyRing) -> Option<PatchBody> {
        open_body(&self.book.entry(recorded.origin.lsn)?, ring)
    }

    /// Open conflicts.
    pub(crate) fn conflicts(&mut self, ring: &KeyRing) -> Vec<Conflict> {
        let open = self.units.forked_paths();
        let files: BTreeMap<String, BTreeMap<UnitId, ContentHash>> = open
            .into_iter()
            .filter_map(|path| {
                let shadow = self.shadow(&RepoPath::try_from(&*path).ok()?).ok()?;
                Some((path.to_string(), Self::contents(shadow.as_ref())))
            })
            .collect();
        let here = |path: &str, unit| Some(files.get(path)?.get(&unit).copied());
        let bodies = |recorded: &Recorded| self.body(recorded, ring);
        let mut conflicts = self.units.conflicts(&bodies, &here);
        conflicts.extend(self.disagreements(ring));
        for conflict in &mut conflicts {
            let is_file = conflict.unit == UnitId::file(&conflict.path);
            if !is_file || conflict.mine.content.is_none() || self.waits_for_more(conflict) {
                continue;
            }
            // What this device has done to the file since is its side as well.
            let path = RepoPath::try_from(&*conflict.path).ok();
            if let Some((bytes, _)) = path.and_then(|path| self.shadows.get(&path).ok()?) {
                conflict.mine.text = Some(OwnText::leaf(&bytes));
            }
        }
        conflicts
    }

    /// The same without a look at the files: whose side is whose follows from the log.
    pub(crate) fn conflicts_unseen(&self, ring: &KeyRing) -> Vec<Conflict> {
        let bodies = |recorded: &Recorded| self.body(recorded, ring);
        let mut conflicts = self.units.conflicts(&bodies, &|_, _| None);
        conflicts.extend(self.disagreements(ring));
        conflicts
    }

    fn open_conflicts(&self, ring: &KeyRing) -> Vec<OpenConflict> {
        let bodies = |recorded: &Recorded| self.body(recorded, ring);
        let mut open = self.units.open_conflicts(&bodies);
        open.extend(self.open_disagreements());
        open
    }

    /// Announces conflicts that came or went since the last call.
    fn compare_conflicts(&mut self, ring: &KeyRing) {
        let now = self.open_conflicts(ring);
        let ids: BTreeSet<String> = now.iter().map(|conflict| conflict.id.clone()).collect();
        for conflict in now
            .iter()
            .filter(|conflict| !self.conflicts_seen.contains(&conflict.id))
        {
            let theirs = &self.units.recorded()[conflict.theirs];
            self.notices.push(Notice {
                kind: "conflict",
                symbol: Some(conflict.name.clone()),
                peer: Some(theirs.origin.writer.peer),
                text: format!("{} {}", conflict.id, conflict.name),
            });
        }
        for id in self.conflicts_seen.difference(&ids) {
            let text = format!("{id} is settled");
            self.notices.push(Notice {
                kind: "resolved",
                symbol: None,
                peer: None,
                text,
            });
        }
        self.conflicts_seen = ids;
    }

    fn notice(&mut self, kind: &'static str, symbol: Option<String>, text: String) {
        self.notices.push(Notice {
            kind,
            symbol,
            peer: None,
            text,
        });
    }

    /// The content that each unit of a file has in `indexed`, the file itself included.
    fn contents(indexed: Option<&Indexed>) -> BTreeMap<UnitId, ContentHash> {
        let Some(indexed) = indexed else {
            return BTreeMap::new();
        };
        let mut contents = indexed.contents();
        contents.insert(UnitId::file(&indexed.path), indexed.hash());
        contents
    }

    /// Gives the units of a freshly indexed file the ids that the log uses.
    fn identify(&self, indexed: &mut Indexed, ids: Option<Vec<UnitId>>) {
        match ids {
            Some(ids) if ids.len() == indexed.ids.len() => indexed.ids = ids,
            Some(_) | None => {
                self.units.identify(indexed);
            }
        }
    }
}

/// Opens the sealed body of a patch entry.
fn open_body(entry: &Entry, ring: &KeyRing) -> Option<PatchBody> {
    PatchBody::decode(opened(entry, Kind::PATCH, ring)?).ok()
}

/// The sealed body of an entry of this kind.
fn opened(entry: &Entry, kind: Kind, ring: &KeyRing) -> Option<Vec<u8>> {
    let header = entry.header();
    let key = ring.get(header.key_epoch).filter(|_| header.kind == kind)?;
    open(key, &SealContext::from(header), &entry.body()).ok()
}

/// A git error as users meet it.
pub(crate) fn git_failure(error: &aura_tree::RepoError) -> Failure {
    use aura_tree::RepoError as E;
    match error {
        E::NotARepo => Failure::new(
            "AE-NOT-REPO",
            Exit::NOT_SET_UP,
            "no git repository here or above",
        )
        .next("cd into your clone", "aura works inside a git repository"),
        E::NoCommits => {
            let message = "the repository has no commit yet, so it has no identity";
            Failure::new("AE-NOT-REPO", Exit::NOT_SET_UP, message)
                .next("git commit --allow-empty -m start", "make the first commit")
        }
        E::Shallow => {
            let message = "the clone is shallow, so its identity cannot be proved";
            Failure::new("AE-SHALLOW", Exit::NOT_SET_UP, message)
                .next("git fetch --unshallow", "fetch the history")
        }
        other => Failure::new("AE-GIT", Exit::FAILED, crate::chain(other)),
    }
}

pub(crate) fn storage(error: &dyn std::error::Error) -> Failure {
    Failure::new("AE-STORAGE", Exit::STORAGE, crate::chain(error))
}

impl Desk {
    /// Content of editors that is in no file any more is put beside the log and said so; `sweep` finds it.
    pub(crate) fn rescue<T>(&mut self, sweep: impl FnOnce(&WorkingCopy, &mut Keep<'_>) -> T) -> T {
        let (dir, wall_ms) = (self.shadows.rescue_dir(), self.clock.wall_ms());
        let notices = &mut self.notices;
        sweep(&self.copy, &mut |rescued| {
            let path = rescued.path.as_ref().map_or("unknown", RepoPath::as_str);
            let kept = shadow::keep_beside(&dir, wall_ms, path, &rescued.bytes);
            let text = match &kept {
                Ok(file) => format!("is kept in {}", file.display()),
                Err(error) => format!("could not be kept yet: {}", crate::chain(error)),
            };
            notices.push(Notice {
                kind: "rescued",
                symbol: None,
                peer: None,
                text: format!("an edit of {path} met an incoming change and {text}"),
            });
            kept.is_ok()
        })
    }
}
