//! `drover status`: whatever an id belongs to.
//!
//! Invariants
//! - an id that fits several kinds of things touches none of them: all are shown.
use clap::Args;
use serde_json::json;

use super::{alloc, deployment, eval, job, node};
use crate::api::Fields as _;
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Failure, error};

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[arg(
        value_name = "ID",
        help = "A job, allocation, node, evaluation or deployment; all jobs without it"
    )]
    id: Option<String>,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &StatusArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let format = args.format.clone();
    let Some(typed) = &args.id else {
        return job::status::run(&job::status::JobStatusArgs::new(None, format), session);
    };
    let body = json!({ "Prefix": typed, "Context": "all" });
    let answer = session.client.put("/v1/search", &[], &body).map_err(error("searching"))?;
    let matches = answer.entries("Matches");
    let mut found: Vec<_> =
        matches.into_iter().filter(|(_, ids)| !ids.items().is_empty()).collect();
    let exact: Vec<_> = found
        .iter()
        .filter(|(_, ids)| ids.items().iter().any(|id| id.as_str() == Some(typed)))
        .copied()
        .collect();
    if exact.len() == 1 {
        found = exact;
    }
    let id = typed.clone();
    match found[..] {
        [] => Err(Failure::new(format!("Nothing with id or prefix \"{typed}\" found"))),
        [("jobs", _)] => {
            job::status::run(&job::status::JobStatusArgs::new(Some(id), format), session)
        }
        [("allocs", _)] => alloc::status::show(&id, &format, session),
        [("nodes", _)] => node::show(&id, &format, session),
        [("evals", _)] => eval::show(&id, &format, session),
        [("deployment", _)] => deployment::show(&id, &format, session),
        [(kind, _)] => {
            Err(Failure::new(format!("\"{typed}\" is one of the {kind}, which have no status")))
        }
        _ => {
            let mut text = format!("\"{typed}\" fits several kinds of things:\n");
            for (kind, ids) in found {
                let ids: Vec<_> = ids.items().iter().filter_map(|id| id.as_str()).collect();
                text.push_str(&format!("\n{kind}: {}", ids.join(", ")));
            }
            Err(Failure::new(text))
        }
    }
}
