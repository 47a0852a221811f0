//! Where one device keeps everything: a home directory, and who may own it.
//!
//! Invariants:
//! - everything lies below the root, so two homes never meet;
//! - a directory is used only when its owner is this user and nobody else can write or read it.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Metadata, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use etcetera::base_strategy::{BaseStrategy, Xdg};

use crate::{Exit, Failure, shell_operand};

/// Name of the daemon's socket in [`Home::run_dir`].
pub const DAEMON_SOCKET: &str = "daemon.sock";
/// Name of the lock in [`Home::run_dir`] that a daemon holds as long as it lives.
pub const DAEMON_LOCK: &str = "lock";
/// Name of what a starting daemon writes in [`Home::run_dir`]: a word that is another one whenever it has gone on, a
/// space, and what it is at.
pub const STARTING_FILE: &str = "starting";
/// Name of what shell prompts read in [`Home::run_dir`], an `aura.prompts/1`.
pub const PROMPTS_FILE: &str = "prompts.json";
/// Name of the operator's socket in a Mothership's state directory.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// The directory below which one device keeps keys, socket, log and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The home that `AURA_HOME` names, else `aura` in the user's state directory.
    ///
    /// A relative path is taken from `dir`. Without `AURA_HOME`, the XDG variables or `HOME` are needed.
    pub fn locate(aura_home: Option<OsString>, dir: &Path) -> Result<Self, Failure> {
        match aura_home.filter(|value| !value.is_empty()) {
            Some(value) => Ok(Self::at(dir.join(value))),
            None => user_state_dir("aura", "AURA_HOME").map(Self::at),
        }
    }

    /// The home at an absolute path.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Settings of this user.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Keys and certificate.
    pub fn identity_dir(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// What a daemon in the background writes.
    pub fn log_file(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    /// State of each repository.
    pub fn repos_dir(&self) -> PathBuf {
        self.root.join("repos")
    }

    /// Holds the socket [`DAEMON_SOCKET`] while a daemon runs.
    pub fn run_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where a daemon says that it starts and what it is at, until it has its socket.
    pub fn starting_file(&self) -> PathBuf {
        self.run_dir().join(STARTING_FILE)
    }

    /// Whether keys were made here, so that a daemon has something to serve.
    pub fn has_identity(&self) -> bool {
        self.identity_dir().is_dir()
    }

    /// Makes the root and the directory of the socket, or refuses unsafe ones.
    pub fn prepare(&self) -> Result<(), Failure> {
        ensure_own_dir(&self.root)?;
        ensure_own_dir(&self.run_dir())
    }
}

/// `name` in the user's state directory; `variable` is what the failure says to set instead.
pub fn user_state_dir(name: &str, variable: &str) -> Result<PathBuf, Failure> {
    let homeless = || {
        let message = "this user has no home directory";
        Failure::new("AE-NO-HOME", Exit::USAGE, message)
            .next(format!("export {variable}=DIR"), "where to keep the state")
    };
    let dirs = Xdg::new().map_err(|_| homeless())?;
    let state = dirs.state_dir().ok_or_else(homeless)?;
    Ok(state.join(name))
}

/// Makes a directory that only its owner enters, or checks and closes the one that is there.
///
/// One that others can read is closed to them; one that others could write to, or that belongs
/// to somebody else, is refused, because what lies in it may not be ours.
pub fn ensure_own_dir(path: &Path) -> Result<(), Failure> {
    make_dir(path).map_err(|error| storage(path, &error))?;
    let meta = fs::symlink_metadata(path).map_err(|error| storage(path, &error))?;
    check_own_dir(path, &meta)?;
    if meta.mode() & 0o077 != 0 {
        let closed = fs::set_permissions(path, Permissions::from_mode(0o700));
        closed.map_err(|error| storage(path, &error))?;
    }
    Ok(())
}

/// Makes a directory and what is missing above it; its name survives a power cut.
fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    make_dir(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => File::open(parent)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses a directory that belongs to somebody else, or that others could write to.
pub fn check_own_dir(path: &Path, meta: &Metadata) -> Result<(), Failure> {
    let refused = |why: String, next: String| {
        let message = format!("{} {why}", path.display());
        Failure::new("AE-UNSAFE", Exit::UNSAFE, message)
            .next(next, "only you may own and change it")
    };
    let shown = shell_operand(path.display());
    if meta.is_symlink() {
        let why = "is a symbolic link; name the directory itself".to_owned();
        return Err(refused(why, format!("readlink -f {shown}")));
    }
    if !meta.is_dir() {
        return Err(refused(
            "is not a directory".to_owned(),
            format!("ls -ld {shown}"),
        ));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        let why = format!("belongs to user {}", meta.uid());
        return Err(refused(why, format!("ls -ld {shown}")));
    }
    if meta.mode() & 0o022 != 0 {
        let why = format!(
            "can be changed by others (mode {:04o})",
            meta.mode() & 0o7777
        );
        return Err(refused(why, format!("chmod go-rwx {shown}")));
    }
    Ok(())
}

fn storage(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot use {}: {error}", path.display());
    Failure::new("AE-STORAGE", Exit::STORAGE, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn aura_home_moves_everything_and_needs_no_user_home() {
        let home = Home::locate(Some("here".into()), Path::new("/tmp/x")).unwrap();
        for path in [
            home.run_dir(),
            home.log_file(),
            home.config_file(),
            home.identity_dir(),
        ] {
            assert!(path.starts_with("/tmp/x/here"), "{}", path.display());
        }
        assert!(home.repos_dir().starts_with(home.root()));
        let absolute = Home::locate(Some("/srv/a".into()), Path::new("/tmp/x")).unwrap();
        assert_eq!(absolute.root(), Path::new("/srv/a"));
    }

    #[test]
    fn a_new_home_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("a/b"));
        home.prepare().unwrap();
        for path in [home.root(), &home.run_dir()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        }
        assert!(!home.has_identity());
    }

    #[test]
    fn a_home_that_others_can_read_is_closed_and_one_that_they_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Home::at(path.clone()).prepare().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        for mode in [0o770, 0o702] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let failure = Home::at(path.clone()).prepare().unwrap_err();
            assert_eq!(
                (failure.id.as_str(), failure.exit),
                ("AE-UNSAFE", Exit::UNSAFE)
            );
            assert_eq!(
                failure.next[0].cmd,
                format!("chmod go-rwx {}", path.display())
            );
        }
    }

    #[test]
    fn a_home_behind_a_link_and_a_home_that_is_a_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(Home::at(link).prepare().unwrap_err().exit, Exit::UNSAFE);
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(Home::at(file).prepare().unwrap_err().exit, Exit::STORAGE);
    }
}
