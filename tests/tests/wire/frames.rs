//! C. Frames and streams that break the rules.

use aura_net::Clock;
use aura_proto::{
    Code, Digest, LogId,
    event::encode_push,
    frame::{Flags, FrameType},
    limits::{AUTH_MS_MAX, FRAME_BYTES_MAX, FRAME_MS_MAX, PRE_AUTH_BYTES_MAX, TLS_MS_MAX},
    message::{Message, Outcome, feature},
    session::Class,
};
use mothership_tests::{
    amount,
    follower::Follower,
    raw::{Raw, class, drip, frame, header, message, opening, tls12_hello},
    scene::Scene,
    wire::{Device, hello},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

const LOG: LogId = LogId([7; 16]);
const PATCH: Class = Class::Patch;

#[tokio::test(flavor = "multi_thread")]
async fn case_032_a_length_is_judged_before_anything_is_kept_for_it() {
    let scene = Scene::new().await;
    let eve = scene.join("eve").await;
    let promise = |kind, len| header(kind, class(PATCH), 1, len).to_vec();
    let frames = [
        (
            promise(FrameType::PATCH_PUSH, u32::MAX),
            Code::FRAME_TOO_LARGE,
        ),
        (
            promise(FrameType::PATCH_PUSH, FRAME_BYTES_MAX as u32 + 1),
            Code::FRAME_TOO_LARGE,
        ),
        (promise(FrameType::PATCH_PUSH, 0), Code::FRAME_INVALID),
        (promise(FrameType::WAL_SUBSCRIBE, 0), Code::FRAME_INVALID),
        (promise(FrameType::RESET, 0), Code::FRAME_INVALID),
    ];
    let before = scene.process().resident_kb();
    for (bytes, code) in &frames {
        let raw = Raw::ready(&eve).await.unwrap();
        assert_eq!(raw.until_closed(bytes).await, Some(*code), "{bytes:?}");
    }
    // Strangers have less.
    let long = header(FrameType::HELLO, 0, 0, PRE_AUTH_BYTES_MAX as u32 + 1);
    let raw = Raw::dial(&eve).await.unwrap();
    assert_eq!(raw.until_closed(&long).await, Some(Code::FRAME_TOO_LARGE));
    scene.grew_less_than(1_024, before);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_033_a_frame_that_is_cut_off_anywhere_is_nothing() {
    let scene = Scene::new().await;
    let mut eve = scene.join("eve").await;
    let bytes = pushing(&mut eve);
    let step = amount(7, 1);
    for cut in (0..bytes.len()).step_by(step) {
        let mut raw = Raw::ready(&eve).await.unwrap();
        raw.write(&bytes[..cut]).await.unwrap();
        let answers = raw.hung_up().await;
        let acked = answers.contains(&FrameType::PATCH_ACK);
        assert!(!acked, "cut at {cut}");
    }
    assert_eq!(scene.entries(LOG), 0);
    // The whole of it is something.
    let mut raw = Raw::ready(&eve).await.unwrap();
    raw.write(&bytes).await.unwrap();
    raw.expect(FrameType::PATCH_ACK).await.unwrap();
    assert_eq!(scene.entries(LOG), 1);
    drop(raw);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_033_a_frame_that_is_begun_and_not_finished_ends_the_link_in_30_seconds() {
    let scene = Scene::new().await;
    let begun = opening(PATCH, 1).len();
    let mut waiting = JoinSet::new();
    for n in 0..amount(6, 40) {
        let mut device = scene.join(&format!("slow-{n}")).await;
        let bytes = pushing(&mut device);
        let cut = begun + 1 + n * (bytes.len() - begun - 2) / amount(5, 39);
        waiting.spawn(async move {
            let raw = Raw::ready(&device).await.unwrap();
            let clock = Clock::start();
            let code = raw.until_closed(&bytes[..cut]).await;
            (cut, code, clock.mono_ms())
        });
    }
    for (cut, code, ms) in waiting.join_all().await {
        assert_eq!(code, Some(Code::TIMEOUT), "cut at {cut}");
        on_time(ms, FRAME_MS_MAX);
    }
    assert_eq!(scene.entries(LOG), 0);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_034_an_unknown_type_is_ignored_if_it_says_so() {
    let scene = Scene::new().await;
    let eve = scene.join("eve").await;
    let unknown = FrameType(0x7f);
    let mut raw = Raw::ready(&eve).await.unwrap();
    for stream in [0, 1] {
        let of = if stream == 0 { Class::Control } else { PATCH };
        let flags = Flags::OPTIONAL | class(of);
        raw.write(&frame(unknown, flags, stream, b"from the future"))
            .await
            .unwrap();
    }
    assert_eq!(raw.beat(5).await.unwrap(), 5);
    let bytes = frame(unknown, 0, 0, b"from the future");
    assert_eq!(raw.until_closed(&bytes).await, Some(Code::UNKNOWN_FRAME));
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_035_a_stream_id_is_used_once_in_order_by_its_own_side() {
    let scene = Scene::new().await;
    let eve = scene.join("eve").await;
    let open = |ids: &[u32]| {
        ids.iter()
            .flat_map(|id| opening(PATCH, *id))
            .collect::<Vec<u8>>()
    };
    let reset_zero = frame(FrameType::RESET, 0, 0, &[0, 0]);
    let ended = [
        opening(PATCH, 1),
        frame(FrameType::WINDOW, Flags::END | class(PATCH), 1, b""),
    ];
    let push = |stream| {
        let nothing = encode_push(LOG, std::iter::empty());
        message(PATCH, stream, &Message::Push(nothing))
    };
    let cases = [
        ("reused", open(&[1, 1])),
        ("the other side's", open(&[2])),
        ("backwards", open(&[5, 3])),
        (
            "backwards, with content",
            [&open(&[5])[..], &push(3)].concat(),
        ),
        ("zero", reset_zero),
        ("wrapped", open(&[u32::MAX, 1])),
        (
            "used after its end",
            [&ended.concat()[..], &push(1)].concat(),
        ),
    ];
    for (what, bytes) in cases {
        // Each link comes right after the fault of the one before.
        let raw = Raw::ready(&eve).await.unwrap();
        let code = raw.until_closed(&bytes).await;
        assert_eq!(code, Some(Code::STREAM_INVALID), "{what}");
    }
    let zero = frame(FrameType::WINDOW, 0, 0, &[0; 4]);
    let raw = Raw::ready(&eve).await.unwrap();
    assert_eq!(raw.until_closed(&zero).await, Some(Code::FLOW_CONTROL));
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_036_the_65th_stream_alone_is_refused() {
    let scene = Scene::new().await;
    let eve = scene.join("eve").await;
    let mut raw = Raw::ready(&eve).await.unwrap();
    for n in 0..65 {
        raw.write(&opening(PATCH, 1 + 2 * n)).await.unwrap();
    }
    let reset = raw.expect(FrameType::RESET).await.unwrap();
    assert_eq!(reset.header.stream, 129);
    assert_eq!(reset.payload, Code::STREAM_LIMIT.0.to_be_bytes());
    let subscribe = Message::Subscribe(Follower::new(LOG).question());
    for stream in [1, 127] {
        raw.write(&message(PATCH, stream, &subscribe))
            .await
            .unwrap();
        let head = raw.expect(FrameType::WAL_HEAD).await.unwrap();
        assert_eq!(head.header.stream, stream);
    }
    drop(raw);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_039_what_would_grow_when_unpacked_is_never_unpacked() {
    let scene = Scene::new().await;
    let mut eve = scene.join("eve").await;
    // 32 KiB that any unpacker would blow up, in an entry that claims every flag.
    let bomb = vec![0x28; 32_787];
    let mut flagged = eve.header(LOG, 1, Digest::ZERO);
    flagged.flags = u16::MAX;
    let entry = aura_trust::sign_entry(&eve.key, &flagged, &bomb).unwrap();
    eve.tip = (1, entry.hash());
    let mut wire = eve.connect().await.unwrap();
    let before = scene.process().resident_kb();
    let outcomes = wire.store(LOG, std::slice::from_ref(&entry)).await.unwrap();
    assert!(
        matches!(outcomes[..], [Outcome::Stored { .. }]),
        "{outcomes:?}"
    );
    Follower::new(LOG).subscribe(&mut wire).await.unwrap();
    assert_eq!(wire.run().await.unwrap().entries[0].entry, entry);
    scene.grew_less_than(1_024, before);
    drop(wire);
    // A message that grows by being put together stops at its limit.
    let before = scene.process().resident_kb();
    let mut raw = Raw::ready(&eve).await.unwrap();
    raw.write(&opening(PATCH, 1)).await.unwrap();
    let code = raw.until_closed(&endless()).await;
    assert_eq!(code, Some(Code::TOO_LARGE));
    scene.grew_less_than(8 * 1_024 + 1_024, before);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_040_a_count_that_nothing_stands_behind_costs_nothing() {
    let scene = Scene::new().await;
    let eve = scene.join("eve").await;
    let log = [7; 16];
    // Format 1, then a number of 64 bits: 0xfd and eight bytes, the lowest first.
    let number = |n: u64| [&[0xfd][..], &n.to_le_bytes()].concat();
    let lists = [1 << 63, u64::MAX, 1 << 40];
    let mut frames = Vec::new();
    for count in lists {
        let heads = [&[1, 0][..], &number(count)].concat();
        frames.push(frame(FrameType::HEARTBEAT, 0, 0, &heads));
        let vector = [&[1][..], &log, &[0, 0], &[0; 32], &number(count)].concat();
        frames.push(frame(FrameType::WAL_SUBSCRIBE, 0, 0, &vector));
    }
    let text = [&[1, 1, 1, 0][..], &number(256 << 30)].concat();
    let greeting = frame(FrameType::HELLO, 0, 0, &text);
    let rest = b"\x01\x00\x00 and more than there should be";
    frames.push(frame(FrameType::HEARTBEAT, 0, 0, rest));
    let before = scene.process().resident_kb();
    let mut spent = Vec::new();
    for bytes in &frames {
        let raw = Raw::ready(&eve).await.unwrap();
        let cpu = scene.process().cpu();
        assert_eq!(
            raw.until_closed(bytes).await,
            Some(Code::DECODE),
            "{bytes:?}"
        );
        spent.push((scene.process().cpu() - cpu).as_micros());
    }
    let raw = Raw::dial(&eve).await.unwrap();
    assert_eq!(raw.until_closed(&greeting).await, Some(Code::DECODE));
    assert!(spent.iter().all(|us| *us < 10_000), "{spent:?} us");
    scene.grew_less_than(1_024, before);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_041_a_stranger_has_a_deadline_in_total_and_not_per_byte() {
    let scene = Scene::new().await;
    let (a, b) = (scene.join("a").await, scene.join("b").await);
    let listen = scene.mothership.listen.clone();
    let mut dripping = JoinSet::new();
    for shaken in [0, tls12_hello().len() / 2] {
        let listen = listen.clone();
        dripping.spawn(async move {
            let mut stream = TcpStream::connect(listen).await.unwrap();
            let clock = Clock::start();
            // The first bytes of a handshake, some at once, the others one by one.
            let hello = tls12_hello();
            stream.write_all(&hello[..shaken]).await.unwrap();
            drip(&mut stream, &hello[shaken..]).await;
            (clock.mono_ms(), TLS_MS_MAX)
        });
    }
    dripping.spawn(async move {
        let mut raw = Raw::dial(&a).await.unwrap();
        let clock = Clock::start();
        let greeting = message(Class::Control, 0, &Message::Hello(hello(feature::ALL)));
        drip(&mut raw.stream, &greeting).await;
        (clock.mono_ms(), AUTH_MS_MAX)
    });
    dripping.spawn(async move {
        let mut raw = Raw::dial(&b).await.unwrap();
        let clock = Clock::start();
        raw.say(&Message::Hello(hello(feature::ALL))).await.unwrap();
        raw.expect(FrameType::HELLO).await.unwrap();
        let proof = raw.auth(&b);
        drip(&mut raw.stream, &proof).await;
        (clock.mono_ms(), AUTH_MS_MAX)
    });
    for (ms, limit_ms) in dripping.join_all().await {
        on_time(ms, limit_ms);
    }
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_045_the_order_of_the_first_frames_is_fixed() {
    let scene = Scene::new().await;
    let mut eve = scene.join("eve").await;
    let push = pushing(&mut eve);
    let greeting = message(Class::Control, 0, &Message::Hello(hello(feature::ALL)));
    let raw = Raw::dial(&eve).await.unwrap();
    let proof = raw.auth(&eve);
    assert_eq!(raw.until_closed(&proof).await, Some(Code::PROTOCOL));
    let raw = Raw::greeted(&eve).await.unwrap();
    assert_eq!(raw.until_closed(&greeting).await, Some(Code::PROTOCOL));
    let raw = Raw::dial(&eve).await.unwrap();
    assert_eq!(raw.until_closed(&push).await, Some(Code::PROTOCOL));
    let raw = Raw::greeted(&eve).await.unwrap();
    assert_eq!(raw.until_closed(&push).await, Some(Code::PROTOCOL));
    // Nor may anybody begin anew.
    for again in [greeting, proof] {
        let raw = Raw::ready(&eve).await.unwrap();
        assert_eq!(raw.until_closed(&again).await, Some(Code::PROTOCOL));
    }
    assert_eq!(scene.entries(LOG), 0);
    scene.is_calm().await;
}

/// A stream and on it the first entry of the device, as bytes.
fn pushing(device: &mut Device) -> Vec<u8> {
    let entry = device.entry(LOG, b"pushed").unwrap();
    let run = encode_push(LOG, std::iter::once(&entry.bytes()[..]));
    let push = message(PATCH, 1, &Message::Push(run));
    [opening(PATCH, 1), push].concat()
}

/// Fragments of one message without an end, in steps that fit into the window.
fn endless() -> Vec<u8> {
    let fragment = frame(
        FrameType::PATCH_PUSH,
        Flags::MORE | class(PATCH),
        1,
        &[0; 16 << 10],
    );
    fragment.repeat(600)
}

/// Asserts that a link ended at its deadline: the Mothership's clock decides, ours adds the way and the wait for a
/// processor.
#[track_caller]
fn on_time(ms: u64, limit_ms: u64) {
    let on_time = limit_ms - 1_000..limit_ms + amount(5_000, 1_000);
    assert!(on_time.contains(&ms), "{ms} ms of {limit_ms}");
}
