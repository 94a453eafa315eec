//! What consensus says, in the words of those who read Raft: `vote? term 4`, `append 12..14 after 11@3`,
//! `ack 14`, `commit 14`.
//!
//! Invariants
//! - a place in a log is written `index@term`.
use drover_core::raft::{Ballot, Body, Campaign, Message, Position, Proof, Record};

use super::names::Names;
use super::rung::Kind;
use super::words::{Dull, Said};

/// A place in a log.
pub(super) fn place(at: Position) -> String {
    if at == Position::default() {
        "nothing".to_owned()
    } else {
        format!("{}@{}", at.index.0, at.term.0)
    }
}

/// Indexes from one to another.
pub(super) fn range(first: u64, last: u64) -> String {
    if first == last { first.to_string() } else { format!("{first}..{last}") }
}

/// What a server says to another about the log.
pub(super) fn of_message(message: &Message) -> Said {
    let term = message.term.0;
    let said = |sort, text, dull| Said::new(Kind::Raft, sort, text, dull);
    match &message.body {
        Body::RequestVote { campaign, last } => {
            let log = place(*last);
            match campaign {
                Campaign::PreVote => {
                    let text = format!("pre-vote? term {}  log ends {log}", term + 1);
                    said("pre-vote?", text, Dull::Never)
                }
                Campaign::Election => {
                    said("vote?", format!("vote? term {term}  log ends {log}"), Dull::Never)
                }
                Campaign::Transfer => {
                    let text = format!("vote? term {term}  log ends {log}  the leader wants it");
                    said("vote?", text, Dull::Never)
                }
            }
        }
        Body::Vote { campaign, asked, ballot } => {
            let (sort, word) = match campaign {
                Campaign::PreVote => ("pre-vote", "pre-vote"),
                Campaign::Election | Campaign::Transfer => ("vote", "vote"),
            };
            let answer = match ballot {
                Ballot::Granted => "granted",
                Ballot::Refused => "refused",
            };
            let own =
                if *asked == message.term { String::new() } else { format!("  own term {term}") };
            said(sort, format!("{word} {answer}  term {}{own}", asked.0), Dull::Never)
        }
        Body::Append { prev, commit, frames, .. } => match frames.last() {
            None => {
                let text =
                    format!("heartbeat  term {term}  at {}  commit {}", place(*prev), commit.0);
                said("heartbeat", text, Dull::IfTermWasSaid(message.term))
            }
            Some(last) => {
                let first = prev.index.0 + 1;
                let what = range(first, last.last().0);
                let of = if last.term == message.term {
                    String::new()
                } else {
                    format!("  of term {}", last.term.0)
                };
                let after = place(*prev);
                let text =
                    format!("append {what} after {after}{of}  term {term}  commit {}", commit.0);
                said("append", text, Dull::IfSaid)
            }
        },
        Body::AppendAck { mark, matched, .. } => {
            let beyond = if *matched == mark.index {
                String::new()
            } else {
                format!("  received {}", matched.0)
            };
            said("ack", format!("ack {}{beyond}  term {term}", mark.index.0), Dull::IfSaid)
        }
        Body::AppendReject { prev, hint, .. } => {
            let text = format!("reject {}: try after {}  term {term}", prev.0, place(*hint));
            said("reject", text, Dull::Never)
        }
        Body::Commit { upto } => {
            said("commit", format!("commit {}  term {term}", upto.0), Dull::Always)
        }
        Body::Stale => said("stale", format!("your term is over: it is {term}"), Dull::Never),
        Body::SnapshotChunk { mark, offset, bytes, .. } => {
            let end = offset + bytes.len() as u64;
            let what = place(mark.position());
            let text = format!("snapshot {what}  bytes {offset}..{end} of {}", mark.bytes);
            Said::new(Kind::Snapshot, "snapshot part", text, Dull::IfSaid)
        }
        Body::SnapshotAck { index, next_offset, .. } => {
            let text = format!("snapshot {}: go on at byte {next_offset}", index.0);
            Said::new(Kind::Snapshot, "snapshot ack", text, Dull::IfSaid)
        }
        Body::ReadIndex { id, proof } => {
            let word = match proof {
                Proof::Lease => "read?",
                Proof::Round => "read? of a quorum",
            };
            said("read?", format!("{word} #{id}  term {term}"), Dull::Never)
        }
        Body::ReadIndexReply { id, index } => {
            let text = match index {
                Some(index) => format!("read #{id} at {}", index.0),
                None => format!("read #{id}: cannot say"),
            };
            said("read", text, Dull::Never)
        }
        Body::TimeoutNow => said("take over", format!("take over  term {term}"), Dull::Never),
    }
}

/// Records of one write, with those of frames as one stretch.
pub(super) fn of_records(records: &[Record], names: &Names) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut stretch: Option<(u64, Position)> = None;
    for record in records {
        match record {
            Record::HardState(state) => {
                let vote = state.voted_for.map_or_else(
                    || "no vote".to_owned(),
                    |candidate| format!("vote for {}", names.server(candidate)),
                );
                parts.push(format!("term {} with {vote}", state.term.0));
            }
            Record::Frame { truncate_from, frame } => {
                if let Some(from) = truncate_from {
                    parts.push(format!("cut from {}", from.0));
                }
                let first = stretch.map_or(frame.first.0, |(first, _)| first);
                stretch = Some((first, frame.position()));
            }
            Record::SnapshotInstalled(mark) => {
                parts.push(format!("snapshot {}", place(mark.position())));
            }
        }
    }
    if let Some((first, last)) = stretch {
        parts.push(format!("log {}@{}", range(first, last.index.0), last.term.0));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}
