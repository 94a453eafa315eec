//! What commands that change something ask, print, and leave as the exit code.
use std::net::TcpListener;
use std::process::Command;

use crate::server::{ALLOC, EVAL, NODE, Server, job_file, job_list, ran, without_times};

#[test]
fn a_run_is_watched_until_its_evaluation_is_complete() {
    let folder = tempfile::tempdir().expect("a folder");
    let pending = format!(
        r#"{{"ID":"{EVAL}","JobID":"web","TriggeredBy":"job-register",
        "Status":"pending","CreateIndex":5}}"#
    );
    let server = Server::with(&[
        ("PUT /v1/jobs", 200, &format!(r#"{{"EvalID":"{EVAL}","Warnings":""}}"#)),
        (&format!("GET /v1/evaluation/{EVAL}"), 404, "eval not found"),
        (&format!("GET /v1/evaluation/{EVAL}"), 200, &pending),
        (&format!("GET /v1/evaluation/{EVAL}"), 200, &pending.replace("pending", "complete")),
        (&format!("GET /v1/evaluation/{EVAL}/allocations"), 200, "[]"),
        (
            &format!("GET /v1/evaluation/{EVAL}/allocations"),
            200,
            &format!(
                r#"[{{"ID":"{ALLOC}","NodeID":"{NODE}","TaskGroup":"app","CreateIndex":6,
                "ClientStatus":"pending"}}]"#
            ),
        ),
    ]);
    let ran = server.drover(&["job", "run", "-check-index", "4", &job_file(&folder)]);
    let expected = "\
==> T: Monitoring evaluation \"e1e2e3e4\"
    T: Evaluation triggered by job \"web\"
    T: Allocation \"a1b2c3d4\" created: node \"0d0e0f00\", group \"app\"
    T: Evaluation status changed: \"pending\" -> \"complete\"
==> T: Evaluation \"e1e2e3e4\" finished with status \"complete\"
";
    assert_eq!((without_times(&ran.out).as_str(), ran.code), (expected, 0), "{}", ran.err);
    let (line, body) = &server.asked()[0];
    assert_eq!(line, "PUT /v1/jobs");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&body["EnforceIndex"], &body["JobModifyIndex"]), (&true.into(), &4.into()));
    assert_eq!(body["Job"]["TaskGroups"][0]["Tasks"][0]["Driver"], "raw_exec");
}

#[test]
fn a_job_is_read_from_standard_input_and_printed_as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = std::fs::File::open(job_file(&folder)).expect("the file is there");
    let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
    let ran = ran(command.args(["run", "-output", "-"]).stdin(file));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let printed: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(printed["Job"]["ID"], "web");
    // What is printed is a job file, too.
    let path = folder.path().join("web.json");
    std::fs::write(&path, &ran.out).expect("written");
    let server = Server::with(&[("PUT /v1/jobs", 200, "{}")]);
    let ran = server.drover(&["run", path.to_str().expect("text")]);
    assert_eq!((ran.out.as_str(), ran.code), ("Job registration successful\n", 0), "{}", ran.err);
}

