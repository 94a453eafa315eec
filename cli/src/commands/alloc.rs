//! `drover alloc`: one copy of a group on one node.
use clap::Subcommand;

use crate::address::Target;
use crate::api::Fields as _;
use crate::client::Client;
use crate::commands::{Ended, Session};
use crate::failure::{Failure, Refusal};
use serde_json::Value;

pub(crate) mod act;
pub(crate) mod explain;
pub(crate) mod frames;
pub(crate) mod fs;
pub(crate) mod logs;
pub(crate) mod status;

#[derive(Debug, Subcommand)]
pub(crate) enum AllocCommand {
    #[command(about = "Show an allocation and its tasks")]
    Status(status::AllocStatusArgs),
    #[command(about = "Show why an allocation is where it is, and where it would go now")]
    Explain(explain::ExplainArgs),
    #[command(about = "Print what a task writes")]
    Logs(logs::LogsArgs),
    #[command(about = "Look into an allocation's files")]
    Fs(fs::FsArgs),
    #[command(about = "Stop an allocation; its job places another one")]
    Stop(act::StopArgs),
    #[command(about = "Restart tasks where they are")]
    Restart(act::RestartArgs),
    #[command(about = "Send a signal to tasks")]
    Signal(act::SignalArgs),
}

pub(crate) fn run(command: &AllocCommand, session: &mut Session) -> Ended {
    match command {
        AllocCommand::Status(args) => status::run(args, session),
        AllocCommand::Explain(args) => explain::run(args, session),
        AllocCommand::Logs(args) => logs::run(args, session),
        AllocCommand::Fs(args) => fs::run(args, session),
        AllocCommand::Stop(args) => act::stop(args, session),
        AllocCommand::Restart(args) => act::restart(args, session),
        AllocCommand::Signal(args) => act::signal(args, session),
    }
}

/// The names of an allocation's tasks.
pub(crate) fn tasks(alloc: &Value) -> Vec<String> {
    let states = alloc.entries("TaskStates");
    let held = alloc.at("AllocatedResources").entries("Tasks");
    let known = if states.is_empty() { held } else { states };
    known.into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// The task that is meant: the one that was named, or the only one.
pub(crate) fn the_task(alloc: &Value, named: Option<&str>) -> Result<String, Failure> {
    let tasks = tasks(alloc);
    let shown = tasks.join(", ");
    let id = alloc.text("ID");
    match (named, &tasks[..]) {
        (Some(named), _) if tasks.iter().any(|task| task == named) => Ok(named.to_owned()),
        (Some(named), _) => Err(Failure::new(format!(
            "Allocation \"{id}\" has no task \"{named}\"; its tasks: {shown}"
        ))),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Failure::new(format!("Allocation \"{id}\" has no tasks yet"))),
        (None, _) => Err(Failure::new(format!(
            "Allocation \"{id}\" has several tasks, name one of them: {shown}"
        ))),
    }
}

impl Session {
    /// Asks the configured agent about something that only the alloc's node knows, and the node's own
    /// agent if the first cannot help.
    pub(crate) fn of_node<T>(
        &mut self,
        alloc: &Value,
        ask: impl Fn(&mut Client) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let first = match ask(&mut self.client) {
            Err(refusal @ Refusal::Status { code: 404 | 500..=599, .. }) => refusal,
            answered => return answered,
        };
        let Some(target) = self.target_of(alloc) else { return Err(first) };
        // What the node cannot say either is better told by the agent that the user chose.
        ask(&mut Client::new(target)).map_err(|_| first)
    }

    fn target_of(&mut self, alloc: &Value) -> Option<Target> {
        let path = format!("/v1/node/{}", alloc.text("NodeID"));
        let node = self.client.get(&path, &[]).ok()?;
        let target = self.client.target.at_node(node.text("HTTPAddr")).ok()?;
        let same = target.authority() == self.client.target.authority();
        (!same).then_some(target)
    }
}
