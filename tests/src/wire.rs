//! A device reduced to the wire: what any program could send to a Mothership.
//!
//! [`Device`] holds keys and a certificate, [`Wire`] is one authenticated link of it. Tests and benches say with
//! them exactly which frames travel; nothing here decides, retries or keeps anything.

use std::sync::Arc;

use aura_net::{
    Clock, Credentials, Dialed, LinkEvent, LinkHandle, dial, dial_join, link, tls::Expect,
};
use aura_proto::{
    Code, Digest, Entry, Header, Incarnation, Kind, LogId, PeerId, TeamId, VersionVector, Writer,
    entry::PROTOCOL_LEVEL,
    event::{EventRun, encode_push},
    message::{
        Auth, Head, Heartbeat, Hello, JoinGrant, JoinRequest, Message, Outcome, PushAck,
        RenewGrant, RenewRequest, Role, Subscribe, VERSION_MAX, VERSION_MIN, Welcome, feature,
    },
    session::{Class, Side},
};
use aura_trust::{
    IdentityKey, JoinTranscript, ReceiveKey, RenewTranscript, TlsKey, Token, auth_proof,
    identity_proof, inspect_join_jwt, public_key_hash, renew_proof, seed_proof, sign_entry,
    sign_receive_key,
};
use tokio::sync::mpsc;

/// Why something could not be done.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The other side refused, or ended the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub code: Code,
    /// For people.
    pub detail: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused: {} {}", self.code, self.detail)
    }
}

impl std::error::Error for Refused {}

/// The code of a refusal; a panic when it succeeded, or failed in another way.
#[track_caller]
pub fn refused<T>(result: Result<T, Failure>) -> Code {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(failure) => match failure.downcast_ref::<Refused>() {
            Some(refused) => refused.code,
            None => panic!("no refusal: {failure}"),
        },
    }
}

/// Keys and certificate of one device, made from its name.
pub struct Device {
    /// Its name.
    pub name: String,
    /// Identity key.
    pub key: IdentityKey,
    /// TLS key.
    pub tls: TlsKey,
    /// Certificate and CA.
    pub credentials: Credentials,
    /// What the Mothership granted.
    pub grant: JoinGrant,
    /// Where the Mothership is.
    pub endpoints: Vec<String>,
    /// Own entries so far and the hash of the last, for the one log that it writes.
    pub tip: (u64, Digest),
}

fn seed(name: &str, purpose: &str) -> [u8; 32] {
    Digest::of(format!("{purpose}/{name}").as_bytes()).0
}

impl Device {
    /// Joins with a token.
    pub async fn join(token: &str, name: &str) -> Result<Self, Failure> {
        Self::join_with(token, name, |_| {}).await
    }

    /// Joins with a request that `alter` has changed before it is sent.
    pub async fn join_with(
        token: &str,
        name: &str,
        alter: impl FnOnce(&mut JoinRequest),
    ) -> Result<Self, Failure> {
        let token = Token::parse(token)?;
        let dialed = dial_join(&token.endpoints, token.ca_hash).await?;
        Self::join_over(dialed, &token, name, alter).await
    }

    /// Joins over a session that stands already.
    pub async fn join_over(
        dialed: Dialed,
        token: &Token,
        name: &str,
        alter: impl FnOnce(&mut JoinRequest),
    ) -> Result<Self, Failure> {
        let claims = inspect_join_jwt(&token.jwt).ok_or("the token has no claims")?;
        let key = IdentityKey::from_seed(seed(name, "identity"));
        let tls = TlsKey::from_seed(seed(name, "tls"));
        let receive_key = ReceiveKey::from_seed(seed(name, "receive")).public();
        let csr = tls.csr();
        let transcript = JoinTranscript {
            jti: &claims.jti,
            peer: key.peer(),
            receive_key: &receive_key,
            csr: &csr,
            exporter: &dialed.exporter,
        };
        let mut request = JoinRequest {
            jwt: token.jwt.to_string(),
            peer: key.peer(),
            name: name.to_owned(),
            receive_key,
            receive_key_signature: sign_receive_key(&key, &receive_key).to_vec(),
            seed_proof: seed_proof(&token.seed, &transcript).to_vec(),
            identity_proof: identity_proof(&key, &transcript).to_vec(),
            csr,
        };
        alter(&mut request);
        let (link, _, mut events) =
            link::spawn(dialed.stream, Side::Client, true, &[], Clock::start());
        send(&link, 0, &Message::JoinRequest(request));
        let grant = match next(&mut events).await? {
            (_, Message::JoinGrant(grant)) => grant,
            (_, other) => return Err(refusal(&other)),
        };
        let credentials = Credentials {
            certificate: grant.certificate.clone(),
            ca: grant.ca.clone(),
            key: Arc::new(tls.pkcs8()),
        };
        Ok(Self {
            name: name.to_owned(),
            key,
            tls,
            credentials,
            grant,
            endpoints: token.endpoints.clone(),
            tip: (0, Digest::ZERO),
        })
    }

