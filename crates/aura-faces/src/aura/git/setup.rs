//! `init` and `uninit`: what git is told about `aura`, and how it is taken back.
//!
//! Invariants:
//! - a step is planned first, as a list of changes, and carried out or shown from the same list;
//! - a step whose changes are there already has none;
//! - nothing in the work tree is changed, but by `--commit-attributes`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use aura_api::{
    Exit, Failure,
    docs::{self, SetUpStepDoc},
    shell_word,
};
use aura_semantic::{language_of, languages};

use super::{
    DRIVER, Git,
    attributes::{self, Source},
    attributes_file::AttributesFile,
    fields,
    hooks::{self, Hook},
};
use crate::{
    aura::{Face, args::Init},
    common::{answer, to_value},
    escape,
    output::{Outcome, View},
};

/// What the driver is called for people.
const NAME: &str = "functions instead of lines (aura)";
/// What the step is called that is about it.
const DRIVER_STEP: &str = "merge driver";
/// What the step is called that is about hooks.
const HOOKS_STEP: &str = "hooks";
/// A driver that is missing, too old, somebody else's or killed would leave our side alone, unmarked, or stop the whole
/// merge; then git merges lines.
///
/// `git merge-file` fails alike, with 255, where a side is binary, which has to be a conflict of this one file, and where
/// it cannot write, which has to stop git: only the former fails again when there is nothing to write.
const COMMAND: &str = "if command -v aura >/dev/null 2>&1; then \
    aura merge-driver -- %O %A %B %L %P %S %X %Y; r=$?; \
    if test $r -le 1; then exit $r; fi; fi; \
    git merge-file --marker-size=%L -L %X -L %S -L %Y %A %O %B; r=$?; \
    if test $r -eq 255; then git merge-file -p -q %A %O %B >/dev/null 2>&1; \
    if test $? -eq 255; then exit 1; fi; fi; exit $r";

const JJ: &str = r#"[merge-tools.aura]
program = "aura"
merge-args = ["merge", "$base", "$left", "$right", "--path", "$path", "-o", "$output"]
merge-conflict-exit-codes = [1]
conflict-marker-style = "git"
"#;

/// One part of it.
struct Step {
    name: &'static str,
    /// What it comes to, for people.
    text: String,
    changes: Vec<Planned>,
}

/// A change, and whether things are not as it makes them already.
struct Planned {
    change: Change,
    is_needed: bool,
}

/// One thing that is changed.
enum Change {
    /// A hook comes, or goes.
    Hook { hook: Hook, comes: bool },
    /// A setting of the repository: its value, or that it goes.
    Config {
        key: String,
        value: Option<&'static str>,
    },
    /// A file: its bytes, or that it goes; the block is what is ours in it.
    File {
        file: AttributesFile,
        bytes: Option<Vec<u8>>,
        block: Vec<u8>,
    },
}

impl Step {
    fn is_needed(&self) -> bool {
        self.changes.iter().any(|planned| planned.is_needed)
    }
}

/// Where things are in a repository.
pub(super) struct Places {
    pub(super) root: PathBuf,
    /// The attributes that all its work trees share and nobody else sees.
    info: PathBuf,
}

impl Places {
    pub(super) fn find(git: Git<'_>) -> Result<Self, Failure> {
        let path = |args: &[&str]| {
            let said = git.ask(args)?;
            let line = said.strip_suffix(b"\n").unwrap_or(&said);
            Ok::<_, Failure>(git.dir.join(OsStr::from_bytes(line)))
        };
        Ok(Self {
            root: path(&["rev-parse", "--show-toplevel"])?,
            info: path(&["rev-parse", "--git-path", "info/attributes"])?,
        })
    }

    fn info(&self) -> AttributesFile {
        AttributesFile::own(self.info.clone())
    }

    fn tracked(&self) -> AttributesFile {
        AttributesFile::in_tree(self.root.join(".gitattributes"))
    }
}

