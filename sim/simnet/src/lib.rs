//! The real shell under simulation: the loop, the transport and the log's code of production, with real
//! QUIC and mutual TLS, on machines that break as a plan says.
//!
//! Two substrates carry it: our own executor and network, which is fast and has every fault; and turmoil,
//! which others wrote, as its witness.
//!
//! | module | what |
//! |---|---|
//! | `executor`, `network`, `runtime` | our own substrate, and how quinn sees it |
//! | `witness` | turmoil's hosts and sockets |
//! | `substrate`, `site` | what both have in common; what an agent gets from either |
//! | `stage`, `machine`, `tasks`, `tls` | the machines around the agents |
//! | `life` | one start of one agent, linked as production links it |
//! | `watch` | what is checked at every step |
//! | `scenario`, `faults`, `losses`, `callers`, `settle` | a plan, played |
//!
//! Invariants
//! - two runs of one plan on one substrate are the same run, also in another process or build profile;
//! - no clock, entropy, thread, file or socket of the real machine is used.
use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod callers;
pub mod executor;
mod faults;
pub mod life;
mod losses;
pub mod machine;
pub mod network;
pub mod runtime;
pub mod scenario;
mod settle;
pub mod site;
pub mod stage;
pub mod substrate;
pub mod tasks;
pub mod tls;
pub mod watch;
pub mod witness;

/// What was locked by somebody who panicked is looked at no more, but taken apart.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
