//! The operator's socket: requests of whoever owns the state directory.
//!
//! Invariants:
//! - only the owner reaches the socket;
//! - a request longer than the limit ends the connection;
//! - what changes anything is answered after it is durable.

use std::path::Path;

use aura_api::{AdminCall, Exit, Failure, REQUEST_BYTES_MAX, Reply, docs, socket};
use aura_engine::hub::{Command, Input, Member};
use aura_proto::{
    Code, PeerId,
    ids::base32,
    limits::TOKEN_TTL_S_MAX,
    message::{PeerState, Role},
};
use aura_trust::{InviteSeed, JoinClaims, Token, make_join_jwt};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};

use crate::{
    bridge::{random, rfc3339, unix_seconds},
    offline,
    serve::{Event, Server, chain},
};

/// Name of the socket in the state directory.
pub(crate) const SOCKET: &str = "admin.sock";

/// A request that waits for the disk.
pub(crate) struct Pending {
    document: Value,
    reply: oneshot::Sender<Result<Value, Failure>>,
}

/// How long accepting pauses after it failed.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Listens on the operator's socket.
pub(crate) fn listen(state_dir: &Path, events: mpsc::Sender<Event>) -> Result<(), Failure> {
    let bound = socket::bind(state_dir, SOCKET).and_then(|listener| {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    });
    let listener = bound.map_err(|error| {
        Failure::new(
            "AE-STORAGE",
            Exit::STORAGE,
            format!("the operator's socket: {}", chain(&error)),
        )
    })?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if socket::is_own(&stream) => {
                    tokio::spawn(converse(stream, events.clone()));
                }
                Ok(_) => {}
                Err(error) => {
                    // Out of descriptors, most likely: they come back, and removing a peer must then be possible.
                    tracing::warn!(%error, "the operator's socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    Ok(())
}

async fn converse(stream: UnixStream, events: mpsc::Sender<Event>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let limit = REQUEST_BYTES_MAX as u64 + 1;
        match (&mut read).take(limit).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let is_too_long = REQUEST_BYTES_MAX < line.len();
        let answer = match serde_json::from_slice::<AdminCall>(&line) {
            _ if is_too_long => Err(too_long()),
            Ok(call) => {
                let (reply, answer) = oneshot::channel();
                if events.send(Event::Admin(call, reply)).await.is_err() {
                    return;
                }
                answer.await.unwrap_or_else(|_| Err(stopping()))
            }
            Err(error) => Err(Failure::new("AE-REQUEST", Exit::USAGE, error.to_string())),
        };
        let reply = match answer {
            Ok(document) => Reply::Done(document),
            Err(failure) => Reply::Failed(failure),
        };
        let Ok(mut bytes) = serde_json::to_vec(&reply) else {
            return;
        };
        bytes.push(b'\n');
        if write.write_all(&bytes).await.is_err() || is_too_long {
            return;
        }
    }
}

fn too_long() -> Failure {
    Failure::new("TOO_LARGE", Exit::BUSY, "the request is too long")
}

fn stopping() -> Failure {
    Failure::new("AE-DRAINING", Exit::BUSY, "the mothership is stopping").retryable()
}

/// Handles one request.
pub(crate) fn handle(
    server: &mut Server,
    call: AdminCall,
    reply: oneshot::Sender<Result<Value, Failure>>,
) {
    let answer = match call {
        AdminCall::Invite {
            name,
            role,
            uses,
            ttl_s,
        } => {
            return invite(server, name, &role, uses, ttl_s, reply);
        }
        AdminCall::PeerRevoke { peer, reason } => {
            return revoke(server, &peer, reason, reply);
        }
        AdminCall::TokenRevoke { id } => return revoke_token(server, &id, reply),
        AdminCall::PeerList => document(&peers(server)),
        AdminCall::Status => document(&status(server)),
        AdminCall::TokenList => document(&tokens(server)),
        AdminCall::WalStat => {
            let (segments, bytes) = server.wal_stat;
            document(&docs::WalStat {
                schema: docs::WalStat::SCHEMA.to_owned(),
                segments,
                records: server.hub.ledger().iter().map(|(_, log)| log.seq()).sum(),
                durable: server.hub.ledger().iter().map(|(_, log)| log.seq()).sum(),
                bytes,
                epoch: 0,
            })
        }
        AdminCall::Log { limit } => tail(server, limit, docs::BoxLog::SCHEMA),
        AdminCall::WalTail { limit } => tail(server, limit, docs::WalTail::SCHEMA),
    };
    // An operator who hung up needs no answer.
    reply.send(answer).ok();
}

/// Tells an operator how a command ended.
pub(crate) fn answer(server: &mut Server, request: u64, result: Result<(), Code>) {
    let Some(pending) = server.requests.remove(&request) else {
        return;
    };
    let answer = match result {
        Ok(()) => Ok(pending.document),
        Err(Code::NO_SPACE) => {
            Err(Failure::new("NO_SPACE", Exit::BUSY, "the disk is full").retryable())
        }
        Err(code @ (Code::BEHIND_PEERS | Code::FORK)) => {
            let message = "peers have verified more than this mothership holds; it stores nothing";
            Err(
                Failure::new(&code.to_string(), Exit::INTEGRITY, message).next(
                    "mothership wal verify",
                    "see what is here, and restore the newest copy",
                ),
            )
        }
        Err(code) => Err(Failure::new(
            &code.to_string(),
            Exit::FAILED,
            format!("refused: {code}"),
        )),
    };
    pending.reply.send(answer).ok();
}

fn ask(
    server: &mut Server,
    command: Command,
    document: Value,
    reply: oneshot::Sender<Result<Value, Failure>>,
) {
    server.request_last += 1;
    let request = server.request_last;
    server.requests.insert(request, Pending { document, reply });
    server.tell(Input::Command { request, command });
}

fn invite(
    server: &mut Server,
    name: Option<String>,
    role: &str,
    uses: u32,
    ttl_s: u64,
    reply: oneshot::Sender<Result<Value, Failure>>,
) {
    let made = make_token(server, name.as_deref(), role, uses, ttl_s);
    let (claims, text) = match made {
        Ok(made) => made,
        Err(failure) => {
            reply.send(Err(failure)).ok();
            return;
        }
    };
    let jti = base32().encode(&claims.jti);
    let document = document(&docs::BoxInvite {
        schema: docs::BoxInvite::SCHEMA.to_owned(),
        token: text,
        id: jti.clone(),
        expires: rfc3339(claims.expires_s * 1_000),
        role: claims.role.as_str().to_owned(),
        uses,
        name: name.clone(),
        needs_approval: !server.hub.roll().is_empty(),
    });
    let command = Command::MakeToken {
        jti,
        name,
        role: claims.role,
        uses,
        expires_s: claims.expires_s,
    };
    match document {
        Ok(document) => ask(server, command, document, reply),
        Err(failure) => {
            reply.send(Err(failure)).ok();
        }
    }
}

fn make_token(
    server: &Server,
    name: Option<&str>,
    role: &str,
    uses: u32,
    ttl_s: u64,
) -> Result<(JoinClaims, String), Failure> {
    let usage = |why: &str| {
        Failure::new("AE-USAGE", Exit::USAGE, why.to_owned())
            .next("mothership invite --help", "the flags and their ranges")
    };
    let role = match Role::from_word(role) {
        Some(Role::Mothership) | None => return Err(usage("there is no such role")),
        Some(role) => role,
    };
    if ttl_s == 0 || TOKEN_TTL_S_MAX < ttl_s {
        return Err(usage("an invite lives between one second and seven days"));
    }
    if uses == 0 || aura_trust::USES_MAX < uses {
        return Err(usage("an invite can be used at least once"));
    }
    let seed = InviteSeed::new(random());
    let now_s = unix_seconds();
    let custody = &server.custody;
    let claims = JoinClaims {
        audience: custody.key.peer(),
        subject: name.map(str::to_owned),
        jti: random(),
        issued_at_s: now_s,
        not_before_s: now_s.saturating_sub(5),
        expires_s: now_s + ttl_s,
        role,
        team: custody.team,
        ca_hash: custody.ca.public_key_hash(),
        uses,
        seed_key: seed.key().peer(),
    };
    let token = Token {
        endpoints: server.endpoints.clone(),
        team: custody.team,
        ca_hash: claims.ca_hash,
        expires_s: claims.expires_s,
        seed,
        jwt: make_join_jwt(&custody.key, &claims).into(),
        sealed_ring: None,
    };
    let text = token.to_text().map_err(|error| usage(&error.to_string()))?;
    Ok((claims, text.to_string()))
}

fn revoke(
    server: &mut Server,
    text: &str,
    reason: String,
    reply: oneshot::Sender<Result<Value, Failure>>,
) {
    let found: Vec<(PeerId, String)> = server
        .hub
        .roll()
        .find(text)
        .into_iter()
        .map(|member| (member.admitted.peer, member.admitted.name.clone()))
        .collect();
    match &found[..] {
        [(peer, name)] => {
            let peer = *peer;
            let revoked = docs::PeerRevoked {
                schema: docs::PeerRevoked::SCHEMA.to_owned(),
                name: name.clone(),
                peer: peer.to_string(),
            };
            let document = serde_json::to_value(revoked).unwrap_or(Value::Null);
            ask(server, Command::Revoke { peer, reason }, document, reply);
        }
        [] => {
            let failure = Failure::new(
                "AE-NO-PEER",
                Exit::USAGE,
                format!("nobody is called {text}"),
            )
            .next("mothership peer list", "who there is");
            reply.send(Err(failure)).ok();
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(_, name)| name.as_str()).collect();
            let message = format!("{text} could be {}", names.join(", "));
            reply
                .send(Err(Failure::new("AE-AMBIGUOUS", Exit::USAGE, message)))
                .ok();
        }
    }
}

