//! Job files from end to end: what is read, what is refused, and in which words.
mod gates;
mod launch;
mod refused;
mod services;
mod volumes;

use std::collections::BTreeMap;
use std::path::Path;

use drover_core::types::{
    Affinity, DelayFunction, HealthCheck, JobKind, JobSpec, MemoryMax, Operator, ReschedulePolicy,
    RestartMode, RestartPolicy, Spread, SpreadTarget, UpdatePolicy,
};
use drover_shell::api::job::{Job, Row};
use drover_shell::jobspec::{self, Example, Folder, Inputs, Source};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn inputs() -> Inputs {
    let folder = Folder::Readable(root().join("tests/fixtures/jobspec"));
    Inputs { folder, ..Inputs::default() }
}

fn source(text: &str) -> Source {
    Source { file: "job.hcl".to_owned(), text: text.to_owned() }
}

fn read_with(text: &str, inputs: &Inputs) -> JobSpec {
    jobspec::parse(&source(text), inputs).unwrap_or_else(|found| panic!("{found}")).spec
}

fn read(text: &str) -> JobSpec {
    read_with(text, &inputs())
}

fn refused_with(text: &str, inputs: &Inputs) -> String {
    match jobspec::parse(&source(text), inputs) {
        Ok(file) => panic!("was read: {:?}", file.spec),
        Err(found) => found.to_string(),
    }
}

fn refused(text: &str) -> String {
    refused_with(text, &inputs())
}

/// A job whose one task has `inside` in it.
fn task(inside: &str) -> String {
    format!(
        "job \"j\" {{\n group \"g\" {{\n  task \"t\" {{\n   driver = \"raw_exec\"\n{inside}\n}}\n}}\n}}\n"
    )
}

/// A job whose one group has `inside` in it.
fn group(inside: &str) -> String {
    format!(
        "job \"j\" {{\n group \"g\" {{\n{inside}\n  task \"t\" {{\n   driver = \"raw_exec\"\n  }}\n }}\n}}\n"
    )
}

/// What `expr` comes to, as JSON.
fn value(expr: &str) -> serde_json::Value {
    let spec = read(&task(&format!("config {{\n v = {expr}\n}}")));
    let config: serde_json::Value =
        serde_json::from_str(&spec.groups[0].tasks[0].config_json).expect("JSON");
    config["v"].clone()
}

#[track_caller]
fn gives(expr: &str, json: &str) {
    let wanted: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(value(expr), wanted, "{expr}");
}

#[track_caller]
fn says(text: &str, words: &str) {
    let found = refused(text);
    assert!(found.contains(words), "wanted {words:?} in\n{found}");
}

#[test]
fn every_example_is_read() {
    for name in ["web", "batch", "placement", "periodic", "dispatch", "after", "services"] {
        let file = Source::read(&root().join(format!("examples/{name}.nomad.hcl"))).unwrap();
        let job = jobspec::parse(&file, &inputs()).unwrap_or_else(|found| panic!("{found}"));
        assert!(!job.spec.groups.is_empty());
    }
    for example in [Example::Explained, Example::Short] {
        assert_eq!(read(jobspec::job_init(example)).id, "example");
    }
}

#[test]
fn defaults_are_those_of_nomad() {
    let spec = read(&task(""));
    assert_eq!((spec.id.as_str(), spec.name.as_str()), ("j", "j"));
    assert_eq!((spec.namespace.as_str(), spec.region.as_str()), ("default", "global"));
    assert_eq!((spec.kind, spec.priority), (JobKind::Service, 50));
    assert_eq!(spec.datacenters, ["*"]);
    assert_eq!(spec.node_pool.as_str(), "default");
    let group = &spec.groups[0];
    assert_eq!((group.count, group.disk_mib), (1, 300));
    assert_eq!((group.restart.attempts, group.restart.interval_ms), (2, 1_800_000));
    assert_eq!((group.restart.delay_ms, group.restart.mode), (15_000, RestartMode::Fail));
    assert_eq!(group.reschedule, ReschedulePolicy::default_of(JobKind::Service));
    assert_eq!(group.update, UpdatePolicy::default());
    let task = &group.tasks[0];
    assert_eq!((task.resources.cpu_mhz, task.resources.memory_mib), (100, 300));
    assert_eq!((task.kill_timeout_ms, task.kill_signal.as_str()), (5_000, ""));
    assert_eq!((task.logs.files_max, task.logs.file_mib_max), (10, 10));
    assert_eq!(task.config_json, "{}");
}

