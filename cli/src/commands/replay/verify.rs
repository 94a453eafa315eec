//! `drover replay DIR --verify`.
use drover_shell::recorder::Segment;
use drover_sim::replay::verify::{Trouble, Verified, verify};
use drover_sim::replay::{Joint, Source as _};
use serde_json::{Value, json};

use super::files::Files;
use super::{GUARD, ReplayArgs};
use crate::commands::{Ended, Exit};
use crate::terminal::Terminal;

pub(super) fn run(files: &Files, args: &ReplayArgs, terminal: Terminal) -> Ended {
    let (mut all, mut sound) = (Vec::new(), true);
    let (mut inputs, mut digests) = (0, 0);
    verify(files, GUARD, |verified| {
        let segment = &files.log.segments[all.len()];
        sound &= verified.is_sound();
        inputs += verified.inputs;
        digests += verified.digests;
        if !args.json {
            terminal.line(&said(segment, verified));
        }
        all.push(shown(segment, verified));
    });
    if args.json {
        let whole = json!({
            "Segments": all, "Inputs": inputs, "Digests": digests, "Sound": sound,
        });
        terminal.line(&format!("{whole:#}"));
    } else {
        let count = files.count();
        let verdict = if sound { "all of it agrees" } else { "it does NOT agree" };
        terminal.line(&format!(
            "{inputs} inputs stepped in {count} segments, {digests} digests compared: {verdict}"
        ));
    }
    Ok(if sound { Exit::Done } else { Exit::Found })
}

fn said(segment: &Segment, verified: &Verified) -> String {
    let Verified { segment: name, first, inputs, digests, .. } = verified;
    let last = first + inputs.saturating_sub(1);
    let joint = joint_in_words(verified.joint);
    let mut text = format!("{name}  inputs {first} to {last}  {digests} digests agree  {joint}");
    if 0 < segment.torn_bytes {
        text.push_str(&format!(
            "\n    ends within a record ({} bytes): the agent was killed while it wrote it",
            segment.torn_bytes
        ));
    }
    match &verified.trouble {
        None => (),
        Some(Trouble::Diverged { input, agreed, recorded, replayed }) => text.push_str(&format!(
            "\n    DIVERGED: at input {input} the agent was {recorded} and is {replayed} now; they agreed \
             at input {agreed}.\n    What happened between: drover replay DIR --from input:{agreed} --at \
             input:{input} --ladder"
        )),
        Some(Trouble::Fault(fault)) => text.push_str(&format!("\n    BROKEN: {fault}")),
    }
    text
}

fn joint_in_words(joint: Joint) -> String {
    match joint {
        Joint::Start => "the agent was started".to_owned(),
        Joint::Same => "starts with the very agent that the one before ends with".to_owned(),
        Joint::Differs { recorded, replayed } => format!(
            "DIFFERS from what the one before ends with: {recorded} was recorded, {replayed} was replayed"
        ),
        Joint::Hole { inputs_missing } => {
            format!("{inputs_missing} inputs before it were not recorded: the disk was too slow")
        }
        Joint::CarriedOn | Joint::Unknown => "its start is compared with nothing".to_owned(),
    }
}

fn shown(segment: &Segment, verified: &Verified) -> Value {
    let joint = match verified.joint {
        Joint::Start => "start",
        Joint::Same => "same",
        Joint::Differs { .. } => "differs",
        Joint::Hole { .. } => "hole",
        Joint::CarriedOn | Joint::Unknown => "unknown",
    };
    let trouble = verified.trouble.as_ref().map(|trouble| match trouble {
        Trouble::Diverged { input, agreed, recorded, replayed } => json!({
            "Input": input,
            "Agreed": agreed,
            "Recorded": recorded.to_string(),
            "Replayed": replayed.to_string(),
        }),
        Trouble::Fault(fault) => json!({ "Fault": fault.to_string() }),
    });
    json!({
        "Segment": verified.segment,
        "FirstInput": verified.first,
        "Inputs": verified.inputs,
        "Digests": verified.digests,
        "Joint": joint,
        "TornBytes": segment.torn_bytes,
        "Trouble": trouble,
    })
}
