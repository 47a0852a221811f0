//! Joining a team, and coming back with a certificate that has ended: check the server, prove, receive the certificate.
//! In this order.
//!
//! Invariants:
//! - nothing of the token leaves before the server has shown the CA that the token pins;
//! - a failed step leaves the device as it was.

use std::time::Duration;

use aura_api::{Exit, Failure};
use aura_net::{Clock, DialError, Dialed, LinkEvent, dial_join, link};
use aura_proto::{
    Code,
    limits::AUTH_MS_MAX,
    message::{DEVICE_NAME_RULE, JoinGrant, JoinRequest, Message, RenewGrant, RenewRequest},
    session::Side,
};
use aura_trust::{
    CertIdentity, IdentityKey, JoinTranscript, OpenError, RenewTranscript, Token, identity_proof,
    inspect_join_jwt, public_key_hash, renew_proof, seed_proof, sign_receive_key,
};

use crate::identity::{Enrolment, Identity};

/// Redeems a token.
pub(crate) async fn join(
    identity: &Identity,
    token: &Token,
    name: &str,
    clock: Clock,
) -> Result<Enrolment, Failure> {
    let Some(claims) = inspect_join_jwt(&token.jwt) else {
        return Err(shape());
    };
    let dialed = dial_join(&token.endpoints, token.ca_hash)
        .await
        .map_err(|error| dial_failure(&error))?;
    let csr = identity.tls.csr();
    let receive_key = identity.receive.public();
    let transcript = JoinTranscript {
        jti: &claims.jti,
        peer: identity.key.peer(),
        receive_key: &receive_key,
        csr: &csr,
        exporter: &dialed.exporter,
    };
    let request = JoinRequest {
        jwt: token.jwt.to_string(),
        peer: identity.key.peer(),
        name: name.to_owned(),
        receive_key,
        receive_key_signature: sign_receive_key(&identity.key, &receive_key).to_vec(),
        seed_proof: seed_proof(&token.seed, &transcript).to_vec(),
        identity_proof: identity_proof(&identity.key, &transcript).to_vec(),
        csr,
    };
    let answer = ask(dialed, Message::JoinRequest(request), clock).await;
    let answer = answer.map_err(|(code, detail)| refused(code, &detail))?;
    let Message::JoinGrant(grant) = answer else {
        return Err(not_ours());
    };
    accept(identity, token, grant)
}

/// The first of these addresses at which the Mothership of an enrolment answers.
pub(crate) async fn find(endpoints: &[String], enrolment: &Enrolment) -> Result<String, Failure> {
    let dialed = dial_join(endpoints, enrolment.ca_hash)
        .await
        .map_err(|error| dial_failure(&error))?;
    if dialed.identity.peer == enrolment.checkpoint_key {
        Ok(dialed.addr)
    } else {
        Err(look_alike("IDENTITY_MISMATCH"))
    }
}

/// What a device whose certificate has ended asks for a fresh one with.
pub(crate) struct Renewal {
    pub(crate) key: IdentityKey,
    pub(crate) csr: Vec<u8>,
    pub(crate) endpoints: Vec<String>,
    pub(crate) ca_hash: [u8; 32],
}

/// Asks for a fresh certificate without showing one: the identity key alone proves who it is.
pub(crate) async fn renew(
    renewal: Renewal,
    clock: Clock,
) -> Result<RenewGrant, (Option<Code>, String)> {
    let dialed = dial_join(&renewal.endpoints, renewal.ca_hash)
        .await
        .map_err(|error| (None, crate::chain(&error)))?;
    let transcript = RenewTranscript {
        peer: renewal.key.peer(),
        csr: &renewal.csr,
        exporter: &dialed.exporter,
    };
    let request = RenewRequest {
        peer: renewal.key.peer(),
        identity_proof: renew_proof(&renewal.key, &transcript).to_vec(),
        csr: renewal.csr,
    };
    match ask(dialed, Message::RenewRequest(request), clock).await {
        Ok(Message::RenewGrant(grant)) => Ok(grant),
        Ok(_) => Err((Some(Code::PROTOCOL), "no certificate".to_owned())),
        Err((code, detail)) => Err((Some(code), detail)),
    }
}

/// Sends one request of the enrolment protocol and waits for its grant.
async fn ask(dialed: Dialed, request: Message, clock: Clock) -> Result<Message, (Code, String)> {
    let (handle, _, mut events) = link::spawn(dialed.stream, Side::Client, true, &[], clock);
    let (kind, payload) = request.encode();
    handle.send(0, kind, payload);
    let limit = Duration::from_millis(2 * AUTH_MS_MAX);
    let answer = tokio::time::timeout(limit, async {
        while let Some(event) = events.recv().await {
            match event {
                LinkEvent::Message { kind, payload, .. } => match Message::decode(kind, payload) {
                    Ok(grant @ (Message::JoinGrant(_) | Message::RenewGrant(_))) => {
                        return Ok(grant);
                    }
                    Ok(Message::Error(refusal)) => return Err((refusal.code, refusal.detail)),
                    Ok(_) | Err(_) => {}
                },
                LinkEvent::Closed { code, detail, .. } => return Err((code, detail)),
                LinkEvent::Drained | LinkEvent::StreamReset { .. } => {}
            }
        }
        Err((Code::TIMEOUT, "the link ended without an answer".to_owned()))
    })
    .await;
    handle.close(Code::BYE, "");
    answer.unwrap_or_else(|_| Err((Code::TIMEOUT, "no answer in time".to_owned())))
}

