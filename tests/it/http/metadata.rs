//! What is said of a node while it runs, over HTTP.
use std::sync::Arc;

use drover_shell::run::AtStop;
use serde_json::json;

use super::{agent, client_only};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_said_at_its_own_node_whoever_is_asked() {
    const PATH: &str = "/v1/client/metadata";
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let address = browser.address.clone();
    let elsewhere = client_only(|_| Arc::new(move || vec![address.clone()])).await;
    let refused = elsewhere.get(PATH).await;
    let why = "the agent that was asked is not a client: name a node with node_id";
    assert_eq!((refused.status, refused.text()), (400, why));
    let refused = elsewhere.put(PATH, &json!({ "Meta": { "a": "1" } })).await;
    assert_eq!((refused.status, refused.text()), (400, why));

    let id = running.identity.node.expect("it is a client").uuid().to_string();
    let put = elsewhere.put(PATH, &json!({ "NodeID": id, "Meta": { "a": "1", "b": "" } })).await;
    let told =
        json!({ "Meta": { "a": "1", "b": "" }, "Dynamic": { "a": "1", "b": "" }, "Static": {} });
    assert_eq!((put.status, put.json()), (200, told.clone()));
    assert_eq!(elsewhere.get(&format!("{PATH}?node_id={id}")).await.json(), told);
    let unknown = id.replace(|c: char| c != '-', "0");
    let lost = browser.put(PATH, &json!({ "NodeID": unknown, "Meta": { "a": "1" } })).await;
    assert_eq!((lost.status, lost.text()), (404, "node not found"));
    let empty = browser.put(PATH, &json!({ "Meta": {} })).await;
    assert_eq!(empty.status, 400);
    assert!(empty.text().starts_with("Meta is empty"), "{}", empty.text());
    running.stop(AtStop::KillTasks).await;
}
