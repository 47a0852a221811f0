//! Help, exit codes and completions.
//!
//! Invariant: they are made from one description.

use super::*;

#[test]
fn every_command_has_an_example_and_every_help_says_so() {
    fn check(command: &clap::Command, path: &str) {
        let example = command.get_before_long_help().map(ToString::to_string);
        assert!(
            example.is_some_and(|text| text.contains("Example")),
            "{path} has no example"
        );
        for below in command.get_subcommands() {
            check(below, &format!("{path} {}", below.get_name()));
        }
    }
    check(&Args::command(), "aura");
    Args::command().debug_assert();
}

#[test]
fn every_command_that_the_readme_or_an_example_names_is_one() {
    let program = Args::command();
    assert!(40 < crate::said::readme_names_real_commands(&program));
    assert!(50 < crate::said::examples_are_real_commands(&program));
}

#[test]
fn the_exit_codes_are_printed_with_every_code_once() {
    let laptop = Laptop::new();
    let table = laptop.run(&["help", "exit-codes", "--json"]).json();
    let codes: Vec<u64> = table["codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["code"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (0..=17).chain([70, 75, 130, 141]).collect();
    assert_eq!(codes, expected);
    assert!(
        laptop
            .run(&["help", "exit-codes"])
            .out
            .contains("70    bug in our program\n")
    );
    assert!(
        laptop
            .run(&["help", "resolve"])
            .out
            .contains("aura resolve c-12 --theirs")
    );
    assert_eq!(laptop.run(&["help", "nonsense"]).exit(), 2);
}

#[test]
fn completions_know_every_command_and_bash_reads_them() {
    let laptop = Laptop::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = laptop.run(&["completions", shell]).out;
        for word in ["resolve", "exit-code", "approve"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let script = laptop.file("aura.bash", &laptop.run(&["completions", "bash"]).out);
    let test = format!(
        "source {script}; COMP_WORDS=(aura conflicts sh); COMP_CWORD=2; _aura; echo \"${{COMPREPLY[@]}}\""
    );
    let Ok(output) = std::process::Command::new("bash")
        .args(["-c", &test])
        .output()
    else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "show\n");
}
