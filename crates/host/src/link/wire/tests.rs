use super::super::lane::draw;
use super::*;
use peripatos_abi::Pid;
use peripatos_cluster::message::LaneCipher;
use peripatos_kernel::{Body, Bytes, Place, Toll};
use std::net::TcpListener;

/// Two ends of one connection that do not block.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    for end in [&near, &far] {
        end.set_nonblocking(true).unwrap();
    }
    (near, far)
}

/// A message of so many bytes.
fn packet(number: u64, len: usize) -> Packet {
    let place = |core| Place { node: u128::MAX - 1, core };
    let message = Bytes::from(vec![number as u8; len].as_slice());
    Packet {
        source: place(1),
        target: Some(place(2)),
        from: Pid::from_bits(3),
        to: Pid::from_bits(4),
        moved: 0,
        relays: 0,
        body: Body::Send { transaction: number, hop: 0, message },
        toll: Toll::default(),
    }
}

/// The bytes of a wire over which each of these goes as a record of its own.
fn sealed(lane: &Lane, packets: &[Packet]) -> Vec<Vec<u8>> {
    let mut sending = Sending::new(lane).unwrap();
    let mut records = vec![std::mem::take(&mut sending.bytes)];
    for packet in packets {
        assert!(sending.put(packet).unwrap());
        sending.seal().unwrap();
        records.push(std::mem::take(&mut sending.bytes));
    }
    records
}

/// What comes out of these bytes, which come in pieces of so many.
fn opened(lane: &Lane, bytes: &[u8], step: usize) -> Result<Vec<Packet>, WireError> {
    let (mut near, far) = connection();
    let mut receiving = Receiving::new(lane).unwrap();
    let mut packets = Vec::new();
    for piece in bytes.chunks(step) {
        near.write_all(piece).unwrap();
        while receiving.read(&far)? {
            receiving.take(&mut packets)?;
        }
    }
    Ok(packets)
}

#[test]
fn what_goes_in_comes_out() {
    for cipher in [LaneCipher::Aes128Gcm, LaneCipher::ChaCha20Poly1305] {
        let lane = Lane { cipher, ..draw().unwrap() };
        let packets = [packet(1, 0), packet(2, 65_536), packet(3, 32)];
        let bytes = sealed(&lane, &packets).concat();
        assert!(!bytes.windows(8).any(|window| window == [2; 8]), "it is sealed");
        for step in [7, 4096, bytes.len()] {
            assert!(opened(&lane, &bytes, step).unwrap() == packets);
        }
    }
}

#[test]
fn packets_share_a_record_until_it_is_full() {
    let lane = draw().unwrap();
    let (near, far) = connection();
    let mut sending = Sending::new(&lane).unwrap();
    let packets: Vec<Packet> = (0..1_000).map(|number| packet(number, 200)).collect();
    for packet in &packets {
        assert!(sending.put(packet).unwrap());
    }
    let gathered = sending.waiting();
    let records = sending.sealer.records();
    assert!((2..20).contains(&records), "{records} records of {gathered} bytes");
    let mut receiving = Receiving::new(&lane).unwrap();
    let mut got = Vec::new();
    while got.len() < packets.len() {
        sending.flush(&near).unwrap();
        receiving.read(&far).unwrap();
        receiving.take(&mut got).unwrap();
    }
    assert!(got == packets);
    assert_eq!(sending.waiting(), 0);
}

#[test]
fn whoever_takes_nothing_is_sent_no_more_than_a_limit() {
    let lane = draw().unwrap();
    let (near, far) = connection();
    let mut sending = Sending::new(&lane).unwrap();
    let mut taken = 0;
    let long = packet(0, 65_536);
    // The system has buffers, too.
    while taken < 10_000 && sending.put(&long).unwrap() {
        taken += 1;
        sending.flush(&near).unwrap();
    }
    assert!(taken < 10_000);
    assert!(sending.waiting() < BACKLOG_BYTES_MAX + 2 * RECORD_BYTES_MAX);
    // What was taken arrives as soon as the other side reads.
    let mut receiving = Receiving::new(&lane).unwrap();
    let mut got = Vec::new();
    while got.len() < taken {
        receiving.read(&far).unwrap();
        receiving.take(&mut got).unwrap();
        sending.flush(&near).unwrap();
    }
    assert_eq!(got.len(), taken);
    assert!(sending.put(&long).unwrap());
}

