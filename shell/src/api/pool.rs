//! Node pools, as Nomad's clients write and expect them.
//!
//! Invariants
//! - a pool that was read and is written back unchanged is the same pool.
use std::collections::BTreeMap;

use drover_core::types::{Algorithm, NodePool, PoolName, PoolScheduler, PoolSpec};
use serde::{Deserialize, Serialize};

use super::scheduler::{algorithm, algorithm_word};
use super::some;

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Pool {
    pub name: String,
    pub description: String,
    pub meta: Option<BTreeMap<String, String>>,
    pub scheduler_configuration: Option<Scheduling>,
    pub create_index: Option<u64>,
    pub modify_index: Option<u64>,
}

/// What is otherwise than for the whole cluster.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Scheduling {
    /// Empty: as for the whole cluster.
    pub scheduler_algorithm: String,
    pub memory_oversubscription_enabled: Option<bool>,
}

impl Pool {
    #[must_use]
    pub fn of(pool: &NodePool) -> Self {
        let PoolSpec { name, description, meta, scheduler } = &pool.spec;
        let word = |algorithm: Algorithm| algorithm_word(algorithm).to_owned();
        let scheduling = Scheduling {
            scheduler_algorithm: scheduler.algorithm.map(word).unwrap_or_default(),
            memory_oversubscription_enabled: scheduler.memory_oversubscription,
        };
        Self {
            name: name.to_string(),
            description: description.clone(),
            meta: some(meta),
            scheduler_configuration: (*scheduler != PoolScheduler::default()).then_some(scheduling),
            create_index: Some(pool.create_index.0),
            modify_index: Some(pool.modify_index.0),
        }
    }

    /// What is asked for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn converted(self) -> Result<PoolSpec, String> {
        let asked = self.scheduler_configuration.unwrap_or_default();
        let word = Some(asked.scheduler_algorithm).filter(|word| !word.is_empty());
        let name = PoolName::of(&self.name);
        name.check().map_err(|why| format!("Name: {why}"))?;
        Ok(PoolSpec {
            name,
            description: self.description,
            meta: self.meta.unwrap_or_default(),
            scheduler: PoolScheduler {
                algorithm: word.map(|word| algorithm(&word)).transpose()?,
                memory_oversubscription: asked.memory_oversubscription_enabled,
            },
        })
    }
}
