//! The running Mothership: one loop that feeds the engine and carries out what it orders.
//!
//! Invariants:
//! - the engine is touched by this loop alone; links, disk and operators only send to it;
//! - the loop never waits for a peer, the disk or whoever reads its lines;
//! - feeding stands back: answers leave and news is heard between any [`FEEDS_AT_ONCE`] subscribers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, mpsc as blocking},
    time::Duration,
};

use aura_api::{AdminCall, Exit, Failure, docs};
use aura_engine::{
    Now,
    hub::{Config, Hub, Input, Issued, LinkId, Output, check_push},
    relay,
};
use aura_net::{Clock, Incoming, LinkEvent, LinkHandle, Listener, Revoked, link};
use aura_proto::{
    Code, LogId, PeerId,
    event::RunError,
    frame::FrameType,
    limits::{FRAGMENT_BYTES, SEND_QUEUE_BYTES_MAX},
    message::Message,
    session::Side,
};
use aura_store::{Log, OpenError, Options, RealDisk};
use aura_trust::{CertIdentity, Subject, words};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::{
    admin::{self, Pending},
    bridge::{random, rfc3339, unix_seconds},
    custody::{Custody, SERVER_TTL_S},
    feed::Feed,
    wal,
};

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Everything that the Mothership keeps.
    pub state_dir: PathBuf,
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Addresses that invites name; the listening ones when empty.
    pub advertise: Vec<String>,
    /// Team name, for the very first start.
    pub name: Option<String>,
    /// Whether to print a first invite.
    pub invite: bool,
    /// Heartbeat period in milliseconds.
    pub heartbeat_ms: u64,
    /// A silent peer counts as offline after this many milliseconds.
    pub offline_after_ms: u64,
    /// Life of the certificates that devices get, in seconds.
    pub leaf_ttl_s: u64,
    /// What circuits between devices may take.
    pub relay: relay::Limits,
}

/// What circuits may take, where an operator says so.
pub fn relay_limits(
    bytes_max: Option<u64>,
    lasts_ms_max: Option<u64>,
    per_peer_max: usize,
) -> relay::Limits {
    relay::Limits {
        bytes_max: bytes_max.unwrap_or(u64::MAX),
        lasts_ms_max: lasts_ms_max.unwrap_or(u64::MAX),
        per_peer_max,
    }
}

/// What the loop hears.
pub(crate) enum Event {
    Admin(AdminCall, oneshot::Sender<Result<Value, Failure>>),
    /// A push that is not a run of entries.
    Broken(LinkId, RunError),
    Incoming(Box<Incoming>),
    Link(LinkId, LinkEvent),
    Pushed(Input),
    Stop,
    Wal(wal::Outcome),
}

/// Serves until a signal comes. `on_line` gets the ready document, then one document per event.
pub fn serve(config: ServeConfig, on_line: &mut dyn FnMut(Value)) -> Result<(), Failure> {
    let custody = Custody::open(&config.state_dir, config.name.as_deref())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(2))
        .enable_all()
        .build()
        .map_err(|error| Failure::new("AE-RUNTIME", Exit::FAILED, error.to_string()))?;
    let (lines, mut told) = mpsc::channel(LINES_MAX);
    let served = runtime.block_on(async {
        // On a worker, because links and loop wake each other all the time.
        let server = tokio::spawn(Server::run(config, custody, lines));
        while let Some(line) = told.recv().await {
            on_line(line);
        }
        server.await
    });
    runtime.shutdown_background();
    served.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Subscribers that are fed before the loop looks around.
const FEEDS_AT_ONCE: usize = 32;
/// Lines that wait to be read; more are dropped.
const LINES_MAX: usize = 4_096;

pub(crate) struct Server {
    pub(crate) hub: Hub,
    pub(crate) custody: Custody,
    pub(crate) endpoints: Vec<String>,
    pub(crate) listen: Vec<String>,
    pub(crate) wal_stat: (u64, u64),
    /// Epoch of the log since this start.
    epoch: u64,
    clock: Clock,
    feed: Feed,
    wal: blocking::Sender<wal::Batch>,
    links: BTreeMap<LinkId, LinkHandle>,
    remotes: BTreeMap<LinkId, aura_net::listen::Slot>,
    link_last: u64,
    revoked: Arc<RwLock<BTreeSet<PeerId>>>,
    events: mpsc::Sender<Event>,
    pub(crate) requests: BTreeMap<u64, Pending>,
    pub(crate) request_last: u64,
    /// Runs that the engine ordered and nobody has got yet.
    feeds: VecDeque<Order>,
    lines: mpsc::Sender<Value>,
    failed: Option<Failure>,
}

