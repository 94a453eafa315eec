//! What `drover operator` asks and prints.
use std::process::Command;

use drover_core::raft::Configuration;
use drover_core::state::State;
use drover_core::time::WallTime;
use drover_core::types::{ClusterId, Index, ServerId, Term};
use drover_shell::archive::{self, About};

use crate::server::{Server, ran};

const ID: &str = "00000000-0000-0000-0000-00000000002a";

#[test]
fn a_peer_is_removed_by_its_id_or_its_address_and_by_one_of_them_only() {
    let server = Server::with(&[("DELETE /v1/operator/raft/peer", 200, "")]);
    let ran = server.drover(&["operator", "raft", "remove-peer", "-peer-id", ID]);
    assert_eq!((ran.out, ran.code), (format!("Removed peer with id \"{ID}\"\n"), 0), "{}", ran.err);
    let ran = server.drover(&["operator", "raft", "remove-peer", "-peer-address=10.0.0.1:4647"]);
    assert_eq!(ran.out, "Removed peer with address \"10.0.0.1:4647\"\n");
    let asked: Vec<String> = server.asked().into_iter().map(|(line, _)| line).collect();
    let path = "DELETE /v1/operator/raft/peer";
    assert_eq!(asked, [format!("{path}?id={ID}"), format!("{path}?address=10.0.0.1%3A4647")]);
    for (flags, why) in
        [(&["-peer-id=1", "-peer-address=a:1"][..], "not by both"), (&[][..], "which server?")]
    {
        let ran = server.drover(&[&["operator", "raft", "remove-peer"], flags].concat());
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(why), "{}", ran.err);
    }
    assert_eq!(server.asked().len(), 2, "what makes no sense is not asked");
}

#[test]
fn why_a_peer_stays_is_passed_on() {
    let why = "peer: it is alive and would be taken in again at once";
    let server = Server::with(&[("DELETE /v1/operator/raft/peer", 400, why)]);
    let ran = server.drover(&["operator", "raft", "remove-peer", "-peer-id", ID]);
    let expected = format!("Error removing peer: Unexpected response code: 400 ({why})\n");
    assert_eq!((ran.err, ran.code), (expected, 1));
}

#[test]
fn the_lead_is_handed_over() {
    let path = "PUT /v1/operator/raft/transfer-leadership";
    let moved =
        r#"{"From":{"ID":"1","Address":"a:1"},"To":{"ID":"2","Address":"b:1"},"Noop":false}"#;
    let stayed = moved.replace("false", "true");
    let server = Server::with(&[(path, 200, moved), (path, 200, &stayed)]);
    let ran = server.drover(&["operator", "raft", "transfer-leadership"]);
    assert_eq!((ran.out.as_str(), ran.code), ("Leadership went from 1 (a:1) to 2 (b:1)\n", 0));
    let ran = server.drover(&["operator", "raft", "transfer-leadership", "-peer-id", "2"]);
    assert_eq!(ran.out, "2 (b:1) leads already\n");
    let asked: Vec<String> = server.asked().into_iter().map(|(line, _)| line).collect();
    assert_eq!(asked, [path.to_owned(), format!("{path}?id=2")]);
}

#[test]
fn the_consensus_is_shown_with_who_lags_and_who_has_failed() {
    let info = r#"{"ID":"1","Node":"s1.global","Role":"leader","LeaderID":"1","ClusterID":"c",
        "Term":3,"CommitIndex":12,"AppliedIndex":12,"LastIndex":14,"FirstIndex":1,
        "SnapshotIndex":0,"Joint":false,"Servers":[
        {"ID":"1","Node":"s1.global","Address":"a:1","Status":"alive","Suffrage":"voter",
         "Leader":true,"MatchIndex":14,"NextIndex":15,"Feed":null,"LastContactMs":null},
        {"ID":"2","Node":"s2.global","Address":"b:1","Status":"failed","Suffrage":"voter",
         "Leader":false,"MatchIndex":9,"NextIndex":10,"Feed":"probe","LastContactMs":4100}]}"#;
    let server = Server::with(&[("GET /v1/operator/raft/info", 200, info)]);
    let ran = server.drover(&["operator", "raft", "info", "-server-id=leader"]);
    let expected = "\
Server           = s1.global
ID               = 1
Cluster          = c
Role             = leader
Leader           = s1.global
Term             = 3
Commit Index     = 12
Applied Index    = 12
First Index      = 1
Last Index       = 14
Snapshot Index   = <none>
Change of Voters = none

Servers
Node       ID  Address  Status  Suffrage  Match  Feed   Heard
s1.global  1   a:1      leader  voter     14     -      -
s2.global  2   b:1      failed  voter     9      probe  4100ms ago
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    assert_eq!(server.asked()[0].0, "GET /v1/operator/raft/info?server_id=leader");
    let json = server.drover(&["operator", "raft", "info", "-json"]);
    assert!(json.out.contains("\"LastContactMs\": 4100"), "{}", json.out);
}

