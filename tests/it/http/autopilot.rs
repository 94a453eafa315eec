//! Who is to vote, and how well the servers are, over HTTP.
use serde_json::json;

use super::agent;

const PATH: &str = "/v1/operator/autopilot/configuration";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_to_vote_is_set_by_whoever_read_it_last() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let mut config = browser.get(PATH).await.json();
    assert_eq!(config["CleanupDeadServers"], true);
    assert_eq!(config["LastContactThreshold"], "200ms");
    assert_eq!(config["MaxTrailingLogs"], 250);
    assert_eq!(config["ServerStabilizationTime"], "10s");
    let index = config["ModifyIndex"].as_u64().expect("an index");
    config["CleanupDeadServers"] = json!(false);
    config["ServerStabilizationTime"] = json!("1m30s");
    config["MinQuorum"] = json!(3);
    let set = browser.put(&format!("{PATH}?cas={index}"), &config).await;
    assert_eq!((set.status, set.json()), (200, json!(true)));
    let again = browser.put(&format!("{PATH}?cas={index}"), &config).await;
    assert_eq!((again.status, again.json()), (200, json!(false)), "it was set meanwhile");
    let read = browser.get(PATH).await.json();
    assert_eq!(read["ServerStabilizationTime"], "1m30s");
    assert_eq!((&read["CleanupDeadServers"], &read["MinQuorum"]), (&json!(false), &json!(3)));
    assert_eq!(read["ModifyIndex"], set.index());
    for (key, value, why) in [
        ("LastContactThreshold", json!("soon"), "is no duration: write 200ms"),
        ("MinQuorum", json!(16), "at most fifteen servers"),
        ("EnableCustomUpgrades", json!(true), "Drover has no such thing"),
    ] {
        let mut wrong = read.clone();
        wrong[key] = value;
        let refused = browser.put(PATH, &wrong).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(why), "{}", refused.text());
    }
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_alone_is_well_and_may_not_fail() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let answer = browser.get("/v1/operator/autopilot/health").await;
    let health = answer.json();
    assert_eq!((answer.status, &health["Healthy"]), (200, &json!(true)), "{health:#}");
    assert_eq!(health["FailureTolerance"], 0);
    let [server] = health["Servers"].as_array().expect("a list").as_slice() else {
        panic!("{health:#}")
    };
    for (key, value) in [
        ("SerfStatus", json!("alive")),
        ("Leader", json!(true)),
        ("Voter", json!(true)),
        ("LastContact", json!("0s")),
    ] {
        assert_eq!(server[key], value, "{key}");
    }
    assert!(server["StableSince"].as_str().expect("a text").starts_with("20"), "{server:#}");
    drop(running);
}