#[test]
fn a_job_without_room_says_why_and_exits_with_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let eval = format!(
        r#"{{"ID":"{EVAL}","JobID":"web","TriggeredBy":"job-register","Status":"complete",
        "BlockedEval":"bb00bb00-0000-4000-8000-000000000004","FailedTGAllocs":{{"app":{{
        "NodesEvaluated":3,"NodesExhausted":1,"CoalescedFailures":1,
        "NodesAvailable":{{"dc1":3,"dc9":0}},
        "ConstraintFiltered":{{"${{attr.kernel.name}} = linux":2}},
        "DimensionExhausted":{{"memory":1}}}}}}}}"#
    );
    let server = Server::with(&[
        ("PUT /v1/jobs", 200, &format!(r#"{{"EvalID":"{EVAL}"}}"#)),
        (&format!("GET /v1/evaluation/{EVAL}"), 200, &eval),
        (&format!("GET /v1/evaluation/{EVAL}/allocations"), 200, "[]"),
    ]);
    let ran = server.drover(&["run", &job_file(&folder)]);
    let expected = "\
==> T: Monitoring evaluation \"e1e2e3e4\"
    T: Evaluation triggered by job \"web\"
    T: Evaluation status changed: \"pending\" -> \"complete\"
==> T: Evaluation \"e1e2e3e4\" finished with status \"complete\" but failed to place all allocations:
    T: Task Group \"app\" (failed to place 2 allocations):
      * No nodes are available in datacenter \"dc9\"
      * Constraint \"${attr.kernel.name} = linux\": 2 nodes excluded by filter
      * Resources exhausted on 1 nodes
      * Dimension \"memory\" exhausted on 1 nodes
    T: Evaluation \"bb00bb00\" waiting for additional capacity to place remainder
";
    assert_eq!((without_times(&ran.out).as_str(), ran.code), (expected, 2), "{}", ran.err);
    let ran = server.drover(&["run", "-detach", &job_file(&folder)]);
    let expected = format!("Job registration successful\nEvaluation ID: {EVAL}\n");
    assert_eq!((ran.out, ran.code), (expected, 0));
}

#[test]
fn a_plan_exits_with_one_where_something_would_start_and_with_255_on_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = job_file(&folder);
    let plan = r#"{"Diff":{"Type":"Added","ID":"web","TaskGroups":[{"Type":"Added","Name":"app",
        "Updates":{"create":1},"Tasks":[{"Type":"Added","Name":"srv",
        "Annotations":["forces create"]}]}]},"JobModifyIndex":12,"FailedTGAllocs":null,
        "Annotations":{"DesiredTGUpdates":{"app":{"Place":1}}}}"#;
    let server = Server::with(&[("PUT /v1/job/web/plan", 200, plan)]);
    let ran = server.drover(&["plan", &file]);
    let expected = format!(
        "\
+ Job: \"web\"
+ Task Group: \"app\" (1 create)
  + Task: \"srv\" (forces create)

Scheduler dry-run:
- All tasks successfully allocated.

Job Modify Index: 12
To run exactly what was planned here, and nothing if somebody changes the job before:

drover job run -check-index 12 {file}
"
    );
    assert_eq!((ran.out, ran.code), (expected, 1), "{}", ran.err);
    let nothing = plan.replace("\"Place\":1", "\"Ignore\":1");
    let server = Server::with(&[("PUT /v1/job/web/plan", 200, &nothing)]);
    assert_eq!(server.drover(&["job", "plan", "-diff=false", &file]).code, 0);
    let server = Server::with(&[("PUT /v1/job/web/plan", 500, "no leader")]);
    let ran = server.drover(&["plan", &file]);
    let expected = "Error during plan: Unexpected response code: 500 (no leader)\n";
    assert_eq!((ran.err.as_str(), ran.code), (expected, 255));
    assert_eq!(server.drover(&["job", "plan"]).code, 255, "1 would say that there are changes");
    assert_eq!(server.drover(&["job", "run"]).code, 1);
}

