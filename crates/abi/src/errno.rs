//! The error codes of WASI preview 1.

/// An error code, with the number that the guest sees. Success is not among them: it is
/// [`Errno::SUCCESS`], 0, and functions here return `Result<_, Errno>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u16)]
pub enum Errno {
    /// Argument list too long.
    #[error("argument list too long")]
    TooBig = 1,
    /// Permission denied.
    #[error("permission denied")]
    Acces = 2,
    /// Address in use.
    #[error("address in use")]
    AddrInUse = 3,
    /// Address not available.
    #[error("address not available")]
    AddrNotAvail = 4,
    /// Address family not supported.
    #[error("address family not supported")]
    AfNoSupport = 5,
    /// Resource unavailable, or operation would block.
    #[error("resource unavailable, or operation would block")]
    Again = 6,
    /// Connection already in progress.
    #[error("connection already in progress")]
    Already = 7,
    /// Bad file descriptor.
    #[error("bad file descriptor")]
    BadF = 8,
    /// Bad message.
    #[error("bad message")]
    BadMsg = 9,
    /// Device or resource busy.
    #[error("device or resource busy")]
    Busy = 10,
    /// Operation canceled.
    #[error("operation canceled")]
    Canceled = 11,
    /// No child processes.
    #[error("no child processes")]
    Child = 12,
    /// Connection aborted.
    #[error("connection aborted")]
    ConnAborted = 13,
    /// Connection refused.
    #[error("connection refused")]
    ConnRefused = 14,
    /// Connection reset.
    #[error("connection reset")]
    ConnReset = 15,
    /// Resource deadlock would occur.
    #[error("resource deadlock would occur")]
    Deadlk = 16,
    /// Destination address required.
    #[error("destination address required")]
    DestAddrReq = 17,
    /// Mathematics argument out of domain of function.
    #[error("mathematics argument out of domain of function")]
    Dom = 18,
    /// Reserved (DQUOT).
    #[error("reserved (DQUOT)")]
    DQuot = 19,
    /// File exists.
    #[error("file exists")]
    Exist = 20,
    /// Bad address.
    #[error("bad address")]
    Fault = 21,
    /// File too large.
    #[error("file too large")]
    FBig = 22,
    /// Host is unreachable.
    #[error("host is unreachable")]
    HostUnreach = 23,
    /// Identifier removed.
    #[error("identifier removed")]
    IdRm = 24,
    /// Illegal byte sequence.
    #[error("illegal byte sequence")]
    IlSeq = 25,
    /// Operation in progress.
    #[error("operation in progress")]
    InProgress = 26,
    /// Interrupted function.
    #[error("interrupted function")]
    Intr = 27,
    /// Invalid argument.
    #[error("invalid argument")]
    Inval = 28,
    /// I/O error.
    #[error("i/O error")]
    Io = 29,
    /// Socket is connected.
    #[error("socket is connected")]
    IsConn = 30,
    /// Is a directory.
    #[error("is a directory")]
    IsDir = 31,
    /// Too many levels of symbolic links.
    #[error("too many levels of symbolic links")]
    Loop = 32,
    /// File descriptor value too large.
    #[error("file descriptor value too large")]
    MFile = 33,
    /// Too many links.
    #[error("too many links")]
    MLink = 34,
    /// Message too large.
    #[error("message too large")]
    MsgSize = 35,
    /// Reserved (MULTIHOP).
    #[error("reserved (MULTIHOP)")]
    MultiHop = 36,
    /// Filename too long.
    #[error("filename too long")]
    NameTooLong = 37,
    /// Network is down.
    #[error("network is down")]
    NetDown = 38,
    /// Connection aborted by network.
    #[error("connection aborted by network")]
    NetReset = 39,
    /// Network unreachable.
    #[error("network unreachable")]
    NetUnreach = 40,
    /// Too many files open in system.
    #[error("too many files open in system")]
    NFile = 41,
    /// No buffer space available.
    #[error("no buffer space available")]
    NoBufs = 42,
    /// No such device.
    #[error("no such device")]
    NoDev = 43,
    /// No such file or directory.
    #[error("no such file or directory")]
    NoEnt = 44,
    /// Executable file format error.
    #[error("executable file format error")]
    NoExec = 45,
    /// No locks available.
    #[error("no locks available")]
    NoLck = 46,
    /// Reserved (NOLINK).
    #[error("reserved (NOLINK)")]
    NoLink = 47,
    /// Not enough space.
    #[error("not enough space")]
    NoMem = 48,
    /// No message of the desired type.
    #[error("no message of the desired type")]
    NoMsg = 49,
    /// Protocol not available.
    #[error("protocol not available")]
    NoProtoOpt = 50,
    /// No space left on device.
    #[error("no space left on device")]
    NoSpc = 51,
    /// Function not supported.
    #[error("function not supported")]
    NoSys = 52,
    /// The socket is not connected.
    #[error("the socket is not connected")]
    NotConn = 53,
    /// Not a directory or a symbolic link to a directory.
    #[error("not a directory or a symbolic link to a directory")]
    NotDir = 54,
    /// Directory not empty.
    #[error("directory not empty")]
    NotEmpty = 55,
    /// State not recoverable.
    #[error("state not recoverable")]
    NotRecoverable = 56,
    /// Not a socket.
    #[error("not a socket")]
    NotSock = 57,
    /// Not supported, or operation not supported on socket.
    #[error("not supported, or operation not supported on socket")]
    NotSup = 58,
    /// Inappropriate I/O control operation.
    #[error("inappropriate I/O control operation")]
    NotTty = 59,
    /// No such device or address.
    #[error("no such device or address")]
    Nxio = 60,
    /// Value too large to be stored in data type.
    #[error("value too large to be stored in data type")]
    Overflow = 61,
    /// Previous owner died.
    #[error("previous owner died")]
    OwnerDead = 62,
    /// Operation not permitted.
    #[error("operation not permitted")]
    Perm = 63,
    /// Broken pipe.
    #[error("broken pipe")]
    Pipe = 64,
    /// Protocol error.
    #[error("protocol error")]
    Proto = 65,
    /// Protocol not supported.
    #[error("protocol not supported")]
    ProtoNoSupport = 66,
    /// Protocol wrong type for socket.
    #[error("protocol wrong type for socket")]
    Prototype = 67,
    /// Result too large.
    #[error("result too large")]
    Range = 68,
    /// Read-only file system.
    #[error("read-only file system")]
    RoFs = 69,
    /// Invalid seek.
    #[error("invalid seek")]
    SPipe = 70,
    /// No such process.
    #[error("no such process")]
    Srch = 71,
    /// Reserved (STALE).
    #[error("reserved (STALE)")]
    Stale = 72,
    /// Connection timed out.
    #[error("connection timed out")]
    TimedOut = 73,
    /// Text file busy.
    #[error("text file busy")]
    TxtBsy = 74,
    /// Cross-device link.
    #[error("cross-device link")]
    XDev = 75,
    /// Extension: Capabilities insufficient.
    #[error("extension: Capabilities insufficient")]
    NotCapable = 76,
}

