//! A daemon that starts says so: with much to read it takes longer than anybody waits for silence.
//!
//! Invariant: what is written changes only while the process works, so one that hangs shows as one.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use aura_store::write_unsynced;
use rustix::time::{ClockId, clock_gettime};

/// How often it is written.
const PERIOD: Duration = Duration::from_secs(1);
/// A process that used less than this in a period does nothing, in nanoseconds: 20 ms.
const WORK_NS: i64 = 20_000_000;

/// The file of a daemon that starts; with this it is gone.
pub(super) struct Starting {
    file: PathBuf,
    at: Arc<Mutex<String>>,
    /// The thread ends when this is dropped.
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Starting {
    pub(super) fn begin(file: &Path) -> Self {
        let at = Arc::new(Mutex::new("it reads its keys and the team".to_owned()));
        let (end, ended) = mpsc::channel();
        let (to, shown) = (file.to_owned(), Arc::clone(&at));
        let thread = thread::Builder::new()
            .name("starting".to_owned())
            .spawn(move || tell(&to, &shown, &ended));
        Self {
            file: file.to_owned(),
            at,
            end: Some(end),
            // Without it a start is waited for as long as it says nothing.
            thread: thread.ok(),
        }
    }

    /// What the start is at now.
    pub(super) fn is_at(&self, what: String) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        std::fs::remove_file(&self.file).ok();
    }
}

fn tell(file: &Path, at: &Mutex<String>, ended: &mpsc::Receiver<()>) {
    let mut spent = 0;
    for turn in 0_u64.. {
        let now = used_ns();
        if turn == 0 || spent + WORK_NS <= now {
            spent = now;
            let at = at.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let word = format!("{}.{turn} {at}", std::process::id());
            // Whoever waits hears nothing then, and gives up.
            write_unsynced(file, word.as_bytes(), 0o600).ok();
        }
        if ended.recv_timeout(PERIOD) != Err(mpsc::RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Processor time of this process so far.
fn used_ns() -> i64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec * 1_000_000_000 + used.tv_nsec
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(file: &Path) -> String {
        std::fs::read_to_string(file).unwrap_or_default()
    }

    #[test]
    fn a_start_says_what_it_is_at_while_it_works_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("starting");
        let starting = Starting::begin(&file);
        starting.is_at("it reads /w".to_owned());
        // Looking is work.
        while !read(&file).ends_with(" it reads /w") {}
        drop(starting);
        assert!(!file.exists());
    }
}
