//! The one thread that owns the daemon's state.
//!
//! Invariants:
//! - everything that happens comes through one queue, in one order;
//! - what is wrong with one repository stops no other one;
//! - a face that waits is answered when its condition holds, its deadline passes, or the daemon stops.

mod activity;
mod calls;
mod neighbours;
mod prompts;
mod standing;
mod starting;
mod wire;

use std::{
    collections::{BTreeMap, VecDeque},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use aura_api::{
    Exit, Failure, Reply, Request, docs,
    home::{DAEMON_LOCK, DAEMON_SOCKET, PROMPTS_FILE, STARTING_FILE},
    socket,
};
use aura_engine::{
    Now,
    peer::{
        control::{self, Control},
        links::LinkId,
        replica::Own,
    },
};
use aura_net::{
    Dialed, Incoming, LinkEvent, LinkHandle,
    circuit::{Asked, Offered},
    lan::Found,
};
use aura_proto::{
    Code, PeerId,
    message::{PeerCard, RenewGrant},
};
use aura_semantic::Graph;
use aura_store::{FileLock, ensure_private_dir, lock_exclusive, sweep_temporaries, write_atomic};
use aura_tree::{Repo, Root, WatchEvent, Watcher, WorkingCopy};
use aura_trust::Roster;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    clock::{Clock, random, rfc3339},
    desk::{Desk, Ground, Mode, Publishing, git_failure},
    identity::{self, Identity},
    settings::Settings,
    team::Team,
};
use neighbours::Neighbours;
pub(crate) use neighbours::person_of;
use starting::Starting;

/// How long a daemon that has nothing to do goes without a look at its home, in milliseconds.
const HOME_LOOK_MS: u64 = 5_000;
/// Events kept for `watch --since`.
const EVENTS_MAX: usize = 10_000;

/// What the thread hears.
pub(crate) enum Event {
    Call(Request, mpsc::Sender<Reply>),
    /// What uses what in a repository.
    Graph(PathBuf, Box<Graph>),
    Dialed(u64, Result<Box<Dialed>, String>),
    Renewed(u64, Result<RenewGrant, (Option<Code>, String)>),
    /// Another device dialled this one.
    Incoming(Box<Incoming>),
    /// A dial of another device ended.
    PeerDialed(PeerId, neighbours::Outcome),
    /// A device of the team is on the same network.
    Found(Found),
    /// A session within a circuit that was asked for has begun, or could not.
    CircuitDialed(PeerId, Result<Box<Asked>, String>),
    /// Another device has begun a session within a circuit.
    CircuitTaken(Box<Offered>),
    /// What a link to another device says, and the share of its backlog.
    Thread(LinkId, LinkEvent, OwnedSemaphorePermit),
    /// What a link says, and the share of the backlog that it takes up until it is handled.
    Link(u64, LinkEvent, OwnedSemaphorePermit),
    Watch(PathBuf, WatchEvent),
}

/// A repository as the daemon remembers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Remembered {
    path: PathBuf,
    mode: Mode,
}

/// When a waiting face is answered.
pub(super) enum Until {
    /// Git moves no files.
    Still,
    /// The control link is up and the repository's log caught up.
    Joined,
    /// The link is up.
    Up,
    /// Nothing is on its way, out or in.
    Synced,
    /// What others changed is weighed.
    Weighed,
    /// A peer is online.
    Peer(String),
    /// It is known who waits for approval.
    Introduced,
    /// Another device has answered.
    Pong(PeerId),
    /// Another device has answered over others, and these as well.
    Reached(PeerId),
    /// Own entries of a repository are acknowledged.
    Acknowledged,
    /// An own entry about zones is at its place.
    Judged(Own),
    /// A zone is over.
    Free(u64),
}

/// Makes the reply, told whether the condition holds; none if it waits for something else now.
pub(super) type Answer = Box<dyn FnOnce(&mut Daemon, bool) -> Option<Reply> + Send>;

