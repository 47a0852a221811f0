//! The machines of the play: scratch directories, the Mothership's process and the laptops' command lines.
//!
//! Invariants:
//! - every child is waited for with a limit and ended when it exceeds it;
//! - dropping the stage stops all daemons and the Mothership, then removes every file.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{ROLE, tree};

/// Why the play stopped, for people.
pub(crate) type Told<T> = Result<T, String>;

/// How long one command or one awaited effect may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often an awaited effect is looked for.
const GLANCE: Duration = Duration::from_millis(1);

#[expect(
    clippy::disallowed_methods,
    reason = "the play measures what a person would wait"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Looks until there is something; says what was missing when patience ends.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Told<Option<T>>) -> Told<T> {
    let start = now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("waited {} s in vain: {what}", PATIENCE.as_secs()));
        }
        thread::sleep(GLANCE);
    }
}

/// What a command left.
pub(crate) struct Ran {
    /// Its exit code; -1 when a signal ended it.
    pub(crate) code: i32,
    /// Its document; null when it printed none.
    pub(crate) document: Value,
}

/// One developer's machine.
pub(crate) struct Laptop {
    /// Its owner.
    pub(crate) name: &'static str,
    clone: PathBuf,
    home: PathBuf,
    scratch: PathBuf,
}

impl Laptop {
    /// Runs `aura` in the clone.
    pub(crate) fn aura(&self, args: &[&str]) -> Told<Ran> {
        let mut command = role("aura")?;
        command
            .env("AURA_HOME", &self.home)
            // All of it is on this machine, and nobody else is to knock.
            .env("AURA_LINKS_LISTEN", "127.0.0.1:0")
            .arg("-C")
            .arg(&self.clone);
        run(command.args(args).arg("--json"), &self.scratch, self.name)
    }

    /// Runs `aura` and takes nothing but success.
    pub(crate) fn ask(&self, args: &[&str]) -> Told<Value> {
        let ran = self.aura(args)?;
        if ran.code == 0 {
            return Ok(ran.document);
        }
        Err(format!(
            "{}: aura {args:?} ended with {}: {}",
            self.name, ran.code, ran.document
        ))
    }

    /// Its clone of the repository.
    pub(crate) fn clone_dir(&self) -> &Path {
        &self.clone
    }

    /// The text of the file of the play.
    pub(crate) fn text(&self) -> Told<String> {
        fs::read_to_string(self.clone.join(tree::FILE)).map_err(|error| error.to_string())
    }

    /// Replaces one place of the file of the play, as an editor would on save.
    pub(crate) fn edit(&self, from: &str, to: &str) -> Told<()> {
        let text = self.text()?;
        if text.matches(from).count() != 1 {
            return Err(format!(
                "{}: `{from}` stands not exactly once in the file",
                self.name
            ));
        }
        fs::write(self.clone.join(tree::FILE), text.replace(from, to))
            .map_err(|error| error.to_string())
    }
}

/// Everything that runs.
pub(crate) struct Stage {
    scratch: TempDir,
    mothership: Option<Child>,
    address: String,
    /// alice, bob and carol.
    pub(crate) laptops: [Laptop; 3],
}

