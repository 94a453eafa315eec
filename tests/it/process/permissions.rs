//! Agents that are not root, and what others can see of their files.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::rig::{Agent, Part, Site, job, leader_of, text_of, wait_until};

/// Who owns nothing and may do nothing, on every Linux.
const NOBODY: u32 = 65_534;

/// Whether the agent runs as nobody now; where the test is not root, it is somebody who is not, too.
fn without_privilege(agent: &mut Agent, site: &Site) {
    if rustix::process::geteuid().is_root() {
        agent.run_as(NOBODY, site);
    }
    agent.start();
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
    let user = status.lines().find(|line| line.starts_with("Uid:")).expect("it has one");
    assert!(!user.split_whitespace().any(|id| id == "0"), "{user}");
}

/// What others than its owner may do with something in `dir`, which must be nothing.
fn assert_private(dir: &Path, found: &mut usize) {
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(dir), 0o700, "{}", dir.display());
    for entry in fs::read_dir(dir).expect("it can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_private(&path, found);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            *found += 1;
        }
    }
}

#[test]
fn a_server_needs_no_privilege_and_keeps_its_files_to_itself() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    without_privilege(&mut server, &site);
    leader_of(&[&server]);
    server.run(&site.write("web.hcl", &job("web", "service", 1, "exec sleep 1000")));
    server.stop();
    let mut found = 0;
    assert_private(&server.data_dir(), &mut found);
    assert!(3 < found, "its key, its log, what it recorded: {found} files");
}

#[test]
fn a_client_without_privilege_says_what_it_cannot_do_and_does_the_rest() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let mut client = site.agent("c1", Part::Client, &[server.rpc_port]);
    without_privilege(&mut client, &site);
    wait_until("the node is ready", || server.node_status("c1").as_deref() == Some("ready"));
    server.run(&site.write("web.hcl", &job("web", "service", 1, "exec sleep 1000")));
    wait_until("it runs", || server.count("web", "running") == 1);
    let nodes = server.get("/v1/nodes");
    let drivers = &nodes[0]["Drivers"]["raw_exec"];
    let said = text_of(drivers, "HealthDescription");
    assert!(said.contains("it lacks CAP_SETUID and CAP_SETGID"), "{nodes:#}");
    client.stop();
}
