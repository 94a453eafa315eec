//! What commands that only look print, to the letter.
use crate::server::{ALLOC, EVAL, NODE, Server, job_list};

#[test]
fn jobs_are_listed_by_name_and_a_stopped_one_says_so() {
    let server = Server::with(&[("GET /v1/jobs", 200, &job_list())]);
    let ran = server.drover(&["job", "status"]);
    let expected = "\
ID     Type     Priority  Status          Submit Date
count  batch    70        dead (stopped)  2026-11-22T11:28:24Z
web    service  50        running         2026-11-22T11:28:24Z
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    let empty = Server::with(&[("GET /v1/jobs", 200, "[]")]);
    assert_eq!(empty.drover(&["status"]).out, "No running jobs\n");
}

#[test]
fn a_job_is_shown_with_its_groups_reasons_and_allocs() {
    let server = Server::with(&[
        ("GET /v1/jobs", 200, &job_list()),
        (
            "GET /v1/job/web",
            200,
            r#"{"ID":"web","Name":"web","Type":"service","Priority":50,"Datacenters":["dc1","dc2"],
                "Namespace":"default","NodePool":"default","Status":"running","Periodic":null,
                "SubmitTime":1795346904268554926}"#,
        ),
        (
            "GET /v1/job/web/allocations",
            200,
            &format!(
                r#"[{{"ID":"{ALLOC}","NodeID":"{NODE}","TaskGroup":"app","JobVersion":3,
                "DesiredStatus":"run","ClientStatus":"running","CreateTime":0,"ModifyTime":0}}]"#
            ),
        ),
        (
            "GET /v1/job/web/evaluations",
            200,
            r#"[{"ID":"b1","Status":"blocked","CreateIndex":9},
                {"ID":"e1","Status":"complete","CreateIndex":8,"FailedTGAllocs":{"app":{
                "NodesEvaluated":1,"NodesExhausted":1,"DimensionExhausted":{"memory":1},
                "ConstraintFiltered":null,"CoalescedFailures":0}}}]"#,
        ),
        (
            "GET /v1/job/web/summary",
            200,
            r#"{"Summary":{"app":{"Queued":1,"Starting":0,"Running":1,"Failed":0}}}"#,
        ),
    ]);
    let ran = server.drover(&["job", "status", "we"]);
    let expected = "\
ID            = web
Name          = web
Submit Date   = 2026-11-22T11:28:24Z
Type          = service
Priority      = 50
Datacenters   = dc1,dc2
Namespace     = default
Node Pool     = default
Status        = running
Periodic      = false
Parameterized = false

Summary
Task Group  Queued  Starting  Running  Failed  Complete  Lost  Unknown
app         1       0         1        0       0         0     0

Placement Failure
Task Group \"app\":
  * Resources exhausted on 1 nodes
  * Dimension \"memory\" exhausted on 1 nodes

Allocations
ID        Node ID   Task Group  Version  Desired  Status   Created  Modified
a1b2c3d4  0d0e0f00  app         3        run      running  N/A      N/A
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
}

#[test]
fn a_prefix_that_fits_two_allocs_shows_both_and_touches_none() {
    let two = format!(
        r#"[{{"ID":"{ALLOC}","Name":"web.app[0]","DesiredStatus":"run","ClientStatus":"running"}},
           {{"ID":"a1b2ffff-0000-4000-8000-000000000009","Name":"web.app[1]",
             "DesiredStatus":"run","ClientStatus":"pending"}}]"#
    );
    let server = Server::with(&[("GET /v1/allocations", 200, &two)]);
    let ran = server.drover(&["alloc", "stop", "a1b2f"]);
    // Five digits are sent as four, and the fifth is compared here.
    assert_eq!(server.asked()[0].0, "GET /v1/allocations?prefix=a1b2");
    assert_eq!(server.asked()[1].0, "GET /v1/allocation/a1b2ffff-0000-4000-8000-000000000009");
    assert_eq!(ran.code, 1);
    let ran = server.drover(&["alloc", "stop", "a1b2"]);
    let expected = "\
Prefix matched multiple allocations

