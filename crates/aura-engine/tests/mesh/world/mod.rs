//! Devices on a network of direct links, each with the real machines for links, for one log and for its exchange.
//!
//! A link is what TCP gives: in order and whole, or over. So nothing is lost on a link that goes on: what a cut way
//! holds up arrives once the way is there again, unless the link has ended by then. "A fifth is lost" means that a dial
//! fails with 20 %, and that a message of gossip or of entries ends its link with 20 % and is lost with it.
//!
//! Nothing here decides what the machines decide; what the shell decides is done as the daemon does it.

mod net;
mod node;

use std::collections::{BTreeMap, BTreeSet};

use aura_engine::{
    Now,
    peer::{exchange, links, links::LinkId, replica},
};
use aura_proto::{
    Entry, Kind, PeerId, Writer,
    event::{decode_push, encode_push},
    limits::SEND_QUEUE_BYTES_MAX,
    message::Message,
    reach::Locality,
};

pub(crate) use net::Net;
use net::Parcel;
use node::{LOG, address};
pub(crate) use node::{Name, Node, Running, removal_of};

/// Most entries that are shown in one message.
const SHOWN_MAX: u64 = 64;

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap()
    }
}

/// What happens later.
enum Event {
    /// Something for the links of a node that lives this life.
    Links(usize, u64, links::Input),
    /// Something arrives at one end of a session.
    Arrive(u64, usize, Parcel),
    /// A batch of a node that lives this life is durable.
    Stored(usize, u64, u64),
}

/// What was sent, for figures.
#[derive(Default)]
pub(crate) struct Counts {
    /// Messages by kind.
    pub(crate) messages: BTreeMap<&'static str, u64>,
    /// Bytes of entries.
    pub(crate) entry_bytes: u64,
    /// Milliseconds from writing to holding, of each entry at each other node that held it.
    pub(crate) delays_ms: Vec<u64>,
    /// Links on the way of an entry to each node.
    pub(crate) hops: Vec<u32>,
    /// Bytes of entries that came from one node to another.
    pub(crate) brought: BTreeMap<(usize, usize), u64>,
    /// Copies of each entry that reached each node.
    pub(crate) copies: BTreeMap<(usize, Name), u32>,
    /// Most bytes of entries that waited on one link.
    pub(crate) queued_max: usize,
    /// Most messages that waited on one link whose way was cut.
    pub(crate) held_up_max: usize,
    /// Links closed for another reason than that there are more than wanted, or a better one.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// How long it took until a silent link was given up, in milliseconds since the last word on it.
    pub(crate) timeouts: Vec<(u64, usize, usize)>,
}

/// One telling of a watched word.
pub(crate) struct Telling {
    pub(crate) at_ms: u64,
    pub(crate) from: usize,
}

pub(crate) struct World {
    pub(crate) now_ms: u64,
    /// Members first, then strangers.
    pub(crate) nodes: Vec<Node>,
    pub(crate) members: usize,
    pub(crate) net: Net,
    pub(crate) random: Random,
    pub(crate) counts: Counts,
    /// Whose word is watched, and its number.
    pub(crate) watched: Option<(PeerId, u64)>,
    pub(crate) tellings: Vec<Telling>,
    /// Who learned the watched word and when; once for each time.
    pub(crate) learned: Vec<(usize, u64)>,
    pub(crate) ids: BTreeMap<PeerId, usize>,
    written_ms: BTreeMap<Name, u64>,
    travelled: BTreeMap<(usize, Name), u32>,
    events: BTreeMap<(u64, u64), Event>,
    events_made: u64,
    wakes: BTreeSet<(u64, usize)>,
    woken: Option<(u64, usize)>,
    wakes_in_a_row: u32,
    seed: u64,
}

