//! Plain data that every machine and the outside share: ids, and the nouns of the tables.
//!
//! Invariants
//! - nothing here decides: there are checks of shape, and no behaviour.
pub mod alloc;
pub mod client;
pub mod constraint;
pub mod deployment;
pub mod drain;
pub mod eval;
pub mod gate;
pub mod groups;
pub mod ids;
pub mod job;
pub mod launch;
pub mod leaning;
pub mod named;
pub mod node;
pub mod operator;
pub mod pieces;
pub mod plan;
pub mod pool;
pub mod resources;
pub mod service;
pub mod volume;

pub use alloc::*;
pub use client::*;
pub use constraint::*;
pub use deployment::*;
pub use drain::*;
pub use eval::*;
pub use gate::*;
pub use groups::*;
pub use ids::*;
pub use job::*;
pub use launch::*;
pub use leaning::*;
pub use named::*;
pub use node::*;
pub use operator::*;
pub use pieces::*;
pub use plan::*;
pub use pool::*;
pub use resources::*;
pub use service::*;
pub use volume::*;
