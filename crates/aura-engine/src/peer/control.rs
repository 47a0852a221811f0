//! The control link to the Mothership as a machine: dial, introduce, keep alive, renew the certificate, come back.
//!
//! Invariants:
//! - AUTH is sent only after the server's HELLO, everything else only after WELCOME;
//! - attempts are spaced 1, 2, 4, 8, 16, 30, 30 … seconds with jitter of a fifth, from the seed;
//! - silence for three heartbeats ends the link;
//! - one that does not answer for five seconds is doubted: meanwhile neighbours are told what it was told;
//! - a certificate is renewed from half its life on, a tenth of it sooner or later, so that a team does not come at once.

use std::collections::VecDeque;

use aura_proto::{
    Code, Digest, LogId, SignedReach,
    limits::{HEARTBEAT_MS, HEARTBEATS_MISSED_MAX},
    message::{
        Auth, Heartbeat, Hello, Message, PeerEvent, RenewGrant, RenewRequest, VERSION_MAX,
        VERSION_MIN, Welcome, feature,
    },
};
use aura_trust::{IdentityKey, RenewTranscript, auth_proof, proof::Side, renew_proof};

use crate::Now;

/// Longest pause between attempts in milliseconds.
pub const BACKOFF_MS_MAX: u64 = 30_000;

/// A Mothership that was told something and has said nothing for so long is doubted, in milliseconds: longer than a disk
/// takes to sync, shorter than a person waits.
pub const DOUBT_MS: u64 = 5_000;

/// Longest heartbeat period that a Mothership can ask for: a day.
const HEARTBEAT_MS_MAX: u64 = 86_400_000;
/// A renewal that was refused or not answered is asked for again after this part of the certificate's life.
const RENEWAL_TRIES: u64 = 20;

/// The certificate in use, and what a fresh one is asked for with.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Seconds since 1970 when it was issued.
    pub issued_s: u64,
    /// Seconds since 1970 when it ends.
    pub ends_s: u64,
    /// PKCS#10 request (DER) for the same TLS key.
    pub csr: Vec<u8>,
}

/// What happens to the link.
#[derive(Debug)]
pub enum Input {
    /// From now on the device shows this certificate.
    Certified(Leaf),
    /// The dial succeeded and TLS verified the Mothership.
    Dialed {
        /// TLS exporter value of the session.
        exporter: [u8; 32],
    },
    /// The dial failed, or the link ended.
    Down {
        /// Why, if the other side said so.
        code: Option<Code>,
        /// For people.
        detail: String,
    },
    /// A message of the control stream.
    Received(Message),
    /// Anything of another stream.
    Heard,
    /// The Mothership was sent something that it answers.
    Asked,
    /// Somebody asks to dial now.
    Reconnect,
    /// A deadline passed.
    Tick,
}

/// What the link wants.
#[derive(Debug)]
pub enum Output {
    /// Dial the Mothership.
    Dial,
    /// Close the link.
    Close(Code),
    /// Send on the control stream.
    Send(Message),
    /// The link is ready.
    Up(Welcome),
    /// The link is down; the next attempt is at the deadline unless `code` is final.
    Down {
        /// Why, if the other side said so.
        code: Option<Code>,
        /// For people.
        detail: String,
    },
    /// Whether the Mothership is doubted from now on.
    Doubt(bool),
    /// The peer list or a change of it.
    Peer(PeerEvent),
    /// A fresh certificate, to be checked, kept, and told with [`Input::Certified`].
    Renewed(RenewGrant),
    /// Round trip of a heartbeat in milliseconds.
    Rtt(u64),
    /// The Mothership's heads, as told by a heartbeat.
    Heads(Vec<(LogId, u64, u64, Digest)>),
    /// A message that the replicas or the daemon act on.
    Deliver(Message),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting {
        until_ms: u64,
    },
    Dialing,
    Greeting,
    Proving,
    Ready {
        beat_at_ms: u64,
        heard_ms: u64,
        sent_at_ms: u64,
    },
    /// The identity is refused for good; only a person can change that.
    Barred,
}

/// The control link.
pub struct Control {
    key: IdentityKey,
    reach: Option<SignedReach>,
    agent: String,
    state: State,
    exporter: [u8; 32],
    attempts: u32,
    nonce: u64,
    random: u64,
    heartbeat_ms: u64,
    heads: Vec<(LogId, u64, u64, Digest)>,
    leaf: Option<Leaf>,
    /// Wall clock in milliseconds when a fresh certificate is wanted.
    renew_at_ms: u64,
    /// Since when an answer is waited for.
    asked_ms: Option<u64>,
    is_doubted: bool,
    outputs: VecDeque<Output>,
}

