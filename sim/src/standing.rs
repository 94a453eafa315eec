//! How servers stand, as each says of itself: who leads, and whom a cluster can do without.
use drover_core::agent::Agent;
use drover_core::digest::Digest;
use drover_core::raft::{Configuration, Role};
use drover_core::types::{AutopilotConfig, Index, ServerId, Term};

/// With fewer voters the loss of one disk may be the loss of a majority's.
const VOTERS_TO_SPARE_ONE: usize = 3;

/// How a server stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    pub server: ServerId,
    pub role: Role,
    pub term: Term,
    pub leader: Option<ServerId>,
    pub commit: Index,
    pub applied: (Index, Digest),
    /// It leads, and has made sure of what it inherited.
    pub is_open: bool,
    pub configuration: Configuration,
    /// The configuration is committed.
    pub is_settled: bool,
    /// What operators want of whoever leads.
    pub autopilot: AutopilotConfig,
}

impl Standing {
    /// How `agent`, which is `server`, stands.
    #[must_use]
    pub fn of(server: ServerId, agent: &Agent) -> Option<Self> {
        let (raft, state) = agent.raft().zip(agent.state())?;
        let (commit, configuration) = (raft.commit_index(), raft.configuration());
        Some(Self {
            server,
            role: raft.role(),
            term: raft.term(),
            leader: raft.leader(),
            commit,
            applied: (state.index(), state.digest()),
            is_open: agent.is_open(),
            is_settled: raft.configuration_at(commit) == configuration,
            configuration: configuration.clone(),
            autopilot: state.autopilot().config,
        })
    }

    /// It has become this since. Cheaper than `of`: most steps change little.
    pub fn follow(&mut self, agent: &Agent) {
        let Some((raft, state)) = agent.raft().zip(agent.state()) else { return };
        let (commit, configuration) = (raft.commit_index(), raft.configuration());
        let is_changed = self.configuration != *configuration;
        if is_changed {
            self.configuration.clone_from(configuration);
        }
        if is_changed || self.commit != commit {
            self.is_settled = raft.configuration_at(commit) == configuration;
        }
        self.role = raft.role();
        self.term = raft.term();
        self.leader = raft.leader();
        self.commit = commit;
        if self.applied.0 != state.index() {
            self.applied = (state.index(), state.digest());
            self.autopilot = state.autopilot().config;
        }
        self.is_open = agent.is_open();
    }

    /// Whether the disk of `lost` can be lost and nothing with it, where `self` leads: everybody who votes,
    /// or might from the next moment on, is there, knows the same committed configuration, and holds on
    /// its disk all that is committed. `find` knows
    /// of each how it stands, if it is up, and the last entry on its disk.
    pub fn can_spare(
        &self,
        lost: ServerId,
        find: impl Fn(ServerId) -> Option<(Self, Index)>,
    ) -> bool {
        let voted = &self.configuration;
        let holds = |voter| {
            voter == lost
                || find(voter).is_some_and(|(standing, durable)| {
                    standing.configuration == *voted && self.commit <= durable
                })
        };
        self.is_settled
            && !voted.is_joint()
            && VOTERS_TO_SPARE_ONE <= voted.voters.len()
            && voted.members().into_iter().all(holds)
    }
}
