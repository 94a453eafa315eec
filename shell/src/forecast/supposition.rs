//! What may be supposed of a cluster, as people write it.
//!
//! | text | what |
//! |---|---|
//! | `drain NODE` | the node gets nothing more, and what runs there moves |
//! | `lose NODE`, `lose dc=DATACENTER`, `lose class=CLASS`, `lose pool=POOL` | these nodes are down |
//! | `add COUNT like NODE` | so many more nodes of its kind |
//! | `remove job JOB`, `remove job JOB in NAMESPACE` | the job is stopped |
//!
//! A node is meant by its name or by the beginning of its ID.
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use drover_core::fsm::Command;
use drover_core::limits::ROWS_PER_COMMAND_MAX;
use drover_core::state::State;
use drover_core::types::{DrainDeadline, DrainSpec, Node, NodeId, NodeSpec, NodeStatus};

/// What is understood, for whoever wrote something else.
const FORMS: &str = "drain NODE, lose NODE, lose dc=DATACENTER, lose class=CLASS, lose pool=POOL, \
                     add COUNT like NODE, remove job JOB [in NAMESPACE]";
/// Nodes that one supposition adds.
const NODES_MAX: u32 = 10_000;

/// See the module's table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Supposition {
    Drain(String),
    Lose(Which),
    Add { count: u32, like: String },
    Remove { job: String, namespace: String },
}

/// Some of the nodes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Which {
    One(String),
    Datacenter(String),
    Class(String),
    Pool(String),
}

impl fmt::Display for Supposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain(node) => write!(f, "drain {node}"),
            Self::Lose(Which::One(node)) => write!(f, "lose {node}"),
            Self::Lose(Which::Datacenter(name)) => write!(f, "lose dc={name}"),
            Self::Lose(Which::Class(name)) => write!(f, "lose class={name}"),
            Self::Lose(Which::Pool(name)) => write!(f, "lose pool={name}"),
            Self::Add { count, like } => write!(f, "add {count} like {like}"),
            Self::Remove { job, namespace } => write!(f, "remove job {job} in {namespace}"),
        }
    }
}

impl FromStr for Supposition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let owned = |word: &str| word.to_owned();
        Ok(match words[..] {
            ["drain", node] => Self::Drain(owned(node)),
            ["lose", which] => Self::Lose(match which.split_once('=') {
                None => Which::One(owned(which)),
                Some(("dc" | "datacenter", name)) => Which::Datacenter(owned(name)),
                Some(("class", name)) => Which::Class(owned(name)),
                Some(("pool", name)) => Which::Pool(owned(name)),
                Some((other, _)) => {
                    return Err(format!(
                        "{text:?}: nodes have no {other:?} here; there are: {FORMS}"
                    ));
                }
            }),
            ["add", count, "like", node] => {
                let count = count.parse().ok().filter(|count| (1..=NODES_MAX).contains(count));
                let why = || format!("{text:?}: the count is a number from 1 to {NODES_MAX}");
                Self::Add { count: count.ok_or_else(why)?, like: owned(node) }
            }
            ["remove", "job", job] => Self::Remove { job: owned(job), namespace: "default".into() },
            ["remove", "job", job, "in", namespace] => {
                Self::Remove { job: owned(job), namespace: owned(namespace) }
            }
            _ => return Err(format!("{text:?} is not understood; there are: {FORMS}")),
        })
    }
}

