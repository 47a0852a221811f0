//! C. Too much at once.

use std::{net::SocketAddr, time::Duration};

use aura_net::Clock;
use aura_proto::{
    Code,
    frame::{Flags, FrameType},
    limits::PRE_AUTH_SOCKETS_PER_ADDRESS_MAX,
    session::Class,
};
use mothership_tests::{
    amount,
    raw::{Raw, class, frame, opening},
    scene::{Scene, in_time},
};
use tokio::net::TcpSocket;

const PATCH: Class = Class::Patch;

#[tokio::test(flavor = "multi_thread")]
async fn case_037_streams_opened_and_reset_without_end_close_the_link() {
    let pair = |n: u32| {
        let id = 1 + 2 * n;
        [
            opening(PATCH, id),
            frame(FrameType::RESET, class(PATCH), id, &[0, 0]),
        ]
        .concat()
    };
    flood((0..10_000).flat_map(pair).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_038_a_million_heartbeats_without_content_close_the_link() {
    flood(frame(FrameType::HEARTBEAT, 0, 0, b"").repeat(1_000_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_038_a_million_frames_without_content_close_the_link() {
    let empty = frame(FrameType::PATCH_PUSH, Flags::MORE | class(PATCH), 1, b"");
    flood([opening(PATCH, 1), empty.repeat(1_000_000)].concat()).await;
}

/// What costs work without carrying any ends the link at once and cheaply; the sender may come back.
async fn flood(bytes: Vec<u8>) {
    let scene = Scene::new().await;
    let eve = scene.join("eve").await;
    let raw = Raw::ready(&eve).await.unwrap();
    let before = scene.process().cpu();
    assert_eq!(raw.until_closed(&bytes).await, Some(Code::RATE));
    let spent = scene.process().cpu() - before;
    assert!(spent < Duration::from_secs(1), "{spent:?}");
    Raw::ready(&eve).await.unwrap();
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_042_one_address_full_of_idle_connections_keeps_nobody_else_out() {
    // In the handshake, waiting for a place in it, and just being let go.
    let held_max = 512 + PRE_AUTH_SOCKETS_PER_ADDRESS_MAX;
    let scene = Scene::new().await;
    let listen: SocketAddr = scene.mothership.listen.parse().unwrap();
    let (sockets, kb) = (scene.process().sockets(), scene.process().resident_kb());
    let mut idle = Vec::new();
    for n in 0..amount(2_000, 10_000) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        idle.push(socket.connect(listen).await.unwrap());
        if n % 500 == 499 {
            let held = scene.process().sockets() - sockets;
            assert!(held <= held_max, "{held} of {n}");
        }
    }
    let clock = Clock::start();
    let newcomer = scene.join("newcomer").await;
    newcomer.connect().await.unwrap();
    in_time(clock.mono_ms(), 2_000);
    scene.grew_less_than(64 << 10, kb);
    drop(idle);
    scene.is_calm().await;
}