    /// The keys of a device that nobody has admitted: it can sign entries, and nothing else.
    pub fn unadmitted(name: &str, team: TeamId) -> Self {
        let key = IdentityKey::from_seed(seed(name, "identity"));
        let tls = TlsKey::from_seed(seed(name, "tls"));
        let grant = JoinGrant {
            certificate: Vec::new(),
            ca: Vec::new(),
            team,
            team_name: String::new(),
            role: Role::Member,
            name: name.to_owned(),
            founder: false,
            checkpoint_key: key.peer(),
        };
        let credentials = Credentials {
            certificate: Vec::new(),
            ca: Vec::new(),
            key: Arc::new(tls.pkcs8()),
        };
        Self {
            name: name.to_owned(),
            key,
            tls,
            credentials,
            grant,
            endpoints: Vec::new(),
            tip: (0, Digest::ZERO),
        }
    }

    /// Asks for a fresh certificate for a TLS key, as a device does whose old one has ended.
    pub async fn renew(&self, tls: &TlsKey) -> Result<RenewGrant, Failure> {
        let (ca_hash, _) = public_key_hash(&self.credentials.ca)?;
        let dialed = dial_join(&self.endpoints, ca_hash).await?;
        let csr = tls.csr();
        let transcript = RenewTranscript {
            peer: self.key.peer(),
            csr: &csr,
            exporter: &dialed.exporter,
        };
        let request = RenewRequest {
            peer: self.key.peer(),
            identity_proof: renew_proof(&self.key, &transcript).to_vec(),
            csr,
        };
        let (link, _, mut events) =
            link::spawn(dialed.stream, Side::Client, true, &[], Clock::start());
        send(&link, 0, &Message::RenewRequest(request));
        match next(&mut events).await? {
            (_, Message::RenewGrant(grant)) => Ok(grant),
            (_, other) => Err(refusal(&other)),
        }
    }

    /// The team.
    pub fn team(&self) -> TeamId {
        self.grant.team
    }

    /// The device as a writer.
    pub fn writer(&self) -> Writer {
        Writer {
            peer: self.key.peer(),
            incarnation: Incarnation(1),
        }
    }

    /// A mutual-TLS session with the Mothership, before any frame.
    pub async fn dial(&self) -> Result<Dialed, Failure> {
        let expect = Expect {
            role: Role::Mothership,
            peer: Some(self.grant.checkpoint_key),
        };
        let revoked = Arc::new(|_: PeerId| false);
        Ok(dial(&self.endpoints, &self.credentials, expect, revoked).await?)
    }

    /// An authenticated link that offers every feature.
    pub async fn connect(&self) -> Result<Wire, Failure> {
        self.connect_with(feature::ALL).await
    }

    /// An authenticated link that offers these features.
    pub async fn connect_with(&self, features: u64) -> Result<Wire, Failure> {
        let dialed = self.dial().await?;
        let exporter = dialed.exporter;
        let classes = [Class::Patch, Class::Patch, Class::Bulk];
        let (link, streams, mut events) =
            link::spawn(dialed.stream, Side::Client, false, &classes, Clock::start());
        send(&link, 0, &Message::Hello(hello(features)));
        match next(&mut events).await? {
            (_, Message::Hello(_)) => {}
            (_, other) => return Err(refusal(&other)),
        }
        send(&link, 0, &Message::Auth(self.auth(&exporter)));
        let welcome = match next(&mut events).await? {
            (_, Message::Welcome(welcome)) => welcome,
            (_, other) => return Err(refusal(&other)),
        };
        link.authenticated();
        Ok(Wire {
            link,
            streams,
            events,
            welcome,
        })
    }

    /// The proof of the identity key for one session.
    pub fn auth(&self, exporter: &[u8; 32]) -> Auth {
        Auth {
            peer: self.key.peer(),
            signature: auth_proof(&self.key, exporter, aura_trust::Side::Dialler).to_vec(),
            reach: None,
        }
    }

    /// The next own entry of `log`, chained and signed; the body is sent as it is, unsealed.
    pub fn entry(&mut self, log: LogId, body: &[u8]) -> Result<Entry, Failure> {
        let (author_seq, prev) = (self.tip.0 + 1, self.tip.1);
        let entry = sign_entry(&self.key, &self.header(log, author_seq, prev), body)?;
        self.tip = (author_seq, entry.hash());
        Ok(entry)
    }

    /// The header of an own entry; length and hash of the body are filled in by whoever signs it.
    pub fn header(&self, log: LogId, author_seq: u64, prev: Digest) -> Header {
        Header {
            level: PROTOCOL_LEVEL,
            kind: Kind::PATCH,
            flags: 0,
            team: self.team(),
            log,
            writer: self.writer(),
            author_seq,
            prev,
            lamport: author_seq,
            time_ms: 0,
            fence: 0,
            key_epoch: 1,
            body_len: 0,
            body_hash: Digest::ZERO,
        }
    }
}

/// One authenticated link. It ends when the value is dropped.
pub struct Wire {
    /// The link.
    pub link: LinkHandle,
    /// Two streams for patches, one for bulk.
    pub streams: Vec<u32>,
    /// What arrives.
    pub events: mpsc::Receiver<LinkEvent>,
    /// The server's answer to AUTH.
    pub welcome: Welcome,
}

