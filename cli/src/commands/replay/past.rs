//! `drover replay DIR --at WHEN -- COMMAND`: a command of the program, answered as of then.
//!
//! Invariants
//! - only commands that read are run, and only the replayed agent is asked.
use std::ffi::OsString;
use std::net::Ipv4Addr;

use clap::Parser as _;
use drover_shell::api::time::{rfc3339, unix_ns};
use drover_shell::http::past::Past;
use drover_sim::replay::Until;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::files::Files;
use super::{GUARD, ReplayArgs, quietly};
use crate::args::{self, Cli, Command, Remote};
use crate::commands::{
    self, Ended, Exit, alloc, deployment, job, node, operator, rebalance, server,
};
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::time;

pub(super) fn run(files: &Files, args: &ReplayArgs, terminal: Terminal) -> Ended {
    let argv = std::iter::once(OsString::from("drover")).chain(args.command.iter().cloned());
    let mut inner = match Cli::try_parse_from(args::normalised(argv)) {
        Ok(inner) => inner,
        Err(told) => {
            drop(told.print());
            return Ok(if told.use_stderr() { Exit::Failed } else { Exit::Done });
        }
    };
    check(&inner.command)?;
    let until = args.at.within(files, terminal)?;
    let reached = quietly(|| until.reach(files, GUARD));
    let tape = reached.map_err(|fault| Failure::new(fault.to_string()))?;
    let past = Past::of(tape.agent()).ok_or_else(|| {
        Failure::new(
            "at that moment this agent held no state of the cluster: it is only a client, or had not \
             booted yet. Replay a server's log, or name a later moment",
        )
    })?;
    let wall = tape.wall().unwrap_or_default();
    // Ages are counted from the moment that was asked about.
    let now = match until {
        Until::Time(at) => at,
        Until::End | Until::Input(_) | Until::Index(_) => wall,
    };
    terminal.complain(&format!("As of {}, input {}:", rfc3339(wall), tape.inputs()));
    drop(tape);
    let (runtime, address) = serve(past)?;
    time::pretend_now(unix_ns(now));
    inner.global.address = Some(address);
    let ended = commands::run(&inner.command, &inner.global, terminal);
    runtime.shutdown_background();
    ended
}

/// Answers on a port of this machine that the kernel picks.
fn serve(past: Past) -> Result<(Runtime, String), Failure> {
    let failed = |fault: std::io::Error| Failure::new(format!("cannot serve the replay: {fault}"));
    let runtime =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(failed)?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).map_err(failed)?;
    let address = format!("http://{}", listener.local_addr().map_err(failed)?);
    let _ends_with_the_runtime = runtime.spawn(past.serve(listener, std::future::pending()));
    Ok((runtime, address))
}

const WRITES: &str = "changes the cluster, and what is past cannot be changed: run it without \
                      `drover replay DIR --`";
const ELSEWHERE: &str = "asks for what is not in an input log (output and files of tasks, logs of \
                         agents): look at the node itself";
const APART: &str = "asks no cluster: run it by itself";