impl World {
    /// `count` members of as many people, and `strangers` who know them and whom nobody knows. Nobody runs yet.
    pub(crate) fn new(count: usize, strangers: usize, seed: u64) -> Self {
        let nodes: Vec<Node> = (0..count + strangers).map(Node::new).collect();
        let ids = nodes.iter().enumerate().map(|(n, node)| (node.id, n));
        let mut world = Self {
            now_ms: 1_000,
            ids: ids.collect(),
            net: Net::new(count + strangers, seed),
            random: Random::new(seed),
            counts: Counts::default(),
            watched: None,
            tellings: Vec::new(),
            learned: Vec::new(),
            written_ms: BTreeMap::new(),
            travelled: BTreeMap::new(),
            events: BTreeMap::new(),
            events_made: 0,
            wakes: BTreeSet::new(),
            woken: None,
            wakes_in_a_row: 0,
            nodes,
            members: count,
            seed,
        };
        world.remember_all();
        world
    }

    /// Everybody knows the members as they are now.
    pub(crate) fn remember_all(&mut self) {
        let table: BTreeMap<PeerId, links::Known> = self.nodes[..self.members]
            .iter()
            .map(|node| (node.id, node.known()))
            .collect();
        for node in &mut self.nodes {
            node.table = table.clone();
        }
    }