impl Wire {
    /// Sends a message on a stream; 0 is the control stream.
    pub fn send(&self, stream: u32, message: &Message) {
        send(&self.link, stream, message);
    }

    /// The next message and its stream; the peer list is passed over.
    pub async fn next(&mut self) -> Result<(u32, Message), Failure> {
        loop {
            match next(&mut self.events).await? {
                (_, Message::Peer(_)) => {}
                other => return Ok(other),
            }
        }
    }

    /// How the link ended.
    pub async fn closed(&mut self) -> (Code, String) {
        while let Some(event) = self.events.recv().await {
            if let LinkEvent::Closed { code, detail, .. } = event {
                return (code, detail);
            }
        }
        (Code::BYE, "the link is gone".to_owned())
    }

    /// Sends entries without waiting.
    pub fn push(&self, log: LogId, entries: &[Entry]) {
        let run = encode_push(log, entries.iter().map(|entry| &entry.bytes()[..]));
        self.send(self.streams[0], &Message::Push(run));
    }

    /// The next answer to a push.
    pub async fn acked(&mut self) -> Result<PushAck, Failure> {
        loop {
            match self.next().await? {
                (_, Message::PushAck(ack)) => return Ok(ack),
                (_, Message::Error(error)) => return Err(refusal(&Message::Error(error))),
                _ => {}
            }
        }
    }

    /// Pushes entries and answers what became of each.
    pub async fn store(&mut self, log: LogId, entries: &[Entry]) -> Result<Vec<Outcome>, Failure> {
        self.push(log, entries);
        let outcomes = self.acked().await?.outcomes.into_iter();
        Ok(outcomes.map(|(_, outcome)| outcome).collect())
    }

    /// Asks whether the other side is there and where `logs` stand.
    pub async fn heartbeat(&mut self, nonce: u64, logs: &[LogId]) -> Result<Heartbeat, Failure> {
        let heads = logs.iter().map(|log| (*log, 0, 0, Digest::ZERO)).collect();
        self.send(0, &Message::Heartbeat(Heartbeat { nonce, heads }));
        loop {
            match self.next().await? {
                (_, Message::HeartbeatAck(ack)) if ack.nonce == nonce => return Ok(ack),
                (_, Message::Error(error)) => return Err(refusal(&Message::Error(error))),
                _ => {}
            }
        }
    }

    /// Subscribes from a cursor and answers where the log stands.
    pub async fn subscribe(
        &mut self,
        log: LogId,
        cursor: (u64, Digest),
        vector: VersionVector,
    ) -> Result<Head, Failure> {
        self.subscribe_on(self.streams[0], log, cursor, vector)
            .await
    }

    /// Subscribes on one of the streams; entries come on the stream on which they were asked for.
    pub async fn subscribe_on(
        &mut self,
        stream: u32,
        log: LogId,
        (seq, hash): (u64, Digest),
        vector: VersionVector,
    ) -> Result<Head, Failure> {
        let subscribe = Subscribe {
            log,
            epoch: 0,
            seq,
            hash,
            vector,
            checkpoint: Vec::new(),
        };
        self.send(stream, &Message::Subscribe(subscribe));
        loop {
            match self.next().await? {
                (_, Message::Head(head)) if head.log == log => return Ok(head),
                (_, Message::Error(error)) => return Err(refusal(&Message::Error(error))),
                _ => {}
            }
        }
    }

    /// The next run of entries.
    pub async fn run(&mut self) -> Result<EventRun, Failure> {
        loop {
            match self.next().await? {
                (_, Message::Event(run)) => return Ok(EventRun::decode(&run)?),
                (_, Message::Error(error)) => return Err(refusal(&Message::Error(error))),
                _ => {}
            }
        }
    }
}

/// A greeting with these features.
pub fn hello(features: u64) -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        features,
        agent: "wire".to_owned(),
        revocation_epoch: 0,
    }
}

/// Sends a message on a stream of a link.
pub fn send(link: &LinkHandle, stream: u32, message: &Message) {
    let (kind, payload) = message.encode();
    link.send(stream, kind, payload);
}

/// The next message of a link.
pub async fn next(events: &mut mpsc::Receiver<LinkEvent>) -> Result<(u32, Message), Failure> {
    loop {
        match events.recv().await {
            Some(LinkEvent::Message {
                stream,
                kind,
                payload,
            }) => return Ok((stream, Message::decode(kind, payload)?)),
            Some(LinkEvent::Drained | LinkEvent::StreamReset { .. }) => {}
            Some(LinkEvent::Closed { code, detail, .. }) => {
                return Err(Refused { code, detail }.into());
            }
            None => return Err("the link is gone".into()),
        }
    }
}

fn refusal(message: &Message) -> Failure {
    match message {
        Message::Error(refusal) => Refused {
            code: refusal.code,
            detail: refusal.detail.clone(),
        }
        .into(),
        other => format!("not expected: {other:?}").into(),
    }
}
