//! What authors tried and what they were promised, against what a log holds.
//!
//! [`Authors`] write through the wire and keep a journal; [`Authors::check`] reads the log back as a subscriber
//! does and asserts what must hold after every fault (faults-and-threats 3.1):
//! - I1: acknowledged ⊆ recovered ⊆ attempted, and each where it was promised;
//! - I2, I3: positions without gaps, nothing twice, per author in author order;
//! - I4: what stood at a position in an earlier reading stands there in every later one;
//! - I5: signatures, author chains, the log's chain and its checkpoints verify.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use aura_proto::{
    Digest, Entry, LogId, VersionVector, Writer,
    event::{Checkpoint, Placed, chain},
    message::{Outcome, feature},
};
use aura_trust::{Token, verify_checkpoint, verify_entry};
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinSet};

use crate::wire::{Device, Failure, Wire};

/// The one log that authors write.
pub const LOG: LogId = LogId([7; 16]);

/// A device that keeps its entries until they are acknowledged, as every peer does.
pub struct Author {
    pub device: Device,
    /// Everything it ever tried, oldest first.
    pub entries: Vec<Entry>,
    /// Where its first entries stand, as acknowledged.
    pub places: Vec<u64>,
    /// Least size of the bodies that it makes from now on.
    pub body_bytes: usize,
}

impl Author {
    pub async fn join(token: &str, name: &str) -> Result<Self, Failure> {
        Ok(Self {
            device: Device::join(token, name).await?,
            entries: Vec::new(),
            places: Vec::new(),
            body_bytes: 0,
        })
    }

    /// A link that carries acknowledgements and nothing else.
    pub async fn connect(&self) -> Result<Wire, Failure> {
        // Who is there would only be noise.
        let features = feature::CHECKPOINTS | feature::VECTORS;
        self.device.connect_with(features).await
    }

    /// The own entries of these numbers, counted from 0; made, chained and signed when they are new.
    pub fn entries(&mut self, range: Range<usize>) -> Result<&[Entry], Failure> {
        while self.entries.len() < range.end {
            let mut body = format!("{} {}", self.device.name, self.entries.len()).into_bytes();
            body.resize(body.len().max(self.body_bytes), b'.');
            self.entries.push(self.device.entry(LOG, &body)?);
        }
        Ok(&self.entries[range])
    }

    /// Writes until `total` entries are acknowledged, starting with those that never were; at most `window` are
    /// on their way. `acked` gets a permit for each acknowledgement as it comes.
    pub async fn write(
        &mut self,
        total: usize,
        window: usize,
        acked: &Semaphore,
    ) -> Result<(), Failure> {
        let mut wire = self.connect().await?;
        let mut sent = self.places.len();
        while self.places.len() < total {
            while sent < total.min(self.places.len() + window) {
                wire.push(LOG, self.entries(sent..sent + 1)?);
                sent += 1;
            }
            for (author_seq, outcome) in wire.acked().await?.outcomes {
                match outcome {
                    Outcome::Stored { seq, .. } => self.note(author_seq, seq),
                    Outcome::Refused(code) => return Err(format!("not stored: {code}").into()),
                }
                acked.add_permits(1);
            }
        }
        Ok(())
    }

    /// Takes an acknowledgement down; one that comes again must promise the same place.
    pub fn note(&mut self, author_seq: u64, seq: u64) {
        let index = usize::try_from(author_seq).unwrap() - 1;
        match self.places.get(index) {
            Some(place) => assert_eq!(*place, seq, "entry {author_seq} has moved"),
            None => {
                assert_eq!(index, self.places.len(), "acknowledged out of order");
                self.places.push(seq);
            }
        }
    }
}

/// What a subscriber got of the log.
pub struct Reading {
    pub placed: Vec<Placed>,
    pub checkpoints: Vec<Checkpoint>,
    /// Position and running hash as the Mothership stated them.
    pub head: (u64, Digest),
}

impl Reading {
    /// Reads the whole log.
    pub async fn of(device: &Device) -> Result<Self, Failure> {
        let features = feature::CHECKPOINTS | feature::VECTORS;
        let mut wire = device.connect_with(features).await?;
        let start = (0, Digest::ZERO);
        let head = wire.subscribe(LOG, start, VersionVector::default()).await?;
        let mut reading = Self {
            placed: Vec::new(),
            checkpoints: Vec::new(),
            head: (head.seq, head.hash),
        };
        while (reading.placed.len() as u64) < head.seq {
            let run = wire.run().await?;
            reading.placed.extend(run.entries);
            reading.checkpoints.extend(run.checkpoint);
        }
        Ok(reading)
    }
}

/// Where authors and log stood at some moment.
pub struct Mark {
    authors: Vec<(usize, usize, (u64, Digest))>,
    seen: usize,
}

/// Authors of one log, and everything that was ever seen of it.
pub struct Authors {
    pub authors: Vec<Author>,
    pub runtime: Runtime,
    /// Hash of the entry at each position, from 1.
    seen: Vec<Digest>,
}

impl Authors {
    /// Lets `count` devices join at an address, with an invite for so many.
    pub fn join(invite: &str, listen: &str, count: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let mut token = Token::parse(invite).unwrap();
        token.endpoints = vec![listen.to_owned()];
        let token = token.to_text().unwrap();
        let join = async {
            let mut authors = Vec::new();
            for number in 0..count {
                let name = format!("author-{number}");
                authors.push(Author::join(&token, &name).await.unwrap());
            }
            authors
        };
        Self {
            authors: runtime.block_on(join),
            runtime,
            seen: Vec::new(),
        }
    }

