//! The agent's files from end to end: what is read, what it means, and what is refused.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use drover_core::agent::LeadConfig;
use drover_core::raft::Priority;
use drover_core::types::{Access, HostVolume};
use drover_shell::config::{
    Certificates, Mode, RawExec, Recorder, Resolved, Surroundings, Written,
};
use drover_shell::jobspec::Source;

fn around() -> Surroundings {
    Surroundings {
        hostname: "box".to_owned(),
        outward_ip: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9))),
        scratch_dir: PathBuf::from("/tmp/scratch"),
    }
}

fn source(text: &str) -> Source {
    Source { file: "agent.hcl".to_owned(), text: text.to_owned() }
}

fn written(text: &str) -> Written {
    Written::parse(&source(text)).unwrap_or_else(|found| panic!("{found}"))
}

#[track_caller]
fn says(text: &str, words: &str) {
    match Written::parse(&source(text)) {
        Ok(found) => panic!("was read: {found:?}"),
        Err(found) => assert!(found.to_string().contains(words), "wanted {words:?} in\n{found}"),
    }
}

#[track_caller]
fn unusable(text: &str, words: &str) {
    match Resolved::of(&written(text), &around()) {
        Ok(found) => panic!("was resolved: {found:?}"),
        Err(found) => assert!(found.to_string().contains(words), "wanted {words:?} in\n{found}"),
    }
}

const CERTIFICATES: &str =
    "tls {\n ca_file = \"ca.pem\"\n cert_file = \"c.pem\"\n key_file = \"k.pem\"\n}\n";

const FULL: &str = r#"
# As an operator of Nomad wrote it.
"region" = "eu"
datacenter = "dc7"
name = "n1"
data_dir = "/var/lib/drover"
bind_addr = "10.0.0.5"
log_level = "warn"
log_json = true
leave_on_interrupt = true
leave_on_terminate = true
enable_debug = true
ports { http = 5646, rpc = 5647, serf = 5648 }
addresses { http = "127.0.0.1" }
advertise { rpc = "192.168.1.5:7000" }
server = {
  enabled = true
  bootstrap_expect = 3
  heartbeat_grace = "20s"
  election_priority = "low"
  tags { rack = "r1" }
  min_heartbeat_ttl = "15s"
  job_gc_interval = "10s"
  node_gc_threshold = "2h"
  retry_join = ["a.example"]
  server_join {
    retry_join = ["10.0.0.6", "10.0.0.7:4647"]
    retry_interval = "15s"
    retry_max = 3
  }
}
client {
  enabled = true
  servers = ["10.0.0.6"]
  node_class = "big"
  node_pool = "gpu"
  meta { "rack.row" = "r1"  shelf = 3 }
  options { "driver.raw_exec.enable" = "1" }
  reserved { cpu = 100  memory = 256  disk = 1024  reserved_ports = "22,8500-8502" }
  cpu_total_compute = 4000
  memory_total_mb = 2048
  network_interface = "eth0"
  network_speed = 2500
  cni_path = "/opt/cni/bin:/srv/cni"
  fingerprint_interval = "5m"
  max_kill_timeout = "1m"
  host_volume "certs" { path = "/etc/ssl"  read_only = true }
  host_volume "data" { path = "/srv/data" }
}
/* plugins */
plugin "raw_exec" { config { enabled = true } }
telemetry { prometheus_metrics = true collection_interval = "1s" }
acl { enabled = false }
tls { rpc = true  ca_file = "/e/ca.pem"  cert_file = "/e/c.pem"  key_file = "/e/k.pem"  verify_server_hostname = true }
recorder { max_mb = 64 }
consul {
  address = "127.0.0.1:8501"
  token = "secret"
  server_service_name = "drover-eu"
  client_auto_join = false
}
"#;

