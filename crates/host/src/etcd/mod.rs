//! The little that a node asks of etcd: a lease, and whether another node's is still there.
//!
//! Over etcd's JSON gateway (`/v3/…`, since etcd 3.4), one request at a time. What is written:
//!
//! | key | value | |
//! |---|---|---|
//! | `PREFIX/alive/NODE/INCARNATION` | the node's name | goes with the lease |
//! | `PREFIX/started/NODE/INCARNATION` | the node's name | stays; of one node the last 16 |
//!
//! Both are put at once, and the first one never again: so where the second one is and the first one is not, that lease has expired. All
//! reads are linearizable, which is what etcd does unless it is told otherwise.

mod tls;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use peripatos_cluster::{Incarnation, LeaseState, LeaseTerms, NodeId, Time};
use serde_json::{Value, json};
use ureq::Agent;

use crate::fence;

/// Registrations of one node that are kept.
const KEPT: usize = 16;
/// And so many are deleted at a time: etcd takes 128 operations in one transaction.
const DELETED_MAX: usize = 100;
/// More bytes are no answer to anything that is asked here.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Longer no prefix is.
const PREFIX_BYTES_MAX: usize = 256;

/// Where etcd is, and who may speak to it.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// Its members' client addresses, `http://HOST:PORT` or `https://…`: one that answers is enough.
    pub urls: Vec<String>,
    /// Who signs for them: a file of certificates, in PEM. For `https` only.
    pub ca: Option<PathBuf>,
    /// A certificate and its key to show them, in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// What all keys begin with. All nodes of a cluster have the same.
    pub prefix: String,
}

/// What went wrong with etcd.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// It is not said where it is, or not as it should be.
    #[error("{0}")]
    Options(String),
    /// A file with certificates or a key cannot be used.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// None of its members answers. What was asked may have been done.
    #[error("no answer from etcd at {0}")]
    Unreachable(String),
    /// It answers that it does not.
    #[error("etcd at {url} refuses: {reason}")]
    Refused {
        /// Who.
        url: String,
        /// In its words.
        reason: String,
    },
    /// It answers something else.
    #[error("this is no answer of etcd: {0}")]
    Malformed(String),
}

/// See the module.
pub(crate) struct Client {
    agent: Agent,
    urls: Vec<String>,
    /// The one that has answered last.
    good: AtomicUsize,
    prefix: String,
}

/// A lease's number in etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseId(i64);

