//! Completion scripts, made from the same description as the help.
//!
//! Invariant: a command or flag that the help shows is completed.

use aura_api::Exit;
use clap::{Command, ValueEnum};

use crate::output::{Outcome, Screen};

/// Shells that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// The GNU shell.
    Bash,
    /// The friendly shell.
    Fish,
    /// The Z shell.
    Zsh,
}

/// `completions` of either program.
pub(crate) fn print(screen: &mut Screen<'_>, shell: Shell, program: Command) -> Outcome {
    screen.text(&script(shell, program))?;
    Ok(Exit::DONE)
}

/// The script of a shell for a program.
fn script(shell: Shell, mut program: Command) -> String {
    program.build();
    match shell {
        Shell::Bash => bash(&program),
        Shell::Fish => fish(&program),
        Shell::Zsh => format!(
            "#compdef {}\nautoload -U +X bashcompinit && bashcompinit\n{}",
            program.get_name(),
            bash(&program)
        ),
    }
}

/// Each command below `program`, with the words that lead to it.
pub(crate) fn paths(program: &Command) -> Vec<(String, &Command)> {
    let mut found = vec![(program.get_name().to_owned(), program)];
    let mut at = 0;
    while let Some((path, command)) = found.get(at).cloned() {
        let below = visible(command).map(|below| (format!("{path} {}", below.get_name()), below));
        found.extend(below);
        at += 1;
    }
    found
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
}

fn flags(command: &Command) -> impl Iterator<Item = (String, String)> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.get_long().map(|long| (long.to_owned(), help))
        })
}

fn bash(program: &Command) -> String {
    let name = program.get_name();
    let (mut steps, mut words) = (Vec::new(), String::new());
    for (path, command) in paths(program) {
        if command.get_subcommands().next().is_some() || path != name {
            steps.push(format!("\"{path}\""));
        }
        let below = visible(command).map(|below| below.get_name().to_owned());
        let flags = flags(command).map(|(long, _)| format!("--{long}"));
        let all: Vec<String> = below.chain(flags).collect();
        words.push_str(&format!("    \"{path}\") words=\"{}\" ;;\n", all.join(" ")));
    }
    format!(
        "_{name}() {{\n  local path=\"{name}\" words=\"\" word\n  \
         for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n    \
         case \"$path $word\" in\n      {}) path=\"$path $word\" ;;\n    esac\n  done\n  \
         case \"$path\" in\n{words}  esac\n  \
         COMPREPLY=($(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n}}\n\
         complete -o default -F _{name} {name}\n",
        steps.join("|")
    )
}

fn fish(program: &Command) -> String {
    let name = program.get_name();
    let mut script = String::new();
    for (path, command) in paths(program) {
        let last = path.rsplit(' ').next().unwrap_or_default();
        let condition = if path == name {
            "__fish_use_subcommand".to_owned()
        } else {
            format!("__fish_seen_subcommand_from {last}")
        };
        for below in visible(command) {
            let about = below
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            let row = format!("-f -a {} -d {}", below.get_name(), quoted(&about));
            script.push_str(&format!("complete -c {name} -n '{condition}' {row}\n"));
        }
        for (long, help) in flags(command) {
            let row = format!("-l {long} -d {}", quoted(&help));
            script.push_str(&format!("complete -c {name} -n '{condition}' {row}\n"));
        }
    }
    script
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
