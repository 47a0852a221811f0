//! The race of several addresses.

use std::{sync::Arc, time::Duration};

use aura_net::Expect;
use aura_proto::message::Role;
use tokio::net::TcpListener;

use crate::team::{Team, mothership, nobody_revoked};

#[tokio::test]
async fn the_first_authenticated_session_wins_and_every_address_is_accounted_for() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let trap = team.member(Role::Admin);
    let listener = team.listener(&server.credentials, nobody_revoked());
    let trap_listener = team.listener(&trap.credentials, nobody_revoked());
    // Connects and then says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addrs = [
        silent.local_addr().unwrap().to_string(),
        trap_listener.local().to_string(),
        listener.local().to_string(),
        listener.local().to_string(),
    ];
    let dialed = team
        .member(Role::Member)
        .dialer(mothership())
        .race(&addrs)
        .await
        .unwrap();
    assert_eq!(dialed.addr, addrs[2]);
    assert_eq!(dialed.attempts.len(), 3, "the same address is dialled once");
    let result = |addr: &str| {
        dialed
            .attempts
            .iter()
            .find(|attempt| attempt.addr == addr)
            .unwrap()
            .result
            .clone()
    };
    assert_eq!(result(&addrs[0]), "slower");
    assert_eq!(result(&addrs[2]), "ok");
    assert!(["ROLE_MISMATCH", "slower"].contains(&result(&addrs[1]).as_str()));
}

#[tokio::test]
async fn if_nobody_answers_each_address_says_why() {
    let team = Team::new();
    let member = team.member(Role::Member);
    let (wanted, other) = (team.member(Role::Member), team.member(Role::Member));
    let listener = team.listener(&other.credentials, nobody_revoked());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addrs = [
        silent.local_addr().unwrap().to_string(),
        closed.local_addr().unwrap().to_string(),
        listener.local().to_string(),
    ];
    drop(closed);
    let expect = Expect {
        role: Role::Member,
        peer: Some(wanted.peer),
    };
    let dialer = member.dialer(expect).within(Duration::from_millis(100));
    let error = dialer.race(&addrs).await.err().unwrap();
    for word in ["timeout", "refused", "IDENTITY_MISMATCH"] {
        assert!(error.has(word), "{error}");
    }
}

#[tokio::test]
async fn a_loser_of_the_race_is_closed() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let listener = team.listener(&server.credentials, nobody_revoked());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addrs = [
        silent.local_addr().unwrap().to_string(),
        listener.local().to_string(),
    ];
    let dialer = Arc::new(team.member(Role::Member).dialer(mothership()));
    let _dialed = dialer.race(&addrs).await.unwrap();
    // The race may be over before the loser's packet left: then there is nothing to close.
    let accepted = tokio::time::timeout(Duration::from_millis(200), silent.accept()).await;
    if let Ok(accepted) = accepted {
        let (mut stream, _) = accepted.unwrap();
        let mut got = Vec::new();
        let ended = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut got);
        tokio::time::timeout(Duration::from_secs(5), ended)
            .await
            .expect("the loser stayed open")
            .ok();
    }
}
