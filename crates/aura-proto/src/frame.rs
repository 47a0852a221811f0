//! Frames: what travels on a link, and the numbers of their types.
//!
//! Layout, in bytes (spec: framing/2.1): type 1 · flags 1 · stream 4 · length 4 · payload. A message larger than
//! one frame is cut into fragments on its stream; all but the last carry [`Flags::MORE`].
//!
//! Invariants:
//! - a header is believed only after its length passed the cap of its type;
//! - an unknown type closes the link unless it is marked optional.

use crate::limits::FRAME_BYTES_MAX;

/// Bytes of a frame header.
pub const FRAME_HEADER_BYTES: usize = 10;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameType(pub u8);

macro_rules! frame_types {
    ($($(#[$doc:meta])* $name:ident = $number:expr;)*) => {
        impl FrameType {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Every frame type that has a name, in order of number.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, stringify!($name))),*];
        }
    };
}

frame_types! {
    /// Version range and feature bits; the first frame of each side.
    HELLO = 0x01;
    /// Proof of the identity key, bound to this very TLS session.
    AUTH = 0x02;
    /// The server's answer to AUTH.
    WELCOME = 0x03;
    /// More credit for a stream or, on stream 0, for the link.
    WINDOW = 0x04;
    /// Ends a stream at once.
    RESET = 0x05;
    /// A refusal, or the reason for closing.
    ERROR = 0x06;
    /// "Tell me what I lack": a cursor and a version vector for one log.
    WAL_SUBSCRIBE = 0x10;
    /// The answer: where the log stands.
    WAL_HEAD = 0x11;
    /// Consecutive entries of a log.
    WAL_EVENT = 0x12;
    /// "Tell me only what you hold, I have it from others."
    WAL_PRUNE = 0x13;
    /// Entries of the sender for a log.
    PATCH_PUSH = 0x20;
    /// What became of pushed entries, one by one.
    PATCH_ACK = 0x21;
    /// A message for members.
    MSG_SEND = 0x30;
    /// A message that arrived.
    MSG_EVENT = 0x31;
    /// A sealed message for one peer that others pass on.
    MSG_ROUTE = 0x32;
    /// A claim on paths or units.
    ZONE_CLAIM = 0x40;
    /// The end of a claim.
    ZONE_RELEASE = 0x41;
    /// The peer list or a change of it.
    PEER_EVENT = 0x50;
    /// A question about peers that the sender does not know well enough.
    PEER_QUERY = 0x51;
    /// Signed words of peers on where they are.
    PEER_REACH = 0x52;
    /// Sealed words of devices on who edits what now.
    PEER_ACTIVITY = 0x53;
    /// "Are you there", with heads.
    HEARTBEAT = 0x60;
    /// The answer, with the sender's heads.
    HEARTBEAT_ACK = 0x61;
    /// A request for admission; only on the enrolment protocol.
    JOIN_REQUEST = 0x70;
    /// Certificate and team of a newcomer.
    JOIN_GRANT = 0x71;
    /// A request for a fresh certificate.
    RENEW_REQUEST = 0x72;
    /// The fresh certificate.
    RENEW_GRANT = 0x73;
    /// Asks for a circuit to another peer, offers one, takes it, or says that it stands.
    RELAY_OPEN = 0x80;
    /// Bytes of a circuit.
    RELAY_DATA = 0x81;
    /// Ends a circuit, or declines it.
    RELAY_CLOSE = 0x82;
    /// "So many bytes of the circuit were taken, as many more may follow."
    RELAY_CREDIT = 0x83;
}

impl FrameType {
    /// The name, or `None` for a number that this build does not know.
    pub fn name(self) -> Option<&'static str> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == self)
            .map(|(_, name)| *name)
    }

    /// Whether a frame of this type must carry a payload.
    pub fn needs_payload(self) -> bool {
        self != Self::HEARTBEAT && self != Self::HEARTBEAT_ACK
    }
}

/// Bits of a frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// More fragments of this message follow on the stream.
    pub const MORE: u8 = 1;
    /// The sender ends its half of the stream with this frame.
    pub const END: u8 = 2;
    /// Whoever does not know the type may ignore the frame.
    pub const OPTIONAL: u8 = 4;
    /// Two bits that hold the class of the stream, see [`crate::session::Class`].
    pub const CLASS_MASK: u8 = 0b0001_1000;
    /// How far the class is shifted to the left.
    pub const CLASS_SHIFT: u8 = 3;

    /// Whether `bit` is set.
    pub fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// A decoded frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame carries.
    pub kind: FrameType,
    /// Bits.
    pub flags: Flags,
    /// The stream; 0 is the control stream.
    pub stream: u32,
    /// Payload length in bytes.
    pub len: u32,
}

impl FrameHeader {
    /// The bytes of the header.
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        out[0] = self.kind.0;
        out[1] = self.flags.0;
        out[2..6].copy_from_slice(&self.stream.to_be_bytes());
        out[6..10].copy_from_slice(&self.len.to_be_bytes());
        out
    }

    /// Reads a header; its length is still to be compared with the caps.
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Self {
        let [kind, flags, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        Self {
            kind: FrameType(kind),
            flags: Flags(flags),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            len: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }

    /// Whether the payload is within the frame limit.
    pub fn is_within_limit(&self) -> bool {
        self.len as usize <= FRAME_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let header = FrameHeader {
            kind: FrameType::WAL_EVENT,
            flags: Flags(Flags::MORE),
            stream: 0x0102_0304,
            len: 77,
        };
        assert_eq!(FrameHeader::decode(&header.encode()), header);
    }
}