    /// Gives every body at least so many bytes from now on.
    pub fn fill(&mut self, body_bytes: usize) {
        for author in &mut self.authors {
            author.body_bytes = body_bytes;
        }
    }

    /// Where the Mothership listens now.
    pub fn find(&mut self, listen: &str) {
        for author in &mut self.authors {
            author.device.endpoints = vec![listen.to_owned()];
        }
    }

    /// Remembers where everybody stands, to return there together with the state directory.
    pub fn mark(&self) -> Mark {
        let row = |author: &Author| (author.entries.len(), author.places.len(), author.device.tip);
        Mark {
            authors: self.authors.iter().map(row).collect(),
            seen: self.seen.len(),
        }
    }

    /// Forgets what happened since the mark.
    pub fn rewind(&mut self, mark: &Mark) {
        for (author, (entries, places, tip)) in self.authors.iter_mut().zip(&mark.authors) {
            author.entries.truncate(*entries);
            author.places.truncate(*places);
            author.device.tip = *tip;
        }
        self.seen.truncate(mark.seen);
    }

    /// Acknowledged entries of all.
    pub fn acknowledged(&self) -> usize {
        self.authors.iter().map(|author| author.places.len()).sum()
    }

    /// All write at once, each until `more` further entries are acknowledged; answers how it ended for each.
    pub fn write(&mut self, more: usize, window: usize) -> Vec<Result<(), Failure>> {
        self.write_until(more, window, u32::MAX, || ())
    }

    /// Writes, and runs `fault` in the middle of it: as soon as `after` acknowledgements have come.
    pub fn write_until(
        &mut self,
        more: usize,
        window: usize,
        after: u32,
        fault: impl FnOnce(),
    ) -> Vec<Result<(), Failure>> {
        let acked = Arc::new(Semaphore::new(0));
        let authors = std::mem::take(&mut self.authors);
        let work = async {
            let mut running = JoinSet::new();
            for mut author in authors {
                let acked = Arc::clone(&acked);
                running.spawn(async move {
                    let total = author.places.len() + more;
                    let ended = author.write(total, window, &acked).await;
                    (author, ended)
                });
            }
            let all = async {
                let ended = running.join_all().await;
                acked.close();
                ended
            };
            let fault = async {
                if acked.acquire_many(after).await.is_ok() {
                    fault();
                }
            };
            tokio::join!(all, fault).0
        };
        let mut ended = self.runtime.block_on(work);
        ended.sort_by(|(a, _), (b, _)| a.device.name.cmp(&b.device.name));
        let (authors, ended) = ended.into_iter().unzip();
        self.authors = authors;
        ended
    }

    /// Reads the log and asserts I1 to I5; answers how many entries it holds.
    #[track_caller]
    pub fn check(&mut self) -> usize {
        let reader = &self.authors[0].device;
        let reading = self.runtime.block_on(Reading::of(reader)).unwrap();
        check_chains(&reading, reader);
        let mut found: BTreeMap<Writer, Vec<&Placed>> = BTreeMap::new();
        for placed in &reading.placed {
            let header = placed.entry.header();
            let row = found.entry(header.writer).or_default();
            row.push(placed);
            assert_eq!(header.author_seq, row.len() as u64, "I2, I3: author order");
        }
        for author in &self.authors {
            let row = found.remove(&author.device.writer()).unwrap_or_default();
            let (tried, promised) = (author.entries.len(), author.places.len());
            assert!(row.len() <= tried, "I1: recovered what nobody attempted");
            assert!(
                promised <= row.len(),
                "I1: {promised} acknowledged, {} recovered of {}",
                row.len(),
                author.device.name
            );
            for (index, placed) in row.iter().enumerate() {
                let entry = &author.entries[index];
                assert_eq!(placed.entry.bytes(), entry.bytes(), "I1: another content");
                let place = author.places.get(index).copied();
                assert_eq!(place.unwrap_or(placed.seq), placed.seq, "I1: moved");
            }
        }
        assert!(found.is_empty(), "I1: an author that nobody knows");
        let hashes: Vec<Digest> = reading.placed.iter().map(|p| p.entry.hash()).collect();
        assert!(hashes.starts_with(&self.seen), "I4: history has changed");
        self.seen = hashes;
        self.seen.len()
    }
}

fn check_chains(reading: &Reading, reader: &Device) {
    let mut tips: BTreeMap<Writer, Digest> = BTreeMap::new();
    let mut hashes = vec![Digest::ZERO];
    for (index, placed) in reading.placed.iter().enumerate() {
        let Placed {
            seq,
            time_ms,
            entry,
        } = placed;
        assert_eq!(*seq, index as u64 + 1, "I3: a position is missing");
        let hash = entry.hash();
        hashes.push(chain(hashes[index], *seq, *time_ms, hash));
        let before = tips.insert(entry.header().writer, hash);
        assert_eq!(
            before.unwrap_or(Digest::ZERO),
            entry.header().prev,
            "I5: author chain"
        );
        verify_entry(entry.clone()).expect("I5: author signature");
    }
    let at = |seq: u64| hashes[usize::try_from(seq).unwrap()];
    assert_eq!(at(reading.head.0), reading.head.1, "I5: log chain");
    for checkpoint in &reading.checkpoints {
        verify_checkpoint(checkpoint, reader.grant.checkpoint_key).expect("I5: checkpoint");
        assert_eq!(at(checkpoint.seq), checkpoint.hash, "I5: checkpoint");
    }
}
