//! What neighbours tell each other of one log while one of them is without the Mothership.
//!
//! Who lost the Mothership asks its neighbours for what it lacks, now and from now on, and they ask it in turn, so that
//! what it writes gets on. Entries spread along a tree that finds itself (Leitão, Pereira and Rodrigues, Epidemic
//! Broadcast Trees, SRDS 2007): with whoever sends what is here already only numbers are exchanged, until those tell of
//! something that does not come. That goes for both directions: everybody's entries take the same tree, and one that
//! served in one direction only would be no tree for the next author. Every [`ROUND_MS`] all numbers are compared, since
//! rumour alone never reaches everybody.
//!
//! Invariants:
//! - a neighbour is shown only what is durable here, each writer's entries in order;
//! - one step at a time is with the shell for each neighbour, so a slow one costs no more than its numbers;
//! - what a neighbour says of its numbers decides what is sent to it, never what counts here;
//! - nobody is sent anything that did not ask, and nobody is asked while both have the Mothership;
//! - what is not taken is asked for again only when the Mothership has been there, so that it costs nobody much.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aura_proto::{
    Code, Digest, Entry, LogId, PeerId, VersionVector, Writer,
    event::decode_push,
    message::{Head, Message, Prune, Subscribe},
};
use bytes::Bytes;

use super::links::LinkId;
use crate::Now;

/// How often neighbours compare all their numbers, in milliseconds.
pub const ROUND_MS: u64 = 30_000;
/// How long something that a neighbour told of may take to come from another one, in milliseconds.
pub const GRAFT_MS: u64 = 300;
/// How long numbers wait to be told together, in milliseconds.
const TELL_MS: u64 = 20;
/// How often everything is told to whoever asks again and again, in milliseconds.
const HEAD_MS: u64 = 100;
/// The epoch in a question of whoever is without the Mothership, and of whoever only asks in turn: the latter is not
/// answered by asking, or a question and a farewell that cross would chase each other over the link without end.
const BEGINS: u64 = 0;
const IN_TURN: u64 = 1;
/// Writers that are kept of what one neighbour says.
const WRITERS_MAX: usize = 16_384;

/// What happens.
#[derive(Debug)]
pub enum Input {
    /// The Mothership was lost, or is there again.
    Alone(bool),
    /// An entry of this log is durable here.
    Held {
        /// Whose.
        writer: Writer,
        /// Its number; all before it are held as well.
        author_seq: u64,
    },
    /// A link is ready.
    Up(LinkId),
    /// A link is over.
    Down(LinkId),
    /// A link goes on, but nothing is said of this log on it until [`Input::Up`].
    Pause(LinkId),
    /// A message about this log.
    Received {
        /// From whom.
        from: LinkId,
        /// What.
        message: Message,
    },
    /// The shell has shown what [`Output::Show`] asked for, up to here.
    Shown {
        /// To whom.
        to: LinkId,
        /// Whose.
        writer: Writer,
        /// Last number shown.
        up_to: u64,
        /// Whether the link takes more.
        has_room: bool,
    },
    /// A link that was full takes more again.
    Drained(LinkId),
    /// What a neighbour showed was not taken.
    NotHeard {
        /// Of whom nothing more is taken until the Mothership has spoken.
        spurned: Option<Writer>,
    },
    /// The Mothership placed something of this author: more of it may be taken now.
    Placed(PeerId),
    /// Who belongs to the team has changed: what was not taken may be now.
    Belonging,
    /// Part of what was held does not count any more; this is left.
    Left(VersionVector),
    /// A deadline passed.
    Tick,
}

/// What is wanted.
#[derive(Debug)]
pub enum Output {
    /// Close a link that breaks the protocol.
    Close {
        /// Which.
        neighbour: LinkId,
        /// Why.
        code: Code,
    },
    /// Send a message about this log.
    Send {
        /// To whom.
        to: LinkId,
        /// What.
        message: Message,
    },
    /// Show entries, read from the log, as PATCH_PUSH; answer with [`Input::Shown`].
    Show {
        /// To whom.
        to: LinkId,
        /// Whose.
        writer: Writer,
        /// First number.
        first: u64,
        /// Last number.
        last: u64,
    },
    /// Hand these to the replica.
    Hear {
        /// From whom.
        from: LinkId,
        /// Each writer's in order.
        entries: Vec<Entry>,
    },
}

