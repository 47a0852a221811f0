//! Strangers: how many, and for how long.

use std::{net::SocketAddr, time::Duration};

use aura_net::ListenConfig;
use aura_proto::message::Role;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::team::{Team, addrs, calendar, mothership, nobody_left, nobody_revoked};

#[tokio::test]
async fn a_handshake_that_does_not_get_on_is_closed_at_its_deadline() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let config = ListenConfig {
        handshake: Duration::from_millis(50),
        ..quick()
    };
    let listener = team.listener_with(&server.credentials, nobody_revoked(), config);
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x01\x00\x01"] {
        let mut stream = TcpStream::connect(listener.local()).await.unwrap();
        stream.write_all(begun).await.unwrap();
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0, "{begun:?}");
    }
    nobody_left(&listener).await;
}

#[tokio::test]
async fn bytes_that_are_not_tls_are_refused_at_once() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let config = ListenConfig {
        handshake: Duration::from_secs(3_600),
        ..quick()
    };
    let listener = team.listener_with(&server.credentials, nobody_revoked(), config);
    let mut stream = TcpStream::connect(listener.local()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: mothership\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    nobody_left(&listener).await;
}

#[tokio::test]
async fn who_finds_its_address_full_waits_for_a_place() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let config = ListenConfig {
        handshake: Duration::from_millis(200),
        strangers_per_address_max: 2,
        ..quick()
    };
    let mut listener = team.listener_with(&server.credentials, nobody_revoked(), config);
    let _idle = [
        TcpStream::connect(listener.local()).await.unwrap(),
        TcpStream::connect(listener.local()).await.unwrap(),
    ];
    while listener.strangers() < 2 {
        tokio::task::yield_now().await;
    }
    let member = team.member(Role::Member);
    member
        .dialer(mothership())
        .race(&addrs(&listener))
        .await
        .unwrap();
    assert!(listener.next().await.is_some());
}

#[tokio::test]
async fn an_address_full_of_idle_sockets_does_not_keep_another_out() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let config = ListenConfig {
        handshake: Duration::from_secs(3_600),
        strangers_per_address_max: 3,
        strangers_max: 5,
        ..quick()
    };
    let mut listener = team.listener_with(&server.credentials, nobody_revoked(), config);
    let from: SocketAddr = "127.0.0.2:0".parse().unwrap();
    let mut idle = Vec::new();
    for _ in 0..40 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from).unwrap();
        idle.push(socket.connect(listener.local()).await.unwrap());
    }
    let member = team.member(Role::Member);
    member
        .dialer(mothership())
        .race(&addrs(&listener))
        .await
        .unwrap();
    let incoming = listener.next().await.unwrap();
    assert_eq!(incoming.remote.ip().to_string(), "127.0.0.1");
    assert_eq!(listener.strangers(), 4);
    drop(incoming);
    drop(idle);
    nobody_left(&listener).await;
}

#[tokio::test]
async fn a_place_is_held_until_the_owner_lets_go() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let mut listener = team.listener(&server.credentials, nobody_revoked());
    let member = team.member(Role::Member);
    let _dialed = member
        .dialer(mothership())
        .race(&addrs(&listener))
        .await
        .unwrap();
    let incoming = listener.next().await.unwrap();
    assert_eq!(listener.strangers(), 1);
    drop(incoming.slot);
    assert_eq!(listener.strangers(), 0);
}

#[tokio::test]
async fn three_hundred_members_behind_one_address_all_get_in() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let mut listener = team.listener_with(
        &server.credentials,
        nobody_revoked(),
        ListenConfig {
            handshake: Duration::from_secs(60),
            strangers_per_address_max: 16,
            ..quick()
        },
    );
    let dialer = team
        .member(Role::Member)
        .dialer(mothership())
        .within(Duration::from_secs(60));
    let mut dialling = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let (dialer, addrs) = (dialer.clone(), addrs(&listener));
        dialling.spawn(async move { dialer.race(&addrs).await.map(drop).is_ok() });
    }
    for _ in 0..300 {
        drop(listener.next().await.unwrap());
    }
    assert!(dialling.join_all().await.into_iter().all(|got_in| got_in));
}

#[tokio::test]
async fn a_dropped_listener_lets_its_port_go() {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let listener = team.listener(&server.credentials, nobody_revoked());
    let local = listener.local();
    drop(listener);
    let refused = async {
        while TcpStream::connect(local).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused)
        .await
        .unwrap();
}

fn quick() -> ListenConfig {
    ListenConfig {
        calendar: calendar(),
        ..ListenConfig::default()
    }
}
