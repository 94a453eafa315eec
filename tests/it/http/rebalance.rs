//! Rebalancing over HTTP.
use drover_shell::run::AtStop;
use serde_json::json;

use super::{agent, alloc, job};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_it_looked_at_and_an_order_without_moves_enters_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    browser.put("/v1/jobs", &job("web", 1, "sleep 60")).await;
    alloc(&browser, "web", "running").await;
    let path = "/v1/operator/rebalance/plan";
    let planned = browser.put(path, &json!({ "Budget": 3, "MinGain": 0.2, "JobID": "web" })).await;
    assert_eq!(planned.status, 200, "{}", planned.text());
    let told = planned.json();
    assert_eq!(told["Moves"], json!([]));
    assert_eq!((&told["Budget"], &told["MinGain"]), (&json!(3), &json!(0.2)));
    assert_eq!(told["NotMovable"], json!({ "of jobs that are no services": 1 }));
    assert_eq!(told["Index"], planned.index());
    let applied = browser.put("/v1/operator/rebalance/apply", &json!({})).await;
    assert_eq!((applied.status, &applied.json()["Budget"]), (200, &json!(10)));
    let under_way = browser.get("/v1/operator/rebalance").await;
    assert_eq!(under_way.json(), json!({ "Waiting": [], "Moving": [] }));
    let stopped = browser.ask("DELETE", "/v1/operator/rebalance", &[], None).await;
    assert_eq!((stopped.status, stopped.json()), (200, under_way.json()));
    for (ask, why) in [
        (json!({ "Budget": 0 }), "Budget: a number of moves from 1 to 500"),
        (json!({ "Budget": 501 }), "Budget: a number of moves from 1 to 500"),
        (json!({ "MinGain": 3 }), "MinGain: from 0 to 2: scores are from -1 to 1"),
        (json!({ "MinGain": -0.1 }), "MinGain: from 0 to 2: scores are from -1 to 1"),
        (json!({ "JobID": "x" }), "there is no job \"x\" in namespace \"default\""),
        (json!({ "NodePool": "x" }), "there is no node pool \"x\": see drover node pool list"),
    ] {
        let refused = browser.put(path, &ask).await;
        assert_eq!((refused.status, refused.text()), (400, why), "{ask}");
    }
    running.stop(AtStop::KillTasks).await;
}
