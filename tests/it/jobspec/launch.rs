//! Jobs that make children, and counts within bounds: read, refused, and written again.
use drover_core::types::{Launch, PayloadRule, Shift};

use super::*;

/// A batch job with `inside` beside its one group.
fn batch(inside: &str) -> String {
    format!(
        "job \"j\" {{\n type = \"batch\"\n{inside}\n group \"g\" {{\n  task \"t\" {{\n   \
         driver = \"raw_exec\"\n  }}\n }}\n}}\n"
    )
}

fn written_again(spec: &JobSpec) -> (serde_json::Value, JobSpec) {
    let json = serde_json::to_value(Job::of(spec, &Row::default())).expect("it can be written");
    let again = jobspec::parse_json(json.to_string().as_bytes()).expect("it is read again");
    (json, again.spec)
}

#[test]
fn a_calendar_is_read_with_its_zone_and_written_without() {
    let spec = read(&batch(
        "periodic {\n cron = \"*/15 * * * *\"\n prohibit_overlap = true\n time_zone = \
         \"Europe/Zurich\"\n}",
    ));
    let Launch::Periodic(periodic) = &spec.launch else { panic!("it is periodic") };
    assert!(periodic.overlap_prohibited && periodic.enabled);
    // 2026-03-29 01:00 UTC.
    assert!(periodic.zone.contains(&Shift { unix_s: 1_774_746_000, offset_s: 7_200 }));
    let (json, again) = written_again(&spec);
    assert_eq!(json["Periodic"]["Spec"], "*/15 * * * *");
    assert_eq!(json["Periodic"]["SpecType"], "cron");
    assert_eq!(json["Periodic"]["TimeZone"], "Europe/Zurich");
    assert_eq!(again, spec);

    let spec =
        read(&batch("periodic {\n crons = [\"@daily\", \"0 12 * * *\"]\n enabled = false\n}"));
    let (json, again) = written_again(&spec);
    assert_eq!(json["Periodic"]["Specs"][1], "0 12 * * *");
    assert_eq!(json["Periodic"]["TimeZone"], "UTC");
    assert_eq!(again, spec);
}

#[test]
fn a_parameterized_job_is_read_and_written() {
    let text = batch(
        "parameterized {\n payload = \"required\"\n meta_required = [\"b\", \"a\"]\n \
         meta_optional = [\"c\"]\n}",
    );
    let text =
        text.replace("raw_exec\"\n", "raw_exec\"\n dispatch_payload {\n file = \"in\"\n }\n");
    let spec = read(&text);
    let Launch::Parameterized(rules) = &spec.launch else { panic!("it is parameterized") };
    assert_eq!(rules.payload, PayloadRule::Required);
    assert_eq!(spec.groups[0].tasks[0].payload_file, "in");
    let (json, again) = written_again(&spec);
    assert_eq!(json["ParameterizedJob"]["MetaRequired"], serde_json::json!(["a", "b"]));
    assert_eq!(json["TaskGroups"][0]["Tasks"][0]["DispatchPayload"]["File"], "in");
    assert_eq!(again, spec);
}

#[test]
fn bounds_of_a_count_are_read_and_written() {
    let spec = read(&group(
        "count = 2\n scaling {\n min = 1\n max = 5\n policy {\n cooldown = \"1m\"\n }\n }",
    ));
    let (json, again) = written_again(&spec);
    let scaling = &json["TaskGroups"][0]["Scaling"];
    assert_eq!((&scaling["Min"], &scaling["Max"]), (&1.into(), &5.into()));
    assert_eq!(scaling["Policy"]["cooldown"], "1m");
    assert_eq!(again, spec);
}

#[test]
fn what_cannot_work_is_refused_where_it_stands() {
    says(
        &batch("periodic {\n cron = \"61 * * * *\"\n}"),
        "4:9: `cron`: \"61\": a minute lies between",
    );
    says(
        &batch("periodic {\n crons = [\"* *\"]\n}"),
        "4:10: `cron`: \"* *\" is no cron expression",
    );
    says(&batch("periodic {\n}"), "`cron`: says when");
    says(&batch("periodic {\n cron = \"0 0 30 2 *\"\n}"), "no day of any year");
    says(
        &batch("periodic {\n cron = \"@daily\"\n crons = [\"@hourly\"]\n}"),
        "give either cron or crons",
    );
    says(
        &batch("periodic {\n cron = \"@daily\"\n time_zone = \"Europe/Zurig\"\n}"),
        "5:14: `time_zone`: there is no time zone \"Europe/Zurig\"; did you mean \"Europe/Zurich\"?",
    );
    says(&batch("periodic {\n cronn = \"@daily\"\n}"), "did you mean `cron`?");
    let service = batch("periodic {\n cron = \"@daily\"\n}").replace("batch", "service");
    says(&service, "a periodic job ends by itself: write type = \"batch\"");
    says(&batch("parameterized {\n payload = \"maybe\"\n}"), "\"maybe\" is none of \"optional\"");
    says(
        &batch("parameterized {\n meta_required = [\"a\"]\n meta_optional = [\"a\"]\n}"),
        "`meta_optional`: \"a\" is required too",
    );
    let both = "periodic {\n cron = \"@daily\"\n}\nparameterized {\n}";
    says(&batch(both), "by its calendar or by dispatch, not by both");
    says(&task("dispatch_payload {\n file = \"in\"\n}"), "only a parameterized job gets a payload");
    says(&task("dispatch_payload {\n}"), "`dispatch_payload` names a file");
    says(&task("dispatch_payload {\n file = \"../in\"\n}"), "write a path that stays there");
    says(&group("scaling {\n min = 1\n}"), "`max`: say how many allocs");
    says(&group("scaling {\n min = 3\n max = 2\n}"), "2 is less than min, 3");
    says(&group("count = 9\n scaling {\n max = 4\n min = 1\n}"), "9 is not between scaling.min, 1");
}

#[test]
fn a_child_is_not_registered() {
    let body = r#"{"Job":{"ID":"feed/dispatch-1-a","ParentID":"feed","Dispatched":true,"Type":"batch",
        "TaskGroups":[{"Name":"g","Tasks":[{"Name":"t","Driver":"raw_exec"}]}]}}"#;
    let problems = jobspec::parse_json(body.as_bytes()).unwrap_err();
    let why = problems[0].to_string();
    assert!(why.contains("dispatch or force \"feed\" instead"), "{why}");
}
