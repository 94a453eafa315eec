//! The command line as users of Nomad type it: one dash or two before long flags.
//!
//! Invariants
//! - what stands behind `--` is not touched;
//! - a value is never taken for a flag unless it begins with a dash and a letter.
use std::ffi::{OsStr, OsString};

use clap::{Args, Parser, Subcommand};

use crate::commands::{agent, alloc, completions, deployment, eval, job, monitor, node, operator};
use crate::commands::{rebalance, rehearse, replay, server, sim, status, system, tls};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    an error; job plan: the job would start or stop something
  2    job run: not everything could be placed (a deployment that fails is an error); rebalance apply: not everything moved; replay, rehearse: something was found
  255  job plan: an error
  130  interrupted while watching (what was submitted goes on)

Environment (flags win; NOMAD_* is read where DROVER_* is not set):
  DROVER_ADDR       the agent to ask, default http://127.0.0.1:4646
  DROVER_TOKEN      the token to show
  DROVER_NAMESPACE  the namespace to work in
  DROVER_REGION     the region to work in
  NO_COLOR          no colours

Long flags may have one dash or two: -detach is --detach.";

/// Run jobs on a cluster of machines.
#[derive(Debug, Parser)]
#[command(name = "drover", after_help = EXIT_CODES, disable_version_flag = true, max_term_width = 100)]
#[command(disable_help_subcommand = true, infer_subcommands = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Global {
    /// The agent to ask, as in http://127.0.0.1:4646
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) address: Option<String>,
    #[arg(long, global = true, value_name = "NAME", help = "The region to work in")]
    pub(crate) region: Option<String>,
    #[arg(long, global = true, value_name = "NAME", help = "The namespace to work in")]
    pub(crate) namespace: Option<String>,
    #[arg(long, global = true, value_name = "SECRET", help = "The token to show")]
    pub(crate) token: Option<String>,
    #[arg(long, global = true, help = "No colours")]
    pub(crate) no_color: bool,
}

/// How an answer is printed.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Format {
    #[arg(long, help = "Print the API's JSON")]
    pub(crate) json: bool,
    #[arg(short = 't', value_name = "TEMPLATE", help = "Not supported yet: use -json")]
    pub(crate) template: Option<String>,
    #[arg(long, help = "Print more, and ids in full")]
    pub(crate) verbose: bool,
}

/// What needs no agent stands here, so that a wrong address does not stop it.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(about = "Run an agent: a server, a client, or both")]
    Agent(agent::AgentArgs),
    #[command(flatten)]
    Remote(Remote),
    #[command(about = "Write an example job file (job init)")]
    Init(job::files::InitArgs),
    #[command(about = "Print the version")]
    Version,
    #[command(about = "Print completions for a shell")]
    Completions(completions::CompletionsArgs),
    #[command(subcommand, about = "Make certificates")]
    Tls(tls::TlsCommand),
    #[command(subcommand, about = "Look after the cluster")]
    Operator(operator::OperatorCommand),
    #[command(subcommand, about = "Simulate clusters and hunt for faults")]
    Sim(sim::SimCommand),
    #[command(about = "Step through the recorded inputs of an agent")]
    Replay(replay::ReplayArgs),
    #[command(about = "Say what this version would decide otherwise than a recorded one")]
    Rehearse(rehearse::RehearseArgs),
}

/// What asks an agent.
#[derive(Debug, Subcommand)]
pub(crate) enum Remote {
    #[command(subcommand, about = "Run, plan, inspect and stop jobs")]
    Job(job::JobCommand),
    #[command(about = "Run a job, or change it to what its file says (job run)")]
    Run(job::run::RunArgs),
    #[command(about = "Show what running a job would do (job plan)")]
    Plan(job::plan::PlanArgs),
    #[command(about = "Stop a job (job stop)")]
    Stop(job::stop::StopArgs),
    #[command(about = "Check a job file (job validate)")]
    Validate(job::files::ValidateArgs),
    #[command(about = "Print a job as JSON (job inspect)")]
    Inspect(job::files::InspectArgs),
    #[command(about = "Print what a task writes (alloc logs)")]
    Logs(alloc::logs::LogsArgs),
    #[command(about = "Show whatever an id belongs to, or all jobs")]
    Status(status::StatusArgs),
    #[command(subcommand, about = "Look at nodes, and keep work off them")]
    Node(node::NodeCommand),
    #[command(subcommand, about = "Look into allocations, stop and restart them")]
    Alloc(alloc::AllocCommand),
    #[command(subcommand, about = "Look at evaluations")]
    Eval(eval::EvalCommand),
    #[command(subcommand, about = "Watch and steer new versions on their way")]
    Deployment(deployment::DeploymentCommand),
    #[command(subcommand, about = "Move allocations to better nodes")]
    Rebalance(rebalance::RebalanceCommand),
    #[command(subcommand, about = "Look at servers")]
    Server(server::ServerCommand),
    #[command(about = "Follow an agent's log")]
    Monitor(monitor::MonitorArgs),
    #[command(subcommand, about = "Clean up")]
    System(system::SystemCommand),
}

