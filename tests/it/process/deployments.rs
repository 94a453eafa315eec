//! New versions on their way, on real agents with real processes.
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::rig::{Agent, Part, Site, job, text_of, wait_until};

/// A job of two, with canaries that are judged soon and a way back.
fn job_file(site: &Site, script: &str, update: &str) -> PathBuf {
    let update = format!(
        "update {{\n      max_parallel = 2\n      min_healthy_time = \"300ms\"\n      \
         healthy_deadline = \"1m\"\n      auto_revert = true\n      {update}\n    }}\n    restart {{"
    );
    let text = job("web", "service", 2, script).replacen("restart {", &update, 1);
    let path = site.path().join("web.nomad.hcl");
    fs::write(&path, text).expect("the job file can be written");
    path
}

const PATIENT: &str = "progress_deadline = \"2m\"";
const STRICT: &str = "progress_deadline = \"0s\"\n      canary = 1";
const BY_HAND: &str = "progress_deadline = \"2m\"\n      canary = 1";

fn run(agent: &Agent, file: &std::path::Path) -> crate::rig::Said {
    agent.cli(&["job", "run", &file.display().to_string()])
}

/// The running allocs, by version.
fn running(agent: &Agent) -> Vec<(u64, String)> {
    let list = agent.look("/v1/job/web/allocations").unwrap_or_default();
    let all = list.as_array().into_iter().flatten();
    let live = all.filter(|alloc| {
        text_of(alloc, "DesiredStatus") == "run" && text_of(alloc, "ClientStatus") == "running"
    });
    let of =
        |alloc: &Value| (alloc["JobVersion"].as_u64().expect("a version"), text_of(alloc, "ID"));
    let mut live: Vec<_> = live.map(of).collect();
    live.sort();
    live
}

#[test]
fn a_canary_that_fails_takes_the_job_back_to_the_version_that_was_healthy() {
    let site = Site::new();
    let mut agent = site.agent("a1", Part::Both, &[]);
    agent.start();
    wait_until("the node is ready", || agent.node_status("a1").as_deref() == Some("ready"));

    let said = run(&agent, &job_file(&site, "exec sleep 1000", PATIENT));
    assert!(said.status.success(), "{}", said.text);
    assert!(said.text.contains("finished with status \"successful\""), "{}", said.text);
    let first = running(&agent);
    assert_eq!(first.len(), 2);

    let said = run(&agent, &job_file(&site, "exit 1", STRICT));
    assert_eq!(said.status.code(), Some(1), "{}", said.text);
    let why = "Failed due to unhealthy allocations - rolling back to job version 0";
    assert!(said.text.contains(why), "{}", said.text);

    let versions = agent.get("/v1/job/web/versions");
    let of = |key: &str| -> Vec<Value> {
        let all = versions["Versions"].as_array().into_iter().flatten();
        all.map(|version| version[key].clone()).collect()
    };
    assert_eq!(of("Version"), [2, 1, 0], "{versions:#}");
    assert_eq!(of("Stable"), [true, false, true], "{versions:#}");
    let now = running(&agent);
    let expected: Vec<_> = first.into_iter().map(|(_, id)| (2, id)).collect();
    assert_eq!(now, expected, "what ran all the time runs on, under another number");
    let deployments = agent.get("/v1/job/web/deployments");
    let statuses: Vec<_> =
        deployments.as_array().into_iter().flatten().map(|one| text_of(one, "Status")).collect();
    assert_eq!(statuses, ["successful", "failed", "successful"]);
    agent.stop();
    agent.assert_replays();
}

#[test]
fn a_canary_waits_for_its_promotion_and_an_operator_goes_back() {
    let site = Site::new();
    let mut agent = site.agent("a1", Part::Both, &[]);
    agent.start();
    wait_until("the node is ready", || agent.node_status("a1").as_deref() == Some("ready"));
    let said = run(&agent, &job_file(&site, "exec sleep 1000", PATIENT));
    assert!(said.status.success(), "{}", said.text);

    agent.run(&job_file(&site, "exec sleep 2000", BY_HAND));
    wait_until("the canary is healthy", || {
        let newest = agent.look("/v1/job/web/deployment").unwrap_or_default();
        newest["JobVersion"] == 1 && newest["TaskGroups"]["g"]["HealthyAllocs"] == 1
    });
    assert_eq!(running(&agent).iter().filter(|(version, _)| *version == 0).count(), 2);
    let status = agent.cli(&["job", "status", "web"]).text;
    assert!(status.contains("running but requires manual promotion"), "{status}");
    let said = agent.cli(&["job", "promote", "web"]);
    assert!(said.status.success(), "{}", said.text);
    assert!(said.text.contains("finished with status \"successful\""), "{}", said.text);
    wait_until("only the new version runs", || {
        let live = running(&agent);
        live.len() == 2 && live.iter().all(|(version, _)| *version == 1)
    });

    let said = agent.cli(&["job", "revert", "web", "0"]);
    assert!(said.status.success(), "{}", said.text);
    let history = agent.cli(&["job", "history", "web"]).text;
    assert!(history.contains("Version     = 2"), "{history}");
    let listed = agent.cli(&["deployment", "list"]).text;
    assert_eq!(listed.lines().count(), 4, "{listed}");
}