pub(super) struct Waiting {
    pub(super) until: Until,
    pub(super) repo: Option<PathBuf>,
    pub(super) deadline_ms: u64,
    pub(super) answer: Answer,
    pub(super) reply: mpsc::Sender<Reply>,
}

pub(crate) struct Daemon {
    pub(super) home: PathBuf,
    pub(super) clock: Clock,
    pub(super) identity: Identity,
    pub(super) team: Option<Team>,
    pub(super) desks: BTreeMap<PathBuf, Desk>,
    watchers: BTreeMap<PathBuf, Watcher>,
    /// Repositories that could not be opened, and why.
    closed: BTreeMap<PathBuf, Failure>,
    remembered: Vec<Remembered>,
    pub(super) settings: Settings,
    neighbours: Option<Neighbours>,
    pub(super) control: Option<Control>,
    link: Option<LinkHandle>,
    link_number: u64,
    /// What both ends of the control link understand.
    link_features: u64,
    pub(super) peers: BTreeMap<PeerId, PeerCard>,
    pub(super) rtt_ms: Option<u64>,
    pub(super) offline_since_ms: u64,
    pub(super) down_why: Option<(Option<Code>, String)>,
    log_lines: VecDeque<docs::Event>,
    event_last: u64,
    subscribers: Vec<mpsc::Sender<Reply>>,
    pub(super) waiting: Vec<Waiting>,
    /// What shell prompts were told.
    prompts: Vec<docs::PromptDoc>,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) sender: mpsc::Sender<Event>,
    pub(super) is_stopping: bool,
    /// The socket as it was made: device and inode.
    socket: Option<(u64, u64)>,
    _lock: FileLock,
}

/// Runs until `down` or a signal.
pub(crate) fn run(home: &Path) -> Result<(), Failure> {
    ensure_private_dir(home).map_err(|error| identity::failure(&error, home))?;
    let run_dir = home.join("run");
    ensure_private_dir(&run_dir).map_err(|error| identity::failure(&error, &run_dir))?;
    let lock_file = run_dir.join(DAEMON_LOCK);
    let lock = lock_exclusive(&lock_file).map_err(|error| identity::failure(&error, &lock_file))?;
    sweep_temporaries(home).map_err(|error| identity::failure(&error, home))?;
    crate::parses::watch(home);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("AE-RUNTIME", Exit::FAILED, error.to_string()))?;
    let (sender, events) = mpsc::channel();
    let starting = Starting::begin(&run_dir.join(STARTING_FILE));
    let (handle, begun) = (runtime.handle().clone(), &starting);
    let mut daemon = Daemon::open(home, lock, handle, sender.clone(), begun)?;
    let listener = socket::bind(&run_dir, DAEMON_SOCKET)
        .map_err(|error| Failure::new("AE-STORAGE", Exit::STORAGE, error.to_string()))?;
    drop(starting);
    daemon.socket = daemon.socket_now();
    let faces = crate::faces::serve(listener, sender.clone())
        .map_err(|error| Failure::new("AE-RUNTIME", Exit::FAILED, error.to_string()))?;
    stop_on_signal(&runtime, sender);
    let served = daemon.serve(&events);
    drop((daemon, events));
    faces.finish();
    runtime.shutdown_background();
    served
}

fn homeless(home: &Path) -> Failure {
    let message = format!(
        "{} is gone, or its socket is; this daemon ends, nothing more is published by it",
        home.display()
    );
    tracing::error!(home = %home.display(), "the home is gone; stopping");
    Failure::new("AE-HOME-GONE", Exit::STORAGE, message).next("aura up", "starts another one")
}

