//! A network that loses much of everything.
use std::time::Duration;

use crate::cluster::{Lab, running, statuses, watch};
use crate::rig::wait_until;

#[test]
fn a_quarter_of_everything_is_lost_and_nobody_is_called_dead() {
    let Some(mut lab) = Lab::build() else { return };
    lab.network.lose(25);
    let user = &lab.clients[0];
    let file = lab.service("lossy", 3).display().to_string();
    let mut is_taken = false;
    watch(Duration::from_secs(30), || {
        is_taken = is_taken || user.cli(&["job", "run", "-detach", &file]).status.success();
        for server in &lab.servers {
            for path in ["/v1/nodes?stale=true", "/v1/agent/members"] {
                let seen = statuses(server, path);
                let is_dead = |status: &String| status == "down" || status == "failed";
                assert!(!seen.values().any(is_dead), "{}: {seen:?}", server.name);
            }
        }
    });
    assert!(is_taken, "no job was taken");
    wait_until("it runs, losses or not", || running(user, "lossy").len() == 3);
    lab.network.heal();
    lab.wait_until_settled();
    lab.assert_no_node_was_down();
}
