//! The measured process: the real binary on a scratch directory.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use aura_proto::LogId;
use mothership_tests::{binary, wire::Device};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{Failure, client::Client, host::Process, line::Line, line::System};

/// Enrolments at a time: the listener lets so many strangers of one address in.
const ENROLLING: usize = 32;

pub(crate) struct Server {
    child: Child,
    state: TempDir,
    listen: String,
    devices: Vec<Arc<Device>>,
    topic: AtomicU8,
}

impl Server {
    /// Starts on an empty directory and enrols so many devices.
    pub(crate) async fn start(scratch: &Path, devices: usize) -> Result<Self, Failure> {
        let state = tempfile::tempdir_in(scratch)?;
        let (child, listen) = serve(state.path(), "127.0.0.1:0")?;
        let mut server = Self {
            child,
            state,
            listen,
            devices: Vec::new(),
            topic: AtomicU8::new(0),
        };
        server.enrol(devices).await?;
        Ok(server)
    }

    async fn enrol(&mut self, count: usize) -> Result<(), Failure> {
        for first in (0..count).step_by(ENROLLING) {
            let uses = ENROLLING.to_string();
            let invite = self.ask(&["invite", "--uses", &uses])?;
            let token = invite["token"].as_str().ok_or("no token")?.to_owned();
            let mut running = JoinSet::new();
            for n in first..count.min(first + ENROLLING) {
                let token = token.clone();
                running.spawn(async move { Device::join(&token, &format!("device-{n}")).await });
            }
            while let Some(device) = running.join_next().await {
                self.devices.push(Arc::new(device??));
            }
        }
        Ok(())
    }

    fn ask(&self, args: &[&str]) -> Result<Value, Failure> {
        let output = Command::new(binary("mothership"))
            .arg("--state-dir")
            .arg(self.state.path().join("box"))
            .arg("--json")
            .args(args)
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(crate) fn device(&self, number: usize) -> Arc<Device> {
        Arc::clone(&self.devices[number])
    }

    /// Where the log lies.
    pub(crate) fn wal(&self) -> PathBuf {
        self.state.path().join("box/wal")
    }

    /// Kills the process; its directory and its address stay.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts again where the process was killed.
    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        (self.child, self.listen) = serve(self.state.path(), &self.listen)?;
        Ok(())
    }
}

/// The process and the address on which it listens.
fn serve(state: &Path, listen: &str) -> Result<(Child, String), Failure> {
    let mut child = Command::new(binary("mothership"))
        .args(["serve", "--listen", listen, "--json", "--no-invite"])
        .arg("--state-dir")
        .arg(state.join("box"))
        .env("MOTHERSHIP_LOG", "error")
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let ready = lines.next().ok_or("the server ended at once")??;
    // What follows is read so that the server never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    let ready: Value = serde_json::from_str(&ready)?;
    let listen = ready["listen"][0].as_str().ok_or("no address")?.to_owned();
    Ok((child, listen))
}

impl System for Server {
    type Speech = Client;

    fn process(&self) -> Process {
        Process(self.child.id())
    }

    async fn topic(&self) -> Result<u8, Failure> {
        Ok(self.topic.fetch_add(1, Relaxed) + 1)
    }

    async fn connect(&self, client: usize, topic: u8) -> Result<Line<Client>, Failure> {
        Client::connect(self.device(client), LogId([topic; 16])).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
