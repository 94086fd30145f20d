//! Finding the node that a command speaks to, and processes and nodes by what a user calls them.

use crate::exit::{Code, Failure, Result};
use peripatos_abi::Pid;
use peripatos_cluster::NodeId;
use peripatos_cluster::message::{ProcessRow, RowOfNode};
use peripatos_host::control::RuntimeDirectory;
use peripatos_host::link::{Token, is_address};
use peripatos_host::node::{ClientError, NodeClient, NodeDirectory};

/// Which node to speak to.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct At {
    /// The node to speak to, by name or address; else any that runs under this user
    #[arg(long, value_name = "NAME|ADDR", env = "PERI_AT")]
    pub(crate) at: Option<String>,
    /// The cluster's token, to speak to a node of another machine by its address
    #[arg(long, value_name = "TOKEN", env = "PERI_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl At {
    /// What names the node once more that was found so.
    fn again(&self, client: &NodeClient) -> At {
        self.named(self.at.as_deref().unwrap_or(client.name()))
    }

    fn named(&self, at: &str) -> At {
        At { at: Some(at.to_owned()), ..self.clone() }
    }

    /// Where a program is to be started: at this node, which was found so; or, if none was named and this one is being emptied,
    /// at another one. `anywhere`: also at one of another machine. What names it, and it.
    pub(crate) fn that_starts(
        &self,
        mut client: NodeClient,
        anywhere: bool,
    ) -> Result<(At, NodeClient)> {
        if self.at.is_some() {
            return Ok((self.again(&client), client));
        }
        let nodes = client.nodes().map_err(|error| failure("node", &error))?;
        if nodes.iter().any(|node| node.own && node.draining) {
            let directory = RuntimeDirectory::open().ok();
            let here = directory.and_then(|directory| NodeDirectory::living(&directory).ok());
            let here = here.unwrap_or_default();
            let takes = |node: &&RowOfNode| !node.own && node.reachable && !node.draining;
            let mut others: Vec<&RowOfNode> = nodes.iter().filter(takes).collect();
            others.sort_by_key(|node| (!here.contains(&node.name), node.cordoned));
            for other in others {
                let is_here = here.contains(&other.name);
                let at = self.named(if is_here { &other.name } else { &other.address });
                let found = if is_here || anywhere { at.find() } else { Ok(None) };
                if let Ok(Some(found)) = found
                    && found.node() == other.node
                {
                    return Ok((at, found));
                }
            }
        }
        // If it starts none either, it says why.
        Ok((self.again(&client), client))
    }

    /// The node. Errors: there is none, or it does not answer.
    pub(crate) fn connect(&self) -> Result<NodeClient> {
        self.find()?.ok_or_else(|| {
            Failure::new(
                Code::NoNode,
                "node",
                "none runs under this user; start one with `peri up`",
            )
        })
    }

    /// The same; `None` if none was named and none runs.
    pub(crate) fn find(&self) -> Result<Option<NodeClient>> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(Code::Unreadable, "nodes", error);
        let directory = RuntimeDirectory::open().map_err(|error| failed(&error))?;
        let names = NodeDirectory::living(&directory).map_err(|error| failed(&error))?;
        let connect = |name: &str| {
            let place = NodeDirectory::open(&directory, name).map_err(|error| failed(&error))?;
            NodeClient::connect(&place.socket()).map_err(|error| failure(name, &error))
        };
        let Some(wanted) = &self.at else {
            // One that has just ended may still be listed.
            return Ok(names.iter().find_map(|name| connect(name).ok()));
        };
        if names.contains(wanted) {
            return connect(wanted).map(Some);
        }
        for name in &names {
            let Ok(mut client) = connect(name) else { continue };
            let own = client.nodes().ok().and_then(|nodes| nodes.into_iter().find(|one| one.own));
            if own.is_some_and(|own| own.address == *wanted) {
                return Ok(Some(client));
            }
        }
        if is_address(wanted) {
            return self.elsewhere(wanted, &directory, &names).map(Some);
        }
        let known = match names.as_slice() {
            [] => "none runs; start one with `peri up`".to_owned(),
            names => format!("those that do: {}", names.join(", ")),
        };
        Err(Failure::new(
            Code::NoNode,
            wanted,
            format!("no node of this name or address runs under this user ({known})"),
        ))
    }
}

