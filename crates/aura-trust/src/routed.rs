//! Messages that others pass on: sealed to whom they are for, signed by whom they are from.
//!
//! Invariants:
//! - who passes a message on can neither read nor change what it says, nor whom it is from or for;
//! - a message opens only where it is for, under the very id and writer that its signature covers.

use aura_proto::{
    PeerId, TeamId, codec,
    limits::ROUTED_BYTES_MAX,
    message::{Routed, RoutedBody},
};

use crate::{
    keys::{BadSignature, IdentityKey, Purpose, ReceiveKey, verify},
    wrap::{WrapError, open_from, seal_to},
};

const SEAL_PURPOSE: &[u8] = b"aura/v1/routed-seal\0";

/// A new message and whom it is for.
pub struct Letter<'a> {
    /// The team.
    pub team: TeamId,
    /// Random, never used again.
    pub id: [u8; 16],
    /// Whom it is for.
    pub to: PeerId,
    /// The receive key of that peer.
    pub receive_key: &'a [u8; 32],
    /// Wall clock, milliseconds since 1970.
    pub time_ms: u64,
    /// What it says.
    pub body: &'a RoutedBody,
}

/// Seals and signs a message; hops and ways are the caller's to set. `random` serves this one only.
// spec: peers/7.2
pub fn seal_routed(
    key: &IdentityKey,
    letter: &Letter<'_>,
    random: [u8; 32],
) -> Result<Routed, WrapError> {
    let from = key.peer();
    let info = info(letter.team, letter.id, from, letter.to);
    let body = codec::encode(letter.body);
    let mut routed = Routed {
        id: letter.id,
        from,
        to: letter.to,
        time_ms: letter.time_ms,
        hops_left: 0,
        passed: Vec::new(),
        way: Vec::new(),
        sealed: seal_to(letter.receive_key, &info, &body, random)?,
        signature: Vec::new(),
    };
    let parts = routed.signed_parts(letter.team);
    routed.signature = key.sign(Purpose::Routed, &[&parts]).to_vec();
    Ok(routed)
}

/// Checks that a message is from whom it says.
// spec: peers/7.3
pub fn verify_routed(team: TeamId, routed: &Routed) -> Result<(), BadSignature> {
    if ROUTED_BYTES_MAX < routed.sealed.len() {
        return Err(BadSignature);
    }
    let parts = routed.signed_parts(team);
    verify(routed.from, Purpose::Routed, &[&parts], &routed.signature)
}

/// Reads a verified message that is for the holder of `receive`; nothing if it is not, or makes no sense.
pub fn open_routed(receive: &ReceiveKey, team: TeamId, routed: &Routed) -> Option<RoutedBody> {
    let info = info(team, routed.id, routed.from, routed.to);
    let body = open_from(receive, &info, &routed.sealed)?;
    codec::decode(&body).ok()
}

fn info(team: TeamId, id: [u8; 16], from: PeerId, to: PeerId) -> Vec<u8> {
    [SEAL_PURPOSE, &team.0, &id, &from.0, &to.0].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEAM: TeamId = TeamId([1; 16]);

    fn probe(to: &ReceiveKey) -> Routed {
        let letter = Letter {
            team: TEAM,
            id: [2; 16],
            to: PeerId([3; 32]),
            receive_key: &to.public(),
            time_ms: 4,
            body: &RoutedBody::Probe,
        };
        seal_routed(&IdentityKey::from_seed([5; 32]), &letter, [6; 32]).unwrap()
    }

    #[test]
    fn c33_only_whom_it_is_for_reads_it_and_nobody_changes_it() {
        let (to, other) = (
            ReceiveKey::from_seed([7; 32]),
            ReceiveKey::from_seed([8; 32]),
        );
        let routed = probe(&to);
        assert!(verify_routed(TEAM, &routed).is_ok());
        assert_eq!(open_routed(&to, TEAM, &routed), Some(RoutedBody::Probe));
        assert_eq!(open_routed(&other, TEAM, &routed), None);
        assert_eq!(open_routed(&to, TeamId([9; 16]), &routed), None);
        // Hops change on the way.
        let mut further = routed.clone();
        (further.hops_left, further.passed) = (3, vec![PeerId([9; 32])]);
        assert!(verify_routed(TEAM, &further).is_ok());
        let changes: [fn(&mut Routed); 5] = [
            |routed| routed.id[0] ^= 1,
            |routed| routed.from.0[0] ^= 1,
            |routed| routed.to.0[0] ^= 1,
            |routed| routed.time_ms ^= 1,
            |routed| routed.sealed[40] ^= 1,
        ];
        for change in changes {
            let mut changed = routed.clone();
            change(&mut changed);
            assert!(verify_routed(TEAM, &changed).is_err());
        }
    }
}
