//! Against an etcd of this machine where there is one, and against what is none.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::*;

const NODE: NodeId = NodeId(7);
const TRIES_MAX: usize = 600;

/// An etcd of its own. Dropped, it ends.
struct Etcd {
    child: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Etcd {
    /// `None`: this machine has none.
    fn start() -> Option<Etcd> {
        Etcd::start_with("http", &[], |url| options(&[url]))
    }

    fn start_with(
        scheme: &str,
        words: &[String],
        options: impl FnOnce(&str) -> EtcdOptions,
    ) -> Option<Etcd> {
        let directory = tempfile::tempdir().unwrap();
        let ports = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [at, peers] = ports.map(|port| port.local_addr().unwrap().to_string());
        let (url, peers) = (format!("{scheme}://{at}"), format!("http://{peers}"));
        let started = Command::new("etcd")
            .arg("--data-dir")
            .arg(directory.path())
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            .args(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            eprintln!("passed over: there is no etcd on this machine");
            return None;
        };
        let mut etcd = Etcd { child, url, _directory: directory };
        let client = Client::new(&options(&etcd.url), Duration::from_secs(5)).unwrap();
        assert!((0..TRIES_MAX).any(|_| {
            thread::sleep(Duration::from_millis(50));
            client.state(NODE, Incarnation(0)).is_ok()
        }));
        assert!(etcd.child.try_wait().unwrap().is_none(), "another one has its port");
        Some(etcd)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn options(urls: &[&str]) -> EtcdOptions {
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    EtcdOptions { urls, ca: None, certificate: None, prefix: "/test".to_owned() }
}

fn client(urls: &[&str]) -> Client {
    Client::new(&options(urls), Duration::from_secs(5)).unwrap()
}

fn terms() -> LeaseTerms {
    LeaseTerms::new(Duration::from_secs(6)).unwrap()
}

#[test]
fn a_lease_is_held_until_it_is_given_back() {
    let Some(etcd) = Etcd::start() else { return };
    // The first address is nobody's.
    let client = client(&["http://127.0.0.1:9", &format!("{}/", etcd.url)]);
    let of = |incarnation| client.state(NODE, Incarnation(incarnation)).unwrap();
    assert_eq!(of(1), LeaseState::Unknown);
    let before = fence::now();
    let (lease, sent) = client.grant(terms()).unwrap();
    assert!(sent >= before && sent <= fence::now());
    assert_eq!(of(1), LeaseState::Unknown);
    client.register(NODE, Incarnation(1), "one", lease).unwrap();
    assert_eq!(of(1), LeaseState::Held);
    assert_eq!(of(2), LeaseState::Unknown);
    let renewed = client.keep_alive(lease, terms()).unwrap().expect("it is there");
    assert!(renewed >= sent);
    client.revoke(lease).unwrap();
    assert_eq!(of(1), LeaseState::Expired);
    assert_eq!(client.keep_alive(lease, terms()).unwrap(), None);
    let late = client.register(NODE, Incarnation(1), "one", lease);
    assert!(matches!(late, Err(EtcdError::Refused { .. })), "a lease that is over holds nothing");
    assert_eq!(of(1), LeaseState::Expired);
}

#[test]
fn a_lease_that_is_not_renewed_expires_and_the_last_registrations_are_kept() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url]);
    let (lease, _) = client.grant(terms()).unwrap();
    for incarnation in 0..KEPT as u64 + 3 {
        client.register(NODE, Incarnation(incarnation), "one", lease).unwrap();
    }
    let of = |incarnation| client.state(NODE, Incarnation(incarnation)).unwrap();
    assert_eq!(of(5), LeaseState::Held);
    assert!((0..TRIES_MAX).any(|_| {
        thread::sleep(Duration::from_millis(50));
        of(5) == LeaseState::Expired
    }));
    assert_eq!([2, 3].map(of), [LeaseState::Unknown, LeaseState::Expired]);
}

