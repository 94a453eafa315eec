//! `drover sim marks`: the situations by name, and how many of some seeds reach each.
use std::ops::Range;

use clap::Args;
use drover_sim::marks::Mark;
use drover_sim::run as run_seed;

use super::{SizeArgs, options_of};
use crate::commands::{Ended, Exit};
use crate::terminal::Terminal;

#[derive(Args, Debug)]
pub(crate) struct SimMarksArgs {
    #[arg(long, value_name = "N", default_value_t = 0, help = "Run the first N seeds, and count")]
    pub(crate) seeds: u64,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
}

/// Exit code 1: a mark was reached by none of the seeds.
pub(super) fn run(args: &SimMarksArgs, terminal: Terminal) -> Ended {
    let options = options_of(&args.size);
    let seeds: Range<u64> = 0..args.seeds;
    let reached: Vec<_> = seeds.map(|seed| run_seed(seed, &options).marks).collect();
    let mut exit = Exit::Done;
    for &mark in Mark::ALL {
        if reached.is_empty() {
            terminal.line(&mark.to_string());
            continue;
        }
        let count = reached.iter().filter(|marks| marks.has(mark)).count();
        terminal.line(&format!("{count:>6}  {mark}"));
        if count == 0 {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}
