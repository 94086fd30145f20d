//! The edge of the system: what knows the operating system. Answers the requests of processes ([`origin`]), and lets
//! this user's commands find and freeze running processes ([`control`]).

pub mod control;
pub mod cores;
mod crowd;
pub mod etcd;
mod fence;
pub mod link;
pub mod node;
pub mod origin;
mod private_file;
pub mod talk;
