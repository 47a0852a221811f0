//! Links between the peers of the simulated world, and what is exchanged on them.

use aura_engine::peer::{exchange, links::LinkId, replica};
use aura_proto::{Entry, event::encode_push, frame::FrameType, message::Message};
use bytes::Bytes;

use crate::{LOG, Step, World};

/// Most entries that are shown in one step.
const SHOWN_MAX: u64 = 3;

impl World {
    /// Of a hundred pairs, how many meet: most of a few peers, and about six of each in a crowd.
    fn meeting_percent(&self) -> u64 {
        70.min(600 / self.peers.len() as u64)
    }

    /// Every two peers meet sooner or later, unless the seed keeps them apart.
    pub(crate) fn meet_everybody(&mut self) {
        for a in 0..self.peers.len() {
            for b in 0..a {
                if self.random.chance(self.meeting_percent()) {
                    let at = self.random.below(2_000);
                    self.at(at, Step::Meet(a, b));
                }
            }
        }
    }

    /// What happens between peers; any other step is handed back.
    pub(crate) fn act_among_peers(&mut self, step: Step) -> Option<Step> {
        match step {
            Step::Meet(a, b) => self.meet(a, b),
            Step::Offer(n, life) => {
                if self.peers[n].life == life {
                    self.peers[n].replica.handle(replica::Input::Offer);
                    self.pump_peer(n);
                }
            }
            Step::Part(link) => self.part(link),
            Step::ToNeighbour {
                to,
                link,
                kind,
                payload,
            } => {
                if self.meshed.contains_key(&link) {
                    self.reach_neighbour(to, link, FrameType(kind), Bytes::from(payload));
                }
            }
            other => return Some(other),
        }
        None
    }

    /// After a restart.
    pub(crate) fn meet_again(&mut self, n: usize) {
        for other in 0..self.peers.len() {
            if other != n && self.random.chance(self.meeting_percent()) {
                let delay = 100 + self.random.below(2_000);
                self.after(delay, Step::Meet(n, other));
            }
        }
    }

    pub(crate) fn meet(&mut self, a: usize, b: usize) {
        if self
            .meshed
            .values()
            .any(|ends| ends.contains(&a) && ends.contains(&b))
        {
            return;
        }
        self.link_last += 1;
        let link = self.link_last;
        self.meshed.insert(link, [a, b]);
        for n in [a, b] {
            self.tell_exchange(n, exchange::Input::Up(LinkId(link)));
            self.pump_peer(n);
        }
        if self.has_faults && self.random.chance(50) {
            let delay = self.random.below(8_000);
            self.after(delay, Step::Part(link));
            let back = delay + 1 + self.random.below(4_000);
            self.after(back, Step::Meet(a, b));
        }
    }

    pub(crate) fn part(&mut self, link: u64) {
        for n in self.meshed.remove(&link).into_iter().flatten() {
            self.tell_exchange(n, exchange::Input::Down(LinkId(link)));
            self.pump_peer(n);
        }
    }

    pub(crate) fn part_all(&mut self, n: usize) {
        let links = self.meshed.iter().filter(|(_, ends)| ends.contains(&n));
        let links: Vec<u64> = links.map(|(link, _)| *link).collect();
        links.into_iter().for_each(|link| self.part(link));
    }

    pub(crate) fn tell_exchange(&mut self, n: usize, input: exchange::Input) {
        let now = self.now();
        self.peers[n].exchange.handle(now, input);
    }

    /// An entry is durable at a peer.
    pub(crate) fn hold(&mut self, n: usize, entry: &Entry) {
        let header = entry.header();
        let (writer, author_seq) = (header.writer, header.author_seq);
        self.peers[n]
            .entries
            .insert((writer, author_seq), entry.clone());
        self.tell_exchange(n, exchange::Input::Held { writer, author_seq });
    }

    pub(crate) fn exchange_output(&mut self, n: usize, output: exchange::Output) {
        match output {
            exchange::Output::Close { neighbour, code } => {
                panic!("peer {n} closes {neighbour:?}: {code}");
            }
            exchange::Output::Send { to, message } => self.send_to_neighbour(n, to, &message),
            exchange::Output::Show {
                to,
                writer,
                first,
                last,
            } => {
                let last = last.min(first + self.random.below(SHOWN_MAX));
                let entries = &self.peers[n].entries;
                let shown = (first..=last).map_while(|number| entries.get(&(writer, number)));
                let shown: Vec<Entry> = shown.cloned().collect();
                let up_to = first + shown.len() as u64 - 1;
                let run = encode_push(LOG, shown.iter().map(|entry| &entry.bytes()[..]));
                self.send_to_neighbour(n, to, &Message::Push(run));
                let has_room = true;
                let input = exchange::Input::Shown {
                    to,
                    writer,
                    up_to,
                    has_room,
                };
                self.tell_exchange(n, input);
            }
            exchange::Output::Hear { from, entries } => {
                let from = from.0;
                let input = replica::Input::Heard { from, entries };
                self.peers[n].replica.handle(input);
            }
        }
    }

    fn send_to_neighbour(&mut self, n: usize, link: LinkId, message: &Message) {
        let Some(ends) = self.meshed.get(&link.0).copied() else {
            return;
        };
        let to = if ends[0] == n { ends[1] } else { ends[0] };
        let (kind, payload) = message.encode();
        let step = Step::ToNeighbour {
            to,
            link: link.0,
            kind: kind.0,
            payload: payload.to_vec(),
        };
        self.carry(link.0, to == ends[0], step);
    }

    pub(crate) fn reach_neighbour(&mut self, n: usize, link: u64, kind: FrameType, payload: Bytes) {
        let message = Message::decode(kind, payload).unwrap();
        let from = LinkId(link);
        self.tell_exchange(n, exchange::Input::Received { from, message });
        self.pump_peer(n);
    }
}