impl Supposition {
    /// What would have to be entered for it.
    ///
    /// # Errors
    /// It names what there is not, for whoever wrote it.
    pub(super) fn commands(&self, state: &State) -> Result<Vec<Command>, String> {
        match self {
            Self::Drain(node) => {
                let node = find_node(state, node)?.spec.id;
                let spec = DrainSpec { deadline: DrainDeadline::Force, ignore_system: false };
                let (spec, meta) = (Some(spec), BTreeMap::new());
                Ok(vec![Command::SetNodeDrain { node, spec, mark_eligible: false, meta }])
            }
            Self::Lose(which) => {
                let nodes = which.find(state)?;
                let lost = nodes.chunks(ROWS_PER_COMMAND_MAX).map(|some| Command::SetNodeStatus {
                    nodes: some.to_vec(),
                    status: NodeStatus::Down,
                    reason: self.to_string(),
                });
                Ok(lost.collect())
            }
            Self::Add { count, like } => {
                let like = &find_node(state, like)?.spec;
                Ok((1..=*count).flat_map(|nth| another(state, like, nth)).collect())
            }
            Self::Remove { job, namespace } => {
                if state.job_named(namespace, job).is_none() {
                    return Err(format!("there is no job {job:?} in namespace {namespace:?}"));
                }
                let (namespace, job) = (namespace.clone(), job.clone());
                Ok(vec![Command::DeregisterJob { namespace, job, purge: false }])
            }
        }
    }
}

impl Which {
    fn find(&self, state: &State) -> Result<Vec<NodeId>, String> {
        let of = |is_meant: &dyn Fn(&NodeSpec) -> bool| -> Vec<NodeId> {
            let meant = state.nodes().filter(|node| is_meant(&node.spec));
            let up = meant.filter(|node| node.status != NodeStatus::Down);
            up.map(|node| node.spec.id).collect()
        };
        let (found, what) = match self {
            Self::One(node) => return Ok(vec![find_node(state, node)?.spec.id]),
            Self::Datacenter(name) => (of(&|spec| spec.datacenter == *name), "datacenter"),
            Self::Class(name) => (of(&|spec| spec.class == *name), "class"),
            Self::Pool(name) => (of(&|spec| spec.pool.as_str() == name), "pool"),
        };
        if found.is_empty() {
            return Err(format!("no node that is up is in that {what}: see drover node status"));
        }
        Ok(found)
    }
}

/// The node with that name, or whose ID begins so.
///
/// # Errors
/// There is none, or several, for whoever wrote it.
pub fn find_node<'a>(state: &'a State, written: &str) -> Result<&'a Node, String> {
    let begins = |node: &Node| node.spec.id.uuid().to_string().starts_with(written);
    let named: Vec<&Node> = state.nodes().filter(|node| node.spec.name == written).collect();
    let found =
        if named.is_empty() { state.nodes().filter(|node| begins(node)).collect() } else { named };
    match found[..] {
        [node] => Ok(node),
        [] => Err(format!("there is no node {written:?}: see drover node status")),
        _ => Err(format!("{} nodes are meant by {written:?}: write more of the ID", found.len())),
    }
}

/// One more node of the kind.
fn another(state: &State, like: &NodeSpec, nth: u32) -> [Command; 2] {
    let mut ids =
        (1..).map(|round: u128| NodeId(like.id.0 ^ ((round << 32 | u128::from(nth)) << 48)));
    let free = ids.find(|&id| state.node(id).is_none());
    let id = free.expect("invariant: there are more ids than nodes");
    let spec = NodeSpec { id, name: format!("{}+{nth}", like.name), ..like.clone() };
    let (nodes, reason) = (vec![id], "supposed".to_owned());
    [
        Command::RegisterNode { spec: Arc::new(spec) },
        Command::SetNodeStatus { nodes, status: NodeStatus::Ready, reason },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back_as_it_is_written() {
        for text in [
            "drain n1",
            "lose n1",
            "lose dc=dc1",
            "lose class=big",
            "lose pool=gpu",
            "add 10 like n1",
            "remove job web in default",
        ] {
            assert_eq!(text.parse::<Supposition>().map(|read| read.to_string()), Ok(text.into()));
        }
        let bare: Supposition = "remove job web".parse().expect("a form of its own");
        assert_eq!(bare.to_string(), "remove job web in default");
    }

    #[test]
    fn what_is_not_understood_says_what_is() {
        for text in ["", "drain", "explode n1", "add x like n1", "add 0 like n1", "lose rack=7"] {
            let why = text.parse::<Supposition>().expect_err("nothing of the kind");
            assert!(why.contains("drain NODE") || why.contains("a number from 1"), "{why}");
        }
    }
}
