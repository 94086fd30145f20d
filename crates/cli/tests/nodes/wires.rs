//! Wires: connections of the cores' own, beside a link. They may be cut, and a peer may lie about them.

use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use peripatos_cluster::message::{Lane, LaneCipher, Message, Wire};

use crate::fake::Fake;
use crate::program::Program;
use crate::support::{Cluster, until};
use crate::talking::{COUNTER, CUSTOMER, exits, run};

/// Stands between two nodes, and passes on what either says.
struct Between {
    address: String,
    wires: Arc<Mutex<Wires>>,
}

/// What it sees of wires.
#[derive(Default)]
struct Wires {
    open: Vec<TcpStream>,
    made: usize,
    bytes: usize,
}

impl Between {
    /// In front of this address.
    fn new(target: String) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let wires = Arc::<Mutex<Wires>>::default();
        let seen = Arc::clone(&wires);
        // It ends with the test's process.
        thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(&target)) else { return };
                let seen = Arc::clone(&seen);
                thread::spawn(move || pass(&near, &far, &seen));
            }
        });
        Between { address, wires }
    }

    /// Waits until wires have carried so much since they were cut last, and cuts them.
    fn cut_after(&self, bytes: usize, logs: &dyn Fn() -> String) {
        until(logs, |_| self.wires.lock().unwrap().bytes > bytes);
        let mut wires = self.wires.lock().unwrap();
        wires.bytes = 0;
        wires.open.drain(..).for_each(|wire| drop(wire.shutdown(Shutdown::Both)));
    }
}

fn pass(near: &TcpStream, far: &TcpStream, seen: &Arc<Mutex<Wires>>) {
    let mut first = [0; 8];
    let is_wire = near.peek(&mut first).is_ok() && first == *b"PERILANE";
    if is_wire {
        let mut wires = seen.lock().unwrap();
        wires.made += 1;
        wires.open.push(near.try_clone().unwrap());
    }
    let counted = is_wire.then(|| Arc::clone(seen));
    let [from, to] = [far.try_clone().unwrap(), near.try_clone().unwrap()];
    let back = counted.clone();
    let answers = thread::spawn(move || copy(&from, &to, back.as_ref()));
    copy(near, far, counted.as_ref());
    let _ = answers.join();
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, counted: Option<&Arc<Mutex<Wires>>>) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if let Some(wires) = counted {
            wires.lock().unwrap().bytes += count;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn messages_are_counted_once_while_wires_are_cut() {
    let mut cluster = Cluster::of(&["a"]);
    let between = Between::new(cluster.join[2].clone());
    let words = ["up", "--join", &between.address, "--token", &cluster.join[4]];
    cluster.up_with("b", &words.map(str::to_owned));
    cluster.until_linked();
    let _counter = run(&cluster, "a", "counter", COUNTER, &[]);
    let customer = run(&cluster, "b", "customer", CUSTOMER, &[]);
    // All 20,000 messages and their replies are more than 2 MB.
    for _ in 0..4 {
        between.cut_after(100_000, &|| cluster.logs());
    }
    exits(&cluster, customer, 42);
    assert!(between.wires.lock().unwrap().made >= 5, "they were not opened again");
    assert!(cluster.node("a").said("a wire to node") > 0);
    assert!(cluster.node("b").said("the other side closed it") > 0);
}

fn lane(name: u8) -> Lane {
    Lane { name: [name; 16], key: [name; 32], cipher: LaneCipher::Aes128Gcm }
}

fn wire(name: u8, peer_core: u32) -> Wire {
    Wire { lane: lane(name), back: lane(name + 100), own_core: 0, peer_core }
}

#[test]
fn lies_about_wires_end_the_wire_and_nothing_else() {
    let mut cluster = Cluster::of(&["a"]);
    let mut program = Program::dialogue(&cluster, "a");
    program.say();
    assert!(program.answers());
    let before = cluster.node("a").holds();

    let mut fake = Fake::new(&cluster, "liar");
    fake.hello.cores = 1;
    fake.dial(&cluster.join[2]);
    let mut sends = |number: u8, bytes: &[u8], says: &str| {
        fake.say(&Message::Wire(wire(number, 0)));
        let mut stream = fake.lane([number; 16]);
        // The node says that it has the key.
        stream.read_exact(&mut [0; 20]).unwrap();
        stream.write_all(bytes).unwrap();
        assert_eq!(stream.read(&mut [0; 100]).unwrap_or(0), 0, "it ends");
        cluster.node("a").until_said(says);
    };
    // A record that is not sealed with the key, one that is too long, and none.
    sends(1, &[0; 20], "a forged record came");
    sends(2, &[0xff; 20], "a record of 4294967295 bytes came");
    sends(3, b"GET / HTTP/1.1\r\n\r\n", "too long");
    // A connection that nobody has announced, and cores that are not there.
    drop(fake.lane([9; 16]));
    cluster.node("a").until_said("nobody waits for this lane");
    fake.say(&Message::Wire(wire(4, 1)));
    cluster.node("a").until_said("no core 1 or 0");
    for number in 0..=255 {
        fake.say(&Message::Wire(Wire { lane: lane(number), back: lane(0), ..wire(0, 0) }));
    }
    cluster.node("a").until_said("there are 128 already");
    fake.is_heard();
    program.say();
    assert!(program.answers());
    drop(fake);
    cluster.node("a").until_holds_no_more_than(before);
    program.finish(&cluster);
}
