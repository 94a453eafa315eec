//! Where an agent lives: on the machine of the test, or on one that has a network of its own.
//!
//! Invariants
//! - no thread but one that ends with what it was made for enters another network.
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: String,
    /// The network namespace; `None`: that of the test.
    pub(crate) network: Option<Arc<OwnedFd>>,
}

impl Place {
    pub(crate) fn here() -> Self {
        Self { address: "127.0.0.1".to_owned(), network: None }
    }

    /// Does it there: what it opens and starts belongs to that network.
    pub(crate) fn act<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let Some(network) = &self.network else { return act() };
        let act = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).expect("root may enter it");
            act()
        };
        let done = thread::scope(|scope| scope.spawn(act).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
