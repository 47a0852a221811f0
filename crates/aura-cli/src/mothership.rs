//! The command line `mothership`.
//!
//! Invariant: commands about a running Mothership go through its owner-only socket; reading ones also work without it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use aura_api::{AdminCall, Exit, Failure, Reply, docs, socket};
use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::{aura::duration, escape, out, render};

/// How to serve, as given on the command line.
#[derive(Debug, Clone)]
pub struct Serve {
    /// Everything that the Mothership keeps.
    pub state_dir: PathBuf,
    /// `host:port`.
    pub listen: String,
    /// Addresses that invites name.
    pub advertise: Vec<String>,
    /// Team name.
    pub name: Option<String>,
    /// Whether to print a first invite.
    pub invite: bool,
    /// Heartbeat period.
    pub heartbeat: Duration,
    /// When a silent peer counts as offline.
    pub offline_after: Duration,
}

/// Hears the ready document, then one document per event.
pub type OnLine<'a> = &'a mut dyn FnMut(Value);

/// What the binary lends to the command line.
#[derive(Clone, Copy)]
pub struct Engine {
    /// Serves until told to stop.
    pub serve: fn(Serve, OnLine<'_>) -> Result<(), Failure>,
    /// Checks a log.
    pub verify: fn(&Path) -> Result<docs::WalVerify, Failure>,
    /// Answers from the directory alone.
    pub read_only: fn(&Path, AdminCall) -> Result<Value, Failure>,
}

/// The coordinator of a team: orders, stores and relays what it cannot read.
#[derive(Debug, Parser)]
#[command(name = "mothership", version, about, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Args)]
struct Global {
    /// Everything that the Mothership keeps.
    #[arg(
        long,
        global = true,
        env = "MOTHERSHIP_STATE_DIR",
        default_value = "./mothership-state"
    )]
    state_dir: PathBuf,
    /// Print JSON documents.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve a team.
    Serve {
        /// `host:port`; port 0 takes a free one.
        #[arg(long, env = "MOTHERSHIP_LISTEN", default_value = "0.0.0.0:7777")]
        listen: String,
        /// Address that invites name; may be repeated.
        #[arg(long)]
        advertise: Vec<String>,
        /// Team name, for the very first start.
        #[arg(long)]
        name: Option<String>,
        /// Do not print a first invite.
        #[arg(long)]
        no_invite: bool,
        /// Heartbeat period.
        #[arg(long, default_value = "30s", value_parser = duration)]
        heartbeat: Duration,
        /// When a silent peer counts as offline.
        #[arg(long, default_value = "5m", value_parser = duration)]
        offline_after: Duration,
        /// Address of the web panel, or off.
        #[arg(long, default_value = "off")]
        web: String,
        /// Address of the metrics, or off.
        #[arg(long, default_value = "off")]
        metrics: String,
    },
    /// Make an invite.
    Invite(InviteArgs),
    /// Tokens made here.
    Token {
        #[command(subcommand)]
        command: TokenVerb,
    },
    /// Peers.
    Peer {
        #[command(subcommand)]
        command: PeerVerb,
    },
    /// One screen.
    Status,
    /// Audit records.
    Log {
        /// At most this many.
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: usize,
    },
    /// The log on disk.
    Wal {
        #[command(subcommand)]
        command: WalVerb,
    },
}

