//! What a device is called by whoever gives it no name.
//!
//! Invariant: the name is one that the team takes, whatever the system calls user and host.

use aura_proto::{limits::NAME_BYTES_MAX, message::is_in_device_name};

use crate::world::Env;

/// `user@host`, as far as the system knows them.
pub(super) fn name(env: &Env, host: &str) -> Option<String> {
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|variable| env.text(variable));
    let parts = [user.unwrap_or_default(), host].map(usable);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut name = match parts[..] {
        ["", host] => host.to_owned(),
        [user, ""] => user.to_owned(),
        _ => parts.join("@"),
    };
    name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    (!name.is_empty()).then_some(name)
}

/// The host as the system names it.
pub(super) fn host() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

fn usable(text: &str) -> String {
    let shown = |c| {
        if is_in_device_name(c) && c != '@' {
            c
        } else {
            '-'
        }
    };
    let text: String = text.trim().chars().map(shown).collect();
    text.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aura_proto::message::is_device_name;

    use super::*;

    fn called(user: &str, host: &str) -> Option<String> {
        let env = Env([("USER".into(), user.into())].into());
        name(&env, host)
    }

    #[test]
    fn a_device_is_called_after_its_user_and_host_with_what_a_name_may_hold() {
        for (user, host, expected) in [
            ("alice", "thinkpad", Some("alice@thinkpad")),
            ("Ann Lee", "box.lan", Some("Ann-Lee@box.lan")),
            ("DOM\\zoë", "a b", Some("DOM-zoë@a-b")),
            ("", "thinkpad", Some("thinkpad")),
            ("alice", "(none)", Some("alice@none")),
            ("alice", "", Some("alice")),
            (" ", "--", None),
        ] {
            assert_eq!(called(user, host).as_deref(), expected);
        }
        let long = called("alice", &"ä".repeat(200)).unwrap();
        assert!(is_device_name(&long), "{long}");
    }
}
