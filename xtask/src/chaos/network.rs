//! The network between machines: namespaces with an address each, whose cables lead to a switch; or, where no namespace can
//! be made, the loopback interface, where no cable can be pulled.

use anyhow::{Context as _, Result, bail};
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// The switch that all cables lead to, and the one for those that are on a network of their own.
const SWITCHES: [&str; 2] = ["left", "right"];
/// A machine's end of its cable.
const CABLE: &str = "eth0";

/// How machines are joined.
pub(super) enum Network {
    /// Namespaces; dropped, they go.
    Cables(Cables),
    /// One address for all; why there is no namespace.
    Loopback { why: String, ports: Vec<u16> },
}

/// Namespaces of machines, and one with the switches. A word for all their names.
pub(super) struct Cables {
    name: String,
    machines: usize,
}

impl Network {
    /// Errors: not even a port of the loopback interface can be had.
    pub(super) fn new(machines: usize, loopback: bool) -> Result<Network> {
        let why = if loopback {
            "so it was asked for".to_owned()
        } else {
            match Cables::new(machines) {
                Ok(cables) => return Ok(Network::Cables(cables)),
                Err(error) => format!("{error:#}"),
            }
        };
        // All at once, so that they differ.
        let listeners = (0..machines).map(|_| TcpListener::bind("127.0.0.1:0"));
        let listeners: Vec<TcpListener> = listeners.collect::<Result<_, _>>()?;
        let ports = listeners.iter().map(|one| one.local_addr().map(|address| address.port()));
        Ok(Network::Loopback { why, ports: ports.collect::<Result<_, _>>()? })
    }

    pub(super) fn cables(&self) -> Option<&Cables> {
        match self {
            Network::Cables(cables) => Some(cables),
            Network::Loopback { .. } => None,
        }
    }

    /// Where the node of a machine listens.
    pub(super) fn address(&self, machine: usize) -> String {
        match self {
            Network::Cables(_) => format!("10.77.0.{}:7000", machine + 1),
            Network::Loopback { ports, .. } => format!("127.0.0.1:{}", ports[machine]),
        }
    }

    /// A program on a machine. In a namespace it is in a pid namespace, too: nobody there sees more of another machine than
    /// real ones do.
    pub(super) fn command(&self, machine: usize, program: &str) -> Command {
        match self {
            Network::Cables(cables) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &cables.namespace(machine)]);
                command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
                command.arg(program);
                command
            }
            Network::Loopback { .. } => Command::new(program),
        }
    }
}

impl Cables {
    fn new(machines: usize) -> Result<Cables> {
        let cables = Cables { name: format!("chaos{}", std::process::id()), machines };
        // What was made until something failed goes with `cables`.
        let switch = cables.switch();
        ip(&["netns", "add", &switch])?;
        for name in SWITCHES {
            ip(&["-n", &switch, "link", "add", "name", name, "type", "bridge"])?;
            ip(&["-n", &switch, "link", "set", name, "up"])?;
        }
        for machine in 0..machines {
            let (namespace, port) = (cables.namespace(machine), port(machine));
            ip(&["netns", "add", &namespace])?;
            let ends = ["link", "add", "name", CABLE, "netns", &namespace, "type", "veth"];
            ip(&[&ends[..], &["peer", "name", &port, "netns", &switch]].concat())?;
            ip(&["-n", &switch, "link", "set", &port, "master", SWITCHES[0], "up"])?;
            let address = format!("10.77.0.{}/24", machine + 1);
            ip(&["-n", &namespace, "addr", "add", &address, "dev", CABLE])?;
            ip(&["-n", &namespace, "link", "set", CABLE, "up"])?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        }
        run("unshare", &["--pid", "--fork", "--mount-proc", "true"])?;
        Ok(cables)
    }

    fn namespace(&self, machine: usize) -> String {
        format!("{}-{machine}", self.name)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }

    pub(super) fn pull(&self, machine: usize) -> Result<()> {
        ip(&["-n", &self.switch(), "link", "set", &port(machine), "down"])
    }

    pub(super) fn plug(&self, machine: usize) -> Result<()> {
        ip(&["-n", &self.switch(), "link", "set", &port(machine), "up"])
    }

    /// Another switch than the others', or that.
    pub(super) fn apart(&self, machine: usize, apart: bool) -> Result<()> {
        let switch = SWITCHES[usize::from(apart)];
        ip(&["-n", &self.switch(), "link", "set", &port(machine), "master", switch])
    }

    /// Nothing that the machine sends leaves it: a queue without a place.
    pub(super) fn mute(&self, machine: usize) -> Result<()> {
        self.queue(machine, &["replace"], &["pfifo", "limit", "0"])
    }

    /// Late and lossy: by netem, or, where the kernel does not have it, by a narrow line with a short queue.
    pub(super) fn worsen(&self, machine: usize) -> Result<()> {
        let netem = ["netem", "delay", "30ms", "20ms", "loss", "3%"];
        self.queue(machine, &["replace"], &netem).or_else(|_| {
            let narrow = ["tbf", "rate", "2mbit", "burst", "3k", "limit", "12k"];
            self.queue(machine, &["replace"], &narrow)
        })
    }

    /// As it was before [`Cables::mute`] or [`Cables::worsen`].
    pub(super) fn clear(&self, machine: usize) -> Result<()> {
        self.queue(machine, &["del"], &[])
    }

    fn queue(&self, machine: usize, how: &[&str], queue: &[&str]) -> Result<()> {
        let namespace = self.namespace(machine);
        let mut words = vec!["-n", &namespace, "qdisc"];
        words.extend(how);
        words.extend(["dev", CABLE, "root"]);
        words.extend(queue);
        run("tc", &words)
    }
}

impl Cables {
    /// Takes everything away.
    pub(super) fn remove(&self) {
        let machines = (0..self.machines).map(|machine| self.namespace(machine));
        for namespace in machines.chain([self.switch()]) {
            let _ = ip(&["netns", "del", &namespace]);
        }
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The switch's end of a cable.
fn port(machine: usize) -> String {
    format!("port{machine}")
}

fn ip(words: &[&str]) -> Result<()> {
    run("ip", words)
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{program} cannot be started"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{program} {}: {said}", words.join(" "));
    }
    Ok(())
}
