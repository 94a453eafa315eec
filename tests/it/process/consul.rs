//! Agents beside a Consul agent. The one here is ours: it keeps what is registered, and tells of it.
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

use crate::rig::{Part, Site, job, leader_of, text_of, wait_for, wait_until};

/// What a Consul agent keeps, and how it behaves.
#[derive(Default)]
struct Kept {
    services: BTreeMap<String, Value>,
    /// Everything that was ever taken out.
    removed: Vec<String>,
    /// It takes connections, and answers nobody.
    is_away: bool,
    /// Checks fail.
    is_ill: bool,
    /// How often somebody wanted to know what became of checks.
    checks_read: usize,
}

type Shared = Arc<Mutex<Kept>>;

/// As much of Consul as agents ask for.
struct Catalog {
    port: u16,
    kept: Shared,
}

/// No service may have this name there.
const REFUSED: &str = "refused";

impl Catalog {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let kept = Shared::default();
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || while answer(&stream, &shared).is_some() {});
            }
        });
        Self { port, kept }
    }

    /// What an agent must be told to use it.
    fn block(&self) -> String {
        format!("consul {{\n  address = \"127.0.0.1:{}\"\n}}\n", self.port)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nobody panicked")
    }

    /// `(name, tag)` of each service, sorted.
    fn listed(&self) -> Vec<(String, String)> {
        let kept = self.kept();
        let listed = kept.services.values().map(|one| {
            let tags = one["Tags"].as_array().and_then(|tags| tags.last()?.as_str());
            (text_of(one, "Name"), tags.unwrap_or_default().to_owned())
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort();
        listed
    }

    /// The one service of that name.
    fn find(&self, name: &str) -> Option<Value> {
        let kept = self.kept();
        let mut found = kept.services.values().filter(|one| text_of(one, "Name") == name);
        let one = found.next().cloned();
        assert!(found.next().is_none(), "there are two of {name}");
        one
    }

    /// The last tag of the one service of that name.
    fn tag(&self, name: &str) -> Option<String> {
        let tags = self.find(name)?["Tags"].clone();
        tags.as_array().and_then(|tags| Some(tags.last()?.as_str()?.to_owned()))
    }
}

/// One request. `None`: there are no more.
fn answer(stream: &TcpStream, kept: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read != 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, text) = reply(&path, &body, &mut kept.lock().expect("nobody panicked"))?;
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", text.len());
    (&mut &*stream).write_all((head + &text).as_bytes()).ok()
}

/// `None`: it hangs up.
fn reply(path: &str, body: &[u8], kept: &mut Kept) -> Option<(&'static str, String)> {
    if kept.is_away {
        return None;
    }
    let ok = |text: String| Some(("200 OK", text));
    if path.starts_with("/v1/agent/service/register") {
        let service: Value = serde_json::from_slice(body).expect("it is JSON");
        if text_of(&service, "Name") == REFUSED {
            return Some(("400 Bad Request", "the name is not wanted".to_owned()));
        }
        kept.services.insert(text_of(&service, "ID"), service);
        return ok(String::new());
    }
    if let Some(id) = path.strip_prefix("/v1/agent/service/deregister/") {
        kept.services.remove(id);
        kept.removed.push(id.to_owned());
        return ok(String::new());
    }
    if path == "/v1/agent/self" {
        let config = json!({ "Datacenter": "east", "NodeName": "host1", "Version": "1.20.1" });
        return ok(json!({ "Config": config, "Member": {} }).to_string());
    }
    if path == "/v1/agent/services" {
        let listed = kept.services.iter().map(|(id, one)| {
            let listed = json!({ "ID": id, "Service": one["Name"], "Meta": one["Meta"] });
            (id.clone(), listed)
        });
        return ok(Value::Object(listed.collect()).to_string());
    }
    if path == "/v1/agent/checks" {
        kept.checks_read += 1;
        let status = if kept.is_ill { "critical" } else { "passing" };
        let of = |(id, one): (&String, &Value)| {
            let count = one["Checks"].as_array().map_or(0, Vec::len);
            let id = id.clone();
            (0..count).map(move |nth| {
                (format!("service:{id}:{nth}"), json!({ "ServiceID": id, "Status": status }))
            })
        };
        return ok(Value::Object(kept.services.iter().flat_map(of).collect()).to_string());
    }
    let asked = path.strip_prefix("/v1/catalog/service/").expect("nothing else is asked");
    let (name, tag) = asked.split_once("?tag=").expect("a tag is named");
    let is_meant = |one: &&Value| {
        let tags = one["Tags"].as_array().expect("a list");
        text_of(one, "Name") == name && tags.iter().any(|one| one == tag)
    };
    let found = kept.services.values().filter(is_meant).map(|one| {
        json!({ "Address": "", "ServiceAddress": one["Address"], "ServicePort": one["Port"] })
    });
    ok(Value::Array(found.collect()).to_string())
}

