//! The loop that drives one link: bytes in, frames out, one timer.
//!
//! Invariants:
//! - reading and writing never wait for each other, so two links that send at once both get on;
//! - what waits for the owner is bounded: while its inbox is full no credit is given, and reading stops once
//!   stream 0, which has no window, is behind; until then grants for this side still get through;
//! - a connection that takes nothing for [`STALLED_MS_MAX`], and a reader that grants nothing, end the link;
//! - the last event is always [`LinkEvent::Closed`], and there is exactly one.

mod outgoing;

use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aura_proto::{
    Code,
    frame::FrameType,
    limits::{MESSAGE_BYTES_MAX, SEND_QUEUE_BYTES_MAX, STALLED_MS_MAX},
    session::{Class, ClosedBy, Event, SendError, Session, Side},
};
use bytes::Bytes;
use rustls::{AlertDescription, Error};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{Notify, mpsc},
    time::Sleep,
};

use crate::{clock::Clock, dial::tls_error};
use outgoing::Outgoing;

/// Bytes of a read while little arrives; an idle link holds no more.
const READ_BYTES_MIN: usize = 4 << 10;
/// Bytes of a read while much arrives.
const READ_BYTES_MAX: usize = 64 << 10;
/// Small reads in a row after which a large buffer is given back.
const QUIET_READS: u8 = 32;
/// Messages that wait for the owner.
const INBOX: usize = 64;
/// How long a good-bye may take, in milliseconds.
const LINGER_MS: u64 = 1_000;

/// What happens on a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// A whole message.
    Message {
        /// On which stream.
        stream: u32,
        /// Its type.
        kind: FrameType,
        /// Still encoded.
        payload: Bytes,
    },
    /// The other side gave a stream up.
    StreamReset {
        /// Which.
        stream: u32,
        /// Why.
        code: Code,
    },
    /// What was queued had passed [`SEND_QUEUE_BYTES_MAX`] and has drained below half of it.
    Drained,
    /// The link is over; the last event.
    Closed {
        /// Why.
        code: Code,
        /// For people; never trusted.
        detail: String,
        /// Whether the other side said so.
        by_peer: bool,
    },
}

struct State {
    session: Session,
    /// Whether the queue passed its limit and the owner waits to hear that it drained.
    was_over: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the link when the last handle is gone.
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.lock().session.close(Code::BYE, "");
        self.shared.wake.notify_one();
    }
}

/// Bytes queued towards one link at which it is closed: four of the longest messages.
pub const QUEUED_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// The owner's end of a link. Cheap to clone; the link ends with the last of them.
#[derive(Clone)]
pub struct LinkHandle {
    owner: Arc<Owner>,
}

impl LinkHandle {
    /// Queues a message; answers how many bytes are queued now. Never blocks.
    ///
    /// What cannot be sent any more, because link or stream have ended, is dropped, and the answer is none. Whoever has
    /// much to say minds [`SEND_QUEUE_BYTES_MAX`]; a link that does not take [`QUEUED_BYTES_MAX`] is closed, since that
    /// is a way to fill our memory.
    pub fn send(&self, stream: u32, kind: FrameType, payload: Bytes) -> Option<usize> {
        self.send_all(stream, &[(kind, payload)])
    }

    /// Queues several messages like [`LinkHandle::send`], under one lock and with one wake.
    pub fn send_all(&self, stream: u32, messages: &[(FrameType, Bytes)]) -> Option<usize> {
        let mut state = self.owner.shared.lock();
        for (kind, payload) in messages {
            if let Err(error) = state.session.send(stream, *kind, payload.clone()) {
                tracing::debug!(%error, stream, "not sent");
                if matches!(error, SendError::TooLarge { .. }) {
                    // Whoever waits for it would wait for ever.
                    state
                        .session
                        .close(Code::TOO_LARGE, "a message is over its limit");
                    self.owner.shared.wake.notify_one();
                }
                return None;
            }
        }
        let queued = state.session.queued_total();
        state.was_over |= SEND_QUEUE_BYTES_MAX < queued;
        if QUEUED_BYTES_MAX < queued {
            (state.session).close(Code::RATE, "what is sent is not taken");
        }
        drop(state);
        self.owner.shared.wake.notify_one();
        Some(queued)
    }

