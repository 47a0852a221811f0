//! Documents about a desk, as faces get them.
//!
//! Invariant: nothing here changes anything.

use std::{collections::BTreeMap, net::SocketAddr};

use aura_api::docs;
use aura_engine::peer::{
    body::{Cause, VersionId},
    links::{PeerLinkRow, Way, Why},
    units::{Conflict, Side, Units},
};
use aura_proto::{
    PeerId,
    message::{PeerCard, PeerState},
    reach::{Class, Locality, class_of},
};
use aura_semantic::OwnText;

use crate::{
    clock::rfc3339,
    daemon::person_of,
    desk::{Desk, doing::Edited, symbols::full},
};

/// Names of peers.
pub(crate) type Names = BTreeMap<PeerId, PeerCard>;

pub(crate) fn name_of(names: &Names, peer: PeerId) -> String {
    names
        .get(&peer)
        .map_or_else(|| peer.short(), |card| card.name.clone())
}

/// What the patches recorded from `first` on did, unit by unit, in the order of recording.
pub(crate) fn ops_since(units: &Units, first: usize, names: &Names) -> Vec<docs::OpDoc> {
    let indices = first..units.recorded().len();
    indices.flat_map(|index| ops(units, index, names)).collect()
}

/// What a recorded patch did, unit by unit.
pub(crate) fn ops(units: &Units, index: usize, names: &Names) -> Vec<docs::OpDoc> {
    let rows = units
        .recorded()
        .get(index)
        .map_or(0, |recorded| recorded.touched.len());
    (0..rows)
        .filter_map(|row| op(units, index, row, names))
        .collect()
}

/// What a recorded patch did to the unit of one of its rows.
pub(crate) fn op(units: &Units, index: usize, row: usize, names: &Names) -> Option<docs::OpDoc> {
    let recorded = units.recorded().get(index)?;
    let (unit, name, version, number) = recorded.touched.get(row)?;
    let path = &recorded.path;
    let parents = units.parents(path, *unit, *version);
    let from = units.moved_by(index, row);
    let moved_from = from.map(|(path, _, name)| full(&path, &name));
    let joined = parents.iter().filter(|_| recorded.cause == Cause::Merge);
    Some(docs::OpDoc {
        op: op_name(*version),
        symbol: full(path, name),
        kind: units.deed(index, row).to_owned(),
        author: name_of(names, recorded.origin.writer.peer),
        at: rfc3339(recorded.origin.time_ms),
        seq: recorded.origin.seq,
        why: recorded.why.clone(),
        version: format!("v{number}"),
        renamed_from: recorded.former_name(*unit).map(ToString::to_string),
        moved_from,
        joined: joined.map(|parent| op_name(*parent)).collect(),
    })
}

/// How people name a version.
pub(crate) fn op_name(version: VersionId) -> String {
    format!("o-{}", version.short())
}

pub(crate) fn conflict(
    desk: &Desk,
    conflict: &Conflict,
    names: &Names,
    with_text: bool,
) -> docs::ConflictDoc {
    let side = |side: &Side| {
        let recorded = &desk.units.recorded()[side.recorded];
        docs::SideDoc {
            op: Some(op_name(side.version)),
            author: name_of(names, recorded.origin.writer.peer),
            at: Some(rfc3339(recorded.origin.time_ms)),
            text: side.text.as_ref().filter(|_| with_text).map(text),
            deleted: side.content.is_none(),
        }
    };
    let base = conflict.base.as_ref().map(|base| docs::SideDoc {
        op: None,
        author: String::new(),
        at: None,
        text: with_text.then(|| text(base)),
        deleted: false,
    });
    let since = [&conflict.mine, &conflict.theirs]
        .map(|side| desk.units.recorded()[side.recorded].origin.time_ms)
        .into_iter()
        .max();
    docs::ConflictDoc {
        id: conflict.id.clone(),
        symbol: full(&conflict.path, &conflict.name),
        path: conflict.path.clone(),
        since: rfc3339(since.unwrap_or(0)),
        reason: reason(conflict).to_owned(),
        base,
        mine: side(&conflict.mine),
        theirs: side(&conflict.theirs),
    }
}

