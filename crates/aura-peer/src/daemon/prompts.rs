//! What shell prompts show, written down whenever it changes.
//!
//! Invariant: it is a view for people; losing it costs nothing, and it is gone with the daemon.

use aura_api::{docs, home::PROMPTS_FILE};
use aura_store::write_unsynced;

use super::Daemon;

impl Daemon {
    /// Writes down what has changed since the last time.
    pub(super) fn tell_prompts(&mut self) {
        let clone = |desk: &crate::desk::Desk| docs::PromptDoc {
            path: desk.path.display().to_string(),
            word: desk.standing.word().as_str().to_owned(),
            waiting: desk.waiting() as u64,
            needs: (desk.conflicts_open() + desk.inbox.unread()) as u64,
        };
        let clones: Vec<docs::PromptDoc> = self.desks.values().map(clone).collect();
        if clones == self.prompts {
            return;
        }
        let document = docs::Prompts {
            schema: docs::Prompts::SCHEMA.to_owned(),
            pid: std::process::id(),
            clones: clones.clone(),
        };
        self.prompts = clones;
        let file = self.home.join("run").join(PROMPTS_FILE);
        if let Ok(bytes) = serde_json::to_vec(&document) {
            // A prompt that shows what was is no harm.
            write_unsynced(&file, &bytes, 0o600).ok();
        }
    }
}
