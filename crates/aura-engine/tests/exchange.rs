//! Neighbours that exchange a log without the Mothership, as a small network in one process.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aura_engine::{
    Now,
    peer::{
        exchange::{Exchange, GRAFT_MS, Input, Output, ROUND_MS},
        links::LinkId,
    },
};
use aura_proto::{
    Code, Digest, Entry, Header, Incarnation, Kind, LogId, PeerId, TeamId, VersionVector, Writer,
    entry::PROTOCOL_LEVEL,
    event::encode_push,
    message::{Head, Message},
};
use aura_trust::{IdentityKey, sign_entry};
use bytes::Bytes;

const TEAM: TeamId = TeamId([1; 16]);
const LOG: LogId = LogId([2; 16]);
/// More messages at one instant are no exchange any more.
const STORM: usize = 5_000;

struct Node {
    key: IdentityKey,
    exchange: Exchange,
    entries: BTreeMap<(Writer, u64), Entry>,
    written: u64,
    last: Digest,
    /// Entries that were shown to it, new or not.
    shown: usize,
    messages: usize,
}

struct Net {
    nodes: Vec<Node>,
    links: BTreeMap<LinkId, [usize; 2]>,
    queue: VecDeque<(LinkId, usize, Message)>,
    now_ms: u64,
    /// Second clones on the device of another node: both keep the log, and both speak on its links.
    twins: BTreeMap<usize, usize>,
}

impl Net {
    fn new(count: u8) -> Self {
        let node = |n: u8| Node {
            key: IdentityKey::from_seed([n + 1; 32]),
            exchange: Exchange::new(LOG, VersionVector::default()),
            entries: BTreeMap::new(),
            written: 0,
            last: Digest::ZERO,
            shown: 0,
            messages: 0,
        };
        Self {
            nodes: (0..count).map(node).collect(),
            links: BTreeMap::new(),
            queue: VecDeque::new(),
            now_ms: 0,
            twins: BTreeMap::new(),
        }
    }

    /// Four devices, of which two have a second clone, all linked.
    fn of_clones() -> Self {
        let mut net = Self::new(6);
        net.twins = BTreeMap::from([(4, 1), (5, 2)]);
        for a in 0..4 {
            (0..a).for_each(|b| net.link(a, b));
        }
        for link in net.links.clone().into_keys() {
            let ends = net.links[&link];
            for (twin, of) in net.twins.clone() {
                if ends.contains(&of) {
                    net.tell(twin, Input::Up(link));
                }
            }
        }
        net
    }

    /// Everybody is without the Mothership and linked with everybody.
    fn lonely_mesh(count: u8) -> Self {
        let mut net = Self::new(count);
        for n in 0..usize::from(count) {
            net.tell(n, Input::Alone(true));
            (0..n).for_each(|other| net.link(n, other));
        }
        net.settle();
        net
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: self.now_ms,
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        let link = LinkId(self.links.len() as u64);
        self.links.insert(link, [a, b]);
        self.tell(a, Input::Up(link));
        self.tell(b, Input::Up(link));
    }

    fn tell(&mut self, n: usize, input: Input) {
        let now = self.now();
        self.nodes[n].exchange.handle(now, input);
        while let Some(output) = self.nodes[n].exchange.poll() {
            self.carry_out(n, output);
        }
    }

    fn carry_out(&mut self, n: usize, output: Output) {
        match output {
            Output::Close { code, .. } => panic!("{n} closes a link: {code}"),
            Output::Send { to, message } => self.queue.push_back((to, n, message)),
            Output::Show {
                to,
                writer,
                first,
                last,
            } => {
                let entries = &self.nodes[n].entries;
                let run = (first..=last).map(|number| &entries[&(writer, number)].bytes()[..]);
                let run = Message::Push(encode_push(LOG, run));
                self.queue.push_back((to, n, run));
                let (up_to, has_room) = (last, true);
                let shown = Input::Shown {
                    to,
                    writer,
                    up_to,
                    has_room,
                };
                self.tell(n, shown);
            }
            Output::Hear { entries, .. } => {
                entries.into_iter().for_each(|entry| self.hold(n, entry));
            }
        }
    }