impl At {
    /// The node of another machine. A node that runs here may have the token.
    fn elsewhere(
        &self,
        address: &str,
        directory: &RuntimeDirectory,
        names: &[String],
    ) -> Result<NodeClient> {
        let given = self.token.as_ref().map(|token| token.parse::<Token>()).transpose();
        let given = given.map_err(|error| Failure::new(Code::Usage, "--token", error))?;
        let kept = || {
            names
                .iter()
                .find_map(|name| {
                    NodeDirectory::open(directory, name).ok()?.keyring().ok().flatten()
                })
                .map(|keyring| keyring.token().clone())
        };
        let token = given.or_else(kept).ok_or_else(|| {
            let cause =
                "a node of another machine wants the cluster's token: --token, or PERI_TOKEN";
            Failure::new(Code::Usage, address, cause)
        })?;
        NodeClient::connect_to(address, &token).map_err(|error| failure(address, &error))
    }
}

/// What a node said no to, as a failure.
pub(crate) fn failure(what: impl std::fmt::Display, error: &ClientError) -> Failure {
    let code = match error {
        ClientError::Refused(_) => Code::Refused,
        ClientError::BadProgram { kind, .. } => bad_program(*kind),
        ClientError::Unreachable(_)
        | ClientError::NoLink(_)
        | ClientError::Ended
        | ClientError::Silent
        | ClientError::Version(_)
        | ClientError::Protocol(_) => Code::NoNode,
    };
    Failure::new(code, what, error)
}

fn bad_program(kind: peripatos_host::node::protocol::BadProgram) -> Code {
    use peripatos_host::node::protocol::BadProgram;
    match kind {
        BadProgram::NotProgram => Code::NotProgram,
        BadProgram::UnknownImport => Code::UnknownImport,
        BadProgram::Resources => Code::Resources,
    }
}

/// A process by its whole pid or its short form, and the node that runs it.
pub(crate) fn process(client: &mut NodeClient, text: &str) -> Result<(Pid, NodeId)> {
    let listing = client.processes().map_err(|error| failure("node", &error))?;
    let nodes = client.nodes().map_err(|error| failure("node", &error))?;
    let means = |row: &&ProcessRow| {
        let pid = row.process.pid;
        text == pid.to_string() || text == format!("{pid:#}")
    };
    let found: Vec<&ProcessRow> = listing.processes.iter().filter(means).collect();
    match found.as_slice() {
        [one] => {
            let node = nodes.iter().find(|node| node.node == one.node).map(|node| node.node);
            Ok((one.process.pid, node.unwrap_or(one.node)))
        }
        [] => {
            let silent = match listing.silent.as_slice() {
                [] => String::new(),
                silent => format!("; not asked, for they do not answer: {}", silent.join(", ")),
            };
            let cause = format!("no such process in the cluster{silent}");
            Err(Failure::new(Code::NoProcess, text, cause))
        }
        several => {
            let pids: Vec<String> = several.iter().map(|row| row.process.pid.to_string()).collect();
            Err(Failure::new(Code::NoProcess, text, format!("could be any of {}", pids.join(", "))))
        }
    }
}

/// A node of the cluster by its name, its address or its id.
pub(crate) fn node(client: &mut NodeClient, text: &str) -> Result<RowOfNode> {
    let nodes = client.nodes().map_err(|error| failure("node", &error))?;
    let means = |node: &&RowOfNode| {
        let (short, long) = (format!("{:#}", node.node), node.node.to_string());
        text == node.name || text == node.address || text == short || text == long
    };
    let found: Vec<&RowOfNode> = nodes.iter().filter(means).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            let cause = format!("no such node (there are {})", names.join(", "));
            Err(Failure::new(Code::NoNode, text, cause))
        }
        several => {
            let ids: Vec<String> = several.iter().map(|node| format!("{:#}", node.node)).collect();
            Err(Failure::new(Code::NoNode, text, format!("could be any of {}", ids.join(", "))))
        }
    }
}