#[test]
fn a_plan_tells_what_would_come_of_what_is_supposed_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = job_file(&folder);
    let plan = r#"{"JobModifyIndex":12,"Annotations":{"DesiredTGUpdates":{"app":{"Place":1}}},
        "FailedTGAllocs":{"app":{"NodesEvaluated":1,"NodesExhausted":1,
        "DimensionExhausted":{"memory":1},
        "Nearest":{"NodeName":"n3","Free":{"CPU":900,"MemoryMB":3120,"DiskMB":9},
        "Asked":{"CPU":500,"MemoryMB":4096,"DiskMB":9}}}},
        "WhatIf":{"Supposed":["drain n1","remove job x in default"],
        "Moves":[{"AllocID":"aa00bb00-1111","Name":"db.g[0]","From":"n1","To":"n2"}],
        "Placed":[{"JobID":"z","TaskGroup":"g","Count":1}],
        "Ended":[{"JobID":"x","TaskGroup":"g","Count":2}],
        "Unplaced":[{"JobID":"db","TaskGroup":"g","Queued":3,"QueuedBefore":1,
        "Metrics":{"NodesEvaluated":0}}]}}"#;
    let server = Server::with(&[("PUT /v1/job/web/plan", 200, plan)]);
    let ran = server.drover(&["plan", "-what-if", "drain n1", "-what-if", "remove job x", &file]);
    let expected = "\
What if: drain n1; remove job x in default
- 1 allocation would move:
Alloc ID  Name     From  To
aa00bb00  db.g[0]  n1    n2
- 1 allocation of group \"g\" of job \"z\" would find the room that there is not now.
- 2 allocations of group \"g\" of job \"x\" would run no more.
- 3 allocations of group \"g\" of job \"db\" would find no room (1 now):
    * No nodes were eligible for evaluation

Scheduler dry-run:
- WARNING: Failed to place all allocations.
  Task Group \"app\" (failed to place 1 allocation):
    * Resources exhausted on 1 nodes
    * Dimension \"memory\" exhausted on 1 nodes
    * Node \"n3\" comes closest: it has 3120 of the 4096 MiB of memory that it takes

Job Modify Index: 12
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 1), "{}", ran.err);
    let asked = server.asked();
    assert!(asked[0].1.contains(r#""WhatIf":["drain n1","remove job x"]"#), "{asked:?}");
}

#[test]
fn a_wrong_job_file_is_refused_with_its_place_before_anything_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.hcl");
    std::fs::write(&path, "job \"web\" {\n  group \"app\" {\n    cuont = 2\n  }\n}\n")
        .expect("written");
    let server = Server::with(&[]);
    let ran = server.drover(&["run", path.to_str().expect("text")]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("bad.hcl:3:5:"), "{}", ran.err);
    assert!(ran.err.contains("3 |     cuont = 2"), "{}", ran.err);
    assert_eq!(server.asked(), []);
}

#[test]
fn logs_put_frames_together_and_can_show_the_last_lines_only() {
    let alloc = format!(
        r#"{{"ID":"{ALLOC}","NodeID":"{NODE}","ClientStatus":"running",
        "TaskStates":{{"srv":{{"State":"running"}}}}}}"#
    );
    // "one\ntw", a heartbeat, "o\nthree\n".
    let frames =
        r#"{"Data":"b25lCnR3","File":"x","Offset":6}{}{"Data":"bwp0aHJlZQo=","Offset":14}"#;
    let logs = format!("GET /v1/client/fs/logs/{ALLOC}");
    let server = Server::with(&[
        ("GET /v1/allocations", 200, &format!("[{alloc}]")),
        (&format!("GET /v1/allocation/{ALLOC}"), 200, &alloc),
        (&logs, 200, frames),
    ]);
    let ran = server.drover(&["alloc", "logs", "a1b2c3d4"]);
    assert_eq!((ran.out.as_str(), ran.code), ("one\ntwo\nthree\n", 0), "{}", ran.err);
    let query = "follow=false&offset=0&origin=start&task=srv&type=stdout";
    assert_eq!(server.asked().last().expect("asked").0, format!("{logs}?{query}"));
    let ran = server.drover(&["logs", "-stderr", "-tail", "-n", "2", "a1b2c3d4", "srv"]);
    assert_eq!(ran.out, "two\nthree\n");
    let ran = server.drover(&["logs", "a1b2c3d4", "other"]);
    assert!(ran.err.contains("has no task \"other\"; its tasks: srv"), "{}", ran.err);
}

