//! How a desk begins: from the log, and from what was kept beside it.
//!
//! Invariant: what a desk knows after it was opened is what it would know had it run all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use aura_api::Failure;
use aura_engine::peer::{
    agreement::Agreement,
    replica::{Fates, Record},
    standing::Standing,
    units::Units,
};
use aura_proto::{Entry, Kind, LogId, PeerId, TeamId};
use aura_semantic::Budget;
use aura_tree::{Motion, Repo, WorkingCopy};
use aura_trust::{IdentityKey, KeyRing, Roster};

use super::{
    Came, Desk, Mode, Place, Publishing, agree, analyses::Analyses, batch, counted, damage, doing,
    files::Files, flow, git_failure, heard, impact, inbox, law, loose::Loose, pass, pause,
    shadow::Shadows, stale, storage,
};
use crate::{book::Book, clock::Clock};

/// What a desk is made of.
pub(crate) struct Ground<'a> {
    pub(crate) repo: Repo,
    pub(crate) state_dir: &'a Path,
    pub(crate) team: TeamId,
    pub(crate) roster: Arc<Roster>,
    pub(crate) distrust: Option<String>,
    pub(crate) key: IdentityKey,
    pub(crate) checkpoint_key: PeerId,
    pub(crate) mode: Mode,
    pub(crate) publishing: Publishing,
    /// Whether others are told what is edited here.
    pub(crate) is_told: bool,
    pub(crate) clock: Clock,
}

impl Desk {
    /// Opens the repository's log and replays it. The working copy is indexed by [`Desk::index`].
    pub(crate) fn open(ground: Ground<'_>, ring: &KeyRing) -> Result<Self, Failure> {
        let (state_dir, clock) = (ground.state_dir, ground.clock);
        let (repo, team, key) = (ground.repo, ground.team, ground.key);
        let head = repo.head().map_err(|error| git_failure(&error))?;
        let log = LogId::of_repository(team, repo.root_commit().as_str());
        let key_peer = key.peer();
        let open = |dir: &Path| Book::of(dir, (team, log), &key, ground.checkpoint_key, clock);
        let book = damage::open_or_mend(state_dir, ring, open)?;
        let damage = damage::Damage::open_of(state_dir);
        let analyses = Arc::new(Analyses::open(state_dir));
        let mut desk = Self {
            path: repo.work_tree().to_owned(),
            mode: ground.mode,
            publishing: ground.publishing,
            copy: WorkingCopy::open(&repo).map_err(|error| storage(&error))?,
            motion: Motion::new(clock.mono_ms(), repo.observe()),
            is_recall_due: book.was_cut || damage.is_some(),
            book,
            units: Units::new(key_peer, head.channel()),
            files: Files::open(&state_dir.join("files")),
            held_back: BTreeMap::new(),
            stream: None,
            notices: Vec::new(),
            sends: Vec::new(),
            fault: None,
            damage,
            mend: damage::Mend::of(state_dir),
            roster: ground.roster,
            distrust: ground.distrust,
            team,
            key_peer,
            shadows: Shadows::open(state_dir, &repo)?,
            impacts: impact::Impacts::open(state_dir, &analyses),
            analyses,
            commit: head.commit.to_string(),
            waiting: BTreeSet::new(),
            loose: Loose::open(state_dir),
            agreement: Agreement::new(key_peer),
            doubts: agree::Doubts::default(),
            lately: stale::Lately::default(),
            adopted: BTreeSet::new(),
            due: pass::Due::All,
            tried: BTreeMap::new(),
            sealed: Vec::new(),
            judged: counted::Ledger::default(),
            law: law::Law::new(log, ground.checkpoint_key),
            doing: doing::Doing::new(team, log, ground.is_told),
            flow: flow::Flow::default(),
            standing: Standing::new(crate::clock::now(clock)),
            inbox: inbox::Inbox::open(state_dir),
            not_heard: Vec::new(),
            offer_at_ms: None,
            state_dir: state_dir.to_owned(),
            conflicts_seen: BTreeSet::new(),
            left: BTreeSet::new(),
            pulls: batch::Pulls::default(),
            unsettled: None,
            pause: pause::Pause::open(state_dir),
            postponed: None,
            withdrawn: BTreeSet::new(),
            retry_at_ms: None,
            parsed: None,
            budget: Budget::default(),
            clock,
            repo,
        };
        let uncounted = desk.replay_units(ring)?;
        desk.withdraw_late(uncounted, ring)?;
        Ok(desk)
    }

    /// Takes in the whole log; answers the records of changes in it that do not count.
    pub(super) fn replay_units(&mut self, ring: &KeyRing) -> Result<Vec<u64>, Failure> {
        let mut records = Vec::new();
        self.impacts.replays();
        self.book
            .replay(|lsn, record| records.push((lsn, record)))?;
        let last = records.last().map_or(0, |(lsn, _)| *lsn);
        self.read_law(&records, ring);
        let fates = Fates::of(records.iter().map(|(lsn, record)| (*lsn, record)));
        let mut uncounted = Vec::new();
        for (lsn, record) in records {
            let change = record.entry().map(Entry::header);
            let change = change.filter(|header| header.kind == Kind::PATCH);
            let change = change.map(|header| (header.writer, header.author_seq));
            match record {
                Record::Own(entry) => self.note(lsn, entry, Came::Own, ring),
                Record::Placed(placed) => {
                    let came = Came::Placed(Place::of(&placed));
                    self.note(lsn, placed.entry, came, ring);
                }
                Record::Heard(entry) => {
                    if let Some(came) = heard::came(&fates, lsn, &entry) {
                        self.note(lsn, entry, came, ring);
                    }
                }
                Record::OwnPlaced { seq, own, .. } => {
                    self.placed(self.writer(own), own.author_seq, seq)
                }
                Record::Retired(own) => self.units.retire(self.writer(own), own.author_seq),
                Record::Checkpoint(_)
                | Record::Evidence(_)
                | Record::GivenUp(_)
                | Record::HeardPlaced(_)
                | Record::Incarnation(_) => {}
            }
            if change.is_some_and(|change| !self.is_taken_in(change, lsn, &fates)) {
                uncounted.push(lsn);
            }
        }
        self.loose.replayed();
        self.doubts.replayed = self.units.recorded().len();
        self.loose.save();
        self.impacts.replayed(last);
        self.notices.clear();
        let open = self.open_conflicts(ring).into_iter();
        self.conflicts_seen = open.map(|conflict| conflict.id).collect();
        Ok(uncounted)
    }
}
