//! The HTTP API of a real agent, asked over real connections.
mod autopilot;
mod browser;
mod gates;
mod metadata;
mod pools;
mod rebalance;
mod volumes;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_shell::config::{Introduction, Resolved, Surroundings, Written};
use drover_shell::drivers::{Cgroups, DriversConfig};
use drover_shell::http::{Api, LogTap, Me, router, serve};
use drover_shell::run::{AtStop, Core};
use drover_shell::start::{Running, start_with};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;

use self::browser::Browser;

type Servers = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Serve `api` at an address of its own.
async fn served(api: impl FnOnce(String) -> Api) -> Browser {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let router = router(Arc::new(api(address.clone())));
    let _until_the_test_ends = tokio::spawn(serve(listener, router, std::future::pending()));
    Browser { address }
}

/// A server and client in one, and whoever asks it.
async fn agent(data_dir: &Path) -> (Running, Browser) {
    agent_with(data_dir, Written::default()).await
}

/// The same, and it is told more.
async fn agent_with(data_dir: &Path, more: Written) -> (Running, Browser) {
    let written = Written { ports_http: Some(0), ports_rpc: Some(0), ..more };
    let around = Surroundings::look(data_dir.to_owned());
    let resolved = Resolved::dev(&written, &around).expect("a dev configuration");
    let drivers = DriversConfig {
        shim_executable: env!("CARGO_BIN_EXE_shim").into(),
        cgroups: Cgroups::WherePossible,
    };
    let running = start_with(&resolved, drivers).expect("the agent starts");
    let browser = served(|http_address| Api {
        core: running.core.clone(),
        shadow: running.shadow.clone(),
        me: Me {
            name: resolved.name.clone(),
            region: resolved.region.clone(),
            datacenter: resolved.datacenter.clone(),
            version: "0".into(),
            server: true,
            client: running.identity.node,
            alloc_dir: resolved.client.as_ref().map(|client| client.alloc_dir.clone()),
            http_address,
            config: Json::Null,
        },
        node: running.node.clone(),
        logs: LogTap::new().0,
        servers: Arc::new(Vec::new),
        joins: None,
        introduction: Introduction::default(),
        unsafe_open: false,
    })
    .await;
    // Reads wait for a leader. Then the node is there to place on.
    let mut nodes = browser.get("/v1/nodes").await;
    while nodes.body == b"[]" {
        nodes = browser.get(&format!("/v1/nodes?index={}", nodes.index())).await;
    }
    (running, browser)
}

/// An agent without tables or tasks.
async fn client_only(servers: impl FnOnce(String) -> Servers) -> Browser {
    served(|http_address| Api {
        core: Core::channel().0,
        shadow: None,
        me: Me { region: "global".into(), http_address: http_address.clone(), ..Me::default() },
        node: None,
        logs: LogTap::new().0,
        servers: servers(http_address),
        joins: None,
        introduction: Introduction::default(),
        unsafe_open: false,
    })
    .await
}

fn job(id: &str, count: u32, script: &str) -> Json {
    let task = json!({
        "Name": "srv",
        "Driver": "raw_exec",
        "Config": { "command": "/bin/sh", "args": ["-c", script] },
        "Resources": { "CPU": 20, "MemoryMB": 16 },
    });
    let group = json!({ "Name": "app", "Count": count, "Tasks": [task] });
    let job = json!({ "ID": id, "Type": "batch", "Datacenters": ["*"], "TaskGroups": [group] });
    json!({ "Job": job })
}

