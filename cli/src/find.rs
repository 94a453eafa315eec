//! From what was typed to the one thing that was meant: ids by any unique prefix.
//!
//! Invariants
//! - an exact id is never ambiguous;
//! - when several things are meant, all of them are shown and none is touched.
use serde_json::Value;

use crate::api::{Fields as _, Ids};
use crate::client::escaped;
use crate::commands::Session;
use crate::failure::{Failure, error};
use crate::table::table;

/// Shorter prefixes are more likely slips than ids.
const PREFIX_CHARS_MIN: usize = 2;

/// A kind of thing with ids.
struct Kind {
    path: &'static str,
    one: &'static str,
    many: &'static str,
    /// The command that lists them all.
    listed_by: Option<&'static str>,
    header: &'static [&'static str],
    row: fn(&Value) -> Vec<String>,
}

const JOBS: Kind = Kind {
    path: "/v1/jobs",
    one: "job",
    many: "jobs",
    listed_by: Some("drover job status"),
    header: &["ID", "Type", "Priority", "Status"],
    row: |job| {
        let priority = job.int("Priority").to_string();
        vec![job.text("ID").into(), job.text("Type").into(), priority, job.text("Status").into()]
    },
};

const NODES: Kind = Kind {
    path: "/v1/nodes",
    one: "node",
    many: "nodes",
    listed_by: Some("drover node status"),
    header: &["ID", "DC", "Name", "Status"],
    row: |node| ["ID", "Datacenter", "Name", "Status"].map(|key| node.text(key).into()).into(),
};

const ALLOCS: Kind = Kind {
    path: "/v1/allocations",
    one: "allocation",
    many: "allocations",
    listed_by: None,
    header: &["ID", "Name", "Desired", "Status"],
    row: |alloc| {
        ["ID", "Name", "DesiredStatus", "ClientStatus"].map(|key| alloc.text(key).into()).into()
    },
};

const EVALS: Kind = Kind {
    path: "/v1/evaluations",
    one: "evaluation",
    many: "evaluations",
    listed_by: Some("drover eval list"),
    header: &["ID", "Triggered By", "Job ID", "Status"],
    row: |eval| ["ID", "TriggeredBy", "JobID", "Status"].map(|key| eval.text(key).into()).into(),
};

const DEPLOYMENTS: Kind = Kind {
    path: "/v1/deployments",
    one: "deployment",
    many: "deployments",
    listed_by: Some("drover deployment list"),
    header: &["ID", "Job ID", "Job Version", "Status"],
    row: |one| {
        let version = one.int("JobVersion").to_string();
        vec![one.text("ID").into(), one.text("JobID").into(), version, one.text("Status").into()]
    },
};

/// A job as the list shows it, and whether its id was typed in full.
pub(crate) struct FoundJob {
    pub(crate) id: String,
    pub(crate) namespace: String,
    pub(crate) exact: bool,
}

impl FoundJob {
    /// Where the job is, with `rest` behind it.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/job/{}{rest}", escaped(&self.id))
    }
}

impl Session {
    /// The job that `typed` begins the id of.
    pub(crate) fn find_job(&mut self, typed: &str) -> Result<FoundJob, Failure> {
        let row = self.find(&JOBS, typed, typed)?;
        let id = row.text("ID").to_owned();
        let exact = id == typed;
        let namespace = row.text("Namespace");
        let namespace = if namespace.is_empty() { "default" } else { namespace }.to_owned();
        Ok(FoundJob { id, namespace, exact })
    }

    /// The whole node.
    pub(crate) fn find_node(&mut self, typed: &str) -> Result<Value, Failure> {
        let row = self.find_uuid(&NODES, typed)?;
        let path = format!("/v1/node/{}", row.text("ID"));
        self.client.get(&path, &[]).map_err(error("querying node info"))
    }

    /// The whole allocation.
    pub(crate) fn find_alloc(&mut self, typed: &str) -> Result<Value, Failure> {
        let row = self.find_uuid(&ALLOCS, typed)?;
        let path = format!("/v1/allocation/{}", row.text("ID"));
        let namespace = Some(("namespace", row.text("Namespace"))).filter(|(_, of)| !of.is_empty());
        let query: Vec<_> = namespace.into_iter().collect();
        self.client.get(&path, &query).map_err(error("querying allocation"))
    }

