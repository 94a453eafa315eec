//! Children of a calendar and of dispatches, and another count, on a real agent with real processes.
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Agent, Part, Site, job, text_of, wait_for, wait_until};

fn file_with(site: &Site, name: &str, block: &str, script: &str) -> String {
    let text = job(name, "batch", 1, script).replacen("group ", &format!("{block}\n  group "), 1);
    let path = site.path().join(format!("{name}.nomad.hcl"));
    fs::write(&path, text).expect("the job file can be written");
    path.display().to_string()
}

fn said(agent: &Agent, args: &[&str]) -> String {
    let said = agent.cli(args);
    assert!(said.status.success(), "{args:?}: {}", said.text);
    said.text
}

/// What the file at `path` says, once it says something.
fn written(path: &Path) -> String {
    wait_for("a task has written", || {
        fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
    })
}

fn children(agent: &Agent, parent: &str) -> Vec<Value> {
    let all = agent.get(&format!("/v1/jobs?prefix={parent}/"));
    all.as_array().cloned().unwrap_or_default()
}

#[test]
fn a_calendar_of_seconds_makes_children_and_a_dispatched_one_finds_its_payload() {
    let site = Site::new();
    let mut agent = site.agent("a1", Part::Both, &[]);
    agent.start();
    wait_until("the node is ready", || agent.node_status("a1").as_deref() == Some("ready"));

    let periodic = "periodic {\n    cron = \"* * * * * * *\"\n    time_zone = \"Asia/Tokyo\"\n  }";
    let said_first = said(&agent, &["job", "run", &file_with(&site, "tick", periodic, "true")]);
    assert!(said_first.contains("Approximate next launch time: "), "{said_first}");
    assert!(said_first.contains("(in "), "{said_first}");
    wait_until("three moments had their children", || 3 <= children(&agent, "tick").len());
    let shown = said(&agent, &["job", "status", "tick"]);
    for words in ["Next Periodic Launch", "Children Job Summary", "tick/periodic-"] {
        assert!(shown.contains(words), "{words} in:\n{shown}");
    }
    assert!(said(&agent, &["job", "stop", "tick"]).contains("It makes no more children"));
    let launched: Vec<String> = children(&agent, "tick").iter().map(|c| text_of(c, "ID")).collect();
    let seconds: Vec<u64> = launched
        .iter()
        .map(|id| id.rsplit('-').next().and_then(|s| s.parse().ok()).expect("a second"))
        .collect();
    let whole = seconds.last().zip(seconds.first()).map(|(last, first)| last - first + 1);
    assert_eq!(whole, Some(seconds.len() as u64), "none is missed and none is twice: {launched:?}");

    dispatches(&site, &agent);
    scales(&site, &agent);
    agent.stop();
    agent.assert_replays();
}

fn dispatches(site: &Site, agent: &Agent) {
    let out = site.path().join("out");
    let script = format!(
        "cat $NOMAD_TASK_DIR/in/put > {0}.new && echo \" $NOMAD_META_size\" >> {0}.new && mv {0}.new {0}",
        out.display()
    );
    let rules = "parameterized {\n    payload = \"required\"\n    meta_required = [\"size\"]\n  }";
    let file = file_with(site, "feed", rules, &script);
    let text = fs::read_to_string(&file).expect("it was written");
    let wants = "dispatch_payload {\n        file = \"in/put\"\n      }\n      driver = ";
    fs::write(&file, text.replacen("driver = ", wants, 1)).expect("it can be written");
    said(agent, &["job", "run", &file]);

    let refused = agent.cli(&["job", "dispatch", "feed"]);
    assert!(refused.text.contains("must be dispatched with a payload"), "{}", refused.text);
    let input = site.path().join("input");
    fs::write(&input, "hello").expect("it can be written");
    let input = input.display().to_string();
    let token = ["-idempotency-token", "t1"];
    let ask = ["job", "dispatch", "-meta", "size=7", token[0], token[1], "feed", &input];
    let first = said(agent, &ask);
    assert!(first.contains("finished with status \"complete\""), "{first}");
    assert_eq!(written(&out), "hello 7\n");
    said(agent, &ask);
    let made = children(agent, "feed");
    assert_eq!(made.len(), 1, "a token is one child: {made:?}");
    let child = text_of(&made[0], "ID");
    let whole = agent.get(&format!("/v1/job/{child}"));
    assert_eq!((&whole["ParentID"], &whole["Payload"]), (&"feed".into(), &"aGVsbG8=".into()));
    let shown = said(agent, &["job", "status", "feed"]);
    assert!(shown.contains("Required Metadata = size"), "{shown}");
    assert!(shown.contains(&child), "{shown}");
}

fn scales(site: &Site, agent: &Agent) {
    let text = job("web", "service", 1, "exec sleep 1000")
        .replacen("count", "scaling {\n      min = 1\n      max = 3\n    }\n    count", 1)
        .replacen(
            "restart {",
            "update {\n      min_healthy_time = \"100ms\"\n    }\n    restart {",
            1,
        );
    let path = site.write("web.nomad.hcl", &text).display().to_string();
    said(agent, &["job", "run", &path]);
    let refused = agent.cli(&["job", "scale", "web", "4"]);
    assert!(refused.text.contains("more than the group's scaling.max, 3"), "{}", refused.text);
    said(agent, &["job", "scale", "-message", "more visitors", "web", "2"]);
    assert_eq!(agent.count("web", "running"), 2);
    let events = said(agent, &["job", "scaling-events", "web"]);
    assert!(events.contains("more visitors"), "{events}");
    let shown = agent.get("/v1/job/web/scale");
    assert_eq!(shown["TaskGroups"].as_object().expect("groups").len(), 1);
}
