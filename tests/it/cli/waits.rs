//! Groups that come after something else, as people read of them.
use crate::server::{EVAL, Server, job_file, job_list};

const WAITS: &str = r#"{"app":{"NodesEvaluated":0,"CoalescedFailures":1,"Waits":[
    {"JobID":"db","Group":null,"Until":"healthy","Open":false,"Good":2,"Wanted":3,"Failed":0,
    "Said":"group app waits for job db to be healthy (2 of 3 healthy)"},
    {"JobID":"load","Group":null,"Until":"complete","Open":true,"Good":1,"Wanted":1,"Failed":0,
    "Said":"group app waited for job load to be complete"}]}}"#;

#[test]
fn a_job_and_an_evaluation_say_what_they_wait_for() {
    let eval = format!(
        r#"{{"ID":"{EVAL}","Status":"complete","JobID":"web","TriggeredBy":"job-register",
        "BlockedEval":"{EVAL}","FailedTGAllocs":{WAITS}}}"#
    );
    let evals = format!(r#"[{{"ID":"b1","Status":"blocked","CreateIndex":9}},{eval}]"#);
    let server = Server::with(&[
        ("GET /v1/jobs", 200, &job_list()),
        ("GET /v1/job/web", 200, r#"{"ID":"web","Status":"pending"}"#),
        ("GET /v1/job/web/allocations", 200, "[]"),
        ("GET /v1/job/web/evaluations", 200, &evals),
        ("GET /v1/job/web/summary", 200, r#"{"Summary":{"app":{"Queued":2}}}"#),
        ("GET /v1/evaluations", 200, &format!("[{eval}]")),
        (&format!("GET /v1/evaluation/{EVAL}"), 200, &eval),
    ]);
    let ran = server.drover(&["job", "status", "web"]);
    let waiting = "\nWaiting\ngroup app waits for job db to be healthy (2 of 3 healthy)\n\n";
    assert!(ran.out.contains(waiting) && ran.code == 0, "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains("Placement Failure"), "{}", ran.out);
    let ran = server.drover(&["eval", "status", EVAL]);
    let waiting = "\nWaiting
Task Group \"app\" (2 allocations wait):
  * group app waits for job db to be healthy (2 of 3 healthy)
  * group app waited for job load to be complete

Evaluation \"e1e2e3e4\" waiting for what the job comes after
";
    assert!(ran.out.ends_with(waiting) && ran.code == 0, "{}{}", ran.out, ran.err);
    let failures = ran.out.lines().find(|line| line.starts_with("Placement Failures"));
    assert!(failures.is_some_and(|line| line.ends_with("= false")), "it looked for no room");
}

#[test]
fn a_dry_run_says_what_it_would_wait_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = format!(
        r#"{{"JobModifyIndex":0,"Annotations":{{"DesiredTGUpdates":{{"app":{{"Place":2}}}}}},
        "FailedTGAllocs":{WAITS},"Warnings":"after waits for job db, which is stopped"}}"#
    );
    let server = Server::with(&[("PUT /v1/job/web/plan", 200, &answer)]);
    let ran = server.drover(&["job", "plan", &job_file(&folder)]);
    let waiting = "\
- Placed when what it waits for has come:
  Task Group \"app\" (2 allocations wait):
    * group app waits for job db to be healthy (2 of 3 healthy)
    * group app waited for job load to be complete
";
    assert!(ran.out.contains(waiting), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("after waits for job db, which is stopped"), "{}", ran.out);
    assert_eq!(ran.code, 1, "something would be started");
}
