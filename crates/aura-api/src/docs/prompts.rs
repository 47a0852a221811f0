//! What shell prompts read: a file, so that no prompt waits for a daemon.

use serde::{Deserialize, Serialize};

row! {
    /// One clone.
    PromptDoc {
        /// Its working tree.
        path: String,
        /// `synced`, `syncing`, `offline` or `error`.
        word: String,
        /// Patches of others that wait.
        waiting: u64,
        /// What needs somebody: conflicts and messages.
        needs: u64,
    }
}

doc! {
    /// The file of all clones.
    Prompts = "aura.prompts/1" {
        /// The daemon that wrote it.
        pid: u32,
        /// Its clones.
        clones: Vec<PromptDoc>,
    }
}
