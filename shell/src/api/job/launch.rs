//! `periodic`, `parameterized`, `dispatch_payload` and `scaling` in the API, in both directions.
//!
//! Invariants
//! - what is written is what was read: a zone's name, and not the table that it became.
use std::collections::BTreeSet;

use drover_core::types::{
    Child, Launch, Made, Parameterized, PayloadRule, Periodic as Calendar, Scaling,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::to_spec::Conversion;
use super::{Job, TaskGroup};
use crate::jobspec::zones;

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Periodic {
    pub enabled: Option<bool>,
    /// The one expression, where there is one.
    pub spec: Option<String>,
    pub specs: Option<Vec<String>>,
    pub spec_type: Option<String>,
    pub prohibit_overlap: Option<bool>,
    pub time_zone: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ParameterizedJob {
    pub payload: Option<String>,
    pub meta_required: Option<Vec<String>>,
    pub meta_optional: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DispatchPayload {
    pub file: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScalingPolicy {
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub enabled: Option<bool>,
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    pub policy: Json,
}

const PAYLOAD_RULES: [(&str, PayloadRule); 3] = [
    ("optional", PayloadRule::Optional),
    ("required", PayloadRule::Required),
    ("forbidden", PayloadRule::Forbidden),
];

impl Conversion {
    pub(super) fn launch(&mut self, job: &Job) -> Launch {
        if let Some(parent) = job.parent_id.as_ref().filter(|parent| !parent.is_empty()) {
            let why =
                format!("only its parent makes a child: dispatch or force \"{parent}\" instead");
            self.wrong("parent_id", why);
        } else if job.dispatched == Some(true)
            || job.payload.as_ref().is_some_and(|p| !p.is_empty())
        {
            self.wrong("payload", "a payload comes with a dispatch: drover job dispatch JOB FILE");
        }
        match (&job.periodic, &job.parameterized_job) {
            (None, None) => Launch::AtOnce,
            (Some(periodic), None) => Launch::Periodic(self.calendar(periodic)),
            (None, Some(rules)) => Launch::Parameterized(self.rules(rules)),
            (Some(_), Some(rules)) => {
                let why = "a job is launched by its calendar or by dispatch, not by both: make two \
                           jobs of it";
                self.wrong("periodic", why);
                Launch::Parameterized(self.rules(rules))
            }
        }
    }

    fn calendar(&mut self, given: &Periodic) -> Calendar {
        let one = given.spec.iter().filter(|text| !text.is_empty());
        let many = given.specs.iter().flatten();
        let crons: Vec<String> = one.chain(many).cloned().collect();
        if given.specs.as_ref().is_some_and(|many| !many.is_empty())
            && given.spec.as_ref().is_some_and(|one| !one.is_empty())
        {
            self.wrong("periodic.cron", "give either cron or crons: drop one of them");
        }
        let known = given.spec_type.as_deref().unwrap_or("cron");
        if !matches!(known, "" | "cron") {
            self.wrong("periodic.spec_type", format!("\"{known}\" is not known: use \"cron\""));
        }
        let time_zone = given.time_zone.clone().filter(|zone| !zone.is_empty());
        let time_zone = time_zone.unwrap_or_else(|| "UTC".to_owned());
        let zone = zones::shifts(&time_zone).unwrap_or_else(|why| {
            self.wrong("periodic.time_zone", why);
            Vec::new()
        });
        Calendar {
            crons,
            overlap_prohibited: given.prohibit_overlap.unwrap_or(false),
            time_zone,
            enabled: given.enabled.unwrap_or(true),
            zone,
        }
    }

    fn rules(&mut self, given: &ParameterizedJob) -> Parameterized {
        let field = "parameterized.payload";
        let set = |list: &Option<Vec<String>>| -> BTreeSet<String> {
            list.iter().flatten().cloned().collect()
        };
        let (payload, usual) = (given.payload.as_ref(), PayloadRule::Optional);
        Parameterized {
            payload: self.word(field, payload, &PAYLOAD_RULES, usual),
            meta_required: set(&given.meta_required),
            meta_optional: set(&given.meta_optional),
        }
    }

    pub(super) fn scaling(&mut self, path: &str, group: &TaskGroup) -> Option<Scaling> {
        let given = group.scaling.as_ref()?;
        let path = format!("{path}.scaling");
        let kind = given.kind.as_deref().unwrap_or_default();
        if !matches!(kind, "" | "horizontal") {
            let why =
                format!("\"{kind}\" is not known: a group scales by its count, \"horizontal\"");
            self.wrong(format!("{path}.type"), why);
        }
        if given.max.is_none() {
            self.wrong(format!("{path}.max"), "say how many allocs the group may have at most");
        }
        let usual = self.number(&format!("{path}.min"), group.count, 1);
        Some(Scaling {
            min: self.number(&format!("{path}.min"), given.min, usual),
            max: self.number(&format!("{path}.max"), given.max, usual),
            enabled: given.enabled.unwrap_or(true),
            policy_json: if given.policy.is_null() {
                String::new()
            } else {
                given.policy.to_string()
            },
        })
    }
}

impl Periodic {
    pub(super) fn of(launch: &Launch) -> Option<Self> {
        let Launch::Periodic(calendar) = launch else { return None };
        let (spec, specs) = match &calendar.crons[..] {
            [one] => (one.clone(), None),
            many => (String::new(), Some(many.to_vec())),
        };
        Some(Self {
            enabled: Some(calendar.enabled),
            spec: Some(spec),
            specs,
            spec_type: Some("cron".to_owned()),
            prohibit_overlap: Some(calendar.overlap_prohibited),
            time_zone: Some(calendar.time_zone.clone()),
        })
    }
}

impl ParameterizedJob {
    pub(super) fn of(launch: &Launch) -> Option<Self> {
        let Launch::Parameterized(rules) = launch else { return None };
        let list = |set: &BTreeSet<String>| {
            (!set.is_empty()).then(|| set.iter().cloned().collect::<Vec<_>>())
        };
        let word = PAYLOAD_RULES.iter().find(|(_, rule)| *rule == rules.payload);
        Some(Self {
            payload: word.map(|(word, _)| (*word).to_owned()),
            meta_required: list(&rules.meta_required),
            meta_optional: list(&rules.meta_optional),
        })
    }
}

impl DispatchPayload {
    pub(super) fn of(file: &str) -> Option<Self> {
        (!file.is_empty()).then(|| Self { file: Some(file.to_owned()) })
    }
}

impl ScalingPolicy {
    pub(super) fn of(scaling: &Scaling) -> Self {
        Self {
            min: Some(i64::from(scaling.min)),
            max: Some(i64::from(scaling.max)),
            enabled: Some(scaling.enabled),
            kind: Some("horizontal".to_owned()),
            // It was written from JSON.
            policy: serde_json::from_str(&scaling.policy_json).unwrap_or(Json::Null),
        }
    }
}

impl Job {
    /// The same, with what made it.
    #[must_use]
    pub fn with_child(mut self, child: Option<&Child>) -> Self {
        use base64::Engine as _;
        let Some(child) = child else { return self };
        self.parent_id = Some(child.parent.clone());
        if let Made::Dispatched { payload, token } = &child.made {
            self.dispatched = Some(true);
            let shown = base64::engine::general_purpose::STANDARD.encode(payload);
            self.payload = (!payload.is_empty()).then_some(shown);
            self.dispatch_idempotency_token = (!token.is_empty()).then(|| token.clone());
        }
        self
    }
}