fn reason(conflict: &Conflict) -> &'static str {
    match [&conflict.mine, &conflict.theirs].map(|side| side.content.is_none()) {
        [false, false] if conflict.of_file.is_some() => {
            "both know the same changes, and have different texts"
        }
        [false, false] if conflict.base.is_none() => "both sides made it, with different texts",
        [false, false] => "both sides changed the same lines",
        [true, false] | [false, true] => "one side deleted it, the other changed it",
        [true, true] => "both sides deleted it",
    }
}

fn text(text: &OwnText) -> String {
    let head = String::from_utf8_lossy(text.head.bytes());
    let foot = text
        .foot
        .as_ref()
        .map(|foot| String::from_utf8_lossy(foot.bytes()));
    foot.map_or_else(|| head.to_string(), |foot| format!("{head}{foot}"))
}

/// A peer as it is known; without a link to it or to the Mothership nothing is known of whether it is there.
pub(crate) fn peer(
    card: &PeerCard,
    me: PeerId,
    (reads, is_up): (bool, bool),
    link: Option<&PeerLinkRow>,
) -> docs::PeerDoc {
    let is_self = card.peer == me;
    let way = link.and_then(|link| link.way);
    let state = match card.state {
        _ if !is_up && is_self => "offline",
        _ if !is_up && way.is_some() => "online",
        _ if !is_up => "unknown",
        PeerState::Online => "online",
        PeerState::Away => "away",
        PeerState::Offline => "offline",
    };
    let path = match (is_self, way) {
        (true, _) => "self",
        (false, Some(way)) => path_of(way),
        (false, None) if is_up => "via mothership",
        (false, None) => "none",
    };
    let tried = link.map_or(&[][..], |link| &link.attempts);
    let tried = tried.iter().map(|tried| docs::TriedDoc {
        address: tried.address.to_string(),
        class: class_word(tried.address).to_owned(),
        result: tried.result.clone(),
        ms: tried.ms,
        age_ms: tried.age_ms,
    });
    docs::PeerDoc {
        name: card.name.clone(),
        peer: card.peer.to_string(),
        role: card.role.as_str().to_owned(),
        state: state.to_owned(),
        last_seen: (0 < card.last_seen_ms).then(|| rfc3339(card.last_seen_ms)),
        path: path.to_owned(),
        rtt_ms: link.and_then(|link| link.srtt_ms.filter(|_| way.is_some())),
        why: link.and_then(why_not_direct),
        tried: tried.collect(),
        reads,
        doing: Vec::new(),
        person: person_of(&card.name).to_owned(),
        score_ms: link.map(|link| link.score_ms),
        up_ms: link.and_then(|link| link.up_ms),
    }
}

/// What somebody edits in a repository, as faces see it.
pub(crate) fn doing(desk: &Desk, edited: &Edited, wall_ms: u64) -> docs::DoingDoc {
    let spot = &edited.spot;
    docs::DoingDoc {
        symbol: spot.unit.as_ref().map(|(_, name)| name.clone()),
        path: spot.path.clone(),
        branch: edited.channel.clone(),
        elsewhere: edited.channel != desk.units.channel(),
        repo: desk.path.display().to_string(),
        at: rfc3339(wall_ms.saturating_sub(spot.ago_ms)),
        now: edited.is_now(),
        mine_too: edited.is_mine_too,
    }
}

/// Why there is no direct link, with what went wrong last where that says more.
pub(crate) fn why_not_direct(link: &PeerLinkRow) -> Option<String> {
    let why = link.why?;
    Some(match (why, &link.last_error) {
        (Why::Waiting, Some(error)) => format!("{why} ({error})"),
        _ => why.to_string(),
    })
}

/// The word for how a link runs.
pub(crate) fn path_of(way: Way) -> &'static str {
    match way {
        Way::Relay => "relayed",
        Way::Direct(address) => match class_of(address, Locality::Machine) {
            Some(Class::Lan) => "direct lan",
            Some(Class::Mesh) => "direct mesh",
            Some(Class::Machine | Class::Other) | None => "direct",
        },
    }
}

/// The word for the network that an address is in.
pub(crate) fn class_word(address: SocketAddr) -> &'static str {
    let class = class_of(address, Locality::Machine);
    class.map_or("other", Class::as_str)
}
