//! `volume` and `volume_mount`: read, refused, and written again.
use drover_core::types::{Access, Propagation, VolumeAsk, VolumeMount};

use super::*;

/// A job whose group has one volume, `v`, and whose task has `inside` in it. Of a driver that isolates.
fn mounting(inside: &str) -> String {
    let volume = "volume \"v\" {\n type = \"host\"\n source = \"data\"\n }\n";
    group(volume).replace("driver = \"raw_exec\"", &format!("driver = \"exec\"\n{inside}"))
}

/// A job whose task has a mount with `inside` in it.
fn mount(inside: &str) -> String {
    mounting(&format!("volume_mount {{\n{inside}\n}}"))
}

#[test]
fn volumes_and_mounts_are_read_whole_and_written_as_they_were_read() {
    let text = mounting(
        "volume_mount {\n volume = \"v\"\n destination = \"/data\"\n}\nvolume_mount {\n volume = \
         \"v\"\n destination = \"/data/too\"\n read_only = true\n propagation_mode = \
         \"host-to-task\"\n}",
    )
    .replace("source = \"data\"\n", "source = \"data\"\n read_only = true\n per_alloc = false\n");
    let spec = read(&text);
    let ask = VolumeAsk { source: "data".to_owned(), access: Access::ReadOnly };
    assert_eq!(spec.groups[0].volumes, [("v".to_owned(), ask)].into());
    let at = |destination: &str| VolumeMount {
        volume: "v".to_owned(),
        destination: destination.to_owned(),
        ..VolumeMount::default()
    };
    let propagation = Propagation::HostToTask;
    let second = VolumeMount { access: Access::ReadOnly, propagation, ..at("/data/too") };
    assert_eq!(spec.groups[0].tasks[0].volume_mounts, [at("/data"), second]);
    let json = serde_json::to_value(Job::of(&spec, &Row::default())).expect("it can be written");
    let group = &json["TaskGroups"][0];
    let volume = serde_json::json!({
        "Name": "v", "Type": "host", "Source": "data", "ReadOnly": true, "AccessMode": "",
        "AttachmentMode": "", "MountOptions": null, "PerAlloc": false, "Sticky": false,
    });
    assert_eq!(group["Volumes"], serde_json::json!({ "v": volume }));
    let mount = serde_json::json!({
        "Volume": "v", "Destination": "/data", "ReadOnly": false, "PropagationMode": "private",
        "SELinuxLabel": "",
    });
    assert_eq!(group["Tasks"][0]["VolumeMounts"][0], mount);
    let again = jobspec::parse_json(json.to_string().as_bytes()).expect("it is a job");
    assert_eq!(again.spec, spec);
    let none =
        serde_json::to_value(Job::of(&read(&task("")), &Row::default())).expect("plain data");
    assert_eq!(none["TaskGroups"][0]["Volumes"], serde_json::Value::Null);
}

#[test]
fn a_volume_that_no_node_can_lend_is_refused_by_name() {
    let volume = |inside: &str| group(&format!("volume \"v\" {{\n{inside}\n}}"));
    let host = |inside: &str| volume(&format!("type = \"host\"\n source = \"d\"\n{inside}"));
    says(
        &volume("type = \"csi\"\n source = \"d\""),
        "the volumes of storage plugins are not supported",
    );
    says(&volume("type = \"nfs\"\n source = \"d\""), "there is no type \"nfs\": type = \"host\"");
    says(&volume("source = \"d\""), "is missing: type = \"host\"");
    says(&volume("type = \"host\""), "is missing: what client.host_volume of the nodes calls it");
    for (name, value) in [
        ("per_alloc", "true"),
        ("sticky", "true"),
        ("access_mode", "\"single-node-writer\""),
        ("attachment_mode", "\"file-system\""),
    ] {
        let words = format!("`{name}` is a part of Nomad's job files");
        says(&host(&format!("{name} = {value}")), &words);
    }
    says(&host("mount_options {\n fs_type = \"ext4\"\n}"), "`mount_options` is a part of Nomad's");
    says(&host("size = 3"), "`size` is not known in `volume`");
    let twice = "volume \"v\" {\n type = \"host\"\n source = \"d\"\n}\n".repeat(2);
    says(&group(&twice), "there are two volumes called \"v\"");
}

#[test]
fn a_mount_that_cannot_be_is_refused_with_what_would_be_right() {
    let at =
        |destination: &str| mount(&format!("volume = \"v\"\n destination = \"{destination}\""));
    says(
        &mount("volume = \"w\"\n destination = \"/d\""),
        "the group has no volume \"w\"; it has \"v\": name one of them, or add volume \"w\"",
    );
    says(&mount("destination = \"/d\""), "the group has no volume \"\"");
    says(&mount("volume = \"v\""), "is missing: where the task finds the volume");
    for place in ["data", "/../etc", "/data/../etc", "/"] {
        says(&at(place), &format!("\"{place}\" is no absolute path below / without `..`"));
    }
    let one = "volume_mount {\n volume = \"v\"\n destination = \"/d\"\n}\n";
    let other = one.replace("\"/d\"", "\"/d/\"");
    says(&mounting(&format!("{one}{other}")), "another volume is mounted at \"/d/\" too");
    let mode = |mode: &str| {
        mount(&format!("volume = \"v\"\n destination = \"/d\"\n propagation_mode = \"{mode}\""))
    };
    says(&mode("bidirectional"), "\"bidirectional\" is none of \"private\", \"host-to-task\"");
    read(&mode("private"));
    says(
        &mount("volume = \"v\"\n destination = \"/d\"\n selinux_label = \"z\""),
        "`selinux_label` is a part of Nomad's job files",
    );
}

#[test]
fn a_task_without_isolation_is_told_to_use_the_path_itself() {
    let text = mount("volume = \"v\"\n destination = \"/d\"");
    let words = "raw_exec tasks see the files of their machine as they are: drop the block";
    says(&text.replace("\"exec\"", "\"raw_exec\""), words);
}

#[test]
fn json_says_the_same_of_what_is_refused() {
    let job = |volume: &str, mount: &str| {
        format!(
            r#"{{"ID":"j","TaskGroups":[{{"Name":"g","Volumes":{{"v":{volume}}},"Tasks":[
            {{"Name":"t","Driver":"exec","VolumeMounts":[{mount}]}}]}}]}}"#
        )
    };
    let host = r#"{"Name":"v","Type":"host","Source":"d","PerAlloc":false,"MountOptions":null}"#;
    let mount = r#"{"Volume":"v","Destination":"/d"}"#;
    let refused = |volume: &str, mount: &str, words: &str| {
        let found = jobspec::parse_json(job(volume, mount).as_bytes()).expect_err("it is refused");
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|one| one.contains(words)), "wanted {words:?} in\n{found:?}");
    };
    jobspec::parse_json(job(host, mount).as_bytes()).expect("it is a job");
    refused(&host.replace("host", "csi"), mount, "the volumes of storage plugins");
    refused(&host.replace("false", "true"), mount, "`per_alloc` is a part of Nomad's");
    let modes = host.replace("\"PerAlloc\"", "\"AccessMode\":\"single-node-writer\",\"PerAlloc\"");
    refused(&modes, mount, "`access_mode` is a part of Nomad's");
    refused(host, r#"{"Volume":"w","Destination":"/d"}"#, "the group has no volume \"w\"");
    refused(host, r#"{"Volume":"v","Destination":"d"}"#, "is no absolute path");
}