#[test]
fn defaults_of_jobs_on_every_node_are_those_of_their_likes() {
    for (name, kind, like) in [
        ("system", JobKind::System, JobKind::Service),
        ("sysbatch", JobKind::Sysbatch, JobKind::Batch),
    ] {
        let of = |file: String| read(&file.replacen('{', &format!("{{\n type = \"{name}\""), 1));
        let spec = of(task(""));
        assert_eq!(spec.kind, kind);
        let found = &spec.groups[0];
        assert_eq!(found.restart, RestartPolicy::default_of(like));
        assert_eq!(found.reschedule.attempts, 0);
        assert!(!found.reschedule.unlimited);
        assert_eq!((found.count, found.update.parallel_max), (1, 0), "all at once, unasked");
        let update = of(group("update {\n stagger = \"10s\"\n}")).groups[0].update;
        assert_eq!((update.parallel_max, update.stagger_ms), (1, 10_000));
        // What is shown is read back the same.
        let shown = serde_json::to_value(Job::of(&spec, &Row::default())).expect("plain data");
        let again = jobspec::parse_json(shown.to_string().as_bytes()).expect("it is a job");
        assert_eq!(again.spec, spec);
    }
}

#[test]
fn every_supported_key_arrives() {
    let file = Source::read(&root().join("tests/fixtures/jobspec/full.nomad.hcl")).unwrap();
    let spec = jobspec::parse(&file, &inputs()).unwrap_or_else(|found| panic!("{found}")).spec;
    assert_eq!((spec.id.as_str(), spec.name.as_str()), ("full-1", "full"));
    assert_eq!((spec.namespace.as_str(), spec.region.as_str()), ("team", "eu"));
    assert_eq!((spec.kind, spec.priority), (JobKind::Batch, 70));
    assert_eq!(spec.datacenters, ["dc1", "dc*"]);
    assert_eq!(spec.node_pool.as_str(), "gpu");
    assert_eq!(spec.meta["owner"], "me");
    let operators: Vec<Operator> = spec.constraints.iter().map(|one| one.operator).collect();
    assert_eq!(
        operators,
        [Operator::Equal, Operator::Version, Operator::Regexp, Operator::SetContains]
    );
    let group = &spec.groups[0];
    assert_eq!((group.count, group.disk_mib, group.shutdown_delay_ms), (3, 500, 2_000));
    assert_eq!(group.constraints[0].operator, Operator::DistinctHosts);
    assert_eq!((group.restart.attempts, group.restart.mode), (5, RestartMode::Delay));
    assert_eq!(group.restart.interval_ms, 600_000);
    assert_eq!(group.reschedule.delay_function, DelayFunction::Fibonacci);
    assert!(!group.reschedule.unlimited);
    assert_eq!((group.update.parallel_max, group.update.min_healthy_ms), (2, 15_000));
    let ports: Vec<(&str, Option<u16>, u16)> =
        group.network.ports.iter().map(|port| (port.label.as_str(), port.fixed, port.to)).collect();
    assert_eq!(ports, [("admin", Some(8080), 80), ("http", None, 0)]);
    assert_eq!(group.network.mode, "host");
    let task = &group.tasks[0];
    assert_eq!((task.user.as_str(), task.kill_signal.as_str()), ("nobody", "SIGTERM"));
    assert_eq!((task.kill_timeout_ms, task.shutdown_delay_ms), (90_000, 1_500));
    assert!(task.leader);
    assert_eq!(task.env["PORT"], "8080");
    assert_eq!(task.meta["a"], "1");
    assert_eq!((task.resources.cpu_mhz, task.resources.memory_mib), (200, 64));
    assert_eq!(task.resources.memory_max, MemoryMax::Mib(256));
    let device = &task.resources.devices[0];
    assert_eq!((device.name.as_str(), device.count), ("nvidia/gpu", 2));
    assert_eq!(device.constraints[0].right, "8 GiB");
    assert_eq!((device.affinities[0].right.as_str(), device.affinities[0].weight), ("1080ti", 75));
    assert_eq!((task.logs.files_max, task.logs.file_mib_max), (3, 20));
}

#[test]
fn a_task_outside_a_group_is_a_group_of_its_own() {
    let spec = read("job \"j\" {\n task \"t\" {\n driver = \"d\"\n }\n}");
    assert_eq!((spec.groups[0].name.as_str(), spec.groups[0].tasks[0].name.as_str()), ("t", "t"));
}

