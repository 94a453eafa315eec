//! The loop and the transport on one thread.
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use drover_core::agent::Agent;
use drover_core::wal::{self, OpId, Operation};
use drover_shell::clock::Clock;
use drover_shell::run::{AtStop, Background, Core, INBOX_MAX, INPUTS_PER_TURN, Inbox, Loop, Parts};
use drover_shell::storage::{Disk, Storage};
use drover_shell::transport::{Env, Role, Transport};
use tokio::sync::{mpsc, oneshot};

use super::rig::{authority, certificates, config, server};

/// A disk that nobody asks for anything.
struct NoDisk;

impl Disk for NoDisk {
    fn submit(&mut self, _: OpId, _: Operation) {}
}

/// The loop shares its thread with the network, which must not wait until there is nothing else to do.
#[test]
fn whoever_shares_the_loops_thread_has_a_turn_between_two_of_its_own() {
    const TURNS: usize = INBOX_MAX / INPUTS_PER_TURN;
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let identity = certificates(&authority(), Role::Server);
    let (core, inbox) = Core::channel();
    let turns = Rc::new(Cell::new(0));
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let wal = wal::Config {
            segment_bytes_first: 4_096,
            segment_bytes: 4_096,
            write_bytes_max: 4_000,
        };
        let nobody = drover_core::agent::Config { wal, server: None, client: None };
        let (events, _nobody_listens) = mpsc::channel(1);
        let config = config(server(1));
        let env = Env::tokio(config.bind).expect("the port is free");
        let runtime = Arc::clone(&env.runtime);
        let transport = Transport::start_on(env, config, &identity, events);
        let transport = transport.expect("it starts");
        let snapshots = Storage::open(dir.path()).unwrap().0.snapshots();
        let parts = Parts {
            runtime,
            clock: Arc::new(Clock::new()),
            transport,
            disk: Box::new(NoDisk),
            snapshots: Box::new(Background::new(snapshots, core.clone())),
            tasks: None,
            shadow: None,
            inputs: None,
            joined: Box::new(|_| ()),
            advertise: None,
        };
        let agent = Loop::new(Agent::new(nobody, 1), parts, inbox);
        for _ in 1..INBOX_MAX {
            core.tell(Inbox::View(oneshot::channel().0)).await;
        }
        core.tell(Inbox::Stop(AtStop::LeaveTasks)).await;
        let counted = Rc::clone(&turns);
        let _neighbour = tokio::task::spawn_local(async move {
            loop {
                counted.set(counted.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        agent.run(Vec::new()).await;
    }));
    assert!(TURNS <= turns.get(), "{} turns beside {TURNS}", turns.get());
}
