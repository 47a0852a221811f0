//! Whoever watches the parsers of a process is asked before each text and told after it.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use aura_semantic::{Budget, Language, ParseWatch, Problem, outline, watch_parsers};

#[derive(Default)]
struct Watch(Mutex<Vec<String>>);

impl ParseWatch for Watch {
    fn may_begin(&self, language: Language, path: &str, bytes: &[u8]) -> bool {
        let said = format!("{} {path} {}", language.name(), bytes.len());
        self.0.lock().unwrap().push(said);
        !bytes.starts_with(b"// no")
    }

    fn has_ended(&self) {
        self.0.lock().unwrap().push("ended".to_owned());
    }
}

#[test]
fn a_text_that_the_watch_refuses_is_handled_as_a_whole_and_others_as_ever() {
    let watch: &Watch = Box::leak(Box::default());
    watch_parsers(watch);
    let read = |path, text: &str| outline(path, text.as_bytes(), &Budget::default());
    let refused = read("a.rs", "// no\nfn f() {}\n");
    assert_eq!(refused.whole_file_problem(), Some(Problem::ParserFails));
    assert!(refused.units.is_empty());
    assert_eq!(read("b.py", "def f():\n    pass\n").units.len(), 1);
    // What comes to no parser is not asked about.
    read("c.unknown", "x");
    let said = watch.0.lock().unwrap();
    assert_eq!(*said, ["rust a.rs 16", "python b.py 18", "ended"]);
}
