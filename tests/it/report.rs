//! The page of a run, opened in a browser: every host has its lane, what matters is text, and nothing stands
//! on anything else, at any size and any zoom. Pictures are kept in `target/tmp/report`.
//!
//! Where there is no Chromium these tests say so and pass; where `CI` is set they fail.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use drover_sim::plan::Plan;
use drover_sim::run::Failure;
use drover_sim::{Options, plan_of, report, watch_plan};
use serde_json::Value;

/// How the browser may be called.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Milliseconds of its own time that a page gets to draw itself.
const DRAW_MS: u32 = 5_000;
/// Largest page of three servers and twenty clients over ten minutes.
const PAGE_BYTES_MAX: usize = 10 << 20;

/// A window: its name, its size, and whether the reader likes it dark.
type Window = (&'static str, u32, u32, bool);
const WINDOWS: [Window; 3] =
    [("wide", 1_440, 1_000, false), ("narrow", 820, 1_100, false), ("dark", 1_920, 1_080, true)];

#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn browser() -> Option<&'static str> {
    let is_there = |name: &&&str| {
        let version = Command::new(name).arg("--version").stderr(Stdio::null()).output();
        version.is_ok_and(|output| output.status.success())
    };
    let found = BROWSERS.iter().find(is_there).copied();
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs a browser: apt-get install chromium");
        eprintln!("skipped: there is no Chromium here");
    }
    found
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

/// Three servers and twenty clients over ten minutes with faults.
fn long_page() -> &'static Path {
    static PAGE: OnceLock<PathBuf> = OnceLock::new();
    PAGE.get_or_init(|| {
        let options = Options { servers: 3, clients: 20, minutes: 10, ..Options::default() };
        let plan = plan_of(7, &options);
        let (told, ladder) = watch_plan(&plan, &options);
        let page = report::page(&plan, &told, &ladder);
        assert!(page.len() < PAGE_BYTES_MAX, "the page has {} bytes", page.len());
        keep("long.html", &page)
    })
}

/// A run in which a promise is said to be broken while a leader is down.
fn failed_page() -> &'static Path {
    static PAGE: OnceLock<PathBuf> = OnceLock::new();
    PAGE.get_or_init(|| {
        let text = "seed 5\nservers 3\nclients 4\nfaults-until 30.000s\n\
            10.000s register web service anywhere count=2 tasks=1 cpu=500 memory=256 ports=0 fixed=0 mark=1\n\
            12.000s isolate c2 for 9.000s\n20.000s crash leader for 8.000s\n";
        let plan = Plan::parse(text).expect("it is a plan");
        let (mut told, mut ladder) = watch_plan(&plan, &Options::default());
        let message = "s1 and s2 both lead in <term> 2".to_owned();
        ladder.on_end(told.lasted, Some(("election_safety", &message)));
        let (checker, at) = ("election_safety", told.lasted);
        told.failure = Some(Failure { checker, at, message, ladder: Vec::new() });
        keep("failed.html", &report::page(&plan, &told, &ladder))
    })
}

fn keep(name: &str, page: &str) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, page).expect("the page can be written");
    path
}

