//! What `doctor` looks at on this machine: git, the clone, the home, the disk.
//!
//! Invariant: what cannot be found out is left out, unless that is what is wrong.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use aura_api::{Home, docs::CheckDoc, home::check_own_dir, shell_operand};

use super::{FAIL, Findings, Fix, WARN, bad, of_failure, ok};
use crate::aura::{
    Face,
    git::{CloneHere, directories},
    show::counted,
};

/// Below this a log may not get its next segment: four of the 4 MiB that one takes.
const FREE_BYTES_MIN: u64 = 16 << 20;
/// Below this it is time to look: 512 MiB, a few days of a busy team.
const FREE_BYTES_LOW: u64 = 512 << 20;
/// What a line of a report is cut to, in bytes.
const REPORT_BYTES_MAX: u64 = 1 << 10;
/// Watches that are suggested at least: what many systems come with.
const WATCHES_SUGGESTED: u64 = 524_288;

impl Face<'_, '_> {
    pub(super) fn look_at_git(&self, findings: &mut Findings) {
        match self.git_version() {
            Ok(version) => findings.add(ok("git", version)),
            Err(failure) => {
                findings.add(of_failure("git", FAIL, failure));
                return;
            }
        }
        let clone = match self.clone_here() {
            Ok(clone) => clone,
            Err(failure) => {
                findings.add(of_failure("clone", WARN, failure));
                return;
            }
        };
        findings.add(ok("clone", clone.root.display().to_string()));
        look_at_driver(&clone, findings);
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok();
        let limit = limit.and_then(|limit| limit.trim().parse().ok());
        if let (Some(limit), Ok(files)) = (limit, self.files_of(&clone.root)) {
            findings.add(watches(directories(&files), limit));
        }
    }
}

fn look_at_driver(clone: &CloneHere, findings: &mut Findings) {
    let name = "merge driver";
    let set_up = ("aura init", "sets it up; aura uninit takes it back");
    let check = match (&clone.driver, &clone.program) {
        (Err(failure), _) => of_failure(name, WARN, failure.clone()),
        (Ok("set_up"), None) => ok(name, "git merges functions here"),
        (Ok("set_up"), Some(program)) => bad(
            name,
            WARN,
            program.clone(),
            (
                "command -v aura",
                "which program git runs; set PATH so that it is this one",
            ),
        ),
        (Ok(state), _) => {
            findings.fixes.push(Fix::SetGitUp);
            let text = match *state {
                "stale" => "what git was told is of another version, or incomplete",
                _ => "it is not set up, so git merges by lines here",
            };
            bad(name, WARN, text, set_up)
        }
    };
    findings.add(check);
}

/// Whether the system lets every directory of the clone be watched; others want watches as well, so half is for us.
fn watches(directories: u64, limit: u64) -> CheckDoc {
    let name = "watches";
    let here = counted(directories, "directory", "directories");
    if directories <= limit / 2 {
        return ok(
            name,
            format!("{here}, and the system allows {limit} watches"),
        );
    }
    let wanted = directories.saturating_mul(4).max(WATCHES_SUGGESTED);
    bad(
        name,
        WARN,
        format!(
            "{here}, but the system allows {limit} watches to all programs of a user; changes may be found seconds later"
        ),
        (
            format!("sudo sysctl fs.inotify.max_user_watches={wanted}"),
            "until the next start of the system; below /etc/sysctl.d it stays",
        ),
    )
}

pub(super) fn look_at_home(home: &Home, findings: &mut Findings) {
    let (name, root) = ("home", home.root());
    let meta = match fs::symlink_metadata(root) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = format!("{} is not there yet", root.display());
            let join = ("aura join TOKEN", "makes it, with the keys of this device");
            findings.add(bad(name, WARN, text, join));
            return;
        }
        Err(error) => {
            let text = format!("cannot look at {}: {error}", root.display());
            let look = format!("ls -ld {}", shell_operand(root.display()));
            findings.add(bad(name, FAIL, text, (look, "who owns it")));
            return;
        }
    };
    let run_dir = home.run_dir();
    let run_meta = fs::symlink_metadata(&run_dir).ok();
    let all = [(root, Some(meta)), (&run_dir, run_meta)];
    let open = all.into_iter().filter_map(|(dir, meta)| open(dir, &meta?));
    let mut open: Vec<(CheckDoc, Option<Fix>)> = open.collect();
    if open.is_empty() {
        let text = format!("{}, closed to others", root.display());
        open.push((ok(name, text), None));
    }
    for (check, fix) in open {
        findings.add(check);
        findings.fixes.extend(fix);
    }
}

/// What is wrong with a directory that others must not enter.
fn open(dir: &Path, meta: &fs::Metadata) -> Option<(CheckDoc, Option<Fix>)> {
    let is_ours = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw();
    let close = (is_ours && meta.mode() & 0o077 != 0).then(|| Fix::Close(dir.to_owned()));
    if let Err(failure) = check_own_dir(dir, meta) {
        return Some((of_failure("home", FAIL, failure), close));
    }
    close.as_ref()?;
    let text = format!("others can look into {}", dir.display());
    let chmod = format!("chmod go-rwx {}", shell_operand(dir.display()));
    let step = (
        chmod,
        "only you may enter it; aura doctor --fix does the same",
    );
    Some((bad("home", WARN, text, step), close))
}

