//! Laptops that cannot dial each other, and who passes on between them.

use mothership_tests::{Laptop, proxy::Proxy};
use serde_json::Value;

use crate::{Mesh, dial::row, free};

/// The answer of a device that is reached through a relay, which a person is told by the exit code.
fn relayed(laptop: &Laptop, whom: &str) -> Value {
    let pong = laptop.aura(&["ping", whom]);
    assert_eq!((pong.exit, &pong.json["path"]), (11, &"relayed".into()));
    pong.json
}

#[test]
fn h8_c27_whom_no_address_leads_to_is_reached_through_the_mothership_until_an_address_does() {
    let places = ["127.0.2.1", "127.0.2.2"].map(free);
    // Each says that it is behind a proxy that lets nobody through.
    let proxies = places.each_ref().map(|place| Proxy::to(place));
    proxies.iter().for_each(Proxy::close);
    let prepare = |n: usize, laptop: &mut Laptop| {
        laptop.listen = Some(places[n].clone());
        laptop.announce = Some(proxies[n].listen.clone());
    };
    let mesh = Mesh::apart(&["alice", "bob"], prepare);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    relayed(alice, "bob");
    let why = row(alice, "bob");
    assert_eq!(why["path"], "relayed", "{why}");
    assert_eq!(why["why"], "no announced address answered", "{why}");
    let tried = why["tried"].as_array().unwrap();
    assert_eq!(tried[0]["address"], proxies[1].listen, "{why}");
    relayed(bob, "alice");
    proxies[1].open();
    alice.aura(&["reconnect", "bob"]).ok();
    alice.event(|event| {
        event["kind"] == "direct" && event["text"] == "no link with bob: a better link took over"
    });
    let pong = alice.aura(&["ping", "bob"]).ok();
    assert_eq!(pong["path"], "direct", "{pong}");
    assert_eq!(pong["address"], proxies[1].listen);
    // The direct path dies, and the relay serves again.
    proxies[1].close();
    relayed(alice, "bob");
}

#[test]
fn c52_a_strict_device_is_reached_through_the_mothership_and_told_of_nowhere() {
    let strict = |n: usize, laptop: &mut Laptop| {
        if n == 1 {
            laptop.visibility = Some("strict");
        }
    };
    let mesh = Mesh::apart(&["alice", "bob"], strict);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    relayed(alice, "bob");
    assert_eq!(row(alice, "bob")["tried"].as_array().unwrap().len(), 0);
    relayed(bob, "alice");
}