#[test]
fn a_whole_configuration_means_what_it_says() {
    let agent = Resolved::of(&written(FULL), &around()).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(
        (agent.region.as_str(), agent.datacenter.as_str(), agent.name.as_str()),
        ("eu", "dc7", "n1")
    );
    assert_eq!(agent.http_bind.to_string(), "127.0.0.1:5646");
    assert_eq!(agent.rpc_bind.to_string(), "10.0.0.5:5647");
    assert_eq!(agent.rpc_advertise.to_string(), "192.168.1.5:7000");
    assert_eq!((agent.log_level.as_str(), agent.log_json, agent.debug), ("WARN", true, true));
    assert!(agent.leave_on_interrupt && agent.leave_on_terminate && agent.prometheus);
    assert_eq!(agent.recorder, Recorder::On { bytes_max: 64 << 20 });
    let consul = agent.consul.unwrap();
    assert_eq!(
        (consul.address.as_str(), consul.token.as_deref()),
        ("127.0.0.1:8501", Some("secret"))
    );
    assert_eq!((consul.server_service.as_str(), consul.client_joins), ("drover-eu", false));
    let server = agent.server.unwrap();
    assert_eq!(
        (server.bootstrap_expect, server.heartbeat_ttl_ms, server.heartbeat_grace_ms),
        (3, 15_000, 20_000)
    );
    assert_eq!(server.election_priority, Priority::Low);
    assert_eq!(server.tags, BTreeMap::from([("rack".to_owned(), "r1".to_owned())]));
    assert_eq!((server.lead.garbage_collect_ms, server.lead.nodes_kept_ms), (10_000, 7_200_000));
    assert_eq!(server.lead.jobs_kept_ms, LeadConfig::default().jobs_kept_ms);
    assert_eq!(server.data_dir, PathBuf::from("/var/lib/drover/server"));
    assert_eq!(server.join.retry, ["a.example:5647", "10.0.0.6:5647", "10.0.0.7:4647"]);
    assert_eq!((server.join.retry_interval_ms, server.join.retry_max), (15_000, 3));
    let client = agent.client.unwrap();
    assert_eq!(client.join.retry, ["10.0.0.6:5647"]);
    assert_eq!((client.meta["rack.row"].as_str(), client.meta["shelf"].as_str()), ("r1", "3"));
    assert_eq!((client.raw_exec, client.node_class.as_str()), (RawExec::On, "big"));
    assert_eq!(client.network_speed_mbits, Some(2_500));
    assert_eq!(client.look_every, Some(Duration::from_mins(5)));
    assert_eq!(client.cni_dirs, ["/opt/cni/bin", "/srv/cni"].map(PathBuf::from));
    assert_eq!(client.node_pool.as_str(), "gpu");
    assert_eq!(client.reserved.ports, [22, 8500, 8501, 8502]);
    assert_eq!((client.cpu_total_mhz, client.memory_total_mib), (Some(4000), Some(2048)));
    assert_eq!(client.kill_timeout_ms_max, 60_000);
    let volume = |path: &str, access| HostVolume { path: path.to_owned(), access };
    let volumes = [
        ("certs".to_owned(), volume("/etc/ssl", Access::ReadOnly)),
        ("data".to_owned(), volume("/srv/data", Access::ReadWrite)),
    ];
    assert_eq!(client.host_volumes, volumes.into());
    assert!(!agent.notes.iter().any(|note| note.starts_with("leave_on_")), "{:?}", agent.notes);
    assert!(
        agent.notes.iter().any(|note| note.starts_with("ports.serf has no effect")),
        "{:?}",
        agent.notes
    );
}

#[test]
fn json_says_the_same_as_hcl() {
    let json = r#"{
      "data_dir": "/d", "server": {"enabled": true, "bootstrap_expect": 1},
      "client": [{"enabled": true, "options": {"driver.raw_exec.enable": "true"},
        "host_volume": [{"a": {"path": "/a", "read_only": true}, "b": {"path": "/b"}}]}],
      "plugin": {"raw_exec": {"config": {"enabled": true}}},
      "ports": {"http": 1234}
    }"#;
    let hcl = "data_dir = \"/d\"\nserver {\n enabled = true\n bootstrap_expect = 1\n}\nclient {\n enabled = true
      options {\n \"driver.raw_exec.enable\" = \"true\"\n}\nhost_volume \"a\" {\n path = \"/a\"\n read_only = true\n}\n
      host_volume \"b\" {\n path = \"/b\"\n}\n}\nplugin \"raw_exec\" {\n config {\n enabled = true\n }\n}\nports { http = 1234 }";
    assert_eq!(written(json), written(hcl));
}

