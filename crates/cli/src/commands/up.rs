//! `peri up`: this machine becomes a node.

use crate::commands::drain;
use crate::commands::migrate::time;
use crate::exit::{Code, End, Failure, Result, say};
use crate::size::Rate;
use crate::{output, place, signals};
use peripatos_cluster::limits::{
    KNOWS_ALL_MAX, LEASE_TTL_MAX, LEASE_TTL_MIN, LINK_IDLE, LINKS_KEPT, UNREACHABLE_AFTER_MIN,
};
use peripatos_cluster::{Fenced, Label, Labels, LeaseTerms};
use peripatos_engine::Backend;
use peripatos_host::control::RuntimeDirectory;
use peripatos_host::etcd::{EtcdError, EtcdOptions};
use peripatos_host::link::{Token, is_address, is_name};
use peripatos_host::node::{LeaseOptions, NodeDirectory, NodeError, NodeServer, Options};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::SIGTERM;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// Where a node listens unless it is told.
const LISTEN: &str = "127.0.0.1:0";
/// And if others are to find it on the network.
const LISTEN_FOUND: &str = "0.0.0.0:0";
/// What is given in place of an address for nodes that are to be found.
const AUTO: &str = "auto";

/// So long a node that is to end may take to answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);
/// So long a node whose lease is over may take to say so.
const LAST_WORDS_MAX: Duration = Duration::from_millis(200);

/// Runs a node: processes that are started here or elsewhere run on its cores.
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// What the node is called; else as this machine is
    #[arg(long)]
    name: Option<String>,
    /// Where other nodes reach it: HOST:PORT; 0.0.0.0:PORT is every address of this machine
    ///
    /// Else at 127.0.0.1 and a free port: from this machine only. With --join auto at every address and a free port.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// A node of the cluster to join, or auto; may be given several times: one that answers is enough
    ///
    /// auto: it announces itself on its local network (multicast DNS), and joins the nodes there that have the same token and do so, too. Who
    /// has not the token sees that here is a node, and at which address. It is up at once, alone if nobody is there yet, and looks on. Without a
    /// token it begins a cluster, and prints the token for the others.
    #[arg(long, value_name = "ADDR|auto")]
    join: Vec<String>,
    /// The cluster's token, which `peri up` printed on its first node
    #[arg(long, value_name = "TOKEN", env = "PERI_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// How many cores run processes; else as many as this machine has
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..=1024))]
    cores: Option<u16>,
    /// What this node is labelled with, for `peri run --on`; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Label>,
    /// How fast processes may leave this node, all together, with their programs: 100MB/s; 4MB/s at least. Else as fast as they can
    ///
    /// A process is not moved if carrying its memory would take longer than a minute so.
    #[arg(long, value_name = "RATE")]
    move_rate: Option<Rate>,
    /// On SIGTERM: how long what runs here may take to leave before the node ends: 0s, 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "25s")]
    drain_within: Duration,
    /// When another node says nothing: how long until those are told who wait for its processes; 500ms at least
    #[arg(long, value_name = "TIME", value_parser = unreachable_after, default_value = "3s")]
    unreachable_after: Duration,
    /// Have a lease in etcd, so that others know when this node is gone: its addresses, http://HOST:PORT, with commas between
    ///
    /// When the lease cannot be renewed in time the node ends, with all that runs on it. A node that starts needs an etcd that answers.
    #[arg(long, value_name = "URL", value_delimiter = ',', env = "PERI_ETCD")]
    etcd: Vec<String>,
    /// How long the lease is good: 6s to 1h. Without an answer of etcd the node ends a quarter earlier, and 2s at least
    #[arg(long, value_name = "TIME", value_parser = lease_terms, default_value = "10s", env = "PERI_ETCD_TTL", requires = "etcd")]
    etcd_ttl: LeaseTerms,
    /// Who signs for etcd: certificates in PEM, for https://…
    #[arg(long, value_name = "FILE", env = "PERI_ETCD_CA", requires = "etcd")]
    etcd_ca: Option<PathBuf>,
    /// The certificate that this node shows etcd, in PEM
    #[arg(long, value_name = "FILE", env = "PERI_ETCD_CERT", requires_all = ["etcd", "etcd_key"])]
    etcd_cert: Option<PathBuf>,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE", env = "PERI_ETCD_KEY", requires_all = ["etcd", "etcd_cert"])]
    etcd_key: Option<PathBuf>,
    /// What its keys in etcd begin with; the same for all nodes
    #[arg(
        long,
        value_name = "PREFIX",
        env = "PERI_ETCD_PREFIX",
        default_value = "/peripatos",
        requires = "etcd"
    )]
    etcd_prefix: String,
    /// Give and take no processes for the sake of the balance, until `peri balance on`
    #[arg(long)]
    no_balance: bool,
    /// The largest cluster in which each node tells all others how loaded it is; to try with few nodes what many do
    #[arg(long, value_name = "NODES", hide = true, default_value_t = KNOWS_ALL_MAX)]
    knows_all_max: usize,
    /// The largest cluster in which each node keeps links with all others; to try with few nodes what many do
    #[arg(long, value_name = "NODES", hide = true, default_value_t = LINKS_KEPT)]
    links_kept: usize,
    /// In a larger one: after how long a link that nobody needs is closed
    #[arg(long, value_name = "TIME", value_parser = time, hide = true)]
    link_idle: Option<Duration>,
    /// End when the command that started this one does
    #[arg(long, hide = true)]
    with_parent: bool,
}

