//! Clients that all servers, or some, cannot hear.
use crate::cluster::{
    LONGER_THAN_A_VERDICT, Lab, assert_nodes_are_ready, is_alive, running, watch,
};
use crate::rig::{wait_for, wait_until};

#[test]
fn what_runs_behind_a_pulled_cable_runs_elsewhere_and_stops_when_the_cable_is_back() {
    let Some(lab) = Lab::build() else { return };
    let leader = &lab.servers[lab.leader()];
    leader.run(&lab.service("web", 2));
    wait_until("it runs", || running(leader, "web").len() == 2);
    let before = running(leader, "web");
    let (old, (away, _)) = before.first_key_value().expect("two run");

    lab.network.pull(away);
    wait_until("the node is down", || leader.node_status(away).as_deref() == Some("down"));
    let new = wait_for("another takes the place of what was lost", || {
        let now = running(leader, "web");
        let is_elsewhere = now.len() == 2 && now.values().all(|(node, _)| node != away);
        is_elsewhere.then_some(now)
    });
    assert!(is_alive(old), "nobody could tell it to stop");

    lab.network.plug_in(away);
    wait_until("the node is ready", || leader.node_status(away).as_deref() == Some("ready"));
    wait_until("what it ran is stopped", || !is_alive(old));
    lab.wait_until_settled();
    assert_eq!(running(leader, "web"), new, "what took its place stays");
    assert!(new.keys().all(|alloc| is_alive(alloc)), "and really runs");
    assert_eq!(leader.allocs("web").len(), 3, "nothing was placed a third time");
}

#[test]
fn a_client_that_the_leader_cannot_hear_is_heard_by_others() {
    let Some(mut lab) = Lab::build() else { return };
    let at = lab.leader();
    let leader = lab.servers[at].name.clone();
    // One neither hears nor is heard by the leader, one is not heard, one does not hear.
    for (from, to) in [("c1", &*leader), (&*leader, "c1"), ("c2", &*leader), (&*leader, "c3")] {
        lab.network.cut(from, to);
    }
    let leads = &lab.servers[at];
    watch(LONGER_THAN_A_VERDICT, || assert_nodes_are_ready(leads));
    // What the leader decides reaches them by the others, and so does what they have to say.
    lab.clients[0].run(&lab.service("web", 3));
    wait_until("it runs on all of them", || running(leads, "web").len() == 3);
    lab.network.heal();
    lab.wait_until_settled();
    lab.assert_no_node_was_down();
}
