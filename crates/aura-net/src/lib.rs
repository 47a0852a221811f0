//! TLS, listening, dialling and the loop that drives a link: where bytes and time enter.
//!
//! Invariants:
//! - TLS 1.3 only, no resumption, no early data; one crypto provider;
//! - a certificate counts by its role and identity key, never by a name or an address;
//! - nothing here decides what a message means.

pub mod circuit;
pub mod clock;
pub mod dial;
pub mod lan;
pub mod link;
pub mod listen;
pub mod tls;

pub use clock::Clock;
pub use dial::{Attempt, DialError, Dialed, Dialer, dial, dial_join};
pub use lan::{Lan, LanConfig, LanError, LanKey};
pub use link::{LinkEvent, LinkHandle};
pub use listen::{Incoming, ListenConfig, ListenError, Listener, Renewer, Slot};
pub use tls::{Credentials, Expect, Mismatch, PeerIdentity, Revoked, TlsError};
