//! `after`: read, refused, and written again.
use drover_core::types::{Gate, Until};
use drover_shell::jobspec::Diagnostic;

use super::*;

/// Two groups, each with something in it.
fn groups(kind: &str, api: &str, cache: &str) -> String {
    let task = "task \"t\" {\n driver = \"raw_exec\"\n }";
    format!(
        "job \"shop\" {{\n type = \"{kind}\"\n group \"api\" {{\n{api}\n{task}\n }}\n group \
         \"cache\" {{\n{cache}\n{task}\n }}\n}}\n"
    )
}

fn gate(job: Option<&str>, group: Option<&str>, until: Option<Until>) -> Gate {
    Gate { job: job.map(str::to_owned), group: group.map(str::to_owned), until }
}

/// The findings of a job file, with their lines.
fn found(text: &str) -> Vec<Diagnostic> {
    jobspec::parse(&source(text), &inputs()).expect_err("something is wrong with it").list
}

#[test]
fn gates_are_read_and_written_again() {
    let text = "job \"shop\" {\n after {\n job = \"db\"\n }\n after {\n job = \"load\"\n group = \
                \"etl\"\n until = \"complete\"\n }\n group \"api\" {\n after {\n group = \"cache\"\n \
                until = \"healthy\"\n }\n after {\n job = \"shop\"\n group = \"cache\"\n }\n task \
                \"t\" {\n driver = \"raw_exec\"\n }\n }\n group \"cache\" {\n task \"t\" {\n driver = \
                \"raw_exec\"\n }\n }\n}";
    let spec = read(text);
    let load = gate(Some("load"), Some("etl"), Some(Until::Complete));
    assert_eq!(spec.after, [gate(Some("db"), None, None), load]);
    // A group of the same job is one, whichever way it is named: children of the job have other names.
    let cache = |until| gate(None, Some("cache"), until);
    assert_eq!(spec.groups[0].after, [cache(Some(Until::Healthy)), cache(None)]);
    let json = serde_json::to_value(Job::of(&spec, &Row::default())).expect("it can be written");
    let wanted = serde_json::json!({ "Job": "load", "Group": "etl", "Until": "complete" });
    assert_eq!(json["After"][1], wanted);
    assert_eq!(json["TaskGroups"][0]["After"][1]["Group"], "cache");
    assert!(json["TaskGroups"][1].get("After").is_none(), "Nomad has no such key");
    let again = jobspec::parse_json(json.to_string().as_bytes()).expect("it is read again");
    assert_eq!(again.spec, spec);
}

#[test]
fn gates_that_make_no_sense_are_refused_with_their_place() {
    let refused = |text: &str, line: usize, words: &str| {
        let list = found(text);
        let hit = list.iter().find(|one| one.message.contains(words));
        let hit = hit.unwrap_or_else(|| panic!("wanted {words:?} in {list:?}"));
        assert_eq!(hit.line, line, "{hit:?}");
    };
    let api = |inside: &str| groups("service", &format!("after {{\n{inside}\n}}"), "");
    refused(&api(""), 4, "names what is waited for: job = \"db\"");
    refused(
        &api("job = \"db\"\nuntil = \"done\""),
        6,
        "\"done\" is none of \"healthy\", \"complete\"",
    );
    refused(&api("group = \"cash\""), 5, "this job has no group \"cash\"; did you mean \"cache\"?");
    refused(&api("group = \"x\""), 5, "its groups are api, cache");
    refused(&api("group = \"api\""), 5, "nothing of it would ever begin: api waits for api");
    refused(&api("job = \"shop\""), 5, "a job does not wait for itself");
    refused(&api("group = \"cache\"\nuntil = \"complete\""), 6, "is never complete");
    refused(&api("when = \"now\""), 5, "`when` is not known in `after`");
    let round = groups("service", "after {\ngroup = \"cache\"\n}", "after {\ngroup = \"api\"\n}");
    refused(&round, 5, "nothing of it would ever begin: api waits for cache waits for api");
    refused(
        "job \"shop\" {\nafter {\ngroup = \"api\"\n}\ngroup \"api\" {\n}\n}",
        3,
        "put `after` into the groups that wait",
    );
    let many = "after {\njob = \"db\"\n}\n".repeat(17);
    refused(&groups("service", &many, ""), 3, "17 are more than 16");
    // A batch does complete.
    let batch = groups("batch", "after {\ngroup = \"cache\"\nuntil = \"complete\"\n}", "");
    assert_eq!(read(&batch).groups[0].after[0].until, Some(Until::Complete));
}

#[test]
fn the_api_hears_the_same() {
    let spec = read(&groups("service", "", ""));
    let mut json =
        serde_json::to_value(Job::of(&spec, &Row::default())).expect("it can be written");
    json["TaskGroups"][0]["After"] = serde_json::json!([{ "Group": "none" }]);
    let problems = jobspec::parse_json(json.to_string().as_bytes()).expect_err("no such group");
    assert_eq!(problems[0].field, "group[api].after[0].group");
    assert!(problems[0].why.contains("its groups are api, cache"), "{}", problems[0]);
}