/// How much room there is for logs.
pub(super) fn disk(home: &Home) -> Option<CheckDoc> {
    let there = home.root().ancestors().find(|above| above.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    Some(room(free, there))
}

fn room(free: u64, dir: &Path) -> CheckDoc {
    let text = format!("{} MiB free", free >> 20);
    let look = format!("df -h {}", shell_operand(dir.display()));
    match free {
        0..FREE_BYTES_MIN => bad(
            "disk",
            FAIL,
            format!("{text}: nothing more can be kept"),
            (look, "make room; what is queued is kept"),
        ),
        FREE_BYTES_MIN..FREE_BYTES_LOW => bad(
            "disk",
            WARN,
            format!("{text}: it will be full soon"),
            (look, "make room"),
        ),
        FREE_BYTES_LOW.. => ok("disk", text),
    }
}

/// Logs that the disk has damaged and that are kept.
pub(super) fn damage(home: &Home) -> Vec<CheckDoc> {
    let dirs = fs::read_dir(home.repos_dir())
        .into_iter()
        .flatten()
        .flatten();
    let mut dirs: Vec<_> = dirs.map(|entry| entry.path()).collect();
    dirs.sort();
    dirs.iter().filter_map(|dir| damaged(dir)).collect()
}

fn damaged(dir: &Path) -> Option<CheckDoc> {
    let extension = dir.extension()?.to_str()?;
    let report = dir.join("damage.txt");
    let shown = shell_operand(report.display());
    match extension {
        "damaged" => {
            let said = first_line(&report);
            let text = format!(
                "{}: {}",
                dir.display(),
                said.as_deref()
                    .unwrap_or("a log that the disk has damaged, kept as it was found")
            );
            let publish = "in that clone: publishes what your files hold; what was kept stays";
            Some(bad("damage", WARN, text, ("aura publish", publish)))
        }
        kept if kept.starts_with("damaged-") => {
            let text = format!(
                "{}: a damaged log from before, about which you have decided",
                dir.display()
            );
            let read = "what was lost; remove the directory when you need nothing of it";
            Some(bad("damage", WARN, text, (format!("less {shown}"), read)))
        }
        _ => None,
    }
}

fn first_line(file: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let opened = File::open(file).ok()?;
    opened.take(REPORT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_clone_that_needs_more_than_half_of_the_watches_is_told_what_to_set() {
        assert_eq!(watches(100, 8_192).state, "ok");
        assert_eq!(watches(4_096, 8_192).state, "ok");
        let short = watches(4_097, 8_192);
        assert_eq!(short.state, "warn");
        assert!(short.next[0].cmd.ends_with("max_user_watches=524288"));
        let large = watches(1_000_000, 8_192);
        assert!(large.next[0].cmd.ends_with("=4000000"), "{large:?}");
        assert_eq!(watches(u64::MAX, u64::MAX).state, "warn");
    }

    #[test]
    fn a_disk_warns_before_it_fails() {
        let dir = Path::new("/tmp");
        for (free, state) in [
            (0, "fail"),
            (FREE_BYTES_MIN - 1, "fail"),
            (FREE_BYTES_MIN, "warn"),
            (FREE_BYTES_LOW, "ok"),
            (u64::MAX, "ok"),
        ] {
            let check = room(free, dir);
            assert_eq!(check.state, state);
            assert_eq!(check.next.is_empty(), state == "ok");
        }
    }

    fn found(home: &Home) -> Findings {
        let mut findings = Findings::default();
        look_at_home(home, &mut findings);
        findings
    }

    #[test]
    fn a_home_is_fine_open_to_readers_or_open_to_writers_and_only_its_own_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        assert_eq!(found(&home).checks[0].state, "warn");
        home.prepare().unwrap();
        let set = |mode| fs::set_permissions(home.root(), fs::Permissions::from_mode(mode));
        for (mode, state, fixes) in [(0o700, "ok", 0), (0o755, "warn", 1), (0o770, "fail", 1)] {
            set(mode).unwrap();
            let findings = found(&home);
            assert_eq!(findings.checks[0].state, state, "{mode:o}");
            assert_eq!(findings.fixes.len(), fixes, "{mode:o}");
        }
        set(0o700).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(home.root(), &link).unwrap();
        let findings = found(&Home::at(link));
        assert_eq!(
            (findings.checks[0].state.as_str(), findings.fixes.len()),
            ("fail", 0)
        );
    }

    #[test]
    fn a_damaged_log_is_named_with_what_its_report_says_and_every_other_directory_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().to_owned());
        assert!(damage(&home).is_empty());
        for name in ["ab12", "ab12.damaged", "ab12.damaged-1", "cd34.damaged"] {
            fs::create_dir_all(home.repos_dir().join(name)).unwrap();
        }
        let report = home.repos_dir().join("ab12.damaged/damage.txt");
        fs::write(report, "3 records lost\nmore\n").unwrap();
        let checks = damage(&home);
        let texts: Vec<&str> = checks.iter().map(|check| check.text.as_str()).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(
            texts[0].ends_with("ab12.damaged: 3 records lost"),
            "{texts:?}"
        );
        assert!(texts[1].contains("ab12.damaged-1"), "{texts:?}");
        assert!(texts[2].contains("kept as it was found"), "{texts:?}");
        assert!(checks.iter().all(|check| !check.next.is_empty()));
    }
}
