//! The machine that the tests run on: its ports, its processes, who owns its files.
//!
//! Invariants
//! - no two agents of these tests are given the same port.
use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::Mutex;

use rustix::process::Pid;

/// A port that is free for both protocols, and that no other agent of these tests was given.
pub(super) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = tcp.local_addr().expect("it is bound").port();
        let is_new = GIVEN.lock().expect("no test panicked here").insert(port);
        if is_new && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Every process whose command line or environment has `text` in it.
pub(crate) fn processes_with(text: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc can be read").flatten() {
        let number = entry.file_name().to_string_lossy().parse().ok();
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        let has_text = |file: &str| {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        };
        if has_text("environ") || has_text("cmdline") {
            found.push(pid);
        }
    }
    found
}

/// A folder and everything in it.
pub(super) fn give_all(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).expect("root may give it away");
    for entry in fs::read_dir(path).expect("it can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            give_all(&path, user);
        } else {
            chown(&path, Some(user), Some(user)).expect("root may give it away");
        }
    }
}
