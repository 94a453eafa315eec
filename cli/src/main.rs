//! `drover`: the program. It becomes the holder of a task if it was started as one, otherwise it is
//! the command line.
//!
//! Invariants
//! - nothing happens before it is known whether this process is a shim.
use std::process::ExitCode;

use clap::Parser as _;

mod address;
mod api;
mod args;
mod client;
mod commands;
mod comparison;
mod deployment;
mod failure;
mod find;
mod http;
mod interrupt;
mod monitor;
mod reasons;
mod table;
mod terminal;
mod time;
mod watch;

use args::Cli;
use failure::Exit;
use terminal::Terminal;

/// The core asks for many small pieces of memory: with this allocator simulations take a sixth less time, and
/// placing through the log a seventh.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    drover_shell::shim::run_if_asked();
    let argv = args::normalised(std::env::args_os());
    let cli = match Cli::try_parse_from(&argv) {
        Ok(cli) => cli,
        // Help and version are errors to clap; only real ones may end with its code.
        Err(told) => {
            // A closed terminal is nobody to tell.
            drop(told.print());
            return match (told.use_stderr(), args::is_plan(&argv)) {
                (false, _) => Exit::Done.into(),
                (true, false) => Exit::Failed.into(),
                (true, true) => Exit::Unplanned.into(),
            };
        }
    };
    let terminal = Terminal::of_process(cli.global.no_color);
    let failing = commands::exit_of_failure(&cli.command);
    match commands::run(&cli.command, &cli.global, terminal) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal.complain(&failure.to_string());
            failing.into()
        }
    }
}
