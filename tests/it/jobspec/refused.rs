//! Job files that are refused, and the API's own entrance.
use drover_core::types::MigratePolicy;

use super::*;

#[test]
fn a_wrong_file_hears_everything_at_once_with_places() {
    let file = Source::read(&root().join("tests/fixtures/jobspec/wrong.nomad.hcl")).unwrap();
    let file = Source { file: "wrong.nomad.hcl".to_owned(), ..file };
    let found = jobspec::parse(&file, &inputs()).unwrap_err().to_string();
    let wanted = std::fs::read_to_string(root().join("tests/fixtures/jobspec/wrong.txt")).unwrap();
    assert_eq!(found.trim_end(), wanted.trim_end(), "got:\n{found}");
}

#[test]
fn what_nomad_has_and_drover_has_not_is_refused_by_name() {
    for name in ["template", "artifact", "vault", "consul", "lifecycle", "identity", "action"] {
        says(
            &task(&format!("{name} {{\n x = 1\n}}")),
            &format!(
                "`{name}` is a part of Nomad's job files that Drover does not support yet; remove it"
            ),
        );
    }
    for name in ["disconnect", "consul"] {
        says(
            &group(&format!("{name} \"x\" {{\n}}")),
            &format!("`{name}` is a part of Nomad's job files"),
        );
    }
    says(
        &group("stop_after_client_disconnect = \"1h\""),
        "`stop_after_client_disconnect` is a part of Nomad's",
    );
    says(
        &group("network {\n mode = \"bridge\"\n}"),
        "the mode \"bridge\" is not supported yet; use \"host\"",
    );
    says(&task("resources {\n iops = 2\n}"), "`iops` is a part of Nomad's");
    says("job \"j\" {\n multiregion {\n }\n}", "`multiregion` is a part of Nomad's");
    says("job \"j\" {\n all_at_once = true\n}", "`all_at_once` is a part of Nomad's");
}

#[test]
fn what_a_job_would_rather_have_is_refused_where_it_cannot_be_meant() {
    let affinity =
        |body: &str| group(&format!("affinity {{\n attribute = \"${{node.class}}\"\n{body}\n}}"));
    says(&affinity("value = \"a\"\n weight = 0"), "0 says nothing");
    says(&affinity("value = \"a\"\n weight = 101"), "101 is not between -100 and 100");
    says(&affinity("value = \"a\"\n weight = -200"), "-200 is not between -100 and 100");
    says(&affinity("operator = \"distinct_hosts\""), "`distinct_hosts` is for a `constraint`");
    says(&affinity("regexp = \"(\""), "is no regular expression");
    let spread = |body: &str| group(&format!("spread {{\n{body}\n}}"));
    says(&spread("attribute = \"dc1\""), "names what allocs are spread over");
    says(&spread("attribute = \"${node.class}\"\n weight = 101"), "101 is not between 0 and 100");
    says(
        &spread(
            "attribute = \"${node.class}\"\n target \"a\" {\n percent = 60\n }\n target \"b\" {\n percent = 50\n }",
        ),
        "the percents of its targets are 110 together: at most 100",
    );
    says(
        &spread("attribute = \"${node.class}\"\n target \"a\" {\n percent = -1\n }"),
        "-1 is not between 0 and 100",
    );
    says(&task("spread {\n attribute = \"${node.class}\"\n}"), "spread");
    says(
        &group("constraint {\n distinct_property = \"${meta.rack}\"\n value = \"0\"\n}"),
        "is how many allocs may have the same",
    );
    says(
        &group("constraint {\n attribute = \"${attr.nomad.version}\"\n semver = \"~> 1.2\"\n}"),
        "`semver` has no ~>",
    );
}

