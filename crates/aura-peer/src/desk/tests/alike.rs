//! Whoever knows the same patches holds the same files, or is told where they differ; and what nobody took away is
//! there: three people do with functions and files what comes to their minds, and hear of each other when it pleases
//! chance.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};

use aura_api::Choice;
use aura_trust::KeyRing;

use super::{Desk, Intent, Log, Mode, Person};

/// What happens follows from the seed; another first seed, or another number of them, by these variables.
const FIRST: &str = "AURA_ALIKE_SEED";
const COUNT: &str = "AURA_ALIKE_SEEDS";
/// In how many steps it happens.
const PASSES: &str = "AURA_ALIKE_PASSES";
/// How often people settle what is open, in turn.
const ROUNDS: usize = 9;
/// How many are tried by every run of the tests.
const SEEDS: u64 = 40;

#[test]
fn chance_makes_no_difference_that_nobody_is_told_of_and_loses_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number(FIRST).unwrap_or(1);
    let mut bad = Vec::new();
    let count = number(COUNT).unwrap_or(SEEDS);
    for seed in first..first + count {
        let mut story = Story::new(seed);
        for _ in 0..number(PASSES).unwrap_or(4) {
            story.passes();
        }
        story.all_hear();
        if let Err(why) = story.judge().and_then(|()| story.ends()) {
            let log = story.entries();
            let told = &story.told;
            bad.push(format!("seed {seed}: {why}\n{told}{log}"));
        }
    }
    assert!(
        bad.is_empty(),
        "{} of {count}\n{}",
        bad.len(),
        bad.join("\n")
    );
}

/// A small generator (xorshift), so that seeds mean the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (sides.max(1) as u64)).unwrap()
    }
}

/// A file of functions, as the people of these stories write it.
#[derive(Clone, Debug, Default)]
struct Page {
    header: String,
    functions: Vec<Vec<String>>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            if line.starts_with("fn ") {
                page.functions.push(vec![line.to_owned()]);
            } else if let Some(last) = page.functions.last_mut() {
                last.push(line.to_owned());
            } else {
                page.header.push_str(line);
                page.header.push('\n');
            }
        }
        for function in &mut page.functions {
            while function.last().is_some_and(|line| line.trim().is_empty()) {
                function.pop();
            }
        }
        page.header = page.header.trim_end().to_owned();
        page
    }

    fn text(&self) -> String {
        let functions = self.functions.iter().map(|lines| lines.join("\n"));
        let all: Vec<String> = std::iter::once(self.header.clone())
            .chain(functions)
            .collect();
        all.join("\n\n") + "\n"
    }
}

type Tree = BTreeMap<String, String>;

struct Story {
    dice: Dice,
    people: Vec<Person>,
    log: Log,
    /// Words in texts are numbered, each written once.
    words: usize,
    files: usize,
    /// Words that somebody has taken away, knowing them.
    removed: BTreeSet<String>,
    told: String,
}

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