impl Control {
    /// A link that dials at once. `seed` feeds the jitter.
    pub fn new(now: Now, key: IdentityKey, agent: String, seed: u64) -> Self {
        Self {
            key,
            reach: None,
            agent,
            state: State::Waiting {
                until_ms: now.mono_ms,
            },
            exporter: [0; 32],
            attempts: 0,
            nonce: 0,
            random: seed | 1,
            heartbeat_ms: HEARTBEAT_MS,
            heads: Vec::new(),
            leaf: None,
            renew_at_ms: u64::MAX,
            asked_ms: None,
            is_doubted: false,
            outputs: VecDeque::new(),
        }
    }

    /// Whether the link is ready.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Whether the identity was refused for good.
    pub fn is_barred(&self) -> bool {
        self.state == State::Barred
    }

    /// The verified heads that the next heartbeats carry.
    pub fn set_heads(&mut self, heads: Vec<(LogId, u64, u64, Digest)>) {
        self.heads = heads;
    }

    /// Tells the Mothership where this device is, now and at each link from now on.
    pub fn set_reach(&mut self, said: SignedReach) {
        if self.is_up() {
            let said = Message::Reach(vec![said.clone()]);
            self.outputs.push_back(Output::Send(said));
        }
        self.reach = Some(said);
    }

    /// Whether the Mothership hears this announcement, or a newer one.
    pub fn has_reach(&self, counter: u64) -> bool {
        let known = self.reach.as_ref();
        known.is_some_and(|known| counter <= known.reach.counter)
    }

