//! What a task asks of its machine: from the API to the core and back.
use drover_core::types::{DeviceAsk, MemoryMax, TaskResources};

use super::from_spec::constraints;
use super::to_spec::{Conversion, text};
use super::{Affinity, Device, Resources};

/// What the API writes for memory without a limit.
const UNLIMITED: i64 = -1;

impl Conversion {
    pub(super) fn resources(&mut self, task: &str, asked: Option<&Resources>) -> TaskResources {
        let asked = asked.cloned().unwrap_or_default();
        let usual = TaskResources::default();
        let field = |name: &str| format!("{task}.resources.{name}");
        let cores = self.number(&field("cores"), asked.cores, usual.cores);
        // Cores bring theirs.
        let usual_mhz = if 0 < cores { 0 } else { usual.cpu_mhz };
        TaskResources {
            cpu_mhz: self.number(&field("cpu"), asked.cpu, usual_mhz),
            cores,
            memory_mib: self.number(&field("memory"), asked.memory_mb, usual.memory_mib),
            memory_max: match asked.memory_max_mb {
                None | Some(0) => MemoryMax::Asked,
                Some(UNLIMITED) => MemoryMax::Unlimited,
                most @ Some(_) => MemoryMax::Mib(self.number(&field("memory_max"), most, 0)),
            },
            devices: asked.devices.iter().flatten().map(|one| self.device(task, one)).collect(),
        }
    }

    fn device(&mut self, task: &str, asked: &Device) -> DeviceAsk {
        let name = text(asked.name.as_ref(), "");
        let path = format!("{task}.resources.device[{name}]");
        DeviceAsk {
            count: self.number(&format!("{path}.count"), asked.count, 1),
            constraints: self.constraints(&path, asked.constraints.as_ref()),
            affinities: self.affinities(&path, asked.affinities.as_ref()),
            name,
        }
    }
}

impl Resources {
    pub(super) fn of(asked: &TaskResources) -> Self {
        Self {
            cpu: Some(asked.cpu_mhz.into()),
            cores: Some(asked.cores.into()),
            memory_mb: Some(asked.memory_mib.into()),
            memory_max_mb: Some(memory_max_mb(asked.memory_max)),
            disk_mb: Some(0),
            iops: Some(0),
            devices: (!asked.devices.is_empty())
                .then(|| asked.devices.iter().map(Device::of).collect()),
            ..Self::default()
        }
    }
}

impl Device {
    fn of(asked: &DeviceAsk) -> Self {
        Self {
            name: Some(asked.name.clone()),
            count: Some(asked.count.into()),
            constraints: constraints(&asked.constraints),
            affinities: Affinity::list(&asked.affinities),
        }
    }
}

/// As the API writes it.
pub fn memory_max_mb(most: MemoryMax) -> i64 {
    match most {
        MemoryMax::Asked => 0,
        MemoryMax::Mib(most) => most.into(),
        MemoryMax::Unlimited => UNLIMITED,
    }
}