/// How much one side wants of the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    /// Nothing: it has the Mothership.
    #[default]
    Nothing,
    /// To be told numbers.
    Numbers,
    /// Everything, at once.
    Entries,
}

#[derive(Debug, Default)]
struct Link {
    /// What it is known to hold.
    has: VersionVector,
    /// What it wants of this device.
    theirs: Wish,
    /// What this device wants of it.
    ours: Wish,
    /// Writers of whom it may lack something.
    due: BTreeSet<Writer>,
    /// Whether the shell was told to show something and has not answered.
    is_showing: bool,
    /// Whether the link takes nothing for now.
    is_full: bool,
    /// When it is told numbers.
    tell_at_ms: Option<u64>,
    /// When it is asked for what it told of, unless that has come.
    graft_at_ms: Option<u64>,
    /// When it was told everything last, and whether it is owed that again.
    head_ms: Option<u64>,
    owes_head: bool,
    /// Whether it has said what it holds.
    has_told: bool,
    /// How often it was asked in vain: what it has may be what is not taken here.
    in_vain: u32,
}

impl Link {
    /// How long what it told of may take to come, in milliseconds.
    fn graft_ms(&self) -> u64 {
        (GRAFT_MS << self.in_vain.min(16)).min(ROUND_MS)
    }

    /// Only numbers go either way from now on; what was not shown yet is told.
    fn thin(&mut self, now: Now) {
        self.ours = self.ours.min(Wish::Numbers);
        self.theirs = self.theirs.min(Wish::Numbers);
        if !self.due.is_empty() {
            self.tell_at_ms.get_or_insert(now.mono_ms + TELL_MS);
        }
    }

    /// Entries go both ways again, as far as numbers did.
    fn thicken(&mut self) {
        for wish in [&mut self.ours, &mut self.theirs] {
            if *wish == Wish::Numbers {
                *wish = Wish::Entries;
            }
        }
    }
}

/// The exchange of one log with all neighbours.
pub struct Exchange {
    log: LogId,
    /// What is durable here.
    held: VersionVector,
    /// What is durable, or with the replica.
    expected: VersionVector,
    /// Of whom nothing is taken for now.
    spurned: BTreeSet<Writer>,
    is_alone: bool,
    links: BTreeMap<LinkId, Link>,
    round_at_ms: Option<u64>,
    outputs: VecDeque<Output>,
}

impl Exchange {
    /// Begins with what is held.
    pub fn new(log: LogId, held: VersionVector) -> Self {
        Self {
            log,
            expected: held.clone(),
            held,
            spurned: BTreeSet::new(),
            is_alone: false,
            links: BTreeMap::new(),
            round_at_ms: None,
            outputs: VecDeque::new(),
        }
    }

