//! From the operating system's errors to those of preview 1.

use std::io;

use peripatos_abi::Errno;
use rustix::io::Errno as Host;

/// The error a process is told for an error of this system.
pub(super) fn from_io(error: &io::Error) -> Errno {
    match error.raw_os_error() {
        Some(code) => from_host(Host::from_raw_os_error(code)),
        // Errors without a number come from the sandbox: a path that leaves its directory, or that
        // cannot be a path.
        None => match error.kind() {
            io::ErrorKind::PermissionDenied => Errno::Perm,
            io::ErrorKind::InvalidInput => Errno::Inval,
            io::ErrorKind::NotFound => Errno::NoEnt,
            io::ErrorKind::AlreadyExists => Errno::Exist,
            io::ErrorKind::NotADirectory => Errno::NotDir,
            io::ErrorKind::IsADirectory => Errno::IsDir,
            io::ErrorKind::Unsupported => Errno::NotSup,
            io::ErrorKind::InvalidData => Errno::IlSeq,
            _ => Errno::Io,
        },
    }
}

/// The error of the same name; `Errno::Io` where preview 1 has none.
pub(super) fn from_host(error: Host) -> Errno {
    PAIRS.iter().find(|(host, _)| *host == error).map_or(Errno::Io, |(_, errno)| *errno)
}

/// Most frequent first.
const PAIRS: [(Host, Errno); 75] = [
    (Host::NOENT, Errno::NoEnt),
    (Host::EXIST, Errno::Exist),
    (Host::AGAIN, Errno::Again),
    (Host::NOTDIR, Errno::NotDir),
    (Host::ISDIR, Errno::IsDir),
    (Host::ACCESS, Errno::Acces),
    (Host::PERM, Errno::Perm),
    (Host::INVAL, Errno::Inval),
    (Host::PIPE, Errno::Pipe),
    (Host::SPIPE, Errno::SPipe),
    (Host::BADF, Errno::BadF),
    (Host::TOOBIG, Errno::TooBig),
    (Host::ADDRINUSE, Errno::AddrInUse),
    (Host::ADDRNOTAVAIL, Errno::AddrNotAvail),
    (Host::AFNOSUPPORT, Errno::AfNoSupport),
    (Host::ALREADY, Errno::Already),
    (Host::BADMSG, Errno::BadMsg),
    (Host::BUSY, Errno::Busy),
    (Host::CANCELED, Errno::Canceled),
    (Host::CHILD, Errno::Child),
    (Host::CONNABORTED, Errno::ConnAborted),
    (Host::CONNREFUSED, Errno::ConnRefused),
    (Host::CONNRESET, Errno::ConnReset),
    (Host::DEADLK, Errno::Deadlk),
    (Host::DESTADDRREQ, Errno::DestAddrReq),
    (Host::DOM, Errno::Dom),
    (Host::DQUOT, Errno::DQuot),
    (Host::FAULT, Errno::Fault),
    (Host::FBIG, Errno::FBig),
    (Host::HOSTUNREACH, Errno::HostUnreach),
    (Host::IDRM, Errno::IdRm),
    (Host::ILSEQ, Errno::IlSeq),
    (Host::INPROGRESS, Errno::InProgress),
    (Host::INTR, Errno::Intr),
    (Host::IO, Errno::Io),
    (Host::ISCONN, Errno::IsConn),
    (Host::LOOP, Errno::Loop),
    (Host::MFILE, Errno::MFile),
    (Host::MLINK, Errno::MLink),
    (Host::MSGSIZE, Errno::MsgSize),
    (Host::MULTIHOP, Errno::MultiHop),
    (Host::NAMETOOLONG, Errno::NameTooLong),
    (Host::NETDOWN, Errno::NetDown),
    (Host::NETRESET, Errno::NetReset),
    (Host::NETUNREACH, Errno::NetUnreach),
    (Host::NFILE, Errno::NFile),
    (Host::NOBUFS, Errno::NoBufs),
    (Host::NODEV, Errno::NoDev),
    (Host::NOEXEC, Errno::NoExec),
    (Host::NOLCK, Errno::NoLck),
    (Host::NOLINK, Errno::NoLink),
    (Host::NOMEM, Errno::NoMem),
    (Host::NOMSG, Errno::NoMsg),
    (Host::NOPROTOOPT, Errno::NoProtoOpt),
    (Host::NOSPC, Errno::NoSpc),
    (Host::NOSYS, Errno::NoSys),
    (Host::NOTCONN, Errno::NotConn),
    (Host::NOTEMPTY, Errno::NotEmpty),
    (Host::NOTRECOVERABLE, Errno::NotRecoverable),
    (Host::NOTSOCK, Errno::NotSock),
    (Host::OPNOTSUPP, Errno::NotSup),
    (Host::NOTTY, Errno::NotTty),
    (Host::NXIO, Errno::Nxio),
    (Host::OVERFLOW, Errno::Overflow),
    (Host::OWNERDEAD, Errno::OwnerDead),
    (Host::PROTO, Errno::Proto),
    (Host::PROTONOSUPPORT, Errno::ProtoNoSupport),
    (Host::PROTOTYPE, Errno::Prototype),
    (Host::RANGE, Errno::Range),
    (Host::ROFS, Errno::RoFs),
    (Host::SRCH, Errno::Srch),
    (Host::STALE, Errno::Stale),
    (Host::TIMEDOUT, Errno::TimedOut),
    (Host::TXTBSY, Errno::TxtBsy),
    (Host::XDEV, Errno::XDev),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_names() {
        let check = |error: io::Error, expected| assert_eq!(from_io(&error), expected, "{error}");
        check(Host::NOENT.into(), Errno::NoEnt);
        check(Host::NOTSUP.into(), Errno::NotSup);
        check(Host::XDEV.into(), Errno::XDev);
        check(io::Error::new(io::ErrorKind::PermissionDenied, "outside"), Errno::Perm);
        check(io::Error::other("?"), Errno::Io);
    }
}