    /// Applies one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Certified(leaf) => self.certified(leaf),
            Input::Dialed { exporter } => {
                self.exporter = exporter;
                self.state = State::Greeting;
                self.outputs
                    .push_back(Output::Send(Message::Hello(self.hello())));
            }
            Input::Down { code, detail } => self.down(now, code, detail),
            Input::Received(message) => self.received(now, message),
            Input::Heard => self.heard(now),
            Input::Asked if self.is_up() => {
                self.asked_ms.get_or_insert(now.mono_ms);
            }
            Input::Asked => {}
            Input::Reconnect => {
                if matches!(self.state, State::Waiting { .. } | State::Barred) {
                    self.attempts = 0;
                    self.state = State::Waiting {
                        until_ms: now.mono_ms,
                    };
                    self.tick(now);
                }
            }
            Input::Tick => self.tick(now),
        }
    }

    /// Takes the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When a tick is wanted, on the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        match self.state {
            State::Waiting { until_ms } => Some(until_ms),
            State::Ready {
                beat_at_ms,
                heard_ms,
                ..
            } => {
                let at = beat_at_ms.min(self.silent_at_ms(heard_ms));
                Some(self.doubt_at_ms().map_or(at, |doubt| at.min(doubt)))
            }
            State::Barred | State::Dialing | State::Greeting | State::Proving => None,
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: feature::ALL,
            agent: self.agent.clone(),
            revocation_epoch: 0,
        }
    }

    /// When silence since `heard_ms` has lasted too long.
    fn silent_at_ms(&self, heard_ms: u64) -> u64 {
        heard_ms + u64::from(HEARTBEATS_MISSED_MAX) * self.heartbeat_ms
    }

    /// When an answer is late, if one is waited for and that is not told yet.
    fn doubt_at_ms(&self) -> Option<u64> {
        let asked_ms = self.asked_ms.filter(|_| !self.is_doubted);
        asked_ms.map(|asked_ms| asked_ms + DOUBT_MS)
    }

    fn doubt(&mut self, is_doubted: bool) {
        if self.is_doubted != is_doubted {
            self.is_doubted = is_doubted;
            self.outputs.push_back(Output::Doubt(is_doubted));
        }
    }

    fn heard(&mut self, now: Now) {
        if let State::Ready { heard_ms, .. } = &mut self.state {
            *heard_ms = now.mono_ms;
        }
        self.asked_ms = None;
        self.doubt(false);
    }

    // spec: session/2.1, session/2.5
    fn received(&mut self, now: Now, message: Message) {
        self.heard(now);
        match (self.state, message) {
            (_, Message::Error(refusal)) => {
                self.outputs
                    .push_back(Output::Deliver(Message::Error(refusal)));
            }
            (State::Greeting, Message::Hello(hello)) => {
                if hello.version_max < VERSION_MIN || VERSION_MAX < hello.version_min {
                    self.outputs.push_back(Output::Close(Code::VERSION));
                    return;
                }
                let auth = Auth {
                    peer: self.key.peer(),
                    signature: auth_proof(&self.key, &self.exporter, Side::Dialler).to_vec(),
                    reach: self.reach.clone(),
                };
                self.state = State::Proving;
                self.outputs.push_back(Output::Send(Message::Auth(auth)));
            }
            (State::Proving, Message::Welcome(welcome)) => {
                self.attempts = 0;
                self.heartbeat_ms = welcome.heartbeat_ms.clamp(100, HEARTBEAT_MS_MAX);
                self.outputs.push_back(Output::Up(welcome));
                self.beat(now, now.mono_ms);
                self.renew(now);
            }
            (State::Ready { sent_at_ms, .. }, Message::HeartbeatAck(ack)) => {
                if ack.nonce == self.nonce {
                    self.outputs
                        .push_back(Output::Rtt(now.mono_ms.saturating_sub(sent_at_ms)));
                }
                self.outputs.push_back(Output::Heads(ack.heads));
            }
            (State::Ready { .. }, Message::RenewGrant(grant)) => {
                self.outputs.push_back(Output::Renewed(grant));
            }
            (State::Ready { .. }, Message::Peer(event)) => {
                self.outputs.push_back(Output::Peer(event));
            }
            (State::Ready { .. }, message) => self.outputs.push_back(Output::Deliver(message)),
            (
                State::Barred
                | State::Dialing
                | State::Greeting
                | State::Proving
                | State::Waiting { .. },
                _,
            ) => self.outputs.push_back(Output::Close(Code::PROTOCOL)),
        }
    }

    fn down(&mut self, now: Now, code: Option<Code>, detail: String) {
        let is_final = matches!(code, Some(Code::REVOKED | Code::UNKNOWN_PEER));
        self.state = if is_final {
            State::Barred
        } else {
            State::Waiting {
                until_ms: now.mono_ms + self.pause_ms(),
            }
        };
        self.outputs.push_back(Output::Down { code, detail });
        // Who is not there is not doubted.
        self.asked_ms = None;
        self.doubt(false);
    }

    /// The next pause: doubling, capped, with jitter.
    fn pause_ms(&mut self) -> u64 {
        let base = (1_000u64 << self.attempts.min(5)).min(BACKOFF_MS_MAX);
        self.attempts = self.attempts.saturating_add(1);
        self.about(base, base / 5)
    }

    /// `base`, at most `spread` more or less.
    fn about(&mut self, base: u64, spread: u64) -> u64 {
        // xorshift64: only to spread peers out, never for secrets.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        base - spread + self.random % (2 * spread + 1)
    }

    // spec: identity/4.2
    fn certified(&mut self, leaf: Leaf) {
        let life_ms = leaf.ends_s.saturating_sub(leaf.issued_s) * 1_000;
        let half_ms = self.about(life_ms / 2, life_ms / 10);
        self.renew_at_ms = leaf.issued_s * 1_000 + half_ms;
        self.leaf = Some(leaf);
    }

    /// Asks for a fresh certificate when it is time.
    fn renew(&mut self, now: Now) {
        let Some(leaf) = self
            .leaf
            .as_ref()
            .filter(|_| self.renew_at_ms <= now.wall_ms)
        else {
            return;
        };
        let life_ms = leaf.ends_s.saturating_sub(leaf.issued_s) * 1_000;
        self.renew_at_ms = now.wall_ms + life_ms / RENEWAL_TRIES;
        let transcript = RenewTranscript {
            peer: self.key.peer(),
            csr: &leaf.csr,
            exporter: &self.exporter,
        };
        let request = RenewRequest {
            peer: self.key.peer(),
            csr: leaf.csr.clone(),
            identity_proof: renew_proof(&self.key, &transcript).to_vec(),
        };
        self.outputs
            .push_back(Output::Send(Message::RenewRequest(request)));
    }

    fn tick(&mut self, now: Now) {
        if self.doubt_at_ms().is_some_and(|at| at <= now.mono_ms) {
            self.doubt(true);
        }
        match self.state {
            State::Waiting { until_ms } if until_ms <= now.mono_ms => {
                self.state = State::Dialing;
                self.outputs.push_back(Output::Dial);
            }
            State::Ready { heard_ms, .. } if self.silent_at_ms(heard_ms) <= now.mono_ms => {
                // The shell reports the end of the link; until then nothing is expected of it.
                self.state = State::Dialing;
                self.outputs.push_back(Output::Close(Code::TIMEOUT));
            }
            State::Ready {
                beat_at_ms,
                heard_ms,
                ..
            } if beat_at_ms <= now.mono_ms => {
                self.beat(now, heard_ms);
                self.renew(now);
            }
            State::Barred
            | State::Dialing
            | State::Greeting
            | State::Proving
            | State::Ready { .. }
            | State::Waiting { .. } => {}
        }
    }

    fn beat(&mut self, now: Now, heard_ms: u64) {
        self.nonce += 1;
        let beat = Heartbeat {
            nonce: self.nonce,
            heads: self.heads.clone(),
        };
        self.state = State::Ready {
            beat_at_ms: now.mono_ms + self.heartbeat_ms,
            heard_ms,
            sent_at_ms: now.mono_ms,
        };
        self.outputs
            .push_back(Output::Send(Message::Heartbeat(beat)));
    }
}