    /// The whole evaluation.
    pub(crate) fn find_eval(&mut self, typed: &str) -> Result<Value, Failure> {
        let row = self.find_uuid(&EVALS, typed)?;
        let path = format!("/v1/evaluation/{}", row.text("ID"));
        self.client.get(&path, &[]).map_err(error("querying evaluation"))
    }

    /// The whole deployment.
    pub(crate) fn find_deployment(&mut self, typed: &str) -> Result<Value, Failure> {
        self.find_uuid(&DEPLOYMENTS, typed)
    }

    fn find_uuid(&mut self, kind: &Kind, typed: &str) -> Result<Value, Failure> {
        if typed.chars().count() < PREFIX_CHARS_MIN {
            return Err(Failure::new("Identifier must contain at least two characters."));
        }
        // Servers read prefixes of ids as bytes: an odd digit at the end is compared here instead.
        let digits = typed.chars().filter(|c| *c != '-').count();
        let cut = if digits % 2 == 1 { typed.len() - 1 } else { typed.len() };
        let asked = if typed.is_ascii() { &typed[..cut] } else { typed };
        self.find(kind, typed, asked)
    }

    fn find(&mut self, kind: &Kind, typed: &str, asked: &str) -> Result<Value, Failure> {
        let what = format!("querying {}", kind.one);
        let json = self.client.get(kind.path, &[("prefix", asked)]).map_err(error(&what))?;
        let mut found: Vec<_> =
            json.items().iter().filter(|row| row.text("ID").starts_with(typed)).collect();
        if let Some(exact) = found.iter().find(|row| row.text("ID") == typed) {
            return Ok((*exact).clone());
        }
        found.sort_by_key(|row| row.text("ID"));
        match found[..] {
            [only] => Ok(only.clone()),
            [] => {
                let one = kind.one;
                let lists =
                    kind.listed_by.map(|command| format!(": {command} lists the {}", kind.many));
                let lists = lists.unwrap_or_default();
                Err(Failure::new(format!("No {one}(s) with prefix or id \"{typed}\" found{lists}")))
            }
            _ => {
                let rows: Vec<_> = found.iter().map(|row| (kind.row)(row)).collect();
                let shown = table(kind.header, &rows);
                Err(Failure::new(format!("Prefix matched multiple {}\n\n{shown}", kind.many)))
            }
        }
    }
}

/// The rows of a table of allocations.
pub(crate) fn alloc_rows(allocs: &[Value], verbose: bool, now_ns: i64) -> String {
    let ids = Ids::of(verbose);
    let mut sorted: Vec<_> = allocs.iter().collect();
    sorted.sort_by_key(|alloc| (-alloc.int("CreateIndex"), alloc.text("ID")));
    let when = |ns: i64| {
        if verbose { crate::time::stamp(ns) } else { crate::time::ago(ns, now_ns) }
    };
    let row = |alloc: &&Value| {
        let mut row = vec![ids.show(alloc.text("ID"))];
        if verbose {
            row.push(alloc.text("EvalID").to_owned());
        }
        row.push(ids.show(alloc.text("NodeID")));
        if verbose {
            row.push(alloc.text("NodeName").to_owned());
        }
        row.extend([alloc.text("TaskGroup").to_owned(), alloc.int("JobVersion").to_string()]);
        row.extend(["DesiredStatus", "ClientStatus"].map(|key| alloc.text(key).to_owned()));
        row.extend([when(alloc.int("CreateTime")), when(alloc.int("ModifyTime"))]);
        row
    };
    let rows: Vec<_> = sorted.iter().map(row).collect();
    let header: &[&str] = if verbose {
        &[
            "ID",
            "Eval ID",
            "Node ID",
            "Node Name",
            "Task Group",
            "Version",
            "Desired",
            "Status",
            "Created",
            "Modified",
        ]
    } else {
        &["ID", "Node ID", "Task Group", "Version", "Desired", "Status", "Created", "Modified"]
    };
    table(header, &rows)
}
