//! The cores on whole programs: sharing, freezing, ending, and all at once. What a test waits for comes through a
//! channel or shows in a sample; no test takes the time.
#![allow(clippy::unwrap_used, reason = "a test ends where anything is missing")]

mod desk;
mod devices;
mod ending;
mod families;
mod freezing;
mod shares;
mod sharing;
mod sleeping;
mod storms;
mod support;
mod talking;
mod walking;

#[path = "../talk/programs.rs"]
#[allow(dead_code, reason = "shared with the tests of talk")]
mod programs;
