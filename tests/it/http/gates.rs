//! What waits for what, over HTTP.
use drover_shell::run::AtStop;
use serde_json::{Value as Json, json};

use super::{agent, alloc, job};

/// What the group waits for, in words.
fn said(metrics: &Json) -> Vec<&str> {
    let waits = metrics["Waits"].as_array().expect("it waits");
    waits.iter().map(|gate| gate["Said"].as_str().expect("words")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_waits_until_another_one_is_complete_and_says_so_meanwhile() {
    const LACKING: &str = "group app waits for job first (there is no such job)";
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let mut wanted = job("second", 1, "true");
    wanted["Job"]["After"] = json!([{ "Job": "first" }]);
    wanted["Diff"] = json!(true);
    let planned = browser.put("/v1/job/second/plan", &wanted).await.json();
    assert_eq!(said(&planned["FailedTGAllocs"]["app"]), [LACKING]);
    let warned = "after waits for job first, which does not exist yet";
    assert_eq!(planned["Warnings"], warned);
    let objects = planned["Diff"]["Objects"].as_array().expect("objects");
    let after = objects.iter().find(|one| one["Name"] == "After").expect("the block");
    assert_eq!(after["Fields"][0]["New"], "first");

    let put = browser.put("/v1/jobs", &wanted).await.json();
    assert_eq!(put["Warnings"], warned);
    let mut index = 1;
    let blocked = loop {
        let answer = browser.get(&format!("/v1/job/second/evaluations?index={index}")).await;
        index = answer.index();
        let evals = answer.json();
        let blocked = evals.as_array().expect("a list").iter().find(|e| e["Status"] == "blocked");
        if let Some(blocked) = blocked.cloned() {
            break blocked;
        }
    };
    assert_eq!(said(&blocked["FailedTGAllocs"]["app"]), [LACKING]);
    assert_eq!(blocked["QueuedAllocations"]["app"], 1);
    let explained = browser.get("/v1/job/second/explain").await.json();
    assert_eq!(said(&explained["Groups"][0]), [LACKING]);

    assert_eq!(browser.put("/v1/jobs", &job("first", 1, "exit 0")).await.status, 200);
    let done = alloc(&browser, "second", "complete").await;
    let first = alloc(&browser, "first", "complete").await;
    assert!(first["CreateIndex"].as_u64() < done["CreateIndex"].as_u64());
    let shown = browser.get("/v1/job/second").await.json();
    assert_eq!(shown["After"], json!([{ "Job": "first", "Group": null, "Until": null }]));

    let mut round = job("first", 1, "exit 0");
    round["Job"]["After"] = json!([{ "Job": "second" }]);
    let refused = browser.put("/v1/jobs", &round).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("nothing of it would ever begin"), "{}", refused.text());
    running.stop(AtStop::KillTasks).await;
}
