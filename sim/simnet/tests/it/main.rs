//! The real shell on both substrates: stories told by plan files, and that every run repeats.
mod same;
mod stories;