    /// Opens a stream; see [`Session::open_stream`].
    pub fn open_stream(&self, class: Class) -> Result<u32, Code> {
        self.order(|session| session.open_stream(class))
    }

    /// Ends this side's half of a stream behind what is queued on it.
    pub fn finish(&self, stream: u32) {
        self.order(|session| session.finish(stream));
    }

    /// Gives a stream up in both directions.
    pub fn reset(&self, stream: u32, code: Code) {
        self.order(|session| session.reset(stream, code));
    }

    /// Bytes queued and not yet handed to the connection.
    pub fn queued(&self) -> usize {
        self.owner.shared.lock().session.queued_total()
    }

    /// Bytes queued on one stream and not yet handed to the connection.
    pub fn queued_on(&self, stream: u32) -> usize {
        self.owner.shared.lock().session.queued_bytes(stream)
    }

    /// Lifts the caps that hold before authentication.
    pub fn authenticated(&self) {
        self.order(Session::authenticated);
    }

    /// Ends the link, telling the other side why.
    pub fn close(&self, code: Code, detail: &str) {
        self.order(|session| session.close(code, detail));
    }

    fn order<T>(&self, order: impl FnOnce(&mut Session) -> T) -> T {
        let result = order(&mut self.owner.shared.lock().session);
        self.owner.shared.wake.notify_one();
        result
    }
}

/// Starts to drive a link; `streams` are opened at once, in order, and their numbers returned.
///
/// Must be called within a Tokio runtime.
pub fn spawn<S>(
    stream: S,
    side: Side,
    is_join: bool,
    streams: &[Class],
    clock: Clock,
) -> (LinkHandle, Vec<u32>, mpsc::Receiver<LinkEvent>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let now = clock.mono_ms();
    let mut session = if is_join {
        Session::join(side, now)
    } else {
        Session::new(side, now)
    };
    let numbers = streams
        .iter()
        .filter_map(|class| session.open_stream(*class).ok())
        .collect();
    let (sender, events) = mpsc::channel(INBOX);
    let handle = drive(stream, session, LinkConfig::new(clock), sender);
    (handle, numbers, events)
}

/// Time of a link.
#[derive(Debug, Clone, Copy)]
pub struct LinkConfig {
    /// The clock of the session and of the deadlines.
    pub clock: Clock,
    /// How long the connection may take nothing, or its reader grant nothing, before it is cut, in milliseconds.
    pub stalled_ms: u64,
}

impl LinkConfig {
    /// The deadlines of the protocol.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            stalled_ms: STALLED_MS_MAX,
        }
    }
}

/// Starts to drive `session` over `stream`; events go to `events`, whose capacity bounds what waits.
///
/// Must be called within a Tokio runtime.
pub fn drive<S>(
    stream: S,
    session: Session,
    config: LinkConfig,
    events: mpsc::Sender<LinkEvent>,
) -> LinkHandle
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let state = Mutex::new(State {
        session,
        was_over: false,
    });
    let shared = Arc::new(Shared {
        state,
        wake: Notify::new(),
    });
    let (read, write) = tokio::io::split(stream);
    let driver = Driver {
        shared: Arc::clone(&shared),
        clock: config.clock,
        stalled_ms: config.stalled_ms,
        events,
        outgoing: Outgoing::default(),
        has_drained: false,
        is_closed: false,
        written_ms: config.clock.mono_ms(),
        starved: None,
        linger_until_ms: None,
    };
    tokio::spawn(driver.run(read, write));
    LinkHandle {
        owner: Arc::new(Owner { shared }),
    }
}

