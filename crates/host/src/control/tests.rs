//! Both sides of a control socket in one OS process, in a directory of their own.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;

const PID: Pid = Pid::new(12, 34);

fn directory() -> (tempfile::TempDir, RuntimeDirectory) {
    let temporary = tempfile::tempdir().unwrap();
    let directory = RuntimeDirectory::open_at(temporary.path().join("run")).unwrap();
    (temporary, directory)
}

fn status_of(pid: Pid) -> Status {
    Status {
        pid,
        os_process: std::process::id(),
        program: "a.wasm".into(),
        args: vec!["1".into()],
        started_unix_seconds: 1,
        cpu_ms: 2,
        freezes: 3,
        freezable: true,
    }
}

/// A server whose freeze requests come out of a channel.
fn serve(directory: &RuntimeDirectory) -> (Server, mpsc::Receiver<FreezeRequest>) {
    let (sender, receiver) = mpsc::channel();
    let server = Server::start(
        directory,
        PID,
        || status_of(PID),
        move |request| sender.send(request).unwrap(),
    );
    (server.unwrap(), receiver)
}

#[test]
fn a_process_is_found_and_says_who_it_is() {
    let (_temporary, directory) = directory();
    let (server, _requests) = serve(&directory);
    let found = directory.processes().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].status, Some(status_of(PID)));
    assert_eq!(status(&directory, PID).unwrap(), status_of(PID));
    drop(server);
    assert!(directory.processes().unwrap().is_empty());
    assert!(matches!(status(&directory, PID), Err(ControlError::NoProcess)));
}

#[test]
fn a_pid_runs_once_and_a_stale_socket_gives_way() {
    let (_temporary, directory) = directory();
    drop(UnixListener::bind(directory.path().join(format!("{PID}.sock"))).unwrap());
    let (_server, _requests) = serve(&directory);
    let second = Server::start(&directory, PID, || status_of(PID), drop);
    assert!(matches!(second, Err(ControlError::Claimed(PID))));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn an_image_is_handed_over_whole() {
    let (_temporary, directory) = directory();
    let (_server, requests) = serve(&directory);
    let image: Vec<u8> = (0..3_000_001_u32).map(|index| index as u8).collect();
    let sent = image.clone();
    let source =
        thread::spawn(move || requests.recv().unwrap().deliver(|to| to.write_all(&sent)).unwrap());
    let mut received = Vec::new();
    let bytes = freeze(&directory, PID, &mut received, |_| Ok(())).unwrap();
    assert_eq!(bytes, image.len() as u64);
    assert!(received == image);
    assert!(matches!(source.join().unwrap(), Delivery::Committed));
}

#[test]
fn a_receiver_that_cannot_store_leaves_the_process_to_its_source() {
    let (_temporary, directory) = directory();
    let (_server, requests) = serve(&directory);
    let source = thread::spawn(move || {
        requests.recv().unwrap().deliver(|to| to.write_all(&[1; 100])).unwrap()
    });
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let result = freeze(&directory, PID, &mut Vec::new(), |_| Err(full()));
    assert!(matches!(result, Err(ControlError::Store(_))));
    assert!(matches!(source.join().unwrap(), Delivery::Abandoned(_)));
}

#[test]
fn a_refusal_and_an_end_are_told_apart() {
    let (_temporary, directory) = directory();
    let (_server, requests) = serve(&directory);
    let source = thread::spawn(move || {
        requests.recv().unwrap().refuse("it runs plain");
        drop(requests.recv().unwrap());
    });
    let ask = || freeze(&directory, PID, &mut Vec::new(), |_| Ok(()));
    assert_eq!(ask().unwrap_err().to_string(), "it runs plain");
    assert!(matches!(ask(), Err(ControlError::Ended)));
    source.join().unwrap();
}

#[test]
fn a_directory_that_others_may_enter_is_not_used() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("run");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(
        RuntimeDirectory::open_at(path.clone()),
        Err(ControlError::NotPrivate { .. })
    ));
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink(temporary.path(), &path).unwrap();
    assert!(matches!(RuntimeDirectory::open_at(path), Err(ControlError::NotPrivate { .. })));
}
