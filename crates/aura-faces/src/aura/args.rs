//! The arguments of `aura`.
//!
//! Invariants:
//! - what can be checked without the daemon is checked here, and ends with exit code 2;
//! - every command's long help begins with an example.

use std::{path::PathBuf, time::Duration};

use aura_proto::message::{DEVICE_NAME_RULE, is_device_name};
use clap::{Args as Arguments, Parser, Subcommand};

use crate::{common::Common, completions::Shell, duration};

/// `aura`.
#[derive(Parser)]
#[command(
    name = "aura",
    version,
    about = "Syncs functions between the people who edit one git repository",
    before_long_help = "Examples:\n  aura join ms1-…        join a team, in a clone of its repository\n  aura status            what needs you, who is around, what to do now\n  aura pull              take what the others published",
    after_help = "Exit codes: aura help exit-codes",
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `aura` can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print a completion script
    #[command(
        before_long_help = "Example:\n  aura completions bash > ~/.local/share/bash-completion/completions/aura"
    )]
    Completions {
        /// For this shell
        shell: Shell,
    },
    /// Read or change settings
    #[command(before_long_help = "Example:\n  aura config set publish intent")]
    Config {
        #[command(subcommand)]
        what: Config,
    },
    /// List open conflicts, or show one
    #[command(before_long_help = "Example:\n  aura conflicts show c-12")]
    Conflicts(Conflicts),
    /// Run or look after the daemon
    #[command(before_long_help = "Example:\n  aura daemon logs")]
    Daemon {
        #[command(subcommand)]
        what: Daemon,
    },
    /// Compare with the team's newest, or two files
    #[command(
        before_long_help = "Examples:\n  aura diff RiskModel::score\n  aura diff --files old.rs new.rs --path src/risk.rs"
    )]
    Diff(Diff),
    /// Stop the daemon
    #[command(before_long_help = "Example:\n  aura down")]
    Down,
    /// Explain a command or a topic
    #[command(before_long_help = "Examples:\n  aura help exit-codes\n  aura help resolve")]
    Help {
        /// A command, or exit-codes
        topic: Vec<String>,
    },
    /// Show own code that uses what others changed, or what uses a symbol
    #[command(
        args_conflicts_with_subcommands = true,
        before_long_help = "Examples:\n  aura impact\n  aura impact RiskModel::load\n  aura impact ack i-7"
    )]
    Impact {
        /// Say what uses it
        symbol: Option<String>,
        #[command(subcommand)]
        what: Option<Impact>,
    },
    /// Make a join token for somebody
    #[command(before_long_help = "Example:\n  aura invite --for alice --ttl 2d")]
    Invite(Invite),
    /// Join a team with this clone
    #[command(
        before_long_help = "Examples:\n  aura join ms1-…\n  aura join @token.txt --name alice@thinkpad\n  aura join                  a second clone, when this device is a member"
    )]
    Join(Join),
    /// Show published and received changes, newest first
    #[command(before_long_help = "Example:\n  aura log RiskModel::score")]
    Log {
        /// Only this symbol
        symbol: Option<String>,
        /// Only by this peer
        #[arg(long, value_name = "PEER")]
        actor: Option<String>,
        /// Only what is younger than this
        #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
        since: Option<Duration>,
        /// At most this many
        #[arg(short = 'n', long, value_name = "COUNT")]
        limit: Option<usize>,
    },
    /// List members, or let waiting devices read
    #[command(before_long_help = "Example:\n  aura members approve bob@mbp")]
    Members {
        #[command(subcommand)]
        what: Option<Members>,
    },
    /// Merge three files, without a team; exit 1 on conflict
    #[command(
        before_long_help = "Example:\n  aura merge base.rs ours.rs theirs.rs --path src/risk.rs -o merged.rs"
    )]
    Merge(Merge),
    /// Print or set what happens to your files
    #[command(before_long_help = "Example:\n  aura mode live")]
    Mode {
        /// observe, ask or live
        mode: Option<String>,
    },
    /// List the units of a file, without a team
    #[command(before_long_help = "Example:\n  aura outline src/risk.rs")]
    Outline {
        /// The file
        file: PathBuf,
        /// Treat it as having this path
        #[arg(long, value_name = "NAME")]
        path: Option<String>,
    },
    /// List the peers of the team
    #[command(before_long_help = "Example:\n  aura peers")]
    Peers,
    /// Publish what is saved
    #[command(
        before_long_help = "Example:\n  aura publish -m \"cap from config\" RiskModel::score"
    )]
    Publish {
        /// The reason, shown to the others
        #[arg(short = 'm', long = "message", value_name = "WHY")]
        why: Option<String>,
        /// Only these symbols
        symbols: Vec<String>,
        /// Do not wait for the mothership
        #[arg(long)]
        no_wait: bool,
    },
    /// Take waiting changes into clean code
    #[command(
        before_long_help = "Examples:\n  aura pull --from bob@mbp --dry-run\n  aura pull --check 'cargo check'"
    )]
    Pull {
        /// Only these symbols
        symbols: Vec<String>,
        /// Only from this peer
        #[arg(long, value_name = "PEER")]
        from: Option<String>,
        /// Run a shell command afterwards; if it fails, everything is as before
        #[arg(long, value_name = "CMD", conflicts_with = "dry_run")]
        check: Option<String>,
        /// Only say what would happen
        #[arg(long)]
        dry_run: bool,
    },
    /// Settle conflicts
    #[command(
        before_long_help = "Examples:\n  aura resolve c-12 --theirs\n  aura resolve c-12 --with merged.txt\n  aura resolve --all --mine"
    )]
    Resolve(Resolve),
    /// Show what needs you, who is around, what to do now
    #[command(
        visible_alias = "st",
        before_long_help = "Examples:\n  aura status\n  aura status --exit-code --json=word,link.state"
    )]
    Status(Status),
    /// Take back your last change, or the named one
    #[command(before_long_help = "Example:\n  aura undo o-7f5p")]
    Undo {
        /// The operation, from `aura log`
        op: Option<String>,
    },
    /// Start the daemon in the background
    #[command(before_long_help = "Example:\n  aura up")]
    Up,
    /// Print versions
    #[command(before_long_help = "Example:\n  aura version --json")]
    Version,
    /// Wait for a state; exit 75 when it does not come
    #[command(before_long_help = "Example:\n  aura wait --for synced --timeout 30s")]
    Wait {
        /// up, synced, quiet or peer:NAME
        #[arg(long = "for", value_name = "STATE", default_value = "synced", value_parser = wanted)]
        wanted: String,
    },
    /// Print events as they happen
    #[command(
        before_long_help = "Example:\n  aura watch --json --since 88123 --type conflict,received"
    )]
    Watch(Watch),
    /// Show the identity of this device
    #[command(before_long_help = "Example:\n  aura whoami")]
    Whoami,
}