#[test]
fn later_files_win_and_lists_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("20.hcl", "datacenter = \"b\"\nclient {\n servers = [\"two\"]\n meta { x = 2 }\n}");
    put(
        "10.json",
        "{\"datacenter\": \"a\", \"region\": \"r\", \"client\": {\"servers\": [\"one\"], \"meta\": {\"y\": \"1\"}}}",
    );
    put(".hidden.hcl", "nonsense");
    put("notes.txt", "nonsense");
    let whole =
        Written::load(&[folder.path().to_owned()]).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!((whole.datacenter.as_deref(), whole.region.as_deref()), (Some("b"), Some("r")));
    assert_eq!(whole.client.servers, ["one", "two"]);
    assert_eq!((whole.client.meta["x"].as_str(), whole.client.meta["y"].as_str()), ("2", "1"));
    let flags = Written { datacenter: Some("flag".to_owned()), ..Written::default() };
    assert_eq!(whole.overlaid(flags).datacenter.as_deref(), Some("flag"));
    let missing = Written::load(&[folder.path().join("none.hcl")]).unwrap_err().to_string();
    assert!(missing.contains("none.hcl:1:1: cannot be read"), "{missing}");
}

#[test]
fn dev_is_a_server_and_a_client_on_loopback() {
    let agent =
        Resolved::dev(&Written::default(), &around()).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(agent.mode, Mode::Dev);
    assert_eq!(
        (agent.http_bind.to_string(), agent.rpc_bind.to_string()),
        ("127.0.0.1:4646".to_owned(), "127.0.0.1:4647".to_owned())
    );
    assert_eq!(agent.rpc_advertise, agent.rpc_bind);
    assert_eq!(agent.data_dir, PathBuf::from("/tmp/scratch"));
    assert_eq!(agent.certificates, Certificates::InMemory);
    assert_eq!(agent.log_level, "DEBUG");
    assert_eq!(agent.server.unwrap().bootstrap_expect, 1);
    assert_eq!(agent.client.unwrap().raw_exec, RawExec::On);
    let over = Written { ports_http: Some(9999), ..Written::default() };
    assert_eq!(Resolved::dev(&over, &around()).unwrap().http_bind.port(), 9999);
}

#[test]
fn wrong_files_are_told_with_place_and_remedy() {
    says("data_dirr = \"/x\"", "agent.hcl:1:1: `data_dirr` is not known here");
    says("data_dirr = \"/x\"", "did you mean `data_dir`?");
    says("server {\n enabledd = true\n}", "agent.hcl:2:2: `enabledd` is not known in `server`");
    says(
        "{\n \"server\": {\n  \"enabledd\": true\n }\n}",
        "agent.hcl:3:3: `enabledd` is not known in `server`",
    );
    says("data_dir = \"here\"", "`data_dir` must be an absolute path");
    says(
        "bind_addr = \"{{ GetInterfaceIP \\\"eth0\\\" }}\"",
        "templates of addresses are not supported",
    );
    says("log_level = \"loud\"", "there is no log level \"LOUD\"");
    says("ports {\n http = 70000\n}", "`http` cannot be 70000");
    says("server {\n bootstrap_expect = 99\n}", "a region has at most 15 servers");
    says("server {\n election_priority = \"high\"\n}", "\"high\" is no priority");
    says(
        "server {\n retry_join = [\"provider=aws tag_key=x\"]\n}",
        "Drover asks no cloud: let a program print the addresses",
    );
    says("consul {\n address = \"http://x\"\n}", "is no address of a Consul agent");
    says("client {\n reserved {\n reserved_ports = \"9-1\"\n}\n}", "is no range of ports");
    says("server {\n enabled = true\n", "this brace is not closed");
    says("name = web", "`web` is no value: put text in quotes");
    says("name = \"a\nb\"", "this string is not closed on its line");
    says("server 5", "`= VALUE` or `{ ... }` is wanted");
}

