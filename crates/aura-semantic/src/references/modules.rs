//! From the name of a module to files of the repository.
//!
//! Invariants:
//! - only paths that the graph holds are found; nothing outside of the repository is guessed;
//! - a search looks at a bounded number of paths.

use std::sync::Arc;

use crate::references::graph::{File, Graph, folder, tail};
use crate::references::syntax::Modules;

/// Most directories on the way up from a file.
const UP_MAX: usize = 64;
/// Most paths with the same ending that are compared.
const SAME_TAIL_MAX: usize = 1024;

/// What the name of a module stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Module {
    File(Arc<str>),
    /// A directory or a package.
    Group(String),
}

/// Endings of files that a path without one may mean.
const SCRIPT_ENDINGS: &[&str] = &[
    ".ts", ".tsx", ".js", ".jsx", ".mts", ".cts", ".mjs", ".cjs", ".d.ts",
];

pub(super) fn join(folder: &str, rest: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// A directory and those above it, up to the root.
fn upwards(folder: &str) -> impl Iterator<Item = &str> {
    fn above<'a>(at: &&'a str) -> Option<&'a str> {
        let up = at.rsplit_once('/').map_or("", |(up, _)| up);
        (!at.is_empty()).then_some(up)
    }
    std::iter::successors(Some(folder), above).take(UP_MAX)
}

impl Graph {
    fn known(&self, path: &str) -> Option<Arc<str>> {
        self.files.get_key_value(path).map(|(path, _)| path.clone())
    }

    fn has_folder(&self, folder: &str) -> bool {
        let start = format!("{folder}/");
        let first = self.files.range(Arc::<str>::from(&*start)..).next();
        first.is_some_and(|(path, _)| path.starts_with(&start))
    }

    /// What a module's name stands for in a file.
    pub(super) fn module(&self, file: &File, name: &str) -> Option<Module> {
        match file.refs.syntax().modules {
            Modules::Include => self.included(file, name),
            Modules::Dotted => self.dotted(file, name),
            Modules::Folder => self.imported_folder(name),
            Modules::Package => Some(Module::Group(name.to_owned())),
            Modules::Relative if name.is_empty() => Some(Module::File(file.path.clone())),
            Modules::Relative => self.relative(file, name),
            Modules::Tree | Modules::Everywhere => None,
        }
    }

    fn included(&self, file: &File, name: &str) -> Option<Module> {
        let here = join(folder(&file.path), name).and_then(|path| self.known(&path));
        if let Some(path) = here {
            return Some(Module::File(path));
        }
        let ending = format!("/{name}");
        let same = self.tails.get(tail(name)).into_iter().flatten();
        let fits = |path: &&Arc<str>| ***path == *name || path.ends_with(&ending);
        let shared = |path: &Arc<str>| {
            let pairs = path.bytes().zip(file.path.bytes());
            pairs.take_while(|(one, other)| one == other).count()
        };
        let nearest = same
            .take(SAME_TAIL_MAX)
            .filter(fits)
            .max_by_key(|path| (shared(path), std::cmp::Reverse((*path).clone())));
        nearest.cloned().map(Module::File)
    }

    /// `a.b.c`, or as many directories up as there are dots in front, less one.
    fn dotted(&self, file: &File, name: &str) -> Option<Module> {
        let dots = name.bytes().take_while(|byte| *byte == b'.').count();
        let mut names = name[dots..].split('.').filter(|part| !part.is_empty());
        let start = if dots > 0 {
            let up = upwards(folder(&file.path)).nth(dots - 1)?;
            self.package(up)
        } else {
            let head = names.next()?;
            let is_root = |folder: &&str| !self.files.contains_key(&*below(folder, "__init__.py"));
            let roots = upwards(folder(&file.path)).filter(is_root);
            let mut near = roots.flat_map(|root| [root.to_owned(), below(root, "src")]);
            near.find_map(|root| self.dotted_child(&root, head))?
        };
        let mut at = start;
        for part in names {
            at = self.dotted_below(&at, part)?;
        }
        Some(at)
    }

    fn package(&self, folder: &str) -> Module {
        let whole = self.known(&below(folder, "__init__.py"));
        whole.map_or_else(|| Module::Group(folder.to_owned()), Module::File)
    }