/// Whether the driver is `set_up`, `stale` or `missing`.
pub(super) fn state(git: Git<'_>, places: &Places) -> Result<&'static str, Failure> {
    let is_tracked = places.tracked().has_block()?;
    let step = driver(git, places, is_tracked)?;
    let is_known = git.line(&["config", "--get", &key("driver")]).is_some();
    let is_named = is_tracked || places.info().has_block()?;
    Ok(match (is_known && is_named, step.is_needed()) {
        (true, false) => "set_up",
        (true, true) => "stale",
        (false, _) => "missing",
    })
}

fn key(name: &str) -> String {
    format!("merge.{DRIVER}.{name}")
}

/// The step that sets the driver up.
fn driver(git: Git<'_>, places: &Places, is_tracked: bool) -> Result<Step, Failure> {
    let mut changes = Vec::new();
    for (name, value) in [("name", NAME), ("driver", COMMAND)] {
        let known = git.line(&["config", "--local", "--get", &key(name)]);
        let is_needed = known.as_deref() != Some(value);
        let (key, value) = (key(name), Some(value));
        let change = Change::Config { key, value };
        changes.push(Planned { change, is_needed });
    }
    let extensions = || languages().flat_map(|language| language.extensions().iter().copied());
    let exceptions = match is_tracked {
        // Whatever else is said there, or nearer to a file, weighs more.
        true => Vec::new(),
        false => attributes::exceptions(&sources(git, places)?),
    };
    let block = |is_new| attributes::block(extensions(), &exceptions, is_new);
    let (here, elsewhere) = match is_tracked {
        true => (places.tracked(), Some(places.info())),
        false => (places.info(), None),
    };
    here.check_writable()?;
    let before = here.read()?;
    let after = attributes::with_block(before.as_deref(), block);
    changes.push(Planned {
        is_needed: before.as_ref() != Some(&after),
        change: Change::File {
            file: here,
            bytes: Some(after),
            block: block(false),
        },
    });
    if let Some(file) = elsewhere {
        changes.extend(block_away(file)?);
    }
    let place = match is_tracked {
        true => ".gitattributes, to be committed",
        false => ".git/info/attributes",
    };
    Ok(Step {
        name: DRIVER_STEP,
        text: format!("{} file types, in {place}", extensions().count()),
        changes,
    })
}

/// The change that takes the block out of a file, if it is there.
fn block_away(file: AttributesFile) -> Result<Option<Planned>, Failure> {
    let bytes = file.read()?.filter(|bytes| attributes::has_block(bytes));
    Ok(bytes.map(|bytes| Planned {
        is_needed: true,
        change: Change::File {
            file,
            bytes: attributes::without_block(&bytes),
            block: Vec::new(),
        },
    }))
}

/// The step that takes the driver back.
fn driver_away(git: Git<'_>, places: &Places) -> Result<Step, Failure> {
    let mut changes = Vec::new();
    for name in ["driver", "name"] {
        let known = git.line(&["config", "--local", "--get", &key(name)]);
        let (key, value) = (key(name), None);
        changes.extend(known.map(|_| Planned {
            is_needed: true,
            change: Change::Config { key, value },
        }));
    }
    changes.extend(block_away(places.info())?);
    let committed = git.say(&["show", "HEAD:.gitattributes"])?;
    let is_committed = committed.code == Some(0) && attributes::has_block(&committed.out);
    let text = match is_committed {
        true => "git merges by lines again; what the team's .gitattributes says does no harm",
        false => {
            changes.extend(block_away(places.tracked())?);
            "git merges by lines again"
        }
    };
    Ok(Step {
        name: DRIVER_STEP,
        text: text.to_owned(),
        changes,
    })
}

/// The step that puts the hooks there.
fn hooks(git: Git<'_>) -> Result<Step, Failure> {
    let mut step = Step {
        name: HOOKS_STEP,
        text: hooks::NAMES.join(", "),
        changes: Vec::new(),
    };
    match hooks::of(git)? {
        Some(hooks) => {
            for hook in hooks {
                let is_needed = hook.is_wanted()?;
                let change = Change::Hook { hook, comes: true };
                step.changes.push(Planned { change, is_needed });
            }
        }
        None => {
            step.text =
                "core.hooksPath is set, so they are yours: run `aura git-hook pre-commit` and \
                         `aura git-hook pre-push` in them"
                    .to_owned();
        }
    }
    Ok(step)
}

/// The step that takes them back.
fn hooks_away(git: Git<'_>) -> Result<Step, Failure> {
    let mut changes = Vec::new();
    for hook in hooks::of(git)?.into_iter().flatten() {
        if hook.is_ours()? {
            let change = Change::Hook { hook, comes: false };
            changes.push(Planned {
                change,
                is_needed: true,
            });
        }
    }
    Ok(Step {
        name: HOOKS_STEP,
        text: "git asks nobody before it commits or pushes".to_owned(),
        changes,
    })
}

/// All that says something about merges with less weight than git's own info/attributes, the weakest first.
fn sources(git: Git<'_>, places: &Places) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for name in ["GIT_ATTR_SYSTEM", "GIT_ATTR_GLOBAL"] {
        let path = git.line(&["var", name]).map(PathBuf::from);
        if let Some(bytes) = path.and_then(|path| fs::read(path).ok()) {
            sources.push((Vec::new(), bytes));
        }
    }
    let root = Git {
        dir: &places.root,
        env: git.env,
    };
    let pattern = ":(glob)**/.gitattributes";
    let listing = ["ls-files", "-z", "-c", "-o", "--exclude-standard", pattern];
    let listing = root.ask(&listing)?;
    let mut paths: Vec<&[u8]> = fields(&listing).collect();
    paths.sort_by_key(|path| path.iter().filter(|byte| **byte == b'/').count());
    paths.dedup();
    for path in paths {
        let dir = path.strip_suffix(b".gitattributes").unwrap_or_default();
        let file = AttributesFile::in_tree(places.root.join(OsStr::from_bytes(path)));
        // What is tracked may be gone.
        sources.extend(file.read()?.map(|bytes| (dir.to_vec(), bytes)));
    }
    Ok(sources)
}

