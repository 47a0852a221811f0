//! Whether others were shown the same history by the Mothership.
//!
//! Invariant: what a neighbour says of its head proves nothing, so it stops nothing; people are told, and by whom.

use aura_proto::{Digest, LogId, PeerId};

use crate::daemon::Daemon;

impl Daemon {
    /// Says in heartbeats what this device has verified.
    pub(super) fn show_heads(&mut self) {
        let heads = self.books().map(|book| {
            let (seq, hash) = book.replica.cursor();
            (book.replica.log(), 0, seq, hash)
        });
        let mut heads: Vec<(LogId, u64, u64, Digest)> = heads.filter(|head| 0 < head.2).collect();
        heads.dedup_by_key(|head| head.0);
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.machine.set_heads(heads);
        }
    }

    /// Compares what a neighbour has verified with what was verified here.
    // spec: peers/3.5
    pub(super) fn compare_heads(&mut self, peer: PeerId, heads: &[(LogId, u64, u64, Digest)]) {
        for (log, _, seq, hash) in heads {
            let agrees = self
                .books()
                .filter(|book| book.replica.log() == *log)
                .find_map(|book| book.replica.agrees(*seq, *hash));
            let Some(neighbours) = &mut self.neighbours else {
                return;
            };
            let is_news = match agrees {
                Some(false) => neighbours.forks.insert((peer, *log), *seq).is_none(),
                Some(true) => {
                    neighbours.forks.remove(&(peer, *log));
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
        let forks = forks.filter(|((_, of), _)| is_of(of));
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
