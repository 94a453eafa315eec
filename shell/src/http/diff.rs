//! How two versions of a job differ, in the shape that Nomad's clients print.
//!
//! Both are compared as the API writes them, so that whatever users can write is compared.
//!
//! Invariants
//! - only what differs is listed, and everything that differs;
//! - what only the tables know (status, indexes, times) is no difference.
use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::api::job::Job;
use crate::api::misc::{Diff, FieldDiff, GroupDiff, ObjectDiff, TaskDiff};

/// What is not written by users, or is compared elsewhere.
const APART: [&str; 14] = [
    "ID",
    "ParentID",
    "TaskGroups",
    "Status",
    "StatusDescription",
    "Stable",
    "Version",
    "SubmitTime",
    "CreateIndex",
    "ModifyIndex",
    "JobModifyIndex",
    "NomadTokenID",
    "Tasks",
    "UI",
];
/// Maps whose entries are fields of the object around them.
const FLAT: [&str; 2] = ["Env", "Meta"];
/// What one element of a list is called.
const SINGULAR: [(&str, &str); 7] = [
    ("Constraints", "Constraint"),
    ("Networks", "Network"),
    ("Services", "Service"),
    ("Checks", "Check"),
    ("VolumeMounts", "VolumeMount"),
    ("DynamicPorts", "Dynamic Port"),
    ("ReservedPorts", "Static Port"),
];

/// Fields and objects that differ.
#[derive(Default)]
struct Found {
    fields: Vec<FieldDiff>,
    objects: Vec<ObjectDiff>,
}

/// From `old`, if there was one, to `new`.
pub(super) fn jobs(old: Option<&Job>, new: &Job) -> Diff {
    let (old_json, new_json) = (old.map_or(Json::Null, to_json), to_json(new));
    let found = compare(&old_json, &new_json);
    let groups = pairs(&old_json["TaskGroups"], &new_json["TaskGroups"]);
    let groups: Vec<GroupDiff> = groups.iter().map(|(old, new)| group(old, new)).collect();
    let same = found.is_empty() && groups.iter().all(|group| group.kind == "None");
    Diff {
        kind: kind(&old_json, &new_json, same),
        id: new.id.clone().unwrap_or_default(),
        fields: list(found.fields),
        objects: list(found.objects),
        task_groups: list(groups),
    }
}

fn group(old: &Json, new: &Json) -> GroupDiff {
    let found = compare(old, new);
    let tasks: Vec<TaskDiff> =
        pairs(&old["Tasks"], &new["Tasks"]).iter().map(|(old, new)| task(old, new)).collect();
    let same = found.is_empty() && tasks.iter().all(|task| task.kind == "None");
    GroupDiff {
        kind: kind(old, new, same),
        name: name_of(old, new),
        fields: list(found.fields),
        objects: list(found.objects),
        tasks: list(tasks),
        updates: None,
    }
}

fn task(old: &Json, new: &Json) -> TaskDiff {
    let found = compare(old, new);
    TaskDiff {
        kind: kind(old, new, found.is_empty()),
        name: name_of(old, new),
        fields: list(found.fields),
        objects: list(found.objects),
        annotations: None,
    }
}

