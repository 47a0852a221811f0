//! A member who lies: it holds the team key and seals bodies that no honest daemon would write.
//!
//! Invariant: everything that it sends is well signed and well chained, so only what a body says can be refused.

use aura_engine::peer::{
    body::PatchBody,
    units::{Made, Origin, Units},
};
use aura_proto::{
    Digest, Entry, Kind, LogId,
    message::{Outcome, feature},
};
use aura_semantic::{Budget, FilePatch, Op, OwnText, UnitId, extract, index};
use aura_trust::{
    MembershipBody, SealContext, TeamKey, Token, open_ring_from_invite, seal, sign_entry,
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Laptop, git, token,
    wire::{Device, Wire},
};

/// A member of the team without a working copy, on the same commit of the same branch as its inviter.
pub struct Forger {
    runtime: Runtime,
    pub device: Device,
    wire: Wire,
    key: TeamKey,
    log: LogId,
    commit: String,
    /// What it has published, so that its next patch follows from it.
    units: Units,
}

impl Forger {
    /// Joins with an invite of `by`, which carries the team key.
    pub fn join(by: &Laptop, name: &str) -> Self {
        Self::join_as(by, name, "member")
    }

    /// Joins in a role.
    pub fn join_as(by: &Laptop, name: &str, role: &str) -> Self {
        let invite = token(&by.aura(&["invite", "--role", role]).ok());
        let parsed = Token::parse(&invite).unwrap();
        let ring = parsed.sealed_ring.expect("an admin's invite has the key");
        let (_, ring) = open_ring_from_invite(&ring, &parsed.seed).unwrap();
        let threads = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = threads.unwrap();
        let (device, wire) = runtime.block_on(async {
            let device = Device::join(&invite, name).await.unwrap();
            let features = feature::CHECKPOINTS | feature::VECTORS;
            let wire = device.connect_with(features).await.unwrap();
            (device, wire)
        });
        let root = git(&by.repo, &["rev-list", "--max-parents=0", "HEAD"]);
        let branch = git(&by.repo, &["symbolic-ref", "HEAD"]);
        Self {
            runtime,
            wire,
            key: ring.current().unwrap().duplicate(),
            log: LogId::of_repository(device.team(), &root),
            commit: git(&by.repo, &["rev-parse", "HEAD"]),
            units: Units::new(device.key.peer(), &branch),
            device,
        }
    }

    /// The log of the repository.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Tries to join as somebody else.
    pub fn try_join(&self, invite: &str, name: &str) -> Result<(), String> {
        let joined = self.runtime.block_on(Device::join(invite, name));
        joined.map(drop).map_err(|failure| failure.to_string())
    }

    /// The body that an honest member would publish for this change of a file.
    pub fn draft(&self, path: &str, before: &[u8], after: &[u8]) -> PatchBody {
        let budget = Budget::default();
        let before = index(path, before, None, &budget);
        let after = index(path, after, Some(&before), &budget);
        self.body(extract(Some(&before), Some(&after)).expect("a change"))
    }

    /// The body that makes a new file.
    pub fn creation(&self, path: &str, text: &str) -> PatchBody {
        let text = text.as_bytes();
        let mut patch = extract(None, Some(&index("new", text, None, &Budget::default())))
            .expect("a file that was not there");
        patch.path = path.to_owned();
        patch.touched[0].unit = UnitId::file(path);
        patch.touched[0].name = path.to_owned();
        self.body(patch)
    }

    /// The body of a patch, with the versions that it follows as this member knows them.
    pub fn body(&self, patch: FilePatch) -> PatchBody {
        let made = Made {
            commit: self.commit.clone(),
            ..Made::default()
        };
        let body = self.units.body(patch, made, &|_| false);
        body.expect("a version that the log does not have")
    }

    /// Seals and pushes a body; answers its place in the log.
    pub fn publish(&mut self, body: &PatchBody) -> u64 {
        let entry = self.entry(&body.encode());
        let seq = self.push(&entry);
        self.learns(body);
        seq
    }

    /// Takes a body for published, so that what is drafted next follows from it.
    pub fn learns(&mut self, body: &PatchBody) {
        let known = self.units.recorded().len() as u64;
        let origin = Origin {
            writer: self.device.writer(),
            author_seq: known,
            lsn: 0,
            time_ms: 0,
            seq: Some(known),
        };
        self.units.record(body, origin);
    }

    /// Publishes a harmless file and waits until a laptop has received it, and all before it.
    pub fn reaches(&mut self, laptop: &Laptop) {
        let name = format!("marker-{}.txt", self.device.tip.0);
        self.publish(&self.creation(&name, "here\n"));
        laptop.event(|event| event["kind"] == "received" && event["symbol"] == name.as_str());
    }

    /// The next own entry with this sealed body.
    pub fn entry(&mut self, plain: &[u8]) -> Entry {
        let (author_seq, prev) = (self.device.tip.0 + 1, self.device.tip.1);
        let header = self.device.header(self.log, author_seq, prev);
        // A salt need not be random where nothing is kept secret.
        let mut salt = [0; 24];
        salt[..8].copy_from_slice(&author_seq.to_be_bytes());
        let sealed = seal(&self.key, &SealContext::from(&header), salt, plain);
        let entry = sign_entry(&self.device.key, &header, &sealed).unwrap();
        self.device.tip = (author_seq, entry.hash());
        entry
    }

    /// Says something about members, as its first entry in the team's log.
    pub fn decides(&mut self, body: &MembershipBody) {
        let mut header = self.device.header(LogId::TEAM, 1, Digest::ZERO);
        header.kind = Kind::MEMBERSHIP;
        header.key_epoch = 0;
        let entry = sign_entry(&self.device.key, &header, &body.encode()).unwrap();
        self.push_into(LogId::TEAM, &entry);
    }

    /// Pushes an entry, for the first time or again; answers its place in the log.
    pub fn push(&mut self, entry: &Entry) -> u64 {
        self.push_into(self.log, entry)
    }

    fn push_into(&mut self, log: LogId, entry: &Entry) -> u64 {
        self.wire.push(log, std::slice::from_ref(entry));
        let ack = self.runtime.block_on(self.wire.acked()).unwrap();
        match ack.outcomes[..] {
            [(_, Outcome::Stored { seq, .. })] => seq,
            ref other => panic!("not stored: {other:?}"),
        }
    }
}

/// The same body with another text for the first unit that it replaces, and a version that fits it.
pub fn with_text(mut body: PatchBody, new: &str) -> PatchBody {
    for op in &mut body.patch.ops {
        if let Op::Replace { unit, text, .. } = op {
            *text = OwnText::leaf(new.as_bytes());
            let row = body.patch.touched.iter_mut().find(|row| row.unit == *unit);
            row.unwrap().after = Some(text.hash());
            return body;
        }
    }
    panic!("nothing is replaced: {:?}", body.patch.ops);
}
