//! Task drivers: which can be used here, whether they are well, and what they cannot do.
//!
//! Invariants
//! - a driver that is called healthy can start a task; what it lacks beside that is said.
use std::path::Path;

use drover_core::types::DriverInfo;
use rustix::fs::{Access, access};

use super::Fingerprint;
use super::cgroup::Cgroups;
use super::root::{Root, value};
use crate::config::RawExec;

/// The bits of the capabilities that it takes to become another user.
const TO_BE_ANOTHER: u64 = 1 << 6 | 1 << 7;
/// Controllers that tasks are held by, and what each is for.
const HOLDING: [(&str, &str); 2] = [("memory", "memory_max"), ("cpuset", "cores")];

pub(super) fn add(
    found: &mut Fingerprint,
    raw_exec: RawExec,
    alloc_dir: &Path,
    (root, cgroups): (&Root, &Cgroups),
) {
    let info = match raw_exec {
        RawExec::On => raw_exec_info(found, alloc_dir, root, cgroups),
        RawExec::Off => DriverInfo {
            detected: false,
            healthy: false,
            description: "disabled: plugin \"raw_exec\" { config { enabled = true } } in the \
                          agent's configuration enables it"
                .into(),
        },
    };
    found.drivers.insert("raw_exec".into(), info);
}

fn raw_exec_info(
    found: &mut Fingerprint,
    alloc_dir: &Path,
    root: &Root,
    cgroups: &Cgroups,
) -> DriverInfo {
    let lacks = lacks(root, cgroups);
    let fault = fault(alloc_dir);
    found.put("driver.raw_exec", 1);
    found.put("driver.raw_exec.healthy", fault.is_none());
    found.put("driver.raw_exec.user", may_be_another(root));
    let holds = |controller: &str| {
        cgroups.of_tasks().is_some_and(|list| list.iter().any(|one| one == controller))
    };
    let held = HOLDING.iter().filter(|(controller, _)| holds(controller)).map(|(_, what)| *what);
    found.put("driver.raw_exec.limits", held.collect::<Vec<_>>().join(","));
    let healthy = fault.is_none();
    let description = match fault {
        Some(fault) => fault,
        None if lacks.is_empty() => "Healthy".to_owned(),
        None => format!("Healthy; {}", lacks.join("; ")),
    };
    DriverInfo { detected: true, healthy, description }
}

/// Why no task can be started.
fn fault(alloc_dir: &Path) -> Option<String> {
    let why = access(alloc_dir, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let dir = alloc_dir.display();
    Some(format!("tasks have nowhere to write: {dir}: {why}. Make it writable for the agent"))
}

fn lacks(root: &Root, cgroups: &Cgroups) -> Vec<String> {
    let mut lacks = Vec::new();
    if !may_be_another(root) {
        lacks.push(
            "no tasks with `user`: the agent is not root (it lacks CAP_SETUID and CAP_SETGID)"
                .to_owned(),
        );
    }
    match cgroups.of_tasks() {
        None => lacks.push(
            "no limits (`memory_max`, `cores`): the agent cannot make groups in a cgroup v2 \
             hierarchy"
                .to_owned(),
        ),
        Some(list) => {
            let missing = HOLDING.iter().filter(|(name, _)| !list.iter().any(|one| one == name));
            for (name, what) in missing {
                lacks
                    .push(format!("no limit by `{what}`: cgroup v2 has no controller {name} here"));
            }
        }
    }
    lacks
}

fn may_be_another(root: &Root) -> bool {
    let status = root.text("proc/self/status");
    let held = value(&status, "CapEff").and_then(|bits| u64::from_str_radix(bits, 16).ok());
    held.is_some_and(|held| held & TO_BE_ANOTHER == TO_BE_ANOTHER)
}

#[cfg(test)]
mod tests {
    use super::super::root::tree::grow;
    use super::*;

    const MOUNTS: &str = "30 24 0:28 / /cg rw - cgroup2 cgroup2 rw\n";

    fn seen(capabilities: &str, controllers: &str, raw_exec: RawExec) -> Fingerprint {
        let status = format!("Name:\tx\nCapEff:\t{capabilities}\n");
        let mut files = vec![("proc/self/status", status.as_str())];
        if controllers != "none" {
            files.push(("proc/self/mountinfo", MOUNTS));
            files.push(("cg/drover.slice/cgroup.controllers", controllers));
        }
        let (dir, root) = grow(&files);
        let mut found = Fingerprint::default();
        add(&mut found, raw_exec, dir.path(), (&root, &Cgroups::look(&root)));
        found
    }

    fn said(found: &Fingerprint) -> (bool, bool, &str) {
        let info = &found.drivers["raw_exec"];
        (info.detected, info.healthy, &info.description)
    }

    #[test]
    fn what_a_driver_lacks_is_said() {
        let whole = seen("000001ffffffffff", "cpuset cpu memory", RawExec::On);
        assert_eq!(said(&whole), (true, true, "Healthy"));
        assert_eq!(whole.attributes["driver.raw_exec"], "1");
        assert_eq!(whole.attributes["driver.raw_exec.healthy"], "true");
        assert_eq!(whole.attributes["driver.raw_exec.user"], "true");
        assert_eq!(whole.attributes["driver.raw_exec.limits"], "memory_max,cores");
        let unprivileged = seen("0000000000000000", "none", RawExec::On);
        let (detected, healthy, words) = said(&unprivileged);
        assert!(detected && healthy, "it starts tasks");
        assert!(words.contains("no tasks with `user`: the agent is not root"), "{words}");
        assert!(words.contains("no limits (`memory_max`, `cores`)"), "{words}");
        assert_eq!(unprivileged.attributes["driver.raw_exec.user"], "false");
        assert!(!unprivileged.attributes.contains_key("driver.raw_exec.limits"));
        let half = seen("000001ffffffffff", "memory", RawExec::On);
        let (.., words) = said(&half);
        assert_eq!(words, "Healthy; no limit by `cores`: cgroup v2 has no controller cpuset here");
    }

    #[test]
    fn a_driver_that_is_off_or_has_nowhere_to_write_is_not_healthy() {
        let off = seen("0", "memory", RawExec::Off);
        let (detected, healthy, words) = said(&off);
        assert!(!detected && !healthy && words.starts_with("disabled: plugin"), "{words}");
        assert!(!off.attributes.contains_key("driver.raw_exec"));
        let (_dir, root) = grow(&[]);
        let mut found = Fingerprint::default();
        let gone = root.path("alloc");
        add(&mut found, RawExec::On, &gone, (&root, &Cgroups::default()));
        let (detected, healthy, words) = said(&found);
        assert!(
            detected && !healthy && words.starts_with("tasks have nowhere to write"),
            "{words}"
        );
        assert_eq!(found.attributes["driver.raw_exec.healthy"], "false");
    }
}
