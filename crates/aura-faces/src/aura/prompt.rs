//! `aura prompt`: a few characters for a shell's prompt, without asking the daemon.
//!
//! Invariant: it reads one small file, and whatever is wrong with it, it shows nothing.

use std::{fs, path::Path};

use aura_api::{Exit, docs, home::PROMPTS_FILE};

use super::{Face, Outcome};
use crate::escape::line;

/// What is shown when somebody does not say how.
const FORMAT: &str = "{mark} {waiting}!{needs}";

impl Face<'_, '_> {
    pub(super) fn prompt(&mut self, format: Option<&str>) -> Outcome {
        let file = self.home()?.run_dir().join(PROMPTS_FILE);
        let prompts = fs::read(file).ok();
        let prompts =
            prompts.and_then(|bytes| serde_json::from_slice::<docs::Prompts>(&bytes).ok());
        let clone = prompts
            .filter(is_alive)
            .and_then(|prompts| here(&self.dir, prompts));
        if let Some(clone) = clone.filter(is_loud) {
            let mark = self.screen.view().mark();
            self.screen.text(&(shown(&clone, format, mark) + "\n"))?;
        }
        Ok(Exit::DONE)
    }
}

/// Whether the daemon that wrote it runs; where that cannot be seen, it is believed.
fn is_alive(prompts: &docs::Prompts) -> bool {
    let processes = Path::new("/proc");
    !processes.join("self").exists() || processes.join(prompts.pid.to_string()).exists()
}

/// The clone in which a directory is.
fn here(dir: &Path, prompts: docs::Prompts) -> Option<docs::PromptDoc> {
    let dir = fs::canonicalize(dir).ok()?;
    let clones = prompts.clones.into_iter();
    let around = clones.filter(|clone| dir.starts_with(&clone.path));
    around.max_by_key(|clone| clone.path.len())
}

/// Whether there is anything to show.
fn is_loud(clone: &docs::PromptDoc) -> bool {
    clone.word != "synced" || clone.waiting != 0 || clone.needs != 0
}

fn shown(clone: &docs::PromptDoc, format: Option<&str>, mark: &str) -> String {
    let is_counted = clone.waiting != 0 || clone.needs != 0;
    let word = line(&clone.word);
    match format {
        None if !is_counted => format!("{mark} {word}"),
        None if clone.word == "offline" => {
            format!("{mark} offline {}!{}", clone.waiting, clone.needs)
        }
        format => format
            .unwrap_or(FORMAT)
            .replace("{mark}", mark)
            .replace("{word}", &word)
            .replace("{waiting}", &clone.waiting.to_string())
            .replace("{needs}", &clone.needs.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clone(word: &str, waiting: u64, needs: u64) -> docs::PromptDoc {
        docs::PromptDoc {
            path: "/w".to_owned(),
            word: word.to_owned(),
            waiting,
            needs,
        }
    }

    #[test]
    fn a_quiet_clone_shows_nothing_and_any_other_says_why() {
        assert!(!is_loud(&clone("synced", 0, 0)));
        let two = clone("synced", 2, 1);
        assert!(is_loud(&two));
        assert_eq!(shown(&two, None, "⇄"), "⇄ 2!1");
        assert_eq!(shown(&clone("offline", 0, 0), None, "⇄"), "⇄ offline");
        assert_eq!(shown(&clone("offline", 1, 0), None, "⇄"), "⇄ offline 1!0");
        assert_eq!(shown(&two, Some("[{word} {needs}]"), "⇄"), "[synced 1]");
    }
}
