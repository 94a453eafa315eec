//! The operating system, what its kernel can do, and the machine's name.
use super::Fingerprint;
use super::root::Root;
use crate::drivers::signal::SIGNALS;

pub(super) fn add(found: &mut Fingerprint, root: &Root) {
    let uname = rustix::system::uname();
    found.put("kernel.name", uname.sysname().to_string_lossy().to_lowercase());
    found.put("kernel.version", uname.release().to_string_lossy());
    found.put("kernel.arch", uname.machine().to_string_lossy());
    found.put("unique.hostname", uname.nodename().to_string_lossy());
    let release = root.text("etc/os-release");
    found.put("os.name", value(&release, "ID").unwrap_or_else(|| "linux".into()));
    found.put("os.version", value(&release, "VERSION_ID").unwrap_or_default());
    let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
    found.put("os.signals", names.join(","));
    if let Some(version) = landlock() {
        found.put("kernel.landlock", format!("v{version}"));
    }
    // Loaded or built in, it is there; what a kernel might load is not known to work.
    if root.path("sys/module/bridge").is_dir() {
        found.put("kernel.bridge", 1);
    }
}

fn value(release: &str, key: &str) -> Option<String> {
    release.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix('=')?;
        Some(value.trim_matches(['"', '\'']).to_owned())
    })
}

/// The version of the interface by which a process gives up access to files.
#[expect(unsafe_code, reason = "the system call has no safe wrapper")]
fn landlock() -> Option<u32> {
    const ASK_VERSION: libc::c_uint = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with no attributes and a size of zero the kernel reads nothing and makes nothing.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, ASK_VERSION) };
    u32::try_from(version).ok().filter(|&version| 0 < version)
}

#[cfg(test)]
mod tests {
    use super::super::root::tree::grow;
    use super::*;

    #[test]
    fn the_release_and_what_the_kernel_has_are_read() {
        let release = "NAME=\"D\"\nVERSION_ID=\"12\"\nID=debian\n";
        let files = [("etc/os-release", release), ("sys/module/bridge/refcnt", "0\n")];
        let look = |files| {
            let (_dir, root) = grow(files);
            let mut found = Fingerprint::default();
            add(&mut found, &root);
            found.attributes
        };
        let found = look(&files);
        assert_eq!((found["os.name"].as_str(), found["os.version"].as_str()), ("debian", "12"));
        assert_eq!(found["kernel.bridge"], "1");
        let found = look(&[]);
        assert_eq!(found["os.name"], "linux");
        assert!(!found.contains_key("os.version") && !found.contains_key("kernel.bridge"));
    }
}
