//! Agents beside a Consul agent. The one here is ours: it keeps what is registered, and tells of it.
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::rig::{Part, Site, leader_of, text_of, wait_until};

type Services = Arc<Mutex<BTreeMap<String, Value>>>;

/// As much of Consul as agents ask for.
struct Catalog {
    port: u16,
    services: Services,
}

impl Catalog {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let services = Services::default();
        let shared = Arc::clone(&services);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || while answer(&stream, &shared).is_some() {});
            }
        });
        Self { port, services }
    }

    /// `(name, tag)` of each service, sorted.
    fn listed(&self) -> Vec<(String, String)> {
        let services = self.services.lock().expect("nobody panicked");
        let listed = services.values().map(|one| {
            let tags = one["Tags"].as_array().and_then(|tags| tags.last()?.as_str());
            (text_of(one, "Name"), tags.unwrap_or_default().to_owned())
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort();
        listed
    }
}

/// One request. `None`: there are no more.
fn answer(stream: &TcpStream, services: &Services) -> Option<()> {
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
    let text = reply(&path, &body, services);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
    (&mut &*stream).write_all((head + &text).as_bytes()).ok()
}

fn reply(path: &str, body: &[u8], services: &Services) -> String {
    let mut services = services.lock().expect("nobody panicked");
    if path.starts_with("/v1/agent/service/register") {
        let service: Value = serde_json::from_slice(body).expect("it is JSON");
        services.insert(text_of(&service, "ID"), service);
        return String::new();
    }
    if let Some(id) = path.strip_prefix("/v1/agent/service/deregister/") {
        services.remove(id);
        return String::new();
    }
    let asked = path.strip_prefix("/v1/catalog/service/").expect("nothing else is asked");
    let (name, tag) = asked.split_once("?tag=").expect("a tag is named");
    let is_meant = |one: &&Value| {
        let tags = one["Tags"].as_array().expect("a list");
        text_of(one, "Name") == name && tags.iter().any(|one| one == tag)
    };
    let found = services.values().filter(is_meant).map(|one| {
        json!({ "Address": "", "ServiceAddress": one["Address"], "ServicePort": one["Port"] })
    });
    Value::Array(found.collect()).to_string()
}

#[test]
fn servers_and_clients_find_each_other_by_consul_and_leave_its_catalog_when_they_stop() {
    let (site, catalog) = (Site::new(), Catalog::start());
    let consul = format!("consul {{\n  address = \"127.0.0.1:{}\"\n}}\n", catalog.port);
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
