//! The few system calls for which `rustix` has no safe form.
//!
//! Invariants
//! - they are made by a process with a single thread: a child may do what its parent could.
#![expect(unsafe_code, reason = "clone3, exec, signal masks and groups have no safe wrapper")]
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::ptr;

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which side of a clone this is.
pub(super) enum Cloned {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// Forks, straight into `cgroup` if there is one.
pub(super) fn clone(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: i32 = -1;
    // SAFETY: all-zero is a valid `clone_args`: it is integers only.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(libc::CLONE_PIDFD.cast_unsigned());
    args.pidfd = ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    let size = size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM the child has a copy of everything and its own stack; the process
    // has one thread, so no lock is left held in the copy.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, ptr::from_mut(&mut args), size) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            let pid = i32::try_from(pid).expect("invariant: process ids are small");
            // SAFETY: the kernel has just stored a descriptor there that nobody else owns.
            Ok(Cloned::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
        }
    }
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Blocks every signal.
pub(super) fn block_signals() {
    // SAFETY: the set is initialised before it is read; the mask is this thread's, the only one.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}

/// A descriptor on which blocked signals are read instead.
pub(super) fn take_signals(wanted: &[i32]) -> io::Result<File> {
    // SAFETY: the set is initialised before it is read; the new descriptor is owned by nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in wanted {
            libc::sigaddset(&raw mut set, signal);
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_fd(fd)) }
    }
}

/// Who takes the exit status of this process's children.
#[derive(Clone, Copy)]
pub(super) enum Reaping {
    ByUs,
    ByKernel,
}

pub(super) fn set_reaping(reaping: Reaping) {
    let disposition = match reaping {
        Reaping::ByUs => libc::SIG_DFL,
        Reaping::ByKernel => libc::SIG_IGN,
    };
    // SAFETY: both are valid dispositions, and neither runs code of ours.
    unsafe { libc::signal(libc::SIGCHLD, disposition) };
}

/// The signal numbers that wait on a descriptor of `take_signals`; one at a time.
pub(super) fn next_signal(from: &File) -> Option<u32> {
    // SAFETY: all-zero is a valid `signalfd_siginfo`: it is integers only.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the kernel writes at most `size` bytes into a buffer of that size.
    let count = unsafe { libc::read(from.as_raw_fd(), ptr::from_mut(&mut info).cast(), size) };
    (usize::try_from(count) == Ok(size)).then_some(info.ssi_signo)
}

/// Gives the task the signals of a fresh program, whatever the agent was started with.
pub(super) fn reset_signals() {
    let ignored = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGPIPE,
        libc::SIGTERM,
        libc::SIGCHLD,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ];
    // SAFETY: SIG_DFL is a valid disposition; the set is initialised before it is read.
    unsafe {
        for signal in ignored {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}

/// Becomes another account for good.
pub(super) fn become_account(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and the length describe one slice; gid_t is u32.
    let done = unsafe {
        libc::setgroups(groups.len(), groups.as_ptr()) == 0
            && libc::setgid(gid) == 0
            && libc::setuid(uid) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor but the standard three: what the agent may have let slip.
pub(super) fn close_inherited() {
    // SAFETY: called before this process has opened anything: nobody owns a descriptor from 3 on.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}

/// Null-terminated pointers into strings that outlive it.
pub(super) struct Pointers<'a> {
    pointers: Vec<*const libc::c_char>,
    strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> Pointers<'a> {
    pub(super) fn new(strings: &[&'a CStr]) -> Self {
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, strings: std::marker::PhantomData }
    }
}

/// Becomes the task; returns only to say why not.
pub(super) fn exec(program: &CStr, args: &Pointers<'_>, env: &Pointers<'_>) -> io::Error {
    // SAFETY: both arrays end with a null pointer and point to C strings that are alive.
    unsafe { libc::execve(program.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process without running what the agent or the parent has registered.
pub(super) fn exit_at_once(code: i32) -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code) }
}