    fn hold(&mut self, n: usize, entry: Entry) {
        let header = entry.header();
        let (writer, author_seq) = (header.writer, header.author_seq);
        self.nodes[n].entries.insert((writer, author_seq), entry);
        self.tell(n, Input::Held { writer, author_seq });
    }

    fn write(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.written += 1;
        let body = node.written.to_be_bytes();
        let header = Header {
            level: PROTOCOL_LEVEL,
            kind: Kind::PATCH,
            flags: 0,
            team: TEAM,
            log: LOG,
            writer: Writer {
                peer: node.key.peer(),
                incarnation: Incarnation(1),
            },
            author_seq: node.written,
            prev: node.last,
            lamport: node.written,
            time_ms: 1,
            fence: 0,
            key_epoch: 0,
            body_len: 8,
            body_hash: Digest::of(&body),
        };
        let entry = sign_entry(&node.key, &header, &body).unwrap();
        node.last = entry.hash();
        self.hold(n, entry);
    }

    fn device(&self, n: usize) -> usize {
        self.twins.get(&n).copied().unwrap_or(n)
    }

    /// The clones on the device of a node.
    fn clones(&self, n: usize) -> Vec<usize> {
        let twins = self.twins.iter().filter(|(_, of)| **of == n);
        [n].into_iter()
            .chain(twins.map(|(twin, _)| *twin))
            .collect()
    }

    /// Delivers everything that is on its way, and what is due within a second.
    fn settle(&mut self) {
        let end = self.now_ms + 1_000;
        while self.now_ms < end {
            let mut steps = 0;
            while let Some((link, from, message)) = self.queue.pop_front() {
                steps += 1;
                assert!(steps < STORM, "messages without end: {message:?}");
                let [a, b] = self.links[&link];
                let from = self.device(from);
                let to = if from == a { b } else { a };
                if let Message::Push(run) = &message {
                    let entries = aura_proto::event::decode_push(run).unwrap().1;
                    self.nodes[to].shown += entries.len();
                }
                for n in self.clones(to) {
                    self.nodes[n].messages += 1;
                    let message = message.clone();
                    let from = link;
                    self.tell(n, Input::Received { from, message });
                }
            }
            self.now_ms += 10;
            for n in 0..self.nodes.len() {
                let due = self.nodes[n].exchange.deadline();
                if due.is_some_and(|at| at <= self.now_ms) {
                    self.tell(n, Input::Tick);
                }
            }
        }
    }

    fn have_all_the_same(&self) -> bool {
        let held: BTreeSet<Vec<(Writer, u64)>> = self
            .nodes
            .iter()
            .map(|node| node.entries.keys().copied().collect())
            .collect();
        held.len() == 1
    }

    fn forget_counts(&mut self) {
        for node in &mut self.nodes {
            (node.shown, node.messages) = (0, 0);
        }
    }
}

#[test]
fn c31_in_a_full_mesh_of_six_each_gets_an_entry_once() {
    let mut net = Net::lonely_mesh(6);
    // The tree finds itself.
    for n in 0..6 {
        net.write(n);
        net.settle();
    }
    net.forget_counts();
    for round in 0..60 {
        net.write(round % 6);
        net.settle();
    }
    assert!(net.have_all_the_same());
    for (n, node) in net.nodes.iter().enumerate() {
        let got = 50;
        assert!(
            node.shown * 10 <= got * 12,
            "{n} was shown {} of {got}",
            node.shown
        );
    }
}

