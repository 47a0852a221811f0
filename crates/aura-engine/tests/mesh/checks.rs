//! What must hold, looked at from outside the machines.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{Name, Running, World};

impl World {
    /// Members that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = (usize, &Running)> {
        let nodes = self.nodes[..self.members].iter().enumerate();
        nodes.filter_map(|(n, node)| Some((n, node.running.as_ref()?)))
    }

    pub(crate) fn degrees(&self) -> Vec<usize> {
        self.running()
            .map(|(_, running)| running.up.len())
            .collect()
    }

    /// Entries that somebody who runs lacks, counted at each.
    pub(crate) fn lacking(&self) -> usize {
        let all = self
            .running()
            .flat_map(|(_, running)| running.entries.keys());
        let all: BTreeSet<&Name> = all.collect();
        self.running()
            .map(|(_, running)| all.len() - running.entries.len())
            .sum()
    }

    /// Who of those that run does not know where `whom` is.
    pub(crate) fn unaware(&self, whom: usize) -> Vec<usize> {
        let node = &self.nodes[whom];
        let knows = |n: usize| {
            let known = self.nodes[n].table.get(&node.id);
            n == whom || known.is_some_and(|known| known.reach.counter == node.word.reach.counter)
        };
        self.running()
            .map(|(n, _)| n)
            .filter(|n| !knows(*n))
            .collect()
    }

    pub(crate) fn is_linked(&self, a: usize, b: usize) -> bool {
        let up = |n: usize, to: usize| {
            let running = self.nodes[n].running.as_ref()?;
            running.up.get(&self.nodes[to].id).copied()
        };
        up(a, b).is_some_and(|link| up(b, a) == Some(link) && self.net.is_between(link, a, b))
    }

    /// Whether those that run reach each other over links.
    pub(crate) fn is_whole(&self) -> bool {
        let Some((first, _)) = self.running().next() else {
            return true;
        };
        let (mut seen, mut open) = (BTreeSet::from([first]), vec![first]);
        while let Some(n) = open.pop() {
            let up = self.nodes[n]
                .running
                .iter()
                .flat_map(|running| running.up.keys());
            open.extend(up.map(|peer| self.ids[peer]).filter(|n| seen.insert(*n)));
        }
        seen.len() == self.running().count()
    }

    /// Both ends of every link agree, and there is one link between two.
    pub(crate) fn check_links(&self) {
        for (n, running) in self.running() {
            for peer in running.up.keys() {
                let other = self.ids[peer];
                assert!(
                    self.is_linked(n, other),
                    "{n} and {other} have not the same link"
                );
            }
        }
        let mut pairs: BTreeMap<[usize; 2], u32> = BTreeMap::new();
        for [a, b] in self.net.sessions() {
            *pairs.entry([a.min(b), a.max(b)]).or_default() += 1;
        }
        let doubled: Vec<_> = pairs.iter().filter(|(_, count)| 1 < **count).collect();
        assert!(doubled.is_empty(), "more than one link: {doubled:?}");
    }

    /// Everybody who runs holds the same entries, each writer's from the first on.
    ///
    /// That each is held once, in order and chained is asserted whenever one is held.
    pub(crate) fn check_entries(&self) {
        let Some((first, model)) = self.running().next() else {
            return;
        };
        for (n, running) in self.running() {
            let same = running.entries.keys().eq(model.entries.keys());
            assert!(same, "{n} and {first} do not hold the same");
            let hashes = |running: &Running| -> Vec<_> {
                running
                    .entries
                    .values()
                    .map(aura_proto::Entry::hash)
                    .collect()
            };
            assert_eq!(hashes(running), hashes(model), "{n} and {first}");
            for (writer, number) in running.exchange.held().iter() {
                let last = running.entries.range((*writer, 0)..=(*writer, u64::MAX));
                assert_eq!(last.count() as u64, number, "what is told is held");
            }
        }
    }
}

/// The `percent`-th percentile.
pub(crate) fn percentile<T: Ord + Copy>(values: &[T], percent: usize) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * percent / 100]
}