impl Change {
    fn show(&self, root: &Path) -> String {
        match self {
            Self::Hook { hook, comes: true } => hook.shown(root),
            Self::Hook { hook, comes: false } => hook.shown_away(root),
            Self::Config { key, value } => match value {
                Some(value) => format!("git config --local {key} {}", shell_word(value)),
                None => format!("git config --local --unset-all {key}"),
            },
            Self::File { file, bytes, block } => {
                let path = file.path.strip_prefix(root).unwrap_or(&file.path);
                let path = path.display();
                let block = String::from_utf8_lossy(block);
                match bytes {
                    None => format!("remove {path}"),
                    Some(_) if block.is_empty() => format!("take the block out of {path}"),
                    Some(_) => format!("at the start of {path}:\n{block}"),
                }
            }
        }
    }

    fn carry_out(&self, git: Git<'_>) -> Result<(), Failure> {
        match self {
            Self::Hook { hook, comes: true } => hook.put(),
            Self::Hook { hook, comes: false } => hook.take_back(),
            Self::Config { key, value } => {
                let args = match value {
                    Some(value) => vec!["config", "--local", "--replace-all", key, value],
                    None => vec!["config", "--local", "--unset-all", key],
                };
                git.ask(&args).map(drop)
            }
            Self::File { file, bytes, .. } => match bytes {
                None => file.remove(),
                Some(bytes) => file.write(bytes),
            },
        }
    }
}

impl Face<'_, '_> {
    /// `init`.
    pub(in crate::aura) fn init(&mut self, args: &Init) -> Outcome {
        let places = Places::find(self.git())?;
        let is_tracked = args.commit_attributes || places.tracked().has_block()?;
        let step = driver(self.git(), &places, is_tracked)?;
        let is_dry = args.dry_run || args.show;
        let mut rows = vec![self.about(&places)?];
        rows.push(self.carry_out(&places, step, is_dry)?);
        rows.push(self.carry_out(&places, hooks(self.git())?, is_dry)?);
        rows.extend(self.not_found());
        let document = docs::SetUp {
            schema: docs::SetUp::SCHEMA.to_owned(),
            repository: places.root.display().to_string(),
            dry_run: is_dry,
            steps: rows,
            jj: args.show.then(|| JJ.to_owned()),
            next: Vec::new(),
        };
        let undo = match is_tracked || is_dry {
            true => "",
            false => "Nothing in your working tree changed. Undo all of it: aura uninit\n",
        };
        self.tell(document, undo, "aura merge preview BRANCH")
    }

    /// What `join` does of `init`; a failure is said and ends nothing.
    pub(in crate::aura) fn set_git_up(&self) -> SetUpStepDoc {
        let done = || {
            let places = Places::find(self.git())?;
            let step = driver(self.git(), &places, places.tracked().has_block()?)?;
            let mut row = self.carry_out(&places, step, false)?;
            let hooks = self.carry_out(&places, hooks(self.git())?, false)?;
            row.text = format!("{}; hooks: {}", row.text, hooks.text);
            row.changes.extend(hooks.changes);
            if let Some(but) = self.not_found() {
                row.text = format!("{}; {}", row.text, but.text);
            }
            Ok(row)
        };
        done().unwrap_or_else(|failure: Failure| SetUpStepDoc {
            name: DRIVER_STEP.to_owned(),
            state: "failed".to_owned(),
            text: failure.message,
            changes: Vec::new(),
        })
    }

