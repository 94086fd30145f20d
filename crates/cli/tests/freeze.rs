//! A running process is taken out of its `peri run`, and goes on in another OS process as if nothing had happened.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Running, User, fails, guest, text};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

/// A program that counts, asks, and answers with what it counted: frozen while it waits for the answer.
const DIALOGUE: &str = "
local sum = 0
for i = 1, 1000 do sum = sum + i end
io.write('sum ', sum, '\\n') io.flush()
local answer = io.read('l')
for i = 1, 1000 do sum = sum + i end
print('answer ' .. tostring(answer), sum)
os.exit(5)
";

fn start_dialogue(user: &User) -> Running {
    user.start(user.peri(["run", &guest("lua").display().to_string(), "-e", DIALOGUE]))
}

/// Freezes it and returns the image's path and what it had written.
fn freeze(user: &User, running: Running) -> (PathBuf, String) {
    let image = user.work().join("image");
    let frozen = user.output(["freeze", &running.number(), "-o", &image.display().to_string()]);
    assert!(frozen.status.success(), "{}", text(&frozen.stderr));
    let output = running.end();
    assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    assert!(user.sockets().is_empty());
    (image, text(&output.stdout))
}

#[test]
fn a_process_goes_on_elsewhere_as_often_as_wanted() {
    let user = User::new();
    let (image, before) = freeze(&user, start_dialogue(&user));
    assert_eq!(before, "sum 500500\n");
    for option in ["--stats", "--interpreter"] {
        let mut thawed = user.start(user.peri(["thaw", option, &image.display().to_string()]));
        thawed.write("yes\n");
        let output = thawed.end();
        assert_eq!(text(&output.stdout), "answer yes\t1001000\n", "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(5));
    }
}

#[test]
fn two_copies_at_once_have_pids_of_their_own() {
    let user = User::new();
    let (image, _) = freeze(&user, start_dialogue(&user));
    let start = || user.start(user.peri(["thaw", &image.display().to_string()]));
    let (mut first, mut second) = (start(), start());
    let list: serde_json::Value =
        serde_json::from_slice(&user.output(["ps", "--output", "json"]).stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_ne!(list[0]["pid"], list[1]["pid"]);
    first.write("one\n");
    second.write("two\n");
    assert_eq!(text(&first.end().stdout), "answer one\t1001000\n");
    assert_eq!(text(&second.end().stdout), "answer two\t1001000\n");
}

#[test]
fn open_files_go_along() {
    let user = User::new();
    fs::write(user.work().join("in.txt"), "first\nsecond\n").unwrap();
    let script = "local i, o = io.open('/d/in.txt'), io.open('/d/out.txt', 'w')
        o:write(i:read('l'), ' ') o:flush() io.read('l') o:write(i:read('l'), '\\n') o:close()";
    let dir = format!("{}::/d", user.work().display());
    let running = user.start(user.peri([
        "run",
        "--dir",
        &dir,
        &guest("lua").display().to_string(),
        "-e",
        script,
    ]));
    // It waits for input at some time after it has written.
    let out = user.work().join("out.txt");
    common::until(|_| fs::read_to_string(&out).is_ok_and(|text| text == "first "));
    let (image, _) = freeze(&user, running);

    let image = image.display().to_string();
    let output = user.output(["thaw", &image]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&out).unwrap(), "first second\n");

    // To another user it is a stranger's image: what it names is opened only when granted.
    let stranger = User::new();
    fails(&stranger.output(["thaw", &image]), 66, "--dir");
    let output = stranger.output(["thaw", "--dir", &dir, &image]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    fails(
        &user.output(["thaw", "--dir", &format!("{}::/other", user.work().display()), &image]),
        2,
        "/other",
    );
}

#[test]
fn a_process_in_mid_computation_is_frozen_too() {
    let user = User::new();
    let running = user.start(user.peri(["run", &guest("interp").display().to_string(), "200000"]));
    let (image, before) = freeze(&user, running);
    assert_eq!(before, "");
    let undisturbed =
        user.output(["run", "--plain", &guest("interp").display().to_string(), "200000"]);
    let thawed = user.output(["thaw", &image.display().to_string()]);
    assert_eq!(text(&thawed.stdout), text(&undisturbed.stdout), "{}", text(&thawed.stderr));
}

#[test]
fn an_image_that_cannot_be_stored_leaves_the_process_running() {
    let user = User::new();
    let mut running = start_dialogue(&user);
    let number = running.number();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = user
        .peri(["freeze", &number, "-o", "-"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    fails(&output, 74, "No space");
    let absent = user.work().join("absent/image").display().to_string();
    fails(&user.output(["freeze", &number, "-o", &absent]), 74, "No such file");
    fails(&user.output(["freeze", &number, "-o", "/dev/null"]), 74, "not a regular file");
    running.write("yes\n");
    let output = running.end();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "sum 500500\nanswer yes\t1001000\n");
    assert_eq!(fs::read_dir(user.work()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn damaged_images_are_refused() {
    let user = User::new();
    let (image, _) = freeze(&user, start_dialogue(&user));
    let bytes = fs::read(&image).unwrap();
    let thaw = |bytes: &[u8]| {
        fs::write(&image, bytes).unwrap();
        user.output(["thaw", &image.display().to_string()])
    };
    fails(&thaw(b""), 65, "image");
    fails(&thaw(b"something else"), 65, "not an image");
    fails(&thaw(&bytes[..bytes.len() / 2]), 65, "cut short");
    fails(&thaw(&[bytes.as_slice(), b"more"].concat()), 65, "behind the end");
    for position in (0..bytes.len() - 40).step_by(bytes.len() / 20) {
        let mut changed = bytes.clone();
        changed[position] ^= 0x10;
        assert_eq!(thaw(&changed).status.code(), Some(65), "byte {position}");
    }
}

#[test]
fn what_cannot_be_frozen_says_so() {
    let user = User::new();
    fails(&user.output(["freeze", "p1", "-o", "x"]), 69, "nothing is running");
    let script = "io.read('l')";
    let plain = user.start(user.peri([
        "run",
        "--plain",
        &guest("lua").display().to_string(),
        "-e",
        script,
    ]));
    fails(
        &user.output([
            "freeze",
            &plain.number(),
            "-o",
            &user.work().join("x").display().to_string(),
        ]),
        69,
        "--plain",
    );
    assert!(plain.end().status.success());
}
