//! The commands: one file each, and this file sends each to its own.
//!
//! Invariants
//! - a command says what it did by its exit, and why it could not by a failure; nothing else ends
//!   the program.
use serde_json::Value;

use crate::address::Target;
use crate::args::{Command, Format, Global, Remote};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

pub(crate) mod agent;
pub(crate) mod alloc;
pub(crate) mod completions;
pub(crate) mod deployment;
pub(crate) mod eval;
pub(crate) mod job;
pub(crate) mod monitor;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod rebalance;
pub(crate) mod rehearse;
pub(crate) mod replay;
pub(crate) mod server;
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod system;
pub(crate) mod tls;
pub(crate) mod version;

/// How a command ends.
pub(crate) type Ended = Result<Exit, Failure>;

/// What every command works with.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) terminal: Terminal,
}

impl Session {
    /// A session with the agent that flags and environment name; connects only when asked something.
    pub(crate) fn open(global: &Global, terminal: Terminal) -> Result<Self, Failure> {
        let target = Target::resolve(global, |name| std::env::var(name))?;
        Ok(Self { client: Client::new(target), terminal })
    }

    /// Prints `json` for programs.
    pub(crate) fn print_json(&self, json: &Value) -> Ended {
        self.terminal.line(&format!("{json:#}"));
        Ok(Exit::Done)
    }
}

impl Format {
    /// Refuses what is not there yet, before anything is asked.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.template.is_some() {
            return Err(Failure::new("-t is not supported yet: use -json, for example with jq"));
        }
        Ok(())
    }
}

/// The exit of a failure of `command`: `job plan` has its own.
pub(crate) const fn exit_of_failure(command: &Command) -> Exit {
    let plans =
        matches!(command, Command::Remote(Remote::Plan(_) | Remote::Job(job::JobCommand::Plan(_))));
    if plans { Exit::Unplanned } else { Exit::Failed }
}

/// Does what the command line says.
pub(crate) fn run(command: &Command, global: &Global, terminal: Terminal) -> Ended {
    match command {
        Command::Agent(args) => agent::run(args, global),
        Command::Init(args) => job::files::init(args, terminal),
        Command::Version => version::run(terminal),
        Command::Completions(args) => completions::run(args, terminal),
        Command::Tls(command) => tls::run(command, global, terminal),
        Command::Operator(command) => operator::run(command, global, terminal),
        Command::Sim(command) => sim::run(command, terminal),
        Command::Replay(args) => replay::run(args, terminal),
        Command::Rehearse(args) => rehearse::run(args, terminal),
        Command::Remote(command) => remote(command, &mut Session::open(global, terminal)?),
    }
}

/// The commands that ask an agent.
fn remote(command: &Remote, session: &mut Session) -> Ended {
    match command {
        Remote::Job(command) => job::run(command, session),
        Remote::Run(args) => job::run::run(args, session),
        Remote::Plan(args) => job::plan::run(args, session),
        Remote::Stop(args) => job::stop::run(args, session),
        Remote::Validate(args) => job::files::validate(args, session),
        Remote::Inspect(args) => job::files::inspect(args, session),
        Remote::Logs(args) => alloc::logs::run(args, session),
        Remote::Status(args) => status::run(args, session),
        Remote::Node(command) => node::run(command, session),
        Remote::Alloc(command) => alloc::run(command, session),
        Remote::Eval(command) => eval::run(command, session),
        Remote::Deployment(command) => deployment::run(command, session),
        Remote::Rebalance(command) => rebalance::run(command, session),
        Remote::Server(command) => server::run(command, session),
        Remote::Monitor(args) => monitor::run(args, session),
        Remote::System(command) => system::run(command, session),
    }
}
