//! The answers about messages.

use serde::{Deserialize, Serialize};

row! {
    /// One message.
    MessageDoc {
        /// Such as `m-7sy5pp`.
        id: String,
        /// Who sent it.
        from: String,
        /// `person` or `agent`: what an agent says is what somebody's program says.
        kind: String,
        /// For whom; nobody in particular is everybody.
        to: Vec<String>,
        /// What it is about.
        about: Option<String>,
        /// The message that it answers.
        re: Option<String>,
        /// Whether a person asks for it not to wait.
        urgent: bool,
        /// The words, as they came.
        text: String,
        /// When it was sent, by its sender's clock.
        at: String,
        /// Whether it is for this device and was not read.
        unread: bool,
        /// Who has taken note of it.
        acks: Vec<String>,
    }
}

doc! {
    /// Answer of `inbox`.
    Inbox = "aura.inbox/1" {
        /// In the order in which they came.
        messages: Vec<MessageDoc>,
    }
}

doc! {
    /// Answer of `msg send`, `msg reply` and `msg ack`.
    Sent = "aura.message/1" {
        /// `sent`, or `queued` while the Mothership cannot be reached.
        state: String,
        /// What the message is called.
        id: String,
        /// For whom; nobody in particular is everybody.
        to: Vec<String>,
    }
}