#[test]
fn what_was_not_sealed_so_is_refused() {
    let lane = draw().unwrap();
    let records = sealed(&lane, &[packet(1, 10), packet(2, 10)]);
    let [proof, one, two] = [0, 1, 2].map(|at| records[at].as_slice());
    let check = |parts: &[&[u8]], expected: &str| {
        let bytes = parts.concat();
        let error = opened(&lane, &bytes, bytes.len()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not say {expected}");
    };
    // Out of order, missing, repeated.
    check(&[proof, two, one], "forged");
    check(&[proof, two], "forged");
    check(&[proof, one, one], "forged");
    check(&[proof, proof], "forged");
    check(&[one], "forged");
    // Changed: the length, the first byte behind it, the last one.
    for at in [0, HEAD_BYTES, one.len() - 1] {
        let mut changed = one.to_vec();
        changed[at] ^= 1;
        check(&[proof, &changed, &[0; 2]], "forged");
    }
    check(&[&(RECORD_BYTES_MAX as u32 + 1).to_le_bytes()], "too long");
    check(&[b"GET / HTTP/1.1\r\n"], "too long");
    // Of another wire, or of the other direction of this one.
    let other = sealed(&draw().unwrap(), &[]);
    check(&[&other[0]], "forged");
}

#[test]
fn a_cut_is_told_and_nothing_of_half_a_record_is_believed() {
    let lane = draw().unwrap();
    let records = sealed(&lane, &[packet(1, 10), packet(2, 10)]);
    let bytes = records.concat();
    let (mut near, far) = connection();
    near.write_all(&bytes[..bytes.len() - 1]).unwrap();
    drop(near);
    let mut receiving = Receiving::new(&lane).unwrap();
    let mut packets = Vec::new();
    assert!(receiving.read(&far).unwrap());
    receiving.take(&mut packets).unwrap();
    assert!(packets == [packet(1, 10)]);
    assert!(matches!(receiving.read(&far), Err(WireError::Closed)));
}

/// A peer with the key that sends something else than packets.
#[test]
fn a_lying_peer_is_refused() {
    let lane = draw().unwrap();
    let check = |contents: &[&[u8]], expected: &str| {
        let mut sending = Sending::new(&lane).unwrap();
        for content in contents {
            sending.begin();
            sending.bytes.extend_from_slice(content);
            sending.seal().unwrap();
        }
        let error = opened(&lane, &sending.bytes, sending.bytes.len()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not say {expected}");
    };
    check(&[b"hello"], "no packet");
    let good = postcard::to_stdvec(&packet(1, 10)).unwrap();
    check(&[&good, &good[..good.len() - 1]], "no packet");
    check(&[&[&good[..], &[0xff; 3]].concat()], "no packet");
    let mut relayed = packet(1, 10);
    relayed.relays = u8::MAX;
    check(&[&postcard::to_stdvec(&relayed).unwrap()], "passed on 255 times");
    check(&[&postcard::to_stdvec(&packet(1, 65_537)).unwrap()], "65537 bytes");

    // It begins with a packet: it has the key, and does not keep to the rules.
    let mut sending = Sending::new(&lane).unwrap();
    sending.sealer = Sealer::new(&lane).unwrap();
    sending.bytes.clear();
    sending.put(&packet(1, 10)).unwrap();
    sending.seal().unwrap();
    let error = opened(&lane, &sending.bytes, sending.bytes.len()).unwrap_err().to_string();
    assert!(error.contains("does not begin"), "{error}");
}
