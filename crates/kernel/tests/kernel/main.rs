//! Kernels and their processes, without an engine: memories are vectors, programs are scripts.

mod ask;
mod calls;
mod group;
mod lease;
mod random;
mod talk;
mod watch;
mod wire;
mod world;