/// Where bytes arrive; large only while much does.
struct Inlet {
    buffer: Vec<u8>,
    /// Small reads in a row.
    quiet: u8,
}

impl Inlet {
    fn adapt(&mut self, count: usize) {
        if count == self.buffer.len() && count < READ_BYTES_MAX {
            self.buffer.resize(READ_BYTES_MAX, 0);
        }
        self.quiet = if count < READ_BYTES_MIN {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        if QUIET_READS < self.quiet && READ_BYTES_MIN < self.buffer.len() {
            self.buffer = vec![0; READ_BYTES_MIN];
        }
    }
}

/// What the driver is to do next.
struct Turn {
    /// Whether reading has stopped because the owner is behind.
    has_stopped: bool,
    /// Whether anything waits for room in the owner's inbox.
    has_news: bool,
    wants_input: bool,
    wake_ms: Option<u64>,
}

struct Driver {
    shared: Arc<Shared>,
    clock: Clock,
    stalled_ms: u64,
    events: mpsc::Sender<LinkEvent>,
    outgoing: Outgoing,
    has_drained: bool,
    /// Whether [`LinkEvent::Closed`] was handed over.
    is_closed: bool,
    /// When the connection last took something.
    written_ms: u64,
    /// Since when nothing that needs a grant has left although something waits, and what had left by then.
    starved: Option<(u64, u64)>,
    /// When to stop being polite.
    linger_until_ms: Option<u64>,
}

impl Driver {
    async fn run<S>(mut self, mut read: ReadHalf<S>, mut write: WriteHalf<S>)
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut inlet = Inlet {
            buffer: vec![0; READ_BYTES_MIN],
            quiet: 0,
        };
        let mut alarm = Alarm::new();
        let mut had_stopped = false;
        let (shared, events) = (Arc::clone(&self.shared), self.events.clone());
        // Asked anew only after they came true: a turn is too short to queue up for each of them every time.
        let mut woken = pin!(shared.wake.notified());
        let mut orphaned = pin!(events.closed());
        while let Some(turn) = self.turn() {
            if had_stopped && !turn.has_stopped {
                self.shared
                    .lock()
                    .session
                    .reading_resumed(self.clock.mono_ms());
            }
            had_stopped = turn.has_stopped;
            alarm.set(turn.wake_ms, &self.clock);
            tokio::select! {
                written = self.outgoing.advance(&mut write), if !self.outgoing.is_idle() => match written {
                    Ok(()) => self.written_ms = self.clock.mono_ms(),
                    Err(error) => self.write_failed(&error),
                },
                arrived = read.read(&mut inlet.buffer), if turn.wants_input => {
                    self.arrived(arrived, &mut inlet);
                }
                () = room(&events), if turn.has_news => {}
                () = &mut orphaned, if !turn.has_news && !self.is_closed => {
                    orphaned.set(events.closed());
                }
                () = &mut woken => woken.set(shared.wake.notified()),
                () = alarm.rings() => self.tick(turn.has_stopped),
            }
        }
        self.part(read, write).await;
    }