#[test]
fn groups_inherit_the_policies_of_the_job_key_by_key() {
    let spec = read(
        "job \"j\" {
          update { max_parallel = 4 }
          restart { attempts = 7 }
          reschedule { delay = \"1m\" }
          group \"a\" {
            update { min_healthy_time = \"1s\" }
            restart { delay = \"1s\" }
            task \"t\" { driver = \"d\" }
          }
        }",
    );
    let group = &spec.groups[0];
    assert_eq!((group.update.parallel_max, group.update.min_healthy_ms), (4, 1_000));
    assert_eq!((group.restart.attempts, group.restart.delay_ms), (7, 1_000));
    assert_eq!((group.reschedule.delay_ms, group.reschedule.delay_ms_max), (60_000, 3_600_000));
}

#[test]
fn what_belongs_to_the_node_is_left_to_it() {
    gives("node.datacenter", r#""${node.datacenter}""#);
    gives("\"${NOMAD_PORT_http}:${1 + 1}\"", r#""${NOMAD_PORT_http}:2""#);
    gives(
        "\"x ${attr[\"kernel.name\"]} $${kept} %%{kept}\"",
        r#""x ${attr[\"kernel.name\"]} ${kept} %{kept}""#,
    );
    gives("upper(\"x-${node.unique.name}\")", r#""X-${NODE.UNIQUE.NAME}""#);
}

#[test]
fn expressions_mean_what_they_mean_in_hcl() {
    gives("1 + 2 * 3 % 4", "3");
    gives("\"5\" + 1", "6");
    gives("true ? \"a\" : missing.thing[7]", r#""a""#);
    gives("[for i, x in [\"a\", \"b\"] : \"${i}${x}\" if x != \"a\"]", r#"["1b"]"#);
    gives("{ for k, v in { b = 1, a = 2 } : upper(k) => v }", r#"{"A": 2, "B": 1}"#);
    gives(
        "{ for x in [\"ab\", \"ac\", \"b\"] : substr(x, 0, 1) => x... }",
        r#"{"a": ["ab", "ac"], "b": ["b"]}"#,
    );
    gives("[{ n = 1 }, { n = 2 }][*].n", "[1, 2]");
    gives("[{ n = 1 }, { n = 2 }].*.n", "[1, 2]");
    gives("{ a = [10, 20] }.a[1]", "20");
    gives("!(1 < 2) || \"a\" == \"a\" && 2 >= 2", "true");
    gives("max([1, 5, 3]...)", "5");
    gives("try(var.missing, local.missing, \"last\")", r#""last""#);
    gives("[can(1 + 1), can(\"x\" + 1)]", "[true, false]");
    gives("convert([\"1\", 2], list(number))", "[1, 2]");
    gives("-(3 - 5) / 4", "0.5");
}

#[test]
fn heredocs_and_directives_make_text() {
    gives("<<EOT\n a\n  b\nEOT", r#"" a\n  b\n""#);
    gives("<<-EOT\n    a\n      b\n    EOT", r#""a\n  b\n""#);
    gives("\"%{ if 1 < 2 }yes%{ else }no%{ endif }\"", r#""yes""#);
    gives("\"%{ for i, x in [\"a\", \"b\"] }${i}=${x};%{ endfor }\"", r#""0=a;1=b;""#);
    gives(
        "<<-EOT\n  x\n  %{~ for n in [1, 2] ~}\n  <${n}>\n  %{~ endfor ~}\n  y\n  EOT",
        r#""x  <1>  <2>y\n""#,
    );
}

#[test]
fn functions_of_text() {
    gives(
        "format(\"%s-%03d-%5.1f-%q-%v-%%|%-4s|%x\", \"a\", 7, 2.25, \"q\", [1], \"l\", 255)",
        r#""a-007-  2.2-\"q\"-[1]-%|l   |ff""#,
    );
    gives("formatlist(\"%s:%d\", [\"a\", \"b\"], 1)", r#"["a:1", "b:1"]"#);
    gives("join(\",\", [\"a\", 1, true])", r#""a,1,true""#);
    gives("split(\",\", \"a,b\")", r#"["a", "b"]"#);
    gives("replace(\"a-b-c\", \"-\", \"+\")", r#""a+b+c""#);
    gives("replace(\"a1b22\", \"/[0-9]+/\", \"#\")", r##""a#b#""##);
    gives("regex(\"(\\\\d+)\\\\.(\\\\d+)\", \"v12.34\")", r#"["12", "34"]"#);
    gives("regex(\"(?P<major>\\\\d+)\", \"v12\")", r#"{"major": "12"}"#);
    gives("regex_replace(\"abc\", \"b(c)\", \"$1\")", r#""ac""#);
    gives("title(\"hello old world\")", r#""Hello Old World""#);
    gives(
        "[trim(\"??a?\", \"?\"), trimprefix(\"ab\", \"a\"), trimsuffix(\"ab\", \"b\"), trimspace(\" a \")]",
        r#"["a", "b", "a", "a"]"#,
    );
    gives(
        "[substr(\"hello\", 1, 2), substr(\"hello\", -2, -1), strrev(\"abc\"), chomp(\"a\\n\")]",
        r#"["el", "lo", "cba", "a"]"#,
    );
    gives("indent(2, \"a\\nb\")", r#""a\n  b""#);
    gives("[strlen(\"äb\"), length(\"abc\"), length([1])]", "[2, 3, 1]");
}

#[test]
fn functions_of_collections() {
    gives("concat([1], [2, 3])", "[1, 2, 3]");
    gives("[coalesce(\"\", null, \"x\"), coalescelist([], [1])[0]]", r#"["x", 1]"#);
    gives("compact([\"a\", \"\", null])", r#"["a"]"#);
    gives("chunklist([1, 2, 3], 2)", "[[1, 2], [3]]");
    gives(
        "[contains([\"a\"], \"a\"), index([\"a\", \"b\"], \"b\"), element([1, 2], 3)]",
        "[true, 1, 2]",
    );
    gives("distinct([1, 2, 1])", "[1, 2]");
    gives("flatten([[1, [2]], 3])", "[1, 2, 3]");
    gives("[keys({ b = 1, a = 2 }), values({ b = 1, a = 2 })]", r#"[["a", "b"], [2, 1]]"#);
    gives("[lookup({ a = 1 }, \"a\", 9), lookup({ a = 1 }, \"b\", 9)]", "[1, 9]");
    gives("merge({ a = 1, b = 1 }, { b = 2 })", r#"{"a": 1, "b": 2}"#);
    gives("[range(3), range(1, 4), range(5, 1, -2)]", "[[0, 1, 2], [1, 2, 3], [5, 3]]");
    gives(
        "[reverse([1, 2]), sort([\"b\", \"a\"]), slice([1, 2, 3], 1, 3)]",
        r#"[[2, 1], ["a", "b"], [2, 3]]"#,
    );
    gives("zipmap([\"a\", \"b\"], [1, 2])", r#"{"a": 1, "b": 2}"#);
    gives(
        "[setunion([1], [2, 1]), setintersection([1, 2], [2]), setsubtract([1, 2], [2])]",
        "[[1, 2], [2], [1]]",
    );
    gives("setproduct([\"a\"], [1, 2])", r#"[["a", 1], ["a", 2]]"#);
}

#[test]
fn functions_of_numbers_hashes_and_encodings() {
    gives(
        "[abs(-1), ceil(1.2), floor(-1.2), signum(-3), pow(2, 10), min(2, 1), parseint(\"ff\", 16)]",
        "[1, 2, -2, -1, 1024, 1, 255]",
    );
    gives("base64decode(base64encode(\"häy\"))", r#""häy""#);
    gives("jsondecode(jsonencode({ a = [1, true, null] }))", r#"{"a": [1, true, null]}"#);
    gives("csvdecode(\"a,b\\n1,\\\"x,y\\\"\\n\")", r#"[{"a": "1", "b": "x,y"}]"#);
    gives("urlencode(\"a b/ü\")", r#""a+b%2F%C3%BC""#);
    gives("md5(\"abc\")", r#""900150983cd24fb0d6963f7d28e17f72""#);
    gives("sha1(\"abc\")", r#""a9993e364706816aba3e25717850c26c9cd0d89d""#);
    gives(
        "sha256(\"abc\")",
        r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#,
    );
    gives("uuidv5(\"dns\", \"www.example.com\")", r#""2ed6657d-e927-568b-95e1-2665a8aea6a2""#);
}

#[test]
fn functions_of_networks_and_times() {
    gives(
        "[cidrhost(\"10.0.0.0/8\", 5), cidrhost(\"10.0.0.0/24\", -1), cidrhost(\"fd00::/64\", 255)]",
        r#"["10.0.0.5", "10.0.0.255", "fd00::ff"]"#,
    );
    gives("cidrnetmask(\"172.16.0.0/12\")", r#""255.240.0.0""#);
    gives(
        "[cidrsubnet(\"10.0.0.0/8\", 8, 2), cidrsubnet(\"fd00::/48\", 16, 162)]",
        r#"["10.2.0.0/16", "fd00:0:0:a2::/64"]"#,
    );
    gives(
        "cidrsubnets(\"10.1.0.0/16\", 4, 4, 8, 4)",
        r#"["10.1.0.0/20", "10.1.16.0/20", "10.1.32.0/24", "10.1.48.0/20"]"#,
    );
    gives("timeadd(\"2026-02-28T23:30:00Z\", \"1h\")", r#""2026-03-01T00:30:00Z""#);
    gives(
        "formatdate(\"EEE, DD MMM YYYY 'at' hh:mm ZZZ\", \"2026-11-24T22:45:07Z\")",
        r#""Tue, 24 Nov 2026 at 22:45 UTC""#,
    );
}

#[test]
fn file_functions_look_beside_the_job_file() {
    gives("trimspace(file(\"note.txt\"))", r#""a note""#);
    gives(
        "[fileexists(\"note.txt\"), fileexists(\"none.txt\"), basename(\"a/b.c\"), dirname(\"a/b.c\")]",
        r#"[true, false, "b.c", "a"]"#,
    );
    let closed = Inputs::default();
    let found = refused_with(&task("config {\n v = file(\"note.txt\")\n}"), &closed);
    assert!(found.contains("files cannot be read here"), "{found}");
}

#[test]
fn dynamic_blocks_make_blocks_with_labels_and_inner_ones() {
    let spec = read(
        "variable \"apps\" {
          type    = map(object({ ports = list(string) }))
          default = { web = { ports = [\"http\", \"admin\"] }, db = { ports = [] } }
        }
        job \"j\" {
          dynamic \"group\" {
            for_each = var.apps
            iterator = app
            labels   = [\"g-${app.key}\"]
            content {
              network {
                dynamic \"port\" {
                  for_each = app.value.ports
                  labels   = [port.value]
                  content { to = 80 + port.key }
                }
              }
              task \"t\" {
                driver = \"d\"
                config { name = app.key }
              }
            }
          }
        }",
    );
    let names: Vec<&str> = spec.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["g-db", "g-web"]);
    let ports: Vec<(&str, u16)> =
        spec.groups[1].network.ports.iter().map(|port| (port.label.as_str(), port.to)).collect();
    assert_eq!(ports, [("http", 80), ("admin", 81)]);
    assert_eq!(spec.groups[0].tasks[0].config_json, "{\"name\":\"db\"}");
}

const WITH_VARIABLES: &str = "
variable \"count\" { type = number }
variable \"dcs\" {
  type    = list(string)
  default = [\"dc1\"]
}
variables { word = \"hey\" }
locals {
  b = \"${local.a}!\"
  a = upper(var.word)
}
job \"j\" {
  datacenters = var.dcs
  meta { said = local.b }
  group \"g\" {
    count = var.count
    task \"t\" { driver = \"d\" }
  }
}
";

#[test]
fn variables_come_from_flags_before_files_before_the_environment() {
    let pairs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let mut inputs = Inputs {
        environment: pairs(&[
            ("NOMAD_VAR_count", "2"),
            ("NOMAD_VAR_dcs", "[\"env\"]"),
            ("DROVER_VAR_word", "env"),
        ]),
        ..inputs()
    };
    let spec = read_with(WITH_VARIABLES, &inputs);
    assert_eq!((spec.groups[0].count, spec.meta["said"].as_str()), (2, "ENV!"));
    assert_eq!(spec.datacenters, ["env"]);
    let text = "count = 3\ndcs = [\"file\"]\n".to_owned();
    inputs.files.push(Source { file: "x.vars".to_owned(), text });
    let spec = read_with(WITH_VARIABLES, &inputs);
    assert_eq!((spec.groups[0].count, spec.datacenters[0].as_str()), (3, "file"));
    inputs.flags = pairs(&[("count", "4"), ("dcs", "[\"flag\"]")]);
    let spec = read_with(WITH_VARIABLES, &inputs);
    assert_eq!((spec.groups[0].count, spec.datacenters[0].as_str()), (4, "flag"));
}

#[test]
fn wrong_variables_are_told_with_their_place() {
    says(WITH_VARIABLES, "job.hcl:2:10: the variable `count` has no value");
    let flags = |name: &str, text: &str| Inputs {
        flags: [(name.to_owned(), text.to_owned())].into(),
        ..inputs()
    };
    let found = refused_with(WITH_VARIABLES, &flags("count", "many"));
    assert!(
        found.contains("-var count:1:1: the variable `count`: a number is wanted, not a string"),
        "{found}"
    );
    let found = refused_with(WITH_VARIABLES, &flags("cuont", "1"));
    assert!(found.contains("the job file declares no variable `cuont`"), "{found}");
    assert!(found.contains("did you mean `count`?"), "{found}");
    says("locals {\n a = local.b\n b = local.a\n}\njob \"j\" {}", "the local `a` needs itself");
}