/// An order to feed a subscriber.
struct Order {
    link: LinkId,
    stream: u32,
    log: LogId,
    /// First and last position.
    range: (u64, u64),
    with_checkpoint: bool,
}

impl Server {
    async fn run(
        config: ServeConfig,
        custody: Custody,
        lines: mpsc::Sender<Value>,
    ) -> Result<(), Failure> {
        let (sender, mut events) = mpsc::channel(1_024);
        let mut server = Self::open(&config, custody, sender.clone(), lines)?;
        let mut listener = server.listen(&config).await?;
        admin::listen(&config.state_dir, sender.clone())?;
        stop_on_signal(sender.clone());
        server.hub.start(server.now(), server.epoch);
        server.carry_out();
        if !server.ready(&config, &mut events).await? {
            server.drain();
            return Ok(());
        }
        let mut renewal = tokio::time::interval(Duration::from_secs(SERVER_TTL_S / 2));
        renewal.tick().await;
        loop {
            let deadline = server.hub.deadline();
            let event = tokio::select! {
                _ = renewal.tick() => {
                    if let Err(error) = listener.renewer().renew(&server.custody.credentials()?) {
                        tracing::error!(%error, "the own certificate was not renewed");
                    }
                    None
                }
                event = events.recv() => event,
                incoming = listener.next() => incoming.map(|incoming| Event::Incoming(Box::new(incoming))),
                () = until(server.clock, deadline) => {
                    server.tell(Input::Tick);
                    None
                }
                () = std::future::ready(()), if !server.feeds.is_empty() => {
                    // First whatever was sent before, above all the answer to the author.
                    tokio::task::yield_now().await;
                    server.feed_some();
                    None
                }
            };
            if let Some(event) = event
                && server.on_event(event)
            {
                server.drain();
                return Ok(());
            }
            if let Some(failure) = server.failed.take() {
                return Err(failure);
            }
        }
    }

    fn open(
        config: &ServeConfig,
        custody: Custody,
        events: mpsc::Sender<Event>,
        lines: mpsc::Sender<Value>,
    ) -> Result<Self, Failure> {
        let dir = config.state_dir.join("wal");
        let mut hub = Hub::new(Config {
            team: custody.team,
            team_name: custody.team_name.clone(),
            key: aura_trust::IdentityKey::from_seed(*custody.key.to_bytes()),
            ca: custody.ca.certificate().to_vec(),
            heartbeat_ms: config.heartbeat_ms,
            offline_after_ms: config.offline_after_ms,
            leaf_ttl_s: config.leaf_ttl_s,
            relay: config.relay,
        });
        let mut replayed = Ok(());
        let (log, recovery) =
            Log::open_with(Arc::new(RealDisk), &dir, Options::server(), |record| {
                if !record.payload.is_empty() && replayed.is_ok() {
                    let payload = Bytes::copy_from_slice(record.payload);
                    replayed = hub.replay(record.lsn, &payload);
                }
            })
            .map_err(|error| open_failure(&error))?;
        replayed.map_err(|error| {
            Failure::new("AE-WAL-CORRUPT", Exit::INTEGRITY, error.to_string())
                .next("mothership wal verify", "see what is wrong")
        })?;
        if let Some(torn) = &recovery.torn {
            tracing::warn!(segment = %torn.segment.display(), "TAIL_TRUNCATED");
        }
        let revoked: BTreeSet<PeerId> = hub
            .roll()
            .iter()
            .filter(|member| member.revoked.is_some())
            .map(|member| member.admitted.peer)
            .collect();
        let stat = log.stat();
        let feed = Feed::new(log.reader());
        let outcomes = events.clone();
        let (wal, _thread) = wal::spawn(log, move |outcome| {
            // The loop is gone only when the process ends.
            outcomes.blocking_send(Event::Wal(outcome)).ok();
        })
        .map_err(|error| Failure::new("AE-RUNTIME", Exit::FAILED, error.to_string()))?;
        Ok(Self {
            hub,
            custody,
            endpoints: Vec::new(),
            listen: Vec::new(),
            wal_stat: (stat.segments as u64, stat.bytes),
            epoch: stat.epoch,
            clock: Clock::start(),
            feed,
            wal,
            links: BTreeMap::new(),
            remotes: BTreeMap::new(),
            link_last: 0,
            revoked: Arc::new(RwLock::new(revoked)),
            events,
            requests: BTreeMap::new(),
            request_last: 0,
            feeds: VecDeque::new(),
            lines,
            failed: None,
        })
    }

