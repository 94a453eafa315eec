//! The recorder's files as what a replay reads.
use std::path::Path;

use drover_core::agent::recording::Record;
use drover_core::time::WallTime;
use drover_shell::recorder::{Log, Reader};
use drover_sim::replay::{Opened, Source};

use crate::failure::Failure;

/// The segments of one agent.
pub(crate) struct Files {
    pub(crate) log: Log,
}

impl Files {
    /// What `path` names.
    pub(crate) fn find(path: &Path) -> Result<Self, Failure> {
        let log = Log::find(path).map_err(|fault| Failure::new(fault.to_string()))?;
        if log.inputs() == 0 {
            let shown = path.display();
            return Err(Failure::new(format!(
                "{shown} holds no input yet: the agent writes them a moment after they came, and all of \
                 them when it is stopped"
            )));
        }
        Ok(Self { log })
    }
}

impl Source for Files {
    fn count(&self) -> usize {
        self.log.segments.len()
    }

    fn name(&self, segment: usize) -> String {
        self.log.segments[segment].name()
    }

    fn inputs(&self, segment: usize) -> u64 {
        self.log.segments.get(segment).map_or(0, |segment| segment.inputs)
    }

    fn span(&self, segment: usize) -> Option<(WallTime, WallTime)> {
        self.log.segments.get(segment).and_then(|segment| segment.span)
    }

    fn open(&self, segment: usize) -> Result<Opened, String> {
        let path = &self.log.segments[segment].path;
        let (mut reader, start) = Reader::open(path).map_err(|fault| fault.to_string())?;
        let records = std::iter::from_fn(move || reader.read_next::<Record>().transpose());
        let records = records.map(|record| record.map_err(|fault| fault.to_string()));
        Ok(Opened { start, records: Box::new(records) })
    }
}
