//! Nodes of one core each on this machine, for a demo or a bench: `peri up` as OS processes, in a private directory where no
//! other command looks for nodes. They end with this command, however it ends.

use crate::cluster;
use crate::exit::{Code, Failure, Result};
use peripatos_host::control::RuntimeDirectory;
use peripatos_host::node::{NodeClient, NodeDirectory};
use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

/// How another node joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    address: String,
    token: String,
}

impl Join {
    /// What `peri up` prints for the next node.
    fn parse(line: &str) -> Option<Join> {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["peri", "up", "--join", address, "--token", token] => {
                Some(Join { address: (*address).to_owned(), token: (*token).to_owned() })
            }
            _ => None,
        }
    }
}

/// The command that starts a node; its standard error is the caller's to direct.
pub(crate) fn command(name: &str, directory: &Path, join: Option<&Join>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["up", "--with-parent", "--cores", "1", "--name", name])
        .env("XDG_RUNTIME_DIR", directory)
        .env_remove("PERI_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if let Some(Join { address, token }) = join {
        // Command lines can be read by everybody on this machine, environments cannot.
        command.args(["--join", address]).env("PERI_TOKEN", token);
    }
    Ok(command)
}

/// Waits until the node that says this is up. `None`: it did not come up.
pub(crate) fn until_up(said: Option<ChildStdout>) -> Option<Join> {
    Join::parse(&BufReader::new(said?).lines().nth(1)?.ok()?)
}

/// A connection to the node of this name.
pub(crate) fn client(name: &str, directory: &Path) -> Result<NodeClient> {
    let failed = |error: &dyn Display| Failure::new(Code::Storage, name, error);
    let runtime = RuntimeDirectory::open_at(directory.join("peripatos"));
    let runtime = runtime.map_err(|error| failed(&error))?;
    let place = NodeDirectory::open(&runtime, name).map_err(|error| failed(&error))?;
    NodeClient::connect(&place.socket()).map_err(|error| cluster::failure(name, &error))
}

#[cfg(test)]
mod tests {
    use super::Join;

    #[test]
    fn the_line_for_the_next_node() {
        let join = Join { address: "127.0.0.1:7".into(), token: "abc".into() };
        assert_eq!(Join::parse("peri up --join 127.0.0.1:7 --token abc"), Some(join));
        assert_eq!(Join::parse("peri up --join"), None);
    }
}
