//! Addresses that are dialled until they answer, and again when they are lost.
//!
//! Invariants
//! - an address is dialled by one task, and never while its agent is connected by whatever way;
//! - the pause between dials doubles up to a bound and is jittered; a link that lasted resets it.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::peers::Peers;
use super::{PeerId, TransportEvent, session};

/// A link that lasted this long was a good one.
const LASTED: Duration = Duration::from_secs(1);

/// How a dial ended.
pub(super) enum Dialled {
    /// A session with this agent has begun, or exists already.
    Answered(PeerId),
    /// Nobody we could speak to.
    Failed(String),
    /// The address is our own.
    Ourselves,
}

/// Told who answered first, or why nobody did.
pub(super) type Told = oneshot::Sender<Result<PeerId, String>>;

/// An address to dial until nobody wants it.
pub(super) struct Wanted {
    pub(super) addr: String,
    /// Resolves when the address was forgotten.
    pub(super) forgotten: oneshot::Receiver<()>,
    /// Whoever waits for the first dial, and does not want a second if it fails.
    pub(super) tell: Option<Told>,
}

/// Starts a task for every address that is wanted. The core's thread, which wants them, is outside
/// the runtime and cannot start tasks itself.
pub(super) async fn dial_all(peers: Arc<Peers>, mut wanted: mpsc::Receiver<Wanted>) {
    while let Some(Wanted { addr, forgotten, tell }) = wanted.recv().await {
        let peers_of_task = Arc::clone(&peers);
        peers.env.runtime.spawn(Box::pin(async move {
            tokio::select! {
                biased;
                _ = forgotten => (),
                () = dial_for_ever(&peers_of_task, &addr, tell) => (),
            }
        }));
    }
}

async fn dial_for_ever(peers: &Arc<Peers>, addr: &str, mut tell: Option<Told>) {
    let timings = peers.config.timings;
    let mut pause_ms = timings.redial_ms_min;
    loop {
        let began = peers.env.runtime.now();
        match (dial_once(peers, addr).await, tell.take()) {
            (Dialled::Failed(why), Some(tell)) => {
                peers.forget(addr);
                let _asker_may_be_gone = tell.send(Err(why));
                return;
            }
            (Dialled::Answered(peer), tell) => {
                peers.name_target(addr, peer);
                if let Some(tell) = tell {
                    let _asker_may_be_gone = tell.send(Ok(peer));
                }
                peers.link_gone(peer).await;
            }
            (Dialled::Failed(why), None) => {
                peers.grumble_about_dial(addr, &why);
                let failed = TransportEvent::DialFailed { addr: addr.to_owned(), why };
                if peers.events.send(failed).await.is_err() {
                    return;
                }
            }
            (Dialled::Ourselves, tell) => {
                let why = "it is our own address".to_owned();
                if let Some(tell) = tell {
                    let _asker_may_be_gone = tell.send(Err(why.clone()));
                }
                let failed = TransportEvent::DialFailed { addr: addr.to_owned(), why };
                peers.events.send(failed).await.ok();
                peers.forget(addr);
                return;
            }
        }
        if began + LASTED < peers.env.runtime.now() {
            pause_ms = timings.redial_ms_min;
        }
        peers.env.sleep_ms(peers.jittered_ms(pause_ms)).await;
        pause_ms = (2 * pause_ms).min(timings.redial_ms_max);
    }
}

/// Tries the addresses of the name one after the other.
async fn dial_once(peers: &Arc<Peers>, addr: &str) -> Dialled {
    let resolved = match addr.parse() {
        Ok(literal) => vec![literal],
        Err(_) => match (peers.env.resolve)(addr.to_owned()).await {
            Ok(resolved) => resolved,
            Err(why) => return Dialled::Failed(format!("the name has no address: {why}")),
        },
    };
    let mut last = Dialled::Failed("the name has no address".to_owned());
    for resolved in resolved {
        last = session::dial(peers, resolved).await;
        if !matches!(last, Dialled::Failed(_)) {
            break;
        }
    }
    last
}