pub(crate) fn run(options: &Up) -> Result<End> {
    let failed = |error: NodeError| {
        let code = match &error {
            NodeError::File { .. } | NodeError::Directory(_) => Code::Unreadable,
            NodeError::Running(_) | NodeError::Listen { .. } => Code::NoNode,
            NodeError::Identity(_) => Code::Unreadable,
            NodeError::Engine(_) => Code::Resources,
            NodeError::Etcd(EtcdError::Options(_)) => Code::Usage,
            NodeError::Etcd(EtcdError::File { .. }) => Code::Unreadable,
            NodeError::Etcd(_) => Code::Resources,
            NodeError::Removed { .. } | NodeError::Expired => Code::Refused,
            NodeError::Io(_) => Code::NoNode,
        };
        Failure::new(code, "up", error)
    };
    let drain_within = if options.with_parent { Duration::ZERO } else { options.drain_within };
    if options.with_parent {
        // Without it the parent has to end this one, and does unless it is killed.
        let _ = set_parent_process_death_signal(Some(Signal::TERM));
    }
    let token: Option<Token> = options
        .token
        .as_ref()
        .map(|token| token.parse())
        .transpose()
        .map_err(|error| Failure::new(Code::Usage, "--token", error))?;
    let discovers = options.join.iter().any(|one| one == AUTO);
    let join: Vec<String> = options.join.iter().filter(|one| *one != AUTO).cloned().collect();
    if let Some(address) = join.iter().find(|address| !is_address(address)) {
        let cause = "not an address; a node's is HOST:PORT";
        return Err(Failure::new(Code::Usage, address, cause));
    }
    let may_be_silent = options.etcd_ttl.fenced_after();
    if !options.etcd.is_empty() && options.unreachable_after > may_be_silent {
        let cause = format!("with this --etcd-ttl at most {} ms", may_be_silent.as_millis());
        return Err(Failure::new(Code::Usage, "--unreachable-after", cause));
    }
    let labels = Labels::new(options.label.iter().cloned())
        .map_err(|error| Failure::new(Code::Usage, "--label", error))?;
    let directory =
        RuntimeDirectory::open().map_err(|error| Failure::new(Code::Unreadable, "up", error))?;
    let name = match &options.name {
        Some(name) if is_name(name) => name.clone(),
        Some(name) => {
            let cause = "a node's name has 1 to 63 of: letters, digits, dot, dash, underscore";
            return Err(Failure::new(Code::Usage, name, cause));
        }
        None => free_name(&directory).map_err(failed)?,
    };
    if !join.is_empty() && token.is_none() && !NodeDirectory::is_member(&directory, &name) {
        let cause = "needs the cluster's token: --token, as `peri up` printed it on the first node";
        return Err(Failure::new(Code::Usage, "--join", cause));
    }
    let cores = options.cores.map_or_else(
        || thread::available_parallelism().map_or(1, std::num::NonZero::get),
        usize::from,
    );
    let options = Options {
        name: name.clone(),
        listen: options
            .listen
            .clone()
            .unwrap_or_else(|| if discovers { LISTEN_FOUND.to_owned() } else { LISTEN.to_owned() }),
        join,
        discovers,
        token,
        cores,
        move_bytes_per_s: options.move_rate.map(Rate::bytes_per_s),
        labels,
        unreachable_after: options.unreachable_after,
        balancing: !options.no_balance,
        knows_all_max: options.knows_all_max,
        links_kept: options.links_kept,
        link_idle: options.link_idle.unwrap_or(LINK_IDLE),
        lease: lease(options),
    };
    let make_runtime = Box::new(|canonical| place::engine(Backend::Native, canonical));
    let server = NodeServer::start(options, &directory, make_runtime).map_err(failed)?;
    let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    let text = format!(
        "node {name} is up at {}, {cores}; another machine joins with\n\
         peri up --join {} --token {}\n",
        server.address(),
        if discovers { AUTO } else { server.address() },
        server.token().map_or_else(|| "TOKEN".to_owned(), ToString::to_string)
    );
    output::print(&text).map_err(|error| Failure::new(Code::Storage, "standard output", error))?;
    signals::broken_pipes_are_errors();
    let socket = server.socket();
    let terminated = Arc::new(AtomicBool::new(false));
    let terminating = terminated.clone();
    signals::before_end(move |signal| {
        // Whoever presses Ctrl-C does not want to wait.
        if signal == SIGTERM && !drain_within.is_zero() {
            terminating.store(true, Ordering::Release);
            let (drained, done) = mpsc::channel();
            let drain = move || {
                drain::before_end(&socket, drain_within);
                let _ = drained.send(());
            };
            // Should the node not even answer, it ends all the same.
            if thread::Builder::new().name("drain".into()).spawn(drain).is_ok() {
                let _ = done.recv_timeout(drain_within + ANSWER_WAIT_MAX);
            }
        }
    });
    let ended = server.run(|line| say(line)).map_err(failed);
    while terminated.load(Ordering::Acquire) {
        // The signal ends this command; it was that which has ended the node.
        thread::park();
    }
    ended.map(|()| End::SUCCESS)
}

