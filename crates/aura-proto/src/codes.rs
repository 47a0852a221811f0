//! Codes that one side tells the other: numbers that survive being unknown, with a name each.
//!
//! Invariants:
//! - a number is never reused, an unknown number is shown as a number;
//! - `proto-spec/codes.md` lists the same pairs (compared by a test).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request was refused or a link closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Code(pub u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:expr;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Every code that has a name, in order of number.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, stringify!($name))),*];
        }
    };
}

codes! {
    /// The peer asked to end the link.
    BYE = 0;
    /// A frame is not allowed at this point of the session.
    PROTOCOL = 1;
    /// A frame's length does not go with its type.
    FRAME_INVALID = 2;
    /// A frame is longer than the limit.
    FRAME_TOO_LARGE = 3;
    /// A frame type is unknown and not marked optional.
    UNKNOWN_FRAME = 4;
    /// A stream id is zero, reused, of the wrong parity, or went backwards.
    STREAM_INVALID = 5;
    /// Too many streams are open; only that stream is refused.
    STREAM_LIMIT = 6;
    /// More was sent than the window allows.
    FLOW_CONTROL = 7;
    /// Too many frames of a kind that costs work without carrying any.
    RATE = 8;
    /// A message is longer than the limit, before or after decompression.
    TOO_LARGE = 9;
    /// Bytes do not decode as the message that their type promises.
    DECODE = 10;
    /// Nothing arrived, or nothing could be written, for too long.
    TIMEOUT = 11;
    /// No common protocol version.
    VERSION = 12;
    /// A lower version than used before was offered.
    DOWNGRADE = 13;
    /// The server is stopping; come back in a moment.
    DRAINING = 14;
    /// A newer link of the same peer took over.
    SUPERSEDED = 15;
    /// Too much at once; try again later.
    BUSY = 16;
    /// The disk is full; nothing was stored.
    NO_SPACE = 17;
    /// The certificate names another role than expected.
    ROLE_MISMATCH = 32;
    /// The other end is not the peer that was dialled.
    IDENTITY_MISMATCH = 33;
    /// The peer was removed from the team.
    REVOKED = 34;
    /// The proof that the identity key is held failed.
    POP_FAILED = 35;
    /// The role does not allow this.
    FORBIDDEN = 36;
    /// Not a member of this team.
    UNKNOWN_PEER = 37;
    /// Another peer has this name.
    NAME_TAKEN = 38;
    /// The clock stands behind the highest time seen.
    CLOCK_BEHIND = 39;
    /// The token is not one of ours, or malformed.
    TOKEN_INVALID = 64;
    /// The token has ended.
    TOKEN_EXPIRED = 65;
    /// The token was used.
    TOKEN_REPLAYED = 66;
    /// The token was revoked.
    TOKEN_REVOKED = 67;
    /// The token was made for somebody else to check.
    TOKEN_AUDIENCE = 68;
    /// The token was made by somebody who may not.
    TOKEN_ISSUER = 69;
    /// The token is of another type.
    TOKEN_TYPE = 70;
    /// The token lives longer than allowed.
    TOKEN_TTL_TOO_LONG = 71;
    /// The author's signature does not verify.
    BAD_SIGNATURE = 96;
    /// The entry belongs to another team.
    WRONG_TEAM = 97;
    /// The entry's author is not allowed to push it here.
    WRONG_AUTHOR = 98;
    /// A number of the author is missing before this one.
    AUTHOR_GAP = 99;
    /// Two different entries under one number.
    EQUIVOCATION = 100;
    /// The entry does not chain to the author's previous one.
    ORDER = 101;
    /// The author's protocol level went down.
    LEVEL = 102;
    /// The log's history differs from what the peer has verified.
    FORK = 103;
    /// This side holds less than the peer has verified; it takes nothing until repaired.
    BEHIND_PEERS = 104;
    /// The log is not known or not open to this peer.
    UNKNOWN_LOG = 105;
    /// The frame type is known and not served by this build.
    UNSUPPORTED = 106;
}

impl Code {
    /// The name, or `None` for a number that this build does not know.
    pub fn name(self) -> Option<&'static str> {
        Self::ALL
            .iter()
            .find(|(code, _)| *code == self)
            .map(|(_, name)| *name)
    }

    /// Whether the same request may succeed later without anybody changing it.
    pub fn passes(self) -> bool {
        matches!(self, Self::AUTHOR_GAP | Self::BUSY | Self::NO_SPACE)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "CODE_{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique() {
        for (i, (code, name)) in Code::ALL.iter().enumerate() {
            for (other, other_name) in &Code::ALL[i + 1..] {
                assert_ne!(code, other);
                assert_ne!(name, other_name);
            }
        }
    }

    #[test]
    fn an_unknown_number_is_shown_as_a_number() {
        assert_eq!(Code(9_999).to_string(), "CODE_9999");
        assert_eq!(Code::REVOKED.to_string(), "REVOKED");
    }
}
