//! What carries hosts: starts and ends them, moves their packets, lets time go by.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use drover_core::rng::Rng;
use drover_sim::clock::Moment;
use drover_sim::network::{Harm, HostId};

use crate::executor::{Executor, Task};
use crate::life;
use crate::network::{Weather, address_of};
use crate::site::{self, Site};
use crate::stage::Stage;

/// Where a plan is played.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ground {
    /// Our own executor and network.
    Simnet,
    /// The witness: it knows no pauses, no slow processors, no drift, no bandwidth, no damaged and no overtaken
    /// packets.
    Turmoil,
}

/// What both have in common.
pub trait Substrate {
    /// An agent starts on a host that is down.
    fn start(&mut self, host: HostId);
    /// The agent of a host is gone in the middle of whatever it did.
    fn crash(&mut self, host: HostId);
    /// The agent stands still. Answers whether that can be done.
    fn pause(&mut self, host: HostId, for_ms: u64) -> bool;
    /// Whatever its tasks do takes so many times as long. Answers whether that can be done.
    fn slow_cpu(&mut self, host: HostId, times: u64) -> bool;
    /// From now on `harm` is done to packets on this link, until it was mended as often.
    fn harm(&mut self, link: (HostId, HostId), harm: Harm);
    fn mend(&mut self, link: (HostId, HostId), harm: Harm);
    fn set_weather(&mut self, weather: Weather);
    /// Everything happens that happens before `end`, or before the alarm rings. Answers when that was.
    fn run_until(&mut self, end: Moment) -> Moment;
    /// How often tasks were polled, where that is known, and how many packets were sent.
    fn counts(&self) -> (u64, u64);
}

/// The life of the agent of `host` on `site`, from its start to its end.
#[must_use]
pub fn life_of(stage: &Arc<Stage>, host: HostId, site: Site) -> Task {
    Box::pin(life::live(Arc::clone(stage), host, site))
}

/// Our own substrate.
pub struct Simnet {
    stage: Arc<Stage>,
    executor: Executor,
    names: Arc<BTreeMap<String, SocketAddr>>,
}

impl Simnet {
    /// The hosts of `stage`, none of which runs.
    #[must_use]
    pub fn new(stage: Arc<Stage>) -> Self {
        let mut rng = Rng::from_seed(stage.plan.seed).fork("simnet");
        let is_shuffled = rng.chance(500);
        let weather = Weather::of(&stage.plan.knobs);
        let hosts = stage.hosts().count();
        let executor = Executor::new(&rng, hosts, (weather, is_shuffled), stage.alarm());
        for host in stage.hosts() {
            executor.set_drift(host.0, stage.drift_ppm(host));
        }
        let names = site::names_of(&stage, address_of);
        Self { stage, executor, names }
    }
}

impl Substrate for Simnet {
    fn start(&mut self, host: HostId) {
        let site = site::on_executor(&self.executor, host.0, &self.names);
        let runtime = Arc::clone(&site.env.runtime);
        runtime.spawn(life_of(&self.stage, host, site));
    }

    fn crash(&mut self, host: HostId) {
        self.executor.crash(host.0);
    }

    fn pause(&mut self, host: HostId, for_ms: u64) -> bool {
        self.executor.pause(host.0, for_ms);
        true
    }

    fn slow_cpu(&mut self, host: HostId, times: u64) -> bool {
        self.executor.slow_cpu(host.0, times);
        true
    }

    fn harm(&mut self, (from, to): (HostId, HostId), harm: Harm) {
        self.executor.harm((from.0, to.0), harm);
    }

    fn mend(&mut self, (from, to): (HostId, HostId), harm: Harm) {
        self.executor.mend((from.0, to.0), harm);
    }

    fn set_weather(&mut self, weather: Weather) {
        self.executor.set_weather(weather);
    }

    fn run_until(&mut self, end: Moment) -> Moment {
        self.executor.run_until(end)
    }

    fn counts(&self) -> (u64, u64) {
        let (polls, sent, _) = self.executor.counts();
        (polls, sent)
    }
}
