//! Keeps this agent in Consul's catalog, and finds servers there, while that is wanted.
//!
//! Invariants
//! - nobody who was found is forgotten because Consul is away.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::join::{dial_named, has_met};
use crate::consul::Consul;
use crate::transport::Transport;

/// How often it is asked, and how often as long as it does not answer or nobody was met.
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Until the agent ends.
pub(super) async fn keep(consul: Arc<Consul>, transport: Transport) {
    let mut named = BTreeSet::new();
    loop {
        let is_sought = consul.joins() && !has_met(&transport);
        let done = async {
            consul.register().await?;
            if is_sought { consul.servers().await.map(Some) } else { Ok(None) }
        };
        let pause = match done.await {
            Ok(found) => {
                consul.note(None);
                if let Some(found) = found {
                    dial_named(&transport, &mut named, found.into_iter().collect());
                }
                if is_sought { PAUSE_MIN } else { PAUSE }
            }
            Err(why) => {
                consul.note(Some(&why));
                PAUSE_MIN
            }
        };
        sleep(pause).await;
    }
}