/// The first alloc of `job`, once it has `status`.
async fn alloc(browser: &Browser, job: &str, status: &str) -> Json {
    let mut index = 1;
    loop {
        let answer = browser.get(&format!("/v1/job/{job}/allocations?index={index}")).await;
        index = answer.index();
        let found = answer.json().as_array().expect("a list").first().cloned();
        if let Some(found) = found.filter(|alloc| alloc["ClientStatus"] == status) {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_reads_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let put = browser.put("/v1/jobs", &job("a/b", 0, "true")).await;
    let written = put.json();
    assert_eq!(written["JobModifyIndex"], put.index());
    let read = browser.get("/v1/job/a%2Fb").await;
    assert_eq!((read.json()["ID"].as_str(), read.index()), (Some("a/b"), put.index()));
    assert_eq!(read.header("x-nomad-knownleader"), Some("true"));
    let eval = written["EvalID"].as_str().expect("an id").to_owned();
    assert_eq!(browser.get(&format!("/v1/evaluation/{eval}")).await.json()["JobID"], "a/b");
    // Believing something else of the job than what is true.
    let mut again = job("a/b", 1, "true");
    again["EnforceIndex"] = json!(true);
    let refused = browser.ask("POST", "/v1/jobs", &[], Some(&again)).await;
    let text = "Enforcing job modify index 0: job already exists";
    assert_eq!((refused.status, refused.text()), (500, text));
    again["JobModifyIndex"] = json!(9_999);
    let refused = browser.put("/v1/jobs", &again).await;
    assert!(refused.text().ends_with(&format!("modify index: {}", put.index())));
    again["JobModifyIndex"] = json!(put.index());
    assert_eq!(browser.put("/v1/job/a/b", &again).await.status, 200);
    let versions = browser.get("/v1/job/a/b/versions?diffs=true").await.json();
    assert_eq!(versions["Diffs"][0]["TaskGroups"][0]["Fields"][0]["Name"], "Count");
    // Gone at once, for lists too.
    let stopped = browser.ask("DELETE", "/v1/job/a/b?purge=true", &[], None).await;
    assert_eq!(stopped.status, 200);
    assert_eq!(browser.get("/v1/job/a/b").await.text(), "job not found");
    assert_eq!(browser.get("/v1/jobs?prefix=a").await.text(), "[]");
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_query_ends_with_a_change_or_with_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let first = browser.put("/v1/jobs", &job("one", 0, "true")).await.index();
    let path = format!("/v1/job/one?index={first}");
    let began = Instant::now();
    let unchanged = browser.get(&format!("{path}&wait=300ms")).await;
    assert!(Duration::from_millis(300) <= began.elapsed());
    assert_eq!((unchanged.status, unchanged.index()), (200, first));
    let waiting = tokio::spawn({
        let browser = browser.clone();
        async move { browser.get(&path).await }
    });
    browser.put("/v1/jobs", &job("other", 0, "true")).await;
    let second = browser.put("/v1/jobs", &job("one", 0, "false")).await.index();
    let changed = waiting.await.unwrap();
    assert_eq!((changed.index(), &changed.json()["Version"]), (second, &json!(1)));
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_a_status_and_a_line_of_text() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let nobody = "00000000-0000-0000-0000-000000000000";
    for (method, path, status, text) in [
        ("GET", "/v1/nosuch", 404, ""),
        ("DELETE", "/v1/jobs", 405, "Invalid method"),
        ("PUT", "/v1/jobs", 400, "Job must be specified"),
        ("GET", "/v1/jobs?wait=abc", 400, "Invalid wait time"),
        ("GET", "/v1/jobs?index=-1", 400, "Invalid index"),
        (
            "GET",
            "/v1/jobs?region=mars",
            500,
            "No path to region \"mars\": known are global. Let a server meet one of that region with `drover server join`",
        ),
        ("GET", "/v1/job/none", 404, "job not found"),
        ("PUT", "/v1/job/none/evaluate", 404, "job not found"),
        ("GET", &format!("/v1/allocation/{nobody}"), 404, "alloc not found"),
        ("GET", &format!("/v1/evaluation/{nobody}"), 404, "eval not found"),
        ("GET", &format!("/v1/node/{nobody}"), 404, "node not found"),
        ("GET", &format!("/v1/deployment/{nobody}"), 404, "deployment not found"),
        ("PUT", &format!("/v1/deployment/fail/{nobody}"), 404, "deployment not found"),
        ("PUT", "/v1/deployment/fail/1", 400, "\"1\" is no id: 36 characters expected"),
        ("PUT", "/v1/job/none/revert", 400, "JobVersion must be given"),
        ("GET", &format!("/v1/client/fs/ls/{nobody}"), 404, "alloc not found"),
        ("PUT", &format!("/v1/allocation/{nobody}/stop"), 404, "alloc not found"),
        ("GET", "/v1/quotas", 501, "Nomad Enterprise only endpoint"),
        (
            "DELETE",
            "/v1/operator/raft/peer?address=10.0.0.1%3A4647",
            500,
            "address \"10.0.0.1:4647\" is not in the Raft configuration",
        ),
        (
            "DELETE",
            "/v1/operator/raft/peer?id=me",
            500,
            "id \"me\" is not in the Raft configuration",
        ),
        (
            "DELETE",
            "/v1/operator/raft/peer?id=a&address=b",
            400,
            "name the server by its id or its address, not both",
        ),
        ("PUT", "/v1/operator/raft/transfer-leadership", 400, "peer: no other voter is alive"),
    ] {
        let answer = browser.ask(method, path, &[], None).await;
        assert_eq!((answer.status, answer.text()), (status, text), "{method} {path}");
    }
    let origin = [("Origin", "http://evil.example")];
    assert_eq!(browser.ask("GET", "/v1/jobs", &origin, None).await.status, 403);
    let host = [("Host", "evil.example")];
    assert_eq!(browser.ask("GET", "/v1/jobs", &host, None).await.status, 403);
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_files_of_a_task_are_read_and_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let script = "echo one; echo two; echo secret > secrets/key; exec sleep 60";
    browser.put("/v1/jobs", &job("talk", 1, script)).await;
    let alloc = alloc(&browser, "talk", "running").await;
    let id = alloc["ID"].as_str().expect("an id");
    let logs = format!("/v1/client/fs/logs/{id}?task=srv&type=stdout");
    let frames = browser.listen(&format!("{logs}&follow=true&origin=start"), "{}").await;
    // "one\ntwo\n", perhaps in two pieces, and then a heartbeat.
    assert!(frames.contains("\"Data\":\"b25l"), "{frames}");
    assert!(frames.contains("\"Offset\":8"), "{frames}");
    let plain = browser.get(&format!("{logs}&plain=true&origin=end&offset=4")).await;
    assert_eq!((plain.status, plain.text()), (200, "two\n"));
    let file = format!("{id}?path=alloc/logs/srv.stdout.0");
    assert_eq!(browser.get(&format!("/v1/client/fs/cat/{file}")).await.text(), "one\ntwo\n");
    let part = browser.get(&format!("/v1/client/fs/readat/{file}&offset=1&limit=4")).await;
    assert_eq!(part.text(), "ne\nt");
    assert_eq!(browser.get(&format!("/v1/client/fs/stat/{file}")).await.json()["Size"], 8);
    let secret = browser.get(&format!("/v1/client/fs/cat/{id}?path=srv/secrets/key")).await;
    assert_eq!(secret.status, 403);
    let stats = browser.get(&format!("/v1/client/allocation/{id}/stats")).await.json();
    assert_ne!(stats["Tasks"]["srv"]["ResourceUsage"]["MemoryStats"]["RSS"], 0);
    let signal = json!({ "Task": "srv", "Signal": "SIGNOPE" });
    let refused = browser.put(&format!("/v1/client/allocation/{id}/signal"), &signal).await;
    assert_eq!((refused.status, refused.text()), (400, "invalid signal \"SIGNOPE\""));
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_in_pages_and_in_the_dress_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    for id in ["c", "a", "b"] {
        browser.put("/v1/jobs", &job(id, 0, "true")).await;
    }
    let first = browser.get("/v1/jobs?per_page=2").await;
    let next = first.header("x-nomad-nexttoken").expect("a next page").to_owned();
    let rest = browser.get(&format!("/v1/jobs?per_page=2&next_token={next}")).await;
    assert_eq!(rest.header("x-nomad-nexttoken"), None);
    let names = [first.json(), rest.json()].map(|page| {
        page.as_array().unwrap().iter().map(|job| job["ID"].clone()).collect::<Vec<_>>()
    });
    assert_eq!(json!(names.concat()), json!(["a", "b", "c"]));
    assert!(browser.get("/v1/jobs?pretty").await.text().starts_with("[\n    {\n"));
    let gzip = [("Accept-Encoding", "gzip")];
    let smaller = browser.ask("GET", "/v1/jobs", &gzip, None).await;
    assert_eq!(smaller.header("content-encoding"), Some("gzip"));
    assert!(smaller.body.len() < browser.get("/v1/jobs").await.body.len());
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let mut ask = job("web", 2, "sleep 60");
    ask["Diff"] = json!(true);
    let new = browser.put("/v1/job/web/plan", &ask).await.json();
    assert_eq!(new["Annotations"]["DesiredTGUpdates"]["app"]["Place"], 2);
    assert_eq!((&new["Diff"]["Type"], &new["JobModifyIndex"]), (&json!("Added"), &json!(0)));
    assert_eq!(browser.get("/v1/job/web").await.status, 404);
    ask["Job"]["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] = json!(900_000_000);
    let large = browser.put("/v1/job/web/plan", &ask).await.json();
    assert_ne!(large["FailedTGAllocs"]["app"], Json::Null);
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_and_an_alloc_are_explained_by_what_is_now() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let mut spec = job("web", 1, "sleep 60");
    spec["Job"]["TaskGroups"][0]["Name"] = json!("app");
    spec["Job"]["Constraints"] = json!([
        { "LTarget": "${attr.kernel.name}", "Operand": "=", "RTarget": "linux" }
    ]);
    browser.put("/v1/jobs", &spec).await;
    let running_alloc = alloc(&browser, "web", "running").await;
    let node = running_alloc["NodeName"].as_str().expect("a name").to_owned();
    let seen = browser.get(&format!("/v1/job/web/explain?node={node}")).await;
    let told = seen.json();
    assert_eq!((&told["JobID"], &told["Index"]), (&json!("web"), &json!(seen.index())));
    let group = &told["Groups"][0];
    assert_eq!((&group["Name"], &group["Missing"]), (&json!("app"), &json!(0)));
    assert_eq!(group["Best"][0]["NodeName"], json!(node));
    assert_eq!(group["Node"]["Standing"], group["Best"][0]);
    let demands = group["Node"]["Demands"].as_array().expect("a list");
    assert!(demands.contains(&json!({
        "Kind": "constraint", "Demand": "${attr.kernel.name} = linux", "Found": "linux", "Met": true
    })));
    // The alloc itself stands against one more there, and not against itself.
    let against = |group: &Json| group["Best"][0]["Scores"]["job-anti-affinity"].clone();
    assert_ne!(against(group), json!(0.0));
    let path = format!("/v1/allocation/{}/explain", running_alloc["ID"].as_str().expect("an id"));
    let told = browser.get(&path).await.json();
    assert_eq!(told["Evaluation"]["TriggeredBy"], "job-register");
    assert_eq!((&told["Replaced"], &told["Metrics"]["NodesEvaluated"]), (&Json::Null, &json!(1)));
    let now = &told["Now"]["Group"];
    assert_eq!((&now["Missing"], against(now)), (&json!(1), json!(0.0)));
    // Nothing of it has happened.
    assert_eq!(browser.get("/v1/job/web/allocations").await.json()[0]["ClientStatus"], "running");
    browser.ask("DELETE", "/v1/job/web", &[], None).await;
    let none = "job \"web\" has no group";
    let stopped = "job \"web\" is stopped, so nothing of it is placed";
    for (path, status, text) in [
        ("/v1/job/none/explain", 404, "job not found"),
        ("/v1/job/web/explain", 400, stopped),
        ("/v1/allocation/00000000-0000-0000-0000-000000000000/explain", 404, "alloc not found"),
    ] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().starts_with(text), "{path}: {}", answer.text());
    }
    let told = browser.get(&path).await.json();
    assert_eq!((&told["Now"], &told["NeverNow"]), (&Json::Null, &json!(stopped)));
    browser.put("/v1/jobs", &spec).await;
    let answer = browser.get("/v1/job/web/explain?group=db").await;
    assert_eq!((answer.status, answer.text()), (400, &*format!("{none} \"db\"; its groups: app")));
    let answer = browser.get("/v1/job/web/explain?node=n7").await;
    let unknown = "there is no node \"n7\": see drover node status";
    assert_eq!((answer.status, answer.text()), (400, unknown));
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_tables_asks_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let (running, server) = agent(dir.path()).await;
    let nobody = "127.0.0.1:1".to_owned();
    let address = server.address.clone();
    let client = client_only(|_| Arc::new(move || vec![nobody.clone(), address.clone()])).await;
    let put = client.put("/v1/jobs", &job("far", 1, "echo hello")).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let alloc = alloc(&client, "far", "complete").await;
    let id = alloc["ID"].as_str().expect("an id");
    // The files are with the server's own client: two agents away.
    let logs = format!("/v1/client/fs/logs/{id}?task=srv&type=stdout&plain=true");
    assert_eq!(client.get(&logs).await.text(), "hello\n");
    let lost = client_only(|own| Arc::new(move || vec![own.clone()])).await;
    let answer = lost.get("/v1/jobs").await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().starts_with("no path to the agent"), "{}", answer.text());
    assert!(answer.text().ends_with("says unsafe_open = true"), "{}", answer.text());
    let gone = client_only(|_| Arc::new(|| vec!["127.0.0.1:1".to_owned()])).await;
    let answer = gone.get("/v1/jobs").await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().ends_with("says unsafe_open = true"), "{}", answer.text());
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_find_the_keys_that_they_look_for() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    browser.put("/v1/jobs", &job("web", 1, "true")).await;
    let alloc = alloc(&browser, "web", "complete").await;
    let id = alloc["ID"].as_str().expect("an id").to_owned();
    for line in include_str!("http/keys.txt").lines().filter(|line| !line.starts_with('#')) {
        let (path, keys) = line.split_once(' ').expect("a path and its keys");
        let answer = browser.get(&path.replace(":alloc", &id)).await.json();
        let object = if answer.is_array() { &answer[0] } else { &answer };
        let missing: Vec<&str> = keys.split(' ').filter(|key| object.get(key).is_none()).collect();
        assert!(missing.is_empty(), "{path} has no {missing:?}");
    }
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_holds_what_was_written_before() {
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let written = browser.put("/v1/jobs", &job("kept", 0, "true")).await.index();
    for path in ["/v1/operator/snapshot", "/v1/operator/snapshot?stale"] {
        let answer = browser.get(path).await;
        assert!(answer.header("digest").is_some_and(|sum| sum.starts_with("sha-256=")));
        let archive = drover_shell::archive::unpack(&answer.body).expect("it is whole");
        assert_eq!(archive.about.index.0, answer.index());
        assert!(written <= answer.index());
        let state = drover_core::state::State::decode(archive.state).expect("it reads");
        assert!(state.job_named("default", "kept").is_some());
        assert_eq!(state.cluster(), archive.about.cluster);
    }
    running.stop(AtStop::KillTasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_the_servers_schedule_is_set_by_whoever_read_it_last() {
    const PATH: &str = "/v1/operator/scheduler/configuration";
    let dir = tempfile::tempdir().unwrap();
    let (running, browser) = agent(dir.path()).await;
    let mut growing = job("a", 1, "true");
    growing["Job"]["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMaxMB"] = json!(500);
    let plan = browser.put("/v1/job/a/plan", &growing).await.json();
    let said = |answer: &serde_json::Value| {
        let text = answer["Warnings"].as_str().unwrap_or_default().to_owned();
        text.contains("memory_max of task") && text.contains("-memory-oversubscription=true")
    };
    assert!(said(&plan), "{plan}");
    let read = browser.get(PATH).await.json();
    assert_eq!(read["SchedulerConfig"]["SchedulerAlgorithm"], "pack");
    let mut config = read["SchedulerConfig"].clone();
    config["SchedulerAlgorithm"] = json!("spread");
    config["RejectJobRegistration"] = json!(true);
    let index = config["ModifyIndex"].as_u64().expect("an index");
    let set = browser.put(&format!("{PATH}?cas={index}"), &config).await.json();
    assert_eq!(set["Updated"], true);
    let again = browser.put(&format!("{PATH}?cas={index}"), &config).await.json();
    assert_eq!((&again["Updated"], &again["Index"]), (&json!(false), &set["Index"]));
    let read = browser.get(PATH).await.json();
    assert_eq!(read["SchedulerConfig"]["ModifyIndex"], set["Index"]);
    assert_eq!(read["SchedulerConfig"]["SchedulerAlgorithm"], "spread");
    let refused = browser.put("/v1/jobs", &job("a", 1, "true")).await;
    assert_eq!(refused.status, 400);
    let why = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(why.contains("registration of jobs is switched off"), "{why}");
    let wrong = browser.put(PATH, &json!({ "SchedulerAlgorithm": "best" })).await;
    assert_eq!(wrong.status, 400);
    let more = json!({ "MemoryOversubscriptionEnabled": true });
    assert_eq!(browser.put(PATH, &more).await.json()["Updated"], true);
    let taken = browser.put("/v1/jobs", &growing).await;
    assert_eq!(taken.status, 200, "what is not said is switched off");
    assert!(!said(&taken.json()), "it has its effect now");
    drop(running);
}