    async fn listen(&mut self, config: &ServeConfig) -> Result<Listener, Failure> {
        let bad = |why: String| {
            let message = format!("cannot listen on {}: {why}", config.listen);
            Failure::new("AE-PORT", Exit::FAILED, message)
                .next("mothership serve --listen 127.0.0.1:0", "takes a free port")
        };
        let addr: SocketAddr = tokio::net::lookup_host(&config.listen)
            .await
            .map_err(|error| bad(error.to_string()))?
            .next()
            .ok_or_else(|| bad("no such address".to_owned()))?;
        let credentials = self.custody.credentials()?;
        let list = Arc::clone(&self.revoked);
        let revoked: Revoked = Arc::new(move |peer| {
            list.read()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&peer)
        });
        let listener = Listener::bind(addr, &credentials, self.custody.team, revoked)
            .map_err(|error| bad(chain(&error)))?;
        self.listen = vec![listener.local().to_string()];
        self.endpoints = if config.advertise.is_empty() {
            reachable_as(listener.local())
        } else {
            config.advertise.clone()
        };
        Ok(listener)
    }

    /// Prints the ready document, with a first invite unless told otherwise; `false` when it is time to stop.
    async fn ready(
        &mut self,
        config: &ServeConfig,
        events: &mut mpsc::Receiver<Event>,
    ) -> Result<bool, Failure> {
        let mut token = None;
        if config.invite {
            let (reply, mut answer) = oneshot::channel();
            let role = if self.hub.roll().is_empty() {
                "admin"
            } else {
                "member"
            };
            let (role, ttl_s) = (role.to_owned(), 24 * 3_600);
            let call = AdminCall::Invite {
                name: None,
                role,
                uses: 1,
                ttl_s,
            };
            self.on_event(Event::Admin(call, reply));
            let answer = loop {
                if let Ok(answer) = answer.try_recv() {
                    break answer;
                }
                let Some(event) = events.recv().await else {
                    break Ok(Value::Null);
                };
                if self.on_event(event) {
                    return Ok(false);
                }
                if let Some(failure) = self.failed.take() {
                    return Err(failure);
                }
            };
            // On a full disk there is no invite; reading and removing go on.
            let answer = match answer {
                Err(failure) if failure.id != "NO_SPACE" => return Err(failure),
                answer => answer.unwrap_or(Value::Null),
            };
            token = answer["token"].as_str().map(str::to_owned);
        }
        let hash = self.custody.ca.public_key_hash();
        let ready = docs::Ready {
            schema: docs::Ready::SCHEMA.to_owned(),
            listen: self.listen.clone(),
            team: self.custody.team_name.clone(),
            team_id: self.custody.team.to_string(),
            ca: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            ca_words: words(&hash, 4),
            token,
            state_dir: config.state_dir.display().to_string(),
            pid: std::process::id(),
        };
        self.say(serde_json::to_value(ready).unwrap_or(Value::Null));
        Ok(true)
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono_ms: self.clock.mono_ms(),
            wall_ms: self.clock.wall_ms(),
        }
    }

    /// Handles one event; `true` when it is time to stop.
    fn on_event(&mut self, event: Event) -> bool {
        match event {
            Event::Admin(call, reply) => admin::handle(self, call, reply),
            Event::Broken(link, error) => self.close(link, Code::DECODE, &error.to_string()),
            Event::Incoming(incoming) => self.connected(*incoming),
            Event::Link(link, event) => self.on_link(link, event),
            Event::Pushed(input) => self.tell(input),
            Event::Stop => return true,
            Event::Wal(wal::Outcome::Stored {
                batch,
                first_lsn,
                count,
            }) => {
                self.tell(Input::Stored {
                    batch,
                    first_lsn,
                    count,
                });
            }
            Event::Wal(wal::Outcome::Failed { detail }) => {
                // What was synced is known only after the next start has read it from the disk.
                self.failed = Some(Failure::new(
                    "AE-STORAGE",
                    Exit::STORAGE,
                    format!("the log: {detail}"),
                ));
            }
        }
        false
    }

    fn connected(&mut self, incoming: Incoming) {
        self.link_last += 1;
        let link = LinkId(self.link_last);
        let Incoming {
            stream,
            identity,
            remote,
            exporter,
            slot,
        } = incoming;
        let (handle, _, mut received) =
            link::spawn(stream, Side::Server, identity.is_none(), &[], self.clock);
        self.links.insert(link, handle);
        self.remotes.insert(link, slot);
        let events = self.events.clone();
        tokio::spawn(async move {
            while let Some(event) = received.recv().await {
                // Signatures are checked here, on whichever core is free, not in the loop.
                let event = match event {
                    LinkEvent::Message {
                        stream,
                        kind: FrameType::PATCH_PUSH,
                        payload,
                    } => match check_push(&payload) {
                        Ok((log, entries)) => Event::Pushed(Input::Pushed {
                            link,
                            stream,
                            log,
                            entries,
                        }),
                        Err(error) => Event::Broken(link, error),
                    },
                    other => Event::Link(link, other),
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
        });
        let remote = remote.to_string();
        self.tell(match identity {
            Some(identity) => Input::Connected {
                link,
                peer: identity.peer,
                exporter,
                remote,
            },
            None => Input::Enrolling {
                link,
                exporter,
                remote,
            },
        });
    }

    fn on_link(&mut self, link: LinkId, event: LinkEvent) {
        match event {
            LinkEvent::Message {
                stream,
                kind,
                payload,
            } => match Message::decode(kind, payload) {
                Ok(message) => self.tell(Input::Received {
                    link,
                    stream,
                    message,
                }),
                Err(error) => self.close(link, Code::DECODE, &error.to_string()),
            },
            LinkEvent::Drained => self.tell(Input::Drained { link }),
            LinkEvent::StreamReset { stream, .. } => self.tell(Input::StreamReset { link, stream }),
            LinkEvent::Closed { .. } => {
                self.links.remove(&link);
                self.remotes.remove(&link);
                self.tell(Input::Disconnected { link });
            }
        }
    }

    /// Tells the engine, then does what it orders.
    pub(crate) fn tell(&mut self, input: Input) {
        let now = self.now();
        self.hub.handle(now, input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Answer { request, result } => admin::answer(self, request, result),
                Output::Append {
                    batch,
                    records,
                    is_urgent,
                } => {
                    // The thread is gone only after it reported that the disk failed.
                    self.wal
                        .send(wal::Batch {
                            number: batch,
                            records,
                            is_urgent,
                        })
                        .ok();
                }
                Output::Close { link, code, detail } => self.close(link, code, &detail),
                Output::Feed {
                    link,
                    stream,
                    log,
                    from,
                    to,
                    with_checkpoint,
                } => {
                    self.feeds.push_back(Order {
                        link,
                        stream,
                        log,
                        range: (from, to),
                        with_checkpoint,
                    });
                }
                Output::Issue {
                    ticket,
                    csr,
                    subject,
                } => self.issue(ticket, &csr, subject),
                Output::Notice { kind, who, text } => self.notice(kind, &who, &text),
                Output::Send {
                    link,
                    stream,
                    message,
                } => self.send(link, stream, &message),
                Output::Tell { links, messages } => {
                    let messages: Vec<_> = messages.iter().map(Message::encode).collect();
                    for handle in links.iter().filter_map(|link| self.links.get(link)) {
                        handle.send_all(0, &messages);
                    }
                }
            }
        }
    }

    fn send(&mut self, link: LinkId, stream: u32, message: &Message) {
        let Some(handle) = self.links.get(&link) else {
            return;
        };
        let (kind, payload) = message.encode();
        handle.send_all(stream, &[(kind, payload)]);
        // Behind what it waits for, which nothing may overtake.
        if matches!(message, Message::Welcome(_)) {
            handle.authenticated();
            self.remotes.remove(&link);
        }
        if matches!(message, Message::RelayClose(_)) && stream != 0 {
            handle.finish(stream);
        }
    }

    fn feed_some(&mut self) {
        let count = self.feeds.len().min(FEEDS_AT_ONCE);
        for order in self.feeds.drain(..count).collect::<Vec<_>>() {
            self.feed(&order);
        }
    }

    fn feed(&mut self, order: &Order) {
        let Order {
            link,
            stream,
            log,
            range,
            with_checkpoint,
        } = *order;
        let Some(handle) = self.links.get(&link) else {
            return;
        };
        match self.feed.run(&self.hub, log, range, with_checkpoint) {
            Ok(Some((bytes, up_to))) => {
                // A stream that is all but empty does not wait for what others have queued; one that has ended
                // takes nothing any more.
                let queued = handle.send(stream, FrameType::WAL_EVENT, bytes);
                let has_room = queued.is_some_and(|queued| {
                    queued <= SEND_QUEUE_BYTES_MAX || handle.queued_on(stream) <= FRAGMENT_BYTES
                });
                self.tell(Input::Fed {
                    link,
                    stream,
                    log,
                    up_to,
                    has_room,
                });
            }
            Ok(None) => self.corrupt(format!("entry {} of {log} is not there", range.0)),
            Err(error) => self.corrupt(chain(&error)),
        }
    }

    fn corrupt(&mut self, why: String) {
        self.failed = Some(Failure::new("AE-WAL-CORRUPT", Exit::INTEGRITY, why));
    }

    fn issue(&mut self, ticket: u64, csr: &[u8], subject: aura_engine::hub::IssueSubject) {
        let aura_engine::hub::IssueSubject {
            team,
            role,
            peer,
            name,
            ttl_s,
        } = subject;
        let subject = Subject {
            team,
            role,
            peer,
            name,
        };
        let issued = self
            .custody
            .ca
            .issue(csr, &subject, random(), unix_seconds(), ttl_s);
        let issued = issued.ok().and_then(|certificate| {
            let not_after_s = CertIdentity::from_der(&certificate).ok()?.not_after_s;
            Some(Issued {
                certificate,
                not_after_s,
            })
        });
        let now = self.now();
        self.hub.handle(now, Input::Issued { ticket, issued });
    }

    fn notice(&mut self, kind: &str, who: &str, text: &str) {
        if kind == "revoked" {
            let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
            let removed = self
                .hub
                .roll()
                .iter()
                .filter(|member| member.revoked.is_some());
            revoked.extend(removed.map(|member| member.admitted.peer));
        }
        tracing::info!(kind, who, text, "notice");
        let event = docs::BoxEvent {
            schema: docs::BoxEvent::SCHEMA.to_owned(),
            at: rfc3339(self.clock.wall_ms()),
            kind: kind.to_owned(),
            who: who.to_owned(),
            text: text.to_owned(),
        };
        self.say(serde_json::to_value(event).unwrap_or_default());
    }

    fn say(&self, line: Value) {
        if self.lines.try_send(line).is_err() {
            tracing::warn!("nobody reads the lines; one was dropped");
        }
    }

    fn close(&mut self, link: LinkId, code: Code, detail: &str) {
        if let Some(handle) = self.links.get(&link) {
            handle.close(code, detail);
        }
    }

    fn drain(&mut self) {
        for handle in self.links.values() {
            handle.close(
                Code::DRAINING,
                "the mothership stops; come back in a moment",
            );
        }
    }
}

