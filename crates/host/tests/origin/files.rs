//! Rights, sandbox and flags, where the specification or POSIX says which error it must be.

use std::os::unix::fs::symlink;

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::limits::DESCRIPTORS_MAX;
use peripatos_abi::{Errno, Fd, FdFlags, LookupFlags, OpenFlags, Rights, ShutdownFlags, Whence};

use super::support::{Guest, READ_WRITE, ROOT, failed, open_request};

#[test]
fn no_path_leads_out() {
    let mut guest = Guest::new();
    std::fs::create_dir(guest.host_path("sub")).unwrap();
    symlink("/etc", guest.host_path("absolute")).unwrap();
    symlink("../..", guest.host_path("sub/above")).unwrap();
    for path in ["/etc/passwd", "..", "../x", "sub/../../x", "absolute/passwd", "sub/above/x"] {
        let reply = guest.ask(&open_request(path, OpenFlags::NONE, READ_WRITE, FdFlags::NONE));
        assert_eq!(reply, failed(Errno::Perm), "{path}");
    }
}

#[test]
fn opening() {
    let mut guest = Guest::new();
    std::fs::write(guest.host_path("file"), b"x").unwrap();
    std::fs::create_dir(guest.host_path("dir")).unwrap();
    let create = OpenFlags::CREATE;
    for (path, flags, rights, errno) in [
        ("", OpenFlags::NONE, Rights::FD_READ, Errno::NoEnt),
        ("none", OpenFlags::NONE, Rights::FD_READ, Errno::NoEnt),
        ("file", create.union(OpenFlags::EXCLUSIVE), Rights::FD_READ, Errno::Exist),
        ("file", OpenFlags::DIRECTORY, Rights::FD_READ, Errno::NotDir),
        ("file/", OpenFlags::NONE, Rights::FD_READ, Errno::NotDir),
        ("dir", OpenFlags::NONE, Rights::FD_WRITE, Errno::IsDir),
        ("dir", create.union(OpenFlags::DIRECTORY), Rights::FD_READ, Errno::Inval),
        ("file", OpenFlags::NONE, Rights::SOCK_SHUTDOWN, Errno::NotCapable),
    ] {
        let reply = guest.ask(&open_request(path, flags, rights, FdFlags::NONE));
        assert_eq!(reply, failed(errno), "{path} {flags:?}");
    }
}

#[test]
fn rights_are_asked_for_and_given_up_for_good() {
    let mut guest = Guest::new();
    let fd = guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    let set = |rights| Request::FdstatSetRights { fd, rights, rights_inheriting: Rights::NONE };
    assert_eq!(guest.ask(&set(Rights::FD_READ)), Reply::Done);
    assert_eq!(guest.ask(&set(READ_WRITE)), failed(Errno::NotCapable));
    for request in [
        Request::Write { fd, data: b"x".to_vec(), offset: None },
        Request::Read { fd, len: 1, offset: Some(0) },
        Request::Seek { fd, delta: 1, whence: Whence::Start },
        Request::Tell(fd),
        Request::FilestatGet(fd),
        Request::FilestatSetSize { fd, size: 1 },
        Request::Allocate { fd, offset: 0, len: 1 },
        Request::Sync(fd),
        Request::FdstatSetFlags { fd, flags: FdFlags::APPEND },
    ] {
        assert_eq!(guest.ask(&request), failed(Errno::NotCapable), "{request:?}");
    }
}

#[test]
fn what_is_no_directory_or_no_socket_says_so() {
    let mut guest = Guest::new();
    let fd = guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    for (request, errno) in [
        (Request::CreateDirectory { fd, path: "x".into() }, Errno::NotDir),
        (Request::Read { fd: ROOT, len: 1, offset: None }, Errno::IsDir),
        (Request::Shutdown { fd, how: ShutdownFlags::ALL }, Errno::NotSock),
        (Request::Accept { fd: Fd(1), flags: FdFlags::NONE }, Errno::NotSock),
        (Request::Accept { fd: Fd(77), flags: FdFlags::NONE }, Errno::BadF),
        (Request::PreopenName(fd), Errno::BadF),
        (Request::FdstatSetFlags { fd: ROOT, flags: FdFlags::SYNC }, Errno::NotSup),
    ] {
        assert_eq!(guest.ask(&request), failed(errno), "{request:?}");
    }
}

#[test]
fn a_link_can_be_made_to_what_a_link_says() {
    let mut guest = Guest::new();
    std::fs::write(guest.host_path("file"), b"x").unwrap();
    symlink("file", guest.host_path("symbolic")).unwrap();
    for (lookup, to, is_symlink) in
        [(LookupFlags::NONE, "a", true), (LookupFlags::SYMLINK_FOLLOW, "b", false)]
    {
        let (from_path, to_path) = ("symbolic".into(), to.into());
        let request = Request::Link { from: ROOT, lookup, from_path, to: ROOT, to_path };
        assert_eq!(guest.ask(&request), Reply::Done);
        let metadata = std::fs::symlink_metadata(guest.host_path(to)).unwrap();
        assert_eq!(metadata.is_symlink(), is_symlink);
    }
}

#[test]
fn descriptors_run_out() {
    let mut guest = Guest::new();
    guest.open("file", OpenFlags::CREATE, FdFlags::NONE);
    let request = open_request("file", OpenFlags::NONE, READ_WRITE, FdFlags::NONE);
    let full = (0..DESCRIPTORS_MAX + 1).find_map(|_| match guest.ask(&request) {
        Reply::Failed(errno) => Some(errno),
        _ => None,
    });
    assert_eq!(full, Some(Errno::MFile));
    assert_eq!(guest.ask(&Request::Close(Fd(100))), Reply::Done);
    assert_eq!(guest.ask(&request), Reply::Descriptor(Fd(100)));
}
