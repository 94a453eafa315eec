//! A client node's side: stories of one rule each, and a property over any interleaving.
mod any_interleaving;
mod environment;
mod health;
mod life_of_an_alloc;
mod node;
mod restarts;
mod servers_and_reports;
mod services;
mod specs;