#[test]
fn c30_along_a_line_everything_arrives_and_a_short_cut_brings_nothing_twice() {
    let mut net = Net::new(3);
    (0..3).for_each(|n| net.tell(n, Input::Alone(true)));
    net.link(0, 1);
    net.link(1, 2);
    for n in [0, 2, 0, 1, 2] {
        net.write(n);
    }
    net.settle();
    assert!(net.have_all_the_same());
    assert_eq!(net.nodes[2].entries.len(), 5);
    net.forget_counts();
    net.link(0, 2);
    net.settle();
    let shown: usize = net.nodes.iter().map(|node| node.shown).sum();
    assert_eq!(shown, 0, "all was there");
    assert!(net.nodes[2].messages <= 3, "one exchange of numbers");
}

#[test]
fn who_has_the_mothership_asks_nobody() {
    let mut net = Net::new(2);
    net.link(0, 1);
    net.write(0);
    net.settle();
    assert_eq!(net.nodes[0].messages + net.nodes[1].messages, 0);
}

#[test]
fn who_lost_the_mothership_gets_on_through_a_neighbour_and_lets_go_when_it_is_back() {
    let mut net = Net::new(2);
    net.link(0, 1);
    net.write(1);
    net.tell(0, Input::Alone(true));
    net.settle();
    assert!(net.have_all_the_same(), "what it lacked has come");
    net.write(0);
    net.write(1);
    net.settle();
    assert!(net.have_all_the_same(), "both ways, from now on");
    net.tell(0, Input::Alone(false));
    net.settle();
    net.forget_counts();
    net.write(0);
    net.write(1);
    net.settle();
    assert_eq!(net.nodes[0].messages + net.nodes[1].messages, 0);
}

#[test]
fn two_who_lose_the_mothership_one_after_the_other_go_on_both_ways_at_once() {
    for first in [0, 1] {
        let (second, mut net) = (1 - first, Net::new(2));
        net.link(0, 1);
        let link = *net.links.first_key_value().unwrap().0;
        net.tell(first, Input::Alone(true));
        net.settle();
        // The other one levels the team's log before it goes on with this one.
        net.tell(second, Input::Pause(link));
        net.tell(second, Input::Alone(true));
        let asked: Vec<_> = net.queue.drain(..).collect();
        for (link, from, message) in asked {
            let from_to = net.links[&link];
            let to = from_to.into_iter().find(|n| *n != from).unwrap();
            net.tell(
                to,
                Input::Received {
                    from: link,
                    message,
                },
            );
        }
        // What it is asked meanwhile waits with its shell.
        let early: Vec<_> = net.queue.drain(..).collect();
        net.tell(second, Input::Up(link));
        net.queue.extend(early);
        net.settle();
        let before_ms = net.now_ms;
        net.write(first);
        net.write(second);
        net.settle();
        assert!(net.have_all_the_same());
        assert!(net.now_ms < before_ms + ROUND_MS, "no round was needed");
    }
}

#[test]
fn c50_what_got_lost_is_found_within_a_round() {
    let mut net = Net::lonely_mesh(5);
    net.write(0);
    net.settle();
    net.write(0);
    // Everything that is on its way is lost, as with a neighbour that forgot it.
    net.queue.clear();
    net.now_ms += ROUND_MS;
    net.settle();
    net.settle();
    assert!(net.have_all_the_same());
}

#[test]
fn a_neighbour_that_breaks_the_protocol_is_left() {
    let closes = |message: Message| {
        let mut exchange = Exchange::new(LOG, VersionVector::default());
        let now = Now {
            mono_ms: 0,
            wall_ms: 0,
        };
        let from = LinkId(1);
        exchange.handle(now, Input::Up(from));
        exchange.handle(now, Input::Received { from, message });
        match exchange.poll() {
            Some(Output::Close { code, .. }) => Some(code),
            _ => None,
        }
    };
    assert_eq!(
        closes(Message::Push(Bytes::from_static(b"?"))),
        Some(Code::DECODE)
    );
    let mut vector = VersionVector::default();
    for n in 0..20_000_u64 {
        let mut peer = [0; 32];
        peer[..8].copy_from_slice(&n.to_be_bytes());
        let writer = Writer {
            peer: PeerId(peer),
            incarnation: Incarnation(0),
        };
        vector.observe(writer, 1);
    }
    let head = Head {
        log: LOG,
        epoch: 0,
        seq: 0,
        hash: Digest::ZERO,
        vector,
    };
    assert_eq!(closes(Message::Head(head)), Some(Code::TOO_LARGE));
}

