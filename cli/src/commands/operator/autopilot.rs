//! `drover operator autopilot`: who is to vote, and how well the servers are.
use clap::{ArgAction, Args, Subcommand};
use serde_json::{Value, json};

use crate::api::Fields as _;
use crate::args::{Format, Global};

use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, Refusal, error};
use crate::table::{block, table};
use crate::terminal::Terminal;

const PATH: &str = "/v1/operator/autopilot/configuration";

#[derive(Debug, Subcommand)]
pub(crate) enum AutopilotCommand {
    #[command(about = "Show how the leader cares for who votes")]
    GetConfig(Format),
    #[command(about = "Change how the leader cares for who votes; what is not named stays")]
    SetConfig(SetConfigArgs),
    #[command(about = "Show how well the servers are; exits with 2 if not all are")]
    Health(Format),
}

#[derive(Args, Debug)]
pub(crate) struct SetConfigArgs {
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true, action = ArgAction::Set, help = "Voters that failed go when others take their place")]
    cleanup_dead_servers: Option<bool>,
    #[arg(
        long,
        value_name = "DURATION",
        help = "Nobody is healthy whose last answer is older, as in 200ms"
    )]
    last_contact_threshold: Option<String>,
    #[arg(long, value_name = "N", help = "Nobody is healthy whose log is so many entries behind")]
    max_trailing_logs: Option<u64>,
    #[arg(long, value_name = "N", help = "Fewer voters are never left by cleaning up")]
    min_quorum: Option<u32>,
    #[arg(
        long,
        value_name = "DURATION",
        help = "How long a new server is healthy before it votes, as in 10s"
    )]
    server_stabilization_time: Option<String>,
}

pub(crate) fn run(command: &AutopilotCommand, global: &Global, terminal: Terminal) -> Ended {
    let mut session = Session::open(global, terminal)?;
    match command {
        AutopilotCommand::GetConfig(format) => get(format, &mut session),
        AutopilotCommand::SetConfig(args) => set(args, &mut session),
        AutopilotCommand::Health(format) => health(format, &mut session),
    }
}

fn get(format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let answer = session.client.get(PATH, &[]);
    let config = answer.map_err(error("querying Autopilot configuration"))?;
    if format.json {
        return session.print_json(&config);
    }
    session.terminal.line(&block(&[
        ("CleanupDeadServers", config.flag("CleanupDeadServers").to_string()),
        ("LastContactThreshold", config.text("LastContactThreshold").to_owned()),
        ("MaxTrailingLogs", config.int("MaxTrailingLogs").to_string()),
        ("MinQuorum", config.int("MinQuorum").to_string()),
        ("ServerStabilizationTime", config.text("ServerStabilizationTime").to_owned()),
    ]));
    Ok(Exit::Done)
}

/// What was not named is as it was read, and must not have changed since.
fn set(args: &SetConfigArgs, session: &mut Session) -> Ended {
    let known = session.client.get(PATH, &[]);
    let mut config = known.map_err(error("querying Autopilot configuration"))?;
    let named = [
        ("CleanupDeadServers", args.cleanup_dead_servers.map(|on| json!(on))),
        ("LastContactThreshold", args.last_contact_threshold.as_ref().map(|text| json!(text))),
        ("MaxTrailingLogs", args.max_trailing_logs.map(|count| json!(count))),
        ("MinQuorum", args.min_quorum.map(|count| json!(count))),
        (
            "ServerStabilizationTime",
            args.server_stabilization_time.as_ref().map(|text| json!(text)),
        ),
    ];
    if named.iter().all(|(_, value)| value.is_none()) {
        return Err(Failure::new("nothing is to be changed: name what is, as in -min-quorum=3"));
    }
    for (key, value) in named {
        if let Some(value) = value {
            config[key] = value;
        }
    }
    let index = config.int("ModifyIndex").to_string();
    let answer = session.client.put(PATH, &[("cas", &index)], &config);
    if answer.map_err(error("setting Autopilot configuration"))? != json!(true) {
        return Err(Failure::new(
            "the Autopilot configuration was set by another meanwhile: look at it with drover \
             operator autopilot get-config, and try again",
        ));
    }
    session.terminal.line("Configuration updated!");
    Ok(Exit::Done)
}

fn health(format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let health = match session.client.get("/v1/operator/autopilot/health", &[]) {
        // That is how it is said that not all are well.
        Err(Refusal::Status { code: 429, text }) => serde_json::from_str(&text)
            .map_err(|why| Failure::new(format!("the agent's answer is not JSON: {why}")))?,
        other => other.map_err(error("querying Autopilot health"))?,
    };
    let is_well = health.flag("Healthy");
    let exit = if is_well { Exit::Done } else { Exit::Found };
    if format.json {
        session.print_json(&health)?;
        return Ok(exit);
    }
    session.terminal.line(&block(&[
        ("Healthy", is_well.to_string()),
        ("Failure Tolerance", health.int("FailureTolerance").to_string()),
    ]));
    let header = [
        "ID",
        "Name",
        "Address",
        "SerfStatus",
        "Version",
        "Leader",
        "Voter",
        "Healthy",
        "LastContact",
        "LastIndex",
        "StableSince",
    ];
    let row = |server: &Value| {
        let flag = |key: &str| server.flag(key).to_string();
        let text = |key: &str| server.text(key).to_owned();
        vec![
            text("ID"),
            text("Name"),
            text("Address"),
            text("SerfStatus"),
            text("Version"),
            flag("Leader"),
            flag("Voter"),
            flag("Healthy"),
            Some(text("LastContact")).filter(|text| !text.is_empty()).unwrap_or("never".to_owned()),
            server.int("LastIndex").to_string(),
            if server.flag("Healthy") { text("StableSince") } else { "-".to_owned() },
        ]
    };
    let rows: Vec<Vec<String>> = health.list("Servers").iter().map(row).collect();
    session.terminal.section("Servers", &table(&header, &rows));
    Ok(exit)
}