impl Found {
    fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.objects.is_empty()
    }

    fn field(&mut self, name: String, old: &Json, new: &Json) {
        if old != new {
            let kind = kind(old, new, false);
            let (old, new) = (text(old), text(new));
            self.fields.push(FieldDiff { kind, name, old, new, annotations: None });
        }
    }

    fn object(&mut self, name: &str, old: &Json, new: &Json, inner: Self) {
        if !inner.is_empty() {
            self.objects.push(ObjectDiff {
                kind: kind(old, new, false),
                name: name.to_owned(),
                fields: list(inner.fields),
                objects: list(inner.objects),
            });
        }
    }

    /// The values of `key` in both objects.
    fn add(&mut self, key: &str, old: &Json, new: &Json) {
        let is = |test: fn(&Json) -> bool| test(old) || test(new);
        if is(Json::is_array) {
            self.elements(key, old, new);
        } else if FLAT.contains(&key) {
            for entry in keys(old, new) {
                self.field(format!("{key}[{entry}]"), &old[&entry], &new[&entry]);
            }
        } else if key == "Volumes" {
            for label in keys(old, new) {
                let (old, new) = (&old[&label], &new[&label]);
                self.object("Volume", old, new, compare(old, new));
            }
        } else if key == "Config" {
            let mut inner = Self::default();
            inner.flatten("", old, new);
            self.object(key, old, new, inner);
        } else if is(Json::is_object) {
            self.object(key, old, new, compare(old, new));
        } else {
            self.field(key.to_owned(), old, new);
        }
    }

    /// Lists: what both have is no difference, wherever it stands.
    fn elements(&mut self, key: &str, old: &Json, new: &Json) {
        let without = |these: &Json, those: &Json| -> Vec<Json> {
            let those = those.as_array().map(Vec::as_slice).unwrap_or_default();
            let these = these.as_array().into_iter().flatten();
            these.filter(|one| !those.contains(one)).cloned().collect()
        };
        let (gone, come) = (without(old, new), without(new, old));
        let is_simple = |list: &[Json]| list.iter().all(|one| !one.is_object());
        if is_simple(&gone) && is_simple(&come) {
            let mut inner = Self::default();
            for one in &gone {
                inner.field(key.to_owned(), one, &Json::Null);
            }
            for one in &come {
                inner.field(key.to_owned(), &Json::Null, one);
            }
            return self.object(key, old, new, inner);
        }
        let name = SINGULAR.iter().find(|(plural, _)| *plural == key).map_or(key, |&(_, one)| one);
        for (old, new) in beside_each_other(gone, come) {
            let mut inner = compare(&old, &new);
            inner.field("Name".to_owned(), &old["Name"], &new["Name"]);
            inner.fields.sort_by(|one, other| one.name.cmp(&other.name));
            self.object(name, &old, &new, inner);
        }
    }

    /// A driver's block: every leaf with the way to it.
    fn flatten(&mut self, path: &str, old: &Json, new: &Json) {
        if old.is_object() || new.is_object() {
            for key in keys(old, new) {
                let dot = if path.is_empty() { "" } else { "." };
                self.flatten(&format!("{path}{dot}{key}"), &old[&key], &new[&key]);
            }
        } else if old.is_array() || new.is_array() {
            let length = |list: &Json| list.as_array().map_or(0, Vec::len);
            for at in 0..length(old).max(length(new)) {
                self.flatten(&format!("{path}[{at}]"), &old[at], &new[at]);
            }
        } else {
            self.field(path.to_owned(), old, new);
        }
    }
}

/// Two objects, key by key. Null is an object without keys.
fn compare(old: &Json, new: &Json) -> Found {
    let mut found = Found::default();
    for key in keys(old, new) {
        // An object's own name says which one it is; it differs only where all is new.
        let is_apart = APART.contains(&key.as_str());
        let is_name =
            key == "Name" && !old["TaskGroups"].is_array() && !new["TaskGroups"].is_array();
        if !is_apart && !is_name {
            found.add(&key, &old[&key], &new[&key]);
        }
    }
    found
}

fn keys(old: &Json, new: &Json) -> BTreeSet<String> {
    let of = |json: &Json| {
        json.as_object().map(Map::keys).into_iter().flatten().cloned().collect::<Vec<_>>()
    };
    of(old).into_iter().chain(of(new)).collect()
}

/// Elements with the same name, beside each other; null where one is missing.
fn pairs(old: &Json, new: &Json) -> Vec<(Json, Json)> {
    let find = |list: &Json, name: &Json| {
        let mut all = list.as_array().into_iter().flatten();
        all.find(|one| one["Name"] == *name).cloned().unwrap_or(Json::Null)
    };
    let new_ones = new.as_array().into_iter().flatten();
    let mut pairs: Vec<(Json, Json)> =
        new_ones.map(|one| (find(old, &one["Name"]), one.clone())).collect();
    for one in old.as_array().into_iter().flatten() {
        if find(new, &one["Name"]).is_null() {
            pairs.push((one.clone(), Json::Null));
        }
    }
    pairs
}