/// `conflicts`.
#[derive(Arguments)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Conflicts {
    #[command(subcommand)]
    pub(crate) what: Option<ConflictsWhat>,
    /// End with 7 when there are any
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// Below `conflicts`.
#[derive(Subcommand)]
pub(crate) enum ConflictsWhat {
    /// Show both sides of one
    #[command(before_long_help = "Example:\n  aura conflicts show c-12")]
    Show {
        /// Its id
        id: String,
    },
}

/// Below `config`.
#[derive(Subcommand)]
pub(crate) enum Config {
    /// Print one setting
    #[command(before_long_help = "Example:\n  aura config get publish")]
    Get {
        /// Its key
        key: String,
    },
    /// List all settings and where they come from
    #[command(before_long_help = "Example:\n  aura config list")]
    List,
    /// Change one setting
    #[command(before_long_help = "Example:\n  aura config set publish intent")]
    Set {
        /// Its key
        key: String,
        /// Its new value
        value: String,
    },
}

/// Below `daemon`.
#[derive(Subcommand)]
pub(crate) enum Daemon {
    /// Print the end of the log of the daemon in the background
    #[command(before_long_help = "Example:\n  aura daemon logs -n 200")]
    Logs {
        /// At most this many lines
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
        lines: usize,
    },
    /// Stop the daemon and start it again
    #[command(before_long_help = "Example:\n  aura daemon restart")]
    Restart,
    /// Run in the foreground
    #[command(before_long_help = "Example:\n  aura daemon run")]
    Run {
        /// Leave the caller's session
        #[arg(long, hide = true)]
        detached: bool,
    },
}

/// `diff`.
#[derive(Arguments)]
pub(crate) struct Diff {
    /// Only these symbols
    #[arg(conflicts_with = "files")]
    pub(crate) symbols: Vec<String>,
    /// Compare two files, without a team
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    pub(crate) files: Option<Vec<PathBuf>>,
    /// Treat the files as having this path
    #[arg(long, value_name = "NAME", requires = "files")]
    pub(crate) path: Option<String>,
}

