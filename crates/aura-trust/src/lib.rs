//! Who may say what: keys, signatures, sealing, invitations, certificates and the list of members.
//!
//! Invariants:
//! - nothing here reads a clock, a socket, a file or a random source: times and random bytes are arguments;
//! - one key serves one purpose, and every signature starts with the name of its purpose ([`Purpose`]);
//! - secrets are wiped when dropped and print as `[redacted]`;
//! - no input from outside panics.

pub mod cert;
mod derive;
pub mod entry;
mod join_jwt;
pub mod keys;
pub mod membership;
pub mod proof;
mod reader;
pub mod roster;
pub mod routed;
pub mod seal;
pub mod token;
pub mod words;
pub mod wrap;
pub mod zones;

pub use cert::{
    Ca, CaError, CertError, CertIdentity, IssueError, Subject, TlsKey, public_key_hash,
};
pub use entry::{
    SignError, VerifiedEntry, sign_checkpoint, sign_entry, verify_checkpoint, verify_entry,
};
pub use join_jwt::{
    AcceptedJoin, JoinClaims, JoinPolicy, USES_MAX, check_join_jwt, inspect_join_jwt, make_join_jwt,
};
pub use keys::{
    BadSignature, IdentityKey, KeyRing, Purpose, ReceiveKey, TeamKey, sign_activity, sign_reach,
    sign_receive_key, verify, verify_activity, verify_reach, verify_receive_key,
};
pub use membership::{KeyBody, KeyWrap, LastAccepted, MemberCard, MembershipBody};
pub use proof::{
    Exporter, JoinTranscript, RenewTranscript, Side, auth_proof, identity_proof, renew_proof,
    seed_proof, verify_auth, verify_join, verify_renew,
};
pub use roster::{Change, Refusal, Root, Roster};
pub use routed::{Letter, open_routed, seal_routed, verify_routed};
pub use seal::{OpenError, SEAL_OVERHEAD_BYTES, SealContext, open, seal};
pub use token::{InviteSeed, Token, TokenShapeError, open_ring_from_invite, seal_ring_for_invite};
pub use words::words;
pub use wrap::{UnwrapError, WRAP_BYTES, WrapError, commit, unwrap_key, wrap_key};
pub use zones::Tagger;
