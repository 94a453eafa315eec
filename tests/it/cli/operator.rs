//! What `drover operator` asks and prints.
use crate::server::Server;

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
