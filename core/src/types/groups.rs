//! The groups of a job, shared by all that run the same ones: a child of a job has its own name, and its
//! parent's groups.
//!
//! Invariants
//! - who changes the groups of one job changes those of no other.
use ::alloc::sync::Arc;
use ::alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use super::job::Group;

/// See the module. A list to whoever looks at it.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Groups(Arc<Vec<Group>>);

impl Groups {
    /// Whether both are one list in memory.
    #[must_use]
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Groups {
    type Target = Vec<Group>;

    fn deref(&self) -> &Vec<Group> {
        &self.0
    }
}

/// Only makers of specifications write: what others share is copied first.
impl DerefMut for Groups {
    fn deref_mut(&mut self) -> &mut Vec<Group> {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Vec<Group>> for Groups {
    fn from(groups: Vec<Group>) -> Self {
        Self(Arc::new(groups))
    }
}

impl FromIterator<Group> for Groups {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        Self::from(groups.into_iter().collect::<Vec<_>>())
    }
}

impl<'a> IntoIterator for &'a Groups {
    type Item = &'a Group;
    type IntoIter = core::slice::Iter<'a, Group>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a mut Groups {
    type Item = &'a mut Group;
    type IntoIter = core::slice::IterMut<'a, Group>;

    fn into_iter(self) -> Self::IntoIter {
        Arc::make_mut(&mut self.0).iter_mut()
    }
}
