//! A world in which any number of agents live on one thread.