#[test]
fn what_a_job_would_rather_have_is_read_whole_and_written_as_it_was_read() {
    let spec = read(
        "job \"j\" {\n affinity {\n attribute = \"${node.class}\"\n value = \"big\"\n }\n \
         spread {\n attribute = \"${node.datacenter}\"\n }\n group \"g\" {\n affinity {\n \
         attribute = \"${attr.kernel.version}\"\n version = \">= 6\"\n weight = -30\n }\n spread {\n \
         attribute = \"${meta.rack}\"\n weight = 80\n target \"r1\" {\n percent = 70\n }\n }\n \
         constraint {\n distinct_property = \"${meta.rack}\"\n value = 3\n }\n task \"t\" {\n \
         driver = \"raw_exec\"\n affinity {\n attribute = \"${node.class}\"\n \
         set_contains_any = \"a,b\"\n }\n }\n }\n}",
    );
    let affinity = |left: &str, operator, right: &str, weight| Affinity {
        left: left.to_owned(),
        operator,
        right: right.to_owned(),
        weight,
    };
    assert_eq!(spec.affinities, [affinity("${node.class}", Operator::Equal, "big", 50)]);
    let group = &spec.groups[0];
    let version = affinity("${attr.kernel.version}", Operator::Version, ">= 6", -30);
    assert_eq!(group.affinities, [version]);
    let task = affinity("${node.class}", Operator::SetContainsAny, "a,b", 50);
    assert_eq!(group.tasks[0].affinities, [task]);
    let even = Spread { attribute: "${node.datacenter}".to_owned(), weight: 50, targets: vec![] };
    assert_eq!(spec.spreads, [even]);
    let target = SpreadTarget { value: "r1".to_owned(), percent: 70 };
    let racks = Spread { attribute: "${meta.rack}".to_owned(), weight: 80, targets: vec![target] };
    assert_eq!(group.spreads, [racks]);
    assert_eq!(group.constraints[0].operator, Operator::DistinctProperty);
    assert_eq!(
        (group.constraints[0].left.as_str(), group.constraints[0].right.as_str()),
        ("${meta.rack}", "3")
    );
    let json = serde_json::to_value(Job::of(&spec, &Row::default())).unwrap();
    assert_eq!(json["Spreads"][0]["Attribute"], "${node.datacenter}");
    assert_eq!(json["TaskGroups"][0]["Spreads"][0]["SpreadTarget"][0]["Percent"], 70);
    assert_eq!(json["TaskGroups"][0]["Affinities"][0]["Weight"], -30);
    let (again, problems) = Job::from_json(json).unwrap().converted();
    assert!(problems.is_empty() && again == spec, "{problems:?}");
}

#[test]
fn what_makes_no_sense_on_every_node_is_refused() {
    for name in ["system", "sysbatch"] {
        let of = |rest: &str| group(rest).replacen('{', &format!("{{\n type = \"{name}\""), 1);
        says(&of("count = 2"), "2 is more than 1: a job of this type runs once on every node");
        says(
            &of("reschedule {\n attempts = 3\n unlimited = false\n interval = \"1h\"\n}"),
            &format!("a {name} job runs on every node, so what fails has no other to go to"),
        );
        says(
            &of("update {\n canary = 1\n}"),
            "only a service has canaries: drop it, or make the job a service",
        );
        says(&of("update {\n auto_revert = true\n}"), "is watched by no deployment");
        for leaning in [
            "affinity {\n attribute = \"${node.class}\"\n value = \"a\"\n}",
            "spread {\n attribute = \"${node.class}\"\n}",
        ] {
            says(&of(leaning), "runs on every node, so it has no choice");
        }
        // As Nomad and we ourselves write the job down.
        read(&of("count = 0\n reschedule {\n attempts = 0\n unlimited = false\n}"));
    }
}

#[test]
fn an_update_policy_is_read_whole() {
    let policy = |body: &str| read(&group(&format!("update {{\n{body}\n}}"))).groups[0].update;
    let full = policy(
        "max_parallel = 3\n health_check = \"manual\"\n min_healthy_time = \"5s\"\n \
         healthy_deadline = \"1m\"\n progress_deadline = \"2m\"\n canary = 2\n auto_revert = true\n \
         auto_promote = true\n stagger = \"10s\"",
    );
    let expected = UpdatePolicy {
        parallel_max: 3,
        health_check: HealthCheck::Manual,
        min_healthy_ms: 5_000,
        healthy_deadline_ms: 60_000,
        progress_deadline_ms: 120_000,
        canary: 2,
        auto_revert: true,
        auto_promote: true,
        stagger_ms: 10_000,
    };
    assert_eq!(full, expected);
    assert_eq!(policy("progress_deadline = \"0s\"").progress_deadline_ms, 0);
}

#[test]
fn a_migrate_policy_is_read_whole_and_inherited() {
    let full = "migrate {\n max_parallel = 2\n health_check = \"task_states\"\n \
                min_healthy_time = \"5s\"\n healthy_deadline = \"1m\"\n}";
    let expected = MigratePolicy {
        parallel_max: 2,
        health_check: HealthCheck::TaskStates,
        min_healthy_ms: 5_000,
        healthy_deadline_ms: 60_000,
    };
    assert_eq!(read(&group(full)).groups[0].migrate, expected);
    assert_eq!(read(&group("")).groups[0].migrate, MigratePolicy::default());
    let inherited =
        group("migrate {\n max_parallel = 3\n}").replacen('{', &format!("{{\n{full}"), 1);
    let inherited = read(&inherited).groups[0].migrate;
    assert_eq!(inherited, MigratePolicy { parallel_max: 3, ..expected });

    let migrate = |body: &str| group(&format!("migrate {{\n{body}\n}}"));
    says(
        &migrate("health_check = \"manual\""),
        "\"manual\" is none of \"checks\", \"task_states\"",
    );
    says(
        &migrate("healthy_deadline = \"10s\""),
        "`healthy_deadline`: 10s must be more than min_healthy_time, 10s",
    );
    let batch = migrate("max_parallel = 1").replacen('{', "{\n type = \"batch\"", 1);
    says(&batch, "only services migrate at a pace");
}

