//! The house rules that a machine can check: import arrows, walls, forbidden words, headers.
//!
//! Invariants
//! - every rule here is also written in ARCHITECTURE.md or in the module headers it speaks of.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines a file may have, in every crate.
const FILE_LINES_MAX: usize = 500;
/// Lines a function of core may have.
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every Rust file below `folder`, with its text.
fn sources(folder: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the file can be read");
                found.insert(path.strip_prefix(root()).expect("below the root").to_owned(), text);
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources: the rule would check nothing");
    found
}

/// The text before its unit tests: what ships.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// `core/src/raft/log.rs` belongs to the machine `raft`.
fn machine_of(path: &Path) -> String {
    let below = path.strip_prefix("core/src").expect("a file of core");
    let first = below.components().next().expect("a file").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn complain(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// What each machine of core may name, beside the line that everybody may.
const CORE_ARROWS: &[(&str, &[&str])] = &[
    ("raft", &[]),
    ("wal", &[]),
    ("gossip", &[]),
    ("heartbeat", &[]),
    ("roster", &[]),
    ("broker", &["state"]),
    ("client", &[]),
    ("assign", &[]),
    ("stamp", &[]),
    ("sightings", &[]),
    ("prober", &[]),
    ("cuts", &[]),
    ("requests", &["api"]),
    ("departure", &["api"]),
    ("intake", &[]),
    ("proposals", &[]),
    ("state", &[]),
    ("fsm", &["state", "api", "scheduler"]),
    ("scheduler", &["state", "planner"]),
    ("planner", &["state"]),
    ("api", &[]),
    ("wire", &["raft", "gossip", "client", "api"]),
];
const EVERYBODY: &[&str] =
    &["bytes", "mutants", "time", "rng", "emit", "limits", "types", "digest", "cron"];

#[test]
fn machines_of_core_do_not_know_each_other() {
    let arrows: BTreeMap<_, _> = CORE_ARROWS.iter().copied().collect();
    let mut found = Vec::new();
    for (path, text) in sources("core/src") {
        let machine = machine_of(&path);
        if machine == "agent" || machine == "lib" {
            continue;
        }
        let may = if EVERYBODY.contains(&machine.as_str()) { Some(&[][..]) } else { None }
            .or_else(|| arrows.get(machine.as_str()).copied())
            .unwrap_or_else(|| panic!("{machine}: a machine that the picture does not have"));
        for named in named_machines(shipped(&text)) {
            let allowed = named == machine
                || EVERYBODY.contains(&named.as_str())
                || may.contains(&named.as_str());
            if !allowed {
                found.push(format!("{}: names crate::{named}", path.display()));
            }
        }
    }
    complain("an arrow that is not in the picture (DESIGN section 2)", &found);
}

/// Every `x` of `crate::x` and of `use crate::{x, y::z}`.
fn named_machines(text: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut word) = (0, String::new());
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => named.push(std::mem::take(&mut word)),
                    c if depth == 0 => word.push(c),
                    _ => (),
                }
            }
            named.push(word);
        } else {
            named.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    let first = |path: String| path.trim().split("::").next().unwrap_or_default().to_owned();
    named.into_iter().map(first).filter(|name| !name.is_empty()).collect()
}

#[test]
fn crates_import_downwards_only() {
    let rules: [(&str, &[&str]); 4] = [
        ("core/src", &["drover_shell", "drover_sim", "drover_tests", "tokio", "std::"]),
        ("shell/src", &["drover_sim", "drover_simnet", "drover_tests", "clap"]),
        ("sim/src", &["drover_shell", "drover_simnet", "drover_tests", "tokio", "clap"]),
        ("sim/simnet/src", &["drover_tests", "clap"]),
    ];
    let mut found = Vec::new();
    for (folder, forbidden) in rules {
        for (path, text) in sources(folder) {
            for word in forbidden {
                let uses = |line: &&str| {
                    line.trim_start().starts_with("use ") && line.contains(&format!(" {word}"))
                };
                if shipped(&text).lines().any(|line| uses(&line)) {
                    found.push(format!("{}: use {word}", path.display()));
                }
            }
        }
    }
    complain("crates import downwards only", &found);
}

#[test]
fn core_names_no_clock_chance_float_thread_or_file() {
    let forbidden = [
        "f32",
        "f64",
        "HashMap",
        "HashSet",
        "Instant",
        "SystemTime",
        "std::",
        "thread",
        "Mutex",
        "RwLock",
        "RefCell",
        "unsafe",
        "static mut",
        "println!",
        ".unwrap()",
        "todo!",
        "unimplemented!",
    ];
    let mut found = Vec::new();
    for (path, text) in sources("core/src") {
        for (number, line) in shipped(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let words = |word: &&&str| contains_word(code, word);
            if let Some(word) = forbidden.iter().find(words)
                && !code.contains("#![forbid(unsafe_code)]")
                && !code.contains("clippy::std_instead")
                && !code.contains("extern crate std")
                // What hashes values must name what it refuses.
                && !code.trim_start().starts_with("fn serialize_f")
            {
                found.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    complain("core is a function of its inputs", &found);
}

fn contains_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let outside = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let starts = word.starts_with('.') || outside(code[..at].chars().next_back());
        let ends = !word.ends_with(char::is_alphanumeric)
            || outside(code[at + word.len()..].chars().next());
        starts && ends
    })
}