/// A job of one task with a port, and these services in its group.
fn job_with(site: &Site, services: &str) -> PathBuf {
    let more =
        format!("network {{\n      port \"http\" {{}}\n    }}\n    {services}\n    restart {{");
    let text = job("web", "service", 1, "exec sleep 1000").replacen("restart {", &more, 1);
    site.write("web.nomad.hcl", &text)
}

/// One service, with a tag and a check.
fn tagged(tag: &str) -> String {
    format!(
        "service {{\n name = \"web\"\n port = \"http\"\n tags = [\"all\", \"{tag}\"]\n check {{\n \
         type = \"http\"\n path = \"/up\"\n interval = \"10s\"\n timeout = \"2s\"\n }}\n }}"
    )
}

#[test]
fn servers_and_clients_find_each_other_by_consul_and_leave_its_catalog_when_they_stop() {
    let (site, catalog) = (Site::new(), Catalog::start());
    let consul = catalog.block();
    let mut servers: Vec<_> = ["s1", "s2", "s3"]
        .map(|name| site.agent(name, Part::Server { expect: 3 }, &[]))
        .into_iter()
        .collect();
    for server in &mut servers {
        server.configure_more(&consul);
        server.launch();
    }
    leader_of(&servers.iter().collect::<Vec<_>>());
    let mut client = site.agent("c1", Part::Client, &[]);
    client.configure_more(&consul);
    client.start();
    wait_until("it is served", || servers[0].node_status("c1").as_deref() == Some("ready"));
    wait_until("all stand in the catalog", || catalog.listed().len() == 7);
    let expected = [("drover", "http"), ("drover", "rpc"), ("drover-client", "http")];
    let mut listed = catalog.listed();
    listed.dedup();
    assert_eq!(listed, expected.map(|(name, tag)| (name.to_owned(), tag.to_owned())));

    client.stop();
    assert!(catalog.listed().iter().all(|(name, _)| name == "drover"));
    servers.iter_mut().for_each(|server| server.stop());
    assert_eq!(catalog.listed(), Vec::new());
}

#[test]
fn nothing_waits_for_a_consul_that_is_away() {
    let site = Site::new();
    let mut agent = site.agent("both", Part::Both, &[]);
    // Nobody listens on the discard port here.
    agent.configure_more("consul {\n  address = \"127.0.0.1:9\"\n}\n");
    agent.start();
    leader_of(&[&agent]);
    wait_until("its node is ready", || agent.node_status("both").as_deref() == Some("ready"));
    agent.wait_for_line(&["Consul at 127.0.0.1:9", "all else goes on"]);
    agent.stop();
    agent.wait_for_line(&["still stands in its catalog"]);
}

#[test]
fn a_service_stands_where_its_task_runs_for_as_long_as_it_does() {
    let (site, catalog) = (Site::new(), Catalog::start());
    let mut agent = site.agent("both", Part::Both, &[]);
    agent.configure_more(&catalog.block());
    agent.start();
    agent.run(&job_with(&site, &tagged("v1")));
    let web = wait_for("it stands in the catalog", || catalog.find("web"));
    let (alloc, _) = agent.allocs("web").pop().expect("there is an alloc");
    let granted = agent.get(&format!("/v1/allocation/{alloc}"));
    let port = &granted["AllocatedResources"]["Shared"]["Ports"][0]["Value"];
    assert_eq!((&web["Port"], &web["Tags"]), (port, &json!(["all", "v1"])));
    let (address, check) = (text_of(&web, "Address"), &web["Checks"][0]);
    assert_eq!(text_of(check, "HTTP"), format!("http://{address}:{port}/up"));
    assert_eq!((&check["Interval"], &check["Timeout"]), (&json!("10s"), &json!("2s")));

    agent.run(&job_with(&site, &tagged("v2")));
    wait_until("its tags are the new ones", || catalog.tag("web").as_deref() == Some("v2"));
    let same = agent.allocs("web");
    assert_eq!(same, [(alloc, "running".to_owned())], "nothing was started or stopped for that");

    // The task outlives its agent, and so does what others find; what does not run any more goes.
    agent.stop();
    let id = text_of(&web, "ID");
    assert_eq!(catalog.tag("web").as_deref(), Some("v2"));
    let left = |node: &Value, name: &str| json!({ "Name": name, "Tags": [], "Meta": { "drover-node": node } });
    let own = &web["Meta"]["drover-node"];
    for (left_id, left) in [
        ("_drover-task-gone-t-old-", left(own, "old")),
        ("_drover-task-gone-t-foreign-", left(&json!("another"), "foreign")),
        ("by-hand", left(own, "by-hand")),
    ] {
        catalog.kept().services.insert(left_id.to_owned(), left);
    }
    agent.start();
    wait_until("what was left behind is gone", || catalog.find("old").is_none());
    assert!(catalog.find("foreign").is_some() && catalog.find("by-hand").is_some());
    assert!(!catalog.kept().removed.contains(&id), "it was there all the time");
    wait_until("it runs on", || agent.count("web", "running") == 1);

    let said = agent.cli(&["job", "stop", "-detach", "web"]);
    assert!(said.status.success(), "{}", said.text);
    wait_until("it is not found any more", || catalog.find("web").is_none());
}

