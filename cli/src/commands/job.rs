//! `drover job`: what users want to run.
use clap::Subcommand;

use crate::commands::{Ended, Session};

pub(crate) mod diff;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod stop;
mod what_if;

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    #[command(about = "Run a job, or change it to what its file says")]
    Run(run::RunArgs),
    #[command(about = "Show what running a job would do, without doing it")]
    Plan(plan::PlanArgs),
    #[command(about = "List jobs, or show one")]
    Status(status::JobStatusArgs),
    #[command(about = "Stop a job")]
    Stop(stop::StopArgs),
    #[command(about = "Show a job's versions")]
    History(history::HistoryArgs),
    #[command(about = "Go back to an earlier version")]
    Revert(history::RevertArgs),
    #[command(about = "List a job's deployments")]
    Deployments(history::DeploymentsArgs),
    #[command(about = "Let the version of a job's canaries take over")]
    Promote(history::PromoteArgs),
    #[command(about = "Print a job as JSON")]
    Inspect(files::InspectArgs),
    #[command(about = "Check a job file, here and by the servers if they can be reached")]
    Validate(files::ValidateArgs),
    #[command(about = "Write an example job file")]
    Init(files::InitArgs),
}

pub(crate) fn run(command: &JobCommand, session: &mut Session) -> Ended {
    match command {
        JobCommand::Run(args) => run::run(args, session),
        JobCommand::Plan(args) => plan::run(args, session),
        JobCommand::Status(args) => status::run(args, session),
        JobCommand::Stop(args) => stop::run(args, session),
        JobCommand::History(args) => history::history(args, session),
        JobCommand::Revert(args) => history::revert(args, session),
        JobCommand::Deployments(args) => history::deployments(args, session),
        JobCommand::Promote(args) => history::promote(args, session),
        JobCommand::Inspect(args) => files::inspect(args, session),
        JobCommand::Validate(args) => files::validate(args, session),
        JobCommand::Init(args) => files::init(args, session.terminal),
    }
}
