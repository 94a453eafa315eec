//! What the agent tells a shim to run: written by one, read once by the other.
//!
//! `key=value` records, each ended by a NUL, which no argument and no variable can contain. It is
//! handed over in an anonymous file on standard input: secrets in the environment never touch a disk.
//!
//! Invariants
//! - what `Spec::encode` wrote, `SpecView::decode` of the same or a later version reads.
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The agent's side.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    pub program: PathBuf,
    /// Including the name of the program itself.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    /// Log files are `<log_prefix>.stdout.<n>` and `<log_prefix>.stderr.<n>`.
    pub log_prefix: PathBuf,
    pub log_files_max: u32,
    pub log_file_bytes_max: u64,
    /// uid, gid and further groups; `None`: the agent's own.
    pub account: Option<(u32, u32, Vec<u32>)>,
    /// To be created for this attempt alone.
    pub cgroup: Option<PathBuf>,
    /// Files of the cgroup, and what is written into them, if they are there.
    pub limits: Vec<(&'static str, String)>,
    /// The limit of open files that the task starts with.
    pub open_files_soft: Option<u64>,
    pub boot: String,
}

/// The shim's side; borrows the bytes it was read from.
#[derive(Debug, Default)]
pub(super) struct SpecView<'a> {
    pub(super) program: Option<&'a CStr>,
    pub(super) args: Vec<&'a CStr>,
    pub(super) env: Vec<&'a CStr>,
    pub(super) cwd: Option<&'a CStr>,
    pub(super) log_prefix: &'a str,
    pub(super) log_files_max: u32,
    pub(super) log_file_bytes_max: u64,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) groups: Vec<u32>,
    pub(super) cgroup: Option<&'a Path>,
    /// `file=value`.
    pub(super) limits: Vec<&'a str>,
    pub(super) open_files_soft: Option<u64>,
    pub(super) boot: &'a str,
}

impl Spec {
    /// The bytes for the shim; an error names what contains a NUL.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(4096);
        let mut put = |key: &str, value: &[u8]| {
            if value.contains(&0) {
                return Err(format!("{key}: a NUL cannot be passed to a program"));
            }
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(0);
            Ok(())
        };
        put("program", self.program.as_os_str().as_bytes())?;
        put("cwd", self.cwd.as_os_str().as_bytes())?;
        put("log_prefix", self.log_prefix.as_os_str().as_bytes())?;
        put("log_files", self.log_files_max.to_string().as_bytes())?;
        put("log_bytes", self.log_file_bytes_max.to_string().as_bytes())?;
        put("boot", self.boot.as_bytes())?;
        if let Some((uid, gid, groups)) = &self.account {
            put("uid", uid.to_string().as_bytes())?;
            put("gid", gid.to_string().as_bytes())?;
            for group in groups {
                put("group", group.to_string().as_bytes())?;
            }
        }
        if let Some(cgroup) = &self.cgroup {
            put("cgroup", cgroup.as_os_str().as_bytes())?;
        }
        for (file, value) in &self.limits {
            put("limit", format!("{file}={value}").as_bytes())?;
        }
        if let Some(limit) = self.open_files_soft {
            put("open_files", limit.to_string().as_bytes())?;
        }
        for arg in &self.args {
            put("arg", arg.as_bytes())?;
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains('=') {
                return Err(format!("env: {name:?} is not the name of a variable"));
            }
            put("env", format!("{name}={value}").as_bytes())?;
        }
        Ok(out)
    }
}

impl<'a> SpecView<'a> {
    /// Reads what an agent wrote. Keys of later versions are ignored.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, String> {
        let mut spec = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let record = CStr::from_bytes_until_nul(rest).map_err(|_| "spec: cut short")?;
            rest = &rest[record.count_bytes() + 1..];
            let key_end = record.to_bytes().iter().position(|&byte| byte == b'=');
            let Some(key_end) = key_end else { return Err("spec: a record without a key".into()) };
            let (key, value) = (&record.to_bytes()[..key_end], skip(record, key_end + 1));
            match key {
                b"program" => spec.program = Some(value),
                b"arg" => spec.args.push(value),
                b"env" => spec.env.push(value),
                b"cwd" => spec.cwd = Some(value),
                b"log_prefix" => spec.log_prefix = text(value)?,
                b"log_files" => spec.log_files_max = number(value)?,
                b"log_bytes" => spec.log_file_bytes_max = number(value)?,
                b"uid" => spec.uid = Some(number(value)?),
                b"gid" => spec.gid = Some(number(value)?),
                b"group" => spec.groups.push(number(value)?),
                b"cgroup" => spec.cgroup = Some(Path::new(OsStr::from_bytes(value.to_bytes()))),
                b"limit" => spec.limits.push(text(value)?),
                b"open_files" => spec.open_files_soft = Some(number(value)?),
                b"boot" => spec.boot = text(value)?,
                _ => {}
            }
        }
        Ok(spec)
    }
}

/// The string without its first `count` bytes.
fn skip(text: &CStr, count: usize) -> &CStr {
    CStr::from_bytes_with_nul(&text.to_bytes_with_nul()[count..])
        .expect("invariant: the tail of a C string is one")
}

fn text(value: &CStr) -> Result<&str, String> {
    value.to_str().map_err(|_| "spec: not UTF-8".into())
}

fn number<T: std::str::FromStr>(value: &CStr) -> Result<T, String> {
    text(value)?.parse().map_err(|_| format!("spec: {value:?} is not a number in range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_writes_the_shim_reads() {
        let spec = Spec {
            program: "/bin/sh".into(),
            args: vec!["sh".into(), "a=b\nc".into()],
            env: vec![("X".into(), "1=2".into())],
            cwd: "/tmp".into(),
            log_prefix: "/l/web".into(),
            log_files_max: 3,
            log_file_bytes_max: 9,
            account: Some((1, 2, vec![3])),
            limits: vec![("memory.max", "4096".into())],
            ..Spec::default()
        };
        let bytes = spec.encode().unwrap();
        let view = SpecView::decode(&bytes).unwrap();
        assert_eq!(view.program, Some(c"/bin/sh"));
        assert_eq!(view.args, [c"sh", c"a=b\nc"]);
        assert_eq!(view.env, [c"X=1=2"]);
        assert_eq!((view.uid, view.gid, view.groups), (Some(1), Some(2), vec![3]));
        assert_eq!((view.log_prefix, view.log_files_max), ("/l/web", 3));
        assert_eq!(view.limits, ["memory.max=4096"]);
        assert!(SpecView::decode(&bytes[..bytes.len() - 1]).is_err());
        let bad = Spec { args: vec!["a\0b".into()], ..Spec::default() };
        assert!(bad.encode().is_err());
    }
}