    /// Applies one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Alone(is_alone) => self.alone(is_alone),
            Input::Held { writer, author_seq } => self.hold(now, writer, author_seq),
            Input::Up(neighbour) => {
                self.links.insert(neighbour, Link::default());
                if self.is_alone {
                    self.ask(neighbour);
                }
            }
            Input::Down(neighbour) => {
                self.links.remove(&neighbour);
            }
            Input::Pause(neighbour) => {
                // What the neighbour wants is forgotten here: it asks again if it is told so.
                if self.links.remove(&neighbour).is_some() {
                    self.prune(neighbour, false);
                }
            }
            Input::Received { from, message } => self.received(now, from, message),
            Input::Shown {
                to,
                writer,
                up_to,
                has_room,
            } => self.shown(to, writer, up_to, has_room),
            Input::Drained(neighbour) => {
                if let Some(link) = self.links.get_mut(&neighbour) {
                    link.is_full = false;
                }
                self.show(neighbour);
            }
            Input::NotHeard { spurned } => self.not_heard(spurned),
            Input::Placed(peer) => self.spurned.retain(|writer| writer.peer != peer),
            Input::Belonging => {
                self.spurned.clear();
                for link in self.links.values_mut() {
                    let has_more = !link.has.beyond(&self.expected).is_empty();
                    if link.ours != Wish::Nothing && has_more {
                        let soon_ms = now.mono_ms + GRAFT_MS;
                        let at_ms = link.graft_at_ms.map_or(soon_ms, |at_ms| at_ms.min(soon_ms));
                        link.graft_at_ms = Some(at_ms);
                    }
                }
            }
            Input::Left(held) => {
                self.expected = held.clone();
                self.held = held;
            }
            Input::Tick => self.tick(now),
        }
        let is_active = |link: &Link| Wish::Nothing < link.theirs.max(link.ours);
        if !self.links.values().any(is_active) {
            self.round_at_ms = None;
        } else if self.round_at_ms.is_none() {
            self.round_at_ms = Some(now.mono_ms + ROUND_MS);
        }
    }

    /// Takes the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When a tick is wanted, on the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        let links = self.links.values();
        let times = links.flat_map(|link| [link.tell_at_ms, link.graft_at_ms]);
        times.chain([self.round_at_ms]).flatten().min()
    }

    /// What is durable here.
    pub fn held(&self) -> &VersionVector {
        &self.held
    }

    /// Neighbours that asked this device for the log.
    pub fn askers(&self) -> impl Iterator<Item = LinkId> + '_ {
        let asks = |(_, link): &(&LinkId, &Link)| Wish::Nothing < link.theirs;
        self.links.iter().filter(asks).map(|(id, _)| *id)
    }

    /// Whether nothing is awaited of a neighbour: it has said what it holds, and all of it is here, or the Mothership is.
    pub fn is_level(&self, neighbour: LinkId) -> bool {
        let link = self.links.get(&neighbour);
        !self.is_alone || link.is_some_and(|link| link.has_told && !self.has_more(&link.has))
    }

    fn alone(&mut self, is_alone: bool) {
        if self.is_alone == is_alone {
            return;
        }
        self.is_alone = is_alone;
        self.spurned.clear();
        // What was said while nobody was asked may be long ago.
        for link in self.links.values_mut() {
            link.has_told = false;
        }
        let neighbours: Vec<LinkId> = self.links.keys().copied().collect();
        for neighbour in neighbours {
            if is_alone {
                self.ask(neighbour);
            } else {
                self.part(neighbour);
            }
        }
    }

    fn not_heard(&mut self, spurned: Option<Writer>) {
        self.expected = self.held.clone();
        // Whoever has more writers refused than a neighbour may have is shown some of them once more.
        if WRITERS_MAX <= self.spurned.len() {
            self.spurned.clear();
        }
        self.spurned.extend(spurned);
    }

    /// Whether a neighbour's numbers tell of something that is lacking, and would be taken.
    fn has_more(&self, vector: &VersionVector) -> bool {
        let mut more = vector.beyond(&self.expected).into_iter();
        more.any(|(writer, ..)| !self.spurned.contains(&writer))
    }

    /// Asks for everything that is lacking, now and from now on; what it has of whom nothing is taken is not.
    fn ask(&mut self, neighbour: LinkId) {
        let Some(link) = self.links.get_mut(&neighbour) else {
            return;
        };
        (link.ours, link.graft_at_ms) = (Wish::Entries, None);
        link.thicken();
        let mut vector = self.expected.clone();
        for writer in &self.spurned {
            let known = link.has.get(writer);
            if vector.get(writer) < known {
                vector.observe(*writer, known);
            }
        }
        let message = Message::Subscribe(Subscribe {
            log: self.log,
            epoch: if self.is_alone { BEGINS } else { IN_TURN },
            seq: 0,
            hash: Digest::ZERO,
            vector,
            checkpoint: Vec::new(),
        });
        self.send(neighbour, message);
        self.show(neighbour);
    }

    /// Wants nothing more of a neighbour; one that needs this device says so again.
    fn part(&mut self, neighbour: LinkId) {
        let Some(link) = self.links.get_mut(&neighbour) else {
            return;
        };
        if link.ours == Wish::Nothing {
            return;
        }
        (link.ours, link.graft_at_ms) = (Wish::Nothing, None);
        self.prune(neighbour, false);
    }

    fn prune(&mut self, neighbour: LinkId, wants_numbers: bool) {
        let message = Message::Prune(Prune {
            log: self.log,
            wants_numbers,
        });
        self.send(neighbour, message);
    }

    fn hold(&mut self, now: Now, writer: Writer, author_seq: u64) {
        for link in self
            .links
            .values_mut()
            .filter(|link| link.has.holds(&writer, author_seq))
        {
            link.in_vain = 0;
        }
        self.held.observe(writer, author_seq);
        self.expected.observe(writer, author_seq);
        let neighbours: Vec<LinkId> = self.links.keys().copied().collect();
        for neighbour in neighbours {
            let Some(link) = self.links.get_mut(&neighbour) else {
                continue;
            };
            if link.theirs == Wish::Nothing || link.has.holds(&writer, author_seq) {
                continue;
            }
            link.due.insert(writer);
            if link.theirs == Wish::Numbers {
                link.tell_at_ms.get_or_insert(now.mono_ms + TELL_MS);
            }
            self.show(neighbour);
        }
    }

    /// Orders the next entries for a neighbour that asked for them.
    fn show(&mut self, neighbour: LinkId) {
        let Some(link) = self.links.get_mut(&neighbour) else {
            return;
        };
        if link.is_showing || link.is_full || link.theirs != Wish::Entries {
            return;
        }
        while let Some(writer) = link.due.first().copied() {
            // What a neighbour says of its numbers may be anything.
            let first = link.has.get(&writer).saturating_add(1);
            let last = self.held.get(&writer);
            if first <= last {
                link.is_showing = true;
                self.outputs.push_back(Output::Show {
                    to: neighbour,
                    writer,
                    first,
                    last,
                });
                return;
            }
            link.due.pop_first();
        }
    }

    fn shown(&mut self, neighbour: LinkId, writer: Writer, up_to: u64, has_room: bool) {
        if let Some(link) = self.links.get_mut(&neighbour) {
            link.is_showing = false;
            link.is_full = !has_room;
            if up_to <= link.has.get(&writer) {
                // What cannot be read is not asked for again and again.
                link.due.remove(&writer);
            }
            link.has.observe(writer, up_to);
        }
        self.show(neighbour);
    }

    fn received(&mut self, now: Now, from: LinkId, message: Message) {
        if !self.links.contains_key(&from) {
            return;
        }
        match message {
            Message::Subscribe(asked) if asked.log == self.log => self.asked(now, from, &asked),
            Message::Head(head) if head.log == self.log => self.told(now, from, &head.vector),
            Message::Push(run) => self.pushed(now, from, &run),
            Message::Prune(prune) if prune.log == self.log => self.pruned(now, from, &prune),
            _ => {}
        }
    }

    // spec: peers/4.1
    fn asked(&mut self, now: Now, from: LinkId, asked: &Subscribe) {
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        if WRITERS_MAX < asked.vector.len() {
            return self.close(from, Code::TOO_LARGE);
        }
        // As it says: what it did not take comes again.
        link.has = asked.vector.clone();
        link.theirs = Wish::Entries;
        link.thicken();
        let lacking = self.held.beyond(&link.has).into_iter();
        link.due = lacking.map(|(writer, ..)| writer).collect();
        let is_mutual = link.ours != Wish::Nothing;
        let pause = link.graft_ms();
        // Whoever asks again and again is answered now and then.
        (link.owes_head, link.tell_at_ms) = match link.head_ms {
            Some(before) if now.mono_ms < before + HEAD_MS => (true, Some(before + HEAD_MS)),
            _ => (true, Some(now.mono_ms)),
        };
        self.tell(now, from, false);
        let has_more = self.has_more(&asked.vector);
        let is_wanted = self.is_alone || asked.epoch == BEGINS;
        if !is_mutual && is_wanted {
            self.ask(from);
        } else if let Some(link) = self.links.get_mut(&from).filter(|_| has_more) {
            // It would come by itself, unless the other end has forgotten that it was asked.
            link.graft_at_ms.get_or_insert(now.mono_ms + pause);
        }
        self.show(from);
    }

    /// A neighbour says what it holds.
    // spec: peers/4.2
    fn told(&mut self, now: Now, from: LinkId, vector: &VersionVector) {
        let has_more = self.has_more(vector);
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        link.has.merge(vector);
        link.has_told = true;
        if WRITERS_MAX < link.has.len() {
            return self.close(from, Code::TOO_LARGE);
        }
        if link.ours != Wish::Nothing && has_more {
            let pause = link.graft_ms();
            link.graft_at_ms.get_or_insert(now.mono_ms + pause);
        }
    }

    // spec: peers/4.3
    fn pushed(&mut self, now: Now, from: LinkId, run: &Bytes) {
        let Ok((log, entries)) = decode_push(run) else {
            return self.close(from, Code::DECODE);
        };
        if log != self.log {
            return;
        }
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        // Nobody is listened to who was not asked.
        if link.ours == Wish::Nothing {
            return;
        }
        let mut fresh = Vec::new();
        for entry in entries {
            let Ok(entry) = entry else {
                return self.close(from, Code::BAD_SIGNATURE);
            };
            let header = entry.header();
            let (writer, author_seq) = (header.writer, header.author_seq);
            link.has.observe(writer, author_seq);
            if self.spurned.contains(&writer) {
                continue;
            }
            let known = self.expected.get(&writer);
            if author_seq == known + 1 {
                self.expected.observe(writer, author_seq);
                fresh.push(entry);
            } else if known < author_seq {
                // Something before it went astray; it is asked for when it has not come by then.
                let pause = link.graft_ms();
                link.graft_at_ms.get_or_insert(now.mono_ms + pause);
            }
        }
        if WRITERS_MAX < link.has.len() {
            return self.close(from, Code::TOO_LARGE);
        }
        if fresh.is_empty() {
            return self.had_all(now, from);
        }
        self.outputs.push_back(Output::Hear {
            from,
            entries: fresh,
        });
    }

    /// A neighbour sent nothing new: others are faster, so its numbers are enough.
    fn had_all(&mut self, now: Now, from: LinkId) {
        let feeds = |(_, link): &(&LinkId, &Link)| link.ours == Wish::Entries;
        if self.links.iter().filter(feeds).count() < 2 {
            return;
        }
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        if link.ours == Wish::Entries {
            link.thin(now);
            self.prune(from, true);
        }
    }

    // spec: peers/4.4
    fn pruned(&mut self, now: Now, from: LinkId, prune: &Prune) {
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        if prune.wants_numbers {
            link.theirs = Wish::Numbers;
            link.thin(now);
            return;
        }
        link.due.clear();
        (link.theirs, link.tell_at_ms) = (Wish::Nothing, None);
        if self.is_alone {
            self.ask(from);
        } else {
            self.part(from);
        }
    }

    fn tick(&mut self, now: Now) {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now.mono_ms);
        let is_round = is_due(self.round_at_ms);
        if is_round {
            self.round_at_ms = Some(now.mono_ms + ROUND_MS);
        }
        let neighbours: Vec<LinkId> = self.links.keys().copied().collect();
        for neighbour in neighbours {
            let link = self.links.get(&neighbour);
            if link.is_some_and(|link| is_due(link.graft_at_ms)) {
                self.graft(neighbour);
            }
            self.tell(now, neighbour, is_round);
        }
    }

    /// Asks a neighbour again for what it told of, if that has not come.
    fn graft(&mut self, neighbour: LinkId) {
        let lacks = self
            .links
            .get(&neighbour)
            .is_some_and(|link| self.has_more(&link.has));
        let Some(link) = self.links.get_mut(&neighbour) else {
            return;
        };
        link.graft_at_ms = None;
        if lacks {
            link.in_vain = link.in_vain.saturating_add(1);
            self.ask(neighbour);
        }
    }

    /// Tells a neighbour numbers: all of them in a round, otherwise what is new to it.
    fn tell(&mut self, now: Now, neighbour: LinkId, is_round: bool) {
        let Some(link) = self.links.get_mut(&neighbour) else {
            return;
        };
        let is_due = link.tell_at_ms.is_some_and(|at| at <= now.mono_ms);
        let is_round = is_round && Wish::Nothing < link.theirs.max(link.ours);
        if is_round || is_due && link.owes_head {
            (link.tell_at_ms, link.head_ms, link.owes_head) = (None, Some(now.mono_ms), false);
            let head = self.head(self.held.clone());
            return self.send(neighbour, head);
        }
        if !is_due {
            return;
        }
        link.tell_at_ms = None;
        let mut news = VersionVector::default();
        if link.theirs == Wish::Numbers {
            for writer in std::mem::take(&mut link.due) {
                news.observe(writer, self.held.get(&writer));
            }
        }
        if !news.is_empty() {
            let head = self.head(news);
            self.send(neighbour, head);
        }
    }

    fn head(&self, vector: VersionVector) -> Message {
        Message::Head(Head {
            log: self.log,
            epoch: 0,
            seq: 0,
            hash: Digest::ZERO,
            vector,
        })
    }

    fn send(&mut self, to: LinkId, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    fn close(&mut self, neighbour: LinkId, code: Code) {
        self.links.remove(&neighbour);
        self.outputs.push_back(Output::Close { neighbour, code });
    }
}
