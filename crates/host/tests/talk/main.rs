//! Processes that talk, on one thread: programs in the text format, a kernel, and whoever can go on is run.

mod crew;
mod handlers;
mod programs;
mod talking;
