//! What the supervisor of the process is told of it: systemd's protocol, where `NOTIFY_SOCKET` names a
//! socket. Elsewhere nothing is done.
//!
//! Invariants
//! - an agent never fails, nor waits, because its supervisor does not listen.
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

/// What has come about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum News {
    /// The agent is up; or it has read its configuration again.
    Ready,
    Reloading,
    Stopping,
}

pub(super) fn tell(news: News) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        let _nobody_may_listen = send(&socket, &words(news));
    }
}

fn words(news: News) -> String {
    match news {
        News::Ready => "READY=1".to_owned(),
        News::Stopping => "STOPPING=1".to_owned(),
        // Which of several reloads is meant, is told by the time.
        News::Reloading => {
            let now = clock_gettime(ClockId::Monotonic);
            format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)
        }
    }
}

/// A name that begins with `@` is no file.
fn send(socket: &OsStr, text: &str) -> std::io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let own = UnixDatagram::unbound()?;
    own.set_nonblocking(true)?;
    own.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supervisor_hears_each_piece_of_news() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        for (news, begins) in [
            (News::Ready, "READY=1"),
            (News::Reloading, "RELOADING=1\nMONOTONIC_USEC="),
            (News::Stopping, "STOPPING=1"),
        ] {
            send(path.as_os_str(), &words(news)).unwrap();
            let mut heard = [0; 128];
            let length = supervisor.recv(&mut heard).unwrap();
            let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
            assert!(heard.starts_with(begins), "{heard}");
        }
    }

    #[test]
    fn nobody_who_listens_is_no_matter() {
        let dir = tempfile::tempdir().unwrap();
        assert!(send(dir.path().join("nobody").as_os_str(), "READY=1").is_err());
        tell(News::Ready);
    }
}
