//! What people can set, with its defaults, and what stands in the environment instead.
//!
//! Invariants:
//! - a setting that is not in the table does not exist, and a value that it does not take is refused with what it takes;
//! - the environment goes before what was set, and is never written down.

use std::{collections::BTreeMap, net::SocketAddr};

use aura_engine::peer::links;
use aura_proto::{
    Visibility,
    limits::{HINT_PORT_MIN, HINTS_MAX, PEER_HEARTBEAT_MS},
    reach::{Locality, class_of},
};

/// What a setting takes.
enum Takes {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An address to listen on, with a port, 0 for any.
    Address,
    /// Addresses between commas, or nothing.
    Addresses,
    /// How many links are kept: at least, as a rule, at most.
    Mesh,
    /// Milliseconds, or a number with `ms`, `s` or `m` behind it.
    Duration,
}

struct Setting {
    key: &'static str,
    default: &'static str,
    takes: Takes,
}

const TABLE: &[Setting] = &[
    Setting {
        key: "activity",
        default: "on",
        takes: Takes::OneOf(&["on", "off"]),
    },
    Setting {
        key: "links.announce",
        default: "",
        takes: Takes::Addresses,
    },
    Setting {
        key: "links.direct",
        default: "on",
        takes: Takes::OneOf(&["on", "off"]),
    },
    Setting {
        key: "links.heartbeat",
        default: "15s",
        takes: Takes::Duration,
    },
    Setting {
        key: "links.listen",
        default: "0.0.0.0:0",
        takes: Takes::Address,
    },
    Setting {
        key: "links.mdns",
        default: "on",
        takes: Takes::OneOf(&["on", "off"]),
    },
    Setting {
        key: "links.mesh",
        default: "3/4/8",
        takes: Takes::Mesh,
    },
    Setting {
        key: "links.visibility",
        default: "open",
        takes: Takes::OneOf(&["open", "outbound", "strict"]),
    },
    Setting {
        key: "members.approve",
        default: "ask",
        takes: Takes::OneOf(&["ask", "auto"]),
    },
    Setting {
        key: "publish",
        default: "save",
        takes: Takes::OneOf(&["save", "intent", "commit"]),
    },
];

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    Environment,
    User,
}

impl Origin {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
            Self::User => "user",
        }
    }
}

/// Why a setting was not changed.
pub(crate) enum Refused {
    /// There is none of this name.
    Unknown,
    /// It does not take this; what it takes, and the default.
    Value(String, &'static str),
}

/// The settings of a device.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    set: BTreeMap<String, String>,
    environment: BTreeMap<&'static str, String>,
}

impl Settings {
    /// What was set, below what the environment says; what that says wrongly is passed over.
    pub(crate) fn new(
        set: BTreeMap<String, String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let said = TABLE.iter().filter_map(|setting| {
            let name = format!("AURA_{}", setting.key.replace('.', "_").to_uppercase());
            let value = environment(&name)?;
            let is_good = setting.takes.accepts(&value);
            if !is_good {
                tracing::warn!(name, value, takes = setting.takes.says(), "passed over");
            }
            is_good.then_some((setting.key, value))
        });
        Self {
            environment: said.collect(),
            set,
        }
    }

    /// What was set, to be written down.
    pub(crate) fn set_by_user(&self) -> &BTreeMap<String, String> {
        &self.set
    }

    /// The value of a setting.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.rows()
            .find(|(known, ..)| *known == key)
            .map_or("", |(_, value, _)| value)
    }

    /// Every setting, its value and where that comes from, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&'static str, &str, Origin)> {
        TABLE.iter().map(|setting| {
            let key = setting.key;
            match (self.environment.get(key), self.set.get(key)) {
                (Some(value), _) => (key, &**value, Origin::Environment),
                // A file that somebody wrote by hand may hold anything.
                (None, Some(value)) if setting.takes.accepts(value) => {
                    (key, &**value, Origin::User)
                }
                (None, _) => (key, setting.default, Origin::Default),
            }
        })
    }

    /// Sets a setting.
    pub(crate) fn set(&mut self, key: &str, value: String) -> Result<(), Refused> {
        let setting = TABLE.iter().find(|setting| setting.key == key);
        let setting = setting.ok_or(Refused::Unknown)?;
        if !setting.takes.accepts(&value) {
            return Err(Refused::Value(setting.takes.says(), setting.default));
        }
        self.set.insert(key.to_owned(), value);
        Ok(())
    }

    /// How links to other devices are made.
    pub(crate) fn links(&self) -> links::Settings {
        links::Settings {
            direct: self.get("links.direct") == "on",
            visibility: Visibility::from_word(self.get("links.visibility")).unwrap_or_default(),
            mesh: mesh(self.get("links.mesh")).unwrap_or_default(),
            heartbeat_ms: milliseconds(self.get("links.heartbeat")).unwrap_or(PEER_HEARTBEAT_MS),
        }
    }

    /// Where this device listens for others.
    pub(crate) fn listen(&self) -> Option<SocketAddr> {
        self.get("links.listen").parse().ok()
    }

    /// The addresses to announce, when they are not to be found out.
    pub(crate) fn announce(&self) -> Vec<SocketAddr> {
        let words = self.get("links.announce").split(',');
        words.filter_map(|word| word.trim().parse().ok()).collect()
    }
}

