//! `drover rebalance`: move allocations to nodes that are better for them.
//!
//! Invariants
//! - only `apply` and `stop` change anything;
//! - `apply` ends well only when everything that was to move runs where it moved to.
use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::table;
use crate::watch::{Watch, heading, say};

const PATH: &str = "/v1/operator/rebalance";

#[derive(Debug, Subcommand)]
pub(crate) enum RebalanceCommand {
    #[command(about = "Show which allocations would be better on other nodes")]
    Plan(AskArgs),
    #[command(about = "Move them there, as slowly as their jobs want it, and watch")]
    Apply(ApplyArgs),
    #[command(about = "Show what was to move and has not yet")]
    Status(Format),
    #[command(about = "Leave what has not begun to move where it is")]
    Stop,
}

#[derive(Args, Debug)]
pub(crate) struct AskArgs {
    #[arg(long, value_name = "N", help = "At most so many moves [default: 10]")]
    budget: Option<u64>,
    #[arg(long, value_name = "JOB", help = "Only allocations of this job")]
    job: Option<String>,
    #[arg(long, value_name = "POOL", help = "Only allocations on nodes of this pool")]
    pool: Option<String>,
    #[arg(
        long,
        value_name = "SCORE",
        help = "By how much a score must rise; scores are from -1 to 1 [default: 0.05]"
    )]
    min_gain: Option<f64>,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    ask: AskArgs,
    #[arg(long, help = "Do not watch them move")]
    detach: bool,
}

pub(crate) fn run(command: &RebalanceCommand, session: &mut Session) -> Ended {
    match command {
        RebalanceCommand::Plan(args) => plan(args, session),
        RebalanceCommand::Apply(args) => apply(args, session),
        RebalanceCommand::Status(format) => status(format, session),
        RebalanceCommand::Stop => stop(session),
    }
}

impl AskArgs {
    fn send(&self, what: &str, session: &mut Session) -> Result<Value, Failure> {
        self.format.check()?;
        let body = json!({
            "Budget": self.budget, "MinGain": self.min_gain, "JobID": self.job, "NodePool": self.pool,
        });
        let path = format!("{PATH}/{what}");
        session.client.put(&path, &[], &body).map_err(error("comparing nodes"))
    }
}

fn plan(args: &AskArgs, session: &mut Session) -> Ended {
    let told = args.send("plan", session)?;
    if args.format.json {
        return session.print_json(&told);
    }
    show(session, &told, Ids::of(args.format.verbose));
    Ok(Exit::Done)
}

fn apply(args: &ApplyArgs, session: &mut Session) -> Ended {
    let told = args.ask.send("apply", session)?;
    let format = &args.ask.format;
    if format.json {
        return session.print_json(&told);
    }
    let ids = Ids::of(format.verbose);
    show(session, &told, ids);
    if told.list("Moves").is_empty() || args.detach {
        return Ok(Exit::Done);
    }
    follow(session, told.list("Moves"), ids)
}

fn show(session: &Session, told: &Value, ids: Ids) {
    let (terminal, moves) = (session.terminal, told.list("Moves"));
    if moves.is_empty() {
        terminal.line("Nothing is to be moved");
    } else {
        let header = ["Alloc ID", "Name", "From", "To", "Score", "Gain", "Why"];
        let rows: Vec<_> = moves.iter().map(|one| row(one, ids)).collect();
        terminal.line(&table(&header, &rows));
    }
    let mut notes = Vec::new();
    let mut note = |key: &str, what: &dyn Fn(u64) -> String| {
        let count = told.at(key).as_u64().unwrap_or(0);
        if 0 < count {
            notes.push(format!("{} {}", allocations(count), what(count)));
        }
    };
    let (budget, gain) = (told.int("Budget"), told.at("MinGain").as_f64().unwrap_or(0.0));
    note("MoreMoves", &|_| {
        format!("would be better elsewhere, too, each by itself: the budget of {budget} is spent")
    });
    note("BelowMinGain", &|_| format!("would gain less than {gain}"));
    note("Held", &|_| "stay, because too few others of their groups are healthy".to_owned());
    note("NotCompared", &|_| "were not compared, there are too many: say -job or -pool".to_owned());
    let why = told.entries("NotMovable");
    let why: Vec<String> = why.iter().map(|(why, count)| format!("{count} {why}")).collect();
    if !why.is_empty() {
        notes.push(format!("Not considered: {}", why.join(", ")));
    }
    if !notes.is_empty() {
        terminal.line("");
        notes.iter().for_each(|note| terminal.line(note));
    }
}

fn row(one: &Value, ids: Ids) -> Vec<String> {
    let text = |key: &str| one.text(key).to_owned();
    let number = |key: &str| one.at(key).as_f64().unwrap_or(0.0);
    let why: Vec<&str> = one.list("Why").iter().filter_map(Value::as_str).collect();
    vec![
        ids.show(one.text("AllocID")),
        text("Name"),
        text("FromNodeName"),
        text("ToNodeName"),
        format!("{:.3} -> {:.3}", number("ScoreBefore"), number("ScoreAfter")),
        format!("+{:.3}", number("Gain")),
        why.join(", "),
    ]
}

fn allocations(count: u64) -> String {
    format!("{count} allocation{}", if count == 1 { "" } else { "s" })
}

