//! `drover operator scheduler`: how the servers schedule.
use clap::{ArgAction, Args, Subcommand};
use serde_json::{Value, json};

use crate::api::Fields as _;
use crate::args::{Format, Global};
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::block;
use crate::terminal::Terminal;

const PATH: &str = "/v1/operator/scheduler/configuration";

#[derive(Debug, Subcommand)]
pub(crate) enum SchedulerCommand {
    #[command(about = "Show how the servers schedule")]
    GetConfig(Format),
    #[command(about = "Change how the servers schedule; what is not named stays")]
    SetConfig(SetConfigArgs),
}

#[derive(Args, Debug)]
pub(crate) struct SetConfigArgs {
    #[arg(long, value_name = "INDEX", help = "Only if it was last set at this ModifyIndex")]
    check_index: Option<u64>,
    #[arg(
        long,
        value_name = "NAME",
        help = "pack: the fullest node is the best; binpack: the same by Nomad's score, which knows no devices; spread: the emptiest"
    )]
    scheduler_algorithm: Option<String>,
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true, action = ArgAction::Set, help = "Let tasks use memory up to their memory_max")]
    memory_oversubscription: Option<bool>,
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true, action = ArgAction::Set, help = "Refuse to register jobs")]
    reject_job_registration: Option<bool>,
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true, action = ArgAction::Set, help = "Let evaluations wait")]
    pause_eval_broker: Option<bool>,
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true, action = ArgAction::Set, help = "Let batch jobs preempt")]
    preempt_batch_scheduler: Option<bool>,
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true, action = ArgAction::Set, help = "Let service jobs preempt")]
    preempt_service_scheduler: Option<bool>,
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true, action = ArgAction::Set, help = "Let sysbatch jobs preempt")]
    preempt_sysbatch_scheduler: Option<bool>,
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true, action = ArgAction::Set, help = "Let system jobs preempt")]
    preempt_system_scheduler: Option<bool>,
}

pub(crate) fn run(command: &SchedulerCommand, global: &Global, terminal: Terminal) -> Ended {
    let mut session = Session::open(global, terminal)?;
    match command {
        SchedulerCommand::GetConfig(format) => get(format, &mut session),
        SchedulerCommand::SetConfig(args) => set(args, &mut session),
    }
}

fn get(format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let answer = session.client.get(PATH, &[]);
    let answer = answer.map_err(error("querying scheduler configuration"))?;
    if format.json {
        return session.print_json(&answer);
    }
    let config = answer.at("SchedulerConfig");
    let preemption = config.at("PreemptionConfig");
    let flag = |of: &Value, key: &str| of.flag(key).to_string();
    session.terminal.line(&block(&[
        ("Scheduler Algorithm", config.text("SchedulerAlgorithm").to_owned()),
        ("Memory Oversubscription", flag(config, "MemoryOversubscriptionEnabled")),
        ("Reject Job Registration", flag(config, "RejectJobRegistration")),
        ("Pause Eval Broker", flag(config, "PauseEvalBroker")),
        ("Preemption System Scheduler", flag(preemption, "SystemSchedulerEnabled")),
        ("Preemption Service Scheduler", flag(preemption, "ServiceSchedulerEnabled")),
        ("Preemption Batch Scheduler", flag(preemption, "BatchSchedulerEnabled")),
        ("Preemption SysBatch Scheduler", flag(preemption, "SysBatchSchedulerEnabled")),
        ("Modify Index", config.int("ModifyIndex").to_string()),
    ]));
    Ok(Exit::Done)
}

/// What was not named is as it was read, and must not have changed since.
fn set(args: &SetConfigArgs, session: &mut Session) -> Ended {
    let known = session.client.get(PATH, &[]);
    let known = known.map_err(error("querying scheduler configuration"))?;
    let mut config = known.at("SchedulerConfig").clone();
    let index = args
        .check_index
        .unwrap_or_else(|| u64::try_from(config.int("ModifyIndex")).unwrap_or_default());
    if let Some(name) = &args.scheduler_algorithm {
        config["SchedulerAlgorithm"] = json!(name);
    }
    for (key, value) in [
        ("MemoryOversubscriptionEnabled", args.memory_oversubscription),
        ("RejectJobRegistration", args.reject_job_registration),
        ("PauseEvalBroker", args.pause_eval_broker),
    ] {
        if let Some(value) = value {
            config[key] = json!(value);
        }
    }
    for (key, value) in [
        ("BatchSchedulerEnabled", args.preempt_batch_scheduler),
        ("ServiceSchedulerEnabled", args.preempt_service_scheduler),
        ("SysBatchSchedulerEnabled", args.preempt_sysbatch_scheduler),
        ("SystemSchedulerEnabled", args.preempt_system_scheduler),
    ] {
        if let Some(value) = value {
            config["PreemptionConfig"][key] = json!(value);
        }
    }
    let index = index.to_string();
    let answer = session.client.put(PATH, &[("cas", &index)], &config);
    let answer = answer.map_err(error("updating scheduler configuration"))?;
    if !answer.flag("Updated") {
        return Err(Failure::new(format!(
            "the scheduler configuration was set by another meanwhile, at index {}: look at it with \
             drover operator scheduler get-config, and try again",
            answer.int("Index")
        )));
    }
    session.terminal.line("Scheduler configuration updated!");
    Ok(Exit::Done)
}