#[test]
fn what_only_the_node_knows_is_asked_of_its_own_agent_if_need_be() {
    let alloc = format!(r#"{{"ID":"{ALLOC}","NodeID":"{NODE}","TaskStates":{{"srv":{{}}}}}}"#);
    let route = format!("PUT /v1/client/allocation/{ALLOC}/restart");
    let node = Server::with(&[(&route, 200, "{}")]);
    let own = node.address.trim_start_matches("http://");
    let server = Server::with(&[
        ("GET /v1/allocations", 200, &format!("[{alloc}]")),
        (&format!("GET /v1/allocation/{ALLOC}"), 200, &alloc),
        (&route, 404, "Unknown allocation"),
        (&format!("GET /v1/node/{NODE}"), 200, &format!(r#"{{"HTTPAddr":"{own}"}}"#)),
    ]);
    let ran = server.drover(&["alloc", "restart", "a1b2c3d4", "srv"]);
    assert_eq!((ran.err.as_str(), ran.code), ("", 0));
    assert_eq!(node.asked().len(), 1);
    assert!(node.asked()[0].1.contains(r#""TaskName":"srv""#));
}

#[test]
fn a_job_is_stopped_by_its_whole_id_only_unless_told_otherwise() {
    let server = Server::with(&[
        ("GET /v1/jobs", 200, &job_list()),
        ("DELETE /v1/job/web", 200, &format!(r#"{{"EvalID":"{EVAL}"}}"#)),
    ]);
    let ran = server.drover(&["stop", "we"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("only the beginning of job \"web\""), "{}", ran.err);
    let ran = server.drover(&["job", "stop", "-purge", "-detach", "web"]);
    assert_eq!((ran.out, ran.code), (format!("{EVAL}\n"), 0));
    let asked = server.asked().last().expect("asked").0.clone();
    assert_eq!(asked, "DELETE /v1/job/web?namespace=default&purge=true");
}

#[test]
fn a_server_that_is_not_there_is_named_with_whoever_named_it() {
    let nobody = || {
        // The port was free a moment ago, and nobody else is told of it.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        format!("http://{}", listener.local_addr().expect("it is bound"))
    };
    let address = nobody();
    let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
    let ran = ran(command.args(["job", "status"]).env("DROVER_ADDR", &address));
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains(&address) && ran.err.contains("DROVER_ADDR"), "{}", ran.err);
    assert!(ran.err.contains("connection refused"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn token_namespace_and_region_go_with_every_request() {
    let server = Server::with(&[("GET /v1/jobs", 200, "[]")]);
    let flags = ["-namespace=ops", "-region", "eu west", "-token", "s"];
    let ran = server.drover(&[&["status"], &flags[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(server.asked()[0].0, "GET /v1/jobs?namespace=ops&region=eu%20west");
    assert_eq!(server.tokens(), ["s"]);
}

#[test]
fn init_writes_an_example_that_validates_and_never_overwrites() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::with(&[("PUT /v1/validate/job", 200, r#"{"ValidationErrors":null}"#)]);
    let init = |server: &Server| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
        ran(command.args(["job", "init"]).current_dir(&folder).env("DROVER_ADDR", &server.address))
    };
    assert_eq!(init(&server).out, "Example job file written to example.nomad.hcl\n");
    let again = init(&server);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("exists already"), "{}", again.err);
    let file = folder.path().join("example.nomad.hcl");
    let ran = server.drover(&["validate", file.to_str().expect("text")]);
    assert_eq!((ran.out.as_str(), ran.code), ("Job validation successful\n", 0), "{}", ran.err);
}

#[test]
fn certificates_are_made_once_and_kept_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
        ran(command.arg("tls").args(args).current_dir(&folder))
    };
    assert_eq!(tls(&["ca", "create"]).code, 0);
    assert_eq!(tls(&["ca", "create"]).code, 1, "an authority is not overwritten");
    let made = tls(&["cert", "create", "-server", "-region", "eu"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(folder.path().join("eu-server-drover.pem").exists());
    assert!(folder.path().join("eu-server-drover-key.pem").exists());
}
