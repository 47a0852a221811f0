//! The measured process: the real binary on a scratch directory.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::Failure;

pub(crate) struct Server {
    child: Child,
    binary: PathBuf,
    state: TempDir,
    /// An invite that everybody may use.
    pub(crate) token: String,
}

impl Server {
    pub(crate) fn start() -> Result<Self, Failure> {
        let binary = std::env::current_exe()?.with_file_name("mothership");
        let state = tempfile::tempdir_in(".")?;
        let mut child = Command::new(&binary)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--json",
                "--no-invite",
                "--state-dir",
            ])
            .arg(state.path().join("box"))
            .env("MOTHERSHIP_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        lines.next().ok_or("the server ended at once")??;
        // What follows is read so that the server never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let mut server = Self {
            child,
            binary,
            state,
            token: String::new(),
        };
        let invite = server.ask(&["invite", "--uses", "1000"])?;
        server.token = invite["token"].as_str().ok_or("no token")?.to_owned();
        Ok(server)
    }

    fn ask(&self, args: &[&str]) -> Result<Value, Failure> {
        let output = Command::new(&self.binary)
            .arg("--state-dir")
            .arg(self.state.path().join("box"))
            .arg("--json")
            .args(args)
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Entries in all logs.
    pub(crate) fn entries(&self) -> Result<usize, Failure> {
        let status = self.ask(&["status"])?;
        let logs = status["logs"].as_array().cloned().unwrap_or_default();
        let total: u64 = logs.iter().filter_map(|log| log["seq"].as_u64()).sum();
        Ok(usize::try_from(total)?)
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Resident memory in MB.
    pub(crate) fn resident_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let kb = status.unwrap_or_default().lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .trim_end_matches(" kB")
                .parse::<u64>()
                .ok()
        });
        kb.unwrap_or(0) / 1_024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