/// A certificate and its key in files, signed by that authority, or an authority.
fn certificate(
    at: &std::path::Path,
    name: &str,
    by: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>,
) -> (PathBuf, PathBuf, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let mut parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    if by.is_none() {
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let signed = match by {
        Some(by) => parameters.signed_by(&key, by),
        None => parameters.self_signed(&key),
    };
    let put = |end: &str, kind: &str, der: &[u8]| {
        let path = at.join(format!("{name}.{end}"));
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        let lines = lines.join("\n");
        let text = format!("-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n");
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = put("crt", "CERTIFICATE", signed.unwrap().der());
    let file = put("key", "PRIVATE KEY", key.serialized_der());
    (certificate, file, rcgen::Issuer::new(parameters, key))
}

#[test]
fn tls_shows_both_sides_who_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, _, authority) = certificate(directory.path(), "ca", None);
    let (server, server_key, _) = certificate(directory.path(), "server", Some(&authority));
    let (own, own_key, _) = certificate(directory.path(), "own", Some(&authority));
    let (other_ca, ..) = certificate(directory.path(), "other", None);
    let path = |path: &PathBuf| path.display().to_string();
    let words = ["--cert-file", &path(&server), "--key-file", &path(&server_key)];
    let proves = ["--client-cert-auth", "--trusted-ca-file", &path(&ca)];
    let words: Vec<String> = words.iter().chain(&proves).map(|word| (*word).to_owned()).collect();
    let with = |url: &str, ca: &PathBuf, certificate: Option<(PathBuf, PathBuf)>| EtcdOptions {
        ca: Some(ca.clone()),
        certificate,
        ..options(&[url])
    };
    let pair = || Some((own.clone(), own_key.clone()));
    let Some(etcd) = Etcd::start_with("https", &words, |url| with(url, &ca, pair())) else {
        return;
    };
    let asked = |options: EtcdOptions| {
        let client = Client::new(&options, Duration::from_secs(5)).unwrap();
        client.grant(terms())
    };
    asked(with(&etcd.url, &ca, pair())).unwrap();
    asked(with(&etcd.url, &ca, None)).expect_err("who is not proved is refused");
    asked(with(&etcd.url, &other_ca, pair())).expect_err("another authority proves nothing");
    let swapped = EtcdOptions { certificate: Some((own_key, own)), ..with(&etcd.url, &ca, None) };
    assert!(matches!(Client::new(&swapped, Duration::from_secs(5)), Err(EtcdError::File { .. })));
}

/// Answers each request with this, and says what was asked.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                let lower = line.to_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let _ = reader.take(length).read_to_end(&mut Vec::new());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    let answers = [
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"ID\":\"1\",\"TTL\":\"1\",\"result\":{\"ID\":\"1\",\"TTL\":\"2\"},\"responses\":[{},{}]}",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"result\":{\"ID\":\"2\"},\"responses\":[{\"response_range\":{\"header\":{}}}]}",
        "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n{\"result\":{\"ID\":\"1\"},\"responses\":[{\"response_range\":{\"header\":{}}},{\"response_range\":{\"header\":{}}}]}",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"error\":\"no leader\",\"result\":{\"ID\":\"1\"}}",
        "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9\r\nConnection: close\r\n\r\n{}",
        "SSH-2.0-OpenSSH\r\n",
    ];
    for answer in answers {
        let client = client(&[&answering(answer)]);
        client.grant(terms()).expect_err(answer);
        client.keep_alive(LeaseId(1), terms()).expect_err(answer);
        client.state(NODE, Incarnation(1)).expect_err(answer);
        client.register(NODE, Incarnation(1), "one", LeaseId(1)).expect_err(answer);
    }
    let error = client(&["http://127.0.0.1:9"]).grant(terms()).unwrap_err().to_string();
    assert!(error.starts_with("no answer from etcd at http://127.0.0.1:9: "), "{error}");
}

#[test]
fn options_that_cannot_be_are_refused() {
    let refused = |options: EtcdOptions, says: &str| {
        let error = Client::new(&options, Duration::from_secs(1)).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    };
    for url in ["", "localhost:2379", "http://", "ftp://host", "http://host/v3"] {
        refused(options(&[url]), "is no address of etcd");
    }
    refused(options(&[]), "no address");
    refused(EtcdOptions { prefix: "/".to_owned(), ..options(&["http://h"]) }, "prefix");
    refused(options(&["https://h"]), "needs the certificate");
    let file = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        file
    };
    let empty = file("no certificate\n");
    let ca = Some(empty.path().to_owned());
    refused(EtcdOptions { ca: ca.clone(), ..options(&["http://h"]) }, "none of its addresses");
    refused(EtcdOptions { ca, ..options(&["https://h"]) }, "there is no certificate in it");
    let ca = Some(empty.path().join("missing"));
    refused(EtcdOptions { ca, ..options(&["https://h"]) }, "missing: ");
}