impl Takes {
    fn accepts(&self, value: &str) -> bool {
        match self {
            Self::OneOf(words) => words.contains(&value),
            Self::Address => value.parse::<SocketAddr>().is_ok(),
            Self::Addresses => {
                let words: Vec<&str> = value.split(',').map(str::trim).collect();
                // What nobody would dial is no address of this device.
                let is_dialled = |word: &&str| {
                    let address = word.parse::<SocketAddr>().ok();
                    address.is_some_and(|address| class_of(address, Locality::Machine).is_some())
                };
                value.is_empty() || words.len() <= HINTS_MAX && words.iter().all(is_dialled)
            }
            Self::Mesh => mesh(value).is_some(),
            Self::Duration => {
                milliseconds(value).is_some_and(|ms| (100..=86_400_000).contains(&ms))
            }
        }
    }

    fn says(&self) -> String {
        match self {
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Address => {
                "an address with a port, like 192.168.1.7:7777; port 0 is any".to_owned()
            }
            Self::Addresses => format!(
                "nothing, or up to {HINTS_MAX} addresses between commas that others can dial, with ports from \
                 {HINT_PORT_MIN} on"
            ),
            Self::Mesh => {
                "numbers of links LOW/TARGET/HIGH, 1 ≤ LOW ≤ TARGET ≤ HIGH ≤ 32, like 3/4/8"
                    .to_owned()
            }
            Self::Duration => "a time from 100ms to 24h, like 15s".to_owned(),
        }
    }
}

fn mesh(text: &str) -> Option<links::Mesh> {
    let numbers: Result<Vec<u8>, _> = text.split('/').map(str::parse).collect();
    let [low, target, high] = numbers.ok()?[..] else {
        return None;
    };
    links::Mesh::new(low, target, high).ok()
}

fn milliseconds(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let times = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(times)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_environment_goes_before_what_was_set_and_that_before_the_default() {
        let set = BTreeMap::from([("links.direct".to_owned(), "off".to_owned())]);
        let settings = Settings::new(set.clone(), |_| None);
        assert_eq!(settings.get("links.direct"), "off");
        assert_eq!(settings.get("links.visibility"), "open");
        let said = |name: &str| (name == "AURA_LINKS_DIRECT").then(|| "on".to_owned());
        let settings = Settings::new(set, said);
        assert_eq!(settings.get("links.direct"), "on");
        assert!(settings.links().direct);
    }

    #[test]
    fn what_a_setting_does_not_take_is_refused() {
        let mut settings = Settings::new(BTreeMap::new(), |_| None);
        assert!(matches!(
            settings.set("links.direkt", "on".into()),
            Err(Refused::Unknown)
        ));
        for (key, value) in [
            ("links.direct", "yes"),
            ("links.listen", "somewhere"),
            ("links.announce", "10.0.0.1"),
            ("links.announce", "10.0.0.1:22"),
            ("links.announce", "10.0.0.1:0"),
            ("links.announce", "0.0.0.0:7777"),
            (
                "links.announce",
                &["10.0.0.1:7777"; HINTS_MAX + 1].join(","),
            ),
            ("links.heartbeat", "5"),
            ("links.heartbeat", "99999999h"),
            ("links.mesh", "4"),
            ("links.mesh", "5/4/8"),
            ("links.mesh", "3/4/33"),
            ("links.mesh", "0/4/8"),
            ("links.mdns", "loopback"),
        ] {
            let refused = settings.set(key, value.to_owned());
            assert!(matches!(refused, Err(Refused::Value(..))), "{key} {value}");
        }
        assert!(
            settings
                .set("links.announce", "10.0.0.1:7777, [fd00::5]:7777".into())
                .is_ok()
        );
        assert_eq!(settings.announce().len(), 2);
    }

    #[test]
    fn c54_the_network_is_asked_unless_that_is_turned_off() {
        let mut settings = Settings::new(BTreeMap::new(), |_| None);
        assert_eq!(settings.get("links.mdns"), "on");
        assert!(settings.set("links.mdns", "off".into()).is_ok());
        assert_eq!(settings.get("links.mdns"), "off");
        let said = |name: &str| (name == "AURA_LINKS_MDNS").then(|| "off".to_owned());
        assert_eq!(
            Settings::new(BTreeMap::new(), said).get("links.mdns"),
            "off"
        );
    }

    #[test]
    fn every_default_is_accepted() {
        for setting in TABLE {
            assert!(setting.takes.accepts(setting.default), "{}", setting.key);
        }
    }
}
