//! `peri run` behaves as the program run natively would; what is wrong is said in one line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{User, fails, guest, text};
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

fn lua(script: &str) -> [String; 4] {
    ["run".into(), guest("lua").display().to_string(), "-e".into(), script.into()]
}

#[test]
fn streams_and_exit_code_are_the_programs() {
    let user = User::new();
    let script = "io.stderr:write('to error\\n') print(io.read('a')) os.exit(7)";
    let mut child = user
        .peri(lua(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"from input").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "from input\n");
    assert_eq!(text(&output.stderr), "to error\n");
    assert_eq!(output.status.code(), Some(7));
    assert!(user.sockets().is_empty());
}

#[test]
fn all_that_follows_the_program_is_for_it() {
    let user = User::new();
    let script = user.work().join("args.lua");
    fs::write(&script, "print(table.concat(arg, ' '))").unwrap();
    let program = guest("lua").display().to_string();
    let dir = format!("{}::/w", user.work().display());
    let output = user.output([
        "run",
        "--dir",
        &dir,
        &program,
        "/w/args.lua",
        "--plain",
        "--",
        "--dir",
        "x",
        "-h",
    ]);
    assert_eq!(text(&output.stdout), "--plain -- --dir x -h\n", "{}", text(&output.stderr));
}

#[test]
fn the_environment_is_what_was_given() {
    let user = User::new();
    let mut command = user.peri(["run", "--env", "A=1", "--env", "OUTER"]);
    let program = guest("lua").display().to_string();
    command.args([&program, "-e", "print(os.getenv('A'), os.getenv('OUTER'), os.getenv('HOME'))"]);
    let output = command.env("OUTER", "passed on").output().unwrap();
    assert_eq!(text(&output.stdout), "1\tpassed on\tnil\n");
}

#[test]
fn directories_are_those_given_and_no_others() {
    let user = User::new();
    fs::write(user.work().join("in.txt"), "inside").unwrap();
    let dir = format!("{}::/data", user.work().display());
    let program = guest("lua").display().to_string();
    let script =
        "print(io.open('/data/in.txt'):read('a'), io.open('/etc/passwd'), io.open('/data/../x'))";
    let output = user.output(["run", "--dir", &dir, &program, "-e", script]);
    assert!(text(&output.stdout).starts_with("inside\tnil"), "{}", text(&output.stderr));
}

#[test]
fn bad_input_is_named() {
    let user = User::new();
    let file = |name: &str, contents: &[u8]| {
        let path = user.work().join(name);
        fs::write(&path, contents).unwrap();
        path.display().to_string()
    };
    let assembled = |text: &str| wat::parse_str(text).unwrap();
    let fib = guest("fib").display().to_string();
    let check = |args: &[&str], code: i32, says: &str| fails(&user.output(args), code, says);

    check(&["run", "absent.wasm"], 66, "absent.wasm: no such file");
    check(&["run", &user.work().display().to_string()], 66, "is a directory");
    check(&["run", &file("empty.wasm", b"")], 126, "empty");
    check(&["run", &file("script.lua", b"print(1)")], 126, "not a WebAssembly module");
    check(&["run", &file("text.wat", b"(module)")], 126, "WebAssembly text");
    check(
        &["run", &file("cut.wasm", b"\0asm\x01\0\0\0\x01")],
        126,
        "cut.wasm: not a WebAssembly module",
    );
    check(&["run", "--dir", "/absent::/d", &fib], 66, "/absent");
    check(&["run", "--env", "=x", &fib], 2, "NAME=VALUE");
    check(&[&fib], 2, "peri run");
    let import = r#"(module (import "env" "f" (func)) (memory (export "memory") 1) (func (export "_start")))"#;
    check(&["run", &file("import.wasm", &assembled(import))], 127, "env.f");
    check(&["run", &file("library.wasm", &assembled("(module)"))], 126, "_start");
    let shared = "(module (memory 1 1 shared) (func (export \"_start\")))";
    check(&["run", &file("shared.wasm", &assembled(shared))], 126, "shared");
    let trap = "(module (func (export \"_start\") unreachable))";
    check(&["run", &file("trap.wasm", &assembled(trap))], 134, "trap");
    let deep = "(module (func $f (export \"_start\") (call $f) (call $f)))";
    check(&["run", &file("deep.wasm", &assembled(deep))], 139, "trap");
    let large = "(module (memory 60000) (func (export \"_start\")))";
    check(
        &["run", "--memory-max", "64", &file("large.wasm", &assembled(large))],
        71,
        "cannot start",
    );
}

#[test]
fn usage_errors_end_with_2() {
    let user = User::new();
    for args in [
        &["run"][..],
        &["nonsense"],
        &["run", "--nonsense", "x"],
        &["run", "--freeze-every", "0", "x"],
    ] {
        assert_eq!(user.output(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn signals_end_it_as_natively_and_leave_nothing() {
    for signal in
        [rustix::process::Signal::INT, rustix::process::Signal::TERM, rustix::process::Signal::HUP]
    {
        let user = User::new();
        let running = user.start(user.peri(lua("while true do end")));
        let pid = rustix::process::Pid::from_child(&running.child);
        rustix::process::kill_process(pid, signal).unwrap();
        let output = running.end();
        assert_eq!(output.status.signal(), Some(signal.as_raw()));
        assert!(user.sockets().is_empty(), "{signal:?}");
    }
}

#[test]
fn a_closed_pipe_ends_it() {
    let user = User::new();
    let mut child =
        user.peri(lua("while true do print('y') end")).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().signal(), Some(rustix::process::Signal::PIPE.as_raw()));
}
