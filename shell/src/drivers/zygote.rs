//! The agent's hold on the zygote, the process that forks its shims.
//!
//! Invariants
//! - the agent itself never forks: `Command` without hooks is `posix_spawn`, so its size costs nothing.
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::shim::ARGUMENT;
use crate::shim::zygote::request;

/// Started with the first task, and again when it died.
pub(super) struct Zygote {
    executable: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    socket: OwnedFd,
    process: Child,
}

impl Zygote {
    pub(super) const fn new(executable: PathBuf) -> Self {
        Self { executable, running: Mutex::new(None) }
    }

    /// Asks for a shim. It answers on `says` for itself.
    pub(super) fn ask(&self, record: &Path, spec: &OwnedFd, says: &OwnedFd) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zygote) = running.as_ref()
            && request(&zygote.socket, record, spec, says).is_ok()
        {
            return Ok(());
        }
        // There is none, or it has died.
        drop(running.take());
        let zygote = running.insert(Running::spawn(&self.executable)?);
        request(&zygote.socket, record, spec, says)
    }
}

impl Running {
    fn spawn(executable: &Path) -> io::Result<Self> {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let process = Command::new(executable)
            .arg0("drover")
            .arg(ARGUMENT)
            .env_clear()
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot run {}: {error}", executable.display()),
                )
            })?;
        Ok(Self { socket, process })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It ends when it finds its socket closed. It holds nothing, so it need not be asked nicely.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