#[test]
fn the_list_of_log_scenarios_names_tests_that_are_there() {
    let list = fs::read_to_string(root().join("docs/log-scenarios.md")).expect("it can be read");
    let tests: String = sources("tests/it").into_values().collect();
    let named = list.split('`').skip(1).step_by(2).filter(|name| name.contains("::"));
    let names: Vec<&str> = named.filter_map(|name| name.rsplit("::").next()).collect();
    assert!(10 < names.len(), "the list names its tests");
    let is_missing = |name: &&str| !tests.contains(&format!("fn {name}"));
    let missing: Vec<String> = names.into_iter().filter(is_missing).map(str::to_owned).collect();
    complain("tests of docs/log-scenarios.md that are not there", &missing);
}

#[test]
fn files_and_functions_stay_within_their_walls() {
    let mut found = Vec::new();
    for folder in
        ["core/src", "shell/src", "sim/src", "sim/simnet/src", "cli/src", "tests/src", "tests/it"]
    {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            if FILE_LINES_MAX < lines {
                found.push(format!("{}: {lines} lines", path.display()));
            }
            if folder != "core/src" {
                continue;
            }
            for (name, length) in functions(&text) {
                if FUNCTION_LINES_MAX < length {
                    found.push(format!("{}: fn {name} has {length} lines", path.display()));
                }
            }
        }
    }
    complain("walls: 500 lines a file, 70 a function of core", &found);
}

/// Each function's name and lines, by its indentation (the code is formatted).
fn functions(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if let Some((name, started, at)) = &open {
            if line.trim_end() == format!("{}}}", " ".repeat(*at)) {
                found.push((name.clone(), number - started + 1));
                open = None;
            }
        } else if let Some(at) = line.find("fn ").filter(|_| !line.trim_start().starts_with("//")) {
            let name: String =
                line[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty()
                && !line.trim_end().ends_with(';')
                && !line.trim_end().ends_with("}")
            {
                open = Some((name, number, indent));
            }
        }
    }
    found
}

#[test]
fn the_router_decides_nothing() {
    let routes = fs::read_to_string(root().join("core/src/agent/route.rs")).expect("route.rs");
    let mut found = Vec::new();
    for (number, line) in routes.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for word in ["if", "for", "while", "loop", " + ", " - ", " * ", " / "] {
            let hit =
                if word.starts_with(' ') { code.contains(word) } else { contains_word(code, word) };
            if hit && !code.trim_start().starts_with("impl") {
                found.push(format!("route.rs:{}: {}", number + 1, line.trim()));
            }
        }
    }
    complain("agent/route.rs renames, it does not decide", &found);
}

#[test]
fn every_module_says_what_it_is_for_and_what_it_promises() {
    let mut found = Vec::new();
    for (path, text) in sources("core/src") {
        if !text.starts_with("//! ") {
            found.push(format!("{}: no header", path.display()));
        } else if !text.lines().take_while(|line| line.starts_with("//!")).any(|line| {
            let words = line.trim_start_matches("//!").trim();
            words == "Invariants" || words.starts_with("Invariants:")
        }) {
            found.push(format!("{}: the header lists no Invariants", path.display()));
        }
    }
    for folder in ["shell/src", "sim/src", "sim/simnet/src", "cli/src", "tests/src", "tests/it"] {
        for (path, text) in sources(folder) {
            if !text.starts_with("//! ") {
                found.push(format!("{}: no header", path.display()));
            }
        }
    }
    complain("a header says purpose and invariants", &found);
}

#[test]
fn every_select_is_biased_and_nothing_is_left_to_mend() {
    let mut found = Vec::new();
    for folder in
        ["core/src", "shell/src", "sim/src", "sim/simnet/src", "cli/src", "tests/src", "tests/it"]
    {
        for (path, text) in sources(folder) {
            let lines: Vec<&str> = text.lines().collect();
            for (number, line) in lines.iter().enumerate() {
                let place = format!("{}:{}", path.display(), number + 1);
                if line.contains("select! {") && !path.ends_with("tidy.rs") {
                    let next = lines.get(number + 1).unwrap_or(&"").trim();
                    if next != "biased;" {
                        found.push(format!("{place}: a select without `biased;`"));
                    }
                }
                let unfinished = ["FIX", "TO"]
                    .map(|head| format!("{head}{}", if head == "FIX" { "ME" } else { "DO" }));
                if unfinished.iter().any(|word| contains_word(line, word)) {
                    found.push(format!("{place}: something is left to mend"));
                }
            }
        }
    }
    complain("no order of chance, nothing left to mend", &found);
}