/// What the page tells of itself with `wishes` behind its `#`, and its whole text. Its picture is kept.
fn open(
    browser: &str,
    (page, wishes): (&Path, &str),
    (window, width, height, is_dark): Window,
    name: &str,
) -> (Value, String) {
    let home = tempfile::tempdir().expect("a folder for the browser");
    let picture = folder().join(format!("{name}-{window}.png"));
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={}", home.path().display()));
    command.arg(format!("--window-size={width},{height}"));
    command.arg(format!("--virtual-time-budget={DRAW_MS}"));
    if is_dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command.arg("--dump-dom").arg(format!("--screenshot={}", picture.display()));
    command.arg(format!("file://{}#{wishes}", page.display()));
    let output = command.stderr(Stdio::null()).output().expect("the browser runs");
    assert!(output.status.success(), "{browser} ends with {}", output.status);
    let bytes = fs::read(&picture).expect("the picture is kept");
    let is_drawn = bytes.starts_with(b"\x89PNG") && 20_000 < bytes.len();
    assert!(is_drawn, "{} shows nothing", picture.display());
    let dom = String::from_utf8(output.stdout).expect("it is text");
    let from = dom.find("<pre id=\"told\"").expect("the page tells where everything stands");
    let told = dom[from..].split_once('>').map_or("", |(_, rest)| rest);
    let told = told.split("</pre>").next().unwrap_or_default();
    let told = told.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    (serde_json::from_str(&told).expect("it is JSON"), dom)
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

fn assert_in_order(told: &Value, place: &str) {
    for name in ["laneOverlaps", "labelOverlaps", "labelsOutside", "textOverlaps", "clipped"] {
        assert!(told[name].is_array(), "{place}: the page says nothing of {name}");
        assert_eq!(texts(&told[name]), Vec::<&str>::new(), "{place}: {name}");
    }
    assert_eq!(told["lanesInLine"], true, "{place}: names stand beside their lanes");
    assert!(told["wider"].as_i64().is_some_and(|by| by <= 0), "{place}: wider than the window");
}

#[test]
fn a_long_run_is_readable_at_every_size_and_zoom() {
    let Some(browser) = browser() else { return };
    let page = long_page();
    let hosts: Vec<String> = ["time".to_owned(), "plan".to_owned()]
        .into_iter()
        .chain((1..=3).map(|n| format!("s{n}")))
        .chain((1..=20).map(|n| format!("c{n}")))
        .collect();
    let zooms = [
        ("whole", "check", false),
        ("half-minute", "check&view=540-570", true),
        ("moment", "check&view=600.00-600.10", true),
        ("found", "check&find=place job1&event=last", false),
    ];
    for window in WINDOWS {
        for (zoom, wishes, is_close) in zooms {
            let place = format!("{zoom}, {}", window.0);
            let (told, dom) = open(browser, (page, wishes), window, zoom);
            assert_in_order(&told, &place);
            assert_eq!(texts(&told["lanes"]), hosts, "{place}: a lane for every host");
            assert!(20_000 < told["events"].as_u64().unwrap_or(0), "{place}: events are there");
            assert!(5 < texts(&told["labels"]).len(), "{place}: something is written in the field");
            if is_close {
                assert!(0 < told["arrows"].as_u64().unwrap_or(0), "{place}: messages are arrows");
            }
            for text in ["Every promise held", "Who led", "What was broken", "The ladder"] {
                assert!(dom.contains(text), "{place}: {text} is text of the page");
            }
            assert!(!dom.contains("http://") && !dom.contains("https://"), "it asks nobody");
        }
    }
}

#[test]
fn a_chosen_event_tells_what_caused_it() {
    let Some(browser) = browser() else { return };
    let wishes = "check&find=ACKNOWLEDGED&event=last";
    let (told, _) = open(browser, (long_page(), wishes), WINDOWS[0], "chosen");
    let chosen = told["chosen"].as_str().unwrap_or_default();
    assert!(chosen.contains("ACKNOWLEDGED"), "{chosen}");
    assert!(chosen.contains("Caused by, nearest first"), "{chosen}");
    assert!(10 < told["found"].as_u64().unwrap_or(0), "writes were acknowledged");
}

#[test]
fn a_failed_run_shows_what_broke_and_when() {
    let Some(browser) = browser() else { return };
    for (zoom, wishes) in [("failed", "check"), ("failure", "check&failure")] {
        for window in WINDOWS {
            let (told, dom) = open(browser, (failed_page(), wishes), window, zoom);
            assert_in_order(&told, &format!("{zoom}, {}", window.0));
            let labels = texts(&told["labels"]);
            assert!(labels.contains(&"✗ election_safety"), "at its instant: {labels:?}");
            let said = labels.iter().any(|label| label.starts_with("s1 and s2 both lead"));
            assert!(said, "with its message: {labels:?}");
            assert!(dom.contains("in each term at most one server leads"), "what was promised");
            assert!(dom.contains("s1 and s2 both lead in &lt;term&gt; 2"), "as text of the page");
        }
    }
}
