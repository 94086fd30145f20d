//! An etcd of a test's own, where this machine has one.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::until;

/// How often it is tried on other ports.
const STARTS_MAX: usize = 5;

/// Dropped, it ends.
pub(crate) struct Etcd {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Etcd {
    /// `None`: this machine has none.
    pub(crate) fn start() -> Option<Etcd> {
        for _ in 0..STARTS_MAX {
            let mut etcd = Etcd::start_once()?;
            let mut ended = false;
            until(&|| "etcd does not answer".into(), |_| {
                let answers = etcd.count("/").is_some();
                // Somebody else may have taken its port meanwhile, another etcd for one.
                ended = etcd.child.try_wait().unwrap().is_some();
                answers || ended
            });
            if !ended {
                return Some(etcd);
            }
        }
        panic!("etcd ends again and again");
    }

    fn start_once() -> Option<Etcd> {
        let directory = tempfile::tempdir().unwrap();
        let ports = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [address, peers] = ports.map(|port| port.local_addr().unwrap().to_string());
        let (url, peers) = (format!("http://{address}"), format!("http://{peers}"));
        let started = Command::new("etcd")
            .arg("--data-dir")
            .arg(directory.path())
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            eprintln!("passed over: there is no etcd on this machine");
            return None;
        };
        Some(Etcd { child, address, _directory: directory })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How many OS processes of nodes have a lease.
    pub(crate) fn alive(&self) -> usize {
        self.count("/peripatos/alive/").expect("etcd answers")
    }

    /// How many of this node, by its id.
    pub(crate) fn alive_of(&self, id: &str) -> usize {
        self.count(&format!("/peripatos/alive/{id}/")).expect("etcd answers")
    }

    /// How many keys begin with this, which ends with a slash.
    fn count(&self, prefix: &str) -> Option<usize> {
        let end = format!("{}0", prefix.trim_end_matches('/'));
        let [begin, end] = [prefix, &end].map(|key| base64(key.as_bytes()));
        let body = format!(r#"{{"key":"{begin}","range_end":"{end}","count_only":true}}"#);
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let head = "POST /v3/kv/range HTTP/1.0\r\nContent-Length: ";
        write!(stream, "{head}{}\r\n\r\n{body}", body.len()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let json = answer.split_once("\r\n\r\n")?.1;
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        value["header"].is_object().then_some(())?;
        // 0 is left out.
        Some(value["count"].as_str().map_or(0, |count| count.parse().unwrap()))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let number = number << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { digit.into() } else { '=' });
        }
    }
    text
}