    fn dotted_child(&self, folder: &str, name: &str) -> Option<Module> {
        let inside = below(folder, name);
        self.known(&below(&inside, "__init__.py"))
            .or_else(|| self.known(&format!("{inside}.py")))
            .or_else(|| self.known(&format!("{inside}.pyi")))
            .map(Module::File)
            .or_else(|| self.has_folder(&inside).then_some(Module::Group(inside)))
    }

    fn dotted_below(&self, module: &Module, name: &str) -> Option<Module> {
        match module {
            Module::File(path) if tail(path) == "__init__.py" => {
                self.dotted_child(folder(path), name)
            }
            Module::File(_) => None,
            Module::Group(folder) => self.dotted_child(folder, name),
        }
    }

    fn imported_folder(&self, name: &str) -> Option<Module> {
        let mut known = self.manifests.iter().filter_map(|(module, folder)| {
            let rest = name.strip_prefix(&**module)?;
            let is_whole = rest.is_empty() || rest.starts_with('/');
            is_whole.then(|| join(folder, rest))?
        });
        if let Some(folder) = known.find(|folder| self.packages.contains_key(&**folder)) {
            return Some(Module::Group(folder));
        }
        // Without its manifest a module is known by the end of its path, if it is no part of the language.
        let (host, mut rest) = name.split_once('/')?;
        if !host.contains('.') {
            return None;
        }
        loop {
            if self.packages.contains_key(rest) {
                return Some(Module::Group(rest.to_owned()));
            }
            rest = rest.split_once('/')?.1;
        }
    }

    fn relative(&self, file: &File, name: &str) -> Option<Module> {
        if name.starts_with('.') {
            return self.script(&join(folder(&file.path), name)?);
        }
        let of_package = self.manifests.iter().find_map(|(package, folder)| {
            let rest = name.strip_prefix(&**package)?;
            if !rest.is_empty() && !rest.starts_with('/') {
                return None;
            }
            let whole = join(folder, rest)?;
            let source = join(&below(folder, "src"), rest)?;
            self.script(&whole).or_else(|| self.script(&source))
        });
        let of_source = || {
            let rest = name.strip_prefix("@/").or(name.strip_prefix("~/"))?;
            let mut roots =
                upwards(folder(&file.path)).filter(|root| tail(root) == "src" || root.is_empty());
            roots.find_map(|root| self.script(&join(root, rest)?))
        };
        of_package.or_else(of_source).or_else(|| {
            let is_path = name.contains('/');
            is_path.then(|| self.script(name))?
        })
    }

    fn script(&self, path: &str) -> Option<Module> {
        let stem = path
            .rsplit_once('.')
            .filter(|(_, ending)| matches!(*ending, "js" | "jsx" | "mjs" | "cjs"));
        let with = |path: &str| {
            let mut ends = SCRIPT_ENDINGS.iter();
            ends.find_map(|ending| self.known(&format!("{path}{ending}")))
        };
        self.known(path)
            .filter(|known| self.files[known].refs.language.is_some())
            .or_else(|| with(path))
            .or_else(|| with(&below(path, "index")))
            .or_else(|| with(stem?.0))
            .map(Module::File)
    }