ID                                    Name        Desired  Status
a1b2c3d4-0000-4000-8000-000000000001  web.app[0]  run      running
a1b2ffff-0000-4000-8000-000000000009  web.app[1]  run      pending
";
    assert_eq!((ran.err.as_str(), ran.code), (expected, 1));
    let ran = server.drover(&["alloc", "status", "ff"]);
    assert_eq!(ran.err, "No allocation(s) with prefix or id \"ff\" found\n");
}

#[test]
fn an_alloc_is_shown_with_addresses_tasks_and_the_newest_event_first() {
    let alloc = format!(
        r#"{{"ID":"{ALLOC}","EvalID":"{EVAL}","Name":"web.app[0]","NodeID":"{NODE}",
        "NodeName":"n1","JobID":"web","Job":{{"Version":2}},"ClientStatus":"complete",
        "ClientDescription":"All tasks have completed","DesiredStatus":"run",
        "CreateTime":0,"ModifyTime":0,
        "AllocatedResources":{{"Shared":{{"DiskMB":300,"Networks":[{{"DynamicPorts":[
        {{"Label":"http"}}]}}],"Ports":[{{"HostIP":"10.0.0.1","Label":"http","To":80,
        "Value":23414}}]}},"Tasks":{{"srv":{{"Cpu":{{"CpuShares":50}},
        "Memory":{{"MemoryMB":32}}}}}}}},
        "TaskStates":{{"srv":{{"State":"dead","Failed":false,"Restarts":1,
        "StartedAt":"2026-11-22T11:25:48.112196338Z","FinishedAt":"2026-11-22T11:26:00Z",
        "LastRestart":null,"Events":[
        {{"Type":"Received","DisplayMessage":"Task received by client","Time":1795346748052032516}},
        {{"Type":"Terminated","DisplayMessage":"Exit Code: 0","Time":1795346760000000000}}]}}}}}}"#
    );
    let server = Server::with(&[
        ("GET /v1/allocations", 200, &format!("[{alloc}]")),
        (&format!("GET /v1/allocation/{ALLOC}"), 200, &alloc),
    ]);
    let ran = server.drover(&["alloc", "status", "a1b2c3d4"]);
    let expected = "\
ID                  = a1b2c3d4-0000-4000-8000-000000000001
Eval ID             = e1e2e3e4
Name                = web.app[0]
Node ID             = 0d0e0f00
Node Name           = n1
Job ID              = web
Job Version         = 2
Client Status       = complete
Client Description  = All tasks have completed
Desired Status      = run
Desired Description = <none>
Created             = N/A
Modified            = N/A

Allocation Addresses:
Label  Dynamic  Address
*http  yes      10.0.0.1:23414 -> 80

Task \"srv\" is \"dead\"
Task Resources:
CPU     Memory  Disk
50 MHz  32 MiB  300 MiB

Task Events:
Started At     = 2026-11-22T11:25:48Z
Finished At    = 2026-11-22T11:26:00Z
Total Restarts = 1
Last Restart   = N/A

Recent Events:
Time                  Type        Description
2026-11-22T11:26:00Z  Terminated  Exit Code: 0
2026-11-22T11:25:48Z  Received    Task received by client
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
}

