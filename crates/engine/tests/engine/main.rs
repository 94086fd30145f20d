//! The engine on whole programs: one binary, so that wasmtime is linked once.

mod cache;
mod common;
mod control;
mod errors;
mod handlers;
mod identity;
mod images;
