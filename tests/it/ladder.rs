//! The ladder of a run: it changes nothing, names everything, and can be read by host, job, alloc and kind.
use std::fs;
use std::path::Path;

use drover_sim::ladder::promises::PROMISES;
use drover_sim::ladder::{Filter, Kind, Ladder};
use drover_sim::plan::Plan;
use drover_sim::{Options, plan_of, run_plan, watch_plan};

/// One job runs, its leader dies, another one leads.
const PLAN: &str = "
seed 5
servers 3
clients 4
faults-until 40.000s
10.000s register web service anywhere count=2 tasks=1 cpu=500 memory=256 ports=0 fixed=0 mark=1
20.000s crash leader for 3.000s
30.000s stop web
";

fn ladder() -> Ladder {
    let plan = Plan::parse(PLAN).expect("it is a plan");
    let (report, ladder) = watch_plan(&plan, &Options::default());
    assert!(report.failure.is_none(), "{report}");
    ladder
}

fn of(change: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    change(&mut filter);
    filter
}

#[test]
fn a_run_that_is_watched_is_the_same_run() {
    let options = Options { minutes: 1, ..Options::default() };
    for seed in 0..3 {
        let plan = plan_of(seed, &options);
        let (watched, ladder) = watch_plan(&plan, &options);
        let alone = run_plan(&plan, &options);
        assert_eq!((watched.digest, watched.steps), (alone.digest, alone.steps), "seed {seed}");
        assert!(1_000 < ladder.rungs().count(), "seed {seed} has a ladder");
    }
}

#[test]
fn a_reader_finds_who_led_what_was_acknowledged_and_what_ran() {
    let lines = ladder().lines(&Filter::default(), None);
    for words in [
        "LEADS in term 2",
        "vote? term",
        "vote granted",
        "append ",
        "commits ",
        "register web (2 allocs): ACKNOWLEDGED at ",
        "plan for web: place web.group[0] (",
        "web.group[1] (",
        "GOES DOWN; ",
        "plan: crash leader for 3.000s  (leader: s",
        "all faults end",
    ] {
        assert!(lines.iter().any(|line| line.contains(words)), "nobody says {words:?}");
    }
    let crash = lines.iter().position(|line| line.contains("plan: crash")).expect("it is there");
    let again = lines[crash..].iter().any(|line| line.contains("LEADS in term 3"));
    assert!(again, "after the crash another one leads");
    let summary = ladder().summary().join("\n");
    assert!(summary.contains("term 2    s"), "{summary}");
    assert!(summary.contains("stop web: ACKNOWLEDGED at "), "{summary}");
}

#[test]
fn what_follows_hangs_below_its_cause() {
    let lines = ladder().lines(&Filter::default(), None);
    let asked = lines.iter().position(|line| line.contains("asked: register web"));
    let asked = asked.expect("the job is asked for");
    let depth = |line: &String| {
        let what = line.chars().skip(25);
        what.take_while(|c| *c == ' ').count()
    };
    let acknowledged =
        lines[asked..].iter().position(|line| line.contains("register web (2 allocs): ACK"));
    let between = &lines[asked..=asked + acknowledged.expect("it is answered")];
    let appended = between.iter().find(|line| line.contains("append ")).expect("it is sent");
    let acked = between
        .iter()
        .find(|line| line.contains("  ack ") || line.contains(" ack "))
        .expect("it is held");
    assert!(depth(&between[0]) < depth(appended), "{appended}");
    assert!(depth(appended) < depth(acked), "{acked}");
    let first = |line: &String| line.split_whitespace().next().map(str::to_owned);
    let times = lines.iter().filter_map(first).filter(|word| word != "⋮");
    let seconds: Vec<f64> =
        times.map(|at| at.trim_end_matches('s').parse().expect("a time")).collect();
    assert!(seconds.is_sorted(), "lines are in the order of time");
}

#[test]
fn the_ladder_can_be_read_by_host_job_alloc_and_kind() {
    let ladder = ladder();
    let all = ladder.lines(&Filter::default(), None);
    let of_host = ladder.lines(&of(|filter| filter.hosts.push("s2".into())), None);
    let told = |line: &&String| !line.contains('⋮');
    assert!(of_host.iter().filter(told).all(|line| line.contains("s2") || line.contains("plan")));
    let of_job = ladder.lines(&of(|filter| filter.jobs.push("web".into())), None);
    assert!(of_job.iter().filter(told).all(|line| line.contains("web")), "{of_job:#?}");
    let named = all.iter().find_map(|line| line.split_once("web.group[1] (")).expect("it is named");
    let short = &named.1[..4];
    let of_alloc = ladder.lines(&of(|filter| filter.allocs.push(short.into())), None);
    assert!(of_alloc.iter().filter(told).all(|line| line.contains("web")), "{of_alloc:#?}");
    let tasks = ladder.lines(&of(|filter| filter.kinds.push(Kind::Task)), None);
    assert!(tasks.iter().any(|line| line.contains("BEGINS")), "{tasks:#?}");
    assert!(tasks.iter().all(|line| !line.contains("append")), "{tasks:#?}");
    for (name, part) in
        [("host", &of_host), ("job", &of_job), ("alloc", &of_alloc), ("kind", &tasks)]
    {
        assert!(!part.is_empty(), "something is of the {name}");
        assert!(part.len() < all.len(), "not everything is of the {name}");
    }
    assert_eq!(ladder.lines(&Filter::default(), Some(7)), all[all.len() - 7..]);
}

#[test]
fn every_checker_says_in_a_sentence_what_it_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/src");
    let mut named = 0;
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("the file can be read");
            for before in ["checker: \"", "named(\"", "fail(\""] {
                for (at, _) in text.match_indices(before) {
                    let name = text[at + before.len()..].split('"').next().unwrap_or_default();
                    let is_known = PROMISES.iter().any(|(known, _)| *known == name);
                    assert!(is_known, "{}: {name} promises nothing", path.display());
                    named += 1;
                }
            }
        }
    }
    assert!(10 < named, "checkers are named somewhere");
}