/// `invite`, of both programs.
#[derive(Arguments)]
pub(crate) struct Invite {
    /// For whom
    #[arg(long = "for", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Role of the newcomer
    #[arg(long, default_value = "member")]
    pub(crate) role: String,
    /// How often it can be used
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) uses: u32,
    /// How long it can be used, at most 7d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration::parse_ttl, allow_hyphen_values = true)]
    pub(crate) ttl: Duration,
}

/// `join`.
#[derive(Arguments)]
pub(crate) struct Join {
    /// The token, - for standard input, or @FILE; else AURA_JOIN_TOKEN
    pub(crate) token: Option<String>,
    /// Name of this device, such as alice@thinkpad; else what the invite says, else user@host
    #[arg(long, value_parser = device_name)]
    pub(crate) name: Option<String>,
    /// observe, ask or live
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// Only check the token and the way
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not start at login
    #[arg(long)]
    pub(crate) no_service: bool,
    /// Leave git's configuration alone
    #[arg(long)]
    pub(crate) no_git: bool,
}

/// Below `members`.
#[derive(Subcommand)]
pub(crate) enum Impact {
    /// Close alerts that you have looked at
    #[command(before_long_help = "Example:\n  aura impact ack i-7")]
    Ack {
        /// Ids such as i-7
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

#[derive(Subcommand)]
pub(crate) enum Members {
    /// Give waiting devices the team key, after comparing the words
    #[command(before_long_help = "Example:\n  aura members approve bob@mbp")]
    Approve {
        /// Their names
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// Everybody who waits
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

/// `merge`.
#[derive(Arguments)]
pub(crate) struct Merge {
    /// The version that both sides come from
    pub(crate) base: PathBuf,
    /// One side
    pub(crate) ours: PathBuf,
    /// The other side
    pub(crate) theirs: PathBuf,
    /// Treat the files as having this path
    #[arg(long, value_name = "NAME")]
    pub(crate) path: String,
    /// Write here instead of standard output
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
}

/// `resolve`.
#[derive(Arguments)]
pub(crate) struct Resolve {
    /// Conflicts, such as c-12
    #[arg(required_unless_present = "all")]
    pub(crate) ids: Vec<String>,
    /// Every open conflict
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) choice: ResolveChoice,
}

/// Which text `resolve` takes.
#[derive(Arguments)]
#[group(required = true, multiple = false)]
pub(crate) struct ResolveChoice {
    /// Keep what you have
    #[arg(long)]
    pub(crate) mine: bool,
    /// Take what the other side has
    #[arg(long)]
    pub(crate) theirs: bool,
    /// Keep both, yours first
    #[arg(long)]
    pub(crate) both: bool,
    /// Take the text of a file, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Option<PathBuf>,
    /// Edit both sides in your editor
    #[arg(long)]
    pub(crate) edit: bool,
}

/// `status`.
#[derive(Arguments)]
pub(crate) struct Status {
    /// One line
    #[arg(long)]
    pub(crate) short: bool,
    /// End with the code of the state: 7 conflicts, 6 offline, 4 removed, 11 partial, 1 error
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Again after each event
    #[arg(long, conflicts_with = "exit_code")]
    pub(crate) watch: bool,
}

/// `watch`.
#[derive(Arguments)]
pub(crate) struct Watch {
    /// First event number wanted
    #[arg(long, value_name = "SEQ")]
    pub(crate) since: Option<u64>,
    /// Only these kinds
    #[arg(long = "type", value_name = "KINDS", value_delimiter = ',')]
    pub(crate) kinds: Vec<String>,
    /// Only this symbol
    #[arg(long)]
    pub(crate) symbol: Option<String>,
}

fn device_name(text: &str) -> Result<String, &'static str> {
    is_device_name(text)
        .then(|| text.to_owned())
        .ok_or(DEVICE_NAME_RULE)
}

fn wanted(text: &str) -> Result<String, &'static str> {
    let is_known = matches!(text, "up" | "synced" | "quiet")
        || text
            .strip_prefix("peer:")
            .is_some_and(|name| !name.is_empty());
    is_known
        .then(|| text.to_owned())
        .ok_or("one of up, synced, quiet, peer:NAME")
}
