//! Whole-path figures of the real `mothership` binary: durable pushes, fan-out, memory.
//!
//! `cargo run --release -p mothership-benches -- [SUBSCRIBERS]` after `cargo build --release --bins`.
//! Every load is bounded in count; the disk's own sync rate is measured in the same run, because only ratios of one
//! run mean anything.

mod client;
mod server;

use std::{
    io::Write,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};

use client::Client;
use server::Server;
use tokio::task::JoinSet;

/// Bytes of one body: a typical patch.
const BODY_BYTES: usize = 10 << 10;
/// Entries in each workload.
const ENTRIES: usize = 400;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let subscribers = std::env::args().nth(1).map_or(Ok(100), |n| n.parse())?;
    let mut out = std::io::stdout();
    let disk = disk_syncs()?;
    writeln!(
        out,
        "disk: append 10 KiB + fdatasync           {:>9.0} /s  p50 {:.2} ms",
        1e3 / disk,
        disk
    )?;
    let server = Server::start()?;
    for writers in [1, 10, 100] {
        let (rate, mut acks) = durable_pushes(&server, writers).await?;
        writeln!(
            out,
            "durable push, {writers:>3} writers, 1 in flight each {rate:>9.0} /s  p50 {:.2} ms  p99 {:.2} ms  ({:.1} x the disk's rate)",
            percentile(&mut acks, 50),
            percentile(&mut acks, 99),
            rate * disk / 1e3,
        )?;
    }
    let fan = fan_out(&server, subscribers).await?;
    let mut last = fan.last_ms;
    writeln!(
        out,
        "fan-out to {subscribers} subscribers                  {:>9.0} deliveries/s  last p50 {:.2} ms  p99 {:.2} ms  {:.1} us server CPU each  {} MB resident",
        fan.rate,
        percentile(&mut last, 50),
        percentile(&mut last, 99),
        fan.cpu_us,
        server.resident_mb(),
    )?;
    Ok(())
}

/// Median milliseconds of one 10 KiB append with its sync.
fn disk_syncs() -> Result<f64, Failure> {
    let file = tempfile::tempfile_in(".")?;
    file.write_all_at(&vec![0; BODY_BYTES * ENTRIES], 0)?;
    file.sync_all()?;
    let body = vec![7; BODY_BYTES];
    let mut times = Vec::new();
    for n in 0..ENTRIES {
        let begun = now();
        file.write_all_at(&body, (n * BODY_BYTES) as u64)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(percentile(&mut times, 50))
}

async fn durable_pushes(server: &Server, writers: usize) -> Result<(f64, Vec<Duration>), Failure> {
    let mut clients = Vec::new();
    for n in 0..writers {
        clients.push(Client::join(server, &format!("w{writers}-{n}")).await?);
    }
    let each = (ENTRIES / writers).max(4);
    let begun = now();
    let mut running = JoinSet::new();
    for mut client in clients {
        running.spawn(async move {
            let mut acks = Vec::new();
            for _ in 0..each {
                let begun = now();
                client.push(BODY_BYTES).await?;
                acks.push(begun.elapsed());
            }
            Ok::<_, Failure>(acks)
        });
    }
    let mut acks = Vec::new();
    while let Some(done) = running.join_next().await {
        acks.extend(done??);
    }
    Ok((
        (each * writers) as f64 / begun.elapsed().as_secs_f64(),
        acks,
    ))
}

struct Fan {
    rate: f64,
    last_ms: Vec<Duration>,
    cpu_us: f64,
}

async fn fan_out(server: &Server, subscribers: usize) -> Result<Fan, Failure> {
    let mut publisher = Client::join(server, "publisher").await?;
    publisher.push(16).await?;
    let seen = Arc::new(tokio::sync::Semaphore::new(0));
    for n in 0..subscribers {
        let client = Client::join(server, &format!("s{n}")).await?;
        client.count_events(Arc::clone(&seen)).await?;
    }
    // Everybody catches up with what the earlier workloads wrote.
    let backlog = server.entries()? * subscribers;
    let permits = seen.acquire_many(u32::try_from(backlog)?).await?;
    permits.forget();
    let rounds = 100;
    let (cpu, begun) = (server.cpu()?, now());
    let mut last_ms = Vec::new();
    for _ in 0..rounds {
        let round = now();
        publisher.push(BODY_BYTES).await?;
        seen.acquire_many(u32::try_from(subscribers)?)
            .await?
            .forget();
        last_ms.push(round.elapsed());
    }
    let deliveries = (rounds * subscribers) as f64;
    let cpu_us = (server.cpu()? - cpu).as_secs_f64() * 1e6 / deliveries;
    Ok(Fan {
        rate: deliveries / begun.elapsed().as_secs_f64(),
        last_ms,
        cpu_us,
    })
}

/// The `p`-th percentile in milliseconds.
fn percentile(times: &mut [Duration], p: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * p / 100).min(times.len().saturating_sub(1));
    times
        .get(index)
        .map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}
