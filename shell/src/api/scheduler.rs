//! The scheduler's configuration, as Nomad's clients write and expect it.
//!
//! Invariants
//! - what is not written is as Nomad has it.
use drover_core::types::{Algorithm, ConfigRow, Preemption, SchedulerConfig};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Configuration {
    pub scheduler_algorithm: Option<String>,
    pub preemption_config: Option<Preempting>,
    pub memory_oversubscription_enabled: Option<bool>,
    pub reject_job_registration: Option<bool>,
    pub pause_eval_broker: Option<bool>,
    pub create_index: Option<u64>,
    pub modify_index: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Preempting {
    pub system_scheduler_enabled: bool,
    #[serde(rename = "SysBatchSchedulerEnabled")]
    pub sysbatch_scheduler_enabled: bool,
    pub batch_scheduler_enabled: bool,
    pub service_scheduler_enabled: bool,
}

impl Configuration {
    #[must_use]
    pub fn of(row: &ConfigRow<SchedulerConfig>) -> Self {
        let SchedulerConfig { preemption, .. } = row.config;
        let algorithm = algorithm_word(row.config.algorithm);
        Self {
            scheduler_algorithm: Some(algorithm.to_owned()),
            preemption_config: Some(Preempting {
                system_scheduler_enabled: preemption.system,
                sysbatch_scheduler_enabled: preemption.sysbatch,
                batch_scheduler_enabled: preemption.batch,
                service_scheduler_enabled: preemption.service,
            }),
            memory_oversubscription_enabled: Some(row.config.memory_oversubscription),
            reject_job_registration: Some(row.config.reject_job_registration),
            pause_eval_broker: Some(row.config.pause_eval_broker),
            // Nomad's clients take zero for a cluster without a configuration.
            create_index: Some(row.create_index.0.max(1)),
            modify_index: Some(row.modify_index.0.max(1)),
        }
    }

    /// The configuration; what is not said is switched off.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn converted(&self) -> Result<SchedulerConfig, String> {
        let algorithm = match self.scheduler_algorithm.as_deref() {
            None | Some("") => Algorithm::default(),
            Some(word) => algorithm(word)?,
        };
        let asked = self.preemption_config.unwrap_or_default();
        Ok(SchedulerConfig {
            algorithm,
            preemption: Preemption {
                system: asked.system_scheduler_enabled,
                sysbatch: asked.sysbatch_scheduler_enabled,
                batch: asked.batch_scheduler_enabled,
                service: asked.service_scheduler_enabled,
            },
            memory_oversubscription: self.memory_oversubscription_enabled.unwrap_or_default(),
            reject_job_registration: self.reject_job_registration.unwrap_or_default(),
            pause_eval_broker: self.pause_eval_broker.unwrap_or_default(),
        })
    }
}

/// How an algorithm is called.
pub(super) const fn algorithm_word(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Pack => "pack",
        Algorithm::BinPack => "binpack",
        Algorithm::Spread => "spread",
    }
}

/// The algorithm that is called so.
pub(super) fn algorithm(word: &str) -> Result<Algorithm, String> {
    match word {
        "pack" => Ok(Algorithm::Pack),
        "binpack" => Ok(Algorithm::BinPack),
        "spread" => Ok(Algorithm::Spread),
        other => Err(format!(
            "SchedulerAlgorithm: there is no \"{other}\"; it is \"pack\", \"binpack\" or \"spread\""
        )),
    }
}
