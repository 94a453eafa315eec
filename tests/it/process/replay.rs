//! What an agent recorded, asked by the program that recorded it: the answers are those that the agent
//! itself gave at that moment.
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::rig::{Agent, Part, Said, Site, drover, job, text_of, wait_until};

/// The least that the recorder can be told to keep: a quarter of it is one segment.
const RECORDER: &str = "recorder {\n  max_mb = 1\n}\n";
/// Fills a segment in a few registrations.
const PADDING_BYTES: usize = 60_000;

/// A server and client in one, with small segments.
fn recording(site: &Site) -> Agent {
    let mut agent = site.agent("both", Part::Both, &[]);
    agent.configure_more(RECORDER);
    agent.start();
    wait_until("its node is ready", || agent.node_status("both").as_deref() == Some("ready"));
    agent
}

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is later than 1970").as_millis()
}

fn replay(agent: &Agent, args: &[&str]) -> Said {
    let data_dir = agent.data_dir().display().to_string();
    drover(&agent.dir, &[&["replay", &data_dir], args].concat())
}

fn replayed(agent: &Agent, args: &[&str]) -> String {
    let said = replay(agent, args);
    assert!(said.status.success(), "{args:?}: {}", said.text);
    said.text
}

/// A job that is longer than it looks.
fn padded(id: &str, count: u32, script: &str) -> String {
    let whole = job(id, "service", count, script);
    let padding = "x".repeat(PADDING_BYTES);
    whole.replacen("  group", &format!("  meta {{\n    padding = \"{padding}\"\n  }}\n  group"), 1)
}

/// What the CLI prints before it says as of when.
fn answer(said: &str) -> &str {
    said.rsplit_once("As of ").expect("it says as of when").0
}

/// Commands that read, and what the living agent answered.
struct Moment {
    index: u64,
    answers: Vec<(Vec<String>, String)>,
}

impl Moment {
    /// Nothing must change meanwhile.
    fn of(agent: &Agent, job: &str) -> Self {
        let alloc = agent.allocs(job).first().expect("it has an alloc").0.clone();
        let node = text_of(&agent.get("/v1/nodes")[0], "ID");
        let commands: [&[&str]; 8] = [
            &["job", "status", "-json"],
            &["job", "status", job],
            &["job", "inspect", job],
            &["alloc", "status", "-json", &alloc],
            &["node", "status", "-json"],
            &["node", "status", "-json", &node],
            &["eval", "list", "-json"],
            &["operator", "raft", "list-peers"],
        ];
        let ask = |words: &&[&str]| {
            let said = agent.cli(words);
            assert!(said.status.success(), "{words:?}: {}", said.text);
            (words.iter().map(|&word| word.to_owned()).collect(), said.text)
        };
        let answers = commands.iter().map(ask).collect();
        Self { index: applied(agent), answers }
    }

    /// The log answers as the agent did.
    fn check(&self, agent: &Agent, at: &str) {
        for (words, then) in &self.answers {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let said = replayed(agent, &[&["--at", at, "--"], words.as_slice()].concat());
            let now = answer(&said);
            // Ages are of the moment that is asked about, to the second.
            if words[..2] == ["job", "status"] && words.len() == 3 && words[2] != "-json" {
                let without_ages = |text: &str| {
                    let words = text.split_whitespace().filter(|word| !word.ends_with('s'));
                    words.collect::<Vec<_>>().join(" ")
                };
                assert_eq!(without_ages(now), without_ages(then), "{words:?} at {at}");
            } else {
                assert_eq!(now, then, "{words:?} at {at}");
            }
        }
    }
}

fn applied(agent: &Agent) -> u64 {
    let raft = agent.get("/v1/agent/self")["stats"]["raft"]["applied_index"].clone();
    raft.as_str().expect("a text").parse().expect("a number")
}

/// Waits until the log of the cluster stands still.
fn settle(agent: &Agent) {
    let mut last = (0, now_ms());
    wait_until("nothing happens any more", || {
        let index = applied(agent);
        if index != last.0 {
            last = (index, now_ms());
        }
        400 < now_ms() - last.1
    });
}

