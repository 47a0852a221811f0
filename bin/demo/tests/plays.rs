//! The demonstration checks itself; this keeps it playable.

use std::process::Command;

#[test]
fn the_demonstration_plays_to_its_end_and_every_step_holds() {
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .env_remove("DEMO_ROLE")
        .output()
        .expect("the program that was just built starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{why}");
    assert!(told.contains("Everything held"), "{told}");
}
