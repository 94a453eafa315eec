//! Node pools over HTTP.
use drover_shell::run::AtStop;
use serde_json::{Value as Json, json};

use super::{agent, job};

fn names(list: &Json) -> Vec<&str> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|row| row["Name"].as_str().expect("a name"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_made_shown_named_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let list = browser.get("/v1/node/pools").await;
    assert_eq!(names(&list.json()), ["all", "default"]);
    let missing = browser.get("/v1/node/pool/gpu").await;
    assert_eq!((missing.status, missing.text()), (404, "node pool not found"));
    let mut wanted = job("web", 0, "true");
    wanted["Job"]["NodePool"] = json!("gpu");
    let refused = browser.put("/v1/jobs", &wanted).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("make it by drover node pool apply"), "{}", refused.text());

    let waiting = browser.clone();
    let path = format!("/v1/node/pools?index={}", list.index());
    let changed = tokio::spawn(async move { waiting.get(&path).await });
    let body = json!({
        "Name": "gpu",
        "Description": "with cards",
        "Meta": { "owner": "vision" },
        "SchedulerConfiguration": { "SchedulerAlgorithm": "spread" },
    });
    let put = browser.put("/v1/node/pools", &body).await;
    assert_eq!((put.status, put.text()), (200, ""));
    let changed = changed.await.expect("it is woken");
    assert_eq!(
        (names(&changed.json()), changed.index()),
        (vec!["all", "default", "gpu"], put.index())
    );
    let made = browser.get("/v1/node/pool/gpu").await.json();
    for (key, value) in body.as_object().expect("an object") {
        let shown = if key == "SchedulerConfiguration" {
            json!({ "SchedulerAlgorithm": made[key]["SchedulerAlgorithm"] })
        } else {
            made[key].clone()
        };
        assert_eq!(shown, *value, "{key}");
    }
    assert_eq!(made["CreateIndex"], put.index());
    let again = browser.put("/v1/node/pool/gpu", &made).await;
    assert_eq!(again.status, 200, "what was read can be written back");
    assert_eq!(browser.get("/v1/node/pool/gpu").await.json(), made);
    assert_eq!(names(&browser.get("/v1/node/pools?prefix=g").await.json()), ["gpu"]);

    assert_eq!(browser.put("/v1/jobs", &wanted).await.status, 200);
    assert_eq!(browser.get("/v1/job/web").await.json()["NodePool"], "gpu");
    let jobs = browser.get("/v1/node/pool/gpu/jobs").await.json();
    assert_eq!((&jobs[0]["ID"], &jobs[0]["NodePool"]), (&json!("web"), &json!("gpu")));
    assert_eq!(browser.get("/v1/node/pool/default/jobs").await.json(), json!([]));
    assert_eq!(browser.get("/v1/node/pool/gpu/nodes").await.json(), json!([]));
    for pool in ["all", "default"] {
        let nodes = browser.get(&format!("/v1/node/pool/{pool}/nodes")).await.json();
        assert_eq!(nodes[0]["NodePool"], "default", "{pool}");
    }
    for path in ["/v1/node/pool/none/nodes", "/v1/node/pool/none/jobs"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }

    let delete = |name: &'static str| {
        let browser = browser.clone();
        async move { browser.ask("DELETE", &format!("/v1/node/pool/{name}"), &[], None).await }
    };
    let refused = delete("gpu").await;
    let why = "Name: pool \"gpu\" has jobs that are not stopped: web";
    assert_eq!((refused.status, refused.text()), (400, why));
    assert_eq!(delete("all").await.status, 400);
    assert_eq!(delete("none").await.status, 404);
    browser.ask("DELETE", "/v1/job/web", &[], None).await;
    assert_eq!(delete("gpu").await.status, 200);
    assert_eq!(names(&browser.get("/v1/node/pools").await.json()), ["all", "default"]);
    for (path, body) in [
        ("/v1/node/pool/gpu", json!({ "Name": "other" })),
        ("/v1/node/pools", json!({ "Name": "no name" })),
        ("/v1/node/pools", json!({ "Name": "default" })),
        (
            "/v1/node/pools",
            json!({ "Name": "a", "SchedulerConfiguration": { "SchedulerAlgorithm": "x" } }),
        ),
    ] {
        assert_eq!(browser.put(path, &body).await.status, 400, "{body}");
    }
    running.stop(AtStop::KillTasks).await;
}
