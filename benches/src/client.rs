//! A device on the wire of a Mothership, as lean as the client of the compared server.

use std::{collections::VecDeque, sync::Arc};

use aura_net::Clock;
use aura_proto::{
    Digest, LogId, VersionVector,
    entry::entry_len,
    event::encode_push,
    frame::FrameType,
    message::{Auth, Message, Outcome, Subscribe, feature},
    session::{Class, Event, Session, Side},
};
use aura_trust::{auth_proof, sign_entry};
use bytes::Bytes;
use mothership_tests::wire::{Device, hello};

use crate::{
    Failure,
    line::{Heard, Line, Speech},
};

/// Entries that one message carries.
const RUN: usize = aura_proto::limits::ENTRIES_PER_BATCH_MAX;

pub(crate) struct Client {
    device: Arc<Device>,
    exporter: [u8; 32],
    session: Session,
    clock: Clock,
    log: LogId,
    stream: u32,
    /// Number and hash of the last entry made.
    tip: (u64, Digest),
    prepared: VecDeque<Bytes>,
    heard: Heard,
}

impl Client {
    pub(crate) async fn connect(device: Arc<Device>, log: LogId) -> Result<Line<Self>, Failure> {
        let dialed = device.dial().await?;
        let clock = Clock::start();
        let mut session = Session::new(Side::Client, clock.mono_ms());
        let stream = session
            .open_stream(Class::Patch)
            .map_err(|code| code.to_string())?;
        let mut client = Self {
            device,
            exporter: dialed.exporter,
            session,
            clock,
            log,
            stream,
            tip: (0, Digest::ZERO),
            prepared: VecDeque::new(),
            heard: Heard::default(),
        };
        client.send(0, &Message::Hello(hello(feature::ALL)));
        Line::open(dialed.stream, client).await
    }

    /// Makes messages of as many entries as a message may carry; how many wait now.
    pub(crate) fn prepare_runs(&mut self, entries: usize, bytes: usize) -> Result<usize, Failure> {
        self.prepare_by(RUN, entries, bytes)?;
        Ok(self.prepared.len())
    }

    fn prepare_by(&mut self, run: usize, entries: usize, bytes: usize) -> Result<(), Failure> {
        let body = vec![7; bytes];
        let mut made = Vec::new();
        for n in 1..=entries {
            let header = self.device.header(self.log, self.tip.0 + 1, self.tip.1);
            let entry = sign_entry(&self.device.key, &header, &body)?;
            self.tip = (self.tip.0 + 1, entry.hash());
            made.push(entry);
            if made.len() == run || n == entries {
                let run = made.iter().map(|entry| &entry.bytes()[..]);
                self.prepared.push_back(encode_push(self.log, run));
                made.clear();
            }
        }
        Ok(())
    }

    fn send(&mut self, stream: u32, message: &Message) {
        let (kind, payload) = message.encode();
        // A session that ended says so with the next event.
        self.session.send(stream, kind, payload).ok();
    }

    fn take(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Hello(_) => {
                let signature =
                    auth_proof(&self.device.key, &self.exporter, aura_trust::Side::Dialler);
                let auth = Auth {
                    peer: self.device.key.peer(),
                    signature: signature.to_vec(),
                    reach: None,
                };
                self.send(0, &Message::Auth(auth));
            }
            Message::Welcome(_) => {
                self.session.authenticated();
                self.heard.is_ready = true;
            }
            Message::Head(_) => self.heard.is_subscribed = true,
            Message::PushAck(ack) => {
                for (_, outcome) in ack.outcomes {
                    let Outcome::Stored { .. } = outcome else {
                        return Err(format!("not stored: {outcome:?}").into());
                    };
                    self.heard.acks += 1;
                }
            }
            Message::Error(refusal) => return Err(refusal.detail.into()),
            _ => {}
        }
        Ok(())
    }

    /// Counts the entries of a run and looks at their places, nothing else: a server is measured, not a peer.
    fn count(&mut self, run: &[u8]) -> Result<(), Failure> {
        let has_checkpoint = run.get(16) == Some(&1);
        let mut rest = run
            .get(if has_checkpoint { 17 + 136 } else { 17 }..)
            .ok_or("a run ends early")?;
        while let Some((seq, placed)) = rest.split_first_chunk::<8>() {
            self.heard.events += 1;
            if u64::from_be_bytes(*seq) != self.heard.events as u64 {
                return Err("an entry is out of order".into());
            }
            let entry = placed.get(8..).ok_or("a run ends early")?;
            let len = entry_len(entry).ok_or("a run ends early")?;
            rest = entry.get(len..).ok_or("a run ends early")?;
        }
        Ok(())
    }
}

impl Speech for Client {
    fn prepare(&mut self, count: usize, bytes: usize) -> Result<(), Failure> {
        self.prepare_by(1, count, bytes)
    }

    fn publish(&mut self) -> Result<(), Failure> {
        let run = self.prepared.pop_front().ok_or("nothing is prepared")?;
        self.session.send(self.stream, FrameType::PATCH_PUSH, run)?;
        Ok(())
    }

    fn subscribe(&mut self) {
        let subscribe = Subscribe {
            log: self.log,
            epoch: 0,
            seq: 0,
            hash: Digest::ZERO,
            vector: VersionVector::default(),
            checkpoint: Vec::new(),
        };
        self.send(self.stream, &Message::Subscribe(subscribe));
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.session.receive(self.clock.mono_ms(), bytes);
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Message {
                    kind: FrameType::WAL_EVENT,
                    payload,
                    ..
                } => self.count(&payload)?,
                Event::Message { kind, payload, .. } => {
                    self.take(Message::decode(kind, payload)?)?
                }
                Event::Closed { code, detail, .. } => {
                    return Err(format!("closed: {code} {detail}").into());
                }
                Event::StreamEnded { .. } | Event::StreamReset { .. } => {}
            }
        }
        Ok(())
    }

    fn say(&mut self, out: &mut Vec<u8>) {
        while let Some(frame) = self.session.poll_transmit() {
            out.extend_from_slice(&frame.header);
            out.extend_from_slice(&frame.payload);
        }
    }

    fn heard(&self) -> Heard {
        self.heard
    }
}
