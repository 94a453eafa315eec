//! Deployments on the command line.
use crate::server::{ALLOC, EVAL, NODE, Server, job_file, without_times};

const DEPLOYMENT: &str = "d1d2d3d4-0000-4000-8000-000000000009";

/// A deployment of two with one canary.
fn deployment(status: &str, description: &str, promoted: bool, healthy: u32) -> String {
    format!(
        r#"{{"ID":"{DEPLOYMENT}","JobID":"web","JobVersion":3,"Namespace":"default",
        "Status":"{status}","StatusDescription":"{description}","CreateIndex":7,
        "TaskGroups":{{"app":{{"AutoRevert":true,"Promoted":{promoted},"DesiredTotal":2,
        "DesiredCanaries":1,"PlacedAllocs":{healthy},"HealthyAllocs":{healthy},
        "UnhealthyAllocs":0,"ProgressDeadline":600000000000,
        "RequireProgressBy":"2026-11-22T11:27:04Z"}}}}}}"#
    )
}

#[test]
fn a_deployment_is_listed_and_shown_as_nomad_shows_it() {
    let one = deployment("running", "Deployment is running", false, 1);
    let allocs = format!(
        r#"[{{"ID":"{ALLOC}","NodeID":"{NODE}","TaskGroup":"app","JobVersion":3,
        "DesiredStatus":"run","ClientStatus":"running","CreateTime":0,"ModifyTime":0}}]"#
    );
    let server = Server::with(&[
        ("GET /v1/deployments", 200, &format!("[{one}]")),
        (&format!("GET /v1/deployment/allocations/{DEPLOYMENT}"), 200, &allocs),
    ]);
    let ran = server.drover(&["deployment", "list"]);
    let expected = "\
ID        Job ID  Job Version  Status   Description
d1d2d3d4  web     3            running  Deployment is running
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    let ran = server.drover(&["deployment", "status", "d1d2"]);
    let expected = "\
ID          = d1d2d3d4
Job ID      = web
Job Version = 3
Status      = running
Description = Deployment is running

Deployed
Task Group  Auto Revert  Promoted  Desired  Canaries  Placed  Healthy  Unhealthy  Progress Deadline
app         true         false     2        1         1       1        0          2026-11-22T11:27:04Z

Allocations
ID        Node ID   Task Group  Version  Desired  Status   Created  Modified
a1b2c3d4  0d0e0f00  app         3        run      running  N/A      N/A
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
}

