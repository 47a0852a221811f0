//! The arguments of `mothership`.
//!
//! Invariants:
//! - what can be checked without the server is checked here, and ends with exit code 2;
//! - every command's long help begins with an example.

use std::{path::PathBuf, time::Duration};

use aura_proto::limits::{self, RELAY_CIRCUITS_PER_PEER_MAX};
use clap::{Args as Arguments, Parser, Subcommand};

use crate::{aura::Invite, common::Common, completions::Shell, duration};

const _: () = assert!(
    limits::HEARTBEAT_MS == 30_000,
    "the default of --heartbeat says 30s"
);

/// `mothership`.
#[derive(Parser)]
#[command(
    name = "mothership",
    version,
    about = "Coordinates a team that edits one git repository; sees no code",
    before_long_help = "Examples:\n  mothership serve --listen 0.0.0.0:7777 --name acme\n  mothership invite --for alice",
    after_help = "Exit codes: mothership help exit-codes",
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Where the mothership keeps everything; else MOTHERSHIP_STATE_DIR
    #[arg(long, value_name = "DIR", global = true, help_heading = "Everywhere")]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `mothership` can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print a completion script
    #[command(
        before_long_help = "Example:\n  mothership completions bash > /etc/bash_completion.d/mothership"
    )]
    Completions {
        /// For this shell
        shell: Shell,
    },
    /// Explain a command or a topic
    #[command(before_long_help = "Example:\n  mothership help exit-codes")]
    Help {
        /// A command, or exit-codes
        topic: Vec<String>,
    },
    /// Make a join token
    #[command(
        before_long_help = "Examples:\n  mothership invite --for alice --ttl 2d\n  mothership invite -q | ssh laptop aura -C work join -"
    )]
    Invite(Invite),
    /// Show what happened, newest last
    #[command(before_long_help = "Example:\n  mothership log -n 20 --json")]
    Log {
        /// At most this many
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100)]
        limit: usize,
    },
    /// Print the manual page of mothership, or write the pages of all commands
    #[command(
        before_long_help = "Examples:\n  mothership man | man -l -\n  mothership man --dir /usr/local/share/man/man1"
    )]
    Man {
        /// Write one file for each command below this directory, which is made if need be
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Look after peers
    #[command(before_long_help = "Example:\n  mothership peer list")]
    Peer {
        #[command(subcommand)]
        what: Peer,
    },
    /// List the documents that --json prints, or print the JSON Schema of one
    #[command(
        before_long_help = "Examples:\n  mothership schema\n  mothership schema mothership.status/1"
    )]
    Schema {
        /// Its name, as in its field schema; the version may be left out
        name: Option<String>,
    },
    /// Run the mothership in the foreground
    #[command(
        before_long_help = "Examples:\n  mothership serve --name acme --advertise box.acme.example:7777\n  mothership serve --state-dir D --listen 127.0.0.1:0 --json"
    )]
    Serve(Serve),
    /// Show the state on one screen
    #[command(before_long_help = "Example:\n  mothership status")]
    Status,
    /// Look after join tokens
    #[command(before_long_help = "Example:\n  mothership token list")]
    Token {
        #[command(subcommand)]
        what: Token,
    },
    /// Print versions
    #[command(before_long_help = "Example:\n  mothership version")]
    Version,
    /// Look into the log of records
    #[command(before_long_help = "Example:\n  mothership wal verify")]
    Wal {
        #[command(subcommand)]
        what: Wal,
    },
}

/// Below `peer`.
#[derive(Subcommand)]
pub(crate) enum Peer {
    /// List peers
    #[command(before_long_help = "Example:\n  mothership peer list --json=peers.name,peers.state")]
    List,
    /// Remove a peer; all others are told
    #[command(
        before_long_help = "Example:\n  mothership peer revoke bob@old-laptop --reason \"laptop sold\""
    )]
    Revoke {
        /// Name or id
        peer: String,
        /// Why, shown to everybody
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// `serve`.
#[derive(Arguments)]
pub(crate) struct Serve {
    /// Listen here; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "0.0.0.0:7777",
        env = "MOTHERSHIP_LISTEN"
    )]
    pub(crate) listen: String,
    /// Addresses that invites name; else the listening ones
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        env = "MOTHERSHIP_ADVERTISE"
    )]
    pub(crate) advertise: Vec<String>,
    /// Name of the team, at the very first start
    #[arg(long, value_name = "TEAM", env = "MOTHERSHIP_NAME")]
    pub(crate) name: Option<String>,
    /// Print no first invite
    #[arg(long)]
    pub(crate) no_invite: bool,
    /// How often links say that they live
    #[arg(long, value_name = "DURATION", default_value = "30s", env = "MOTHERSHIP_HEARTBEAT", value_parser = duration::parse_pace)]
    pub(crate) heartbeat: Duration,
    /// When a silent peer counts as offline
    #[arg(long, value_name = "DURATION", default_value = "5m", env = "MOTHERSHIP_OFFLINE_AFTER", value_parser = duration::parse_pace)]
    pub(crate) offline_after: Duration,
    /// Life of a device's certificate, renewed from half of it on; at most 7d
    #[arg(long, value_name = "DURATION", default_value = "7d", env = "MOTHERSHIP_LEAF_LIFE", value_parser = duration::parse_leaf_life)]
    pub(crate) leaf_life: Duration,
    /// Bytes that one circuit between devices may carry; no end without it
    #[arg(long, value_name = "BYTES", env = "MOTHERSHIP_RELAY_BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) relay_bytes: Option<u64>,
    /// How long one circuit may last; no end without it
    #[arg(long, value_name = "DURATION", env = "MOTHERSHIP_RELAY_TIME", value_parser = duration::parse_pace)]
    pub(crate) relay_time: Option<Duration>,
    /// Circuits that one device may have
    #[arg(long, value_name = "N", default_value_t = RELAY_CIRCUITS_PER_PEER_MAX, env = "MOTHERSHIP_RELAY_CIRCUITS")]
    pub(crate) relay_circuits: usize,
    /// Dashboard address; only off for now
    #[arg(long, value_name = "ADDR", default_value = "off", value_parser = ["off"])]
    pub(crate) web: String,
    /// Metrics address; only off for now
    #[arg(long, value_name = "ADDR", default_value = "off", value_parser = ["off"])]
    pub(crate) metrics: String,
}

/// Below `token`.
#[derive(Subcommand)]
pub(crate) enum Token {
    /// The same as `invite`
    #[command(before_long_help = "Example:\n  mothership token create --for alice")]
    Create(Invite),
    /// List tokens, newest first
    #[command(before_long_help = "Example:\n  mothership token list")]
    List,
    /// End a token
    #[command(before_long_help = "Example:\n  mothership token revoke t7x")]
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
}

/// Below `wal`.
#[derive(Subcommand)]
pub(crate) enum Wal {
    /// Print figures of the log
    #[command(before_long_help = "Example:\n  mothership wal stat")]
    Stat,
    /// Print the newest records
    #[command(before_long_help = "Example:\n  mothership wal tail -n 5")]
    Tail {
        /// At most this many
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
        limit: usize,
    },
    /// Check every record and signature; safe beside a live server
    #[command(before_long_help = "Example:\n  mothership wal verify")]
    Verify,
}