    /// The package of a file, where files of one package know each other.
    pub(super) fn package_of<'a>(&self, file: &'a File) -> Option<&'a str> {
        match file.refs.syntax().modules {
            Modules::Folder => Some(folder(&file.path)),
            Modules::Package => Some(file.refs.package.as_deref().unwrap_or_default()),
            _ => None,
        }
    }

    /// Whether there is a package below this name.
    pub(super) fn has_package(&self, name: &str) -> bool {
        let below = format!("{name}.");
        let first = self.packages.range(Box::<str>::from(name)..).next();
        let deeper = || self.packages.range(Box::<str>::from(&*below)..).next();
        first.is_some_and(|(key, _)| **key == *name)
            || deeper().is_some_and(|(key, _)| key.starts_with(&below))
    }

    /// The module of this name that a module of files holds.
    pub(super) fn child(&self, path: &str, name: &str) -> Option<Module> {
        let file = self.files.get(path)?;
        match file.refs.syntax().modules {
            Modules::Dotted => self.dotted_below(&Module::File(file.path.clone()), name),
            Modules::Tree => self.tree_child(path, name).map(Module::File),
            _ => None,
        }
    }

    /// The module or directory of this name within a directory of modules.
    pub(super) fn grouped(&self, folder: &str, name: &str) -> Option<Module> {
        self.dotted_child(folder, name)
    }

    fn tree_child(&self, path: &str, name: &str) -> Option<Arc<str>> {
        let (here, stem) = (folder(path), tail(path).strip_suffix(".rs")?);
        let holds = matches!(stem, "lib" | "main" | "mod");
        let inside = if holds {
            here.to_owned()
        } else {
            below(here, stem)
        };
        // Where no file is the root of the crate, each beside it stands for it.
        let has_root = |root| root != here || self.tree_top(root).is_some();
        let is_root = !holds && !tree_root(path).is_some_and(has_root);
        let beside = is_root.then(|| here.to_owned());
        std::iter::once(inside).chain(beside).find_map(|folder| {
            let inside = below(&folder, name);
            self.known(&format!("{inside}.rs"))
                .or_else(|| self.known(&below(&inside, "mod.rs")))
        })
    }

    /// The module that holds a module of files.
    pub(super) fn tree_parent(&self, path: &str) -> Option<Arc<str>> {
        let here = folder(path);
        match tail(path) {
            "lib.rs" | "main.rs" => None,
            "mod.rs" => self.tree_holder(folder(here), tail(here)),
            _ if tree_root(path) == Some(here) => {
                self.tree_top(here).or_else(|| self.tree_any(here))
            }
            _ => self.tree_holder(folder(here), tail(here)),
        }
    }

    fn tree_holder(&self, above: &str, name: &str) -> Option<Arc<str>> {
        let whole = below(above, name);
        // `mod.rs` of a directory is held by what holds the directory.
        self.known(&below(&whole, "mod.rs"))
            .or_else(|| self.known(&format!("{whole}.rs")))
            .or_else(|| self.tree_top(above))
    }

    fn tree_top(&self, folder: &str) -> Option<Arc<str>> {
        self.known(&below(folder, "lib.rs"))
            .or_else(|| self.known(&below(folder, "main.rs")))
    }

    /// The first file of a directory, which stands for a root that is not there.
    fn tree_any(&self, root: &str) -> Option<Arc<str>> {
        let start = below(root, "");
        let files = self.files.range(Arc::<str>::from(&*start)..);
        let mut files = files.take_while(|(path, _)| path.starts_with(&start));
        let found = files.find(|(path, _)| folder(path) == root && path.ends_with(".rs"));
        found.map(|(path, _)| path.clone())
    }

    /// The file that is the root of a file's crate.
    pub(super) fn tree_crate(&self, path: &str) -> Option<Arc<str>> {
        let Some(root) = tree_root(path) else {
            return self.known(path);
        };
        self.tree_top(root).or_else(|| self.tree_any(root))
    }

    /// The root of the crate of this name.
    pub(super) fn tree_named(&self, name: &str) -> Option<Arc<str>> {
        let is_name = |other: &str| other.replace('-', "_") == name;
        let mut known = self.manifests.iter().filter(|(module, _)| is_name(module));
        known
            .find_map(|(_, folder)| self.tree_top(&below(folder, "src")))
            .or_else(|| {
                let roots = self.tails.get("lib.rs").into_iter().flatten();
                let mut named = roots.take(SAME_TAIL_MAX).filter(|path| {
                    let source = folder(path);
                    tail(source) == "src" && is_name(tail(folder(source)))
                });
                named.next().cloned()
            })
    }
}

/// The source directory of a file's crate.
fn tree_root(path: &str) -> Option<&str> {
    let inner = folder(path);
    upwards(inner).find(|up| tail(up) == "src")
}

/// The name that a manifest gives to its directory: of `go.mod`, `Cargo.toml` or `package.json`.
pub(super) fn manifest(path: &str, bytes: &[u8]) -> Option<Box<str>> {
    /// Most bytes of a manifest that are read.
    const BYTES_MAX: usize = 1 << 16;
    let (section, key, sign): (&str, &str, &str) = match tail(path) {
        "go.mod" => ("", "module ", ""),
        "Cargo.toml" => ("[package]", "name", "="),
        "package.json" => ("{", "\"name\"", ":"),
        _ => return None,
    };
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(BYTES_MAX)]);
    let from = text.find(section)? + section.len();
    text[from..].lines().map(str::trim).find_map(|line| {
        let rest = line.strip_prefix(key)?.trim_start().strip_prefix(sign)?;
        let name = rest.trim().trim_end_matches(',');
        let name = name.trim_matches(['"', '\'']);
        (!name.is_empty() && name.len() < 240).then(|| name.into())
    })
}