#[test]
fn what_nomad_has_and_drover_has_not_is_refused_by_name() {
    for text in ["acl {\n enabled = true\n}", "vault {\n enabled = true\n}"] {
        let name = text.split(' ').next().unwrap();
        says(
            text,
            &format!(
                "`{name}` is a part of Nomad's agent configuration that Drover does not support yet; remove it"
            ),
        );
    }
    says(
        "autopilot {\n enable_custom_upgrades = true\n}",
        "`enable_custom_upgrades` is a part of Nomad",
    );
    says("autopilot {\n min_quorum = 16\n}", "a region has at most 15 servers");
    let introduced =
        |inner: &str| format!("server {{\n client_introduction {{\n  {inner}\n }}\n}}");
    says(&introduced("enforcement = \"maybe\""), "there is no enforcement \"maybe\"");
    says(
        &introduced("default_identity_ttl = \"1h\""),
        "`default_identity_ttl` is longer than `max_identity_ttl`",
    );
    says("plugin_dir = \"/x\"", "`plugin_dir` is a part of Nomad's");
    says("client {\n host_volumes_dir = \"/x\"\n}", "`host_volumes_dir` is a part of Nomad's");
    says("plugin \"docker\" {\n}", "there is no plugin \"docker\"");
    says("log_file = \"/x\"", "Drover logs to standard error");
    let volume = |inside: &str| format!("client {{\n host_volume \"v\" {{\n{inside}\n}}\n}}");
    let words = "the path of the host volume \"v\" must be absolute";
    says(&volume("read_only = true"), words);
    says(&volume("path = \"srv\""), words);
    says(&volume("path = \"/srv\"\n size = 1"), "`size` is not known in `host_volume`");
    let twice = "host_volume \"v\" {\n path = \"/v\"\n}\n".repeat(2);
    says(&format!("client {{\n{twice}}}"), "there are two host volumes called \"v\"");
    says("client {\n host_volume {\n path = \"/v\"\n}\n}", "`host_volume` has one label: its name");
    says("server {\n encrypt = \"abc\"\n}", "all traffic among agents is encrypted by TLS");
    written(
        "acl {\n enabled = false\n}\nconsul { enabled = false }\nvault { enabled = false }\nui { enabled = false }\ndisable_update_check = true",
    );
}

#[test]
fn contradictions_are_refused_with_their_field() {
    unusable("", "server.enabled: the agent would do nothing");
    unusable("server {\n enabled = true\n bootstrap_expect = 1\n}", "data_dir: is missing");
    let tagged = |tag: &str| {
        format!(
            "{CERTIFICATES}data_dir = \"/d\"\nserver {{\n enabled = true\n bootstrap_expect = 1\n tags {{\n {tag}\n }}\n}}"
        )
    };
    unusable(
        &tagged("dc = \"x\""),
        "server.tags[\"dc\"]: is what the server says of itself already",
    );
    let long = format!("note = \"{}\"", "x".repeat(600));
    unusable(&tagged(&long), "server.tags: holds 604 bytes");
    let server = format!(
        "data_dir = \"/d\"\nserver {{\n enabled = true\n bootstrap_expect = 1\n}}\n{CERTIFICATES}"
    );
    Resolved::of(&written(&server), &around()).unwrap_or_else(|found| panic!("{found}"));
    unusable(
        "data_dir = \"/d\"\nserver {\n enabled = true\n bootstrap_expect = 1\n}",
        "tls: ca_file, cert_file and key_file are all needed",
    );
    unusable(
        &format!("data_dir = \"/d\"\nserver {{\n enabled = true\n}}\n{CERTIFICATES}"),
        "server.bootstrap_expect: is missing",
    );
    unusable(
        &format!("data_dir = \"/d\"\nclient {{\n enabled = true\n}}\n{CERTIFICATES}"),
        "client.servers: is missing",
    );
}

#[test]
fn http_stays_on_loopback_unless_somebody_answers_for_it() {
    let base = format!(
        "data_dir = \"/d\"\nserver {{\n enabled = true\n bootstrap_expect = 1\n}}\n{CERTIFICATES}"
    );
    let agent = Resolved::of(&written(&base), &around()).unwrap();
    assert_eq!(
        (agent.http_bind.to_string(), agent.rpc_bind.to_string()),
        ("127.0.0.1:4646".to_owned(), "0.0.0.0:4647".to_owned())
    );
    assert_eq!(agent.rpc_advertise.to_string(), "10.0.0.9:4647");
    assert!(
        agent.notes.iter().any(|note| note.starts_with("HTTP listens on 127.0.0.1 only")),
        "{:?}",
        agent.notes
    );
    unusable(
        &format!("{base}addresses {{\n http = \"0.0.0.0\"\n}}"),
        "addresses.http: 0.0.0.0 would let anybody",
    );
    let open = Resolved::of(&written(&format!("{base}unsafe_open = true")), &around()).unwrap();
    assert_eq!(open.http_bind.to_string(), "0.0.0.0:4646");
    let mutual = base.replace("tls {", "tls {\n http = true\n verify_https_client = true");
    unusable(&mutual, "tls.http: HTTPS is not supported yet");
}
