//! Servers that cannot hear each other, or only one the other.
use std::path::Path;

use crate::cluster::{LONGER_THAN_A_VERDICT, Lab, assert_nodes_are_ready, running, watch};
use crate::rig::{Agent, wait_until};

/// Waits until these have another leader than the one at `old_port`, and have taken and run a job.
fn serve_without(old_port: u16, servers: &[&Agent], job: &str, file: &Path) {
    wait_until("another leads", || {
        servers.iter().all(|server| server.leader_port().is_some_and(|port| port != old_port))
    });
    let file = file.display().to_string();
    wait_until("a write is answered", || {
        servers[0].cli(&["job", "run", "-detach", &file]).status.success()
    });
    for server in servers {
        wait_until("what was written runs", || running(server, job).len() == 1);
    }
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_and_follows_when_it_is_back() {
    let Some(mut lab) = Lab::build() else { return };
    let old = lab.leader();
    lab.servers[old].run(&lab.service("early", 3));
    wait_until("it runs on all nodes", || running(&lab.servers[old], "early").len() == 3);
    let early = running(&lab.servers[old], "early");

    let old_name = lab.servers[old].name.clone();
    let others: Vec<String> =
        lab.servers_without(old).iter().map(|other| other.name.clone()).collect();
    for other in &others {
        lab.network.cut(&old_name, other);
        lab.network.cut(other, &old_name);
    }
    let old_port = lab.servers[old].rpc_port;
    serve_without(old_port, &lab.servers_without(old), "late", &lab.service("late", 1));
    wait_until("the old one knows that it leads no more", || {
        lab.servers[old].leader_port() != Some(old_port)
    });
    // Some clients talk to the old one. It hears them, and cannot tell anybody.
    watch(LONGER_THAN_A_VERDICT, || {
        lab.servers_without(old).into_iter().for_each(assert_nodes_are_ready);
    });
    lab.network.heal();
    let back = &lab.servers[old];
    wait_until("it follows", || back.leader_port().is_some_and(|port| port != old_port));
    lab.wait_until_settled();
    wait_until("it knows of what was written without it", || running(back, "late").len() == 1);
    assert_eq!(running(back, "early"), early, "nothing that ran was touched");
    assert_eq!(back.allocs("early").len(), 3, "nothing was placed anew");
    lab.assert_no_node_was_down();
}

#[test]
fn a_leader_that_is_deaf_or_dumb_is_replaced() {
    let Some(mut lab) = Lab::build() else { return };
    for (job, is_deaf) in [("deaf", true), ("dumb", false)] {
        let old = lab.leader();
        let old_name = lab.servers[old].name.clone();
        let others: Vec<String> =
            lab.servers_without(old).iter().map(|other| other.name.clone()).collect();
        for other in &others {
            let (from, to) = if is_deaf { (other, &old_name) } else { (&old_name, other) };
            lab.network.cut(from, to);
        }
        let old_port = lab.servers[old].rpc_port;
        serve_without(old_port, &lab.servers_without(old), job, &lab.service(job, 1));
        lab.network.heal();
        lab.wait_until_settled();
        wait_until("all know what was written", || {
            lab.servers.iter().all(|server| running(server, job).len() == 1)
        });
    }
    lab.assert_no_node_was_down();
}
