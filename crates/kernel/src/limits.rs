//! Every limit of a kernel, by name. Times are in nanoseconds of whatever clock [`Kernel::tick`](crate::Kernel::tick) is
//! given; those of messages are in `peripatos_abi::message`.

/// The longest that a link may keep a packet. Whatever is older it has to drop: duplicates are known for so long.
pub const PACKET_NS_MAX: u64 = 30_000_000_000;
/// What was not acknowledged is said again after so long, then after twice as long, and so on.
pub const RETRY_NS_MIN: u64 = 50_000_000;
/// Up to this.
pub const RETRY_NS_MAX: u64 = 1_600_000_000;
/// What was acknowledged, and has not come to its end, is asked after so often.
pub const ASK_NS: u64 = 3_000_000_000;
/// So many times, then the host is asked where the process is.
pub const TRIES_MAX: u32 = 6;
/// Nothing was heard for so long: it is given up.
pub const GIVE_UP_NS: u64 = 15_000_000_000;
/// A reply is acknowledged after so long, unless the next send does it.
pub const HEARD_NS: u64 = 20_000_000;
/// A process that has waited for a reply from another kernel for so long, to twice as long, looks for a circle.
pub const PROBE_NS: u64 = 1_000_000_000;

/// How long a kernel knows what it did for a process of another kernel after it has last heard of it: a packet that was
/// sent until the other gave up, and on its way for as long as one may be, still meets it.
pub const ALIEN_NS: u64 = GIVE_UP_NS + ASK_NS + PACKET_NS_MAX + RETRY_NS_MAX;
/// How long a kernel knows where a process went, or is.
pub const ROUTE_NS: u64 = 60_000_000_000;
/// How long a kernel knows how a process ended.
pub const END_NS: u64 = 60_000_000_000;

/// Senders of other kernels that are remembered ([`Status::Full`](peripatos_abi::message::Status::Full)).
pub const ALIENS_MAX: usize = 1 << 20;
/// Replies that are kept in case they were lost. A sender whose reply had to make way, and was lost, is told
/// [`Status::Unreachable`](peripatos_abi::message::Status::Unreachable).
pub const REPLIES_MAX: usize = 65_536;
/// Words on their way that nobody waits for ([`Status::Full`](peripatos_abi::message::Status::Full)).
pub const ERRANDS_MAX: usize = 65_536;
/// Of one program's on a node at most so many: others' have room ([`Status::Full`](peripatos_abi::message::Status::Full)).
pub const ERRANDS_SHARE_MAX: u64 = ERRANDS_MAX as u64 / 4;
/// Bits, watches, and what ends these, that processes of one program have said to others of their node on other cores, and that are not
/// taken in ([`Status::Full`](peripatos_abi::message::Status::Full)). Each takes some 250 bytes.
pub const WORDS_MAX: u64 = 65_536;
/// Of other kernels' such words, those that are known to have been done. The oldest make way.
pub const ERRANDS_DONE_MAX: usize = 1 << 20;
/// Places of processes that are remembered. The oldest make way.
pub const ROUTES_MAX: usize = 1 << 20;
/// Senders of other kernels that are counted as luggage of a process.
pub const LUGGAGE_ALIENS_MAX: usize = 256;
/// Ends that are remembered. The oldest make way.
pub const ENDS_MAX: usize = 65_536;
/// Of a process's watches the first cost its program nothing; each further one is charged to its [`Budget`](crate::Budget),
/// in whose bytes it counts as many as this.
pub const WATCHES_FREE_MAX: usize = 4_096;
/// See [`WATCHES_FREE_MAX`].
pub const WATCH_BYTES: u64 = 256;
/// Watches that have been undone and are remembered, of a process.
pub const UNDONE_MAX: usize = 4_096;
/// Those who watch one process. More are told at once that it is lost to them.
pub const WATCHERS_MAX: usize = 1 << 20;

/// Forwarders that a packet follows before the host is asked.
pub const RELAYS_MAX: u8 = 16;
/// Forwarders that a send follows at once; more only with time between them.
pub const REDIRECTS_MAX: u32 = 16;
/// Probes that a kernel follows in [`PROBE_NS`]. More are dropped: there will be others.
pub const PROBES_MAX: usize = 65_536;
/// Circles that are kept until the host asks. More are not told of.
pub const CIRCLES_MAX: usize = 16;
/// Of a circle so many processes are named.
pub const CIRCLE_PIDS_MAX: usize = 16;
/// The longest circle of processes that is found within one kernel, and in kernels of one over several. Longer chains of
/// processes that wait are not of one program's making.
pub const CHAIN_MAX: u32 = 1_000;
