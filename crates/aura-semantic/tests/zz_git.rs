//! temporary
#![allow(clippy::unwrap_used, missing_docs)]
mod common;
use aura_semantic::*;
use common::*;
#[test]
fn budget() {
    let mut text = String::new();
    for k in 0..100_000 { text.push_str(&format!("fn f{k}() -> u32 {{\n    {k}\n}}\n\n")); }
    println!("100k {:?}", outline("a.rs", text.as_bytes(), &Budget::default()).problems);
    for name in FIXTURES {
        // broken early, 300 KiB
        let mut t = b"}{ ) fn @@ x\n".to_vec(); t.extend(fixture(name).repeat(90));
        let t0=std::time::Instant::now(); let o = outline(name, &t, &Budget::default()); println!("{name} {} KiB broken: {:?} units {} {:?}", t.len()/1024, o.problems, o.units.len(), t0.elapsed());
    }
    for (n,s) in [("a.py","1+".repeat(4<<20)),("a.js","a\n".repeat(4<<20)),("a.c","f(".repeat(4000).repeat(1)+&"x,".repeat(4_000_000)),("a.rs","< ".repeat(4<<20)),("a.cpp","a<b>(".repeat(8000)),("a.cpp","a<".repeat(4<<20)),("a.ts","a<".repeat(1<<20)),("a.java","x ".repeat(4<<20)),("a.go","\"".repeat(8<<20)),("a.py", (0..2000).map(|i| " ".repeat(i)+"if x:\n").collect())] {
        let t0=std::time::Instant::now(); let o = outline(n, &s.as_bytes()[..s.len().min(8<<20)], &Budget::default()); println!("{n} {:.6} {:?} units {} {:?}", s, o.problems, o.units.len(), t0.elapsed());
    }
}
