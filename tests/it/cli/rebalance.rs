//! What `drover rebalance` asks and prints, and how it ends.
use crate::server::{ALLOC, EVAL, Server};

const PLAN: &str = "PUT /v1/operator/rebalance/plan";
const APPLY: &str = "PUT /v1/operator/rebalance/apply";
const UNDER_WAY: &str = "GET /v1/operator/rebalance";
const NOTHING: &str = r#"{"Waiting":[],"Moving":[]}"#;

fn answer(notes: &str) -> String {
    format!(
        r#"{{"Moves":[{{"AllocID":"{ALLOC}","Name":"web.app[2]","JobID":"web","FromNodeName":"n1",
        "ToNodeName":"n3","ScoreBefore":-0.306,"ScoreAfter":0.153,"Gain":0.459,
        "Why":["fewer of its group","fit"]}}],"Budget":1,"MinGain":0.05,"Index":41{notes}}}"#
    )
}

/// An alloc as the API shows it, as far as anybody looks.
fn alloc(id: &str, status: (&str, &str), node: &str, rest: &str) -> String {
    let (desired, client) = status;
    format!(
        r#"{{"ID":"{id}","Name":"web.app[2]","NodeName":"{node}","DesiredStatus":"{desired}",
        "ClientStatus":"{client}","DesiredDescription":"alloc is being migrated"{rest}}}"#
    )
}

#[test]
fn a_plan_is_a_list_of_moves_with_what_was_not_done_and_why() {
    let notes = r#","MoreMoves":5,"BelowMinGain":1,"Held":2,"NotCompared":0,
        "NotMovable":{"of jobs that are no services":4}"#;
    let server = Server::with(&[(PLAN, 200, &answer(notes))]);
    let ran = server.drover(&["rebalance", "plan", "-budget", "1", "-min-gain=0.05"]);
    let expected = "\
Alloc ID  Name        From  To  Score            Gain    Why
a1b2c3d4  web.app[2]  n1    n3  -0.306 -> 0.153  +0.459  fewer of its group, fit

5 allocations would be better elsewhere, too, each by itself: the budget of 1 is spent
1 allocation would gain less than 0.05
2 allocations stay, because too few others of their groups are healthy
Not considered: 4 of jobs that are no services
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    let asked = &server.asked()[0].1;
    assert_eq!(asked, r#"{"Budget":1,"MinGain":0.05,"JobID":null,"NodePool":null}"#);
    let ran = server.drover(&["rebalance", "plan", "-job=web", "-pool", "gpu", "-json"]);
    assert!(ran.out.contains("\"MoreMoves\": 5"), "{}", ran.out);
    let asked = &server.asked()[1].1;
    assert_eq!(asked, r#"{"Budget":null,"MinGain":null,"JobID":"web","NodePool":"gpu"}"#);
    let server = Server::with(&[(PLAN, 200, r#"{"Moves":[],"Budget":10}"#)]);
    let ran = server.drover(&["rebalance", "plan"]);
    assert_eq!((ran.out.as_str(), ran.code), ("Nothing is to be moved\n", 0), "{}", ran.err);
    let why = "there is no job \"x\" in namespace \"default\"";
    let ran = Server::with(&[(PLAN, 400, why)]).drover(&["rebalance", "plan", "-job", "x"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains(why), "{}", ran.err);
}

#[test]
fn moves_are_watched_until_what_moved_is_healthy() {
    let old = format!("GET /v1/allocation/{ALLOC}");
    let new = format!("GET /v1/allocation/{EVAL}");
    let waiting = format!(r#"{{"Waiting":["{ALLOC}"],"Moving":[]}}"#);
    let next = format!(r#","NextAllocation":"{EVAL}""#);
    let server = Server::with(&[
        (APPLY, 200, &answer("")),
        (UNDER_WAY, 200, &waiting),
        (UNDER_WAY, 200, NOTHING),
        (&old, 200, &alloc(ALLOC, ("stop", "running"), "n1", &next)),
        (&new, 200, &alloc(EVAL, ("run", "pending"), "n3", "")),
        (&new, 200, &alloc(EVAL, ("run", "running"), "n3", "")),
        (
            &new,
            200,
            &alloc(EVAL, ("run", "running"), "n3", r#","DeploymentStatus":{"Healthy":true}"#),
        ),
    ]);
    let ran = server.drover(&["rebalance", "apply"]);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    let told = "Alloc \"a1b2c3d4\" (web.app[2]) goes from n1 to n3: \"e1e2e3e4\"";
    for words in [told, "(web.app[2]) is healthy on n3", "1 allocation moved, 0 did not"] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let detached = server.drover(&["rebalance", "apply", "-detach"]);
    assert!(!detached.out.contains("Moving"), "{}", detached.out);
    assert_eq!(detached.code, 0);
}

#[test]
fn who_stays_or_does_not_run_is_told_and_makes_the_command_end_with_two() {
    let old = format!("GET /v1/allocation/{ALLOC}");
    let server = Server::with(&[
        (APPLY, 200, &answer("")),
        (UNDER_WAY, 200, NOTHING),
        (&old, 200, &alloc(ALLOC, ("run", "running"), "n1", "")),
    ]);
    let ran = server.drover(&["rebalance", "apply"]);
    assert_eq!(ran.code, 2, "{} {}", ran.out, ran.err);
    let told = "stays on n1: no other node is so much better any more";
    for words in [told, "0 allocations moved, 1 did not"] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let new = format!("GET /v1/allocation/{EVAL}");
    let next = format!(r#","NextAllocation":"{EVAL}""#);
    let server = Server::with(&[
        (APPLY, 200, &answer("")),
        (UNDER_WAY, 200, NOTHING),
        (&old, 200, &alloc(ALLOC, ("stop", "running"), "n1", &next)),
        (&new, 200, &alloc(EVAL, ("run", "failed"), "n3", "")),
    ]);
    let ran = server.drover(&["rebalance", "apply"]);
    assert_eq!(ran.code, 2, "{} {}", ran.out, ran.err);
    assert!(ran.out.contains("(web.app[2]) is failed on n3"), "{}", ran.out);
}

#[test]
fn what_is_under_way_is_shown_and_stopped() {
    let under_way = format!(r#"{{"Waiting":["{ALLOC}"],"Moving":["{EVAL}"]}}"#);
    let moving = format!(r#"{{"Waiting":[],"Moving":["{EVAL}"]}}"#);
    let server = Server::with(&[
        (UNDER_WAY, 200, &under_way),
        ("DELETE /v1/operator/rebalance", 200, &moving),
        (&format!("GET /v1/allocation/{ALLOC}"), 200, &alloc(ALLOC, ("run", "running"), "n1", "")),
        (&format!("GET /v1/allocation/{EVAL}"), 200, &alloc(EVAL, ("run", "running"), "n2", "")),
    ]);
    let ran = server.drover(&["rebalance", "status"]);
    let expected = "\
Alloc ID  Name        Node  Status
e1e2e3e4  web.app[2]  n2    moves now
a1b2c3d4  web.app[2]  n1    waits for its turn
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    let ran = server.drover(&["rebalance", "stop"]);
    let expected = "What had not begun to move stays; 1 allocation on the way\n";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
}