#[test]
fn a_run_follows_its_deployment_to_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let eval = format!(
        r#"{{"ID":"{EVAL}","JobID":"web","TriggeredBy":"job-register","Status":"complete",
        "DeploymentID":"{DEPLOYMENT}","CreateIndex":5}}"#
    );
    let path = format!("GET /v1/deployment/{DEPLOYMENT}");
    let waits = "Deployment is running but requires manual promotion";
    let server = Server::with(&[
        ("PUT /v1/jobs", 200, &format!(r#"{{"EvalID":"{EVAL}"}}"#)),
        (&format!("GET /v1/evaluation/{EVAL}"), 200, &eval),
        (&format!("GET /v1/evaluation/{EVAL}/allocations"), 200, "[]"),
        (&path, 200, &deployment("running", waits, false, 0)),
        (&path, 200, &deployment("running", waits, false, 1)),
        (&path, 200, &deployment("successful", "Deployment completed successfully", true, 2)),
    ]);
    let ran = server.drover(&["job", "run", &job_file(&folder)]);
    let expected = "\
==> T: Monitoring evaluation \"e1e2e3e4\"
    T: Evaluation triggered by job \"web\"
    T: Evaluation within deployment: \"d1d2d3d4\"
    T: Evaluation status changed: \"pending\" -> \"complete\"
==> T: Evaluation \"e1e2e3e4\" finished with status \"complete\"
==> T: Monitoring deployment \"d1d2d3d4\"
    T: group \"app\": 0 of 1 canaries healthy, 0 placed
    T: Deployment is running but requires manual promotion
    T: Promote it with: drover deployment promote d1d2d3d4
    T: group \"app\": 1 of 1 canaries healthy, 1 placed
    T: group \"app\": 2 of 2 healthy, 2 placed
==> T: Deployment \"d1d2d3d4\" finished with status \"successful\"
";
    assert_eq!((without_times(&ran.out).as_str(), ran.code), (expected, 0), "{}", ran.err);
}

#[test]
fn a_run_whose_deployment_fails_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let eval = format!(
        r#"{{"ID":"{EVAL}","JobID":"web","Status":"complete","DeploymentID":"{DEPLOYMENT}"}}"#
    );
    let why = "Failed due to progress deadline";
    let server = Server::with(&[
        ("PUT /v1/jobs", 200, &format!(r#"{{"EvalID":"{EVAL}"}}"#)),
        (&format!("GET /v1/evaluation/{EVAL}"), 200, &eval),
        (&format!("GET /v1/evaluation/{EVAL}/allocations"), 200, "[]"),
        (&format!("GET /v1/deployment/{DEPLOYMENT}"), 200, &deployment("failed", why, false, 0)),
    ]);
    let ran = server.drover(&["job", "run", &job_file(&folder)]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains(why), "{}", ran.out);
}

#[test]
fn a_deployment_is_steered_by_the_beginning_of_its_id() {
    let one = deployment("running", "Deployment is running", false, 1);
    let answer = format!(r#"{{"EvalID":"{EVAL}","RevertedJobVersion":4}}"#);
    let server = Server::with(&[
        ("GET /v1/deployments", 200, &format!("[{one}]")),
        (&format!("PUT /v1/deployment/promote/{DEPLOYMENT}"), 200, &answer),
        (&format!("PUT /v1/deployment/pause/{DEPLOYMENT}"), 200, &answer),
        (&format!("PUT /v1/deployment/fail/{DEPLOYMENT}"), 200, &answer),
    ]);
    let mut bodies = Vec::new();
    for (args, said) in [
        (&["deployment", "promote", "-detach", "d1d2"][..], format!("Evaluation ID: {EVAL}\n")),
        (&["deployment", "pause", "d1d2"], "Deployment \"d1d2d3d4\" paused\n".to_owned()),
        (
            &["deployment", "resume", "-detach", "d1d2"],
            format!("Deployment \"d1d2d3d4\" resumed\nEvaluation ID: {EVAL}\n"),
        ),
        (
            &["deployment", "fail", "-detach", "d1d2"],
            format!(
                "Deployment \"d1d2d3d4\" marked as failed\nJob goes back, as version 4\n\
                 Evaluation ID: {EVAL}\n"
            ),
        ),
    ] {
        let ran = server.drover(args);
        assert_eq!((ran.out, ran.code), (said, 0), "{}", ran.err);
        let body = server.asked().last().expect("it asked").1.clone();
        bodies.push(serde_json::from_str::<serde_json::Value>(&body).expect("JSON"));
    }
    assert_eq!((&bodies[0]["All"], &bodies[1]["Pause"]), (&true.into(), &true.into()));
    assert_eq!(
        (&bodies[2]["Pause"], &bodies[3]["DeploymentID"]),
        (&false.into(), &DEPLOYMENT.into())
    );
}

#[test]
fn a_jobs_versions_are_shown_and_one_is_gone_back_to() {
    let versions = r#"{"Versions":[{"ID":"web","Version":1,"Stable":false,"SubmitTime":0},
        {"ID":"web","Version":0,"Stable":true,"SubmitTime":0}],"Diffs":[]}"#;
    let server = Server::with(&[
        ("GET /v1/jobs", 200, r#"[{"ID":"web","Namespace":"default"}]"#),
        ("GET /v1/job/web/versions", 200, versions),
        ("PUT /v1/job/web/revert", 200, &format!(r#"{{"EvalID":"{EVAL}"}}"#)),
    ]);
    let ran = server.drover(&["job", "history", "web"]);
    let expected = "\
Version     = 1
Stable      = false
Submit Date = N/A

Version     = 0
Stable      = true
Submit Date = N/A
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    let ran = server.drover(&["job", "revert", "-detach", "web", "0"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let body = server.asked().last().expect("it asked").1.clone();
    assert!(body.contains("\"JobVersion\":0"), "{body}");
}
