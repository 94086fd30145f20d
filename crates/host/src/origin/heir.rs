//! Processes that other processes have made: they have the streams and directories that the first of them was given.

use std::sync::Arc;
use std::task::{Context, Poll};

use peripatos_abi::Pid;
use peripatos_abi::device::{Devices, Reply, Request};

use super::Origin;
use super::behind::Behind;
use super::clock::Clocks;
use super::process::Process;
use super::table::{Descriptor, OpenDirectory, Resource, Root, Table};

impl Origin {
    /// Prepares for a process that belongs to `of`: it gets the same streams and directories, unless it is known already.
    /// `false`: `of` is not known.
    pub fn inherit(&self, pid: Pid, of: Pid) -> bool {
        let mut state = self.lock();
        if state.processes.contains_key(&pid) {
            return true;
        }
        let Some(heir) = state.processes.get(&of).map(heir) else { return false };
        state.processes.insert(pid, heir);
        true
    }
}

/// What a relative of a process begins with: under the same numbers, whatever of it is still open.
fn heir(of: &Process) -> Process {
    let mut table = Table::default();
    for (fd, descriptor) in of.table.iter() {
        if let Some(same) = same(descriptor) {
            // As many as there were fit.
            let _ = table.insert_at(fd, same);
        }
    }
    let roots = of.roots.iter().map(|root| Root {
        host_path: root.host_path.clone(),
        guest_path: root.guest_path.clone(),
        identity: root.identity,
        dir: root.dir.clone(),
    });
    let roots = roots.collect();
    Process {
        table,
        roots,
        clocks: Clocks::new(),
        last_reply: None,
        waiting: None,
        sent: None,
        behind: Behind::default(),
    }
}

/// The same, if it was given to the process and not opened by it.
fn same(descriptor: &Descriptor) -> Option<Descriptor> {
    let resource = match &descriptor.resource {
        Resource::Stream(stream, file) => Resource::Stream(*stream, file.clone()),
        Resource::Directory(directory) if directory.preopen => Resource::Directory(OpenDirectory {
            dir: Arc::clone(&directory.dir),
            location: directory.location.clone(),
            preopen: true,
            listing: Arc::default(),
        }),
        _ => return None,
    };
    let Descriptor { flags, rights, rights_inheriting, .. } = *descriptor;
    Some(Descriptor { resource, flags, rights, rights_inheriting })
}

/// The devices of processes that belong to one of an origin. A process is known there from its first request on: most
/// make none.
#[derive(Clone, Debug)]
pub struct Heirs {
    origin: Origin,
    /// To whom they belong.
    of: Pid,
    /// Who has asked before through this.
    known: Option<Pid>,
}

impl Heirs {
    /// Of an origin's process of this pid.
    #[must_use]
    pub fn new(origin: Origin, of: Pid) -> Heirs {
        Heirs { origin, of, known: None }
    }

    /// The origin.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Devices for Heirs {
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        request: &Request,
    ) -> Poll<Reply> {
        if self.known != Some(pid) {
            self.origin.inherit(pid, self.of);
            self.known = Some(pid);
        }
        self.origin.poll_request(cx, pid, sequence, request)
    }
}