#[test]
fn a_recorded_log_answers_as_the_agent_did_and_says_why() {
    let site = Site::new();
    let mut agent = recording(&site);
    let mut moments = Vec::new();
    for round in 0..5 {
        let id = format!("web{round}");
        agent.run(&site.write(&format!("{id}.hcl"), &padded(&id, 2, "sleep 1000")));
        wait_until("it runs", || agent.count(&id, "running") == 2);
        agent.run(&site.write("end.hcl", &job("end", "batch", 1, &format!("exit {}", round % 2))));
        if round % 2 == 0 {
            let said = agent.cli(&["job", "stop", "-detach", &id]);
            assert!(said.status.success(), "{}", said.text);
            wait_until("it is stopped", || agent.count(&id, "complete") == 2);
        }
        settle(&agent);
        moments.push((id.clone(), Moment::of(&agent, &id)));
    }
    agent.stop();
    let segments = fs::read_dir(agent.data_dir().join("inputs")).expect("a folder").count();
    assert!(2 <= segments, "{segments} segments: the log must be cut for this test");

    agent.assert_replays();
    let text = replayed(&agent, &["--verify"]);
    assert!(text.contains("starts with the very agent that the one before ends with"), "{text}");
    for (_, moment) in &moments {
        moment.check(&agent, &moment.index.to_string());
    }
    let state: Value =
        serde_json::from_str(&replayed(&agent, &["--json", "state"])).expect("it is JSON");
    assert_eq!(state["AppliedIndex"], moments.last().expect("one").1.index, "{state:#}");
    assert_eq!(state["Leader"], "both", "{state:#}");

    check_why(&agent);
    let ladder = replayed(&agent, &["--ladder", "--from", "index:5"]);
    assert!(ladder.contains("registers job web0: 2 × g"), "{ladder}");
    for checker in ["invariants", "node_not_oversubscribed", "terms_and_indexes_grow"] {
        let text = replayed(&agent, &["bisect", "--checker", checker, "--every", "64"]);
        assert!(text.starts_with(&format!("{checker} holds")), "{text}");
    }
    let data_dir = agent.data_dir().display().to_string();
    let said = drover(&agent.dir, &["rehearse", &data_dir]);
    assert!(said.status.success(), "{}", said.text);
    assert!(said.text.contains("nothing would have been decided otherwise"), "{}", said.text);
}

/// The life of an alloc that ran and was stopped.
fn check_why(agent: &Agent) {
    let list = replayed(agent, &["--", "job", "status", "-json", "web0"]);
    assert!(!list.is_empty());
    let allocs = replayed(agent, &["--", "job", "status", "-verbose", "web0"]);
    let line = allocs.lines().find(|line| line.contains(" stop ") && line.contains("complete"));
    let alloc = line.and_then(|line| line.split(' ').next()).expect("it has an alloc").to_owned();
    let told = replayed(agent, &["why", &alloc[..13]]);
    let mut from = 0;
    for words in [
        "a caller of this agent asks for it: job web0",
        "registers job web0: 2 × g",
        "the job was registered",
        "the best of 1 nodes",
        "the client starts task 0 (t), attempt 0",
        "runs as process",
        "the servers learn that it is running",
        "a plan stops it",
        "at the end: wanted to stop",
    ] {
        let found = told[from..].find(words);
        from += found.unwrap_or_else(|| panic!("{words:?} is not told in its place:\n{told}"));
    }
    let said = replay(agent, &["why", "zz"]);
    assert!(!said.status.success() && said.text.contains("No allocation(s)"), "{}", said.text);
}

#[test]
fn what_cannot_be_replayed_is_said_with_what_to_do() {
    let site = Site::new();
    let mut agent = recording(&site);
    agent.run(&site.write("web.hcl", &job("web", "service", 1, "sleep 1000")));
    wait_until("it runs", || agent.count("web", "running") == 1);
    agent.stop();

    let refused = |args: &[&str], words: &[&str]| {
        let said = replay(&agent, args);
        assert!(!said.status.success(), "{args:?}: {}", said.text);
        for word in words {
            assert!(said.text.contains(word), "{args:?} does not say {word:?}: {}", said.text);
        }
    };
    refused(&["--at", "2001-01-01T00:00:00Z"], &["before the first recorded input", "max_mb"]);
    refused(&["--at", "yesterday"], &["2026-11-01T12:00:00Z", "index:N"]);
    refused(&["--", "job", "stop", "web"], &["cannot be changed"]);
    refused(&["--", "alloc", "logs", "ab"], &["look at the node itself"]);
    refused(&["--", "node", "eligibility", "-disable", "-self"], &["cannot be changed"]);
    refused(&["--", "sim", "run", "1"], &["asks no cluster"]);
    refused(&["bisect", "--checker", "luck"], &["node_not_oversubscribed"]);
    for wrong in ["nowhere", "config"] {
        let said = drover(&agent.dir, &["replay", wrong]);
        assert!(!said.status.success(), "{wrong}: {}", said.text);
        assert!(said.text.contains("the data directory of an agent"), "{wrong}: {}", said.text);
    }
    let late = replay(&agent, &["--at", "2201-01-01T00:00:00Z", "state"]);
    assert!(
        late.status.success() && late.text.contains("The log ends before that"),
        "{}",
        late.text
    );

    // Some bytes near the end are damaged: what lies before them is still there.
    let path = agent.data_dir().join("inputs/00000001.inputs");
    let mut bytes = fs::read(&path).expect("the log can be read");
    let from = bytes.len() * 3 / 4;
    for byte in &mut bytes[from..from + 64] {
        *byte ^= 0xff;
    }
    fs::write(&path, bytes).expect("the log can be written");
    refused(&["--verify"], &["00000001.inputs", "BROKEN", "--until input:"]);
    let whole = drover(&agent.dir, &["rehearse", &agent.data_dir().display().to_string()]);
    assert_eq!(whole.status.code(), Some(2), "{}", whole.text);
    assert!(whole.text.contains("not rehearsed"), "{}", whole.text);
    let state = replayed(&agent, &["--at", "input:2", "state"]);
    assert!(state.contains("This server"), "{state}");
    let other = PathBuf::from(&agent.dir).join("log");
    let said = drover(&agent.dir, &["replay", &other.display().to_string()]);
    assert!(said.text.contains("not an input log"), "{}", said.text);
}