/// One exchange that is without the Mothership, and one neighbour.
struct Pair {
    exchange: Exchange,
    now_ms: u64,
    key: IdentityKey,
}

const NEIGHBOUR: LinkId = LinkId(1);

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            exchange: Exchange::new(LOG, VersionVector::default()),
            now_ms: 0,
            key: IdentityKey::from_seed([1; 32]),
        };
        pair.tell(Input::Alone(true));
        pair.tell(Input::Up(NEIGHBOUR));
        pair
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let now = Now {
            mono_ms: self.now_ms,
            wall_ms: self.now_ms,
        };
        self.exchange.handle(now, input);
        std::iter::from_fn(|| self.exchange.poll()).collect()
    }

    fn receive(&mut self, message: Message) -> Vec<Output> {
        let from = NEIGHBOUR;
        self.tell(Input::Received { from, message })
    }

    /// The neighbour says what it holds; the vectors of questions that follow within a round.
    fn head(&mut self, rows: &[(Writer, u64)]) -> Vec<VersionVector> {
        let mut vector = VersionVector::default();
        rows.iter()
            .for_each(|(writer, up_to)| vector.observe(*writer, *up_to));
        let mut said = self.receive(head(vector));
        for _ in 0..ROUND_MS / GRAFT_MS {
            self.now_ms += GRAFT_MS;
            said.extend(self.tell(Input::Tick));
        }
        let asked = said.into_iter().filter_map(|output| match output {
            Output::Send {
                message: Message::Subscribe(asked),
                ..
            } => Some(asked.vector),
            Output::Close { code, .. } => panic!("left: {code}"),
            _ => None,
        });
        asked.collect()
    }

    fn life(&self, life: u64) -> Writer {
        Writer {
            peer: self.key.peer(),
            incarnation: Incarnation(life),
        }
    }

    fn push(&self, life: u64, author_seq: u64) -> Message {
        let header = Header {
            level: PROTOCOL_LEVEL,
            kind: Kind::PATCH,
            flags: 0,
            team: TEAM,
            log: LOG,
            writer: self.life(life),
            author_seq,
            prev: Digest::ZERO,
            lamport: author_seq,
            time_ms: 1,
            fence: 0,
            key_epoch: 0,
            body_len: 0,
            body_hash: Digest::of(b""),
        };
        let entry = sign_entry(&self.key, &header, b"").unwrap();
        Message::Push(encode_push(LOG, std::iter::once(&entry.bytes()[..])))
    }
}

fn head(vector: VersionVector) -> Message {
    Message::Head(Head {
        log: LOG,
        epoch: 0,
        seq: 0,
        hash: Digest::ZERO,
        vector,
    })
}

fn hears(said: &[Output]) -> bool {
    said.iter()
        .any(|output| matches!(output, Output::Hear { .. }))
}

