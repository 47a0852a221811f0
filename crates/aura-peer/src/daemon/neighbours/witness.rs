//! Whether others were shown the same history by the Mothership.
//!
//! Invariant: what a neighbour says of its head proves nothing, so it stops nothing; people are told, and by whom.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use aura_proto::{Digest, LogId, PeerId, limits::LOGS_PER_LINK_MAX};

use crate::daemon::Daemon;

impl Daemon {
    /// Says in heartbeats what this device has verified.
    pub(super) fn show_heads(&mut self) {
        // One head of each log, the furthest of all clones, the team's first.
        let mut furthest: BTreeMap<LogId, (u64, Digest)> = BTreeMap::new();
        for book in self.books() {
            let cursor = book.replica.cursor();
            let known = furthest.entry(book.replica.log()).or_insert(cursor);
            if known.0 < cursor.0 {
                *known = cursor;
            }
        }
        furthest.retain(|_, (seq, _)| 0 < *seq);
        let mut heads: Vec<(LogId, u64, u64, Digest)> = furthest
            .into_iter()
            .map(|(log, (seq, hash))| (log, 0, seq, hash))
            .collect();
        heads.sort_by_key(|head| head.0 != LogId::TEAM);
        heads.truncate(LOGS_PER_LINK_MAX);
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.machine.set_heads(heads);
        }
    }

    /// Compares what a neighbour has verified with what was verified here.
    // spec: peers/3.5
    pub(super) fn compare_heads(&mut self, peer: PeerId, heads: &[(LogId, u64, u64, Digest)]) {
        let mut compared = BTreeSet::new();
        for (log, _, seq, hash) in heads {
            if !compared.insert(*log) {
                continue;
            }
            let agrees = self
                .books()
                .filter(|book| book.replica.log() == *log)
                .find_map(|book| book.replica.agrees(*seq, *hash));
            let Some(neighbours) = &mut self.neighbours else {
                return;
            };
            let is_news = match agrees {
                Some(false) => match neighbours.forks.entry((peer, *log)) {
                    Entry::Vacant(fork) => {
                        fork.insert(*seq);
                        neighbours.forks_told.insert((peer, *log))
                    }
                    Entry::Occupied(_) => false,
                },
                // Histories that parted further on have this position in common.
                Some(true) => {
                    neighbours
                        .forks
                        .retain(|fork, at| *fork != (peer, *log) || *seq < *at);
                    false
                }
                None => false,
            };
            if is_news {
                let name = crate::docs::name_of(&self.peers, peer);
                let text = fork(&name, *seq);
                tracing::error!(text, "two histories");
                self.emit("fault", None, None, Some(name), text);
            }
        }
    }

    /// Who verified another history of this log, or of the team's, for people.
    pub(in crate::daemon) fn forks_of(&self, log: LogId) -> Vec<(String, String)> {
        let forks = self.neighbours.iter().flat_map(|known| &known.forks);
        let is_of = |of: &LogId| *of == log || *of == LogId::TEAM;
        let forks = forks.filter(|((peer, of), _)| is_of(of) && self.peers.contains_key(peer));
        let row = |((peer, _), seq): (&(PeerId, LogId), &u64)| {
            let name = crate::docs::name_of(&self.peers, *peer);
            let text = fork(&name, *seq);
            (name, text)
        };
        forks.map(row).collect()
    }
}

fn fork(name: &str, seq: u64) -> String {
    format!(
        "FORK: {name} verified another history at position {seq}: one of you was shown a false one, or {name} lies; \
         compare with others"
    )
}
