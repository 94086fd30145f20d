//! Descriptors and what is known about files.

/// The number of a descriptor, as the guest knows it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Fd(pub u32);

macro_rules! coded_enum {
    ($(#[$doc:meta])* $name:ident: $repr:ty { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr($repr)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $code,)*
        }

        impl $name {
            /// The number the guest sees.
            #[must_use]
            pub const fn code(self) -> $repr {
                self as $repr
            }

            /// The value of this number; `None` where the specification has none.
            #[must_use]
            pub const fn from_code(code: $repr) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

coded_enum! {
    /// What a descriptor or directory entry refers to.
    FileType: u8 {
        /// None of the others: a pipe, for instance.
        Unknown = 0,
        /// A block device.
        BlockDevice = 1,
        /// A character device; without the right to seek, programs take it for a terminal.
        CharacterDevice = 2,
        /// A directory.
        Directory = 3,
        /// A regular file.
        RegularFile = 4,
        /// A datagram socket.
        SocketDatagram = 5,
        /// A byte-stream socket.
        SocketStream = 6,
        /// A symbolic link.
        SymbolicLink = 7,
    }
}

coded_enum! {
    /// Where a seek counts from.
    Whence: u8 {
        /// The start of the file.
        Start = 0,
        /// The present offset.
        Current = 1,
        /// The end of the file.
        End = 2,
    }
}

coded_enum! {
    /// How a program means to use a part of a file.
    Advice: u8 {
        /// No advice.
        Normal = 0,
        /// From lower offsets to higher.
        Sequential = 1,
        /// In no order.
        Random = 2,
        /// Soon.
        WillNeed = 3,
        /// Not soon.
        DontNeed = 4,
        /// Once.
        NoReuse = 5,
    }
}

coded_enum! {
    /// A clock. All count nanoseconds.
    ClockId: u32 {
        /// Since 1970-01-01T00:00:00Z.
        Realtime = 0,
        /// Since the process started. Never goes back, over a move neither.
        Monotonic = 1,
        /// Processor time used by the process.
        ProcessCpu = 2,
        /// Processor time used by the thread; a process has one, so the same as `ProcessCpu`.
        ThreadCpu = 3,
    }
}

/// What `fd_fdstat_get` tells about a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fdstat {
    /// What it refers to.
    pub file_type: FileType,
    /// How it behaves.
    pub flags: crate::FdFlags,
    /// What may be done through it.
    pub rights: crate::Rights,
    /// What may be done through descriptors opened through it.
    pub rights_inheriting: crate::Rights,
}

/// What `fd_filestat_get` and `path_filestat_get` tell about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Filestat {
    /// What it is.
    pub file_type: FileType,
    /// The device that holds the file.
    pub device: u64,
    /// The file's serial number on it.
    pub inode: u64,
    /// Hard links to it.
    pub links: u64,
    /// Bytes; for a symbolic link those of its target's path.
    pub size: u64,
    /// Last access, nanoseconds since 1970; times before that are given as 0.
    pub accessed_ns: u64,
    /// Last modification, likewise.
    pub modified_ns: u64,
    /// Last change of status, likewise.
    pub changed_ns: u64,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DirectoryEntry {
    /// Where the listing goes on after this entry.
    pub next: u64,
    /// The file's serial number.
    pub inode: u64,
    /// What it is.
    pub file_type: FileType,
    /// Its name, UTF-8.
    pub name: String,
}