#[test]
fn what_is_no_snapshot_is_not_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::with(&[("GET /v1/operator/snapshot", 200, "not at all")]);
    let path = folder.path().join("backup.snap");
    let file = path.to_str().expect("text");
    let ran = server.drover(&["operator", "snapshot", "save", "-stale", file]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("what the server sent is no snapshot"), "{}", ran.err);
    assert!(!path.exists(), "nothing stands under a name that promises a snapshot");
    assert_eq!(server.asked()[0].0, "GET /v1/operator/snapshot?stale=true");
}

fn about() -> About {
    About {
        version: "0.1.0".into(),
        taken: WallTime { unix_ms: 1_700_000_000_000 },
        cluster: ClusterId(0xc),
        index: Index(0),
        term: Term(3),
        configuration: Configuration::new(&[ServerId(1), ServerId(2)], &[]),
    }
}

#[test]
fn a_snapshot_is_inspected_without_an_agent_and_a_damaged_one_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backup.snap");
    let mut bytes = archive::pack(about(), &State::new().encode());
    std::fs::write(&path, &bytes).expect("written");
    let inspect = |flags: &[&str]| {
        let file = path.to_str().expect("text");
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
        // Nobody is asked: an address that makes no sense is no hindrance.
        let command = command.env("DROVER_ADDR", "nonsense://");
        ran(command.args(["operator", "snapshot", "inspect"]).args(flags).arg(file))
    };
    let shown = inspect(&[]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    for line in ["(matches)", "Voters   = 2", "Taken    = 2023-11-14T22:13:20Z", "Jobs         0"] {
        assert!(shown.out.contains(line), "{line}: {}", shown.out);
    }
    let json: serde_json::Value = serde_json::from_str(&inspect(&["-json"]).out).expect("JSON");
    assert_eq!((&json["Term"], &json["Counts"]["Nodes"]), (&3.into(), &0.into()));
    assert_eq!(json["Digest"], State::new().digest().to_string());
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let refused = inspect(&[]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("checksum does not match"), "{}", refused.err);
}

#[test]
fn a_saved_file_is_sent_whole_and_a_refusal_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backup.snap");
    let mut bytes = archive::pack(about(), &State::new().encode());
    std::fs::write(&path, &bytes).expect("written");
    let server = Server::with(&[
        ("PUT /v1/operator/snapshot", 200, r#"{"Index":42}"#),
        ("PUT /v1/operator/snapshot", 400, "the saved state is of cluster c"),
    ]);
    let file = path.to_str().expect("text");
    let restore = ["operator", "snapshot", "restore", file];
    let done = server.drover(&restore);
    let expected = "The state saved at index 0 (0 jobs, 0 allocations) was restored at index 42\n";
    assert_eq!((done.out.as_str(), done.code), (expected, 0), "{}", done.err);
    let (line, body) = &server.asked()[0];
    assert_eq!(line, "PUT /v1/operator/snapshot");
    assert!(body.starts_with("DROVSNP1"), "{body}");
    let refused = server.drover(&restore);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("is of cluster c"), "{}", refused.err);
    let yes = server.drover(&["operator", "snapshot", "restore", "-yes", file]);
    assert!(yes.err.contains("-data-dir"), "nobody is asked online: {}", yes.err);
    bytes[20] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let damaged = server.drover(&restore);
    assert!(damaged.err.contains("checksum does not match"), "{}", damaged.err);
    assert_eq!(server.asked().len(), 2, "what is damaged is not sent");
}

#[test]
fn servers_are_made_anew_only_where_that_makes_sense() {
    let folder = tempfile::tempdir().expect("a folder");
    let drover = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
        ran(command.args(["operator"]).args(args).current_dir(&folder))
    };
    let recover = drover(&["raft", "recover", "-data-dir", "nowhere", "-yes"]);
    assert_eq!(recover.code, 1);
    assert!(recover.err.contains("nowhere is no data directory of a server"), "{}", recover.err);
    assert!(!folder.path().join("nowhere").exists(), "looking makes nothing");
    std::fs::write(folder.path().join("bad.snap"), "DROVSNP1 and nothing").expect("written");
    let restore = ["snapshot", "restore", "-data-dir", "new", "-yes", "bad.snap"];
    let damaged = drover(&restore);
    assert!(damaged.err.contains("checksum does not match"), "{}", damaged.err);
    assert!(!folder.path().join("new").exists());
}

