//! x
use aura_semantic::*;
#[test]
fn show() {
    for e in std::fs::read_dir("fixtures").unwrap() {
        let p = e.unwrap().path();
        let n = p.file_name().unwrap().to_str().unwrap().to_owned();
        let b = std::fs::read(&p).unwrap();
        let o = outline(&n, &b, &Budget::default());
        println!("=== {n} {:?} errors {}", o.problems, o.errors);
        for u in &o.units {
            println!("{:<12} {}-{} {:?} {} [{}]{}{}", u.kind.word(), u.start_line, u.end_line, u.name, u.qualified, u.parameters, if u.inner.is_some() {" CONT"} else {""}, if u.opaque {" OPAQUE"} else {""});
        }
    }
}
