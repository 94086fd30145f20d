//! Devices that are sent to, from wherever one is.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use peripatos_abi::Fd;
use peripatos_abi::device::{Reply, Request, encode_reply, encode_request};
use rustix::process::Signal;

use crate::program::Program;
use crate::support::{Cluster, guest, text, until};

/// Sends its devices' process one request to read a byte after the other, and one to write each that it gets; at the end
/// of the input it exits with 42.
fn echo() -> String {
    let message = |request: &Request| {
        let request = encode_request(request).unwrap();
        [&[0; 8], request.as_slice()].concat()
    };
    let read = message(&Request::Read { fd: Fd(0), len: 1, offset: None });
    let write = message(&Request::Write { fd: Fd(1), data: b"?".to_vec(), offset: None });
    let got = encode_reply(&Reply::Data(std::sync::Arc::new(b"?".to_vec()))).unwrap();
    let at = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'?').unwrap();
    let escaped = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("\\{b:02x}")).collect() };
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "peripatos_v1" "devices" (func $devices (param i32) (result i32)))
        (import "peripatos_v1" "send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
        (import "peripatos_v1" "wait" (func $wait (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "{read}")
        (data (i32.const 128) "{write}")
        (func $ask (param $at i32) (param $len i32) (result i32) (local $r i32)
            (local.set $r (call $send (i32.const 16) (local.get $at) (local.get $len) (i32.const 256) (i32.const 64)))
            (if (i32.eq (local.get $r) (i32.const -1)) (then (local.set $r (call $wait))))
            (if (i32.lt_s (local.get $r) (i32.const 0)) (then (call $exit (i32.sub (i32.const 100) (local.get $r)))))
            (local.get $r))
        (func (export "_start")
            (if (call $devices (i32.const 16)) (then (call $exit (i32.const 50))))
            (loop $next
                (if (i32.lt_u (call $ask (i32.const 64) (i32.const {read_len})) (i32.const {got_len}))
                    (then (call $exit (i32.const 42))))
                (i32.store8 (i32.const {write_at}) (i32.load8_u (i32.const {got_at})))
                (drop (call $ask (i32.const 128) (i32.const {write_len})))
                (br $next))))"#,
        read = escaped(&read),
        write = escaped(&write),
        read_len = read.len(),
        write_len = write.len(),
        got_len = got.len(),
        write_at = 128 + at(&write),
        got_at = 256 + at(&got),
    )
}

#[test]
fn a_process_that_has_moved_sends_to_its_origins_devices() {
    let cluster = Cluster::of(&["a", "b"]);
    let path = cluster.work().join("echo.wasm");
    fs::write(&path, wat::parse_str(echo()).unwrap()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    // Without a node it is the same.
    let mut command = cluster.peri(["run", "--local", &path]);
    let mut local = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    local.stdin.take().unwrap().write_all(b"here\n").unwrap();
    let output = local.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(42), "here\n"));

    let mut echo = Program::start(&cluster, "a", cluster.peri(["run", "--at", "a", &path]));
    let (pid, mut expected) = (echo.pid(), String::new());
    // Each time it waits for a reply while it moves.
    for (line, to) in ["one\n", "two\n", "three\n", "four\n"].iter().zip(["b", "a", "b", "b"]) {
        cluster.until_row("a", &pid, |row| row.state == "reply");
        if cluster.row("a", &pid).is_some_and(|row| row.node.as_deref() != Some(to)) {
            cluster.migrate("a", &pid, to);
        }
        echo.write(line);
        expected += line;
        let (said, errors) = (echo.said.clone(), echo.errors.clone());
        let seen = || format!("{}{}{}", said.text(), errors.text(), cluster.logs());
        until(&seen, |_| said.text() == expected);
    }
    // It is on b, and its origin's node is a.
    drop(echo.child.stdin.take());
    assert_eq!(echo.ended().code(), Some(42), "{}", echo.errors.text());
    assert_eq!(echo.said.text(), expected);
}

