//! What tasks find in their environment.
use drover_core::client::{Lookup, interpolate, interpolate_json};
use drover_core::types::{
    DeviceGrant, DeviceName, JobKind, MemoryMax, Pieces, PortGrant, TaskPieces,
};

use super::node::{Node, S1};
use super::specs::{alloc, assignment, node_spec, spec, task};

#[test]
fn a_task_finds_nomads_variables_and_its_own() {
    let mut main = task("main");
    main.resources.memory_max = MemoryMax::Mib(512);
    main.env = [
        ("WHERE".into(), "${node.datacenter}/${meta.rack} ${NOMAD_ADDR_http}".into()),
        ("DATA".into(), "${NOMAD_TASK_DIR}/data".into()),
        ("NOMAD_DC".into(), "mine".into()),
    ]
    .into();
    main.config_json = r#"{"args":["${WHERE}","${env[\"NOMAD_JOB_ID\"]}","${unknown}"]}"#.into();
    main.meta = [("two-words".into(), "task".into()), ("tier".into(), "task".into())].into();
    let mut spec = spec(JobKind::Service, vec![main]);
    spec.job_meta = [("tier".into(), "job".into())].into();
    let mut node = Node::registered();
    node.assign((4, None), &spec, &[], &[]);
    let mut five = assignment((5, Some(4)), &spec.into(), &[alloc(5)], &[]);
    five.runs[0].ordinal = 3;
    five.runs[0].may_exceed_memory = true;
    let cores = [1, 2, 3, 7].into_iter().collect();
    let name = DeviceName { vendor: "nvidia".into(), kind: "gpu".into(), name: "T 4".into() };
    let devices = vec![DeviceGrant { name, ids: vec!["GPU-a".into(), "GPU-b".into()] }];
    five.runs[0].pieces = Pieces::boxed(vec![TaskPieces { task: "main".into(), cores, devices }]);
    five.runs[0].ports = vec![PortGrant { label: "http".into(), value: 8_080, to: 0 }];
    node.hear(S1, drover_core::client::ServerMessage::Assign(five));
    node.name(5, &["main"]);
    node.sync();
    node.did();
    let start = node.starts.values().next().expect("a start").clone();
    let expected = [
        ("NOMAD_ALLOC_NAME", "shop.web[3]"),
        ("NOMAD_ALLOC_INDEX", "3"),
        ("NOMAD_TASK_NAME", "main"),
        ("NOMAD_GROUP_NAME", "web"),
        ("NOMAD_JOB_ID", "shop"),
        ("NOMAD_JOB_NAME", "shop"),
        ("NOMAD_NAMESPACE", "default"),
        ("NOMAD_REGION", "global"),
        ("NOMAD_DC", "mine"),
        ("NOMAD_CPU_LIMIT", "100"),
        ("NOMAD_CPU_CORES", "1-3,7"),
        ("NOMAD_DEVICE_nvidia_gpu_T_4", "GPU-a,GPU-b"),
        ("NVIDIA_VISIBLE_DEVICES", "GPU-a,GPU-b"),
        ("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b"),
        ("NOMAD_MEMORY_LIMIT", "300"),
        ("NOMAD_MEMORY_MAX_LIMIT", "512"),
        ("NOMAD_IP_http", "10.0.0.1"),
        ("NOMAD_PORT_http", "8080"),
        ("NOMAD_HOST_PORT_http", "8080"),
        ("NOMAD_ALLOC_PORT_http", "8080"),
        ("NOMAD_META_tier", "task"),
        ("NOMAD_META_TIER", "task"),
        ("NOMAD_META_two_words", "task"),
        ("WHERE", "dc1/r1 10.0.0.1:8080"),
        ("DATA", "${NOMAD_TASK_DIR}/data"),
    ];
    for (name, value) in expected {
        assert_eq!(start.env.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(start.env["NOMAD_ALLOC_ID"], start.uuid.to_string());
    assert_eq!(start.env["NOMAD_SHORT_ALLOC_ID"], start.uuid.to_string()[..8]);
    assert_eq!(start.config_json, r#"{"args":["dc1/r1 10.0.0.1:8080","shop","${unknown}"]}"#);
}

#[test]
fn what_means_nothing_stays_as_it_was_written() {
    let node = node_spec();
    let env = [("A".to_string(), "1".to_string())].into();
    let lookup = Lookup { node: Some(&node), region: "global", env: &env };
    for (text, meant) in [
        ("${A}${ A }${env.A}", "111"),
        ("${attr.kernel.name}-${node.unique.name}-${node.region}", "linux-n1-global"),
        ("${attr.none} ${B} $A ${", "${attr.none} ${B} $A ${"),
        ("${A", "${A"),
        ("é${A}é", "é1é"),
        ("", ""),
    ] {
        assert_eq!(interpolate(text, &lookup), meant);
    }
}

#[test]
fn no_value_breaks_out_of_its_json_string() {
    let env = [("A".to_string(), "\"],\\\n".to_string())].into();
    let lookup = Lookup { node: None, region: "", env: &env };
    let json = interpolate_json(r#"{"args":["${A}"]}"#, &lookup);
    let value: serde_json::Value = serde_json::from_str(&json).expect("still JSON");
    assert_eq!(value["args"][0], "\"],\\\n");
}