impl Story {
    fn new(seed: u64) -> Self {
        let mut story = Self {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            people: Vec::new(),
            log: Log::default(),
            words: 0,
            files: 0,
            removed: BTreeSet::new(),
            told: String::new(),
        };
        let files = ["a.rs", "b.rs"].map(|name| {
            let page = Page {
                header: format!("//! {}", story.word()),
                functions: (0..3).map(|_| story.function()).collect(),
            };
            (name, page.text())
        });
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, &**text)).collect();
        story.people = (1..=3)
            .map(|seed| Person::new(seed, Mode::Live, &files))
            .collect();
        story
    }

    fn word(&mut self) -> String {
        self.words += 1;
        format!("word{}.", self.words)
    }

    /// No two lines are alike, so that nothing is taken for a function that was renamed and edited.
    fn line(&mut self) -> String {
        let word = self.word();
        let number = self.words;
        format!("    {word}w{number}(a{number}, b{number});")
    }

    fn function(&mut self) -> Vec<String> {
        let name = self.words;
        let mut lines = vec![format!("fn f{name}() {{")];
        lines.extend((0..5).map(|_| self.line()));
        lines.push("}".to_owned());
        lines
    }

    /// Some do something, then some hear of it.
    fn passes(&mut self) {
        for who in 0..self.people.len() {
            for _ in 0..self.dice.roll(3) {
                self.does(who);
            }
            if self.dice.roll(3) == 0 {
                self.settles(who);
            }
            let person = &mut self.people[who];
            person
                .desk
                .publish_all(&Intent::default(), &person.ring)
                .unwrap();
        }
        for _ in 0..self.dice.roll(4) {
            let who = self.dice.roll(3);
            self.exchanges(who);
        }
        if self.dice.roll(4) == 0 {
            let who = self.dice.roll(3);
            let person = self.people.remove(who);
            self.people.insert(who, person.restarts());
            self.tell(who, "restarts");
        }
    }

    /// Somebody settles a conflict, and so takes away what the side that was not chosen says.
    fn settles(&mut self, who: usize) {
        let person = &mut self.people[who];
        let conflicts = person.desk.conflicts(&person.ring);
        if conflicts.is_empty() {
            return;
        }
        let conflict = &conflicts[self.dice.roll(conflicts.len())];
        let (choice, other) = match self.dice.roll(2) {
            0 => (Choice::Mine, &conflict.theirs),
            _ => (Choice::Theirs, &conflict.mine),
        };
        let (name, path) = (&conflict.name, &conflict.path);
        let settled = person.desk.resolve(conflict, &choice, &person.ring);
        let what = format!("settles {name} of {path} as {choice:?}: {settled:?}");
        if settled.is_ok() {
            let text = other.text.as_ref();
            let text = text.map(|text| String::from_utf8_lossy(text.head.bytes()).into_owned());
            self.remove(&text.unwrap_or_default());
        }
        self.tell(who, &what);
    }

    fn exchanges(&mut self, who: usize) {
        let person = &mut self.people[who];
        person.tells(&mut self.log);
        person.hears(&self.log);
        person.agrees();
        person.tells(&mut self.log);
        self.tell(who, "hears");
    }

    /// Everybody hears of everything, until nothing follows from it any more.
    fn all_hear(&mut self) {
        let (mut rounds, mut quiet) = (0, 0);
        loop {
            let before = self.log.entries.len();
            for person in &mut self.people {
                let saved = &Intent::default();
                person.desk.publish_all(saved, &person.ring).unwrap();
                person.tells(&mut self.log);
            }
            for who in 0..self.people.len() {
                self.exchanges(who);
            }
            rounds += 1;
            assert!(rounds < 30, "it does not come to rest\n{}", self.told);
            // What is heard in one round may lead to something in the next.
            quiet = if self.log.entries.len() == before {
                quiet + 1
            } else {
                0
            };
            if 1 < quiet {
                return;
            }
        }
    }

    /// One settles what is open, and then another what is left, until all have the same.
    fn ends(&mut self) -> Result<(), String> {
        for round in 0..ROUNDS {
            let who = round % self.people.len();
            let person = &mut self.people[who];
            let conflicts = person.desk.conflicts(&person.ring);
            let mut settled = BTreeSet::new();
            for conflict in &conflicts {
                let choice = match self.dice.roll(2) {
                    0 => Choice::Mine,
                    _ => Choice::Theirs,
                };
                let person = &mut self.people[who];
                let (name, path) = (&conflict.name, &conflict.path);
                if !settled.insert(path) {
                    continue;
                }
                let done = person.desk.resolve(conflict, &choice, &person.ring);
                self.tell(
                    who,
                    &format!("ends {name} of {path} as {choice:?}: {done:?}"),
                );
            }
            self.all_hear();
        }
        let trees: BTreeSet<Tree> = self.people.iter().map(Person::tree).collect();
        for person in &mut self.people {
            let open = person.desk.conflicts(&person.ring);
            let open = open.iter().map(|conflict| (&conflict.path, &conflict.name));
            let open: Vec<_> = open.collect();
            if !open.is_empty() {
                return Err(format!("{} still has {open:?}", person.seed));
            }
            let waiting = waiting(&mut person.desk, &person.ring);
            if !waiting.is_empty() {
                return Err(format!("{} still waits in {waiting:?}", person.seed));
            }
        }
        match trees.len() {
            1 => Ok(()),
            _ => Err(format!("differs at the end: {trees:#?}")),
        }
    }

    /// Somebody does what comes to mind, with a file, a function in it, or both.
    fn does(&mut self, who: usize) {
        let tree = self.people[who].tree();
        let pages: Vec<&String> = tree.keys().collect();
        if pages.is_empty() {
            return;
        }
        let path = pages[self.dice.roll(pages.len())].clone();
        match self.dice.roll(13) {
            10 => self.renames(who, &path),
            11 => self.deletes(who, &path, &tree[&path]),
            12 => self.creates(who, &tree),
            act => self.writes(who, &path, act, &tree),
        }
    }

    fn writes(&mut self, who: usize, path: &String, act: usize, tree: &Tree) {
        let mut page = Page::read(&tree[path]);
        let at = self.dice.roll(page.functions.len());
        let name = page.functions.get(at).map(|lines| lines[0].clone());
        let place = self.dice.roll(page.functions.len() + 1);
        let act = match act {
            6 => {
                let word = self.word();
                let old = std::mem::replace(&mut page.header, format!("//! {word}"));
                self.remove(&old);
                "describes"
            }
            3 | 4 => {
                let new = self.function();
                page.functions.insert(place, new);
                "adds to"
            }
            _ if name.is_none() => return,
            0..=2 => {
                let function = &page.functions[at];
                let line = 1 + self.dice.roll(function.len().saturating_sub(2).max(1));
                let line = line.min(function.len() - 1);
                let new = self.line();
                let old = std::mem::replace(&mut page.functions[at][line], new);
                self.remove(&old);
                "edits"
            }
            5 => {
                let gone = page.functions.remove(at);
                gone.iter().for_each(|line| self.remove(line));
                "deletes from"
            }
            7 => {
                let taken = page.functions.remove(at);
                page.functions
                    .insert(place.min(page.functions.len()), taken);
                "reorders"
            }
            _ => {
                let others: Vec<&String> = tree.keys().filter(|other| *other != path).collect();
                if others.is_empty() {
                    return;
                }
                let to = others[self.dice.roll(others.len())];
                let mut there = Page::read(&tree[to]);
                let place = self.dice.roll(there.functions.len() + 1);
                there.functions.insert(place, page.functions.remove(at));
                self.people[who].writes(to, &there.text());
                self.tell(who, &format!("takes a function to {to}"));
                "takes from"
            }
        };
        self.tell(
            who,
            &format!("{act} {path} at {}", name.unwrap_or_default()),
        );
        self.people[who].writes(path, &page.text());
    }

    fn renames(&mut self, who: usize, path: &str) {
        self.files += 1;
        let to = format!("n{}.rs", self.files);
        let repo = self.people[who].dir.path().join("repo");
        fs::rename(repo.join(path), repo.join(&to)).unwrap();
        self.tell(who, &format!("renames {path} to {to}"));
    }

    fn deletes(&mut self, who: usize, path: &str, text: &str) {
        fs::remove_file(self.people[who].dir.path().join("repo").join(path)).unwrap();
        self.remove(text);
        self.tell(who, &format!("deletes {path}"));
    }

    fn creates(&mut self, who: usize, tree: &Tree) {
        let last = format!("n{}.rs", self.files);
        let to = ["a.rs", "b.rs", &last][self.dice.roll(3)].to_owned();
        if tree.contains_key(&to) {
            return;
        }
        let functions = (0..2).map(|_| self.function()).collect();
        let header = format!("//! {}", self.word());
        let new = Page { header, functions };
        self.people[who].writes(&to, &new.text());
        self.tell(who, &format!("creates {to}"));
    }

    fn tell(&mut self, who: usize, what: &str) {
        writeln!(self.told, "{} {what}", NAMES[who]).unwrap();
    }

    /// What is in the log, and what each person waits for.
    fn entries(&mut self) -> String {
        let mut text = String::new();
        let units = &self.people[0].desk.units;
        let mut rows: Vec<_> = units.recorded().iter().collect();
        rows.sort_by_key(|recorded| recorded.origin.seq);
        for recorded in rows {
            let (origin, kind, path) = (recorded.origin, recorded.kind, &recorded.path);
            let who = self
                .people
                .iter()
                .position(|person| person.desk.key_peer == origin.writer.peer);
            let names: Vec<_> = recorded
                .touched
                .iter()
                .map(|row| {
                    let content = units.content(path, row.0, row.2).flatten();
                    format!(
                        "{}{}",
                        if content.is_none() && row.3 != 0 {
                            "-"
                        } else {
                            ""
                        },
                        row.1
                    )
                })
                .collect();
            writeln!(
                text,
                "{:?} {} {kind} {path} {names:?}",
                origin.seq,
                NAMES[who.unwrap()]
            )
            .unwrap();
        }
        for person in &mut self.people {
            for (index, taken) in person.desk.incoming(&person.ring) {
                let recorded = &person.desk.units.recorded()[index];
                writeln!(
                    text,
                    "{} waits: {:?} {} {taken:?}",
                    person.seed, recorded.origin.seq, recorded.path
                )
                .unwrap();
            }
        }
        text
    }

    fn remove(&mut self, text: &str) {
        self.removed.extend(words_of(text));
    }

    /// Whether all are alike but where a conflict is open, and nothing is lost.
    fn judge(&mut self) -> Result<(), String> {
        let trees: Vec<Tree> = self.people.iter().map(Person::tree).collect();
        let mut open = BTreeMap::new();
        for person in &mut self.people {
            for conflict in person.desk.conflicts(&person.ring) {
                let sides = [&conflict.mine, &conflict.theirs].map(|side| {
                    let text = side.text.as_ref();
                    text.map(|text| String::from_utf8_lossy(text.head.bytes()).into_owned())
                });
                open.insert((person.seed, conflict.path, conflict.name), sides);
            }
        }
        let paths: BTreeSet<&String> = trees.iter().flat_map(Tree::keys).collect();
        for path in paths {
            let texts = trees.iter().map(|tree| tree.get(path));
            let texts: BTreeSet<Option<&String>> = texts.collect();
            let people = self.people.iter();
            let is_told = people.map(|person| person.seed).all(|seed| {
                open.keys()
                    .any(|(known, at, _)| *known == seed && at == path)
            });
            if 1 < texts.len() && !is_told {
                return Err(format!(
                    "{path} differs, conflicts {:?}: {texts:#?}",
                    open.keys()
                ));
            }
        }
        let mut shown: BTreeSet<String> = BTreeSet::new();
        let texts = open.values().flatten().flatten();
        texts.for_each(|text| shown.extend(words_of(text)));
        // What differs and is told of is at hand with whoever has it.
        for (path, text) in trees.iter().flatten() {
            if open.keys().any(|(_, at, _)| at == path) {
                shown.extend(words_of(text));
            }
        }
        for (person, tree) in self.people.iter().zip(&trees) {
            let mut here = shown.clone();
            tree.values().for_each(|text| here.extend(words_of(text)));
            let all = (1..=self.words).map(|word| format!("word{word}."));
            let lost: Vec<String> = all
                .filter(|word| !here.contains(word) && !self.removed.contains(word))
                .collect();
            if !lost.is_empty() {
                return Err(format!(
                    "{} lacks {lost:?}, conflicts {:?}",
                    person.seed,
                    open.keys()
                ));
            }
        }
        for person in &mut self.people {
            let waiting = waiting(&mut person.desk, &person.ring);
            let is_told = |path: &String| open.keys().any(|(_, at, _)| at == path);
            if let Some(path) = waiting.iter().find(|path| !is_told(path)) {
                return Err(format!(
                    "{} waits for {path}, conflicts {:?}",
                    person.seed,
                    open.keys()
                ));
            }
        }
        Ok(())
    }
}

fn waiting(desk: &mut Desk, ring: &KeyRing) -> Vec<String> {
    let incoming = desk.incoming(ring);
    let paths = incoming
        .keys()
        .map(|index| desk.units.recorded()[*index].path.to_string());
    paths.collect()
}

fn words_of(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split("word").skip(1);
    parts.filter_map(|part| Some(format!("word{}.", part.split_once('.')?.0)))
}

impl Person {
    /// Every file that it has.
    fn tree(&self) -> Tree {
        let files = fs::read_dir(self.dir.path().join("repo")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let names = names.filter(|name| name.ends_with(".rs"));
        names
            .map(|name| (name.clone(), self.reads(&name)))
            .collect()
    }
}
