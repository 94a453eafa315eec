//! `drover job`: what users want to run.
use clap::Subcommand;

use crate::commands::{Ended, Session};

pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod launch;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod status;
pub(crate) mod stop;
mod what_if;

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    #[command(about = "Run a job, or change it to what its file says")]
    Run(run::RunArgs),
    #[command(about = "Show what running a job would do, without doing it")]
    Plan(plan::PlanArgs),
    #[command(about = "Show where a job's next allocations would go, and why nowhere else")]
    Explain(explain::ExplainArgs),
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
    #[command(about = "Make a child of a parameterized job")]
    Dispatch(launch::DispatchArgs),
    #[command(subcommand, about = "Launch a periodic job")]
    Periodic(launch::PeriodicCommand),
    #[command(about = "Change how many allocations a group has")]
    Scale(scale::ScaleArgs),
    #[command(about = "List what changed how many allocations a job has")]
    ScalingEvents(scale::ScalingEventsArgs),
}

pub(crate) fn run(command: &JobCommand, session: &mut Session) -> Ended {
    match command {
        JobCommand::Run(args) => run::run(args, session),
        JobCommand::Plan(args) => plan::run(args, session),
        JobCommand::Explain(args) => explain::run(args, session),
        JobCommand::Status(args) => status::run(args, session),
        JobCommand::Stop(args) => stop::run(args, session),
        JobCommand::History(args) => history::history(args, session),
        JobCommand::Revert(args) => history::revert(args, session),
        JobCommand::Deployments(args) => history::deployments(args, session),
        JobCommand::Promote(args) => history::promote(args, session),
        JobCommand::Inspect(args) => files::inspect(args, session),
        JobCommand::Validate(args) => files::validate(args, session),
        JobCommand::Init(args) => files::init(args, session.terminal),
        JobCommand::Dispatch(args) => launch::dispatch(args, session),
        JobCommand::Periodic(launch::PeriodicCommand::Force(args)) => launch::force(args, session),
        JobCommand::Scale(args) => scale::scale(args, session),
        JobCommand::ScalingEvents(args) => scale::events(args, session),
    }
}
