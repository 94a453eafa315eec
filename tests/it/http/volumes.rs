//! Host volumes over HTTP: of nodes, of jobs, and in what is said of both.
use drover_core::types::{Access, HostVolume};
use drover_shell::config::Written;
use drover_shell::run::AtStop;
use serde_json::{Value as Json, json};

use super::{agent_with, alloc, job};

/// A job whose group asks for the volume `source`.
fn asking(id: &str, source: &str, read_only: bool) -> Json {
    let mut job = job(id, 1, "true");
    let volume = json!({ "Name": "v", "Type": "host", "Source": source, "ReadOnly": read_only });
    job["Job"]["TaskGroups"][0]["Volumes"] = json!({ "v": volume });
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_are_shown_and_place_jobs_and_a_change_of_them_is_planned() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let volume = HostVolume { path: path.clone(), access: Access::ReadOnly };
    let mut written = Written::default();
    written.client.host_volumes = [("data".to_owned(), volume)].into();
    let (running, browser) = agent_with(dir.path(), written).await;
    let id = running.identity.node.expect("it is a client").uuid().to_string();
    let shown = json!({ "data": { "Name": "data", "Path": path, "ReadOnly": true } });
    let node = browser.get(&format!("/v1/node/{id}")).await.json();
    assert_eq!(node["HostVolumes"], shown);
    assert_eq!(browser.get("/v1/nodes").await.json()[0]["HostVolumes"], shown);

    assert_eq!(browser.put("/v1/jobs", &asking("reads", "data", true)).await.status, 200);
    let placed = alloc(&browser, "reads", "complete").await;
    assert_eq!(placed["NodeID"], json!(id));
    let read = browser.get("/v1/job/reads").await.json();
    let asked = &read["TaskGroups"][0]["Volumes"]["v"];
    assert_eq!((&asked["Source"], &asked["ReadOnly"]), (&json!("data"), &json!(true)));

    // Who writes is told what is in the way, and what changed.
    let mut ask = asking("reads", "data", false);
    ask["Diff"] = json!(true);
    let plan = browser.put("/v1/job/reads/plan", &ask).await.json();
    let failed = &plan["FailedTGAllocs"]["app"];
    assert_eq!(failed["ConstraintFiltered"], json!({ "missing compatible host volumes": 1 }));
    let changed = &plan["Diff"]["TaskGroups"][0]["Objects"][0];
    assert_eq!((&changed["Name"], &changed["Type"]), (&json!("Volume"), &json!("Edited")));
    let field = &changed["Fields"][0];
    let of = ["Name", "Old", "New"].map(|key| field[key].as_str().unwrap_or_default());
    assert_eq!(of, ["ReadOnly", "true", "false"]);
    assert_eq!(browser.put("/v1/jobs", &asking("writes", "data", false)).await.status, 200);
    let path = format!("/v1/job/writes/explain?group=app&node={id}");
    let told = browser.get(&path).await.text().to_owned();
    for words in ["host volume", "data, read-write", "read-only"] {
        assert!(told.contains(words), "wanted {words:?} in {told}");
    }

    // A driver that does not isolate is told so by name.
    let mut mounted = asking("mounts", "data", true);
    let mount = json!([{ "Volume": "v", "Destination": "/data" }]);
    mounted["Job"]["TaskGroups"][0]["Tasks"][0]["VolumeMounts"] = mount;
    let refused = browser.put("/v1/jobs", &mounted).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("raw_exec tasks see the files"), "{}", refused.text());
    running.stop(AtStop::KillTasks).await;
}
