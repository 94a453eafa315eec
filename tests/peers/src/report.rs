//! What is printed: the machine, a legend, and a table for each thing that is measured.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]
use std::fs;
use std::process::Command;

use crate::instructions;
use crate::load::Load;
use crate::measure::{Figures, compare, drive};
use crate::options::{Instructions, Options, USAGE};

/// A line to compare with: its name, and its figures at batches of 1, 64 and 1024.
type Mark = (&'static str, [&'static str; 3]);

/// Bytes of the entries that the marks are about.
const MARKED_BYTES: usize = 256;
/// What ours should reach, and the best that others reached on a machine of this kind, another day.
const NS_MARKS: &[Mark] = &[
    ("goal", ["500", "60", "40"]),
    ("raft-rs, best seen", ["2123", "310", "359"]),
    ("etcd 3.6, best seen", ["4943", "690", "455"]),
    ("openraft, best seen", ["12106", "803", "444"]),
    ("limit, best seen", ["131", "24", "17"]),
];
const ALLOCATION_MARKS: &[Mark] = &[("goal", ["2", "0.05", ""])];
const OVERHEAD_MARKS: &[Mark] = &[("goal", ["", "8", ""])];

/// Measures what `options` ask for and prints it.
pub fn run(options: &Options) {
    if let Some(batches) = options.exactly {
        return run_exactly(batches, options);
    }
    println!("{}\n", machine());
    println!("Three voters in one thread; a batch is applied by all three before the next one.");
    for contender in &options.contenders {
        println!("- {}: {}", contender.name(), contender.inside());
    }
    println!(
        "Bytes are those of encoded messages. Ours takes a batch as one string of bytes: where an \
         entry ends in it is part of the entry. The others' entries are told apart by the library."
    );
    for &payload_bytes in &options.payloads {
        let load = |&batch| Load { batch, payload_bytes };
        let loads: Vec<_> = options.batches.iter().map(load).collect();
        let seen: Vec<_> = loads.iter().map(|&load| compare(load, options)).collect();
        println!("\n## Entries of {payload_bytes} bytes");
        print_tables(&seen, options);
        if options.instructions == Instructions::Counted {
            print_instructions(&loads, options);
        }
    }
}

/// Prints what is wrong with a command line, and what is right.
pub fn explain(why: &str) {
    println!("{why}\n{USAGE}");
}

fn run_exactly(batches: u64, options: &Options) {
    for &payload_bytes in &options.payloads {
        for &batch in &options.batches {
            for contender in &options.contenders {
                let load = Load { batch, payload_bytes };
                let mut cluster = contender.found(load);
                cluster.run(load.warm_batches());
                drive(cluster.as_mut(), batches);
                cluster.check();
            }
        }
    }
}

fn print_tables(seen: &[Vec<Figures>], options: &Options) {
    let title = format!("processor ns per entry, cluster; median of {} (min..max)", options.rounds);
    print_table(&title, seen, options, NS_MARKS, |figures| {
        let (least, most) = (figures.ns[0], figures.ns[figures.ns.len() - 1]);
        format!("{:.0} ({least:.0}..{most:.0})", figures.median_ns())
    });
    let title = "allocations per entry, cluster (bytes)";
    print_table(title, seen, options, ALLOCATION_MARKS, |figures| {
        format!("{:.3} ({:.0})", figures.allocations, figures.allocated_bytes)
    });
    let title = "bytes beside the payload per entry and link (appends alone), messages per batch";
    print_table(title, seen, options, OVERHEAD_MARKS, |figures| {
        if figures.traffic.entries == 0 {
            return String::new();
        }
        let (all, appends) = (figures.overhead_bytes(), figures.append_overhead_bytes());
        format!("{all:.2} ({appends:.2}), {:.2}", figures.messages())
    });
}

fn print_table(
    title: &str,
    seen: &[Vec<Figures>],
    options: &Options,
    marks: &[Mark],
    show: impl Fn(&Figures) -> String,
) {
    print_head(title, options);
    for (row, contender) in options.contenders.iter().enumerate() {
        let cells: Vec<_> = seen.iter().map(|figures| show(&figures[row])).collect();
        println!("| {} | {} |", contender.name(), cells.join(" | "));
    }
    let is_marked = seen.iter().flatten().all(|figures| figures.load.payload_bytes == MARKED_BYTES);
    for (name, figures) in marks.iter().filter(|_| is_marked) {
        let figure = |batch: &u64| match batch {
            1 => figures[0],
            64 => figures[1],
            1024 => figures[2],
            _ => "",
        };
        let cells: Vec<_> = options.batches.iter().map(figure).collect();
        println!("| *{name}* | {} |", cells.join(" | "));
    }
}

fn print_head(title: &str, options: &Options) {
    let batches: Vec<_> = options.batches.iter().map(|batch| format!("batch {batch}")).collect();
    println!("\n| {title} | {} |", batches.join(" | "));
    println!("|---|{}", "---|".repeat(batches.len()));
}

fn print_instructions(loads: &[Load], options: &Options) {
    if !instructions::are_countable() {
        println!("\nvalgrind is not installed: instructions are not counted.");
        return;
    }
    print_head("instructions per entry, cluster", options);
    for contender in &options.contenders {
        let count = |&load| instructions::per_entry(*contender, load);
        let show = |counted: Result<f64, String>| {
            counted.map_or_else(|why| why, |figure| format!("{figure:.0}"))
        };
        let cells: Vec<_> = loads.iter().map(count).map(show).collect();
        println!("| {} | {} |", contender.name(), cells.join(" | "));
    }
}

fn machine() -> String {
    let said = |arguments: &[&str]| {
        let here = ["-C", env!("CARGO_MANIFEST_DIR")];
        let said = Command::new("git").args(here).args(arguments).output().ok();
        said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
    };
    let commit = said(&["rev-parse", "--short", "HEAD"]);
    let is_changed = !said(&["status", "--porcelain", "--untracked-files=no"]).is_empty();
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("?", |model| model.trim_start_matches([' ', '\t', ':']));
    let count = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split(' ').take(3).collect();
    let changed = if is_changed { " with changes" } else { "" };
    format!("commit {commit}{changed}, {model}, {count} processors, load {}", load.join(" "))
}