    /// Moves everything that can move without waiting; `None` when the connection has served.
    fn turn(&mut self) -> Option<Turn> {
        let is_blocked = self.deliver();
        let mut state = self.shared.lock();
        while self.outgoing.has_room() {
            let Some(frame) = state.session.poll_transmit() else {
                break;
            };
            if self.outgoing.is_idle() {
                self.written_ms = self.clock.mono_ms();
            }
            self.outgoing.push(frame);
        }
        if state.was_over && state.session.queued_total() < SEND_QUEUE_BYTES_MAX / 2 {
            state.was_over = false;
            self.has_drained = true;
        }
        let (left, waits) = (
            state.session.granted_bytes_sent(),
            state.session.queued_total() != 0,
        );
        self.starved = match self.starved.filter(|(_, before)| waits && *before == left) {
            None if waits => Some((self.clock.mono_ms(), left)),
            starved => starved,
        };
        let starved_ms = self.starved.map(|(since, _)| since + self.stalled_ms);
        let is_over = state.session.is_closed();
        if is_over {
            let until = self.clock.mono_ms() + LINGER_MS;
            let until = *self.linger_until_ms.get_or_insert(until);
            if self.outgoing.is_idle() || until <= self.clock.mono_ms() {
                return None;
            }
        }
        let stalled_ms = (!self.outgoing.is_idle()).then_some(self.written_ms + self.stalled_ms);
        let has_stopped = is_blocked && state.session.is_behind();
        let deadline_ms = state.session.deadline().filter(|_| !has_stopped);
        Some(Turn {
            has_stopped,
            has_news: is_blocked || self.has_drained,
            wants_input: state.session.wants_input() && !has_stopped,
            wake_ms: [stalled_ms, starved_ms, deadline_ms, self.linger_until_ms]
                .into_iter()
                .flatten()
                .min(),
        })
    }

    /// Hands events over while the owner has room; whether some had to stay.
    fn deliver(&mut self) -> bool {
        loop {
            if !self.has_drained && !self.shared.lock().session.has_event() {
                if self.events.is_closed() {
                    self.shared.lock().session.close(Code::BYE, "");
                }
                return false;
            }
            match self.events.try_reserve() {
                Ok(permit) => {
                    if let Some(event) = next_event(&self.shared, &mut self.has_drained) {
                        self.is_closed |= matches!(event, LinkEvent::Closed { .. });
                        permit.send(event);
                    }
                }
                Err(mpsc::error::TrySendError::Full(())) => return true,
                Err(mpsc::error::TrySendError::Closed(())) => {
                    let mut state = self.shared.lock();
                    state.session.close(Code::BYE, "");
                    while state.session.poll_event().is_some() {}
                    self.has_drained = false;
                    self.is_closed = true;
                    return false;
                }
            }
        }
    }

    fn arrived(&mut self, arrived: io::Result<usize>, inlet: &mut Inlet) {
        let mut state = self.shared.lock();
        match arrived {
            Ok(0) => state
                .session
                .transport_ended(Code::BYE, "the connection ended"),
            Ok(count) => {
                let bytes = &inlet.buffer[..count];
                state.session.receive(self.clock.mono_ms(), bytes);
                inlet.adapt(count);
            }
            Err(error) => match refusal_of(&error) {
                Some(code) => state.session.refused_below(code, &plain(&error)),
                None => state.session.transport_ended(Code::BYE, &plain(&error)),
            },
        }
    }

    /// The reason may still be readable, so reading goes on for a moment.
    fn write_failed(&mut self, error: &io::Error) {
        tracing::debug!(%error, "cannot write to the link");
        self.outgoing.clear();
        let now = self.clock.mono_ms();
        let mut state = self.shared.lock();
        if state.session.is_closed() || !state.session.wants_input() {
            state.session.transport_ended(Code::BYE, &plain(error));
            self.linger_until_ms = Some(now);
        } else {
            self.linger_until_ms.get_or_insert(now + LINGER_MS);
        }
    }

    fn tick(&mut self, has_stopped: bool) {
        let now = self.clock.mono_ms();
        let mut state = self.shared.lock();
        if !self.outgoing.is_idle() && self.written_ms + self.stalled_ms <= now {
            self.outgoing.clear();
            self.linger_until_ms = Some(now);
            state
                .session
                .transport_ended(Code::TIMEOUT, "nothing could be written");
        } else if self.linger_until_ms.is_some_and(|until| until <= now) {
            state
                .session
                .transport_ended(Code::BYE, "the connection broke");
        } else if self
            .starved
            .is_some_and(|(since, _)| since + self.stalled_ms <= now)
        {
            state
                .session
                .close(Code::TIMEOUT, "nothing was granted for too long");
        } else if !has_stopped {
            state.session.tick(now);
        }
    }

