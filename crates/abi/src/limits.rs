//! Every limit of the device protocol, by name. What exceeds one gets the error given beside it.

/// Bytes of a path, its terminator not counted (`Errno::NameTooLong`).
pub const PATH_BYTES_MAX: u32 = 4096;

/// Buffers in one scatter/gather list (`Errno::Inval`).
pub const BUFFERS_MAX: u32 = 1024;

/// Bytes moved by one read or write. More is not an error: the transfer is short, as POSIX allows.
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// Bytes of one `random_get` (`Errno::Inval`): it cannot be short. Linux has the same limit.
pub const RANDOM_BYTES_MAX: u32 = (1 << 25) - 1;

/// Subscriptions of one `poll_oneoff` (`Errno::Inval`).
pub const SUBSCRIPTIONS_MAX: u32 = 4096;

/// Descriptors a process has open at once (`Errno::MFile`).
pub const DESCRIPTORS_MAX: usize = 1024;

/// Entries of one directory being listed (`Errno::Overflow`).
pub const DIRECTORY_ENTRIES_MAX: usize = 1 << 20;

/// Bytes of a directory entry in the guest's form, before its name.
pub const DIRECTORY_ENTRY_BYTES: u32 = 24;

/// Bytes of a listing in one reply, in the guest's form (`Errno::Overflow`): a transfer, whose last
/// entry may stand over its end. A guest takes a short listing for a whole one, so none is cut.
pub const LISTING_BYTES_MAX: u32 = TRANSFER_BYTES_MAX + DIRECTORY_ENTRY_BYTES + PATH_BYTES_MAX;

/// Bytes of a request's or a reply's wire form (`device::WireError`): a transfer and what goes with
/// it. Less than a frame between nodes, which also says which process it is about.
pub const DEVICE_BYTES_MAX: usize = TRANSFER_BYTES_MAX as usize + (1 << 15);

/// Bytes of a descriptor table's wire form (`descriptors::DecodeError`): what an image may make the
/// reader allocate.
pub const DESCRIPTOR_TABLE_BYTES_MAX: usize = 1 << 28;
