//! A peer reduced to the wire: joins, authenticates, pushes, counts.

use std::sync::Arc;

use aura_net::{Clock, Credentials, LinkEvent, LinkHandle, dial, dial_join, link, tls::Expect};
use aura_proto::{
    Digest, Entry, Header, Incarnation, Kind, LogId, TeamId, VersionVector, Writer,
    entry::PROTOCOL_LEVEL,
    event::{EventRun, encode_push},
    message::{
        Auth, Hello, JoinRequest, Message, Outcome, Role, Subscribe, VERSION_MAX, VERSION_MIN,
        feature,
    },
    session::{Class, Side},
};
use aura_trust::{
    IdentityKey, JoinTranscript, ReceiveKey, TlsKey, Token, auth_proof, identity_proof,
    inspect_join_jwt, seed_proof, sign_entry, sign_receive_key,
};
use tokio::sync::{Semaphore, mpsc};

use crate::{Failure, server::Server};

pub(crate) struct Client {
    key: IdentityKey,
    team: TeamId,
    link: LinkHandle,
    stream: u32,
    events: mpsc::Receiver<LinkEvent>,
    seq: u64,
    last: Digest,
}

fn seed(name: &str, purpose: &str) -> [u8; 32] {
    Digest::of(format!("{purpose}/{name}").as_bytes()).0
}

impl Client {
    pub(crate) async fn join(server: &Server, name: &str) -> Result<Self, Failure> {
        let token = Token::parse(&server.token)?;
        let claims = inspect_join_jwt(&token.jwt).ok_or("the token has no claims")?;
        let key = IdentityKey::from_seed(seed(name, "identity"));
        let tls = TlsKey::from_seed(seed(name, "tls"));
        let receive_key = ReceiveKey::from_seed(seed(name, "receive")).public();
        let clock = Clock::start();
        let dialed = dial_join(&token.endpoints, token.ca_hash).await?;
        let csr = tls.csr();
        let (peer, exporter) = (key.peer(), dialed.exporter);
        let transcript = JoinTranscript {
            jti: &claims.jti,
            peer,
            receive_key: &receive_key,
            csr: &csr,
            exporter: &exporter,
        };
        let request = JoinRequest {
            jwt: token.jwt.to_string(),
            peer,
            name: name.to_owned(),
            receive_key,
            receive_key_signature: sign_receive_key(&key, &receive_key).to_vec(),
            seed_proof: seed_proof(&token.seed, &transcript).to_vec(),
            identity_proof: identity_proof(&key, &transcript).to_vec(),
            csr,
        };
        let (link, _, mut events) = link::spawn(dialed.stream, Side::Client, true, &[], clock);
        send(&link, 0, &Message::JoinRequest(request));
        let Message::JoinGrant(grant) = next(&mut events).await? else {
            return Err("no grant".into());
        };
        let credentials = Credentials {
            certificate: grant.certificate,
            ca: grant.ca,
            key: Arc::new(tls.pkcs8()),
        };
        let expect = Expect {
            role: Role::Mothership,
            peer: Some(grant.checkpoint_key),
        };
        let dialed = dial(&token.endpoints, &credentials, expect, Arc::new(|_| false)).await?;
        let exporter = dialed.exporter;
        let (link, streams, mut events) =
            link::spawn(dialed.stream, Side::Client, false, &[Class::Patch], clock);
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: feature::CHECKPOINTS | feature::VECTORS,
            agent: "bench".to_owned(),
            revocation_epoch: 0,
        };
        send(&link, 0, &Message::Hello(hello));
        next(&mut events).await?;
        let signature = auth_proof(&key, &exporter, aura_trust::Side::Dialler).to_vec();
        send(
            &link,
            0,
            &Message::Auth(Auth {
                peer,
                signature,
                hints: Vec::new(),
            }),
        );
        let Message::Welcome(_) = next(&mut events).await? else {
            return Err("no welcome".into());
        };
        link.authenticated();
        let stream = streams.first().copied().ok_or("no stream")?;
        let team = grant.team;
        Ok(Self {
            key,
            team,
            link,
            stream,
            events,
            seq: 0,
            last: Digest::ZERO,
        })
    }

    /// Pushes one entry and waits until it is durable.
    pub(crate) async fn push(&mut self, bytes: usize) -> Result<(), Failure> {
        let entry = self.entry(bytes)?;
        let run = encode_push(log(), std::iter::once(&entry.bytes()[..]));
        send(&self.link, self.stream, &Message::Push(run));
        loop {
            if let Message::PushAck(ack) = next(&mut self.events).await? {
                return match ack.outcomes.first() {
                    Some((_, Outcome::Stored { .. })) => Ok(()),
                    other => Err(format!("not stored: {other:?}").into()),
                };
            }
        }
    }

    fn entry(&mut self, bytes: usize) -> Result<Entry, Failure> {
        self.seq += 1;
        let header = Header {
            level: PROTOCOL_LEVEL,
            kind: Kind::PATCH,
            flags: 0,
            team: self.team,
            log: log(),
            writer: Writer {
                peer: self.key.peer(),
                incarnation: Incarnation(1),
            },
            author_seq: self.seq,
            prev: self.last,
            lamport: self.seq,
            time_ms: 0,
            fence: 0,
            key_epoch: 1,
            body_len: 0,
            body_hash: Digest::ZERO,
        };
        let entry = sign_entry(&self.key, &header, &vec![7; bytes])?;
        self.last = entry.hash();
        Ok(entry)
    }

    /// Subscribes and adds one permit for each entry that arrives, as long as the link lives.
    pub(crate) fn count_events(self, seen: Arc<Semaphore>) {
        let subscribe = Subscribe {
            log: log(),
            epoch: 0,
            seq: 0,
            hash: Digest::ZERO,
            vector: VersionVector::default(),
            checkpoint: Vec::new(),
        };
        send(&self.link, self.stream, &Message::Subscribe(subscribe));
        let (link, mut events) = (self.link, self.events);
        tokio::spawn(async move {
            while let Ok(message) = next(&mut events).await {
                if let Message::Event(run) = message
                    && let Ok(run) = EventRun::decode(&run)
                {
                    seen.add_permits(run.entries.len());
                }
            }
            drop(link);
        });
    }
}

fn log() -> LogId {
    LogId([7; 16])
}

fn send(link: &LinkHandle, stream: u32, message: &Message) {
    let (kind, payload) = message.encode();
    link.send(stream, kind, payload);
}

async fn next(events: &mut mpsc::Receiver<LinkEvent>) -> Result<Message, Failure> {
    loop {
        match events.recv().await {
            Some(LinkEvent::Message { kind, payload, .. }) => {
                return Ok(Message::decode(kind, payload)?);
            }
            Some(LinkEvent::Drained) => {}
            Some(LinkEvent::Closed { code, detail, .. }) => {
                return Err(format!("closed: {code} {detail}").into());
            }
            None => return Err("the link is gone".into()),
        }
    }
}
