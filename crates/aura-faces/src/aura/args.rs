//! The arguments of `aura`.
//!
//! Invariants:
//! - what can be checked without the daemon is checked here, and ends with exit code 2;
//! - every command's long help begins with an example.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use aura_proto::message::{DEVICE_NAME_RULE, is_device_name};
use clap::{Args as Arguments, Parser, Subcommand};

use super::{messages::Msg, zones::Zone};
use crate::{
    common::Common,
    completions::Shell,
    duration,
    moment::{self, Moment, When},
};

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
    /// Show who wrote each line of a file, or each unit
    #[command(
        before_long_help = "Examples:\n  aura blame src/risk.rs\n  aura blame src/risk.rs --units"
    )]
    Blame {
        /// The file
        file: PathBuf,
        /// One line for each unit, not for each line
        #[arg(long)]
        units: bool,
    },
    /// Write what helps others to find a fault into one file, without names and code; sends nothing
    #[command(before_long_help = "Examples:\n  aura bugreport\n  aura bugreport -o report.txt")]
    Bugreport {
        /// Write here instead of aura-bugreport-DATE.txt; a file that is there is not replaced
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
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
    /// Check what aura needs, and say what is wrong; exit 1 if something fails
    #[command(before_long_help = "Examples:\n  aura doctor\n  aura doctor --fix")]
    Doctor {
        /// Put right what is safe: close the home to others, set git up, remove a left-over socket
        #[arg(long)]
        fix: bool,
    },
    /// Stop the daemon
    #[command(before_long_help = "Example:\n  aura down")]
    Down,
    /// Find symbols whose names contain a text
    #[command(before_long_help = "Examples:\n  aura find score\n  aura find score --at 2h")]
    Find {
        /// The text; upper and lower case are alike
        text: String,
        /// The symbols that there were at an operation, a position of the log, or a moment
        #[arg(long, value_name = "OP|TIME", value_parser = moment::parse)]
        at: Option<When>,
        /// At most this many
        #[arg(short = 'n', long, value_name = "COUNT")]
        limit: Option<usize>,
    },
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
    /// Set git up in a clone: functions instead of lines in its merges; needs no team
    #[command(
        before_long_help = "Examples:\n  aura init\n  aura init --show          what it would write, and the same for jj"
    )]
    Init(Init),
    /// Make a join token for somebody
    #[command(before_long_help = "Example:\n  aura invite --for alice --ttl 2d")]
    Invite(Invite),
    /// Join a team with this clone
    #[command(
        before_long_help = "Examples:\n  aura join ms1-…\n  aura join @token.txt --name alice@thinkpad\n  aura join                  a second clone, when this device is a member"
    )]
    Join(Join),
    /// Show published and received changes, newest first
    #[command(
        before_long_help = "Examples:\n  aura log RiskModel::score\n  aura log --actor bob@mbp --since 2h\n  aura log --auto              what was joined without anybody deciding\n  aura log --dag               where versions fork, join and differ"
    )]
    Log(Log),
    /// Print the manual page of aura, or write the pages of all commands
    #[command(
        before_long_help = "Examples:\n  aura man | man -l -\n  aura man --dir ~/.local/share/man/man1"
    )]
    Man {
        /// Write one file for each command below this directory, which is made if need be
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// List members, or let waiting devices read
    #[command(before_long_help = "Example:\n  aura members approve bob@mbp")]
    Members {
        #[command(subcommand)]
        what: Option<Members>,
    },
    /// Merge three files, without a team; exit 1 on conflict. Foresee or explain git's merges
    #[command(
        before_long_help = "Examples:\n  aura merge base.rs ours.rs theirs.rs --path src/risk.rs -o merged.rs\n  aura merge preview topic\n  aura merge explain src/risk.rs"
    )]
    Merge(Merge),
    /// Merge one file for git; its exit codes are git's: 0 clean, 1 conflict, 255 stops the merge
    #[command(
        before_long_help = "Example, as aura init writes it:\n  aura merge-driver -- %O %A %B %L %P %S %X %Y"
    )]
    MergeDriver {
        /// Files with base, ours (written over) and theirs, size of the markers, path, names of base, ours and theirs
        #[arg(
            value_name = "%O %A %B %L %P %S %X %Y",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        given: Vec<OsString>,
    },
    /// Say what a commit or a push touches, for git's hooks; only an open conflict in a push ends with 7
    #[command(before_long_help = "Example, as aura init writes it:\n  aura git-hook pre-commit")]
    GitHook {
        /// `pre-commit` or `pre-push`
        name: String,
        /// What git gives the hook
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        given: Vec<String>,
    },
    /// Merge what standard input holds, for whoever must outlive it
    #[command(hide = true, before_long_help = "Example:\n  aura merge-worker < job")]
    MergeWorker,
    /// Print or set what happens to your files
    #[command(before_long_help = "Example:\n  aura mode live")]
    Mode {
        /// observe, ask or live
        mode: Option<String>,
    },
    /// Say why: the reason goes to all that you saved and published without one, back to a day ago
    #[command(before_long_help = "Example:\n  aura intent \"limits per currency\"")]
    Intent {
        /// The reason, shown to the others
        why: String,
    },
    /// Publish nothing, or take nothing, until you resume or a time is over
    #[command(before_long_help = "Examples:\n  aura pause --for 30m\n  aura pause --out")]
    Pause(Pause),
    /// Go on after a pause
    #[command(before_long_help = "Example:\n  aura resume")]
    Resume,
    /// List the units of a file, without a team
    #[command(before_long_help = "Example:\n  aura outline src/risk.rs")]
    Outline {
        /// The file
        file: PathBuf,
        /// Treat it as having this path
        #[arg(long, value_name = "NAME")]
        path: Option<String>,
    },
    /// Parse what standard input holds, for whoever must outlive it
    #[command(
        hide = true,
        before_long_help = "Example:\n  aura parse-trial src/risk.rs < src/risk.rs"
    )]
    ParseTrial {
        /// Treat it as having this path
        path: String,
    },
    /// Show how this device and others are reached, address by address
    #[command(before_long_help = "Examples:\n  aura netcheck\n  aura netcheck carol")]
    Netcheck {
        /// Only this device
        peer: Option<String>,
    },
    /// List the peers of the team, and how each is reached
    #[command(before_long_help = "Example:\n  aura peers")]
    Peers,
    /// Ask another device whether it is there, and by which way
    #[command(before_long_help = "Example:\n  aura ping carol")]
    Ping {
        /// Its name
        peer: String,
    },
    /// Send a message to another device over whoever is between, and show how long each took
    #[command(
        before_long_help = "Examples:\n  aura test-message @carol\n  aura test-message carol --hops 2"
    )]
    TestMessage {
        /// Its name
        peer: String,
        /// Over so many links at most
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=5))]
        hops: u8,
    },
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
    Pull(Pull),
    /// Dial the mothership and other devices anew
    #[command(before_long_help = "Examples:\n  aura reconnect\n  aura reconnect carol")]
    Reconnect {
        /// Only this device
        peer: Option<String>,
    },
    /// Bring back the text that a symbol had, and publish it
    #[command(
        before_long_help = "Examples:\n  aura restore RiskModel::score --at o-7f5p\n  aura restore src/risk.rs::score --at 14:19 --dry-run"
    )]
    Restore {
        /// The symbol, or the path of a file that has no symbols
        symbol: String,
        /// An operation, a position of the log, or a moment: 2h ago, 14:19, 2026-11-20, 2026-11-20T14:19
        #[arg(long, value_name = "OP|TIME", value_parser = moment::parse)]
        at: When,
        /// The reason, shown to the others
        #[arg(short = 'm', long = "message", value_name = "WHY")]
        why: Option<String>,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Settle conflicts
    #[command(
        before_long_help = "Examples:\n  aura resolve c-12 --theirs\n  aura resolve c-12 --with merged.txt\n  aura resolve --all --mine"
    )]
    Resolve(Resolve),
    /// List the documents that --json prints, or print the JSON Schema of one
    #[command(before_long_help = "Examples:\n  aura schema\n  aura schema aura.status/1")]
    Schema {
        /// Its name, as in its field schema; the version may be left out
        name: Option<String>,
    },
    /// Show one operation, or a symbol as it was
    #[command(
        before_long_help = "Examples:\n  aura show o-7f5p\n  aura show RiskModel::score --at 2h"
    )]
    Show {
        /// An operation, from `aura log`, or a symbol
        what: String,
        /// The symbol as it was at an operation, a position of the log, or a moment
        #[arg(long, value_name = "OP|TIME", value_parser = moment::parse)]
        at: Option<When>,
    },
    /// Show what needs you, who is around, what to do now
    #[command(
        visible_alias = "st",
        before_long_help = "Examples:\n  aura status\n  aura status --exit-code --json=word,link.state"
    )]
    Status(Status),
    /// Take back what init did
    #[command(before_long_help = "Example:\n  aura uninit")]
    Uninit {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
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
    /// Show messages
    #[command(before_long_help = "Examples:\n  aura inbox\n  aura inbox --unread")]
    Inbox {
        /// Only those that you have not read
        #[arg(long)]
        unread: bool,
    },
    /// Print a few characters for the prompt of a shell, nothing when all is quiet
    #[command(
        before_long_help = "Examples:\n  PS1='$(aura prompt) \\$ '\n  aura prompt --format '{word} {waiting} {needs}'"
    )]
    Prompt {
        /// With {mark}, {word}, {waiting} and {needs}
        #[arg(long)]
        format: Option<String>,
    },
    /// Send, read and answer messages
    #[command(
        before_long_help = "Examples:\n  aura msg send @bob \"done?\"\n  aura msg read\n  aura msg reply m-7sy5pp yes"
    )]
    Msg {
        #[command(subcommand)]
        what: Msg,
    },
    /// Show, claim and release zones: leases on files, directories and functions
    #[command(
        before_long_help = "Examples:\n  aura zone\n  aura zone claim src/billing --why invoices\n  aura zone release z-12"
    )]
    Zone {
        #[command(subcommand)]
        what: Option<Zone>,
    },
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