    /// Everybody starts within `spread_ms`, and the mesh has `calm_ms` to form.
    pub(crate) fn start_all(&mut self, spread_ms: u64, calm_ms: u64) {
        let mut starts: Vec<(u64, usize)> = (0..self.nodes.len())
            .map(|n| (self.now_ms + self.random.below(spread_ms + 1), n))
            .collect();
        starts.sort_unstable();
        for (at_ms, n) in starts {
            self.run_to(at_ms);
            self.start(n);
        }
        self.run_for(calm_ms);
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: 1_800_000_000_000 + self.now_ms,
        }
    }

    /// A process begins with what its disk holds.
    pub(crate) fn start(&mut self, n: usize) {
        let now = self.now();
        let seed = self.seed * 1_000_003 + n as u64 * 101 + self.nodes[n].life;
        self.nodes[n].boot(now, seed);
        self.net.listen(self.nodes[n].address, n);
        for input in self.nodes[n].first_inputs() {
            self.tell_links(n, input);
        }
        if self.nodes[n].is_alone {
            self.tell_exchange(n, exchange::Input::Alone(true));
        }
    }

    /// A process ends. Its machine tells the other ends unless it vanished with it.
    pub(crate) fn crash(&mut self, n: usize, is_told: bool) {
        self.net.hush(self.nodes[n].address);
        self.wakes.retain(|(_, node)| *node != n);
        self.nodes[n].running = None;
        self.nodes[n].life += 1;
        for (session, end) in self.net.ends_of(n) {
            self.net.close_end(session, end);
            if is_told {
                self.carry(session, 1 - end, Parcel::End(None, "reset".to_owned()));
            }
        }
    }

    /// The node can be dialled somewhere else from now on, and says so if it runs.
    pub(crate) fn move_to(&mut self, n: usize, place: u8) {
        self.net.hush(self.nodes[n].address);
        self.nodes[n].move_to(address(n, place));
        if self.nodes[n].running.is_some() {
            self.net.listen(self.nodes[n].address, n);
            let word = self.nodes[n].word.clone();
            self.tell_links(n, links::Input::Announce(word));
        }
    }

    /// The Mothership is there for a node from now on, or is not.
    pub(crate) fn set_alone(&mut self, n: usize, is_alone: bool) {
        self.nodes[n].is_alone = is_alone;
        if self.nodes[n].running.is_some() {
            self.tell_links(n, links::Input::Control { is_up: !is_alone });
            self.tell_exchange(n, exchange::Input::Alone(is_alone));
        }
    }

    /// A node writes an entry with this body.
    pub(crate) fn write(&mut self, n: usize, body: &[u8]) {
        let time_ms = self.now().wall_ms;
        if let Some(running) = &mut self.nodes[n].running {
            let author_seq = running.replica.next_number();
            running.replica.handle(replica::Input::Author {
                kind: Kind::PATCH,
                fence: 0,
                key_epoch: 0,
                body: body.to_vec(),
                time_ms,
                author_seq,
                replaces: None,
            });
            self.pump(n);
        }
    }

    pub(crate) fn set_links(&mut self, n: usize, settings: links::Settings) {
        self.nodes[n].settings = settings;
        self.tell_links(n, links::Input::Settings(settings));
    }

    pub(crate) fn tell_links(&mut self, n: usize, input: links::Input) {
        self.inform_links(n, input);
        self.pump(n);
    }

    pub(crate) fn tell_exchange(&mut self, n: usize, input: exchange::Input) {
        self.inform_exchange(n, input);
        self.pump(n);
    }

    /// Tells something without carrying out what follows.
    fn inform_links(&mut self, n: usize, input: links::Input) {
        let now = self.now();
        if let Some(running) = &mut self.nodes[n].running {
            running.links.handle(now, input);
            running.links_due_ms = None;
        }
    }

    fn inform_exchange(&mut self, n: usize, input: exchange::Input) {
        let now = self.now();
        if let Some(running) = &mut self.nodes[n].running {
            running.exchange.handle(now, input);
        }
    }

    fn later(&mut self, at_ms: u64, event: Event) {
        self.events_made += 1;
        self.events.insert((at_ms, self.events_made), event);
    }

    /// Carries out what the machines of a node want, and notes when they want to be woken.
    fn pump(&mut self, n: usize) {
        while let Some(running) = &mut self.nodes[n].running {
            if let Some(output) = running.links.poll() {
                self.links_output(n, output);
            } else if let Some(output) = running.replica.poll() {
                self.replica_output(n, output);
            } else if let Some(output) = running.exchange.poll() {
                self.exchange_output(n, output);
            } else {
                break;
            }
        }
        if let Some(running) = &mut self.nodes[n].running {
            let links = *(running.links_due_ms).get_or_insert_with(|| running.links.deadline());
            let due_ms = [links, running.exchange.deadline()].into_iter().flatten();
            let due_ms = due_ms.min();
            let old_ms = std::mem::replace(&mut running.due_ms, due_ms);
            if old_ms != due_ms {
                old_ms.map(|at_ms| self.wakes.remove(&(at_ms, n)));
                self.wakes.extend(due_ms.map(|at_ms| (at_ms, n)));
            }
        }
    }

    fn links_output(&mut self, n: usize, output: links::Output) {
        match output {
            links::Output::Dial { peer, addresses } => self.dial(n, peer, &addresses),
            links::Output::Circuit { peer, .. } => {
                let result = Err("this Mothership passes nothing on".to_owned());
                let attempts = Vec::new();
                let input = links::Input::Dialed {
                    peer,
                    result,
                    attempts,
                };
                self.later(self.now_ms, Event::Links(n, self.nodes[n].life, input));
            }
            links::Output::Close { link, code, detail } => {
                self.count_close(n, link, &code.to_string());
                if let Some(end) = self.net.end_of(link.0, n) {
                    self.net.close_end(link.0, end);
                    self.carry(link.0, 1 - end, Parcel::End(Some(code), detail));
                }
            }
            links::Output::Send { link, message } => self.send(n, link, message),
            links::Output::Up { link, peer, .. } => {
                assert!(
                    self.nodes[n].table.contains_key(&peer),
                    "a link with a member"
                );
                let running = self.nodes[n].running.as_mut().unwrap();
                if let Some(old) = running.up.insert(peer, link) {
                    assert_ne!(old, link, "told once");
                }
                self.inform_exchange(n, exchange::Input::Up(link));
            }
            links::Output::Down { link, peer, .. } => {
                let running = self.nodes[n].running.as_mut().unwrap();
                if running.up.get(&peer) == Some(&link) {
                    running.up.remove(&peer);
                }
                running.full.remove(&link);
                self.inform_exchange(n, exchange::Input::Down(link));
            }
            links::Output::Learned(word) => {
                let known = self.nodes[n].table.get_mut(&word.peer).expect("a member");
                assert!(known.reach.counter < word.reach.counter, "learned once");
                known.addresses = word.reach.dialable(Locality::Network);
                known.reach = word.reach.clone();
                let input = links::Input::Peer(known.clone());
                self.later(self.now_ms, Event::Links(n, self.nodes[n].life, input));
                if self.watched == Some((word.peer, word.reach.counter)) {
                    self.learned.push((n, self.now_ms));
                }
            }
            links::Output::Ask(peers) => self.asked(n, &peers),
            links::Output::Ready(_) | links::Output::Heads { .. } | links::Output::Rtt { .. } => {}
        }
    }

    /// The Mothership says what it knows.
    fn asked(&mut self, n: usize, peers: &[PeerId]) {
        assert!(!self.nodes[n].is_alone, "asked while it is there");
        for peer in peers {
            if let Some(other) = self
                .ids
                .get(peer)
                .filter(|_| self.nodes[n].table.contains_key(peer))
            {
                let input = links::Input::Peer(self.nodes[*other].known());
                self.later(self.now_ms + 20, Event::Links(n, self.nodes[n].life, input));
            }
        }
    }

    fn replica_output(&mut self, n: usize, output: replica::Output) {
        match output {
            replica::Output::Append { batch, records } => {
                let running = self.nodes[n].running.as_mut().unwrap();
                running.flying.insert(batch, records);
                let at_ms = self.now_ms + 1 + self.random.below(5);
                self.later(at_ms, Event::Stored(n, self.nodes[n].life, batch));
            }
            replica::Output::Queued { entry, .. } => {
                self.written_ms.insert(node::name(&entry), self.now_ms);
                self.hold(n, &entry);
            }
            replica::Output::Heard { entry, .. } => self.hold(n, &entry),
            replica::Output::NotHeard { code, detail, .. } => {
                panic!("{n} does not take what an honest neighbour shows: {code}: {detail}");
            }
            replica::Output::Fault { code, detail } => panic!("{n}: {code}: {detail}"),
            replica::Output::NotStored => panic!("{n} has room"),
            _ => {}
        }
    }

    /// An entry is durable at a node.
    fn hold(&mut self, n: usize, entry: &Entry) {
        let (writer, author_seq) = self.nodes[n].keep(entry);
        let name = (writer, author_seq);
        if self.ids[&writer.peer] != n {
            let written_ms = self.written_ms[&name];
            self.counts.delays_ms.push(self.now_ms - written_ms);
            self.counts.hops.push(self.travelled[&(n, name)]);
        }
        if let Some(gone) = node::removal(entry) {
            let table: Vec<_> = self.nodes[n].remove(gone);
            self.inform_links(n, links::Input::Peers(table));
        }
        self.inform_exchange(n, exchange::Input::Held { writer, author_seq });
    }

    fn exchange_output(&mut self, n: usize, output: exchange::Output) {
        match output {
            exchange::Output::Close { neighbour, code } => {
                panic!("{n} leaves an honest neighbour on {neighbour:?}: {code}");
            }
            exchange::Output::Send { to, message } => self.send(n, to, message),
            exchange::Output::Show {
                to,
                writer,
                first,
                last,
            } => self.show(n, to, writer, first, last),
            exchange::Output::Hear { from, entries } => {
                let running = self.nodes[n].running.as_mut().unwrap();
                let counts = |entry: &Entry| !running.removed.contains(&entry.header().writer.peer);
                let (entries, others): (Vec<Entry>, Vec<Entry>) =
                    entries.into_iter().partition(counts);
                let from = from.0;
                (running.replica).handle(replica::Input::Heard { from, entries });
                for entry in others {
                    let spurned = Some(entry.header().writer);
                    self.inform_exchange(n, exchange::Input::NotHeard { spurned });
                }
            }
        }
    }

    fn show(&mut self, n: usize, to: LinkId, writer: Writer, first: u64, last: u64) {
        let running = self.nodes[n].running.as_mut().unwrap();
        let last = last.min(first + SHOWN_MAX - 1);
        let shown = (first..=last).map_while(|number| running.entries.get(&(writer, number)));
        let shown: Vec<&[u8]> = shown.map(|entry| &entry.bytes()[..]).collect();
        let up_to = (first + shown.len() as u64).saturating_sub(1);
        let run = encode_push(LOG, shown.into_iter());
        self.counts.entry_bytes += run.len() as u64;
        self.send(n, to, Message::Push(run));
        let queued = self.net.queued(to.0, n);
        self.counts.queued_max = self.counts.queued_max.max(queued);
        let has_room = queued <= SEND_QUEUE_BYTES_MAX;
        if !has_room && let Some(running) = &mut self.nodes[n].running {
            running.full.insert(to);
        }
        let input = exchange::Input::Shown {
            to,
            writer,
            up_to,
            has_room,
        };
        self.inform_exchange(n, input);
    }

    fn stored(&mut self, n: usize, batch: u64) {
        let node = &mut self.nodes[n];
        let running = node.running.as_mut().unwrap();
        let records = running.flying.remove(&batch).unwrap();
        let (first_lsn, count) = (node.durable.len() as u64 + 1, records.len());
        node.durable.extend(records);
        running.replica.handle(replica::Input::Stored {
            batch,
            first_lsn,
            count,
        });
        self.pump(n);
    }

    /// Notes who sent which entries to whom.
    fn count_push(&mut self, from: usize, to: usize, run: &bytes::Bytes) {
        *self.counts.brought.entry((from, to)).or_default() += run.len() as u64;
        for entry in decode_push(run).unwrap().1 {
            let name = node::name(&entry.unwrap());
            *self.counts.copies.entry((to, name)).or_default() += 1;
            let before = self.travelled.get(&(from, name)).copied().unwrap_or(0);
            self.travelled.entry((to, name)).or_insert(before + 1);
        }
    }

    fn count_close(&mut self, n: usize, link: LinkId, code: &str) {
        if code == "TIMEOUT"
            && let Some(other) = self.net.other_of(link.0, n)
        {
            self.counts.timeouts.push((self.now_ms, n, other));
        }
        if !matches!(code, "BYE" | "SUPERSEDED") {
            *self.counts.refusals.entry(code.to_owned()).or_default() += 1;
        }
    }

    /// Lets the world go on until that moment.
    pub(crate) fn run_to(&mut self, end_ms: u64) {
        loop {
            let event_ms = self.events.keys().next().map(|(at_ms, _)| *at_ms);
            let wake_ms = self.wakes.first().map(|(at_ms, _)| *at_ms);
            let next_ms = [event_ms, wake_ms].into_iter().flatten().min();
            let Some(next_ms) = next_ms.filter(|at_ms| *at_ms <= end_ms) else {
                break;
            };
            self.now_ms = self.now_ms.max(next_ms);
            if event_ms == Some(next_ms) {
                let (_, event) = self.events.pop_first().unwrap();
                self.happen(event);
            } else {
                let (_, n) = *self.wakes.first().unwrap();
                self.wake(n);
            }
        }
        self.now_ms = self.now_ms.max(end_ms);
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_to(self.now_ms + ms);
    }

    fn wake(&mut self, n: usize) {
        let now = self.now();
        let running = self.nodes[n].running.as_mut().unwrap();
        let is_due = |at: Option<u64>| at.is_some_and(|at_ms| at_ms <= now.mono_ms);
        if is_due(running.exchange.deadline()) {
            running.exchange.handle(now, exchange::Input::Tick);
        }
        if is_due(running.links.deadline()) {
            running.links.handle(now, links::Input::Tick);
            running.links_due_ms = None;
        }
        self.pump(n);
        self.wakes_in_a_row = match self.woken {
            Some(woken) if woken == (self.now_ms, n) => self.wakes_in_a_row + 1,
            _ => 0,
        };
        self.woken = Some((self.now_ms, n));
        assert!(self.wakes_in_a_row < 8, "a tick does what is due");
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Links(n, life, input) if self.nodes[n].life == life => self.tell_links(n, input),
            Event::Stored(n, life, batch) if self.nodes[n].life == life => self.stored(n, batch),
            Event::Arrive(session, end, parcel) => self.arrive(session, end, parcel),
            Event::Links(..) | Event::Stored(..) => {}
        }
    }
}