/// Elements of two lists: those of one name, if names tell them apart, or those of one place.
fn beside_each_other(old: Vec<Json>, new: Vec<Json>) -> Vec<(Json, Json)> {
    let are_named = |list: &[Json]| {
        let names: BTreeSet<_> = list.iter().filter_map(|one| one["Name"].as_str()).collect();
        names.len() == list.len()
    };
    if are_named(&old) && are_named(&new) {
        return pairs(&Json::Array(old), &Json::Array(new));
    }
    let at = |list: &[Json], at| list.get(at).cloned().unwrap_or(Json::Null);
    (0..old.len().max(new.len())).map(|nth| (at(&old, nth), at(&new, nth))).collect()
}

fn kind(old: &Json, new: &Json, same: bool) -> &'static str {
    match (old.is_null(), new.is_null()) {
        (true, false) => "Added",
        (false, true) => "Deleted",
        (true, true) | (false, false) => {
            if same {
                "None"
            } else {
                "Edited"
            }
        }
    }
}

fn name_of(old: &Json, new: &Json) -> String {
    let name = new["Name"].as_str().or_else(|| old["Name"].as_str());
    name.unwrap_or_default().to_owned()
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    }
}

fn list<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn to_json(value: &impl Serialize) -> Json {
    serde_json::to_value(value).unwrap_or(Json::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(count: u64, task: &Json) -> Job {
        let group = json!({ "Name": "g", "Count": count, "Tasks": [task] });
        let written =
            json!({ "ID": "web", "Name": "web", "Datacenters": ["dc1"], "TaskGroups": [group] });
        Job::from_json(written).unwrap()
    }

    fn web(args: &Json, env: &Json) -> Json {
        json!({ "Name": "t", "Driver": "raw_exec", "Config": { "args": args }, "Env": env })
    }

    #[test]
    fn what_is_the_same_is_no_difference() {
        let one = job(1, &web(&json!(["a"]), &json!({ "A": "1" })));
        let diff = jobs(Some(&one), &one);
        assert_eq!((diff.kind, diff.fields, diff.objects.is_none()), ("None", None, true));
        assert_eq!(diff.task_groups.unwrap()[0].kind, "None");
    }

    #[test]
    fn a_new_job_is_all_added() {
        let diff = jobs(None, &job(1, &web(&json!(["a"]), &json!(null))));
        let group = &diff.task_groups.as_ref().unwrap()[0];
        assert_eq!((diff.kind, group.kind), ("Added", "Added"));
        let fields: Vec<_> = diff.fields.iter().flatten().map(|f| f.name.as_str()).collect();
        assert_eq!(fields, ["Name"]);
    }

    #[test]
    fn edits_are_found_where_they_are() {
        let old = job(1, &web(&json!(["a", "b"]), &json!({ "A": "1", "B": "2" })));
        let new = job(3, &web(&json!(["a", "c"]), &json!({ "A": "1" })));
        let diff = jobs(Some(&old), &new);
        let group = &diff.task_groups.as_ref().unwrap()[0];
        let count = &group.fields.as_ref().unwrap()[0];
        assert_eq!(
            (count.name.as_str(), count.old.as_str(), count.new.as_str()),
            ("Count", "1", "3")
        );
        let task = &group.tasks.as_ref().unwrap()[0];
        let gone = &task.fields.as_ref().unwrap()[0];
        assert_eq!((gone.name.as_str(), gone.kind), ("Env[B]", "Deleted"));
        let config = &task.objects.as_ref().unwrap()[0];
        let arg = &config.fields.as_ref().unwrap()[0];
        assert_eq!(
            (config.name.as_str(), arg.name.as_str(), arg.kind),
            ("Config", "args[1]", "Edited")
        );
        assert_eq!(diff.kind, "Edited");
    }
}
