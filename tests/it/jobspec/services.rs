//! `service` and `check`: read, refused, and written again.
use drover_core::types::{AddressMode, Check, CheckKind, CheckStatus, Service};

use super::*;

const PORT: &str = "network {\n port \"http\" {}\n}\n";

/// A service with `inside` in it, of a group with one port.
fn service(inside: &str) -> String {
    group(&format!("{PORT} service {{\n{inside}\n }}"))
}

/// A check with `inside` in it.
fn check(inside: &str) -> String {
    service(&format!("port = \"http\"\n check {{\n{inside}\n }}"))
}

/// What `spec` becomes when it is written for the API and read back.
fn again(spec: &JobSpec) -> JobSpec {
    let json = serde_json::to_value(Job::of(spec, &Row::default())).expect("it can be written");
    jobspec::parse_json(json.to_string().as_bytes()).expect("it is a job").spec
}

#[test]
fn services_are_read_whole_and_written_as_they_were_read() {
    let text = "job \"shop\" {\n group \"web\" {\n network {\n port \"http\" {}\n }\n service {\n \
                name = \"${JOB}-${TASKGROUP}\"\n provider = \"consul\"\n port = \"http\"\n \
                tags = [\"a\", \"${meta.rack}\"]\n canary_tags = [\"c\"]\n meta {\n k = 1\n }\n \
                canary_meta {\n k = 2\n }\n task = \"t\"\n address_mode = \"host\"\n \
                enable_tag_override = true\n check {\n name = \"up\"\n type = \"http\"\n path = \
                \"/up\"\n method = \"POST\"\n header {\n Accept = [\"a/b\", \"c/d\"]\n }\n body = \
                \"{}\"\n protocol = \"https\"\n port = 8080\n interval = \"10s\"\n timeout = \"2s\"\n \
                tls_skip_verify = true\n success_before_passing = 2\n failures_before_critical = 3\n \
                failures_before_warning = 1\n initial_status = \"warning\"\n notes = \"n\"\n }\n \
                check {\n type = \"grpc\"\n grpc_service = \"s.S\"\n grpc_use_tls = true\n interval = \
                \"1s\"\n timeout = \"1s\"\n }\n }\n task \"t\" {\n driver = \"raw_exec\"\n service \
                {\n address = \"shop.example.com\"\n check {\n type = \"tcp\"\n port = \"http\"\n \
                interval = \"5s\"\n timeout = \"1s\"\n }\n }\n }\n }\n}";
    let spec = read(text);
    let up = Check {
        name: "up".to_owned(),
        kind: CheckKind::Http,
        port: "8080".to_owned(),
        path: "/up".to_owned(),
        method: "POST".to_owned(),
        header: [("Accept".to_owned(), vec!["a/b".to_owned(), "c/d".to_owned()])].into(),
        body: "{}".to_owned(),
        protocol: "https".to_owned(),
        tls_skip_verify: true,
        interval_ms: 10_000,
        timeout_ms: 2_000,
        success_before_passing: 2,
        failures_before_critical: 3,
        failures_before_warning: 1,
        initial_status: Some(CheckStatus::Warning),
        notes: "n".to_owned(),
        ..Check::default()
    };
    let grpc = Check {
        name: "service: \"shop-web\" check".to_owned(),
        kind: CheckKind::Grpc,
        grpc_service: "s.S".to_owned(),
        grpc_use_tls: true,
        interval_ms: 1_000,
        timeout_ms: 1_000,
        ..Check::default()
    };
    let of_group = Service {
        name: "shop-web".to_owned(),
        port: "http".to_owned(),
        tags: vec!["a".to_owned(), "${meta.rack}".to_owned()],
        canary_tags: vec!["c".to_owned()],
        meta: [("k".to_owned(), "1".to_owned())].into(),
        canary_meta: [("k".to_owned(), "2".to_owned())].into(),
        task: "t".to_owned(),
        address_mode: AddressMode::Host,
        enable_tag_override: true,
        checks: vec![up, grpc],
        ..Service::default()
    };
    assert_eq!(spec.groups[0].services, [of_group]);
    let of_task = &spec.groups[0].tasks[0].services[0];
    assert_eq!(of_task.name, "shop-web-t", "the name that is usual");
    assert_eq!((of_task.address.as_str(), of_task.port.as_str()), ("shop.example.com", ""));
    assert_eq!((of_task.checks[0].kind, of_task.checks[0].port.as_str()), (CheckKind::Tcp, "http"));
    assert_eq!(again(&spec), spec);
}