fn revoke_token(server: &mut Server, id: &str, reply: oneshot::Sender<Result<Value, Failure>>) {
    let found: Vec<String> = server
        .hub
        .roll()
        .tokens()
        .map(|(jti, _)| jti.to_owned())
        .filter(|jti| !id.is_empty() && jti.starts_with(id))
        .collect();
    match &found[..] {
        [jti] => {
            let revoked = docs::TokenRevoked {
                schema: docs::TokenRevoked::SCHEMA.to_owned(),
                id: jti.clone(),
            };
            let document = serde_json::to_value(revoked).unwrap_or(Value::Null);
            ask(
                server,
                Command::RevokeToken { jti: jti.clone() },
                document,
                reply,
            );
        }
        _ => {
            let failure = Failure::new(
                "AE-NO-TOKEN",
                Exit::USAGE,
                format!("no single token begins with {id}"),
            )
            .next("mothership token list", "the tokens and their ids");
            reply.send(Err(failure)).ok();
        }
    }
}

fn peers(server: &Server) -> docs::BoxPeers {
    let row = |member: &Member| {
        let presence = server.hub.presence(member.admitted.peer);
        docs::BoxPeerDoc {
            name: member.admitted.name.clone(),
            peer: member.admitted.peer.to_string(),
            role: member.admitted.role.as_str().to_owned(),
            state: if member.revoked.is_some() {
                "revoked"
            } else {
                state_word(member.state)
            }
            .to_owned(),
            last_seen: Some(rfc3339(member.last_seen_ms)),
            lag: presence.map_or(0, |(_, lag)| lag),
            hints: member
                .row()
                .reach
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
            certificate_until: rfc3339(member.admitted.not_after_s * 1_000),
        }
    };
    let mut peers: Vec<docs::BoxPeerDoc> = server.hub.roll().iter().map(row).collect();
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    docs::BoxPeers {
        schema: docs::BoxPeers::SCHEMA.to_owned(),
        peers,
    }
}

