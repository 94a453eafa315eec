//! `drover sim run` with eyes open: the ladder on the terminal, the report as a page.
use std::path::PathBuf;

use clap::Args;
use drover_sim::ladder::{Filter, Kind, Ladder};

use crate::failure::Failure;
use crate::terminal::Terminal;

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    #[arg(long, help = "Print what happened, every line below its cause")]
    pub(crate) ladder: bool,
    #[arg(
        long,
        value_name = "NAME",
        help = "Of the ladder only this host (s1, c4); may be given again"
    )]
    pub(crate) host: Vec<String>,
    #[arg(long, value_name = "NAME", help = "Of the ladder only this job; may be given again")]
    pub(crate) job: Vec<String>,
    #[arg(
        long,
        value_name = "ID",
        help = "Of the ladder only this alloc: its id's beginning, or its name"
    )]
    pub(crate) alloc: Vec<String>,
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = kind, help = kinds_help())]
    pub(crate) kind: Vec<Kind>,
    #[arg(long, value_name = "N", help = "Of the ladder only the last N lines")]
    pub(crate) last: Option<usize>,
    #[arg(long, value_name = "FILE", help = "Write one page that shows the whole run")]
    pub(crate) html: Option<PathBuf>,
}

fn kinds_help() -> String {
    let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
    format!("Of the ladder only these kinds: {}", words.join(", "))
}

fn kind(text: &str) -> Result<Kind, String> {
    let known = Kind::ALL.iter().find(|kind| kind.word() == text);
    known.copied().ok_or_else(kinds_help)
}

impl WatchArgs {
    /// Whether anyone wants to see more than how the run ended.
    pub(crate) fn wants_ladder(&self) -> bool {
        self.ladder
            || self.html.is_some()
            || self.last.is_some()
            || ![&self.host, &self.job, &self.alloc].iter().all(|names| names.is_empty())
            || !self.kind.is_empty()
    }

    /// Shows what was asked for.
    pub(crate) fn show(
        &self,
        (report, ladder): (&drover_sim::Report, &Ladder),
        plan: &drover_sim::plan::Plan,
        terminal: Terminal,
    ) -> Result<(), Failure> {
        if self.html.is_none() || self.ladder {
            let filter = Filter {
                hosts: self.host.clone(),
                jobs: self.job.clone(),
                allocs: self.alloc.clone(),
                kinds: self.kind.clone(),
            };
            for line in ladder.lines(&filter, self.last).iter().chain(&ladder.summary()) {
                terminal.line(line);
            }
        }
        if let Some(path) = &self.html {
            let page = drover_sim::report::page(plan, report, ladder);
            std::fs::write(path, page).map_err(|fault| {
                Failure::new(format!("{} cannot be written: {fault}", path.display()))
            })?;
            terminal.line(&format!("the run is shown in {}", path.display()));
        }
        Ok(())
    }
}
