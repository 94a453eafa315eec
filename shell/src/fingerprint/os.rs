//! The operating system and the machine's name.
use std::fs;

use super::Fingerprint;
use crate::drivers::signal::SIGNALS;

pub(super) fn add(found: &mut Fingerprint) {
    let uname = rustix::system::uname();
    found.put("kernel.name", uname.sysname().to_string_lossy().to_lowercase());
    found.put("kernel.version", uname.release().to_string_lossy());
    found.put("kernel.arch", uname.machine().to_string_lossy());
    found.put("unique.hostname", uname.nodename().to_string_lossy());
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    found.put("os.name", value(&release, "ID").unwrap_or_else(|| "linux".into()));
    found.put("os.version", value(&release, "VERSION_ID").unwrap_or_default());
    let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
    found.put("os.signals", names.join(","));
}

fn value(release: &str, key: &str) -> Option<String> {
    release.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix('=')?;
        Some(value.trim_matches(['"', '\'']).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read() {
        let text = "NAME=\"D\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert_eq!(value(text, "ID").unwrap(), "debian");
        assert_eq!(value(text, "VERSION_ID").unwrap(), "12");
        assert_eq!(value(text, "VERSION"), None);
    }
}
