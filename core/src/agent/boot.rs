//! From what the disk gave back to running machines.
//!
//! Invariants
//! - an agent boots once, before anything else happens to it;
//! - a record that this version cannot read stops the agent: nothing is skipped.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::contacts::Contacts;
use super::journal::Journal;
use super::{Agent, Disk, Effect, Effects, Recovered, Server, ServerConfig, snapshot};
use crate::assign::{self, Assign};
use crate::client::{self, Client, ClientRecord};
use crate::cuts::Cuts;
use crate::departure::Departure;
use crate::gossip::Gossip;
use crate::intake::Intake;
use crate::limits::WAL_QUIET_MS;
use crate::prober::Prober;
use crate::raft::{self, Raft, SnapshotMark};
use crate::requests::Requests;
use crate::sightings::Sightings;
use crate::state::State;
use crate::types::{Boot, Index, WriteSeq};
use crate::wal::{Lane, Wal};

/// A record without a frame's body.
const RECORD_BYTES_MIN: usize = 64;

type Snapshot = Option<(SnapshotMark, Arc<[u8]>)>;

impl Agent {
    pub(super) fn boot(&mut self, recovered: Recovered, effects: &mut Effects) {
        assert!(self.disk.is_none(), "an agent boots once");
        self.incarnation = recovered.incarnation;
        let mut journal = Journal::new(WriteSeq(recovered.tail.next_seq.0 - 1));
        let mut wal = Wal::new(self.config.wal, recovered.tail);
        wal.on_started(&mut self.pending);
        let mut raft_records = Vec::new();
        let mut client_records = Vec::new();
        for (seq, lane, bytes) in &recovered.records {
            let read = match lane {
                Lane::Raft => read_record::<raft::Record>(bytes).map(|record| {
                    journal.on_recovered_frame(*seq, raft_record_end(&record));
                    raft_records.push(record);
                }),
                Lane::Client => read_record::<ClientRecord>(bytes).map(|record| {
                    journal.on_recovered_client(*seq);
                    client_records.push(record);
                }),
            };
            if let Err(fault) = read {
                let reason = format!("record {} of the log does not decode: {fault}", seq.0);
                return effects.list.push(Effect::Halt { reason });
            }
        }
        let quiet_at = Some(self.now.plus_ms(WAL_QUIET_MS));
        self.disk = Some(Disk { wal, journal, quiet_at });
        if let Some(config) = self.config.server.clone() {
            match self.boot_server(config, raft_records, recovered.snapshot) {
                Ok(server) => self.server = Some(Box::new(server)),
                Err(reason) => return effects.list.push(Effect::Halt { reason }),
            }
        }
        self.boot_client(client_records, recovered.rebooted, effects);
        self.introduce();
    }

    fn boot_server(
        &self,
        mut config: ServerConfig,
        records: Vec<raft::Record>,
        snapshot: Snapshot,
    ) -> Result<Server, String> {
        let (mark, state) = match snapshot {
            Some((mark, bytes)) => {
                let body = snapshot::unpack(&bytes).map_err(|fault| {
                    format!("the snapshot at index {} cannot be read: {fault}", mark.index.0)
                })?;
                let state = State::decode(body.1).map_err(|fault| {
                    format!("the snapshot at index {} does not decode: {fault:?}", mark.index.0)
                })?;
                (Some(mark), state)
            }
            None => (None, State::new()),
        };
        let id = config.raft.id;
        let rng = self.rng.fork("server").fork_number(self.incarnation.0);
        let log = raft::Recovered::from_records(records, mark);
        check_for_hole(&log)?;
        config.gossip.own.incarnation = self.incarnation;
        let raft = Raft::new(config.raft, rng.fork("raft"), log, self.now);
        let mut gossip = Gossip::new(config.gossip, rng.fork("gossip"));
        gossip.on_cluster(self.now, state.cluster());
        if !raft.is_new() {
            gossip.on_log_begun();
        }
        Ok(Server {
            id,
            raft,
            gossip,
            state,
            assign: Assign::new(),
            requests: Requests::default(),
            intake: Intake::default(),
            sightings: Sightings::new(self.now),
            prober: Prober::new(),
            cuts: Cuts::default(),
            leader: None,
            departure: Departure::default(),
            contacts: Contacts::default(),
            wan: None,
        })
    }

    fn boot_client(&mut self, records: Vec<ClientRecord>, rebooted: bool, effects: &mut Effects) {
        let Some(config) = self.config.client.clone() else { return };
        let boot = if rebooted { Boot::Rebooted } else { Boot::Same };
        let recovered = client::Recovered::from_records(records, boot);
        let rng = self.rng.fork("client").fork_number(self.incarnation.0);
        let mut client = Client::new(config.client, rng);
        client.on_booted(self.moment(), recovered, &mut self.pending);
        client.on_remembered(&config.remembered, &mut self.pending);
        self.client = Some(Box::new(client));
        let dials = config.servers.into_iter().map(|address| Effect::Dial { address });
        effects.list.extend(dials);
    }

    /// Server and client in one process are linked from the start.
    fn introduce(&mut self) {
        let at = self.moment();
        let node = self.config.client.as_ref().map(|config| config.client.node);
        if let (Some(server), Some(client), Some(node)) = (&mut self.server, &mut self.client, node)
        {
            client.on_link(at, server.id, client::Link::Up, &mut self.pending);
            server.assign.on_node_link(at.now, node, assign::Link::Up, &mut self.pending);
        }
    }
}

/// Snapshots may have been damaged or taken away: then what the log gave up is nowhere.
fn check_for_hole(log: &raft::Recovered) -> Result<(), String> {
    let end = log.snapshot.as_ref().map_or(Index(0), |mark| mark.index);
    let begins = log.frames.first().map_or(end.next(), |frame| frame.first);
    if begins <= end.next() {
        return Ok(());
    }
    Err(format!(
        "the log begins at index {}, and the newest whole snapshot ends at {}: what lies between is \
         lost here. While a majority of the other servers runs, move the data directory away and \
         start this server again: it joins them as a new one",
        begins.0, end.0
    ))
}

fn read_record<T: for<'de> serde::Deserialize<'de>>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(bytes).map_err(|fault| format!("{fault}"))
}

/// About how long a record's bytes are, so that they are not moved while they are written.
pub(super) fn raft_record_room(record: &raft::Record) -> usize {
    let body = match record {
        raft::Record::Frame { frame, .. } => frame.payload.body_bytes(),
        raft::Record::HardState(_) | raft::Record::SnapshotInstalled(_) => 0,
    };
    RECORD_BYTES_MIN + body
}

/// The last index that a record holds: what compaction compares.
pub(super) fn raft_record_end(record: &raft::Record) -> Index {
    match record {
        raft::Record::Frame { frame, .. } => frame.last(),
        raft::Record::HardState(_) | raft::Record::SnapshotInstalled(_) => Index::default(),
    }
}
