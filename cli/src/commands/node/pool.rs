//! `drover node pool`: which nodes belong together, and what runs on them.
//!
//! Invariants
//! - what changes a pool names it in full; what looks at one takes the beginning of its name.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use drover_shell::config::pool as file;
use drover_shell::jobspec::Source;
use serde_json::Value;

use crate::api::Fields as _;
use crate::args::Format;
use crate::client::escaped;
use crate::commands::job::files::write_new;
use crate::commands::job::status::print_jobs;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::{block, table};
use crate::terminal::Terminal;

#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    #[command(about = "List the pools")]
    List(Format),
    #[command(about = "Show a pool")]
    Info(LookArgs),
    #[command(about = "Make a pool, or change it to what its file says")]
    Apply(ApplyArgs),
    #[command(about = "Delete a pool that has neither nodes nor jobs")]
    Delete(DeleteArgs),
    #[command(about = "Write an example file of a pool")]
    Init(InitArgs),
    #[command(about = "List the jobs of a pool")]
    Jobs(LookArgs),
    #[command(about = "List the nodes of a pool")]
    Nodes(LookArgs),
}

#[derive(Args, Debug)]
pub(crate) struct LookArgs {
    #[arg(value_name = "POOL", help = "The pool, or the beginning of its name")]
    pool: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    #[arg(value_name = "FILE", help = "HCL, or JSON as the API takes it; - is standard input")]
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    #[arg(value_name = "POOL", help = "The pool's name in full")]
    pool: String,
}

#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    #[arg(value_name = "FILE", default_value = "pool.nomad.hcl", help = "Where to write it")]
    file: PathBuf,
}

pub(super) fn run(command: &PoolCommand, session: &mut Session) -> Ended {
    match command {
        PoolCommand::List(format) => list(format, session),
        PoolCommand::Info(args) => info(args, session),
        PoolCommand::Apply(args) => apply(args, session),
        PoolCommand::Delete(args) => delete(args, session),
        PoolCommand::Init(args) => init(args, session.terminal),
        PoolCommand::Jobs(args) => jobs(args, session),
        PoolCommand::Nodes(args) => nodes(args, session),
    }
}

fn list(format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let pools = session.client.get("/v1/node/pools", &[]).map_err(error("querying node pools"))?;
    if format.json {
        return session.print_json(&pools);
    }
    session.terminal.line(&rows(pools.items()));
    Ok(Exit::Done)
}

fn rows<'a>(pools: impl IntoIterator<Item = &'a Value>) -> String {
    let row = |pool: &Value| ["Name", "Description"].map(|key| pool.text(key).to_owned()).into();
    let rows: Vec<_> = pools.into_iter().map(row).collect();
    table(&["Name", "Description"], &rows)
}

/// The one pool whose name is, or begins with, what was typed.
fn find(typed: &str, session: &mut Session) -> Result<Value, Failure> {
    let pools = session.client.get("/v1/node/pools", &[("prefix", typed)]);
    let pools = pools.map_err(error("querying node pools"))?;
    let begun = pools.items().iter().filter(|pool| pool.text("Name").starts_with(typed));
    let begun: Vec<&Value> = begun.collect();
    let exact = begun.iter().find(|pool| pool.text("Name") == typed);
    match (exact, &begun[..]) {
        (Some(only), _) | (None, [only]) => Ok((*only).clone()),
        (None, []) => {
            Err(Failure::new(format!("No node pool with the name or prefix \"{typed}\" found")))
        }
        (None, several) => {
            let shown = rows(several.iter().copied());
            Err(Failure::new(format!("Prefix matched multiple node pools\n\n{shown}")))
        }
    }
}

fn info(args: &LookArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let pool = find(&args.pool, session)?;
    if args.format.json {
        return session.print_json(&pool);
    }
    let text = |key: &str| pool.text(key).to_owned();
    let terminal = session.terminal;
    terminal.line(&block(&[("Name", text("Name")), ("Description", text("Description"))]));
    let meta: Vec<_> = pool.entries("Meta");
    let shown = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let meta: Vec<_> = meta.into_iter().map(|(key, value)| (key, shown(value))).collect();
    terminal.section(
        "Metadata",
        &if meta.is_empty() { "No metadata".to_owned() } else { block(&meta) },
    );
    let own = pool.at("SchedulerConfiguration");
    if own.is_object() {
        let memory = own.at("MemoryOversubscriptionEnabled").as_bool();
        let memory = memory.map(|is_on| is_on.to_string());
        let algorithm = own.text("SchedulerAlgorithm");
        let as_all = || "as for the cluster".to_owned();
        let algorithm = if algorithm.is_empty() { as_all() } else { algorithm.to_owned() };
        let pairs = [
            ("Scheduler Algorithm", algorithm),
            ("Memory Oversubscription", memory.unwrap_or_else(as_all)),
        ];
        terminal.section("Scheduler Configuration", &block(&pairs));
    } else {
        terminal.section("Scheduler Configuration", "No scheduler configuration");
    }
    Ok(Exit::Done)
}

fn path(name: &str, rest: &str) -> String {
    format!("/v1/node/pool/{}{rest}", escaped(name))
}

fn apply(args: &ApplyArgs, session: &mut Session) -> Ended {
    let source = if args.file.as_os_str() == "-" {
        let text = std::io::read_to_string(std::io::stdin());
        let text =
            text.map_err(|why| Failure::new(format!("Error reading standard input: {why}")))?;
        Source { file: "<stdin>".to_owned(), text }
    } else {
        Source::read(&args.file).map_err(|found| Failure::new(found.to_string()))?
    };
    let pool = file::read(&source);
    let pool = pool.map_err(|found| Failure::new(format!("Error in the file:\n{found}")))?;
    let body = serde_json::to_value(&pool);
    let body =
        body.map_err(|why| Failure::new(format!("Error writing the pool as JSON: {why}")))?;
    let done = session.client.put(&path(&pool.name, ""), &[], &body);
    done.map_err(error("applying node pool"))?;
    let line = format!("Successfully applied node pool \"{}\"!", pool.name);
    session.terminal.line(&line);
    Ok(Exit::Done)
}

fn delete(args: &DeleteArgs, session: &mut Session) -> Ended {
    let done = session.client.delete(&path(&args.pool, ""), &[]);
    done.map_err(error("deleting node pool"))?;
    session.terminal.line(&format!("Successfully deleted node pool \"{}\"!", args.pool));
    Ok(Exit::Done)
}

fn init(args: &InitArgs, terminal: Terminal) -> Ended {
    write_new(&args.file, file::example())?;
    let line = format!("Example node pool file written to {}", args.file.display());
    terminal.line(&line);
    Ok(Exit::Done)
}

fn jobs(args: &LookArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let pool = find(&args.pool, session)?;
    let jobs = session.client.get(&path(pool.text("Name"), "/jobs"), &[]);
    print_jobs(&jobs.map_err(error("querying jobs"))?, "No jobs", &args.format, session)
}

fn nodes(args: &LookArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let pool = find(&args.pool, session)?;
    let nodes = session.client.get(&path(pool.text("Name"), "/nodes"), &[]);
    let nodes = nodes.map_err(error("querying nodes"))?;
    super::print_nodes(&nodes, "No nodes", super::Allocs::Unasked, &args.format, session)
}