#[test]
fn a_service_of_the_api_is_read_in_nomads_words() {
    let text = serde_json::json!({ "ID": "j", "Name": "j", "TaskGroups": [{
        "Name": "g",
        "Networks": [{ "DynamicPorts": [{ "Label": "http" }] }],
        "Tasks": [{ "Name": "t", "Driver": "raw_exec", "Services": [{
            "Name": "web", "TaskName": "t", "PortLabel": "http", "Provider": "consul",
            "AddressMode": "auto", "OnUpdate": "require_healthy", "Connect": null, "Cluster": "default",
            "Checks": [{ "Type": "http", "Path": "/", "Interval": 10_000_000_000_u64,
                "Timeout": 2_000_000_000_u64, "GRPCUseTLS": false, "Args": null, "CheckRestart": null,
                "AddressMode": "", "TaskName": "" }],
        }] }],
    }] });
    let spec = jobspec::parse_json(text.to_string().as_bytes()).expect("it is a job").spec;
    let web = &spec.groups[0].tasks[0].services[0];
    assert_eq!((web.name.as_str(), web.task.as_str()), ("web", ""));
    assert_eq!((web.checks[0].interval_ms, web.checks[0].path.as_str()), (10_000, "/"));
}

#[test]
fn what_drover_does_not_do_for_services_is_refused_by_name() {
    for block in ["connect {\n }", "identity {\n }", "check_restart {\n }", "weights {\n }"] {
        let name = block.split(' ').next().expect("a word");
        says(&service(block), &format!("`{name}` is a part of Nomad's job files"));
    }
    says(&service("provider = \"nomad\""), "write provider = \"consul\"");
    says(&service("address_mode = \"alloc\""), "use \"host\" or \"auto\"");
    says(&service("on_update = \"ignore\""), "`on_update` is a part of Nomad's job files");
    says(&check("type = \"script\"\n command = \"/bin/true\""), "let the task answer one of");
    says(&check("type = \"http\"\n check_restart {\n limit = 1\n }"), "`check_restart` is a part");
    says(&check("type = \"http\"\n expose = true"), "`expose` is a part of Nomad's job files");
    says(&group("service \"x\" {\n}"), "write name = \"NAME\" in the block");
}

#[test]
fn a_service_that_could_not_be_found_or_asked_is_refused() {
    says(&service("name = \"my_web\""), "at most 63 letters, digits and -");
    says(
        &service("name = \"${NOMAD_JOB_NAME}\"\n port = \"htp\""),
        "\"htp\" is no port of the group",
    );
    says(&service("port = 70000"), "\"70000\" is no port of the group");
    says(&service("task = \"u\""), "there is no task \"u\" in the group");
    says(&service("address = \"a\"\n address_mode = \"host\""), "drop address_mode");
    says(&service("name = \"web\"\n }\n service {\n name = \"web\""), "give one another name");
    says(
        &service("check {\n type = \"tcp\"\n interval = \"5s\"\n timeout = \"1s\"\n }"),
        "names the port that is asked",
    );
    says(&check("interval = \"5s\"\n timeout = \"1s\""), "\"http\", \"tcp\" or \"grpc\"");
    says(&check("type = \"http\"\n interval = \"5s\"\n timeout = \"1s\""), "path = \"/health\"");
    says(&check("type = \"tcp\"\n timeout = \"1s\""), "`interval`: must be set, and at least 1s");
    says(
        &check("type = \"tcp\"\n interval = \"5s\"\n timeout = \"10ms\""),
        "`timeout`: must be set",
    );
    says(
        &check("type = \"tcp\"\n interval = \"5s\"\n timeout = \"1s\"\n path = \"/\""),
        "is for checks with type = \"http\"",
    );
    says(
        &check(
            "type = \"tcp\"\n interval = \"5s\"\n timeout = \"1s\"\n failures_before_warning = 1",
        ),
        "must not be more than failures_before_critical",
    );
}
