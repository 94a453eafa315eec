//! The servers that an agent knew, kept in its data directory: whom it looks for when it starts again,
//! beside those that are configured.
//!
//! Invariants
//! - the file is written whole or not at all;
//! - whoever knows of nobody forgets nobody;
//! - a file that cannot be read or written keeps no agent from its work.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_core::agent::View;
use drover_core::gossip::Status;
use tokio::time::sleep;

use crate::files;
use crate::run::Core;

const FILE: &str = "servers.json";
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where servers were dialled when the agent ran last, `host:port`.
#[must_use]
pub(crate) fn read(data_dir: &Path) -> Vec<String> {
    let path = path(data_dir);
    let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    read.unwrap_or_else(|why| {
        if why.kind() != io::ErrorKind::NotFound {
            tracing::warn!("{}: {why}: only configured servers are looked for", path.display());
        }
        Vec::new()
    })
}

/// Keeps the file up to date, until the agent ends.
pub(crate) async fn keep(data_dir: PathBuf, core: Core) {
    let path = path(&data_dir);
    let mut kept = read(&data_dir);
    while let Some(view) = core.view().await {
        let known = known(&view);
        if !known.is_empty() && known != kept {
            let text = serde_json::to_vec_pretty(&known);
            let written =
                text.map_err(io::Error::from).and_then(|text| files::replace(&path, &text));
            if let Err(why) = written {
                tracing::warn!(
                    "{}: {why}: the agent will not remember its servers",
                    path.display()
                );
            }
            kept = known;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The agent has gone with grace: it does not come back by itself.
///
/// # Errors
/// When the file is there and cannot be removed.
pub(crate) fn forget(data_dir: &Path) -> io::Result<()> {
    match fs::remove_file(path(data_dir)) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// A server knows its own region's servers, and those of others; a client what it was told.
fn known(view: &View) -> Vec<String> {
    let server = view.server.iter();
    let members = server.flat_map(|server| {
        let others = server.members.iter().filter(|member| member.id != server.id);
        others.chain(&server.foreigners)
    });
    let stayed = members.filter(|member| member.status != Status::Left);
    let mut known: Vec<String> = stayed.map(|member| member.address.clone()).collect();
    known.extend(view.servers.iter().cloned());
    known.sort_unstable();
    known.dedup();
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_nothing_and_what_is_not_there_is_forgotten_already() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), Vec::<String>::new());
        forget(dir.path()).unwrap();
        files::replace(&path(dir.path()), b"[\"10.0.0.1:4647\"]").unwrap();
        assert_eq!(read(dir.path()), ["10.0.0.1:4647"]);
        files::replace(&path(dir.path()), b"nonsense").unwrap();
        assert_eq!(read(dir.path()), Vec::<String>::new());
        forget(dir.path()).unwrap();
        assert!(!path(dir.path()).exists());
    }
}