#[derive(Debug, Args)]
struct InviteArgs {
    /// For whom.
    #[arg(long = "for", value_name = "NAME")]
    name: Option<String>,
    /// Role of the newcomer.
    #[arg(long, default_value = "member")]
    role: String,
    /// How often it can be used.
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// How long it lives, one second to seven days.
    #[arg(long, default_value = "24h", value_parser = duration, allow_hyphen_values = true)]
    ttl: Duration,
    /// Print the token alone.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Make an invite.
    Create(InviteArgs),
    /// Who used which, and what is open.
    List,
    /// End a token.
    Revoke {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum PeerVerb {
    /// Everybody.
    List,
    /// Remove a peer for good.
    Revoke {
        /// Name or id.
        peer: String,
        /// Why.
        #[arg(long, default_value = "removed by the operator")]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
enum WalVerb {
    /// Check every record, chain and signature.
    Verify,
    /// Figures.
    Stat,
    /// Newest records.
    Tail {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20)]
        limit: usize,
    },
}

/// The whole program.
pub fn run(engine: Engine) -> ExitCode {
    let cli = Cli::parse();
    let is_json = cli.global.json;
    let exit = match act(cli, engine) {
        Ok(()) => Exit::DONE,
        Err(failure) => out::failure(&failure, is_json),
    };
    ExitCode::from(exit.0)
}

fn act(cli: Cli, engine: Engine) -> Result<(), Failure> {
    let Global { state_dir, json } = cli.global;
    let state_dir = std::path::absolute(&state_dir)
        .map_err(|error| Failure::new("AE-USAGE", Exit::USAGE, error.to_string()))?;
    let call = match cli.command {
        Verb::Serve {
            listen,
            advertise,
            name,
            no_invite,
            heartbeat,
            offline_after,
            ..
        } => {
            let serve = Serve {
                state_dir,
                listen,
                advertise,
                name,
                invite: !no_invite,
                heartbeat,
                offline_after,
            };
            return (engine.serve)(serve, &mut |line| {
                if json {
                    out::line(&line.to_string())
                } else {
                    announce(&line)
                }
            });
        }
        Verb::Wal {
            command: WalVerb::Verify,
        } => {
            let report = (engine.verify)(&state_dir)?;
            return show(&serde_json::to_value(report).unwrap_or(Value::Null), json);
        }
        Verb::Invite(args)
        | Verb::Token {
            command: TokenVerb::Create(args),
        } => {
            let call = AdminCall::Invite {
                name: args.name,
                role: args.role,
                uses: args.uses,
                ttl_s: args.ttl.as_secs(),
            };
            let document = ask(&state_dir, &call, engine)?;
            if args.quiet && !json {
                out::line(document["token"].as_str().unwrap_or_default());
                return Ok(());
            }
            return show(&document, json);
        }
        Verb::Token {
            command: TokenVerb::List,
        } => AdminCall::TokenList,
        Verb::Token {
            command: TokenVerb::Revoke { id },
        } => AdminCall::TokenRevoke { id },
        Verb::Peer {
            command: PeerVerb::List,
        } => AdminCall::PeerList,
        Verb::Peer {
            command: PeerVerb::Revoke { peer, reason },
        } => AdminCall::PeerRevoke { peer, reason },
        Verb::Status => AdminCall::Status,
        Verb::Log { limit } => AdminCall::Log { limit },
        Verb::Wal {
            command: WalVerb::Stat,
        } => AdminCall::WalStat,
        Verb::Wal {
            command: WalVerb::Tail { limit },
        } => AdminCall::WalTail { limit },
    };
    show(&ask(&state_dir, &call, engine)?, json)
}

fn ask(state_dir: &Path, call: &AdminCall, engine: Engine) -> Result<Value, Failure> {
    let Ok(stream) = socket::connect(state_dir, "admin.sock") else {
        return (engine.read_only)(state_dir, call.clone());
    };
    let lost = |error: std::io::Error| {
        Failure::new(
            "AE-NO-MOTHERSHIP",
            Exit::NO_DAEMON,
            format!("it went away: {error}"),
        )
        .retryable()
    };
    for reply in socket::call(stream, call).map_err(lost)? {
        match reply.map_err(lost)? {
            Reply::Done(document) => return Ok(document),
            Reply::Failed(failure) => return Err(failure),
            Reply::Event(_) | Reply::Progress { .. } => {}
        }
    }
    Err(lost(std::io::Error::from(
        std::io::ErrorKind::UnexpectedEof,
    )))
}

fn show(document: &Value, json: bool) -> Result<(), Failure> {
    if json {
        out::line(&document.to_string());
    } else {
        render::document(document);
    }
    Ok(())
}

fn announce(line: &Value) {
    let text = |key: &str| escape(line[key].as_str().unwrap_or_default());
    if line["schema"] != "mothership.ready/1" {
        return out::line(&format!(
            "{} {} {} {}",
            text("at"),
            text("kind"),
            text("who"),
            text("text")
        ));
    }
    let listen: Vec<&str> = line["listen"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    out::line(&format!(
        "mothership  team {:?} ({})",
        text("team"),
        text("team_id")
    ));
    out::line(&format!(
        "  listening   {} (TLS 1.3; without a certificate only enrolment answers)",
        listen.join(", ")
    ));
    out::line(&format!("  authority   {}", text("ca_words")));
    out::line(&format!("  state       {}", text("state_dir")));
    if line["token"].is_string() {
        out::line(
            "\nInvite a teammate (works once, for 24 hours). In their clone of the repository:\n",
        );
        out::line(&format!("  aura join {}\n", text("token")));
    }
    out::line("Ready. Stop with Ctrl-C. More invites: mothership invite");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_argument_table_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn case_017_lifetimes_that_are_no_durations_are_refused() {
        for ttl in ["-1", "soon", "1y"] {
            assert!(Cli::try_parse_from(["mothership", "invite", "--ttl", ttl]).is_err());
        }
    }
}