impl Stage {
    /// Makes the repository and its three clones; returns how many files it has, too.
    pub(crate) fn build(tree: Option<&Path>) -> Told<(Self, usize)> {
        let scratch = tempfile::Builder::new()
            .prefix("mothership-demo-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let root = scratch.path().to_owned();
        let files = tree::fill(&root.join("origin"), tree).map_err(|error| error.to_string())?;
        git(&root, &["-C", "origin", "init", "--quiet"])?;
        git(&root, &["-C", "origin", "add", "--force", "."])?;
        let who = ["-c", "user.name=demo", "-c", "user.email=demo@example.org"];
        let commit = [
            "-c",
            "commit.gpgsign=false",
            "commit",
            "--quiet",
            "-m",
            "start",
        ];
        git(&root, &[&["-C", "origin"], &who[..], &commit[..]].concat())?;
        let mut laptops = Vec::new();
        for name in ["alice", "bob", "carol"] {
            git(&root, &["clone", "--quiet", "origin", name])?;
            laptops.push(Laptop {
                name,
                clone: root.join(name),
                home: root.join(format!("{name}.home")),
                scratch: root.clone(),
            });
        }
        let Ok(laptops) = laptops.try_into() else {
            return Err("three clones were to be made".to_owned());
        };
        let address = "127.0.0.1:0".to_owned();
        Ok((
            Self {
                scratch,
                mothership: None,
                address,
                laptops,
            },
            files,
        ))
    }

    /// Starts the Mothership, at the same address as before if there was one; returns its ready document.
    pub(crate) fn start(&mut self) -> Told<Value> {
        let out = self.scratch.path().join("mothership.out");
        let mut command = role("mothership")?;
        command
            .arg("serve")
            .args(["--listen", &self.address, "--name", "parcels", "--json"])
            .arg("--state-dir")
            .arg(self.state_dir())
            .stdin(Stdio::null())
            .stdout(create(&out)?)
            .stderr(create(&self.scratch.path().join("mothership.err"))?);
        self.mothership = Some(command.spawn().map_err(|error| error.to_string())?);
        let ready: Value = until("the Mothership's first line", || {
            let mut line = String::new();
            let read = File::open(&out).and_then(|file| BufReader::new(file).read_line(&mut line));
            read.map_err(|error| error.to_string())?;
            Ok(line
                .ends_with('\n')
                .then(|| serde_json::from_str(&line).unwrap_or_default()))
        })?;
        self.address = ready["listen"][0]
            .as_str()
            .ok_or_else(|| format!("the Mothership does not say where it listens: {ready}"))?
            .to_owned();
        Ok(ready)
    }

    /// Ends the Mothership as a power cut would.
    pub(crate) fn pull_the_plug(&mut self) -> Told<()> {
        let Some(mut child) = self.mothership.take() else {
            return Err("no Mothership runs".to_owned());
        };
        child
            .kill()
            .and_then(|()| child.wait())
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Runs a command of `mothership` on the state directory.
    pub(crate) fn mothership(&self, args: &[&str]) -> Told<Value> {
        let mut command = role("mothership")?;
        command
            .arg("--state-dir")
            .arg(self.state_dir())
            .args(args)
            .arg("--json");
        let ran = run(&mut command, self.scratch.path(), "mothership")?;
        if ran.code == 0 {
            return Ok(ran.document);
        }
        Err(format!(
            "mothership {args:?} ended with {}: {}",
            ran.code, ran.document
        ))
    }

    /// The Mothership's directory.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.scratch.path().join("mothership")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for laptop in &self.laptops {
            laptop.aura(&["down"]).ok();
        }
        self.pull_the_plug().ok();
    }
}

/// This very program in another role.
fn role(role: &str) -> Told<Command> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    for inherited in [
        "AURA_JOIN_TOKEN",
        "AURA_LINKS_ANNOUNCE",
        "AURA_LINKS_DIRECT",
        "AURA_LINKS_VISIBILITY",
        "MOTHERSHIP_STATE_DIR",
        "MOTHERSHIP_LISTEN",
    ] {
        command.env_remove(inherited);
    }
    command.env(ROLE, role);
    Ok(command)
}

/// Runs to the end or to the end of patience. Output goes to files: a daemon that lives on may hold them.
fn run(command: &mut Command, scratch: &Path, name: &str) -> Told<Ran> {
    let [out, err] = ["out", "err"].map(|end| scratch.join(format!("{name}.{end}.txt")));
    command
        .stdin(Stdio::null())
        .stdout(create(&out)?)
        .stderr(create(&err)?);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let ended = until(&format!("{command:?}"), || {
        child.try_wait().map_err(|error| error.to_string())
    });
    let status = match ended {
        Ok(status) => status,
        Err(why) => {
            child.kill().and_then(|()| child.wait()).ok();
            return Err(why);
        }
    };
    let text = fs::read_to_string(&out).map_err(|error| error.to_string())?;
    let document = serde_json::from_str(text.trim()).unwrap_or(Value::Null);
    Ok(Ran {
        code: status.code().unwrap_or(-1),
        document,
    })
}

fn create(path: &Path) -> Told<File> {
    File::create(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn git(dir: &Path, args: &[&str]) -> Told<()> {
    let ran: io::Result<_> = Command::new("git").current_dir(dir).args(args).output();
    match ran {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("git cannot be run: {error}")),
    }
}