/// `argv` as clap wants it: `-detach` becomes `--detach`, `-json=true` becomes `--json`.
pub(crate) fn normalised(argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut out = Vec::new();
    let mut literal = false;
    for (at, arg) in argv.into_iter().enumerate() {
        if literal || at == 0 {
            out.push(arg);
            continue;
        }
        literal = arg == "--";
        match arg.to_str() {
            Some("-v" | "-version" | "--version") if at == 1 => out.push("version".into()),
            Some("-help" | "-?") => out.push("--help".into()),
            Some(text) => out.extend(flag(text)),
            None => out.push(arg),
        }
    }
    out
}

/// Whether `argv` asks for `job plan`, whose errors have a code of their own, even if it is not
/// well-formed.
pub(crate) fn is_plan(argv: &[OsString]) -> bool {
    let words: Vec<_> = argv.iter().skip(1).take(2).filter_map(|word| word.to_str()).collect();
    matches!(words[..], ["plan", ..] | ["job", "plan"])
}

/// Flags that are on by default have another name for off.
const OFF: [(&str, &str); 1] = [("diff", "--no-diff")];

/// Flags that change what is kept: switched off is not the same as not said.
const SAID: [&str; 8] = [
    "cleanup-dead-servers",
    "memory-oversubscription",
    "pause-eval-broker",
    "preempt-batch-scheduler",
    "preempt-service-scheduler",
    "preempt-sysbatch-scheduler",
    "preempt-system-scheduler",
    "reject-job-registration",
];

/// One argument; a flag that is switched off is left out.
fn flag(text: &str) -> Option<OsString> {
    let Some(name) = text.strip_prefix('-') else { return Some(text.into()) };
    let name = name.strip_prefix('-').unwrap_or(name);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Some(text.into());
    }
    let (word, value) = match name.split_once('=') {
        Some((word, "true")) => (word, None),
        Some((word, "false")) if SAID.contains(&word) => (word, Some("false")),
        Some((word, "false")) => {
            return OFF.iter().find(|(on, _)| *on == word).map(|(_, off)| (*off).into());
        }
        Some((word, value)) => (word, Some(value)),
        None => (name, None),
    };
    let dashes = if word.len() == 1 { "-" } else { "--" };
    let mut whole = OsString::from(dashes);
    whole.push(word);
    if let Some(value) = value {
        whole.push(OsStr::new("="));
        whole.push(value);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn words(line: &str) -> String {
        let argv = line.split(' ').map(OsString::from);
        let out = normalised(argv).into_iter().map(|arg| arg.into_string().expect("text"));
        out.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_dash_before_a_long_flag_becomes_two() {
        for (typed, meant) in [
            ("drover job run -detach x.hcl", "drover job run --detach x.hcl"),
            ("drover job plan -diff=false x", "drover job plan --no-diff x"),
            ("drover x -pause-eval-broker=false", "drover x --pause-eval-broker=false"),
            ("drover x -pause-eval-broker=true", "drover x --pause-eval-broker"),
            ("drover run -check-index=5 -", "drover run --check-index=5 -"),
            ("drover alloc logs -f -n 5 ab", "drover alloc logs -f -n 5 ab"),
            ("drover run -var a=-b -var-file v", "drover run --var a=-b --var-file v"),
            ("drover status --json", "drover status --json"),
            ("drover stop -purge=true -yes=false x", "drover stop --purge x"),
            ("drover plan -diff=false f", "drover plan --no-diff f"),
            ("drover run -var=x=true f", "drover run --var=x=true f"),
            ("drover x -- -json", "drover x -- -json"),
            ("drover alloc logs -c -5", "drover alloc logs -c -5"),
            ("drover -version", "drover version"),
            ("drover job -help", "drover job --help"),
        ] {
            assert_eq!(words(typed), meant);
        }
    }

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }
}
