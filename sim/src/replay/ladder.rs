//! The ladder of a recorded log: for each input when it came, from whom, and what came of it.
//!
//! The words for events and effects are those of the simulator's ladder (`ladder/aside.rs`); entries that
//! are applied are told by their content.
//!
//! Invariants
//! - an input that nothing came of, and that says nothing, has no line unless everything is wanted.
use drover_core::agent::{Agent, Effect, Event};
use drover_core::api::Request;
use drover_core::types::AllocId;

use super::tape::Stepped;
use super::words;
use crate::ladder::{Names, aside};

/// Longest text of one line.
const TEXT_CHARS_MAX: usize = 240;

/// How much is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// What says something to a person.
    Told,
    /// Every input.
    Everything,
}

/// One input and what came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rung {
    pub number: u64,
    pub wall_ms: u64,
    pub mono_ns: u64,
    /// Who the input came from.
    pub from: String,
    pub event: String,
    /// What followed: to whom, and what.
    pub effects: Vec<(String, String)>,
}

/// The rung of an input that was just stepped; none if there is nothing to tell.
#[must_use]
pub fn rung(stepped: &Stepped, effects: &[Effect], agent: &Agent, detail: Detail) -> Option<Rung> {
    let names = names(stepped, effects, agent);
    let told: Vec<(String, String)> =
        effects.iter().flat_map(|effect| of_effect(effect, agent, &names)).collect();
    let event = aside::of_event(&stepped.input.event, &names);
    if event.is_none() && told.is_empty() && detail == Detail::Told {
        return None;
    }
    Some(Rung {
        number: stepped.number,
        wall_ms: stepped.input.wall.unix_ms,
        mono_ns: stepped.input.now.ns,
        from: from(&stepped.input.event).to_owned(),
        event: shortened(&event.unwrap_or_else(|| silent(&stepped.input.event).to_owned())),
        effects: told,
    })
}

/// Who an input came from, and what it says.
#[must_use]
pub fn told(stepped: &Stepped, effects: &[Effect], agent: &Agent) -> String {
    let event = &stepped.input.event;
    let what = aside::of_event(event, &names(stepped, effects, agent));
    shortened(&format!("{}: {}", from(event), what.as_deref().unwrap_or_else(|| silent(event))))
}

/// What the allocs are called that a step is about.
fn names(stepped: &Stepped, effects: &[Effect], agent: &Agent) -> Names {
    let mut names = Names::default();
    let mut learn = |alloc: AllocId| {
        if let Some(state) = agent.state() {
            names.learn_alloc(state, alloc);
        }
    };
    match &stepped.input.event {
        Event::TaskChanged { key, .. } => learn(key.alloc),
        Event::TaskAsked { alloc, .. }
        | Event::ChecksChanged { alloc, .. }
        | Event::Requested { request: Request::StopAlloc { alloc }, .. } => learn(*alloc),
        _ => (),
    }
    for effect in effects {
        match effect {
            Effect::StartTask { key, .. }
            | Effect::ReattachTask { key, .. }
            | Effect::StopTask { key, .. }
            | Effect::SignalTask { key, .. }
            | Effect::KillTask { key } => learn(key.alloc),
            Effect::DestroyAlloc { alloc, .. } | Effect::Advertise { alloc, .. } => learn(*alloc),
            _ => (),
        }
    }
    for effect in effects {
        if let Effect::StartTask { key, start } = effect {
            names.learn_start(key.alloc, start);
        }
    }
    names
}

fn of_effect(effect: &Effect, agent: &Agent, names: &Names) -> Vec<(String, String)> {
    if let (Effect::Committed { frame }, Some(state)) = (effect, agent.state()) {
        let applied = words::entries(frame).into_iter().map(|(index, entry)| {
            let what = words::of_command(state, &entry.command);
            ("log".to_owned(), shortened(&format!("{}  {what}", index.0)))
        });
        return applied.collect();
    }
    let told =
        aside::of_effect(effect, names).map(|text| (to(effect).to_owned(), shortened(&text)));
    told.into_iter().collect()
}

/// An event that the ladder of the simulator leaves out.
const fn silent(event: &Event) -> &'static str {
    match event {
        Event::Woken => "wakes",
        Event::DiskDone { .. } => "a write is safe",
        _ => "goes on",
    }
}

/// Who told the agent.
const fn from(event: &Event) -> &'static str {
    match event {
        Event::Received { .. } | Event::LinkChanged { .. } => "network",
        Event::Booted(_) | Event::DiskDone { .. } | Event::DiskFailed { .. } => "disk",
        Event::Requested { .. }
        | Event::Abandoned { .. }
        | Event::TaskAsked { .. }
        | Event::LeaveAsked => "caller",
        Event::TaskChanged { .. } => "task",
        Event::ChecksChanged { .. } => "catalog",
        Event::Fingerprinted(_) => "machine",
        Event::SnapshotSaved(_)
        | Event::ChunkRead { .. }
        | Event::ChunkMissing { .. }
        | Event::SnapshotLoaded { .. }
        | Event::SnapshotRefused { .. } => "snapshot",
        Event::Woken => "clock",
    }
}

/// Whom an effect is for.
const fn to(effect: &Effect) -> &'static str {
    match effect {
        Effect::Send { .. }
        | Effect::Dial { .. }
        | Effect::Forget { .. }
        | Effect::HangUp { .. } => "network",
        Effect::Disk { .. } => "disk",
        Effect::Reply { .. } => "caller",
        Effect::StartTask { .. }
        | Effect::ReattachTask { .. }
        | Effect::StopTask { .. }
        | Effect::SignalTask { .. }
        | Effect::KillTask { .. }
        | Effect::DestroyAlloc { .. } => "task",
        Effect::Advertise { .. } => "catalog",
        Effect::Joined { .. } | Effect::Halt { .. } | Effect::Departed { .. } => "agent",
        Effect::Committed { .. } | Effect::Cut { .. } => "log",
        Effect::ReadChunk { .. } | Effect::StoreChunk { .. } | Effect::LoadSnapshot { .. } => {
            "snapshot"
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
