//! The `raw_exec` driver: a program of this machine, not isolated.
//!
//! Its whole configuration is `command` and `args`. Where a command without a slash is found:
//! in the task's `local`, in the task's directory, then in the task's `PATH`.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::dirs::TaskDirs;

/// Searched when the task's environment has no `PATH`.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a `raw_exec` task's `config` block says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawExecConfig {
    pub command: String,
    pub args: Vec<String>,
}

/// Reads the `config` block of a task; what is unknown or of the wrong type is refused by name.
pub fn decode(config_json: &str) -> Result<RawExecConfig, String> {
    let block: Map<String, Value> = serde_json::from_str(config_json)
        .map_err(|error| format!("config is not a JSON object: {error}"))?;
    let mut command = None;
    let mut args = Vec::new();
    for (name, value) in block {
        match name.as_str() {
            "command" => command = Some(text("command", value)?),
            "args" => {
                let Value::Array(list) = value else {
                    return Err("config: args must be a list of strings".into());
                };
                args = list.into_iter().map(|arg| text("args", arg)).collect::<Result<_, _>>()?;
            }
            unknown => return Err(format!("config: raw_exec has no option {unknown:?}")),
        }
    }
    match command {
        Some(command) if !command.is_empty() => Ok(RawExecConfig { command, args }),
        Some(_) | None => Err("config: command is required".into()),
    }
}

/// Numbers and booleans are taken as they are written: job files are loosely typed.
fn text(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("config: {name} must be made of strings"))
        }
    }
}

/// The file that `command` means for a task.
pub fn find_command(
    command: &str,
    dirs: &TaskDirs,
    env: &BTreeMap<String, String>,
) -> Result<PathBuf, String> {
    if command.contains('/') {
        // An absolute path replaces the directory it is joined to.
        let path = dirs.task.join(command);
        return match usable(&path) {
            Usable::Yes => Ok(path),
            Usable::NotExecutable => Err(not_executable(&path)),
            Usable::Missing => {
                Err(format!("command {command:?} not found: there is no file {path:?}"))
            }
        };
    }
    let search_path = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let own = [dirs.local.join(command), dirs.task.join(command)];
    let listed = search_path.split(':').filter(|dir| !dir.is_empty());
    let everywhere = own.into_iter().chain(listed.map(|dir| dirs.task.join(dir).join(command)));
    let mut refused = None;
    for path in everywhere {
        match usable(&path) {
            Usable::Yes => return Ok(path),
            Usable::NotExecutable => refused = refused.or(Some(path)),
            Usable::Missing => {}
        }
    }
    Err(match refused {
        Some(path) => not_executable(&path),
        None => format!(
            "command {command:?} not found: looked in the task's directory and in PATH {search_path}"
        ),
    })
}

enum Usable {
    Yes,
    NotExecutable,
    Missing,
}

fn usable(path: &Path) -> Usable {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => Usable::Yes,
        Ok(_) => Usable::NotExecutable,
        Err(_) => Usable::Missing,
    }
}

fn not_executable(path: &Path) -> String {
    format!("command {path:?} is not an executable file: check its mode (chmod +x)")
}

#[cfg(test)]
mod tests {
    use drover_core::types::Uuid;

    use super::*;

    #[test]
    fn a_config_block_is_read_strictly() {
        let read = decode(r#"{"command":"/bin/sh","args":["-c",5,true]}"#).unwrap();
        assert_eq!(read.args, ["-c", "5", "true"]);
        let refused = |json| decode(json).unwrap_err();
        assert!(refused(r#"{"command":"a","comand":"b"}"#).contains("comand"));
        assert!(refused("{}").contains("command is required"));
        assert!(refused(r#"{"command":"a","args":"b"}"#).contains("args must be a list"));
        assert!(refused(r#"{"command":["a"]}"#).contains("command"));
        assert!(refused("[]").contains("not a JSON object"));
    }

    #[test]
    fn a_command_is_found_in_the_tasks_own_directories_first() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path(), Uuid(1), "web").unwrap();
        dirs.build(None).unwrap();
        let env = BTreeMap::new();
        assert_eq!(find_command("sh", &dirs, &env).unwrap().file_name().unwrap(), "sh");
        fs::write(dirs.local.join("sh"), "").unwrap();
        assert_ne!(find_command("sh", &dirs, &env).unwrap(), dirs.local.join("sh"));
        fs::set_permissions(dirs.local.join("sh"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_command("sh", &dirs, &env).unwrap(), dirs.local.join("sh"));
        assert_eq!(find_command("local/sh", &dirs, &env).unwrap(), dirs.local.join("sh"));
        assert!(find_command("no-such", &dirs, &env).unwrap_err().contains("not found"));
        assert!(find_command("/etc/passwd", &dirs, &env).unwrap_err().contains("chmod"));
    }
}
