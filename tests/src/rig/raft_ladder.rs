//! Outputs of the consensus machine as lines that a person reads.
use drover_core::raft::{
    Ballot, Body, Campaign, Configuration, Frame, Message, Output, Payload, Position, Raft, Record,
    Role,
};
use drover_core::types::{Index, ServerId};

/// The line of an output, if it deserves one.
#[must_use]
pub fn line(id: ServerId, output: &Output) -> Option<String> {
    let id = id.0;
    let text = match output {
        Output::Persist { seq, record } => format!("persist #{}: {}", seq.0, self::record(record)),
        Output::Send(to, message) => return Some(format!("s{id} → s{} {}", to.0, say(message))),
        Output::Commit(frame) => format!("commits {}", self::frame(frame)),
        Output::LeadWon(term) => format!("leads term {}", term.0),
        Output::LeadLost => "leads no longer".to_owned(),
        Output::ReadReady { tag, index } => format!("read {tag} at {}", index.0),
        Output::ReadFailed { tag } => format!("read {tag} failed"),
        Output::InstallSnapshot(mark) => format!("installs snapshot {}", at(mark.position())),
        Output::Compacted { upto } => format!("drops its log up to {}", upto.0),
        Output::Configured(configuration) => format!("counts {}", voters(configuration)),
        Output::LeadReady(_) | Output::ReadChunk { .. } | Output::StoreChunk { .. } => return None,
    };
    Some(format!("s{id}      {text}"))
}

/// One server's standing and log in a line.
#[must_use]
pub fn portrait(id: ServerId, raft: &Raft) -> String {
    let role = match raft.role() {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    let log: String = raft.frames().map(|frame| format!("[{}]", frame.term.0)).collect();
    let log = match raft.frames().next().map(|frame| frame.first) {
        Some(Index(first)) if 1 < first => format!("…{first}:{log}"),
        Some(_) | None => log,
    };
    let (term, commit) = (raft.term().0, raft.commit_index().0);
    let line = format!("s{} {role:<13} term {term}  commit {commit:<2} {log}", id.0);
    line.trim_end().to_owned()
}

fn say(message: &Message) -> String {
    let term = message.term.0;
    let (name, rest) = match &message.body {
        Body::RequestVote { campaign, last } => {
            let name = match campaign {
                Campaign::PreVote => "request-pre-vote",
                Campaign::Election => "request-vote",
                Campaign::Transfer => "request-vote-by-transfer",
            };
            (name, format!("last {}", at(*last)))
        }
        Body::Vote { campaign, asked, ballot } => {
            let name = match campaign {
                Campaign::PreVote => "pre-vote",
                Campaign::Election | Campaign::Transfer => "vote",
            };
            let ballot = match ballot {
                Ballot::Granted => "granted",
                Ballot::Refused => "refused",
            };
            (name, format!("for term {} {ballot}", asked.0))
        }
        Body::Append { prev, commit, round, frames } => {
            let frames: Vec<_> = frames.iter().map(|f| frame(f)).collect();
            let text = format!("prev {} commit {} round {round}", at(*prev), commit.0);
            ("append", [&[text], &frames[..]].concat().join(" "))
        }
        Body::AppendAck { mark, round, .. } => {
            ("ack", format!("durable {} round {round}", mark.index.0))
        }
        Body::AppendReject { prev, hint, .. } => {
            ("reject", format!("prev {} hint {}", prev.0, at(*hint)))
        }
        Body::Commit { upto } => ("commit", format!("upto {}", upto.0)),
        Body::Stale => ("stale", String::new()),
        Body::SnapshotChunk { mark, offset, bytes, .. } => {
            let end = offset + bytes.len() as u64;
            ("chunk", format!("of {} bytes {offset}..{end}/{}", at(mark.position()), mark.bytes))
        }
        Body::SnapshotAck { index, next_offset, .. } => {
            ("chunk-ack", format!("of {} next {next_offset}", index.0))
        }
        // Their numbers begin at a random place.
        Body::ReadIndex { .. } => ("read-index", String::new()),
        Body::ReadIndexReply { index: Some(index), .. } => {
            ("read-index-reply", format!("at {}", index.0))
        }
        Body::ReadIndexReply { index: None, .. } => ("read-index-reply", "unknown".to_owned()),
        Body::TimeoutNow => ("timeout-now", String::new()),
    };
    format!("{name} term {term} {rest}").trim_end().to_owned()
}

fn record(record: &Record) -> String {
    match record {
        Record::HardState(hard_state) => {
            let vote = hard_state.voted_for.map_or("nobody".to_owned(), |id| format!("s{}", id.0));
            format!("term {} voted {vote}", hard_state.term.0)
        }
        Record::Frame { truncate_from: None, frame } => self::frame(frame),
        Record::Frame { truncate_from: Some(from), frame } => {
            format!("cut from {}, {}", from.0, self::frame(frame))
        }
        Record::SnapshotInstalled(mark) => format!("snapshot {}", at(mark.position())),
    }
}

fn frame(frame: &Frame) -> String {
    let range = match frame.count() {
        1 => format!("{}@{}", frame.term.0, frame.first.0),
        _ => format!("{}@{}-{}", frame.term.0, frame.first.0, frame.last().0),
    };
    match &frame.payload {
        Payload::Noop => format!("[{range} noop]"),
        Payload::Commands { .. } => format!("[{range}]"),
        Payload::Configuration(configuration) => format!("[{range} {}]", voters(configuration)),
    }
}

fn voters(configuration: &Configuration) -> String {
    let list =
        |ids: &[ServerId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",");
    let mut text = format!("voters {}", list(&configuration.voters));
    if configuration.is_joint() {
        text += &format!(" and {}", list(&configuration.outgoing));
    }
    if !configuration.learners.is_empty() {
        text += &format!(" learners {}", list(&configuration.learners));
    }
    text
}

fn at(position: Position) -> String {
    format!("{}@{}", position.term.0, position.index.0)
}