// spec: peers/4.8
#[test]
fn of_whom_nothing_is_taken_is_not_asked_for_again_until_the_mothership_spoke() {
    let other = Writer {
        peer: PeerId([9; 32]),
        incarnation: Incarnation(1),
    };
    for spoke in [None, Some(0), Some(1), Some(2)] {
        let mut pair = Pair::new();
        let bob = pair.life(1);
        assert!(!pair.head(&[(bob, 5)]).is_empty());
        let push = pair.push(1, 1);
        assert!(hears(&pair.receive(push)));
        let spurned = Some(bob);
        pair.tell(Input::NotHeard { spurned });
        for number in 5..10 {
            assert_eq!(pair.head(&[(bob, number)]), [], "asked again");
        }
        // What is pushed all the same goes no further, and questions for others leave it out.
        let push = pair.push(1, 1);
        assert!(!hears(&pair.receive(push)));
        let asked = pair.head(&[(bob, 10), (other, 1)]);
        assert_eq!(asked[0].get(&bob), 10);
        assert_eq!(asked[0].get(&other), 0);
        pair.tell(Input::Held {
            writer: other,
            author_seq: 1,
        });
        match spoke {
            Some(0) => drop(pair.tell(Input::Placed(bob.peer))),
            Some(2) => drop(pair.tell(Input::Belonging)),
            Some(_) => {
                pair.tell(Input::Alone(false));
                pair.tell(Input::Alone(true));
            }
            None => {
                pair.tell(Input::Placed(other.peer));
            }
        }
        let asked = pair.head(&[(bob, 10)]);
        assert_eq!(asked.is_empty(), spoke.is_none());
        assert!(asked.iter().all(|vector| vector.get(&bob) == 0));
    }
}

#[test]
fn what_may_be_taken_later_is_asked_for_again_less_and_less_often() {
    let mut pair = Pair::new();
    let bob = pair.life(1);
    let mut vector = VersionVector::default();
    vector.observe(bob, 5);
    let mut asked = Vec::new();
    pair.receive(head(vector.clone()));
    while pair.now_ms < 20 * ROUND_MS {
        pair.now_ms += GRAFT_MS;
        let said = pair.tell(Input::Tick);
        let is_question = |output: &Output| {
            matches!(
                output,
                Output::Send {
                    message: Message::Subscribe(_),
                    ..
                }
            )
        };
        if said.iter().any(is_question) {
            // It is answered at once with what is not taken for now.
            asked.push(pair.now_ms);
            pair.receive(head(vector.clone()));
            let push = pair.push(1, 1);
            assert!(hears(&pair.receive(push)));
            pair.tell(Input::NotHeard { spurned: None });
        }
    }
    assert!((20..40).contains(&asked.len()), "{asked:?}");
}

// The bound of what is kept is that of one neighbour's writers.
#[test]
fn a_flood_of_numbers_from_one_neighbour_is_kept_up_to_a_bound_and_then_it_is_left() {
    let vector = |from: u64| {
        let mut vector = VersionVector::default();
        for n in from..from + 1_000 {
            let mut peer = [0; 32];
            peer[..8].copy_from_slice(&n.to_be_bytes());
            let incarnation = Incarnation(0);
            let peer = PeerId(peer);
            vector.observe(Writer { peer, incarnation }, 1);
        }
        vector
    };
    let is_left = |said: &[Output]| {
        let code = Code::TOO_LARGE;
        let is_it =
            |output: &Output| matches!(output, Output::Close { code: it, .. } if *it == code);
        said.iter().any(is_it)
    };
    let mut pair = Pair::new();
    for _ in 0..100 {
        assert!(
            !is_left(&pair.receive(head(vector(0)))),
            "the same ones cost nothing"
        );
    }
    let left = (1..100).find(|n| is_left(&pair.receive(head(vector(n * 1_000)))));
    assert_eq!(left, Some(16), "16,384 writers");
    for n in 16..100 {
        let said = pair.receive(head(vector(n * 1_000)));
        assert!(said.is_empty(), "{said:?}");
    }
    assert_eq!(pair.exchange.held().len(), 0);
}

#[test]
fn a_neighbour_that_shows_entries_of_ever_more_writers_is_left() {
    let mut pair = Pair::new();
    let mut shown = 0;
    let code = loop {
        shown += 1;
        assert!(shown < 20_000, "kept without a bound");
        let push = pair.push(shown, 1);
        let spurned = Some(pair.life(shown));
        let mut said = pair.receive(push).into_iter();
        let code = said.find_map(|output| match output {
            Output::Close { code, .. } => Some(code),
            _ => None,
        });
        if let Some(code) = code {
            break code;
        }
        pair.tell(Input::NotHeard { spurned });
    };
    assert_eq!((code, shown), (Code::TOO_LARGE, 16_385));
}

