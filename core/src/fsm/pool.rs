//! Node pools: made, described, deleted.
//!
//! Invariants
//! - the pool of each node and of each job that is not stopped exists;
//! - nothing changes what is built in.
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Outcome, invalid, not_found};
use crate::api::Rejection;
use crate::limits::{POOL_DESCRIPTION_BYTES_MAX, POOL_META_BYTES_MAX};
use crate::state::State;
use crate::state::txn::Txn;
use crate::types::{Index, JobSpec, NodePool, PoolName, PoolSpec};

/// How many of those that are in the way of a deletion are named.
const NAMED_MAX: usize = 5;

pub(super) fn upsert(txn: &mut Txn<'_>, spec: &PoolSpec) -> Result<Outcome, Rejection> {
    check(spec)?;
    if txn.state().made_pool(spec.name.as_str()).is_none_or(|known| known.spec != *spec) {
        put(txn, spec.clone());
    }
    Ok(Outcome::DONE)
}

fn check(spec: &PoolSpec) -> Result<(), Rejection> {
    let PoolSpec { name, description, meta, scheduler: _ } = spec;
    name.check().map_err(|why| invalid("Name", why))?;
    if name.is_built_in() {
        return Err(invalid("Name", &format!("pool \"{name}\" is built in and stays as it is")));
    }
    if POOL_DESCRIPTION_BYTES_MAX < description.len() {
        let why = format!("a description has at most {POOL_DESCRIPTION_BYTES_MAX} bytes");
        return Err(invalid("Description", &why));
    }
    let bytes: usize = meta.iter().map(|(key, value)| key.len() + value.len()).sum();
    if POOL_META_BYTES_MAX < bytes {
        let why = format!("keys and values have at most {POOL_META_BYTES_MAX} bytes together");
        return Err(invalid("Meta", &why));
    }
    Ok(())
}

fn put(txn: &mut Txn<'_>, spec: PoolSpec) {
    txn.put_pool(NodePool { spec, create_index: Index(0), modify_index: Index(0) });
}

/// A node registers with it: the first one makes it.
pub(super) fn join(txn: &mut Txn<'_>, pool: &PoolName) -> Result<(), Rejection> {
    pool.check_of_node().map_err(|why| invalid("node_pool", why))?;
    if !txn.state().has_pool(pool) {
        put(txn, PoolSpec { name: pool.clone(), ..PoolSpec::default() });
    }
    Ok(())
}

/// A job that is to run names a pool that exists.
pub(super) fn check_job(state: &State, spec: &JobSpec) -> Result<(), Rejection> {
    let pool = &spec.node_pool;
    if state.has_pool(pool) {
        return Ok(());
    }
    if let Err(why) = pool.check() {
        return Err(invalid("node_pool", why));
    }
    let why = format!(
        "there is no pool \"{pool}\": make it by drover node pool apply, or by a node that \
         registers with it"
    );
    Err(invalid("node_pool", &why))
}

pub(super) fn delete(txn: &mut Txn<'_>, pool: &PoolName) -> Result<Outcome, Rejection> {
    let state = txn.state();
    if pool.is_built_in() {
        return Err(invalid("Name", &format!("pool \"{pool}\" is built in and stays")));
    }
    state.made_pool(pool.as_str()).ok_or_else(|| not_found("node pool"))?;
    let nodes = state.nodes().filter(|node| node.spec.pool == *pool);
    let nodes: Vec<&str> = nodes.map(|node| node.spec.name.as_str()).collect();
    if !nodes.is_empty() {
        let why = format!("pool \"{pool}\" has nodes: {}", listed(&nodes));
        return Err(invalid("Name", &why));
    }
    let jobs = state.jobs().filter(|job| !job.stopped && job.newest().spec.node_pool == *pool);
    let jobs: Vec<&str> = jobs.map(|job| job.newest().spec.id.as_str()).collect();
    if !jobs.is_empty() {
        let why = format!("pool \"{pool}\" has jobs that are not stopped: {}", listed(&jobs));
        return Err(invalid("Name", &why));
    }
    txn.remove_pool(pool);
    Ok(Outcome::DONE)
}

fn listed(names: &[&str]) -> String {
    let shown = names.len().min(NAMED_MAX);
    let more = names.len() - shown;
    let list = names[..shown].join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}
