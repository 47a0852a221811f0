//! What a running process uses, as the system counts it.
//!
//! Invariant: a process that has ended uses nothing.

use std::{fs, time::Duration};

/// A process by its number.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    fn read(self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).unwrap_or_default()
    }

    fn field(self, file: &str, name: &str) -> u64 {
        let text = self.read(file);
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let digits = value.unwrap_or_default().trim().trim_end_matches(" kB");
        digits.parse().unwrap_or(0)
    }

    /// Resident memory in KiB.
    pub fn resident_kb(self) -> u64 {
        self.field("status", "VmRSS:")
    }

    /// Bytes read from files; what comes from sockets is not among them.
    pub fn file_bytes_read(self) -> u64 {
        self.field("io", "rchar:")
    }

    /// Open sockets.
    pub fn sockets(self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.0));
        let open = open.into_iter().flatten().flatten();
        let target = open.filter_map(|open| fs::read_link(open.path()).ok());
        target
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Processor time used so far by the threads that live.
    pub fn cpu(self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0));
        let tasks = tasks.into_iter().flatten().flatten();
        let spent = tasks.filter_map(|task| {
            let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            stat.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }
}