// spec: peers/4.9
#[test]
fn a_log_is_level_once_the_neighbour_has_said_what_it_holds_and_all_that_counts_is_here() {
    let mut pair = Pair::new();
    let (bob, eve) = (pair.life(1), pair.life(2));
    assert!(!pair.exchange.is_level(NEIGHBOUR), "it has said nothing");
    assert!(!pair.exchange.is_level(LinkId(9)), "it is none");
    pair.head(&[(bob, 1), (eve, 1)]);
    assert!(!pair.exchange.is_level(NEIGHBOUR));
    pair.tell(Input::Held {
        writer: bob,
        author_seq: 1,
    });
    assert!(!pair.exchange.is_level(NEIGHBOUR));
    // What does not count is not waited for.
    let spurned = Some(eve);
    pair.tell(Input::NotHeard { spurned });
    assert!(pair.exchange.is_level(NEIGHBOUR));
    pair.head(&[(bob, 2)]);
    assert!(!pair.exchange.is_level(NEIGHBOUR));
    // Who has the Mothership has all from there.
    pair.tell(Input::Alone(false));
    assert!(pair.exchange.is_level(NEIGHBOUR));
}

/// A question and a farewell that cross do not chase each other.
#[test]
fn a_mothership_that_was_gone_for_a_moment_leaves_nobody_talking() {
    let mut net = Net::new(2);
    net.link(0, 1);
    for _ in 0..3 {
        net.tell(0, Input::Alone(true));
        net.tell(0, Input::Alone(false));
    }
    net.settle();
    let messages: usize = net.nodes.iter().map(|node| node.messages).sum();
    assert!(messages < 30, "{messages} messages");
    net.write(0);
    net.settle();
    assert_eq!(net.nodes[1].shown, 0, "both have the Mothership");
}

/// Devices of which two have two clones each, which lose and find the Mothership in any order while everybody writes.
#[test]
fn two_clones_on_a_device_never_make_their_neighbours_talk_without_end() {
    for seed in 1..=60_u64 {
        let mut random = seed;
        let mut below = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % n).unwrap()
        };
        let mut net = Net::of_clones();
        let mut alone = [false; 6];
        for _ in 0..40 {
            let n = below(6);
            match below(5) {
                0 | 1 => {
                    // The Mothership may serve one clone and not the other: then both are without it.
                    alone[n] = below(2) == 0;
                    let clones = net.clones(net.device(n));
                    let is_alone = clones.iter().any(|n| alone[*n]);
                    clones
                        .into_iter()
                        .for_each(|n| net.tell(n, Input::Alone(is_alone)));
                }
                2 => {
                    // The team's log is levelled anew with each neighbour.
                    let links = net.links.clone().into_iter();
                    let device = net.device(n);
                    for (link, _) in links.filter(|(_, ends)| ends.contains(&device)) {
                        for n in net.clones(device) {
                            net.tell(n, Input::Pause(link));
                        }
                        if below(2) == 0 {
                            net.settle();
                        }
                        for n in net.clones(device) {
                            net.tell(n, Input::Up(link));
                        }
                    }
                }
                _ => net.write(n),
            }
            if below(2) == 0 {
                net.settle();
            }
        }
        for n in 0..6 {
            net.tell(n, Input::Alone(true));
        }
        (0..70).for_each(|_| net.settle());
        assert!(net.have_all_the_same(), "seed {seed}");
        net.forget_counts();
        (0..30).for_each(|_| net.settle());
        let messages: usize = net.nodes.iter().map(|node| node.messages).sum();
        assert!(
            messages < 400,
            "seed {seed}: {messages} messages in a calm half minute"
        );
    }
}
