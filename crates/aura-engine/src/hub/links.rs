//! Links of the Mothership: how far each is authenticated, and what it was fed.
//!
//! A subscriber is a cursor and nothing else: live fan-out and catch-up are the same step, so a slow reader
//! costs its cursor, never a queue.
//!
//! Invariants:
//! - nothing is fed to a link that has not authenticated;
//! - a cursor only moves forward and never past what is durable;
//! - a log whose stream is full keeps no other log of its link waiting;
//! - one step at a time is with the shell: what becomes durable meanwhile goes into the next.

use std::collections::BTreeMap;

use aura_proto::{LogId, PeerId, limits::LOGS_PER_LINK_MAX};

/// A link, numbered by the shell, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A subscription of one stream to one log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscription {
    /// Which log.
    pub log: LogId,
    /// Last position fed.
    pub fed: u64,
    /// Whether its stream is full; it is fed again when the shell says that the queue has drained.
    pub is_full: bool,
}

/// How far a link has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connected without a certificate; only admission is served.
    Enrolling,
    /// The certificate is good; HELLO is awaited.
    Hello {
        /// Identity in the certificate.
        peer: PeerId,
    },
    /// HELLO was fine; AUTH is awaited.
    Auth {
        /// Identity in the certificate.
        peer: PeerId,
    },
    /// Everything is open.
    Ready {
        /// Who it is.
        peer: PeerId,
    },
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    /// How far it has come.
    pub stage: Stage,
    /// TLS exporter value that proofs are bound to.
    pub exporter: [u8; 32],
    /// The address that it comes from.
    pub remote: String,
    /// When it must have authenticated, or be heard of next (monotonic milliseconds).
    pub deadline_ms: u64,
    /// Features that both sides have.
    pub features: u64,
    /// Subscriptions by the stream on which they were asked for and are answered: two clones on one device each
    /// follow the same log.
    pub subscriptions: BTreeMap<u32, Subscription>,
    /// Whether it was closed and only its end is awaited.
    pub is_closing: bool,
    /// Whether the shell was told to feed it and has not answered.
    pub is_feeding: bool,
}

impl Link {
    /// A new link.
    pub(super) fn new(stage: Stage, exporter: [u8; 32], remote: String, deadline_ms: u64) -> Self {
        Self {
            stage,
            exporter,
            remote,
            deadline_ms,
            features: 0,
            subscriptions: BTreeMap::new(),
            is_closing: false,
            is_feeding: false,
        }
    }

    /// The authenticated peer, if the link has come that far.
    pub(super) fn ready(&self) -> Option<PeerId> {
        match self.stage {
            Stage::Ready { peer } => Some(peer),
            Stage::Auth { .. } | Stage::Enrolling | Stage::Hello { .. } => None,
        }
    }

    /// Whether the other side understands a feature.
    pub(super) fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// Whether it is fed a log.
    pub(super) fn follows(&self, log: LogId) -> bool {
        let mut logs = self.subscriptions.values();
        logs.any(|subscription| subscription.log == log)
    }

    /// Whether another stream may subscribe.
    pub(super) fn has_room(&self, stream: u32) -> bool {
        self.subscriptions.contains_key(&stream) || self.subscriptions.len() < LOGS_PER_LINK_MAX
    }
}