/// Whether the past has an answer to the command.
fn check(command: &Command) -> Result<(), Failure> {
    let why = match command {
        Command::Remote(remote) => match remote {
            Remote::Job(command) => match command {
                job::JobCommand::Run(_)
                | job::JobCommand::Stop(_)
                | job::JobCommand::Revert(_)
                | job::JobCommand::Promote(_)
                | job::JobCommand::Dispatch(_)
                | job::JobCommand::Periodic(_)
                | job::JobCommand::Scale(_) => WRITES,
                job::JobCommand::Init(_) => APART,
                job::JobCommand::Plan(_)
                | job::JobCommand::Explain(_)
                | job::JobCommand::History(_)
                | job::JobCommand::Deployments(_)
                | job::JobCommand::Status(_)
                | job::JobCommand::Inspect(_)
                | job::JobCommand::ScalingEvents(_)
                | job::JobCommand::Validate(_) => return Ok(()),
            },
            Remote::Node(command) => match command {
                node::NodeCommand::Status(_) => return Ok(()),
                node::NodeCommand::Eligibility(_) | node::NodeCommand::Drain(_) => WRITES,
                // It is signed, and no replay holds the key.
                node::NodeCommand::Intro(node::IntroCommand::Create(_)) => ELSEWHERE,
                node::NodeCommand::Meta(command) => match command {
                    node::MetaCommand::Apply(_) => WRITES,
                    node::MetaCommand::Read(_) => ELSEWHERE,
                },
                node::NodeCommand::Pool(command) => match command {
                    node::PoolCommand::List(_)
                    | node::PoolCommand::Info(_)
                    | node::PoolCommand::Jobs(_)
                    | node::PoolCommand::Nodes(_) => return Ok(()),
                    node::PoolCommand::Apply(_) | node::PoolCommand::Delete(_) => WRITES,
                    node::PoolCommand::Init(_) => APART,
                },
            },
            Remote::Rebalance(command) => match command {
                rebalance::RebalanceCommand::Plan(_) | rebalance::RebalanceCommand::Status(_) => {
                    return Ok(());
                }
                rebalance::RebalanceCommand::Apply(_) | rebalance::RebalanceCommand::Stop => WRITES,
            },
            Remote::Alloc(command) => match command {
                alloc::AllocCommand::Status(_) | alloc::AllocCommand::Explain(_) => return Ok(()),
                alloc::AllocCommand::Logs(_) | alloc::AllocCommand::Fs(_) => ELSEWHERE,
                alloc::AllocCommand::Stop(_)
                | alloc::AllocCommand::Restart(_)
                | alloc::AllocCommand::Signal(_) => WRITES,
            },
            Remote::Deployment(command) => match command {
                deployment::DeploymentCommand::List(_)
                | deployment::DeploymentCommand::Status(_) => return Ok(()),
                deployment::DeploymentCommand::Promote(_)
                | deployment::DeploymentCommand::Pause(_)
                | deployment::DeploymentCommand::Resume(_)
                | deployment::DeploymentCommand::Fail(_) => WRITES,
            },
            Remote::Run(_) | Remote::Stop(_) | Remote::System(_) => WRITES,
            Remote::Logs(_) | Remote::Monitor(_) => ELSEWHERE,
            Remote::Plan(_)
            | Remote::Validate(_)
            | Remote::Inspect(_)
            | Remote::Status(_)
            | Remote::Eval(_)
            | Remote::Server(server::ServerCommand::Members(_)) => return Ok(()),
            Remote::Server(
                server::ServerCommand::Join(_) | server::ServerCommand::ForceLeave(_),
            ) => WRITES,
        },
        Command::Operator(command) => match of_operator(command) {
            Some(why) => why,
            None => return Ok(()),
        },
        Command::Agent(_)
        | Command::Init(_)
        | Command::Version
        | Command::Completions(_)
        | Command::Tls(_)
        | Command::Sim(_)
        | Command::Rehearse(_)
        | Command::Replay(_) => APART,
    };
    Err(Failure::new(format!("This command {why}")))
}

/// Why the past has no answer to it.
const fn of_operator(command: &operator::OperatorCommand) -> Option<&'static str> {
    Some(match command {
        operator::OperatorCommand::Raft(command) => match command {
            operator::raft::RaftCommand::ListPeers(_) | operator::raft::RaftCommand::Info(_) => {
                return None;
            }
            operator::raft::RaftCommand::RemovePeer(_)
            | operator::raft::RaftCommand::TransferLeadership(_)
            | operator::raft::RaftCommand::Recover(_) => WRITES,
        },
        operator::OperatorCommand::Autopilot(command) => match command {
            operator::autopilot::AutopilotCommand::GetConfig(_) => return None,
            // It is a matter of the moment, not of the tables.
            operator::autopilot::AutopilotCommand::Health(_) => ELSEWHERE,
            operator::autopilot::AutopilotCommand::SetConfig(_) => WRITES,
        },
        operator::OperatorCommand::Scheduler(command) => match command {
            operator::scheduler::SchedulerCommand::GetConfig(_) => return None,
            operator::scheduler::SchedulerCommand::SetConfig(_) => WRITES,
        },
        operator::OperatorCommand::Snapshot(command) => match command {
            operator::snapshot::SnapshotCommand::Save(_) => return None,
            operator::snapshot::SnapshotCommand::Inspect(_) => APART,
            operator::snapshot::SnapshotCommand::Restore(_) => WRITES,
        },
    })
}