/// Addresses that an invite can name. Listening on all interfaces says nothing about how others reach us: then it
/// is the address that the system would use towards the outside, and loopback for clones on this machine.
fn reachable_as(local: SocketAddr) -> Vec<String> {
    if !local.ip().is_unspecified() {
        return vec![local.to_string()];
    }
    // Connecting a datagram socket sends nothing; it only asks the routing table. The address is one that
    // RFC 5737 keeps for documentation.
    let outward = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket
            .connect("192.0.2.1:9")
            .and_then(|()| socket.local_addr())
    });
    let mut addresses: Vec<String> = outward
        .ok()
        .filter(|outward| !outward.ip().is_unspecified() && !outward.ip().is_loopback())
        .map(|outward| SocketAddr::new(outward.ip(), local.port()).to_string())
        .into_iter()
        .collect();
    addresses.push(format!("127.0.0.1:{}", local.port()));
    addresses
}

fn stop_on_signal(events: mpsc::Sender<Event>) {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let Ok(mut signals) = signal(kind) else {
            continue;
        };
        let events = events.clone();
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                events.send(Event::Stop).await.ok();
            }
        });
    }
}

async fn until(clock: Clock, mono_ms: Option<u64>) {
    match mono_ms {
        Some(at) => tokio::time::sleep_until(clock.at(at).into()).await,
        None => std::future::pending().await,
    }
}

fn open_failure(error: &OpenError) -> Failure {
    let (id, exit) = match error {
        OpenError::Corrupt(_) => ("AE-WAL-CORRUPT", Exit::INTEGRITY),
        OpenError::Locked { .. } => ("LOCKED", Exit::LOCKED),
        OpenError::NoSpace { .. } => ("NO_SPACE", Exit::BUSY),
        _ => ("AE-STORAGE", Exit::STORAGE),
    };
    Failure::new(id, exit, chain(error)).next("mothership wal verify", "see what is on the disk")
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