/// What it has sent waits at the origin, and who serves it is a process of the origin's node.
#[test]
fn who_waits_for_devices_on_a_silent_node_is_told() {
    let mut cluster = Cluster::of(&["a"]);
    let mut words = cluster.join.clone();
    words.extend(["--unreachable-after", "900ms"].map(str::to_owned));
    cluster.up_with("b", &words);
    cluster.until_linked();
    let path = cluster.work().join("echo.wasm");
    fs::write(&path, wat::parse_str(echo()).unwrap()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let mut echo = Program::start(&cluster, "a", cluster.peri(["run", "--at", "a", &path]));
    let pid = echo.pid();
    cluster.migrate("a", &pid, "b");
    cluster.until_row("b", &pid, |row| row.state == "reply");
    cluster.node("a").signal(Signal::STOP);
    until(&|| cluster.logs(), |_| cluster.ps_at("b").is_empty());
    cluster.node("a").signal(Signal::CONT);
    // Unreachable (-3): the outcome is not known.
    assert_eq!(echo.ended().code(), Some(103), "{}{}", echo.errors.text(), cluster.logs());
}

#[test]
fn a_device_server_passes_on_what_it_does_not_serve() {
    let cluster = Cluster::of(&["a", "b"]);
    let journal = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/journal/journal.wasm");
    fs::write(cluster.work().join("in.txt"), "from a file\n").unwrap();
    let directory = format!("{}::/data", cluster.work().display());
    let script = "local file = assert(io.open('/data/in.txt'))
        io.write(file:read('a')) file:close()
        print(io.open('/data/missing.txt'))
        local out = assert(io.open('/data/out.txt', 'w'))
        out:write(('x'):rep(100000)) out:close()
        print(#assert(io.open('/data/out.txt')):read('a'), os.remove('/data/out.txt'), os.time() > 1600000000)";
    let words = |with: [&str; 2]| -> Vec<String> {
        let words = ["run", "--at", "b", with[0], with[1], &guest("lua"), "-e", script];
        words.map(str::to_owned).into()
    };
    let alone = cluster.output(words(["--dir", &directory]));
    let expected = text(&alone.stdout);
    assert!(expected.ends_with("100000\ttrue\ttrue\n"), "{expected}{}", text(&alone.stderr));

    let server = ["run", "--at", "a", "--dir", &directory, journal];
    let mut server = Program::start(&cluster, "a", cluster.peri(server));
    // Until it is known on the other node, too. What it says to what is no request is what any device says.
    let refused = encode_reply(&Reply::Failed(peripatos_abi::Errno::Inval)).unwrap();
    let call = || cluster.output(["call", "--at", "b", "journal", "short"]);
    until(&|| cluster.logs(), |_| call().stdout == refused);
    let mut lua = Program::start(&cluster, "b", cluster.peri(words(["--devices", "journal"])));
    let pid = lua.pid();
    let status = lua.ended();
    assert_eq!(status.code(), Some(0), "{}{}", lua.errors.text(), server.errors.text());
    assert_eq!(lua.said.text(), "");
    let (said, errors) = (server.said.clone(), server.errors.clone());
    until(&|| format!("{}{}", said.text(), errors.text()), |_| said.text() == expected);
    for noted in ["opens \"in.txt\"", "opens \"missing.txt\"", "removes \"out.txt\""] {
        let line = format!("{pid} {noted}\n");
        until(&|| errors.text(), |_| errors.text().contains(&line));
    }
    // Who waits for an origin that ends is told.
    let script = "os.exit(io.read() and 0 or 7)";
    let waits = ["run", "--at", "b", "--devices", "journal", &guest("lua"), "-e", script]
        .map(str::to_owned);
    let mut waits = Program::start(&cluster, "b", cluster.peri(waits));
    // It waits for the journal's origin, not for the journal.
    let own = cluster.row("a", &server.pid()).unwrap().pid;
    cluster.until_row("b", &waits.pid(), |row| {
        row.state == "reply" && row.waits_for.as_ref().is_some_and(|to| *to != own)
    });
    server.child.kill().unwrap();
    assert_eq!(waits.ended().code(), Some(7), "{}", waits.errors.text());
}