fn state_word(state: PeerState) -> &'static str {
    match state {
        PeerState::Online => "online",
        PeerState::Away => "away",
        PeerState::Offline => "offline",
    }
}

fn status(server: &Server) -> docs::BoxStatus {
    let logs = server
        .hub
        .ledger()
        .iter()
        .map(|(id, log)| docs::LogStatDoc {
            log: id.to_string(),
            seq: log.seq(),
            hash: log.hash().to_string(),
            writers: log.writers() as u64,
        });
    let active = server.hub.roll().active();
    let online = active
        .filter(|member| member.state == PeerState::Online)
        .count();
    let (circuits, relayed_bytes) = server.hub.relayed();
    docs::BoxStatus {
        circuits: circuits as u64,
        relayed_bytes,
        schema: docs::BoxStatus::SCHEMA.to_owned(),
        at: rfc3339(crate::bridge::unix_ms()),
        team: server.custody.team_name.clone(),
        team_id: server.custody.team.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: Some(std::process::id()),
        listen: server.listen.clone(),
        online: online as u64,
        peers: server.hub.roll().active().count() as u64,
        logs: logs.collect(),
        health: server
            .hub
            .fault()
            .map_or_else(|| "ok".to_owned(), |code| code.to_string()),
    }
}

fn tokens(server: &Server) -> docs::Tokens {
    let roll = server.hub.roll();
    let now_s = unix_seconds();
    let mut rows: Vec<(u64, docs::TokenDoc)> = roll
        .tokens()
        .map(|(jti, token)| {
            let used = roll.users_of(jti);
            let used_count = u32::try_from(used.len()).unwrap_or(u32::MAX);
            let uses_left = token.uses.saturating_sub(used_count);
            let state = if roll.is_ended(jti) {
                "revoked"
            } else if uses_left == 0 {
                "used"
            } else if token.expires_s < now_s {
                "expired"
            } else {
                "open"
            };
            let name_of = |peer: &PeerId| {
                roll.member(*peer)
                    .map_or_else(|| peer.short(), |m| m.admitted.name.clone())
            };
            let row = docs::TokenDoc {
                id: jti.to_owned(),
                name: token.name.clone(),
                role: token.role.as_str().to_owned(),
                uses_left,
                expires: rfc3339(token.expires_s * 1_000),
                state: state.to_owned(),
                used_by: used.iter().map(name_of).collect(),
            };
            (token.at_ms, row)
        })
        .collect();
    rows.sort_by_key(|(at_ms, _)| std::cmp::Reverse(*at_ms));
    let tokens = rows.into_iter().map(|(_, row)| row).collect();
    docs::Tokens {
        schema: docs::Tokens::SCHEMA.to_owned(),
        tokens,
    }
}

fn tail(server: &Server, limit: usize, schema: &str) -> Result<Value, Failure> {
    let document = offline::tail(&server.custody.wal_dir(), limit)?;
    let mut document = serde_json::to_value(document).unwrap_or(Value::Null);
    document["schema"] = Value::from(schema);
    Ok(document)
}

fn document<T: Serialize>(value: &T) -> Result<Value, Failure> {
    serde_json::to_value(value)
        .map_err(|error| Failure::new("AE-INTERNAL", Exit::BUG, error.to_string()))
}
