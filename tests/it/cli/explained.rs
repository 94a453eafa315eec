//! What `explain` prints, to the letter, and what it asks for.
use crate::server::{ALLOC, EVAL, NODE, Server, job_list};

/// A group of which one is missing, with one node in full.
fn group() -> String {
    format!(
        r#"{{"Name":"app","Count":2,"Missing":1,"Nodes":5,"NodesClosed":1,"NodesElsewhere":1,
        "NodesServed":0,"Candidates":3,"Metrics":{{"NodesEvaluated":3,"NodesFiltered":1,
        "ConstraintFiltered":{{"${{attr.kernel.name}} = linux":1}},"NodesExhausted":1,
        "DimensionExhausted":{{"memory":1}}}},
        "Best":[{{"Rank":1,"NodeID":"{EVAL}","NodeName":"n1","NormScore":0.5,
        "Scores":{{"binpack":0.75,"job-anti-affinity":0.25}}}},
        {{"Rank":2,"NodeID":"{NODE}","NodeName":"n2","NormScore":0.123,
        "Scores":{{"binpack":0.123,"allocation-spread":-1}}}}],
        "Node":{{"NodeID":"{NODE}","NodeName":"n2","Demands":[
        {{"Kind":"constraint","Demand":"${{attr.kernel.name}} = linux","Found":"darwin","Met":false}},
        {{"Kind":"driver","Demand":"docker","Found":null,"Met":false}},
        {{"Kind":"memory","Demand":"256 MiB","Found":"300 MiB free of 512","Met":true}}],
        "Standing":null}}}}"#
    )
}

#[test]
fn a_job_is_explained_group_by_group_and_a_node_demand_by_demand() {
    let answer = format!(r#"{{"JobID":"web","Version":3,"Index":41,"Groups":[{}]}}"#, group());
    let server = Server::with(&[
        ("GET /v1/jobs", 200, &job_list()),
        ("GET /v1/job/web/explain", 200, &answer),
    ]);
    let ran = server.drover(&["job", "explain", "-group", "app", "-node", "n2", "we"]);
    let expected = "\
Job \"web\", version 3, as of index 41

Task Group \"app\": 1 to be placed, the next on n1
  * 3 nodes were looked at, 1 not ready or not eligible, 1 of another pool or datacenter
  * Constraint \"${attr.kernel.name} = linux\": 1 nodes excluded by filter
  * Resources exhausted on 1 nodes
  * Dimension \"memory\" exhausted on 1 nodes

Candidates
Rank  Node  Node ID   Score  allocation-spread  binpack  job-anti-affinity
1     n1    e1e2e3e4  0.5    0                  0.75     0.25
2     n2    0d0e0f00  0.123  -1                 0.123    0
and 1 more: -verbose lists them all

Node \"n2\" (0d0e0f00) may not take one more: 2 demands are not met
Met  Kind        Asked                        The node has
NO   constraint  ${attr.kernel.name} = linux  darwin
NO   driver      docker                       nothing
yes  memory      256 MiB                      300 MiB free of 512
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    let asked = "GET /v1/job/web/explain?namespace=default&group=app&node=n2";
    assert_eq!(server.asked()[1].0, asked);
    let ran = server.drover(&["job", "explain", "-json", "web", "app"]);
    assert!(ran.out.contains("\"NodesElsewhere\": 1"), "{}", ran.out);
    assert!(server.asked().last().expect("a request").0.ends_with("namespace=default&group=app"));
    let ran = server.drover(&["job", "explain", "nosuch"]);
    let none = "No job(s) with prefix or id \"nosuch\" found: drover job status lists the jobs\n";
    assert_eq!((ran.code, ran.err.as_str()), (1, none));
    let why = "job \"web\" has no group \"db\"; its groups: app";
    let server =
        Server::with(&[("GET /v1/jobs", 200, &job_list()), ("GET /v1/job/web/explain", 400, why)]);
    let ran = server.drover(&["job", "explain", "web", "db"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains(why), "{}", ran.err);
}

#[test]
fn an_alloc_is_explained_by_what_was_noted_then_and_what_is_now() {
    let answer = format!(
        r#"{{"ID":"{ALLOC}","Name":"web.app[0]","JobID":"web","JobVersion":2,"NodeName":"n2",
        "NodeID":"{NODE}","CreateIndex":17,"CreateTime":0,"EvalID":"{EVAL}",
        "Evaluation":{{"TriggeredBy":"alloc-failure","Status":"complete"}},
        "Replaced":{{"ID":"{EVAL}","Known":true,"JobVersion":1,"NodeName":"n1",
        "ClientStatus":"failed","ClientDescription":"Failed tasks","DesiredDescription":""}},
        "Metrics":{{"NodesEvaluated":4,"NodesFiltered":1,"NodesExhausted":1,"ScoreMetaData":[
        {{"NodeID":"{NODE}","NormScore":0.25,"Scores":{{"binpack":0.25}}}}]}},
        "Now":{{"Index":44,"JobVersion":3,"Group":{}}}}}"#,
        group().replace(
            "\"Standing\":null",
            r#""Standing":{"Rank":2,"NormScore":0.25,"Scores":{"binpack":0.75,
            "node-affinity":-0.25,"job-anti-affinity":0.0}}"#
        )
    );
    let path = format!("GET /v1/allocation/{ALLOC}");
    let list = format!(r#"[{{"ID":"{ALLOC}"}}]"#);
    let server = Server::with(&[
        ("GET /v1/allocations", 200, &list),
        (&path, 200, &format!(r#"{{"ID":"{ALLOC}"}}"#)),
        (&format!("{path}/explain"), 200, &answer),
    ]);
    let ran = server.drover(&["alloc", "explain", "a1b2"]);
    let expected = "\
ID         = a1b2c3d4-0000-4000-8000-000000000001
Name       = web.app[0]
Job        = web, version 2
Node       = n2 (0d0e0f00)
Created    = N/A, index 17
Evaluation = e1e2e3e4, triggered by alloc-failure, complete
Replaced   = e1e2e3e4 of version 1 on n1, failed; Failed tasks

Why There, As Noted Then
  * 4 nodes were looked at
  * 1 node was kept out by what is asked of nodes
  * 1 node was without room
  * n2 was the best of the 2 that were left

Node                                  binpack  final score
0d0e0f00-0000-4000-8000-000000000002  0.25     0.25

As Of Now
If it were placed anew at index 44, as version 3 of the job:

Task Group \"app\": 1 to be placed, the next on n1
";
    assert!(ran.out.starts_with(expected), "{}{}", ran.out, ran.err);
    let last =
        "Exactly as it was then, from a server's recorded inputs: drover replay DIR why a1b2c3d4\n";
    assert!(ran.out.ends_with(last) && ran.code == 0, "{}", ran.out);
}