fn stop_on_signal(runtime: &tokio::runtime::Runtime, events: mpsc::Sender<Event>) {
    use tokio::signal::unix::{SignalKind, signal};
    let _guard = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let Ok(mut signals) = signal(kind) else {
            continue;
        };
        let events = events.clone();
        runtime.spawn(async move {
            if signals.recv().await.is_some() {
                let (reply, _) = mpsc::channel();
                let request = Request {
                    repo: None,
                    call: aura_api::Call::Down,
                };
                events.send(Event::Call(request, reply)).ok();
            }
        });
    }
}

impl Daemon {
    fn open(
        home: &Path,
        lock: FileLock,
        runtime: tokio::runtime::Handle,
        sender: mpsc::Sender<Event>,
        starting: &Starting,
    ) -> Result<Self, Failure> {
        let identity = Identity::open(home)?;
        let clock = Clock::start();
        let remembered = identity::read_json(&home.join("repos.json"))?;
        let set = identity::read_json(&home.join("settings.json"))?;
        let settings = Settings::new(set, |name| std::env::var(name).ok());
        let mut daemon = Self {
            home: home.to_owned(),
            clock,
            identity,
            team: None,
            desks: BTreeMap::new(),
            watchers: BTreeMap::new(),
            closed: BTreeMap::new(),
            remembered,
            settings,
            neighbours: None,
            control: None,
            link: None,
            link_number: 0,
            link_features: 0,
            peers: BTreeMap::new(),
            rtt_ms: None,
            offline_since_ms: 0,
            down_why: None,
            log_lines: VecDeque::new(),
            // Numbers go on over restarts: whoever asks from an older one is told what was lost.
            event_last: clock.wall_ms(),
            subscribers: Vec::new(),
            waiting: Vec::new(),
            prompts: Vec::new(),
            runtime,
            sender,
            is_stopping: false,
            socket: None,
            _lock: lock,
        };
        if daemon.identity.enrolment.is_some() {
            daemon.enter_team()?;
            for row in daemon.remembered.clone() {
                starting.is_at(format!("it reads {}", row.path.display()));
                let opened = Repo::discover(&row.path)
                    .map_err(|error| git_failure(&error))
                    .and_then(|repo| daemon.open_desk(repo, row.mode, &mut |_, _| {}));
                if let Err(failure) = opened {
                    tracing::warn!(path = %row.path.display(), %failure, "not served");
                    daemon.closed.insert(row.path, failure);
                }
            }
        }
        Ok(daemon)
    }

    /// Opens the team's log and starts to dial.
    pub(super) fn enter_team(&mut self) -> Result<(), Failure> {
        if self.team.is_none() {
            let team = Team::open(&self.home, &mut self.identity, self.clock)?;
            // Until the Mothership shows who there is, names come from the team's log.
            self.peers = team.cards();
            self.team = Some(team);
        }
        if self.control.is_none() {
            let agent = concat!("aura/", env!("CARGO_PKG_VERSION")).to_owned();
            let seed = u64::from_be_bytes(random());
            let now = self.now();
            let mut control = Control::new(now, self.identity.key_again(), agent, seed);
            if let Some(leaf) = self.identity.leaf() {
                control.handle(now, control::Input::Certified(leaf));
            }
            self.control = Some(control);
            self.offline_since_ms = self.clock.mono_ms();
            self.enter_mesh();
        }
        Ok(())
    }

