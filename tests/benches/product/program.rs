//! The release binary: where it is, and how long it takes to say something.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Measured;

/// The program that is measured.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
}

/// The workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn cargo_build() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "-p", "drover", "--message-format", "json"]);
    command.current_dir(root()).stderr(Stdio::inherit());
    command
}

impl Program {
    /// The one that the environment names, or one that is built now.
    pub(crate) fn find() -> Measured<Self> {
        if let Some(path) = std::env::var_os("DROVER_BENCH_BINARY") {
            return Ok(Self { path: path.into() });
        }
        let built = cargo_build().output().map_err(|why| format!("cannot run cargo: {why}"))?;
        if !built.status.success() {
            return Err("the program does not build".to_owned());
        }
        let told = String::from_utf8_lossy(&built.stdout);
        let messages = told.lines().filter_map(|line| serde_json::from_str(line).ok());
        let path = messages
            .filter(|message: &serde_json::Value| message["target"]["name"] == "drover")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        path.map(|path| Self { path }).ok_or_else(|| "cargo names no program".to_owned())
    }

    /// How long a build takes that finds nothing done; the registry's sources may be there already.
    pub(crate) fn build_from_nothing() -> Measured<Duration> {
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        let begun = Instant::now();
        let mut build = cargo_build();
        let built = build.env("CARGO_TARGET_DIR", folder.path()).stdout(Stdio::null()).status();
        let took = begun.elapsed();
        match built {
            Ok(status) if status.success() => Ok(took),
            Ok(status) => Err(format!("cargo ended with {status}")),
            Err(why) => Err(format!("cannot run cargo: {why}")),
        }
    }

    pub(crate) fn size_bytes(&self) -> Measured<u64> {
        let metadata = std::fs::metadata(&self.path);
        metadata.map(|metadata| metadata.len()).map_err(|why| why.to_string())
    }

    /// A run of it with these arguments, asking the agent at `address`.
    pub(crate) fn command(&self, arguments: &[&str], address: Option<&str>) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments).stdin(Stdio::null()).env_remove("NOMAD_ADDR");
        if let Some(address) = address {
            command.env("NOMAD_ADDR", address);
        }
        command
    }

    /// From before it is started until it has ended well.
    pub(crate) fn time(&self, arguments: &[&str], address: Option<&str>) -> Measured<Duration> {
        let mut command = self.command(arguments, address);
        let begun = Instant::now();
        let output = command.output().map_err(|why| format!("cannot run it: {why}"))?;
        let took = begun.elapsed();
        if output.status.success() {
            return Ok(took);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(format!("`drover {}`: {said}", arguments.join(" ")))
    }
}
