//! The machine: its clock, its processes, its disk, and its network without us.
//!
//! What is measured here is the limit that stands beside a figure of the same run.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{Failure, pki::Pki};

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Puts this process and whatever it starts into the real-time class: an ordinary thread that wakes up on a busy
/// machine waits for the next tick.
pub(crate) fn hurry() -> Result<(), Failure> {
    let pid = std::process::id().to_string();
    let chrt = Command::new("chrt")
        .args(["-r", "-p", "1", &pid])
        .output()?;
    if chrt.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&chrt.stderr).into())
    }
}

/// The `p`-th percentile in milliseconds.
pub(crate) fn percentile(times: &mut [Duration], p: usize) -> f64 {
    times.sort_unstable();
    let index = times.len().saturating_sub(1) * p / 100;
    times.get(index).map_or(0.0, |time| ms(*time))
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A running process, by its number.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Processor time used so far.
    /// Resident memory in KiB.
    pub(crate) fn memory_kib(self) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let mut lines = status
            .lines()
            .filter_map(|line| line.strip_prefix("VmRSS:"));
        let field = lines.next().unwrap_or_default().split_whitespace().next();
        Ok(field.ok_or("no VmRSS")?.parse()?)
    }

    pub(crate) fn cpu(self) -> Result<Duration, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The name in brackets may hold anything; user and system time follow it at places 11 and 12.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap_or(0))
            .sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Resident memory in KB.
    pub(crate) fn resident_kb(self) -> Result<f64, Failure> {
        self.status("VmRSS:")
    }

    /// The most resident memory so far in KB.
    pub(crate) fn peak_kb(self) -> Result<f64, Failure> {
        self.status("VmHWM:")
    }

    fn status(self, name: &str) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let row = status.lines().find_map(|line| line.strip_prefix(name));
        let kb = row.and_then(|row| row.trim().trim_end_matches(" kB").parse().ok());
        Ok(kb.ok_or("no such row in the process's status")?)
    }
}

/// A file that was zero-written, as a segment of the log is.
pub(crate) struct Disk {
    file: File,
}

/// Syncs measured for one figure.
const SYNCS: usize = 200;

impl Disk {
    pub(crate) fn new(dir: &Path) -> Result<Self, Failure> {
        let file = tempfile::tempfile_in(dir)?;
        file.write_all_at(&vec![0; 64 << 20], 0)?;
        file.sync_all()?;
        Ok(Self { file })
    }

    /// Times of one write of `bytes` with its sync.
    pub(crate) fn syncs(&self, bytes: usize) -> Result<Vec<Duration>, Failure> {
        let body = vec![7; bytes];
        let places = (64 << 20) / bytes;
        let mut times = Vec::new();
        for n in 0..SYNCS {
            let begun = now();
            self.file
                .write_all_at(&body, ((n % places) * bytes) as u64)?;
            self.file.sync_data()?;
            times.push(begun.elapsed());
        }
        Ok(times)
    }
}

/// Messages a second that TLS and sockets alone bring from one process to `links` readers.
pub(crate) async fn tls_fan_out(pki: &Pki, links: usize, bytes: usize) -> Result<f64, Failure> {
    let count = (50_000 / links).max(1);
    let acceptor = TlsAcceptor::from(Arc::new(pki.server()?));
    let connector = TlsConnector::from(Arc::new(pki.client()?));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..links {
        let stream = TcpStream::connect(listener.local_addr()?).await?;
        let (accepted, _) = listener.accept().await?;
        accepted.set_nodelay(true)?;
        let name = "localhost".try_into()?;
        let (writer, reader) =
            tokio::try_join!(acceptor.accept(accepted), connector.connect(name, stream))?;
        writers.push(writer);
        readers.push(reader);
    }
    let body: Arc<[u8]> = vec![7; bytes].into();
    let mut running = JoinSet::new();
    let begun = now();
    for mut writer in writers {
        let body = Arc::clone(&body);
        running.spawn(async move {
            for _ in 0..count {
                writer.write_all(&body).await?;
                writer.flush().await?;
            }
            // The reader ends first: a close would be one more message.
            writer.read(&mut [0]).await.map(drop)
        });
    }
    for mut reader in readers {
        running.spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            let mut left = count * bytes;
            while 0 < left {
                left = left.saturating_sub(reader.read(&mut buffer).await?);
            }
            reader.shutdown().await
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok((count * links) as f64 / begun.elapsed().as_secs_f64())
}