    /// Opens, indexes and watches a repository.
    pub(super) fn open_desk(
        &mut self,
        repo: Repo,
        mode: Mode,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<PathBuf, Failure> {
        let path = repo.work_tree().to_owned();
        let Some(enrolment) = self.identity.enrolment.clone() else {
            return Err(Failure::new(
                "AE-NOT-JOINED",
                Exit::NOT_SET_UP,
                "this device is on no team",
            ));
        };
        let name = aura_proto::Digest::of(path.as_os_str().as_encoded_bytes()).to_string();
        let repos = self.home.join("repos");
        ensure_private_dir(&repos).map_err(|error| identity::failure(&error, &repos))?;
        let ground = Ground {
            repo,
            state_dir: &repos.join(&name[..24]),
            team: enrolment.team,
            roster: self.team.as_ref().map_or_else(
                || Arc::new(Roster::new(enrolment.team)),
                |team| Arc::clone(&team.roster),
            ),
            distrust: self.team.as_ref().and_then(|team| team.fault.clone()),
            key: self.identity.key_again(),
            checkpoint_key: enrolment.checkpoint_key,
            mode,
            publishing: self.publishing(),
            is_told: self.settings.get("activity") == "on",
            clock: self.clock,
        };
        let mut desk = Desk::open(ground, &self.identity.ring)?;
        desk.rescue(|copy, keep| copy.clean_leftovers(keep))
            .map_err(|error| crate::desk::storage(&error))?;
        let (changes, received) = mpsc::channel();
        let watcher =
            Watcher::start(&desk.repo, changes).map_err(|error| crate::desk::storage(&error))?;
        desk.index(progress)?;
        let (sender, key) = (self.sender.clone(), path.clone());
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                for event in received {
                    if sender.send(Event::Watch(key.clone(), event)).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| crate::desk::storage(&error))?;
        self.begin_graph(&desk);
        self.watchers.insert(path.clone(), watcher);
        self.desks.insert(path.clone(), desk);
        self.closed.remove(&path);
        let row = Remembered {
            path: path.clone(),
            mode,
        };
        if !self.remembered.contains(&row) {
            self.remembered.retain(|known| known.path != path);
            self.remembered.push(row);
            self.save_remembered()?;
        }
        // What was saved while no daemon ran is an edit like any other.
        self.with_desk(&path, Desk::publish_saved)?;
        self.meet_again(&path);
        self.reconnect();
        Ok(path)
    }

    /// Reads in the background what uses what in a repository.
    fn begin_graph(&self, desk: &Desk) {
        let (path, files) = (desk.path.clone(), desk.files_for_graph());
        let analyses = desk.analyses();
        let sender = self.sender.clone();
        let built = Root::open(&path).and_then(|root| {
            std::thread::Builder::new()
                .name("graph".to_owned())
                .spawn(move || {
                    let graph = crate::desk::impact::build(&root, &files, &analyses);
                    // Nobody listens any more when the daemon stops.
                    sender.send(Event::Graph(path, Box::new(graph))).ok();
                })
        });
        if let Err(error) = built {
            tracing::warn!(%error, "nobody is told whose code a change touches");
        }
    }

    /// Weighs one thing that others changed, when there is nothing else to do.
    fn weigh(&mut self) {
        let now_ms = self.clock.mono_ms();
        let (desks, ring) = (&mut self.desks, &self.identity.ring);
        let mut weighed = false;
        let is_due = |desk: &Desk| desk.weigh_deadline().is_some_and(|due| due <= now_ms);
        for desk in desks.values_mut().filter(|desk| is_due(desk)) {
            desk.weigh(ring);
            weighed = true;
        }
        if weighed {
            self.flush();
        }
    }

    fn save_remembered(&self) -> Result<(), Failure> {
        let path = self.home.join("repos.json");
        let bytes = serde_json::to_vec(&self.remembered).unwrap_or_default();
        write_atomic(&path, &bytes, 0o600).map_err(|error| identity::failure(&error, &path))
    }

    pub(super) fn set_mode(&mut self, path: &Path, mode: Mode) -> Result<(), Failure> {
        for row in self.remembered.iter_mut().filter(|row| row.path == path) {
            row.mode = mode;
        }
        self.save_remembered()?;
        self.with_desk(path, |desk, ring| {
            desk.set_mode(mode, ring);
            Ok(())
        })
    }

    /// Whether the Mothership is there.
    pub(super) fn is_control_up(&self) -> bool {
        self.control.as_ref().is_some_and(Control::is_up)
    }

    pub(super) fn now(&self) -> Now {
        crate::clock::now(self.clock)
    }

    /// What makes edits travel, as set.
    pub(super) fn publishing(&self) -> Publishing {
        Publishing::from_word(self.settings.get("publish")).unwrap_or(Publishing::Save)
    }

    /// Works on a desk with the team's keys; its messages and notices leave afterwards.
    pub(super) fn with_desk<T>(
        &mut self,
        path: &Path,
        work: impl FnOnce(&mut Desk, &aura_trust::KeyRing) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(desk) = self.desks.get_mut(path) else {
            return Err(Failure::new(
                "AE-NOT-JOINED",
                Exit::NOT_SET_UP,
                "this repository is on no team",
            )
            .next("aura join", "add it to the team of this device"));
        };
        let result = work(desk, &self.identity.ring);
        self.flush();
        result
    }

    fn serve(&mut self, events: &mpsc::Receiver<Event>) -> Result<(), Failure> {
        self.tick_control();
        while !self.is_stopping {
            let timeout = self.next_deadline_ms().saturating_sub(self.clock.mono_ms());
            let event = events.recv_timeout(Duration::from_millis(timeout.min(HOME_LOOK_MS)));
            // Nothing is done for a home that another daemon may have made anew.
            if self.is_homeless() {
                self.stop();
                return Err(homeless(&self.home));
            }
            let is_idle = event.is_err();
            match event {
                Ok(event) => self.on_event(event),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.on_time();
            self.flush();
            self.tend_links();
            self.tend_activity();
            if is_idle {
                self.weigh();
            }
            self.tend_standing();
            self.answer_waiting();
            self.tell_prompts();
        }
        self.stop();
        Ok(())
    }

    /// The socket that stands in the home now.
    fn socket_now(&self) -> Option<(u64, u64)> {
        let socket = self.home.join("run").join(DAEMON_SOCKET);
        let meta = std::fs::symlink_metadata(socket).ok()?;
        Some((meta.dev(), meta.ino()))
    }

    /// Whether the socket of this daemon is gone, alone or with the home.
    fn is_homeless(&self) -> bool {
        self.socket_now() != self.socket
    }

    fn next_deadline_ms(&self) -> u64 {
        let control = self.control.as_ref().and_then(Control::deadline);
        let waiting = self.waiting.iter().map(|waiting| waiting.deadline_ms).min();
        let motion = self
            .desks
            .values()
            .filter_map(|desk| desk.motion.deadline())
            .min();
        let kept = self
            .desks
            .values()
            .filter_map(|desk| desk.copy.kept_deadline())
            .min();
        let retry = self.desks.values().filter_map(Desk::retry_deadline).min();
        let team = self.team.as_ref().and_then(Team::retry_deadline);
        let weighs = self.desks.values().filter_map(Desk::weigh_deadline).min();
        let links = self.links_deadline();
        let says = |desk: &Desk| desk.doing.machine.deadline();
        let says = self.desks.values().filter_map(says).min();
        let stands = |desk: &Desk| desk.standing.deadline();
        let stands = self.desks.values().filter_map(stands).min();
        [
            control, waiting, motion, kept, retry, team, weighs, links, says, stands,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(u64::MAX)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Call(request, reply) => self.call(request, &reply),
            Event::Graph(path, graph) => {
                if let Some(desk) = self.desks.get_mut(&path) {
                    desk.has_graph(*graph);
                }
            }
            Event::Dialed(number, result) => self.dialed(number, result),
            Event::Renewed(number, result) => self.renewed_at_the_door(number, result),
            Event::Link(number, event, _share) => self.on_link(number, event),
            Event::Incoming(incoming) => self.dialled_by(*incoming),
            Event::PeerDialed(peer, outcome) => self.peer_dialed(peer, outcome),
            Event::Found(found) => self.found_near(&found),
            Event::CircuitDialed(peer, result) => self.circuit_dialed(peer, result),
            Event::CircuitTaken(offered) => self.circuit_taken(*offered),
            Event::Thread(link, event, _share) => self.on_thread(link, event),
            Event::Watch(path, event) => {
                let seen = self.with_desk(&path, |desk, ring| desk.watched(event, ring));
                if let Err(failure) = seen {
                    tracing::warn!(%failure, "a change could not be taken in");
                }
            }
        }
    }

    fn on_time(&mut self) {
        self.tick_control();
        let now = self.clock.mono_ms();
        let due: Vec<PathBuf> = self
            .desks
            .iter()
            .filter(|(_, desk)| desk.motion.deadline().is_some_and(|at| at <= now))
            .map(|(path, _)| path.clone())
            .collect();
        for path in due {
            self.with_desk(&path, Desk::look).ok();
        }
        let starved: Vec<PathBuf> = self
            .desks
            .iter()
            .filter(|(_, desk)| desk.retry_deadline().is_some_and(|at| at <= now))
            .map(|(path, _)| path.clone())
            .collect();
        for path in starved {
            self.with_desk(&path, Desk::retry).ok();
        }
        let is_due = |team: &&mut Team| team.retry_deadline().is_some_and(|at| at <= now);
        if let Some(team) = self.team.as_mut().filter(is_due) {
            team.retry(&mut self.identity);
        }
        for desk in self.desks.values_mut() {
            if desk.copy.kept_deadline().is_some_and(|at| at <= now) {
                desk.rescue(|copy, keep| copy.sweep_kept(now, keep));
            }
        }
    }

    fn tick_control(&mut self) {
        let now = self.now();
        if let Some(control) = &mut self.control
            && control.deadline().is_some_and(|at| at <= now.mono_ms)
        {
            control.handle(now, control::Input::Tick);
        }
        self.pump_control();
    }

    /// Publishes one event to whoever watches.
    pub(super) fn emit(
        &mut self,
        kind: &str,
        repo: Option<&Path>,
        symbol: Option<String>,
        actor: Option<String>,
        text: String,
    ) {
        self.event_last += 1;
        let event = self.event(kind, repo, symbol, actor, text);
        let line = serde_json::to_value(&event).unwrap_or(Value::Null);
        self.subscribers
            .retain(|reply| reply.send(Reply::Event(line.clone())).is_ok());
        self.log_lines.push_back(event);
        if EVENTS_MAX < self.log_lines.len() {
            self.log_lines.pop_front();
        }
    }

    fn event(
        &self,
        kind: &str,
        repo: Option<&Path>,
        symbol: Option<String>,
        actor: Option<String>,
        text: String,
    ) -> docs::Event {
        docs::Event {
            schema: docs::Event::SCHEMA.to_owned(),
            seq: self.event_last,
            at: rfc3339(self.clock.wall_ms()),
            kind: kind.to_owned(),
            repo: repo.map(|repo| repo.display().to_string()),
            symbol,
            actor,
            text,
            data: Value::Null,
        }
    }

    pub(super) fn event_last(&self) -> u64 {
        self.event_last
    }

    pub(super) fn subscribe(&mut self, since: Option<u64>, reply: &mpsc::Sender<Reply>) {
        if let Some(since) = since {
            let oldest = self
                .log_lines
                .front()
                .map_or(self.event_last + 1, |event| event.seq);
            if 0 < since && since < oldest {
                // A reader that was away for too long is told, not fooled.
                let text = format!("events {since} to {} are not kept any more", oldest - 1);
                let lost = self.event("lost", None, None, None, text);
                let line = serde_json::to_value(&lost).unwrap_or(Value::Null);
                if reply.send(Reply::Event(line)).is_err() {
                    return;
                }
            }
            for event in self.log_lines.iter().filter(|event| since <= event.seq) {
                let line = serde_json::to_value(event).unwrap_or(Value::Null);
                if reply.send(Reply::Event(line)).is_err() {
                    return;
                }
            }
        }
        self.subscribers.push(reply.clone());
    }

    fn answer_waiting(&mut self) {
        let now = self.clock.mono_ms();
        for waiting in std::mem::take(&mut self.waiting) {
            let holds = self.holds(&waiting);
            if holds || waiting.deadline_ms <= now {
                if let Some(reply) = (waiting.answer)(self, holds) {
                    waiting.reply.send(reply).ok();
                }
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    fn holds(&self, waiting: &Waiting) -> bool {
        let is_up = self.is_control_up();
        let desk = waiting.repo.as_ref().and_then(|path| self.desks.get(path));
        match &waiting.until {
            Until::Up => is_up,
            Until::Peer(name) => {
                let is_there = |card: &PeerCard| {
                    card.name == *name && card.state == aura_proto::message::PeerState::Online
                };
                is_up && self.peers.values().any(is_there)
            }
            Until::Joined | Until::Synced => {
                let team = self
                    .team
                    .as_ref()
                    .is_none_or(|team| team.book.replica.is_synced());
                let desk = desk.is_none_or(|desk| desk.book.replica.is_synced() && desk.is_still());
                is_up && team && desk
            }
            Until::Acknowledged => desk.is_none_or(|desk| desk.book.replica.queued() == 0),
            Until::Introduced => !is_up || self.knows_who_waits(),
            Until::Pong(peer) => self.has_answered(*peer),
            Until::Judged(own) => desk.is_none_or(|desk| desk.outcome(*own).is_some()),
            Until::Free(fence) => desk.is_none_or(|desk| desk.law.zones.get(*fence).is_none()),
            Until::Reached(peer) => self.has_reached(*peer),
            Until::Weighed => desk.is_none_or(Desk::is_weighed),
            Until::Still => desk.is_none_or(Desk::is_still),
        }
    }

    fn stop(&mut self) {
        if !self.is_homeless() {
            self.save_directory();
        }
        if let Some(link) = &self.link {
            link.close(Code::BYE, "");
        }
        for desk in self.desks.values_mut() {
            desk.rescue(WorkingCopy::sweep_all);
        }
        for waiting in std::mem::take(&mut self.waiting) {
            let failure = Failure::new("AE-DAEMON", Exit::NO_DAEMON, "the daemon stops");
            waiting.reply.send(Reply::Failed(failure)).ok();
        }
        if !self.is_homeless() {
            let run = self.home.join("run");
            std::fs::remove_file(run.join(PROMPTS_FILE)).ok();
            std::fs::remove_file(run.join(DAEMON_SOCKET)).ok();
        }
    }

    /// The repository that a request is about.
    pub(super) fn repo_of(&self, request: Option<&str>) -> Result<PathBuf, Failure> {
        let Some(start) = request else {
            return Err(Failure::new(
                "AE-NOT-REPO",
                Exit::NOT_SET_UP,
                "no repository was named",
            ));
        };
        // Git reads all of the history to tell what a repository is: only for one that is not known.
        let near = aura_tree::git::enclosing(Path::new(start));
        if let Some(path) = near.filter(|path| self.desks.contains_key(path)) {
            return Ok(path);
        }
        let repo = Repo::discover(Path::new(start)).map_err(|error| git_failure(&error))?;
        let path = repo.work_tree().to_owned();
        if self.desks.contains_key(&path) {
            return Ok(path);
        }
        if let Some(failure) = self.closed.get(&path) {
            let why = failure.clone();
            return Err(why.next("aura down", "it is tried again at the next start"));
        }
        let failure = |message: &str| Failure::new("AE-NOT-JOINED", Exit::NOT_SET_UP, message);
        Err(match &self.identity.enrolment {
            Some(enrolment) => failure("this clone is not served yet").next(
                "aura join",
                format!("adds it; {} is a member and needs no token", enrolment.name),
            ),
            None => failure("this repository is on no team")
                .next("aura join TOKEN", "join a team with an invite"),
        })
    }
}