/// `init`.
#[derive(Arguments)]
pub(crate) struct Init {
    /// Print every line that it would write, and those for jj
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) show: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Name the file types in the tracked .gitattributes, for the whole team
    #[arg(long)]
    pub(crate) commit_attributes: bool,
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
    /// Draw the token as a QR code as well
    #[arg(long)]
    pub(crate) qr: bool,
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

/// `log`.
#[derive(Arguments)]
pub(crate) struct Log {
    /// Only this symbol, or this file
    pub(crate) symbol: Option<String>,
    /// Only by this peer
    #[arg(long, value_name = "PEER")]
    pub(crate) actor: Option<String>,
    /// Only what is younger: 2h, 14:19, 2026-11-20, 2026-11-20T14:19
    #[arg(long, value_name = "TIME", value_parser = moment::parse_time)]
    pub(crate) since: Option<Moment>,
    /// Only what was joined without anybody deciding
    #[arg(long)]
    pub(crate) auto: bool,
    /// At most this many
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    /// Heads, forks and joins of versions instead of the list
    #[arg(long, conflicts_with_all = ["actor", "since", "auto", "limit"])]
    pub(crate) dag: bool,
    /// Only whether any versions differ, without opening a text
    #[arg(long, requires = "dag", conflicts_with = "symbol")]
    pub(crate) quick: bool,
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
    /// Put alerts off; one that gets worse is shown again
    #[command(before_long_help = "Examples:\n  aura impact snooze 2h\n  aura impact snooze 1d i-7")]
    Snooze {
        /// For how long, such as 2h
        #[arg(value_name = "DURATION", value_parser = duration::parse)]
        time: Duration,
        /// Ids such as i-7; all open ones when absent
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
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
pub(crate) struct Merge {
    #[command(subcommand)]
    pub(crate) what: Option<MergeWhat>,
    #[command(flatten)]
    pub(crate) files: Option<MergeFiles>,
}

/// Below `merge`.
#[derive(Subcommand)]
pub(crate) enum MergeWhat {
    /// Show what the merge driver did in git's last merge, or last did to a file
    #[command(
        before_long_help = "Examples:\n  aura merge explain\n  aura merge explain src/risk.rs -n 3"
    )]
    Explain {
        /// Only this file
        file: Option<PathBuf>,
        /// At most this many merges, newest first; each pick of a rebase is one
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 1)]
        limit: usize,
    },
    /// Show what merging a branch into HEAD would do; changes nothing
    #[command(before_long_help = "Example:\n  aura merge preview topic")]
    Preview {
        /// The branch, or any commit
        branch: String,
        /// End with 7 when a file would be in conflict, else with 11 when one cannot be foreseen
        #[arg(long)]
        exit_code: bool,
    },
}

/// `merge BASE OURS THEIRS`.
#[derive(Arguments)]
pub(crate) struct MergeFiles {
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

/// `aura pull`.
#[derive(Arguments)]
pub(super) struct Pull {
    /// Only these symbols
    pub(super) symbols: Vec<String>,
    /// Only from this peer
    #[arg(long, value_name = "PEER")]
    pub(super) from: Option<String>,
    /// Only files that match: a path, a directory or a pattern
    #[arg(long, value_name = "GLOB")]
    pub(super) path: Option<String>,
    /// Run a shell command afterwards; if it fails, everything is as before
    #[arg(long, value_name = "CMD", conflicts_with = "dry_run")]
    pub(super) check: Option<String>,
    /// Only say what would happen
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// `aura pause`.
#[derive(Arguments)]
pub(super) struct Pause {
    /// Publish nothing
    #[arg(long)]
    pub(super) out: bool,
    /// Take nothing by itself; aura pull still does
    #[arg(long = "in")]
    pub(super) taking: bool,
    /// For how long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    pub(super) for_: Option<Duration>,
}