#[test]
fn what_consul_forgot_comes_back_and_what_it_refuses_holds_nothing_up() {
    let (site, catalog) = (Site::new(), Catalog::start());
    let mut agent = site.agent("both", Part::Both, &[]);
    agent.configure_more(&catalog.block());
    agent.start();
    let bad = format!("service {{\n name = \"{REFUSED}\"\n }}\n ");
    agent.run(&job_with(&site, &(bad.clone() + &tagged("v1"))));
    wait_until("it stands in the catalog", || catalog.tag("web").as_deref() == Some("v1"));
    agent.wait_for_line(&["the name is not wanted", "until that is mended"]);

    {
        let mut kept = catalog.kept();
        (kept.is_away, kept.services) = (true, BTreeMap::new());
    }
    agent.run(&job_with(&site, &(bad + &tagged("v2"))));
    agent.wait_for_line(&["all else goes on"]);
    catalog.kept().is_away = false;
    wait_until("it stands there again", || catalog.tag("web").as_deref() == Some("v2"));
    agent.wait_for_line(&["Consul answers again"]);
}

#[test]
fn a_job_with_services_waits_for_a_node_beside_consul_and_says_so() {
    let (site, catalog) = (Site::new(), Catalog::start());
    let servers = site.servers(1);
    let (server, _alone) = (&servers[0], site.client("alone", &servers));
    wait_until("a node is ready", || server.node_status("alone").as_deref() == Some("ready"));
    let file = job_with(&site, &tagged("v1")).display().to_string();
    let said = server.cli(&["job", "run", "-detach", &file]);
    assert!(said.text.contains("set consul { address = \"127.0.0.1:8500\" }"), "{}", said.text);
    let said = wait_for("its evaluation has ended", || {
        let said = server.cli(&["job", "status", "web"]);
        said.text.contains("missing consul").then_some(said)
    });
    assert!(said.text.contains("1 nodes excluded by filter"), "{}", said.text);

    let mut beside = site.agent("beside", Part::Client, &[server.rpc_port]);
    beside.configure_more(&catalog.block());
    beside.start();
    wait_until("it stands in the catalog", || catalog.find("web").is_some());
    let nodes = server.get("/v1/nodes");
    let listed = nodes.as_array().into_iter().flatten();
    let node = listed.into_iter().find(|node| text_of(node, "Name") == "beside").expect("a node");
    let attributes = server.get(&format!("/v1/node/{}", text_of(node, "ID")))["Attributes"].clone();
    let told = ["consul.version", "consul.datacenter", "unique.consul.name"]
        .map(|name| text_of(&attributes, name));
    assert_eq!(told, ["1.20.1", "east", "host1"]);
}

#[test]
fn a_deployment_waits_for_the_checks_that_consul_makes() {
    let (site, catalog) = (Site::new(), Catalog::start());
    catalog.kept().is_ill = true;
    let mut agent = site.agent("both", Part::Both, &[]);
    agent.configure_more(&catalog.block());
    agent.start();
    let update = "update {\n min_healthy_time = \"100ms\"\n }\n ";
    agent.run(&job_with(&site, &(update.to_owned() + &tagged("v1"))));
    wait_until("it runs", || agent.count("web", "running") == 1);
    let read = |catalog: &Catalog| catalog.kept().checks_read;
    wait_until("its checks were looked at more than once", || 3 <= read(&catalog));
    let deployment = || agent.get("/v1/job/web/deployment");
    let healthy = |deployment: &Value| deployment["TaskGroups"]["g"]["HealthyAllocs"].clone();
    assert_eq!(healthy(&deployment()), 0, "it runs, and is not well");
    catalog.kept().is_ill = false;
    wait_until("it is healthy", || text_of(&deployment(), "Status") == "successful");
    assert_eq!(healthy(&deployment()), 1);
}
