//! Host volumes of real agents: what they refuse to lend, and who waits for what they lend.
use std::fs;

use crate::rig::{Part, Site, job, leader_of, text_of, wait_for, wait_until};

#[test]
fn an_agent_that_has_not_what_it_is_to_lend_says_so_and_ends() {
    let site = Site::new();
    let missing = site.path().join("missing");
    let file = site.write("file", "");
    for (path, why) in [(&missing, "cannot be looked at"), (&file, "is no directory")] {
        let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
        let mut agent = site.agent(&format!("with-{name}"), Part::Both, &[]);
        let path = path.display();
        agent.configure_more(&format!(
            "client {{\n  host_volume \"data\" {{\n    path = \"{path}\"\n  }}\n}}\n"
        ));
        agent.launch();
        let says = [&format!("client.host_volume[data].path: {path} {why}"), "make it a directory"];
        agent.wait_for_line(&says);
        let ended = wait_for("it ends", || agent.ended());
        assert!(!ended.success());
    }
}

#[test]
fn who_waits_for_a_volume_runs_when_the_agent_comes_back_with_it() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let mut client = site.agent("c1", Part::Client, &[server.rpc_port]);
    client.start();
    wait_until("the node is ready", || server.node_status("c1").as_deref() == Some("ready"));
    let lent = site.path().join("lent");
    fs::create_dir(&lent).expect("the name is new");
    fs::write(lent.join("greeting"), "hello from the host\n").expect("it can be written");
    let volume = "volume \"files\" {\n    type = \"host\"\n    source = \"lent\"\n    \
                  read_only = true\n  }\n  task";
    let script = format!("cat {}/greeting; exec sleep 600", lent.display());
    let text = job("reader", "service", 1, &script).replacen("task", volume, 1);
    let said = server.cli(&["job", "run", &site.write("reader.hcl", &text).display().to_string()]);
    assert!(said.text.contains("missing compatible host volumes"), "{}", said.text);
    let told = server.cli(&["job", "explain", "reader", "-node", "c1"]).text;
    assert!(told.contains("host volume") && told.contains("lent, read-only"), "{told}");

    client.stop();
    client.configure_more(&format!(
        "client {{\n  host_volume \"lent\" {{\n    path = \"{}\"\n    read_only = true\n  }}\n}}\n",
        lent.display()
    ));
    client.start();
    wait_until("it runs", || server.count("reader", "running") == 1);
    let alloc = server.allocs("reader")[0].0.clone();
    wait_until("the task has read the file", || {
        server.cli(&["alloc", "logs", &alloc]).text.contains("hello from the host")
    });
    let shown = server.cli(&["alloc", "status", &alloc]).text;
    assert!(shown.contains("Host Volumes:\nID    Read Only\nlent  true"), "{shown}");
    let nodes = server.get("/v1/nodes");
    let node = nodes.as_array().and_then(|nodes| nodes.first()).expect("the client");
    let shown = server.cli(&["node", "status", "-verbose", &text_of(node, "ID")]).text;
    assert!(shown.contains(&format!("lent  true      {}", lent.display())), "{shown}");
}