/// What follows from the options that are about etcd.
fn lease(options: &Up) -> Option<LeaseOptions> {
    if options.etcd.is_empty() {
        return None;
    }
    let etcd = EtcdOptions {
        urls: options.etcd.clone(),
        ca: options.etcd_ca.clone(),
        certificate: options.etcd_cert.clone().zip(options.etcd_key.clone()),
        prefix: options.etcd_prefix.clone(),
    };
    Some(LeaseOptions { etcd, terms: options.etcd_ttl, fenced })
}

/// The node's lease is over. Standard error may take nothing, and must not keep it alive.
fn fenced(why: &Fenced) -> ! {
    let line = format!("up: the node ends, with all that runs on it: {why}");
    let (said, done) = mpsc::channel();
    let says = move || {
        say(line);
        let _ = said.send(());
    };
    if thread::Builder::new().name("last-words".into()).spawn(says).is_ok() {
        let _ = done.recv_timeout(LAST_WORDS_MAX);
    }
    std::process::exit(Code::Fenced.number().into())
}

fn lease_terms(text: &str) -> std::result::Result<LeaseTerms, String> {
    let (least, most) = (LEASE_TTL_MIN.as_secs(), LEASE_TTL_MAX.as_secs());
    let terms = LeaseTerms::new(time(text)?);
    terms.ok_or_else(|| format!("whole seconds, from {least} to {most}"))
}

fn unreachable_after(text: &str) -> std::result::Result<Duration, String> {
    let given = time(text)?;
    let least = UNREACHABLE_AFTER_MIN;
    (given >= least).then_some(given).ok_or_else(|| format!("at least {} ms", least.as_millis()))
}

/// This machine's name, or that with a number where a node has it already.
fn free_name(directory: &RuntimeDirectory) -> std::result::Result<String, NodeError> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host = if is_name(&host) { host } else { "node".to_owned() };
    let taken = NodeDirectory::living(directory)?;
    let numbered = (2..).map(|number| format!("{host}-{number}"));
    let mut names = std::iter::once(host.clone()).chain(numbered);
    Ok(names.find(|name| !taken.contains(name)).unwrap_or(host))
}
