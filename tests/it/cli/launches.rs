//! Jobs that make children, and other counts, on the command line.
use std::fs;

use crate::server::{EVAL, Server};

const PARENTS: &str =
    r#"[{"ID":"feed","Namespace":"default"},{"ID":"tick","Namespace":"default"}]"#;

#[test]
fn a_dispatch_sends_payload_meta_and_token_and_prints_the_child() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("input");
    fs::write(&file, "hello").expect("it can be written");
    let answer =
        format!(r#"{{"DispatchedJobID":"feed/dispatch-night-7-a1b2c3d4","EvalID":"{EVAL}"}}"#);
    let server = Server::with(&[
        ("GET /v1/jobs", 200, PARENTS),
        ("PUT /v1/job/feed/dispatch", 200, &answer),
    ]);
    let ran = server.drover(&[
        "job",
        "dispatch",
        "-detach",
        "-meta",
        "a=b=c",
        "-idempotency-token",
        "t 1",
        "-id-prefix-template",
        "night",
        "feed",
        &file.display().to_string(),
    ]);
    let expected =
        format!("Dispatched Job ID = feed/dispatch-night-7-a1b2c3d4\nEvaluation ID     = {EVAL}\n");
    assert_eq!((ran.out, ran.code), (expected, 0), "{}", ran.err);
    let (line, body) = server.asked().last().expect("it was asked").clone();
    assert!(line.contains("idempotency_token=t%201"), "{line}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["Payload"], "aGVsbG8=");
    assert_eq!((&body["Meta"]["a"], &body["IdPrefixTemplate"]), (&"b=c".into(), &"night".into()));

    let ran = server.drover(&["job", "dispatch", "-meta", "a", "feed"]);
    assert_eq!((ran.err.as_str(), ran.code), ("-meta a: write -meta KEY=VALUE\n", 1));
    fs::write(&file, vec![0; 16_385]).expect("it can be written");
    let ran = server.drover(&["job", "dispatch", "feed", &file.display().to_string()]);
    assert!(ran.err.contains("a payload has at most 16384 bytes"), "{}", ran.err);
}

#[test]
fn a_periodic_job_shows_its_next_launch_and_its_children() {
    let server = Server::with(&[
        ("GET /v1/jobs", 200, PARENTS),
        (
            "GET /v1/job/tick",
            200,
            r#"{"ID":"tick","Name":"tick","Type":"batch","Priority":50,"Datacenters":["*"],
                "Namespace":"default","NodePool":"default","Status":"running",
                "Periodic":{"Enabled":true,"Spec":"@daily"},"SubmitTime":1795346904268554926,
                "NextPeriodicLaunch":"2020-11-22T11:28:24Z"}"#,
        ),
        (
            "GET /v1/job/tick/summary",
            200,
            r#"{"Summary":{},"Children":{"Pending":1,"Running":2,"Dead":3}}"#,
        ),
    ]);
    server.add(
        "GET /v1/jobs",
        200,
        r#"[{"ID":"tick/periodic-7","ParentID":"tick","Status":"dead"},
            {"ID":"tick/periodic-8","ParentID":"tick","Status":"running"},
            {"ID":"tick/periodic-foreign","ParentID":"","Status":"running"}]"#,
    );
    let ran = server.drover(&["job", "status", "tick"]);
    let expected = "\
ID                   = tick
Name                 = tick
Submit Date          = 2026-11-22T11:28:24Z
Type                 = batch
Priority             = 50
Datacenters          = *
Namespace            = default
Node Pool            = default
Status               = running
Periodic             = true
Parameterized        = false
Next Periodic Launch = 2020-11-22T11:28:24Z (in 0s)

Children Job Summary
Pending  Running  Dead
1        2        3

Previously Launched Jobs
ID               Status
tick/periodic-7  dead
tick/periodic-8  running
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
}

#[test]
fn a_job_of_one_group_is_scaled_without_naming_it() {
    let server = Server::with(&[
        ("GET /v1/jobs", 200, PARENTS),
        (
            "GET /v1/job/feed/scale",
            200,
            r#"{"TaskGroups":{"work":{"Events":[{"Count":3,"PreviousCount":1,"Error":false,
                "Message":"more","Time":1795346904268554926,"EvalID":null},
                {"Count":null,"PreviousCount":1,"Error":true,"Message":"no quota",
                "Time":1795346903268554926}]}}}"#,
        ),
        ("PUT /v1/job/feed/scale", 200, &format!(r#"{{"EvalID":"{EVAL}"}}"#)),
    ]);
    let ran = server.drover(&["job", "scale", "-detach", "feed", "3"]);
    assert_eq!((ran.out, ran.code), (format!("Evaluation ID: {EVAL}\n"), 0), "{}", ran.err);
    let (_, body) = server.asked().last().expect("it was asked").clone();
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&body["Count"], &body["Target"]["Group"]), (&3.into(), &"work".into()));
    let ran = server.drover(&["job", "scale", "feed", "many"]);
    assert_eq!(ran.err, "\"many\" is no count: write a whole number\n");
    let ran = server.drover(&["job", "scaling-events", "feed"]);
    let expected = "\
Task Group  Count  PrevCount  Error  Message   Date
work        3      1          false  more      2026-11-22T11:28:24Z
work        <nil>  1          true   no quota  2026-11-22T11:28:23Z
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
}