fn status(format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let told = session.client.get(PATH, &[]).map_err(error("reading what moves"))?;
    if format.json {
        return session.print_json(&told);
    }
    let ids = Ids::of(format.verbose);
    let mut rows = Vec::new();
    for (key, word) in [("Moving", "moves now"), ("Waiting", "waits for its turn")] {
        for id in told.list(key).iter().filter_map(Value::as_str) {
            let alloc = read(session, id)?;
            let text = |key: &str| alloc.text(key).to_owned();
            rows.push(vec![ids.show(id), text("Name"), text("NodeName"), word.to_owned()]);
        }
    }
    session.terminal.line(&if rows.is_empty() {
        "Nothing is to be moved".to_owned()
    } else {
        table(&["Alloc ID", "Name", "Node", "Status"], &rows)
    });
    Ok(Exit::Done)
}

fn stop(session: &mut Session) -> Ended {
    let told = session.client.delete(PATH, &[]).map_err(error("stopping the rebalance"))?;
    let moving = told.list("Moving").len() as u64;
    session.terminal.line(&if moving == 0 {
        "Nothing moves any more".to_owned()
    } else {
        format!("What had not begun to move stays; {} on the way", allocations(moving))
    });
    Ok(Exit::Done)
}

fn read(session: &mut Session, id: &str) -> Result<Value, Failure> {
    let alloc = session.client.get(&format!("/v1/allocation/{id}"), &[]);
    alloc.map_err(error("reading an allocation"))
}

/// How far an allocation has got.
enum Step {
    /// Its turn has not come, or has just come.
    Ordered,
    /// The one with this id takes its place.
    Follows(String),
    Arrived,
    /// It runs where it ran, or what took its place does not run.
    Failed,
}

/// Says what moves until nothing is to be moved any more.
fn follow(session: &mut Session, moves: &[Value], ids: Ids) -> Ended {
    crate::interrupt::say_on_interrupt(
        "\nNot watching any more; the moves go on. See: drover rebalance status".to_owned(),
    );
    heading(session, &format!("Moving {}", allocations(moves.len() as u64)));
    let mut steps: BTreeMap<&str, Step> =
        moves.iter().map(|one| (one.text("AllocID"), Step::Ordered)).collect();
    let mut watch = Watch::new(PATH.to_owned());
    loop {
        let told = watch.look(session).map_err(error("reading what moves"))?;
        let open = told.list("Waiting").iter().chain(told.list("Moving"));
        let open: BTreeSet<&str> = open.filter_map(Value::as_str).collect();
        for one in moves {
            let id = one.text("AllocID");
            let Some(step) = steps.get_mut(id) else { continue };
            if matches!(step, Step::Ordered) && !open.contains(id) {
                *step = leave(session, one, ids)?;
            }
            if let Step::Follows(next) = step {
                let next = next.clone();
                if let Some(end) = arrive(session, one, &next, ids)? {
                    *step = end;
                }
            }
        }
        let count = |is: fn(&Step) -> bool| steps.values().filter(|step| is(step)).count() as u64;
        if count(|step| matches!(step, Step::Ordered | Step::Follows(_))) == 0 {
            let arrived = count(|step| matches!(step, Step::Arrived));
            let rest = moves.len() as u64 - arrived;
            heading(session, &format!("{} moved, {rest} did not", allocations(arrived)));
            return Ok(if rest == 0 { Exit::Done } else { Exit::Unplaced });
        }
    }
}

/// It is not to be moved any more: because it has been, or because it stays.
fn leave(session: &mut Session, one: &Value, ids: Ids) -> Result<Step, Failure> {
    let id = one.text("AllocID");
    let name = format!("Alloc \"{}\" ({})", ids.show(id), one.text("Name"));
    let alloc = read(session, id)?;
    let next = alloc.text("NextAllocation");
    if next.is_empty() {
        let from = one.text("FromNodeName");
        let why = if alloc.text("DesiredStatus") == "run" {
            format!("stays on {from}: no other node is so much better any more")
        } else {
            format!("is stopped: {}", alloc.text("DesiredDescription"))
        };
        say(session, &format!("{name} {why}"));
        return Ok(Step::Failed);
    }
    let successor = read(session, next)?;
    let (from, to) = (one.text("FromNodeName"), successor.text("NodeName"));
    say(session, &format!("{name} goes from {from} to {to}: \"{}\"", ids.show(next)));
    Ok(Step::Follows(next.to_owned()))
}

/// Whether what took its place runs, or has ended.
fn arrive(
    session: &mut Session,
    one: &Value,
    next: &str,
    ids: Ids,
) -> Result<Option<Step>, Failure> {
    let alloc = read(session, next)?;
    let (status, wanted) = (alloc.text("ClientStatus"), alloc.text("DesiredStatus"));
    let name = format!("Alloc \"{}\" ({})", ids.show(next), one.text("Name"));
    if alloc.at("DeploymentStatus").flag("Healthy") {
        say(session, &format!("{name} is healthy on {}", alloc.text("NodeName")));
        return Ok(Some(Step::Arrived));
    }
    let is_ill = alloc.at("DeploymentStatus").at("Healthy").as_bool() == Some(false);
    if is_ill || wanted != "run" || matches!(status, "complete" | "failed" | "lost") {
        let word = if is_ill { "unhealthy" } else { status };
        say(session, &format!("{name} is {word} on {}", alloc.text("NodeName")));
        return Ok(Some(Step::Failed));
    }
    Ok(None)
}
