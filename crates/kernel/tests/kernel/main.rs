//! Kernels and their processes, without an engine: memories are vectors, programs are scripts.

mod ask;
mod budget;
mod calls;
mod circle;
mod eras;
mod group;
mod lease;
mod many;
mod names;
mod pass;
mod random;
mod serve;
mod talk;
mod watch;
mod wire;
mod world;
