//! How each repository stands with its team: what the machine is told, and who hears its word.
//!
//! Invariant: the word is the machine's; faces, prompts and watchers are all told the same.

use aura_engine::peer::standing::Facts;

use super::Daemon;
use crate::desk::Desk;

impl Daemon {
    /// Says how each repository stands, where that has changed.
    pub(super) fn tend_standing(&mut self) {
        let now = self.now();
        for path in self.desks.keys().cloned().collect::<Vec<_>>() {
            let facts = self.desks.get(&path).map(|desk| self.facts(desk));
            let desk = self.desks.get_mut(&path).zip(facts);
            let word = desk.and_then(|(desk, facts)| desk.standing.handle(now, facts));
            if let Some(word) = word {
                let text = match word.lacking() {
                    0 => word.as_str().to_owned(),
                    lacking => format!("{} {lacking}", word.as_str()),
                };
                self.emit("state", Some(&path), None, None, text);
            }
        }
    }

    /// What the word for a repository follows from.
    fn facts(&self, desk: &Desk) -> Facts {
        let held = desk.held_back.values();
        Facts {
            has_fault: self.trouble(desk).is_some(),
            is_linked: self.is_control_up(),
            is_level: desk.book.replica.is_synced(),
            lacking: held.filter(|why| !why.is_left_out()).count() as u64,
        }
    }
}