    /// Says good-bye to the connection and to the owner, neither waiting for the other.
    async fn part<S>(self, read: ReadHalf<S>, write: WriteHalf<S>)
    where
        S: AsyncRead + AsyncWrite,
    {
        let left_ms = self
            .linger_until_ms
            .unwrap_or(0)
            .saturating_sub(self.clock.mono_ms());
        let good_bye = tokio::time::timeout(Duration::from_millis(left_ms), leave(read, write));
        let rest = async {
            let mut has_drained = false;
            while let Some(event) = next_event(&self.shared, &mut has_drained) {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        };
        // Both outcomes of the good-bye mean that the connection is done with.
        let (_, ()) = tokio::join!(good_bye, rest);
    }
}

/// Closes the writing half and reads what is under way, so that the reason is not lost to a reset.
async fn leave<S: AsyncRead + AsyncWrite>(mut read: ReadHalf<S>, mut write: WriteHalf<S>) {
    if write.shutdown().await.is_err() {
        return;
    }
    let mut buffer = vec![0; READ_BYTES_MIN];
    while read.read(&mut buffer).await.is_ok_and(|count| 0 < count) {}
}

/// Resolves when the owner's inbox has room, or is gone.
async fn room(events: &mpsc::Sender<LinkEvent>) {
    // Either way the next turn looks for itself.
    drop(events.reserve().await);
}

/// What the owner is told next.
fn next_event(shared: &Shared, has_drained: &mut bool) -> Option<LinkEvent> {
    if std::mem::take(has_drained) {
        return Some(LinkEvent::Drained);
    }
    let mut state = shared.lock();
    loop {
        return Some(match state.session.poll_event()? {
            Event::Message {
                stream,
                kind,
                payload,
            } => LinkEvent::Message {
                stream,
                kind,
                payload,
            },
            Event::Closed { code, detail, by } => LinkEvent::Closed {
                code,
                detail,
                by_peer: by == ClosedBy::Remote,
            },
            Event::StreamReset { stream, code } => LinkEvent::StreamReset { stream, code },
            Event::StreamEnded { .. } => continue,
        });
    }
}

/// The code behind a refusal by TLS: the other side's verifier speaks in alerts.
fn refusal_of(error: &io::Error) -> Option<Code> {
    let Error::AlertReceived(alert) = tls_error(error)? else {
        return None;
    };
    match alert {
        AlertDescription::CertificateRevoked => Some(Code::REVOKED),
        // Not final: a clock may be wrong for a while on either side, and an ended certificate can be renewed.
        AlertDescription::CertificateExpired => None,
        AlertDescription::CertificateRequired
        | AlertDescription::DecryptError
        | AlertDescription::CertificateUnknown
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::UnknownCA => Some(Code::UNKNOWN_PEER),
        _ => None,
    }
}

/// One timer that is only moved when it would ring too late.
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    at_ms: u64,
}

impl Alarm {
    fn new() -> Self {
        Self {
            sleep: None,
            at_ms: u64::MAX,
        }
    }

    fn set(&mut self, at_ms: Option<u64>, clock: &Clock) {
        let Some(at_ms) = at_ms else { return };
        if self.at_ms <= at_ms {
            return;
        }
        self.at_ms = at_ms;
        let at = clock.at(at_ms).into();
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Resolves once at the time set, possibly for a reason that has gone.
    async fn rings(&mut self) {
        match &mut self.sleep {
            Some(sleep) if self.at_ms != u64::MAX => {
                sleep.await;
                self.at_ms = u64::MAX;
            }
            _ => std::future::pending().await,
        }
    }
}

/// What went wrong, without the address of a manual that rustls adds for programmers.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection was cut".to_owned(),
        _ => error.to_string(),
    }
}
