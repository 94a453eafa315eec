//! What is wrong with what a task asks of its machine.
use drover_core::types::{Constraint, DeviceAsk, MemoryMax, Operator, TaskResources};

use super::Check;

/// Nomad's least of `resources.cpu` and `resources.memory`.
const CPU_MHZ_MIN: u32 = 1;
const MEMORY_MIB_MIN: u32 = 10;

impl Check<'_> {
    pub(super) fn resources(&mut self, asked: &TaskResources) {
        let TaskResources { cpu_mhz, cores, memory_mib, memory_max, devices } = asked;
        if 0 < *cores && 0 < *cpu_mhz {
            let why = "a task asks for cpu or for cores, which bring theirs: drop one of them";
            self.wrong("cores", why);
        }
        if *cores == 0 && *cpu_mhz < CPU_MHZ_MIN {
            self.wrong("cpu", format!("must be at least {CPU_MHZ_MIN} MHz"));
        }
        if *memory_mib < MEMORY_MIB_MIN {
            self.wrong("memory", format!("must be at least {MEMORY_MIB_MIN} MiB"));
        }
        if let MemoryMax::Mib(most) = memory_max
            && most < memory_mib
        {
            let why = format!(
                "{most} MiB is less than memory, {memory_mib} MiB, which the task always has: raise it, \
                 or leave it out"
            );
            self.wrong("memory_max", why);
        }
        for device in devices {
            self.inner(&format!("device[{}]", device.name)).device(device);
        }
    }

    fn device(&mut self, asked: &DeviceAsk) {
        if asked.name.splitn(3, '/').any(str::is_empty) {
            let why = "a device is called by its type, \"gpu\", by vendor and type, \"nvidia/gpu\", or in \
                       full, \"nvidia/gpu/1080ti\"";
            self.wrong("name", why);
        }
        if asked.count == 0 {
            self.wrong("count", "must be at least 1; leave the block out for none");
        }
        let is_distinct = |one: &Constraint| {
            matches!(one.operator, Operator::DistinctHosts | Operator::DistinctProperty)
        };
        if asked.constraints.iter().any(is_distinct) {
            self.wrong(
                "constraint",
                "looks at devices, not at who else is there: write it into the group",
            );
        }
        self.constraints(&asked.constraints);
        self.affinities(&asked.affinities);
    }
}
