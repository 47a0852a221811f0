//! What the sealed body of a message says.
//!
//! Invariant: a message is an entry, so it comes once, in its sender's order, and waits for whoever is away.

use aura_proto::{
    Entry, Incarnation, PeerId, Writer,
    codec::{self, DecodeError},
    ids::base32,
    pack::{pack, unpack},
};
use serde::{Deserialize, Serialize};

use super::body::{BodyError, WHY_BYTES_MAX, WORD_BYTES_MAX};

/// Devices that one message may be for; one for everybody names none.
pub const RECIPIENTS_MAX: usize = 1_024;

/// Names an entry of the same log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryName {
    /// Its author.
    pub peer: PeerId,
    /// The author's incarnation.
    pub incarnation: Incarnation,
    /// The author's number.
    pub author_seq: u64,
}

impl EntryName {
    /// The name of an entry.
    pub fn of(entry: &Entry) -> Self {
        let header = entry.header();
        Self {
            peer: header.writer.peer,
            incarnation: header.writer.incarnation,
            author_seq: header.author_seq,
        }
    }

    /// Whose entry it is, and its number.
    pub fn key(&self) -> (Writer, u64) {
        let writer = Writer {
            peer: self.peer,
            incarnation: self.incarnation,
        };
        (writer, self.author_seq)
    }
}

/// The body of an entry of kind MESSAGE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageBody {
    /// Something said.
    Text {
        /// For whom; nobody in particular is everybody.
        to: Vec<PeerId>,
        /// What it is about: a symbol, a conflict, a zone, as people name it.
        about: Option<String>,
        /// Which message it answers.
        re: Option<EntryName>,
        /// Whether it should not wait; believed of people alone.
        is_urgent: bool,
        /// The words.
        text: String,
    },
    /// Whoever a message is for has taken note of it.
    Ack {
        /// Which.
        of: EntryName,
    },
}

impl MessageBody {
    /// Whether an honest daemon could have made it.
    // spec: messages/1.3
    pub fn check(&self) -> Result<(), BodyError> {
        let is_bounded = match self {
            Self::Text {
                to, about, text, ..
            } => {
                to.len() <= RECIPIENTS_MAX
                    && text.len() <= WHY_BYTES_MAX
                    && about
                        .as_ref()
                        .is_none_or(|about| about.len() <= WORD_BYTES_MAX)
            }
            Self::Ack { .. } => true,
        };
        is_bounded.then_some(()).ok_or(BodyError::Bounds)
    }

    /// The bytes that are sealed.
    pub fn encode(&self) -> Vec<u8> {
        pack(codec::encode(self))
    }

    /// Reads unsealed bytes.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        codec::decode(&unpack(bytes)?)
    }
}

/// How people name a message: `m-` and six characters.
pub fn message_name(entry: &Entry) -> String {
    format!("m-{}", &base32().encode(&entry.hash().0)[..8])
}