impl Client {
    /// Each request to one member may take so long; nothing is sent yet.
    pub(crate) fn new(options: &EtcdOptions, answer_max: Duration) -> Result<Client, EtcdError> {
        let urls: Vec<String> =
            options.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        let is_url = |url: &&String| {
            let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
        };
        if let Some(url) = urls.iter().find(|url| !is_url(url)) {
            let text = format!("{url:?} is no address of etcd: http://HOST:PORT or https://…");
            return Err(EtcdError::Options(text));
        }
        if urls.is_empty() {
            return Err(EtcdError::Options("no address of etcd is given".to_owned()));
        }
        let prefix = options.prefix.trim_end_matches('/').to_owned();
        if prefix.is_empty() || prefix.len() > PREFIX_BYTES_MAX {
            let text = format!("a prefix of keys has 1 to {PREFIX_BYTES_MAX} bytes");
            return Err(EtcdError::Options(text));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(answer_max))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None);
        let secured = urls.iter().any(|url| url.starts_with("https://"));
        let config = match tls::config(options, secured)? {
            Some(tls) => config.tls_config(tls),
            None => config,
        };
        Ok(Client { agent: config.build().into(), urls, good: AtomicUsize::new(0), prefix })
    }

    /// A new lease, and when the request for it was sent.
    pub(crate) fn grant(&self, terms: LeaseTerms) -> Result<(LeaseId, Time), EtcdError> {
        let seconds = terms.ttl().as_secs();
        let (said, sent) = self.ask("lease/grant", &json!({ "TTL": seconds.to_string() }))?;
        let granted = number(&said, "TTL").unwrap_or_default();
        match number(&said, "ID") {
            Some(id) if granted >= seconds as i64 => Ok((LeaseId(id), sent)),
            _ => Err(EtcdError::Malformed(said.to_string())),
        }
    }

    /// Renews a lease; when the request that did was sent. `None`: it is not there any more.
    pub(crate) fn keep_alive(
        &self,
        lease: LeaseId,
        terms: LeaseTerms,
    ) -> Result<Option<Time>, EtcdError> {
        let (said, sent) = self.ask("lease/keepalive", &json!({ "ID": lease.0.to_string() }))?;
        let result = &said["result"];
        if number(result, "ID") != Some(lease.0) {
            return Err(EtcdError::Malformed(said.to_string()));
        }
        // 0 is left out.
        match number(result, "TTL").unwrap_or_default() {
            ..=0 => Ok(None),
            ttl if ttl >= terms.ttl().as_secs() as i64 => Ok(Some(sent)),
            _ => Err(EtcdError::Malformed(said.to_string())),
        }
    }

    /// Gives a lease back: it has expired.
    pub(crate) fn revoke(&self, lease: LeaseId) -> Result<(), EtcdError> {
        self.ask("lease/revoke", &json!({ "ID": lease.0.to_string() })).map(drop)
    }

    /// Writes down that this OS process of a node has that lease.
    pub(crate) fn register(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        name: &str,
        lease: LeaseId,
    ) -> Result<(), EtcdError> {
        let [alive, started] = self.keys(node, incarnation);
        let name = BASE64_STANDARD.encode(name);
        let puts = json!({ "success": [
            { "request_put": { "key": alive, "value": name, "lease": lease.0.to_string() } },
            { "request_put": { "key": started, "value": name } },
        ] });
        let (said, _) = self.ask("kv/txn", &puts)?;
        if said["succeeded"] != json!(true) {
            return Err(EtcdError::Malformed(said.to_string()));
        }
        // Where that fails the next start does it.
        let _ = self.forget_oldest(node);
        Ok(())
    }

    /// Whether that OS process of a node lives, by its lease.
    pub(crate) fn state(
        &self,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Result<LeaseState, EtcdError> {
        let [alive, started] = self.keys(node, incarnation);
        let ranges = [started, alive].map(|key| json!({ "request_range": { "key": key } }));
        let (said, _) = self.ask("kv/txn", &json!({ "success": ranges }))?;
        let Some([started, alive]) = said["responses"].as_array().map(Vec::as_slice) else {
            return Err(EtcdError::Malformed(said.to_string()));
        };
        let is_there = |answer: &Value| {
            let range = &answer["response_range"];
            // An answer to something else must not look like nothing.
            let whole = range["header"].is_object();
            whole.then(|| number(range, "count").unwrap_or_default() > 0)
        };
        match (is_there(started), is_there(alive)) {
            (Some(registered), Some(held)) => Ok(LeaseState::of(registered, held)),
            _ => Err(EtcdError::Malformed(said.to_string())),
        }
    }

    /// Only the last registrations of a node are kept.
    fn forget_oldest(&self, node: NodeId) -> Result<(), EtcdError> {
        let begin = format!("{}/started/{node}/", self.prefix);
        let range = json!({
            "key": BASE64_STANDARD.encode(&begin),
            "range_end": BASE64_STANDARD.encode(begin.trim_end_matches('/').to_owned() + "0"),
            "keys_only": true,
            "sort_target": "CREATE",
            "sort_order": "ASCEND",
        });
        let (said, _) = self.ask("kv/range", &range)?;
        let kvs = said["kvs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let old = kvs.iter().take(kvs.len().saturating_sub(KEPT)).take(DELETED_MAX);
        let deletes: Vec<Value> =
            old.map(|kv| json!({ "request_delete_range": { "key": kv["key"] } })).collect();
        if deletes.is_empty() {
            return Ok(());
        }
        self.ask("kv/txn", &json!({ "success": deletes })).map(drop)
    }

    fn keys(&self, node: NodeId, incarnation: Incarnation) -> [String; 2] {
        ["alive", "started"].map(|what| {
            BASE64_STANDARD.encode(format!("{}/{what}/{node}/{incarnation}", self.prefix))
        })
    }

    /// Asks one member after the other until one answers, the last good one first. Its answer, and when it was asked.
    fn ask(&self, what: &str, question: &Value) -> Result<(Value, Time), EtcdError> {
        let first = self.good.load(Ordering::Relaxed);
        let mut failed = None;
        for at in (0..self.urls.len()).map(|turn| (first + turn) % self.urls.len()) {
            let sent = fence::now();
            match self.ask_one(&self.urls[at], what, question) {
                Ok(said) => {
                    self.good.store(at, Ordering::Relaxed);
                    return Ok((said, sent));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| EtcdError::Options("no address of etcd".to_owned())))
    }

    fn ask_one(&self, url: &str, what: &str, question: &Value) -> Result<Value, EtcdError> {
        let unreachable =
            |cause: &dyn std::fmt::Display| EtcdError::Unreachable(format!("{url}: {cause}"));
        let asked = self.agent.post(format!("{url}/v3/{what}"));
        let asked = asked.content_type("application/json").send(question.to_string());
        let mut answer = asked.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| unreachable(&error))?;
        let said: Option<Value> = serde_json::from_str(text.trim()).ok();
        let error = said.as_ref().and_then(|said| {
            let error = said.get("error")?;
            Some(error.as_str().or(error["message"].as_str()).unwrap_or("error").to_owned())
        });
        if let Some(reason) = error.or((!status.is_success()).then(|| status.to_string())) {
            return Err(EtcdError::Refused { url: url.to_owned(), reason });
        }
        said.ok_or_else(|| EtcdError::Malformed(text.chars().take(200).collect()))
    }
}

/// The gateway writes 64-bit numbers as text, and leaves out 0.
fn number(from: &Value, name: &str) -> Option<i64> {
    let value = &from[name];
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests;