#[test]
fn what_asks_for_nothing_passes() {
    read(&group(
        "update {\n canary = 0\n auto_revert = false\n auto_promote = false\n stagger = \"30s\"\n health_check = \"task_states\"\n}",
    ));
    read(&group("ephemeral_disk {\n sticky = false\n migrate = false\n}"));
    let spec = read(&group("constraint {\n distinct_hosts = false\n}"));
    assert_eq!(spec.groups[0].constraints, []);
}

#[test]
fn a_specification_that_cannot_work_is_refused() {
    says("job \"\" {\n}", "`id`: must not be empty");
    says("job \"a b\" {\n}", "must not contain ' '");
    says("job \"j\" {\n priority = 101\n}", "101 is not between 1 and 100");
    says("job \"j\" {\n}", "a job has at least one group");
    says("job \"j\" {\n group \"g\" {\n }\n}", "a group has at least one task");
    says("job \"j\" {\n group \"g\" {\n task \"t\" {\n }\n }\n}", "a task names its driver");
    says(&group("count = 50001"), "50001 is more than 50000");
    says(&group("count = -1"), "-1 must not be negative");
    says(
        &group("restart {\n attempts = 10\n interval = \"1m\"\n}"),
        "10 attempts with 15s between them need 2m30s, and the interval is 1m",
    );
    says(
        &group("restart {\n attempts = 0\n mode = \"delay\"\n}"),
        "\"delay\" with 0 attempts never starts again",
    );
    says(
        &group("reschedule {\n attempts = 3\n unlimited = true\n}"),
        "limited and unlimited at once",
    );
    says(
        &group("reschedule {\n attempts = 3\n unlimited = false\n interval = \"1m\"\n}"),
        "3 attempts with these delays need 3m30s",
    );
    says(
        &group("update {\n min_healthy_time = \"10m\"\n}"),
        "5m must be more than min_healthy_time, 10m",
    );
    says(&group("update {\n auto_promote = true\n}"), "set canary = 1, or more");
    says(
        &group("update {\n canary = 1\n max_parallel = 0\n}"),
        "max_parallel = 0 replaces everything at once, without canaries",
    );
    says(&group("update {\n stagger = \"0s\"\n}"), "must be more than 0; leave it out for 30s");
    says(&group("update {\n health_check = \"task_state\"\n}"), "task_states");
    says(
        &group("update {\n progress_deadline = \"1m\"\n}"),
        "1m must be more than healthy_deadline, 5m, or 0",
    );
    says(
        &group("network {\n port \"a\" {\n }\n port \"a\" {\n }\n}"),
        "there are two ports called \"a\"",
    );
    says(&group("constraint {\n value = \"x\"\n}"), "names what is looked at");
    says(
        &group("constraint {\n attribute = \"${attr.x}\"\n regexp = \"a(\"\n}"),
        "is no regular expression",
    );
    says(
        &group("constraint {\n attribute = \"${attr.x}\"\n version = \">= one\"\n}"),
        "is no demand on a version",
    );
    says(
        &group(
            "constraint {\n attribute = \"${attr.x}\"\n operator = \"regex\"\n value = \"a\"\n}",
        ),
        "did you mean \"regexp\"?",
    );
    says(&task("kill_signal = \"SIGNOPE\""), "there is no signal \"SIGNOPE\"");
    says(
        &task("kill_timeout = \"5 s\""),
        "`kill_timeout` must be a duration such as \"30s\" or \"1h30m\", not \"5 s\"",
    );
    says(&task("logs {\n max_files = 100\n}"), "must be more");
    says(&task("resources {\n memory = 5\n}"), "must be at least 10 MiB");
    says(
        &task("resources {\n memory = 200\n memory_max = 100\n}"),
        "100 MiB is less than memory, 200 MiB, which the task always has: raise it, or leave it out",
    );
    says(
        &task("resources {\n cpu = 100\n cores = 2\n}"),
        "a task asks for cpu or for cores, which bring theirs: drop one of them",
    );
    let device = |name: &str, body: &str| {
        task(&format!("resources {{\n device \"{name}\" {{\n {body}\n }}\n}}"))
    };
    says(&device("nvidia//x", ""), "a device is called by its type, \"gpu\"");
    says(&device("gpu", "count = 0"), "must be at least 1; leave the block out for none");
    says(&device("gpu", "counts = 1"), "`counts` is not known in `device`");
    says(
        &device("gpu", "constraint {\n operator = \"distinct_hosts\"\n}"),
        "looks at devices, not at who else is there: write it into the group",
    );
    says(&task("resources {\n memory_max = -2\n}"), "-2 must not be negative");
}

