//! Families of processes that talk, as far as they are on this node.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};

use peripatos_abi::Pid;
use peripatos_abi::device::{Devices, Reply, Request};
use peripatos_cluster::Event;
use peripatos_cluster::message::{Description, Kin};
use peripatos_engine::Form;

use super::super::exchange::{Exchange, RemoteDevices};
use super::super::programs::Programs;
use super::super::stills;
use super::origins::exchange;
use super::{Host, Input, Inputs};
use crate::talk::{Birth, DeviceServer, Family, Home, Rules, ServedDevices, Share};

/// A process that another one has spawned here.
pub(in crate::node) struct Born {
    pid: Pid,
    parent: Pid,
    root: Pid,
    wasm_hash: [u8; 32],
    program: String,
    argument: Arc<[u8]>,
    handler: bool,
}

impl Host {
    /// The family that a process belongs to, as it is on this node. `env`: of those that it spawns.
    ///
    /// # Errors
    /// One of its programs is not here: which.
    pub(super) fn family(
        &mut self,
        description: &Description,
        kin: &Kin,
        env: &[Vec<u8>],
    ) -> Result<Arc<Family>, String> {
        if let Some(family) = self.families.get(&kin.root).and_then(|(family, _)| family.upgrade())
        {
            return Ok(family);
        }
        let mut programs = BTreeMap::new();
        for (name, code) in &kin.programs {
            let program = self.programs.get(*code);
            let program = program.ok_or_else(|| format!("program {name} is not here any more"))?;
            programs.insert(name.clone(), program);
        }
        let rules = Rules {
            limits: stills::limits_of(description.memory_bytes_max),
            processes_max: kin.processes_max,
            messages_bytes_max: kin.messages_bytes_max,
            cpu_permille_max: kin.cpu_permille_max,
            name_prefix: kin.name_prefix.clone().into_bytes(),
            env: env.to_vec(),
            freeze_every: None,
        };
        let Kin { root, devices, device_process, .. } = kin.clone();
        let inputs = self.inputs.clone();
        let home = Arc::new(NodeHome { root, devices, device_process, inputs });
        let family = Family::new(kin.root, rules, programs, home);
        self.families.retain(|_, (family, _)| family.strong_count() > 0);
        self.families.insert(kin.root, (Arc::downgrade(&family), description.clone()));
        Ok(family)
    }

    /// What the family of a process may use of this node's CPUs.
    pub(super) fn share_of(&self, pid: Pid) -> Option<Arc<Share>> {
        let (family, _) = self.families.get(&self.node.root_of(pid)?)?;
        family.upgrade()?.share()
    }

    /// A process has been spawned here.
    pub(super) fn born(&mut self, born: Born) {
        let Some((_, of)) = self.families.get(&born.root) else { return };
        let Some(kin) = &of.kin else { return };
        let description = Description {
            pid: born.pid,
            command: vec![born.program],
            code: Programs::name(born.wasm_hash, of.canonical_nan),
            started_unix_seconds: super::now_unix_seconds(),
            // What was said is said of the program that was started.
            memory_bytes_needed: 0,
            kin: Some(Kin { parent: born.parent, handler: born.handler, ..kin.clone() }),
            ..of.clone()
        };
        if !born.argument.is_empty() {
            self.arguments.insert(born.pid, born.argument);
        }
        let pid = description.pid;
        self.tell(Event::Born(description));
        // It may have been sampled before it was known.
        self.cores.sample_again(pid);
    }

    /// A process has begun to ask its origin.
    pub(super) fn asks(&mut self, pid: Pid, exchange: Arc<Exchange>) {
        self.exchanges.insert(pid, exchange);
    }
}

/// Families here: as long as somebody of them is, and a process of each, to describe others by.
pub(super) type Families = BTreeMap<Pid, (Weak<Family>, Description)>;

/// What members of a family get from this node.
struct NodeHome {
    root: Pid,
    /// Whoever has this name answers what they ask.
    devices: Option<String>,
    /// Or the origin; then this process can be sent to. Nobody: 0.
    device_process: Pid,
    inputs: Inputs,
}

impl Home for NodeHome {
    fn devices(&self, pid: Pid) -> Box<dyn Devices> {
        if let Some(name) = &self.devices {
            return Box::new(ServedDevices::new(name));
        }
        Box::new(LateDevices { pid, inputs: self.inputs.clone(), devices: OnceLock::new() })
    }

    fn device_server(&self) -> Option<DeviceServer> {
        let process = || (self.device_process.bits() != 0).then_some(self.device_process);
        match &self.devices {
            Some(name) => Some(DeviceServer::Named(name.clone().into_bytes())),
            None => process().map(DeviceServer::Process),
        }
    }

    fn lacks(&self, program: &str) {
        self.inputs.send(Input::NoProgram(self.root, program.to_owned()));
    }

    fn born(&self, birth: Birth<'_>) {
        self.inputs.send(Input::Born(Box::new(Born {
            pid: birth.pid,
            parent: birth.parent,
            root: self.root,
            wasm_hash: birth.code.hash(),
            program: birth.program.to_owned(),
            argument: Arc::clone(birth.argument),
            handler: birth.code.form() == Form::Handler,
        })));
    }
}

/// Devices that are made when they are first asked: most processes of a family never do.
struct LateDevices {
    pid: Pid,
    inputs: Inputs,
    devices: OnceLock<RemoteDevices>,
}

impl Devices for LateDevices {
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        request: &Request,
    ) -> Poll<Reply> {
        let LateDevices { pid: own, inputs, devices } = self;
        devices.get_or_init(|| {
            let exchange = exchange(*own, inputs.clone());
            inputs.send(Input::Asks(*own, Arc::clone(&exchange)));
            RemoteDevices::new(exchange)
        });
        match devices.get_mut() {
            Some(devices) => devices.poll_request(cx, pid, sequence, request),
            None => Poll::Ready(Reply::Failed(peripatos_abi::Errno::Io)),
        }
    }
}