#[test]
fn status_finds_whatever_an_id_belongs_to() {
    let node = format!(
        r#"{{"ID":"{NODE}","Name":"n1","Datacenter":"dc1","NodeClass":"","Drain":false,
        "SchedulingEligibility":"eligible","Status":"down","Drivers":{{"raw_exec":{{"Healthy":true}},
        "exec":{{"Healthy":false}}}},"NodeResources":{{"Cpu":{{"CpuShares":4000}},
        "Memory":{{"MemoryMB":8192}},"Disk":{{"DiskMB":10240}}}},"Events":[]}}"#
    );
    let alloc = r#"{"ClientStatus":"running","AllocatedResources":{"Shared":{"DiskMB":300},
        "Tasks":{"a":{"Cpu":{"CpuShares":50},"Memory":{"MemoryMB":32}}}},"ID":"x"}"#;
    let server = Server::with(&[
        ("PUT /v1/search", 200, &format!(r#"{{"Matches":{{"jobs":null,"nodes":["{NODE}"]}}}}"#)),
        ("GET /v1/nodes", 200, &format!("[{node}]")),
        (&format!("GET /v1/node/{NODE}"), 200, &node),
        (&format!("GET /v1/node/{NODE}/allocations"), 200, &format!("[{alloc}]")),
    ]);
    let ran = server.drover(&["status", "0d0e"]);
    let expected = "\
ID            = 0d0e0f00-0000-4000-8000-000000000002
Name          = n1
Node Pool     = default
Class         = <none>
DC            = dc1
Drain         = false
Eligibility   = eligible
Status        = down
Host Volumes  = <none>
Driver Status = raw_exec

Allocated Resources
CPU          Memory          Disk            Alloc Count
50/4000 MHz  32 MiB/8.0 GiB  300 MiB/10 GiB  1
";
    assert!(ran.out.starts_with(expected), "{}{}", ran.out, ran.err);
    let ran = server.drover(&["node", "status"]);
    let expected = "\
ID        Node Pool  DC   Name  Class   Drain  Eligibility  Status
0d0e0f00  default    dc1  n1    <none>  false  eligible     down
";
    assert_eq!(ran.out, expected);
    let both = format!(r#"{{"Matches":{{"jobs":["0d-job"],"nodes":["{NODE}"]}}}}"#);
    let server = Server::with(&[("PUT /v1/search", 200, &both)]);
    let ran = server.drover(&["status", "0d"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("jobs: 0d-job") && ran.err.contains(NODE), "{}", ran.err);
}

#[test]
fn servers_are_listed_with_their_leader() {
    let members = r#"{"Members":[{"Name":"s1.global","Addr":"10.0.0.1","Port":4648,"Status":"alive",
        "Tags":{"dc":"dc1","region":"global","build":"0.1.0","raft_vsn":"3","port":"4647"}}]}"#;
    let peers = r#"{"Servers":[{"Node":"s1.global","ID":"1","Address":"10.0.0.1:4647",
        "Leader":true,"Voter":true,"RaftProtocol":"3"}]}"#;
    let server = Server::with(&[
        ("GET /v1/agent/members", 200, members),
        ("GET /v1/status/leader", 200, "\"10.0.0.1:4647\""),
        ("GET /v1/operator/raft/configuration", 200, peers),
    ]);
    let expected = "\
Name       Address   Port  Status  Leader  Raft Version  Build  Datacenter  Region
s1.global  10.0.0.1  4648  alive   true    3             0.1.0  dc1         global
";
    assert_eq!(server.drover(&["server", "members"]).out, expected);
    let expected = "\
Node       ID  Address        State   Voter  RaftProtocol
s1.global  1   10.0.0.1:4647  leader  true   3
";
    assert_eq!(server.drover(&["operator", "raft", "list-peers"]).out, expected);
}

#[test]
fn answers_that_lack_everything_but_an_id_are_shown_all_the_same() {
    for bare in
        [r#"{"ID":"abcd1234"}"#, r#"{"ID":"abcd1234","TaskStates":null,"Events":{},"Stop":"yes"}"#]
    {
        let list = format!("[{bare}, null]");
        let server =
            Server::with(&[("PUT /v1/search", 200, r#"{"Matches":{"jobs":["abcd1234"]}}"#)]);
        for path in ["jobs", "nodes", "allocations", "evaluations", "agent/members"] {
            server.add(&format!("GET /v1/{path}"), 200, &list);
        }
        for path in ["job", "node", "allocation", "evaluation"] {
            server.add(&format!("GET /v1/{path}/abcd1234"), 200, bare);
        }
        for path in ["job/abcd1234/allocations", "node/abcd1234/allocations"] {
            server.add(&format!("GET /v1/{path}"), 200, &list);
        }
        for path in ["job/abcd1234/evaluations", "job/abcd1234/summary"] {
            server.add(&format!("GET /v1/{path}"), 200, "null");
        }
        for command in [
            &["job", "status"][..],
            &["status", "ab"],
            &["job", "status", "-verbose", "abcd1234"],
            &["node", "status"],
            &["node", "status", "-verbose", "abcd"],
            &["alloc", "status", "-verbose", "abcd"],
            &["eval", "status", "abcd"],
            &["eval", "list"],
            &["server", "members"],
        ] {
            let ran = server.drover(command);
            assert_eq!(ran.code, 0, "{command:?}: {}", ran.err);
            assert!(!ran.out.is_empty(), "{command:?}");
        }
    }
}