impl Errno {
    /// What a function that succeeded returns to the guest.
    pub const SUCCESS: u16 = 0;

    /// Every code, in the order of their numbers, which start at 1.
    const ALL: [Self; 76] = [
        Self::TooBig,
        Self::Acces,
        Self::AddrInUse,
        Self::AddrNotAvail,
        Self::AfNoSupport,
        Self::Again,
        Self::Already,
        Self::BadF,
        Self::BadMsg,
        Self::Busy,
        Self::Canceled,
        Self::Child,
        Self::ConnAborted,
        Self::ConnRefused,
        Self::ConnReset,
        Self::Deadlk,
        Self::DestAddrReq,
        Self::Dom,
        Self::DQuot,
        Self::Exist,
        Self::Fault,
        Self::FBig,
        Self::HostUnreach,
        Self::IdRm,
        Self::IlSeq,
        Self::InProgress,
        Self::Intr,
        Self::Inval,
        Self::Io,
        Self::IsConn,
        Self::IsDir,
        Self::Loop,
        Self::MFile,
        Self::MLink,
        Self::MsgSize,
        Self::MultiHop,
        Self::NameTooLong,
        Self::NetDown,
        Self::NetReset,
        Self::NetUnreach,
        Self::NFile,
        Self::NoBufs,
        Self::NoDev,
        Self::NoEnt,
        Self::NoExec,
        Self::NoLck,
        Self::NoLink,
        Self::NoMem,
        Self::NoMsg,
        Self::NoProtoOpt,
        Self::NoSpc,
        Self::NoSys,
        Self::NotConn,
        Self::NotDir,
        Self::NotEmpty,
        Self::NotRecoverable,
        Self::NotSock,
        Self::NotSup,
        Self::NotTty,
        Self::Nxio,
        Self::Overflow,
        Self::OwnerDead,
        Self::Perm,
        Self::Pipe,
        Self::Proto,
        Self::ProtoNoSupport,
        Self::Prototype,
        Self::Range,
        Self::RoFs,
        Self::SPipe,
        Self::Srch,
        Self::Stale,
        Self::TimedOut,
        Self::TxtBsy,
        Self::XDev,
        Self::NotCapable,
    ];

    /// The number the guest sees: 1 to 76.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The error of this number; `None` for success and for numbers the specification lacks.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_specification() {
        for (errno, code) in [
            (Errno::TooBig, 1),
            (Errno::BadF, 8),
            (Errno::Fault, 21),
            (Errno::Inval, 28),
            (Errno::NoEnt, 44),
            (Errno::NotDir, 54),
            (Errno::SPipe, 70),
            (Errno::NotCapable, 76),
        ] {
            assert_eq!(errno.code(), code);
        }
        for (index, errno) in Errno::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(errno.code()), index + 1);
            assert_eq!(Errno::from_code(errno.code()), Some(errno));
        }
        assert_eq!(Errno::from_code(0), None);
        assert_eq!(Errno::from_code(77), None);
    }
}