    /// `uninit`.
    pub(in crate::aura) fn uninit(&mut self, is_dry: bool) -> Outcome {
        let places = Places::find(self.git())?;
        let steps = [driver_away(self.git(), &places)?, hooks_away(self.git())?];
        let steps = steps.map(|step| self.carry_out(&places, step, is_dry));
        let document = docs::SetUp {
            schema: docs::SetUp::SCHEMA.to_owned(),
            repository: places.root.display().to_string(),
            dry_run: is_dry,
            steps: steps.into_iter().collect::<Result<_, Failure>>()?,
            jj: None,
            next: Vec::new(),
        };
        self.tell(document, "", "aura init")
    }

    fn carry_out(
        &self,
        places: &Places,
        step: Step,
        is_dry: bool,
    ) -> Result<SetUpStepDoc, Failure> {
        let needed = step.changes.iter().filter(|planned| planned.is_needed);
        for planned in needed.filter(|_| !is_dry) {
            planned.change.carry_out(self.git())?;
        }
        let state = match (step.is_needed(), is_dry) {
            (false, _) => "present",
            (true, true) => "would",
            (true, false) => "done",
        };
        let show = |planned: &Planned| planned.change.show(&places.root);
        Ok(SetUpStepDoc {
            name: step.name.to_owned(),
            state: state.to_owned(),
            changes: step.changes.iter().map(show).collect(),
            text: step.text,
        })
    }

    fn about(&self, places: &Places) -> Result<SetUpStepDoc, Failure> {
        let git = self.git();
        let root = Git {
            dir: &places.root,
            env: git.env,
        };
        let listing = root.ask(&["ls-files", "-z"])?;
        let languages: Vec<&str> = fields(&listing)
            .filter_map(|path| language_of(&String::from_utf8_lossy(path)))
            .map(|language| language.name())
            .collect();
        let count = languages.len();
        let mut names = languages;
        names.sort_unstable();
        names.dedup();
        let branch = git.line(&["symbolic-ref", "--short", "-q", "HEAD"]);
        let name = places.root.file_name().unwrap_or_default();
        Ok(SetUpStepDoc {
            name: "git repository".to_owned(),
            state: "info".to_owned(),
            text: format!(
                "{}, {}, {count} source files{}{}",
                name.to_string_lossy(),
                branch.map_or_else(
                    || "no branch".to_owned(),
                    |branch| format!("branch {branch}")
                ),
                if names.is_empty() { "" } else { " in " },
                names.join(", ")
            ),
            changes: Vec::new(),
        })
    }

    /// Says so where git would not find this very program.
    pub(super) fn not_found(&self) -> Option<SetUpStepDoc> {
        let path = self.env.get("PATH").unwrap_or_default();
        let found = std::env::split_paths(path)
            .map(|dir| dir.join("aura"))
            .find(|file| file.is_file())
            .and_then(|file| fs::canonicalize(file).ok());
        let text = match found {
            Some(found) if Some(&found) == fs::canonicalize(&self.exe).ok().as_ref() => {
                return None;
            }
            Some(found) => format!("git will run {}, which is not this one", found.display()),
            None => "aura is not on PATH; until it is, git merges by lines".to_owned(),
        };
        Some(SetUpStepDoc {
            name: "program".to_owned(),
            state: "info".to_owned(),
            text,
            changes: Vec::new(),
        })
    }

    fn tell(&mut self, mut document: docs::SetUp, undo: &str, next: &str) -> Outcome {
        let next = aura_api::Next {
            cmd: next.to_owned(),
            why: String::new(),
        };
        document.next = vec![next];
        answer(self.screen, &to_value(&document), |view| {
            show(view, &document, undo)
        })?;
        if !self.screen.is_json() {
            self.screen.next(&document.next)?;
        }
        Ok(Exit::DONE)
    }
}

fn show(view: &View, document: &docs::SetUp, undo: &str) -> String {
    let mut text = String::new();
    for step in &document.steps {
        let (sign, said) = match step.state.as_str() {
            "done" => (view.tick(), step.text.clone()),
            "present" => (view.tick(), format!("{} (no change)", step.text)),
            "would" => ("-", format!("{} (not done)", step.text)),
            _ => ("-", step.text.clone()),
        };
        text.push_str(&format!(
            "  {sign} {:<16} {}\n",
            step.name,
            escape::line(&said)
        ));
        if document.jj.is_some() {
            for change in &step.changes {
                text.push_str(&format!("\n{}\n", escape::block(change).trim_end()));
            }
        }
    }
    if let Some(jj) = &document.jj {
        text.push_str(&format!("\nfor jj (jj config edit --user):\n{jj}"));
    }
    text + undo
}