#[test]
fn the_autopilot_configuration_is_changed_where_it_was_named() {
    let path = "/v1/operator/autopilot/configuration";
    let known = r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,
        "MinQuorum":0,"ServerStabilizationTime":"10s","ModifyIndex":7}"#;
    let (get, put) = (format!("GET {path}"), format!("PUT {path}"));
    let server = Server::with(&[(&get, 200, known), (&put, 200, "true"), (&get, 200, known)]);
    let args = ["operator", "autopilot", "set-config", "-cleanup-dead-servers=false"];
    let ran = server.drover(&[&args[..], &["-server-stabilization-time=30s"]].concat());
    assert_eq!((ran.out.as_str(), ran.code), ("Configuration updated!\n", 0), "{}", ran.err);
    let asked = server.asked();
    assert_eq!(asked[1].0, format!("{put}?cas=7"));
    let body: serde_json::Value = serde_json::from_str(&asked[1].1).expect("JSON");
    assert_eq!(body["CleanupDeadServers"], false);
    assert_eq!(body["ServerStabilizationTime"], "30s");
    assert_eq!(body["LastContactThreshold"], "200ms", "it stays");
    let ran = server.drover(&["operator", "autopilot", "get-config"]);
    assert!(ran.out.contains("ServerStabilizationTime = 10s"), "{}", ran.out);

    let ran = server.drover(&["operator", "autopilot", "set-config"]);
    assert!(ran.code == 1 && ran.err.contains("name what is"), "{}", ran.err);
    let server = Server::with(&[(&get, 200, known), (&put, 200, "false")]);
    let ran = server.drover(&["operator", "autopilot", "set-config", "-min-quorum=3"]);
    assert!(ran.code == 1 && ran.err.contains("set by another meanwhile"), "{}", ran.err);
}

#[test]
fn how_well_the_servers_are_is_shown_and_tells_by_its_code() {
    let health = r#"{"Healthy":false,"FailureTolerance":0,"Servers":[
        {"ID":"00000000-0000-0000-0000-00000000002a","Name":"s1.global","Address":"10.0.0.1:4647",
        "SerfStatus":"failed","Version":"0.1.0","Leader":false,"LastContact":"","LastTerm":2,
        "LastIndex":46,"Healthy":false,"Voter":true,"StableSince":"0001-01-01T00:00:00Z"}]}"#;
    let server = Server::with(&[("GET /v1/operator/autopilot/health", 429, health)]);
    let ran = server.drover(&["operator", "autopilot", "health"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for text in ["Healthy           = false", "s1.global", "failed", "never"] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
    let ran = server.drover(&["operator", "autopilot", "health", "-json"]);
    assert!(ran.code == 2 && ran.out.contains("\"FailureTolerance\": 0"), "{}", ran.out);
}

#[test]
fn the_scheduler_configuration_is_changed_where_it_was_named_and_read_back() {
    let path = "/v1/operator/scheduler/configuration";
    let known = r#"{"SchedulerConfig":{"SchedulerAlgorithm":"binpack","PreemptionConfig":
        {"SystemSchedulerEnabled":true},"PauseEvalBroker":true,
        "MemoryOversubscriptionEnabled":true,"ModifyIndex":7}}"#;
    let (get, put) = (format!("GET {path}"), format!("PUT {path}"));
    let set = r#"{"Updated":true,"Index":9}"#;
    let server = Server::with(&[(&get, 200, known), (&put, 200, set), (&get, 200, known)]);
    let args = ["operator", "scheduler", "set-config", "-scheduler-algorithm=spread"];
    let ran = server.drover(&[&args[..], &["-pause-eval-broker=false"]].concat());
    assert_eq!(
        (ran.out.as_str(), ran.code),
        ("Scheduler configuration updated!\n", 0),
        "{}",
        ran.err
    );
    let asked = server.asked();
    assert_eq!(asked[1].0, format!("{put}?cas=7"));
    let body: serde_json::Value = serde_json::from_str(&asked[1].1).expect("JSON");
    assert_eq!(body["SchedulerAlgorithm"], "spread");
    assert_eq!(body["PauseEvalBroker"], false);
    assert_eq!(body["PreemptionConfig"]["SystemSchedulerEnabled"], true, "it stays");
    let ran = server.drover(&["operator", "scheduler", "get-config"]);
    assert!(ran.out.contains("Scheduler Algorithm"), "{}", ran.out);
    assert!(ran.out.contains("Memory Oversubscription       = true"), "{}", ran.out);
}

#[test]
fn a_scheduler_configuration_that_another_set_meanwhile_is_left_alone() {
    let path = "/v1/operator/scheduler/configuration";
    let known = r#"{"SchedulerConfig":{"SchedulerAlgorithm":"binpack","ModifyIndex":7}}"#;
    let (get, put) = (format!("GET {path}"), format!("PUT {path}"));
    let server = Server::with(&[(&get, 200, known), (&put, 200, r#"{"Updated":false,"Index":8}"#)]);
    let ran = server.drover(&["operator", "scheduler", "set-config", "-reject-job-registration"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("set by another meanwhile, at index 8"), "{}", ran.err);
}