#[test]
fn a_file_cannot_cost_more_than_its_share() {
    let doubling: String = (1..60)
        .map(|n| format!(" a{n} = \"${{local.a{}}}${{local.a{}}}\"\n", n - 1, n - 1))
        .collect();
    says(
        &format!("locals {{\n a0 = \"xxxxxxxxxxxxxxxx\"\n{doubling}}}\njob \"j\" {{}}"),
        "more work than is allowed",
    );
    let nested = "[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : c]]]";
    says(&format!("locals {{\n a = {nested}\n}}\njob \"j\" {{}}"), "more work than is allowed");
    says("locals {\n a = range(100000)\n}\njob \"j\" {}", "at most 1024");
}

#[test]
fn the_api_reads_what_it_writes() {
    let file = Source::read(&root().join("tests/fixtures/jobspec/full.nomad.hcl")).unwrap();
    let spec = jobspec::parse(&file, &inputs()).unwrap().spec;
    let row =
        Row { status: "running".to_owned(), version: 3, submitted_at_unix_ms: 5, ..Row::default() };
    let json = serde_json::to_value(Job::of(&spec, &row)).unwrap();
    assert_eq!(json["ID"], "full-1");
    assert_eq!(json["Version"], 3);
    assert_eq!(json["SubmitTime"], 5_000_000);
    assert_eq!(json["Periodic"], serde_json::Value::Null);
    assert_eq!(json["TaskGroups"][0]["Tasks"][0]["KillTimeout"], 90_000_000_000_u64);
    assert_eq!(json["TaskGroups"][0]["Networks"][0]["ReservedPorts"][0]["Value"], 8080);
    let again = jobspec::parse_json(json.to_string().as_bytes()).unwrap();
    assert_eq!(again.spec, spec);
}

#[test]
fn the_job_of_a_client_of_nomad_is_read() {
    let body = std::fs::read(root().join("tests/fixtures/jobspec/put.json")).unwrap();
    let spec = jobspec::parse_json(&body).unwrap().spec;
    assert_eq!(spec.groups[0].network.ports[0].label, "http");
    assert_eq!(spec.groups[0].update.min_healthy_ms, 1_000);
    assert_eq!(spec.groups[0].tasks[0].resources.cpu_mhz, 50);
}

#[test]
fn the_api_refuses_by_field() {
    let problems = |body: &str| -> Vec<String> {
        jobspec::parse_json(body.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect()
    };
    assert_eq!(problems("{}"), [": Job must be specified"]);
    let wrong = problems(r#"{"ID": "j", "TaskGroups": [{"Name": "g", "Count": "x"}]}"#);
    assert!(wrong[0].contains("expected i64, in: \"Count\": \"x\""), "{wrong:?}");
    assert!(problems("{")[0].starts_with(": the body is not JSON"));
    let task =
        r#"{"Name": "t", "Driver": "d", "Templates": [{"DestPath": "x"}], "KillTimeout": "soon"}"#;
    assert!(problems(&format!("{{\"Job\": {{\"ID\": \"j\", \"TaskGroups\": [{{\"Name\": \"g\", \"Tasks\": [{task}]}}]}}}}"))[0].contains("is no duration"));
    let task = r#"{"Name": "t", "Driver": "d", "Templates": [{"DestPath": "x"}], "Strange": 1}"#;
    assert_eq!(
        problems(&format!(
            "{{\"ID\": \"j\", \"TaskGroups\": [{{\"Name\": \"g\", \"Count\": -2, \"Tasks\": [{task}]}}]}}"
        )),
        [
            "group[g].task[t].template: `template` is a part of Nomad's job files that Drover does not support yet; remove it",
            "group[g].count: -2 must not be negative"
        ]
    );
}

#[test]
fn a_pool_s_name_is_a_short_word() {
    let found = refused("job \"a\" {\n  node_pool = \"my nodes\"\n  group \"g\" {}\n}");
    assert!(found.contains("`node_pool`: a pool's name has 1 to 128 letters"), "{found}");
}
