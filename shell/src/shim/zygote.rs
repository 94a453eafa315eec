//! The parent of all shims of an agent: waits for requests and forks one shim for each.
//!
//! An executable of the agent's size costs every process that runs it some 600 kB of relocated
//! pages and ten milliseconds of loading. So it is run once, and shims are copies that share those
//! pages. The zygote holds nothing: it ends when its agent does, and is started anew when it died.
//!
//! A request is one packet on standard input: the path of the record, with two descriptors: the spec
//! and the pipe on which the shim says what became of it.
//!
//! Invariants
//! - it has one thread and no state but its socket, so a copy of it is a fresh shim;
//! - its shims are reaped by the kernel: nobody waits for them, whoever cares holds a pidfd.
use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::cmsg_space;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::setsid;
use rustix::stdio::{dup2_stdin, dup2_stdout};

use super::Refusal;
use super::raw::{self, Cloned};

/// The longest name of a record (the kernel's own bound of a path).
const PATH_BYTES_MAX: usize = 4096;

/// What an agent asks for.
struct Request {
    record: PathBuf,
    spec: OwnedFd,
    says: OwnedFd,
}

/// Serves requests. Returns in every shim with the path of its record, its spec on standard input
/// and its agent on standard output; and at last in the zygote, with nothing, when the agent is gone.
pub(super) fn next_shim() -> Option<PathBuf> {
    raw::close_inherited();
    raw::block_signals();
    raw::set_reaping(raw::Reaping::ByKernel);
    // Fails only for a group's leader, which a freshly spawned process is not.
    setsid().ok();
    rustix::thread::set_name(c"drover-zygote").ok();
    loop {
        let Request { record, spec, says } = receive()?;
        match raw::clone(None) {
            Ok(Cloned::Child) => {
                raw::set_reaping(raw::Reaping::ByUs);
                dup2_stdin(&spec).ok()?;
                dup2_stdout(&says).ok()?;
                return Some(record);
            }
            Ok(Cloned::Parent { .. }) => {}
            Err(error) => {
                let line = Refusal::later("fork a shim", error).to_line();
                rustix::io::write(&says, line.as_bytes()).ok();
            }
        }
    }
}

/// The next request; `None` when there will be no more.
fn receive() -> Option<Request> {
    let mut path = [0u8; PATH_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut path)];
    let stdin = rustix::stdio::stdin();
    let got = recvmsg(stdin, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
    let mut descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<OwnedFd>>(),
        _ => Vec::new(),
    });
    let (spec, says) = (descriptors.next()?, descriptors.next()?);
    drop(descriptors);
    Some(Request {
        record: Path::new(OsStr::from_bytes(&path[..got.bytes])).to_path_buf(),
        spec,
        says,
    })
}

/// The agent's side: asks the zygote on the other end of `socket` for a shim.
pub fn request(socket: impl AsFd, record: &Path, spec: &OwnedFd, says: &OwnedFd) -> io::Result<()> {
    let path = record.as_os_str().as_bytes();
    assert!(path.len() <= PATH_BYTES_MAX, "a path is no longer than the kernel allows");
    let descriptors = [spec.as_fd(), says.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    assert!(fits, "two descriptors fit into the space for two");
    sendmsg(socket, &[IoSlice::new(path)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}
