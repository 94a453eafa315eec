//! `drover completions`: what a shell needs to know.
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::commands::Ended;
use crate::failure::Exit;
use crate::terminal::Terminal;

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    #[arg(value_name = "SHELL", help = "bash, zsh, fish, elvish or powershell")]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, terminal: Terminal) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "drover", &mut script);
    terminal.raw(&script);
    Ok(Exit::Done)
}
