//! The flag words of WASI preview 1, one newtype each.
//!
//! A value holds only bits that the specification names: raw words from a guest are parsed by
//! `from_bits`, which says `None` to others.

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident: $repr:ty { $($(#[$flag_doc:meta])* $flag:ident = $value:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name($repr);

        impl $name {
            $($(#[$flag_doc])* pub const $flag: Self = Self($value);)*
            /// No flag.
            pub const NONE: Self = Self(0);
            /// Every flag that the specification names.
            pub const ALL: Self = Self(0 $(| $value)*);

            /// The flags of this word; `None` where it has a bit the specification does not name.
            #[must_use]
            pub const fn from_bits(bits: $repr) -> Option<Self> {
                if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
            }

            /// The flags of this word, without bits the specification does not name.
            #[must_use]
            pub const fn from_bits_truncate(bits: $repr) -> Self {
                Self(bits & Self::ALL.0)
            }

            /// The word the guest sees.
            #[must_use]
            pub const fn bits(self) -> $repr {
                self.0
            }

            /// Whether every flag of `other` is set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any flag of `other` is set.
            #[must_use]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// The flags set here or in `other`.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// The flags set here and in `other`.
            #[must_use]
            pub const fn intersection(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }

            /// The flags set here and not in `other`.
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }
    };
}

flags! {
    /// What may be done through a descriptor.
    Rights: u64 {
        /// The right to invoke `fd_datasync`. If `path_open` is set, includes the right to invoke
        /// `path_open` with `fdflags::dsync`.
        FD_DATASYNC = 1 << 0;
        /// The right to invoke `fd_read` and `sock_recv`. If `rights::fd_seek` is set, includes
        /// the right to invoke `fd_pread`.
        FD_READ = 1 << 1;
        /// The right to invoke `fd_seek`. This flag implies `rights::fd_tell`.
        FD_SEEK = 1 << 2;
        /// The right to invoke `fd_fdstat_set_flags`.
        FD_FDSTAT_SET_FLAGS = 1 << 3;
        /// The right to invoke `fd_sync`. If `path_open` is set, includes the right to invoke
        /// `path_open` with `fdflags::rsync` and `fdflags::dsync`.
        FD_SYNC = 1 << 4;
        /// The right to invoke `fd_seek` in such a way that the file offset remains unaltered
        /// (i.e., `whence::cur` with offset zero), or to invoke `fd_tell`.
        FD_TELL = 1 << 5;
        /// The right to invoke `fd_write` and `sock_send`. If `rights::fd_seek` is set, includes
        /// the right to invoke `fd_pwrite`.
        FD_WRITE = 1 << 6;
        /// The right to invoke `fd_advise`.
        FD_ADVISE = 1 << 7;
        /// The right to invoke `fd_allocate`.
        FD_ALLOCATE = 1 << 8;
        /// The right to invoke `path_create_directory`.
        PATH_CREATE_DIRECTORY = 1 << 9;
        /// If `path_open` is set, the right to invoke `path_open` with `oflags::creat`.
        PATH_CREATE_FILE = 1 << 10;
        /// The right to invoke `path_link` with the file descriptor as the source directory.
        PATH_LINK_SOURCE = 1 << 11;
        /// The right to invoke `path_link` with the file descriptor as the target directory.
        PATH_LINK_TARGET = 1 << 12;
        /// The right to invoke `path_open`.
        PATH_OPEN = 1 << 13;
        /// The right to invoke `fd_readdir`.
        FD_READDIR = 1 << 14;
        /// The right to invoke `path_readlink`.
        PATH_READLINK = 1 << 15;
        /// The right to invoke `path_rename` with the file descriptor as the source directory.
        PATH_RENAME_SOURCE = 1 << 16;
        /// The right to invoke `path_rename` with the file descriptor as the target directory.
        PATH_RENAME_TARGET = 1 << 17;
        /// The right to invoke `path_filestat_get`.
        PATH_FILESTAT_GET = 1 << 18;
        /// The right to change a file's size (there is no `path_filestat_set_size`). If
        /// `path_open` is set, includes the right to invoke `path_open` with `oflags::trunc`.
        PATH_FILESTAT_SET_SIZE = 1 << 19;
        /// The right to invoke `path_filestat_set_times`.
        PATH_FILESTAT_SET_TIMES = 1 << 20;
        /// The right to invoke `fd_filestat_get`.
        FD_FILESTAT_GET = 1 << 21;
        /// The right to invoke `fd_filestat_set_size`.
        FD_FILESTAT_SET_SIZE = 1 << 22;
        /// The right to invoke `fd_filestat_set_times`.
        FD_FILESTAT_SET_TIMES = 1 << 23;
        /// The right to invoke `path_symlink`.
        PATH_SYMLINK = 1 << 24;
        /// The right to invoke `path_remove_directory`.
        PATH_REMOVE_DIRECTORY = 1 << 25;
        /// The right to invoke `path_unlink_file`.
        PATH_UNLINK_FILE = 1 << 26;
        /// If `rights::fd_read` is set, includes the right to invoke `poll_oneoff` to subscribe
        /// to `eventtype::fd_read`. If `rights::fd_write` is set, includes the right to invoke
        /// `poll_oneoff` to subscribe to `eventtype::fd_write`.
        POLL_FD_READWRITE = 1 << 27;
        /// The right to invoke `sock_shutdown`.
        SOCK_SHUTDOWN = 1 << 28;
        /// The right to invoke `sock_accept`.
        SOCK_ACCEPT = 1 << 29;
    }
}

flags! {
    /// How a descriptor behaves.
    FdFlags: u16 {
        /// Data written to the file is always appended to the file's end.
        APPEND = 1 << 0;
        /// A write returns when the data, though not all metadata, is on the device.
        DSYNC = 1 << 1;
        /// An operation that would wait fails with `Errno::Again` instead.
        NONBLOCK = 1 << 2;
        /// As `DSYNC`, for reads.
        RSYNC = 1 << 3;
        /// A write returns when data and metadata are on the device.
        SYNC = 1 << 4;
    }
}

flags! {
    /// How `path_open` opens.
    OpenFlags: u16 {
        /// Create the file if it does not exist.
        CREATE = 1 << 0;
        /// Fail if it is not a directory.
        DIRECTORY = 1 << 1;
        /// Fail if it exists already.
        EXCLUSIVE = 1 << 2;
        /// Truncate the file to size 0.
        TRUNCATE = 1 << 3;
    }
}

flags! {
    /// How a path is resolved.
    LookupFlags: u32 {
        /// A symbolic link at the end of the path is followed.
        SYMLINK_FOLLOW = 1 << 0;
    }
}

flags! {
    /// Which times of a file are set, and to what.
    SetTimesFlags: u16 {
        /// Set the access time to the value given.
        ATIM = 1 << 0;
        /// Set the access time to now.
        ATIM_NOW = 1 << 1;
        /// Set the modification time to the value given.
        MTIM = 1 << 2;
        /// Set the modification time to now.
        MTIM_NOW = 1 << 3;
    }
}

flags! {
    /// What is known of a stream when it became ready.
    EventFlags: u16 {
        /// The other end has closed.
        HANGUP = 1 << 0;
    }
}

flags! {
    /// How `sock_recv` receives.
    ReceiveFlags: u16 {
        /// Leave the data in the queue.
        PEEK = 1 << 0;
        /// Wait until all the data asked for is there.
        WAIT_ALL = 1 << 1;
    }
}

flags! {
    /// Which directions of a socket are shut down.
    ShutdownFlags: u8 {
        /// No more receiving.
        READ = 1 << 0;
        /// No more sending.
        WRITE = 1 << 1;
    }
}

impl Rights {
    /// What can apply to a regular file.
    pub const FILE: Self = Self::FD_DATASYNC
        .union(Self::FD_READ)
        .union(Self::FD_SEEK)
        .union(Self::FD_FDSTAT_SET_FLAGS)
        .union(Self::FD_SYNC)
        .union(Self::FD_TELL)
        .union(Self::FD_WRITE)
        .union(Self::FD_ADVISE)
        .union(Self::FD_ALLOCATE)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::FD_FILESTAT_SET_SIZE)
        .union(Self::FD_FILESTAT_SET_TIMES)
        .union(Self::POLL_FD_READWRITE);

    /// What can apply to a directory itself.
    pub const DIRECTORY: Self = Self::FD_FDSTAT_SET_FLAGS
        .union(Self::FD_SYNC)
        .union(Self::FD_DATASYNC)
        .union(Self::FD_ADVISE)
        .union(Self::PATH_CREATE_DIRECTORY)
        .union(Self::PATH_CREATE_FILE)
        .union(Self::PATH_LINK_SOURCE)
        .union(Self::PATH_LINK_TARGET)
        .union(Self::PATH_OPEN)
        .union(Self::FD_READDIR)
        .union(Self::PATH_READLINK)
        .union(Self::PATH_RENAME_SOURCE)
        .union(Self::PATH_RENAME_TARGET)
        .union(Self::PATH_FILESTAT_GET)
        .union(Self::PATH_FILESTAT_SET_SIZE)
        .union(Self::PATH_FILESTAT_SET_TIMES)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::FD_FILESTAT_SET_TIMES)
        .union(Self::PATH_SYMLINK)
        .union(Self::PATH_REMOVE_DIRECTORY)
        .union(Self::PATH_UNLINK_FILE)
        .union(Self::POLL_FD_READWRITE);

    /// What can apply to what is opened through a directory.
    pub const DIRECTORY_INHERITING: Self = Self::DIRECTORY.union(Self::FILE);

    /// What can apply to a stream without positions: a terminal, a pipe. Programs take a character
    /// device without `FD_SEEK` and `FD_TELL` for a terminal.
    pub const STREAM: Self = Self::FD_READ
        .union(Self::FD_FDSTAT_SET_FLAGS)
        .union(Self::FD_WRITE)
        .union(Self::FD_FILESTAT_GET)
        .union(Self::POLL_FD_READWRITE);
}
