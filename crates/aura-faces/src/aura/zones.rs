//! `aura zone`: leases on files, directories and functions.
//!
//! Invariant: every text that came from elsewhere goes through the escaper.

use std::time::Duration;

use aura_api::{Call, ZoneCall, docs};
use clap::Subcommand;

use super::{Face, Outcome, client::Limit, show};
use crate::{
    duration,
    escape::line,
    output::{Paint, View},
    when,
};

/// How long a zone lasts without a change of its holder.
const TTL: &str = "1h";
/// How long an answer may take beside what is waited for.
const PLACE: Duration = Duration::from_secs(20);

/// Below `zone`.
#[derive(Subcommand)]
pub(crate) enum Zone {
    /// Ask the holder of a zone for it
    #[command(before_long_help = "Example:\n  aura zone ask z-12 \"need tiers.rs by 14:10\"")]
    Ask {
        /// Its id
        id: String,
        /// What for
        text: String,
    },
    /// Claim files, directories or functions: others are warned, or kept out with --block
    #[command(
        before_long_help = "Examples:\n  aura zone claim src/billing --why invoices\n  aura zone claim 'src/limits/**' --block --why \"rewrite the limit engine\"\n  aura zone claim RiskModel::score --why tuning --ttl 20m"
    )]
    Claim {
        /// Files, directories, patterns or functions
        #[arg(required = true)]
        what: Vec<String>,
        /// Why, shown to the others
        #[arg(short = 'm', long, value_name = "TEXT")]
        why: String,
        /// How long it lasts after your last change in it
        #[arg(long, default_value = TTL, value_parser = duration::parse)]
        ttl: Duration,
        /// Changes of others in it do not count
        #[arg(long)]
        block: bool,
        /// For all branches, not only for this one
        #[arg(long)]
        all_branches: bool,
        /// Ends the zones of others that are in the way; they are told
        #[arg(long)]
        take: bool,
        /// Waits so long for a zone that is in the way
        #[arg(long, value_name = "TIME", value_parser = duration::parse)]
        wait: Option<Duration>,
    },
    /// Refuse a question about your zone
    #[command(before_long_help = "Example:\n  aura zone deny a-17 \"almost done\"")]
    Deny {
        /// Its id
        id: String,
        /// Why
        #[arg(default_value = "")]
        text: String,
    },
    /// Let your zone last for so long from now on
    #[command(before_long_help = "Example:\n  aura zone extend z-12 --ttl 2h")]
    Extend {
        /// Its id
        id: String,
        /// How long it lasts after your last change in it
        #[arg(long, default_value = TTL, value_parser = duration::parse)]
        ttl: Duration,
    },
    /// Give your zone to whoever asks for it
    #[command(before_long_help = "Example:\n  aura zone grant a-17")]
    Grant {
        /// Id of the question
        id: String,
        /// In words
        #[arg(default_value = "")]
        text: String,
    },
    /// List zones
    #[command(before_long_help = "Examples:\n  aura zone list\n  aura zone list --mine")]
    List {
        /// Only yours
        #[arg(long)]
        mine: bool,
        /// Only those that cover this
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
    },
    /// Say that your zones are over
    #[command(before_long_help = "Examples:\n  aura zone release z-12\n  aura zone release --all")]
    Release {
        /// Their ids
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All of yours in this repository
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Show who holds a file or function, and why
    #[command(before_long_help = "Example:\n  aura zone why src/limits/tiers.rs")]
    Why {
        /// A file, directory or function
        path: String,
    },
}

impl Face<'_, '_> {
    pub(super) fn zone(&mut self, what: Option<Zone>) -> Outcome {
        let list = |mine, path| ZoneCall::List { mine, path };
        let call = match what {
            None => list(false, None),
            Some(Zone::List { mine, path }) => list(mine, path),
            Some(Zone::Why { path }) => list(false, Some(path)),
            Some(Zone::Ask { id, text }) => ZoneCall::Ask { id, text },
            Some(Zone::Deny { id, text }) => ZoneCall::Answer {
                id,
                grants: false,
                text,
            },
            Some(Zone::Grant { id, text }) => ZoneCall::Answer {
                id,
                grants: true,
                text,
            },
            Some(Zone::Extend { id, ttl }) => ZoneCall::Extend {
                id,
                ttl_ms: duration::millis(ttl),
            },
            Some(Zone::Release { ids, all }) => ZoneCall::Release { ids, all },
            Some(Zone::Claim {
                what,
                why,
                ttl,
                block,
                all_branches,
                take,
                wait,
            }) => {
                let most = wait.unwrap_or_default().saturating_add(PLACE);
                self.limit = Limit::from_now(Some(most));
                ZoneCall::Claim {
                    what,
                    why,
                    ttl_ms: duration::millis(ttl),
                    block,
                    everywhere: all_branches,
                    take,
                    wait_ms: wait.map_or(0, duration::millis),
                }
            }
        };
        match call {
            call @ ZoneCall::List { .. } => self.simple(Call::Zone(call), zones),
            call => self.simple(Call::Zone(call), |doc: &docs::ZoneDone, _| done(doc)),
        }
    }
}

/// One zone in a line or two.
fn zone(doc: &docs::ZoneDoc, view: &View) -> String {
    let whose = if doc.mine { "you" } else { &doc.holder };
    let mut text = format!(
        "{} {} ({}) {}, since {}, until {} unless worked in\n",
        view.paint(Paint::Warn, &line(&doc.id)),
        line(&doc.covers.join(", ")),
        line(&doc.mode),
        line(whose),
        when::clock(&doc.since),
        when::clock(&doc.ends),
    );
    if !doc.why.is_empty() {
        text += &format!("  {}\n", line(&doc.why));
    }
    if let Some(last) = &doc.last_change {
        let changes = show::counted(doc.changes, "unit", "units");
        text += &format!("  {changes} changed, last {}\n", when::clock(last));
    }
    for ask in &doc.asks {
        let (id, who) = (line(&ask.id), line(&ask.who));
        text += &format!(
            "  {who} asks for it: {} (aura zone grant {id})\n",
            line(&ask.text)
        );
    }
    text
}

fn zones(doc: &docs::Zones, view: &View) -> String {
    let mut text: String = doc.zones.iter().map(|doc| zone(doc, view)).collect();
    if text.is_empty() {
        text = "nobody holds a zone there\n".to_owned();
    }
    if let Some(offline_for_s) = doc.offline_for_s {
        text += &format!("as of {offline_for_s} s ago: the mothership cannot be reached\n");
    }
    text
}

fn done(doc: &docs::ZoneDone) -> String {
    let ids = line(&doc.ids.join(", "));
    let mut text = match (doc.state.as_str(), &doc.zone) {
        ("claimed", Some(zone)) => format!(
            "claimed {ids} {} ({}) until {}, renewed while you work there\n",
            line(&zone.covers.join(", ")),
            line(&zone.mode),
            when::clock(&zone.ends)
        ),
        ("nothing", _) => "nothing to release\n".to_owned(),
        ("queued", _) => format!("{ids}: said as soon as the mothership is back\n"),
        (state, _) => format!("{} {ids}\n", line(state)),
    };
    if !doc.taken.is_empty() {
        text += &format!(
            "{} ended for it; its holder is told\n",
            line(&doc.taken.join(", "))
        );
    }
    if doc.waiting != 0 {
        let patches = show::counted(doc.waiting, "patch", "patches");
        text += &format!("note: you are {patches} behind in it; aura pull\n");
    }
    text
}