/// Checks that the grant is for this device and of the pinned CA.
// spec: identity/3.5
fn accept(identity: &Identity, token: &Token, grant: JoinGrant) -> Result<Enrolment, Failure> {
    let enrolment = Enrolment {
        team: grant.team,
        team_name: grant.team_name,
        name: grant.name,
        role: grant.role,
        endpoints: token.endpoints.clone(),
        checkpoint_key: grant.checkpoint_key,
        ca_hash: token.ca_hash,
        ca: grant.ca,
        certificate: grant.certificate,
        founder: grant.founder,
    };
    if grant.team == token.team && is_for(identity, &enrolment) {
        Ok(enrolment)
    } else {
        Err(not_ours())
    }
}

/// Whether the certificate of an enrolment is for this device and of the team's authority.
pub(crate) fn is_for(identity: &Identity, enrolment: &Enrolment) -> bool {
    let leaf = CertIdentity::from_der(&enrolment.certificate);
    let ca = public_key_hash(&enrolment.ca);
    leaf.is_ok_and(|leaf| {
        leaf.peer == identity.key.peer()
            && leaf.team == enrolment.team
            && leaf.public_key == identity.tls.public()
    }) && ca.is_ok_and(|(hash, team)| hash == enrolment.ca_hash && team == enrolment.team)
}

fn not_ours() -> Failure {
    let message = "the mothership answered with a certificate that is not for this device";
    Failure::new("AE-PROTOCOL", Exit::PROTOCOL, message)
}

/// A token that does not read.
pub(crate) fn shape() -> Failure {
    let message = "this token is cut off or mistyped (its checksum does not fit)";
    Failure::new("AE-TOKEN-SHAPE", Exit::USAGE, message).next(
        "copy it again",
        "it ends in two characters after the last dash",
    )
}

/// A token whose keys were not sealed by whoever made it.
pub(crate) fn not_of_its_seed(error: &OpenError) -> Failure {
    let message = format!("this token was made by another version, or altered: {error}");
    Failure::new("AE-TOKEN-SHAPE", Exit::REFUSED, message)
        .next("aura invite", "ask whoever made it for a new one")
}

fn dial_failure(error: &DialError) -> Failure {
    let mismatches = ["SERVER_PIN_MISMATCH", "ROLE_MISMATCH", "IDENTITY_MISMATCH"];
    if let Some(id) = mismatches.into_iter().find(|id| error.has(id)) {
        return look_alike(id);
    }
    if error.has("CERTIFICATE_NOT_YET_VALID") || error.has("CERTIFICATE_EXPIRED") {
        let message = "your clock and the mothership's are too far apart; nothing was sent";
        return Failure::new("AE-CLOCK", Exit::REFUSED, message).next(
            "timedatectl",
            "compare the clocks of both machines, then join again",
        );
    }
    Failure::new(
        "AE-UNREACHABLE",
        Exit::UNREACHABLE,
        format!("cannot reach the mothership: {error}"),
    )
    .next("aura join TOKEN", "try again when it is up")
    .retryable()
}

fn look_alike(id: &str) -> Failure {
    let message = "the server is not the one that the token was made for; nothing was sent";
    Failure::new(id, Exit::REFUSED, message).next(
        "mothership status",
        "compare the fingerprint words with your admin",
    )
}

/// A refusal of the Mothership as users meet it; one that leaves the invite good says so.
pub(crate) fn refused(code: Code, detail: &str) -> Failure {
    let renewed = ("mothership invite", "ask your admin for a new invite");
    let again = ("aura join TOKEN", "again, with the same invite");
    let good = |what: &str| format!("{what}; the invite is still good");
    let (id, exit, message, (cmd, why)) = match code {
        Code::TOKEN_EXPIRED => {
            let message = "the invite has ended".to_owned();
            ("TOKEN_EXPIRED", Exit::REFUSED, message, renewed)
        }
        Code::TOKEN_REPLAYED => {
            let message = "the invite was used already".to_owned();
            ("TOKEN_REPLAYED", Exit::REFUSED, message, renewed)
        }
        Code::TOKEN_REVOKED => {
            let message = "the invite was taken back".to_owned();
            ("TOKEN_REVOKED", Exit::REFUSED, message, renewed)
        }
        Code::REVOKED => {
            let why = "this device does not come back; a new home with a new invite does";
            let next = ("AURA_HOME=NEW aura join TOKEN", why);
            ("REVOKED", Exit::REFUSED, detail.to_owned(), next)
        }
        Code::NAME_TAKEN => {
            let next = ("aura join TOKEN --name OTHER", "take another name");
            ("AE-NAME-TAKEN", Exit::REFUSED, good(detail), next)
        }
        Code::CLOCK_BEHIND => {
            let next = ("timedatectl", "set the mothership's clock, then join again");
            ("AE-CLOCK", Exit::REFUSED, good(detail), next)
        }
        Code::DECODE => {
            let next = ("aura join TOKEN --name NAME", DEVICE_NAME_RULE);
            let message = good(&format!("the mothership refused: {detail}"));
            ("DECODE", Exit::REFUSED, message, next)
        }
        Code::VERSION => ("AE-SKEW", Exit::VERSION, good(detail), again),
        Code::NO_SPACE => ("NO_SPACE", Exit::BUSY, good(detail), again),
        Code::TIMEOUT => {
            let message = detail.to_owned();
            ("AE-UNREACHABLE", Exit::UNREACHABLE, message, again)
        }
        other => {
            let message = format!("the mothership refused: {detail}");
            let id = other.name().unwrap_or("REFUSED");
            (id, Exit::REFUSED, message, renewed)
        }
    };
    Failure::new(id, exit, message).next(cmd, why)
}
