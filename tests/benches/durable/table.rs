//! The tables that are printed.
use std::collections::BTreeSet;

use crate::clients::Ask;
use crate::disk::Disk;
use crate::load::Outcome;

/// The value below which `permille` of `values` lie.
fn quantile(values: &[u64], permille: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * permille / 1_000).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}

/// Nanoseconds for people.
fn time(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{:.0} µs", ns as f64 / 1e3),
        1_000_000..100_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.0} ms", ns as f64 / 1e6),
    }
}

fn halves(values: &[u64]) -> String {
    format!("{} / {}", time(quantile(values, 500)), time(quantile(values, 990)))
}

fn number(value: f64) -> String {
    match value {
        large if 100.0 <= large => format!("{value:.0}"),
        middle if 10.0 <= middle => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

const fn name(ask: Ask) -> &'static str {
    match ask {
        Ask::Light => "light",
        Ask::Job => "job",
        Ask::NoWrite => "no write",
    }
}

/// What is measured here beside what a machine of this kind can do.
pub(crate) fn print_limits(disk: &Disk, light: &[&Outcome]) {
    println!("| | here | close to the limit, quiet machine |\n|---|---|---|");
    let row = |what: &str, here: String, limit: &str| println!("| {what} | {here} | {limit} |");
    row("flush of 4 KiB, p50 / p99", halves(&disk.alone_ns), "65..80 µs");
    row("the same by three writers at once, p50 / p99", halves(&disk.together_ns), "");
    if let Some(one) = light.iter().find(|outcome| outcome.load.clients == 1) {
        let limit = "120..200 µs p50 (own disks)";
        row("commit, one client, p50 / p99", halves(&one.tally.answered_ns), limit);
        let limit = "5,000..8,000 (three servers on this box)";
        row("commits a second, one client", number(one.per_second()), limit);
    }
    println!();
}

pub(crate) fn print_loads(ladders: &[Vec<Outcome>]) {
    println!(
        "| what | clients | answers a second | p50 / p99 | other answers | writes a flush | \
         flushes a second | KiB a flush | CPU of three servers | CPU of clients |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for outcome in ladders.iter().flatten() {
        print_load(outcome);
    }
    println!("\nCPU is by answer.\n");
}

fn print_load(outcome: &Outcome) {
    let load = &outcome.load;
    let mut others: Vec<String> =
        outcome.tally.others.iter().map(|(what, count)| format!("{count} × {what}")).collect();
    if outcome.is_led_by_another {
        others.push("the lead changed".to_owned());
    }
    let others = if others.is_empty() { "0".to_owned() } else { others.join(", ") };
    let flushes = outcome.log_blocks;
    let (per_flush, per_second, kib) = match load.ask {
        Ask::NoWrite => (String::new(), String::new(), String::new()),
        Ask::Light | Ask::Job => (
            number(outcome.tally.answered_ns.len() as f64 / flushes.max(1.0)),
            number(flushes / outcome.took.as_secs_f64()),
            number(outcome.flushed_bytes() / 1024.0),
        ),
    };
    println!(
        "| {} | {} | {} | {} | {others} | {per_flush} | {per_second} | {kib} | {} µs | {} µs |",
        name(load.ask),
        load.clients,
        number(outcome.per_second()),
        halves(&outcome.tally.answered_ns),
        number(outcome.servers_us()),
        number(outcome.clients_us()),
    );
}

/// On which threads of the leader and of one follower the time is spent.
pub(crate) fn print_threads(ladder: &[&Outcome]) {
    if ladder.is_empty() {
        return;
    }
    let usages = ladder.iter().flat_map(|outcome| &outcome.servers);
    let names: BTreeSet<&String> = usages.flat_map(|usage| usage.0.keys()).collect();
    let clients: Vec<String> =
        ladder.iter().map(|outcome| format!("clients: {}", outcome.load.clients)).collect();
    println!("A light write, leader / a follower:\n");
    println!("| CPU and wakes of threads | {} |", clients.join(" | "));
    println!("|---|{}", "---|".repeat(ladder.len()));
    for name in names {
        let cells: Vec<String> = ladder
            .iter()
            .map(|outcome| {
                let [leader, follower] = [0, 1].map(|server| outcome.servers[server].named(name));
                let each = |value: u64| number(value as f64 / outcome.answered());
                format!(
                    "{} / {} µs, {} / {} wakes",
                    each(leader.cpu_ns / 1_000),
                    each(follower.cpu_ns / 1_000),
                    each(leader.wakes),
                    each(follower.wakes),
                )
            })
            .collect();
        println!("| `{name}` | {} |", cells.join(" | "));
    }
    println!();
}

/// Each pair in a line, with the recorder and without it.
pub(crate) fn print_recorder(pairs: &[[Outcome; 2]]) {
    if pairs.is_empty() {
        return;
    }
    println!(
        "| recorder on / off, light | writes a second | on by off | p50 | CPU of three servers |"
    );
    println!("|---|---|---|---|---|");
    for [on, off] in pairs {
        let p50 = |outcome: &Outcome| time(quantile(&outcome.tally.answered_ns, 500));
        println!(
            "| clients: {} | {} / {} | {:.2} | {} / {} | {} / {} µs |",
            on.load.clients,
            number(on.per_second()),
            number(off.per_second()),
            on.per_second() / off.per_second().max(1.0),
            p50(on),
            p50(off),
            number(on.servers_us()),
            number(off.servers_us()),
        );
    }
}
