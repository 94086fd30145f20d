//! Both ends of links in one OS process, over loopback.

use super::*;
use careless::Careless;
use peripatos_cluster::{Certified, Incarnation, Labels, Proof};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

mod careless;

/// Far more than any test takes: a link that hangs is a failure, not a test without an end.
const TEST_SECONDS_MAX: u64 = 120;

async fn bounded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(TEST_SECONDS_MAX), test).await.expect("a test ends")
}

fn node(token: &Token) -> Credentials {
    certified(token, SystemTime::now())
}

/// A node whose certificate was made at this time.
fn certified(token: &Token, at: SystemTime) -> Credentials {
    Credentials::new(&token.clone().into(), &NodeKey::generate().unwrap(), at).unwrap()
}

fn hello(name: &str) -> Hello {
    Hello {
        versions: Versions::OWN,
        incarnation: Incarnation(7),
        name: name.into(),
        address: String::new(),
        cores: 1,
        labels: Labels::default(),
        host: HostIdentity::own().unwrap(),
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// The two ends of one connection.
async fn connection() -> (TcpStream, TcpStream) {
    let (listener, address) = listen().await;
    let (near, far) = tokio::join!(TcpStream::connect(&address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// What both ends say when one dials the other.
async fn meet(
    dialling: &Credentials,
    answering: &Credentials,
) -> (Result<Link, LinkError>, Result<Link, LinkError>) {
    let (listener, address) = listen().await;
    let (from, to) = (hello("from"), hello("to"));
    bounded(async {
        tokio::join!(connect(&address, dialling, &from), async {
            accept(listener.accept().await.unwrap().0, answering, &to).await
        })
    })
    .await
}

#[track_caller]
fn refused(result: Result<Link, LinkError>, expected: &str) {
    let error = result.err().expect("no link").to_string();
    assert!(error.contains(expected), "{error} does not say {expected}");
}

#[tokio::test]
async fn two_nodes_talk() {
    let token = Token::generate().unwrap();
    let (one, two) = (node(&token), node(&token));
    let (from, to) = meet(&one, &two).await;
    let (from, to) = (from.unwrap(), to.unwrap());
    assert_eq!(from.peer, PeerHello { id: two.id, version: LINK_VERSION, hello: hello("to") });
    assert_eq!(to.peer, PeerHello { id: one.id, version: LINK_VERSION, hello: hello("from") });

    let ((mut from_reader, mut from_writer), (mut to_reader, mut to_writer)) =
        (from.split(), to.split());
    bounded(async {
        let question = Frame::Message(b"question".to_vec());
        from_writer.send(&question).await.unwrap();
        from_writer.flush().await.unwrap();
        assert_eq!(to_reader.next().await.unwrap(), question);
        let answer = Frame::Bulk { stream: 3, last: true, bytes: b"answer".to_vec() };
        to_writer.send(&answer).await.unwrap();
        to_writer.close().await.unwrap();
        assert_eq!(from_reader.next().await.unwrap(), answer);
        let end = from_reader.next().await;
        assert!(matches!(end, Err(LinkError::Frame(FrameError::Closed))));
    })
    .await;
}

#[tokio::test]
async fn another_token_is_refused_by_both() {
    let (one, two) = (node(&Token::generate().unwrap()), node(&Token::generate().unwrap()));
    let (from, to) = meet(&one, &two).await;
    refused(from, "most likely it has another token");
    refused(to, "most likely it has another token");
}

#[tokio::test]
async fn certificates_that_are_not_good_now_are_refused_by_name() {
    let (token, now) = (Token::generate().unwrap(), SystemTime::now());
    let node = certified(&token, now);
    // Far from the edges: the test takes a moment itself.
    let moment = Duration::from_secs(300);
    for good in
        [now - CERTIFICATE_LIFE + moment, now - CERTIFICATE_LIFE / 2, now + CLOCK_SKEW_MAX - moment]
    {
        let (from, to) = meet(&certified(&token, good), &node).await;
        assert!(from.is_ok() && to.is_ok(), "{good:?}");
    }
    for wrong in [now - CERTIFICATE_LIFE - moment, now + CLOCK_SKEW_MAX + moment] {
        let other = certified(&token, wrong);
        assert!(other.are_to_be_renewed(now) && !node.are_to_be_renewed(now));
        let theirs = "the other side's certificate is not good now; the clocks";
        let own = "says that this one's certificate is not good now; the clocks";
        let (from, to) = meet(&other, &node).await;
        refused(from, own);
        refused(to, theirs);
        let (from, to) = meet(&node, &other).await;
        refused(from, theirs);
        refused(to, own);
    }
}

#[tokio::test]
async fn a_token_is_rotated() {
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3_600));
    let first = Keyring::from(Token::generate().unwrap());
    let of =
        |keyring: &Keyring| Credentials::new(keyring, &NodeKey::generate().unwrap(), now).unwrap();
    let link = async |one: &Keyring, other: &Keyring| {
        for (from, to) in [(one, other), (other, one)] {
            let (from, to) = meet(&of(from), &of(to)).await;
            assert!(from.is_ok() && to.is_ok());
        }
    };
    let newcomer = |keyring: &Keyring| Keyring::from(keyring.token().clone());

    let graceful = first.rotated(hour, now).unwrap();
    link(&graceful, &first).await;
    link(&graceful, &graceful).await;
    link(&graceful, &newcomer(&graceful)).await;
    // Over, or there was none.
    for strict in
        [first.rotated(hour, now - 2 * hour).unwrap(), first.rotated(Duration::ZERO, now).unwrap()]
    {
        link(&strict, &strict).await;
        link(&strict, &newcomer(&strict)).await;
        let check = |(strict, old)| {
            refused(strict, "the other side has a token that was rotated");
            refused(old, "the cluster's token was rotated; `peri token show`");
        };
        let (from, to) = meet(&of(&first), &of(&strict)).await;
        check((to, from));
        check(meet(&of(&strict), &of(&first)).await);
        // Who has not heard of the last one yet, but of that before.
        let again = strict.rotated(hour, now).unwrap();
        link(&again, &strict).await;
        let (from, to) = meet(&of(&first), &of(&again)).await;
        refused(from, "another token");
        refused(to, "another token");
    }
}

#[tokio::test]
async fn who_has_no_token_is_signed_for() {
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3_600));
    let first = Keyring::from(Token::generate().unwrap());
    let (key, other) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let sign =
        |keyring: &Keyring, key: &NodeKey, at| keyring.certify(&key.public().unwrap(), at).unwrap();
    let own = Credentials::of(&sign(&first, &key, now - 13 * hour), &key).unwrap();
    assert!(own.are_to_be_renewed(now) && !own.are_over(now));
    assert!(Credentials::of(&sign(&first, &key, now - 25 * hour), &key).unwrap().are_over(now));
    assert!(Credentials::of(&sign(&first, &other, now), &key).is_err(), "another one's");

    // By the same authority, and by the one that follows it; then it has that one's nodes for its own.
    let strict = first.rotated(Duration::ZERO, now).unwrap();
    for (keyring, takes_old) in [(&first, true), (&strict, false)] {
        let renewed = own.renewed(&sign(keyring, &key, now), &key).unwrap();
        assert!(!renewed.are_to_be_renewed(now));
        let issuer = Credentials::new(keyring, &NodeKey::generate().unwrap(), now).unwrap();
        let (from, to) = meet(&renewed, &issuer).await;
        assert!(from.is_ok() && to.is_ok());
        let old = Credentials::new(&first, &other, now).unwrap();
        let (from, to) = meet(&renewed, &old).await;
        assert_eq!((from.is_ok(), to.is_ok()), (takes_old, takes_old));
    }

    let stranger = Keyring::from(Token::generate().unwrap());
    let theirs = sign(&stranger, &key, now);
    let ours = sign(&first, &key, now);
    let long = vec![vec![0; 5_000]];
    for wrong in [
        theirs.clone(),
        Certified { authority: theirs.authority.clone(), ..ours.clone() },
        Certified { authority: ours.authority.clone(), ..theirs.clone() },
        Certified { chain: [theirs.chain, ours.chain.clone()].concat(), ..ours.clone() },
        sign(&first, &other, now),
        sign(&first, &key, now - 25 * hour),
        Certified { chain: Vec::new(), ..ours.clone() },
        Certified { chain: [ours.chain.clone(), long].concat(), ..ours.clone() },
        Certified { authority: b"none".to_vec(), ..ours },
    ] {
        assert!(own.renewed(&wrong, &key).is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_removed_node_hears_so_and_nothing_else() {
    let token = Token::generate().unwrap();
    let (one, removed) = (node(&token), node(&token));
    let proof = Keyring::from(token.clone()).sign(Statement::Removed(removed.id)).unwrap();
    let one = one.refusing(BTreeMap::from([(removed.id, proof)]));
    let check = |(refusing, refused_one)| {
        refused(refusing, "that node was removed from the cluster");
        refused(refused_one, "this node was removed from the cluster");
    };
    let (dialled, answered) = meet(&removed, &one).await;
    check((answered, dialled));
    check(meet(&one, &removed).await);
    let (other, one) = meet(&node(&token), &one).await;
    assert!(other.is_ok() && one.is_ok());

    // Who only says so is not believed: whoever does not have the token could end all nodes.
    let stranger = Keyring::from(Token::generate().unwrap());
    for proof in [Proof::default(), stranger.sign(Statement::Removed(removed.id)).unwrap()] {
        let liar = node(&token).refusing(BTreeMap::from([(removed.id, proof)]));
        let (link, _) = meet(&removed, &liar).await;
        let error = link.err().expect("there is no link");
        assert!(!error.is_removal());
        assert!(error.to_string().contains("does not prove it"), "{error}");
    }
}

#[tokio::test]
async fn an_intruder_that_dials_gets_no_byte() {
    let token = Token::generate().unwrap();
    let certified = node(&Token::generate().unwrap());
    let check = async |client: ClientConfig| {
        let (near, far) = connection().await;
        let intruder = async {
            let name = ServerName::try_from(authority::SERVER_NAME).unwrap();
            let connector = TlsConnector::from(Arc::new(client));
            // For the dialling side the handshake may be over before it is refused.
            let mut stream = connector.connect(name, near).await?;
            stream.write_all(b"let me in").await?;
            let mut received = Vec::new();
            let end = stream.read_to_end(&mut received).await;
            assert_eq!(received, b"");
            end
        };
        let node = node(&token);
        let own = hello("own");
        let (intruder, link) =
            bounded(async { tokio::join!(intruder, accept(far, &node, &own)) }).await;
        intruder.expect_err("refused");
        refused(link, "not of this cluster");
    };
    check(Careless::client(Some(&certified))).await;
    check(Careless::client(None)).await;
}

#[tokio::test]
async fn an_intruder_that_is_dialled_gets_no_byte() {
    let certified = node(&Token::generate().unwrap());
    let (listener, address) = listen().await;
    let intruder = async {
        let acceptor = TlsAcceptor::from(Arc::new(Careless::server(&certified)));
        let stream = listener.accept().await.unwrap().0;
        let mut stream = acceptor.accept(stream).await?;
        let mut received = Vec::new();
        let end = stream.read_to_end(&mut received).await;
        assert_eq!(received, b"");
        end
    };
    let (node, own) = (node(&Token::generate().unwrap()), hello("own"));
    let (intruder, link) =
        bounded(async { tokio::join!(intruder, connect(&address, &node, &own)) }).await;
    intruder.expect_err("refused");
    refused(link, "not of this cluster");
}

#[tokio::test]
async fn plain_text_is_refused() {
    let (credentials, own) = (node(&Token::generate().unwrap()), hello("own"));
    let text = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let (mut near, far) = connection().await;
    near.write_all(text).await.unwrap();
    let link = bounded(accept(far, &credentials, &own)).await;
    refused(link, "does not speak the link protocol");
    let mut received = Vec::new();
    let _ = bounded(near.read_to_end(&mut received)).await;
    let alert = [21, 3, 3, 0, 2];
    assert!(received.is_empty() || received.starts_with(&alert) && received.len() == 7);

    let (listener, address) = listen().await;
    let server = async {
        let mut stream = listener.accept().await.unwrap().0;
        stream.write_all(b"SSH-2.0-OpenSSH\r\n").await.unwrap();
        stream
    };
    let (link, _stream) =
        bounded(async { tokio::join!(connect(&address, &credentials, &own), server) }).await;
    refused(link, "does not speak the link protocol");
}

#[tokio::test]
async fn a_hello_is_checked() {
    let token = Token::generate().unwrap();
    let check = async |sent: &[u8], expected: &str| {
        let (near, far) = connection().await;
        let (peer, node, own) = (node(&token), node(&token), hello("own"));
        let peer = async {
            let name = ServerName::try_from(authority::SERVER_NAME).unwrap();
            let connector = TlsConnector::from(peer.client.clone());
            let mut stream = connector.connect(name, near).await.unwrap();
            stream.write_all(sent).await.unwrap();
            stream.shutdown().await.unwrap();
            stream
        };
        let (_peer, link) = bounded(async { tokio::join!(peer, accept(far, &node, &own)) }).await;
        refused(link, expected);
    };
    let framed = |kind: u8, payload: &[u8]| {
        let length = (payload.len() as u32 + 1).to_le_bytes();
        [length.as_slice(), &[kind], payload].concat()
    };
    check(b"", "closed the link").await;
    check(b"\xff\xff\xff\xff\x02", "4294967294 bytes is too long").await;
    check(&framed(2, &[0; HELLO_BYTES_MAX + 1]), "4097 bytes is too long").await;
    check(&framed(2, b"PERILINK")[..9], "cut in the middle").await;
    check(&framed(9, b""), "kind 9").await;
    check(&framed(0, b"message"), "did not say hello").await;
    check(&framed(2, b"HELO localhost"), "did not say hello").await;
    check(&framed(2, b"PERILINK\x63\0\x62\0"), "speaks versions 98 to 99 of the link protocol")
        .await;
    check(&framed(2, b"PERILINK\x06\0"), "version 6 of the link protocol").await;
    let version = LINK_VERSION.to_le_bytes();
    let malformed = [&b"PERILINK"[..], &version, &version, b"garbage"].concat();
    check(&framed(2, &malformed), "malformed hello").await;
}

/// A hello as another release sends it: ours, with these versions, and what it has added.
fn hello_of(newest: u16, oldest: u16, added: &[u8]) -> Vec<u8> {
    let mut bytes = hello("other").encode().unwrap();
    bytes[8..10].copy_from_slice(&newest.to_le_bytes());
    bytes[10..12].copy_from_slice(&oldest.to_le_bytes());
    [&bytes, added].concat()
}

#[tokio::test]
async fn adjacent_releases_talk_and_others_are_refused_by_name() {
    let token = Token::generate().unwrap();
    let meets = async |said: Vec<u8>| {
        let (near, far) = connection().await;
        let (other, node, own) = (node(&token), node(&token), hello("own"));
        let other = async {
            let name = ServerName::try_from(authority::SERVER_NAME).unwrap();
            let connector = TlsConnector::from(other.client.clone());
            let stream = connector.connect(name, near).await.unwrap();
            let mut frames = FrameWriter::new(stream);
            frames.send(&Frame::Hello(said)).await.unwrap();
            frames.flush().await.unwrap();
            frames
        };
        bounded(async { tokio::join!(other, accept(far, &node, &own)) }).await.1
    };
    let next = meets(hello_of(LINK_VERSION + 1, LINK_VERSION, b"a field more")).await.unwrap();
    assert_eq!((next.peer.version, next.peer.hello.name.as_str()), (LINK_VERSION, "other"));
    let same = meets(hello_of(LINK_VERSION, LINK_VERSION_OLDEST, b"")).await.unwrap();
    assert_eq!(same.peer.version, LINK_VERSION);
    refused(meets(hello_of(LINK_VERSION, LINK_VERSION_OLDEST, b"more")).await, "malformed hello");
    let apart = meets(hello_of(LINK_VERSION + 2, LINK_VERSION + 1, b"")).await;
    refused(apart, "this one is the older release");
    refused(
        meets(hello_of(LINK_VERSION_OLDEST - 1, 0, b"")).await,
        "the other one is the older release",
    );
}

#[tokio::test]
async fn an_invalid_hello_of_our_own_is_not_sent() {
    let (one, own) = (node(&Token::generate().unwrap()), hello("not good"));
    refused(bounded(connect("no address", &one, &own)).await, "the name is not valid");
    let (_near, far) = connection().await;
    refused(bounded(accept(far, &one, &own)).await, "the name is not valid");
}

#[tokio::test]
async fn a_peer_that_hangs_up_early_is_noticed() {
    let (one, own) = (node(&Token::generate().unwrap()), hello("own"));
    let (near, far) = connection().await;
    drop(near);
    refused(bounded(accept(far, &one, &own)).await, "broke before the link was made");
}

#[tokio::test]
async fn a_node_does_not_link_with_itself() {
    let one = node(&Token::generate().unwrap());
    let (from, to) = meet(&one, &one).await;
    refused(from, "this node's own");
    refused(to, "this node's own");
}

#[tokio::test]
async fn nobody_there() {
    let (one, own) = (node(&Token::generate().unwrap()), hello("own"));
    let (listener, address) = listen().await;
    drop(listener);
    refused(bounded(connect(&address, &one, &own)).await, &format!("cannot reach {address}"));
    refused(bounded(connect("no address", &one, &own)).await, "cannot reach no address");
}

#[tokio::test]
async fn a_silent_peer_is_not_waited_for() {
    let (one, own) = (node(&Token::generate().unwrap()), hello("own"));
    let (near, far) = connection().await;
    refused(within(Duration::ZERO, answer(far, &one, &own)).await, "no link within");
    drop(near);
    let (_listener, address) = listen().await;
    refused(within(Duration::ZERO, dial(&address, &one, &own)).await, "no link within");
}

#[tokio::test]
async fn a_peer_that_dies_in_a_frame_is_noticed() {
    let token = Token::generate().unwrap();
    let (from, to) = meet(&node(&token), &node(&token)).await;
    let (_from_reader, mut from_writer) = from.unwrap().split();
    let (mut to_reader, to_writer) = to.unwrap().split();
    bounded(async {
        // More than all buffers on the way take: the frame cannot be sent as a whole before it is read.
        let long = vec![0; PAYLOAD_BYTES_MAX];
        let sending = async {
            for _ in 0..64 {
                from_writer.send_bulk(1, false, &long).await?;
            }
            Ok::<_, LinkError>(())
        };
        // The future that sends is dropped half way, and the link with it.
        tokio::select! {
            biased;
            sent = sending => sent.unwrap(),
            read = to_reader.next() => drop(read.unwrap()),
        }
        drop((_from_reader, from_writer));
        let end = loop {
            match to_reader.next().await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(end, LinkError::Frame(FrameError::Cut)), "{end}");
        drop(to_writer);
    })
    .await;
}

/// Bytes that repeat nowhere near a chunk's or record's length.
fn bulk_byte(seed: u8, at: usize) -> u8 {
    (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0] ^ seed
}

async fn send_all(mut writer: LinkWriter, bytes: &[u8], chunk: usize) -> LinkWriter {
    let count = bytes.len().div_ceil(chunk);
    for (index, piece) in bytes.chunks(chunk).enumerate() {
        writer.send_bulk(5, index + 1 == count, piece).await.unwrap();
    }
    writer.flush().await.unwrap();
    writer
}

async fn receive_all(mut reader: LinkReader) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match reader.next().await.unwrap() {
            Frame::Bulk { stream: 5, last, bytes } => {
                all.extend_from_slice(&bytes);
                if last {
                    return all;
                }
            }
            other => panic!("not sent: {other:?}"),
        }
    }
}

#[tokio::test]
async fn bulk_goes_both_ways_at_once() {
    let token = Token::generate().unwrap();
    let (from, to) = meet(&node(&token), &node(&token)).await;
    let ((from_reader, from_writer), (to_reader, to_writer)) =
        (from.unwrap().split(), to.unwrap().split());
    let bytes = |seed| (0..64 << 20).map(|at| bulk_byte(seed, at)).collect::<Vec<_>>();
    let (there, back) = (bytes(1), bytes(2));
    let (_writers, arrived_there, arrived_back) = bounded(async {
        tokio::join!(
            async {
                tokio::join!(
                    send_all(from_writer, &there, BULK_CHUNK_BYTES),
                    send_all(to_writer, &back, PAYLOAD_BYTES_MAX)
                )
            },
            receive_all(to_reader),
            receive_all(from_reader)
        )
    })
    .await;
    assert!(arrived_there == there);
    assert!(arrived_back == back);
}
