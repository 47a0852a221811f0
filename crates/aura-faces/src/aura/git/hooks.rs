//! The hooks that `init` puts into git's directory, and how they are taken back.
//!
//! Invariants:
//! - a hook that is there already keeps its bytes and its mode, and runs first;
//! - nothing is put where others would get it: into a directory of the work tree, or one that repositories share;
//! - what is not ours any more is left alone.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use aura_api::{Exit, Failure, shell_operand};

use super::Git;
use crate::aura::local::replace;

/// The hooks that ask the daemon.
pub(super) const NAMES: [&str; 2] = ["pre-commit", "pre-push"];
/// What a hook that was there before is called meanwhile.
const BEFORE: &str = "before-aura";
/// By this line one of ours is known.
const MARK: &str = "# Put here by aura init; aura uninit takes it back.";

/// One hook of a repository.
pub(super) struct Hook {
    pub(super) name: &'static str,
    path: PathBuf,
}

/// What stands where a hook belongs.
#[derive(Debug, PartialEq, Eq)]
enum There {
    Nothing,
    /// Ours, as this program writes it.
    Ours,
    /// Ours, of another version.
    Older,
    Another,
}

/// The hooks of a repository; none where its hooks are not its own.
pub(super) fn of(git: Git<'_>) -> Result<Option<Vec<Hook>>, Failure> {
    if git.line(&["config", "--get", "core.hooksPath"]).is_some() {
        return Ok(None);
    }
    let said = git.ask(&["rev-parse", "--git-path", "hooks"])?;
    let line = String::from_utf8_lossy(said.strip_suffix(b"\n").unwrap_or(&said)).into_owned();
    let dir = git.dir.join(line);
    let hooks = NAMES.map(|name| Hook {
        name,
        path: dir.join(name),
    });
    Ok(Some(hooks.into()))
}

impl Hook {
    /// The script: what was there before runs first, and only an open conflict in what is pushed ends anything.
    fn script(&self) -> String {
        let (name, input) = (self.name, self.name == "pre-push");
        let (read, pass) = match input {
            true => ("given=$(cat)\n", "printf '%s\\n' \"$given\" | "),
            false => ("", ""),
        };
        format!(
            "#!/bin/sh\n{MARK}\nbefore=\"$0.{BEFORE}\"\n{read}\
             if test -x \"$before\"; then {pass}\"$before\" \"$@\" || exit $?; fi\n\
             if command -v aura >/dev/null 2>&1; then\n  {pass}aura git-hook {name} \"$@\"\n  \
             if test $? -eq 7; then exit 7; fi\nfi\nexit 0\n"
        )
    }

    fn before(&self) -> PathBuf {
        self.path.with_extension(BEFORE)
    }

    fn there(&self) -> Result<There, Failure> {
        match fs::read(&self.path) {
            Ok(bytes) if bytes == self.script().as_bytes() => Ok(There::Ours),
            Ok(bytes) if is_marked(&bytes) => Ok(There::Older),
            Ok(_) => Ok(There::Another),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(There::Nothing),
            Err(error) => Err(storage(&self.path, &error)),
        }
    }

    /// Whether it is not as `init` leaves it.
    pub(super) fn is_wanted(&self) -> Result<bool, Failure> {
        Ok(self.there()? != There::Ours)
    }

    /// Whether `uninit` has something to take back.
    pub(super) fn is_ours(&self) -> Result<bool, Failure> {
        Ok(matches!(self.there()?, There::Ours | There::Older))
    }

    /// What putting it there comes to, for people.
    pub(super) fn shown(&self, root: &Path) -> String {
        let path = self.path.strip_prefix(root).unwrap_or(&self.path).display();
        let moved = match self.there() {
            Ok(There::Another) => format!(
                "; the one there becomes {}.{BEFORE} and runs first",
                self.name
            ),
            _ => String::new(),
        };
        format!("write {path}{moved}:\n{}", self.script())
    }

    /// What taking it back comes to, for people.
    pub(super) fn shown_away(&self, root: &Path) -> String {
        let path = self.path.strip_prefix(root).unwrap_or(&self.path).display();
        match self.before().exists() {
            true => format!("put back the {path} that was there"),
            false => format!("remove {path}"),
        }
    }

    /// Puts it there.
    pub(super) fn put(&self) -> Result<(), Failure> {
        let dir = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(dir).map_err(|error| storage(dir, &error))?;
        if self.there()? == There::Another {
            let before = self.before();
            if before.symlink_metadata().is_ok() {
                let message = format!("{} is there already", before.display());
                return Err(Failure::new("AE-UNSAFE", Exit::UNSAFE, message).next(
                    format!("ls -l {}", shell_operand(before.display())),
                    "look which hook it is; move one of the two away",
                ));
            }
            fs::rename(&self.path, &before).map_err(|error| storage(&before, &error))?;
        }
        replace(&self.path, self.script().as_bytes())?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&self.path, mode).map_err(|error| storage(&self.path, &error))
    }

    /// Takes it back; what was there before it is there again.
    pub(super) fn take_back(&self) -> Result<(), Failure> {
        let before = self.before();
        let done = match before.symlink_metadata().is_ok() {
            true => fs::rename(&before, &self.path),
            false => fs::remove_file(&self.path),
        };
        done.map_err(|error| storage(&self.path, &error))
    }
}

fn is_marked(script: &[u8]) -> bool {
    let text = String::from_utf8_lossy(script);
    text.lines().nth(1) == Some(MARK)
}

fn storage(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot use {}: {error}", path.display());
    let above = path.parent().unwrap_or(path).to_string_lossy();
    let look = format!("ls -ld {}", shell_operand(&above));
    Failure::new("AE-STORAGE", Exit::STORAGE, message).next(look, "it has to be yours")
}
