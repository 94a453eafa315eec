//! Control groups: which hierarchies are mounted, and what they can hold tasks to.
use std::path::{Path, PathBuf};

use super::Fingerprint;
use super::root::Root;
use super::storage::{Mount, mounts};

/// Where the agent's tasks have theirs, beneath the hierarchy's root.
const SLICE: &str = "drover.slice";

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Cgroups {
    version: Option<u32>,
    /// Of version 2, where there is one; else of the first of version 1.
    mount_point: PathBuf,
    /// That the version-2 hierarchy owns; others are on version 1 or off.
    controllers: Vec<String>,
    /// That the agent's tasks have; `None`: no groups are made for them.
    of_tasks: Option<Vec<String>>,
}

impl Cgroups {
    pub(super) fn look(root: &Root) -> Self {
        let mounts = mounts(root);
        let of_type = |kind: &str| mounts.iter().find(|mount| mount.kind == kind);
        let (first, unified) = (of_type("cgroup"), of_type("cgroup2"));
        let Some(Mount { point, .. }) = unified.or(first) else { return Self::default() };
        let listed = |dir: &Path| {
            let list = root.line(relative(dir).join("cgroup.controllers"))?;
            Some(list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let controllers = listed(point).unwrap_or_default();
        Self {
            // Beside hierarchies of version 1, those have the controllers.
            version: Some(if first.is_some() { 1 } else { 2 }),
            mount_point: point.clone(),
            of_tasks: listed(&point.join(SLICE)).filter(|_| unified.is_some()),
            controllers,
        }
    }

    pub(super) fn add(&self, found: &mut Fingerprint) {
        let Some(version) = self.version else { return };
        found.put("os.cgroups.version", version);
        found.put("os.cgroups.controllers", self.controllers.join(","));
        found.put("unique.cgroup.mountpoint", self.mount_point.display());
        found.put("unique.cgroup.version", format!("v{version}"));
    }

    /// Beneath a root's path, the root of the hierarchy of version 2 if that has controllers.
    pub(super) fn unified(&self) -> Option<PathBuf> {
        (self.version == Some(2)).then(|| relative(&self.mount_point).to_owned())
    }

    /// The controllers that hold tasks; `None`: there are no groups for tasks.
    pub(super) fn of_tasks(&self) -> Option<&[String]> {
        self.of_tasks.as_deref()
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::super::root::tree::grow;
    use super::*;

    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    const V2: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn seen(mountinfo: &str, controllers: &str) -> (Cgroups, Fingerprint) {
        let slice = "sys/fs/cgroup/unified/drover.slice/cgroup.controllers";
        let (_dir, root) = grow(&[
            ("proc/self/mountinfo", mountinfo),
            ("sys/fs/cgroup/unified/cgroup.controllers", controllers),
            (slice, "memory\n"),
        ]);
        let cgroups = Cgroups::look(&root);
        let mut found = Fingerprint::default();
        cgroups.add(&mut found);
        (cgroups, found)
    }

    #[test]
    fn the_version_is_that_of_the_controllers() {
        let (pure, found) = seen(V2, "cpuset cpu memory\n");
        assert_eq!(found.attributes["os.cgroups.version"], "2");
        assert_eq!(found.attributes["os.cgroups.controllers"], "cpuset,cpu,memory");
        assert_eq!(found.attributes["unique.cgroup.mountpoint"], "/sys/fs/cgroup/unified");
        assert_eq!(pure.of_tasks().unwrap(), ["memory"]);
        assert_eq!(pure.unified().unwrap(), Path::new("sys/fs/cgroup/unified"));
        let (hybrid, found) = seen(&(V1.to_owned() + V2), "");
        assert_eq!(found.attributes["os.cgroups.version"], "1");
        assert_eq!(found.attributes["unique.cgroup.version"], "v1");
        assert!(!found.attributes.contains_key("os.cgroups.controllers"));
        assert!(hybrid.of_tasks().is_some(), "it has groups, if not all limits");
        assert_eq!(hybrid.unified(), None);
        let (old, _) = seen(V1, "");
        assert_eq!(old.of_tasks(), None);
        let (none, found) = seen("", "");
        assert_eq!((none, found.attributes.len()), (Cgroups::default(), 0));
    }
}
