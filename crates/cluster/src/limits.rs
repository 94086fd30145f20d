//! Every limit of a node, by name.

use std::time::Duration;

/// Members of a cluster that gossip tells of, those that are down included. Nobody is added beyond.
pub const MEMBERS_MAX: usize = 10_000;
/// Bytes of a datagram of gossip as it travels, sealed: with the headers of IPv6 and UDP it fits in the least packet that every
/// network carries whole (1,280 bytes).
pub const DATAGRAM_BYTES_MAX: usize = 1_200;
/// What sealing adds to a datagram: who has sealed it, when, its number, and the mark by which that is proved.
pub const SEAL_BYTES: usize = 53;
/// Bytes of a datagram of gossip before it is sealed.
pub const GOSSIP_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - SEAL_BYTES;
/// Of those, what membership may take: the rest says what kind of datagram it is, and how many samples of loads come before.
pub const MEMBERSHIP_BYTES_MAX: usize = GOSSIP_BYTES_MAX - 2;
/// Bytes of a node's name: one label of a host name.
pub const NODE_NAME_BYTES_MAX: usize = 63;
/// A member that is down is forgotten after so long. If it comes back later a link has to bring it.
pub const DOWN_KEPT: Duration = Duration::from_secs(3_600);
/// A member to which a link stands, and which says nothing in datagrams, is told of us again after so long; then it takes twice as
/// long each time, up to the second.
pub const ANNOUNCE_AGAIN_MIN: Duration = Duration::from_millis(500);
/// See there.
pub const ANNOUNCE_AGAIN_MAX: Duration = Duration::from_secs(30);
/// Members that are told of us again at a time; more wait for gossip.
pub const ANNOUNCING_MAX: usize = 1_000;
/// A node that gossip tells of, and to which there is no link, is called after so long; twice as long by the greater of two.
pub const CALL_HEARD_AFTER: Duration = Duration::from_secs(1);
/// A node to which there is no link, though something is for it, is called at most so often.
pub const CALL_AGAIN: Duration = Duration::from_millis(500);
/// What clients ask of a node without a link waits so long for one: half of what they wait for an answer.
pub const REACH_WAIT_MAX: Duration = Duration::from_secs(1);
/// Clients' questions and commands that wait for links; more are refused.
pub const REACHING_MAX: usize = 1_024;
/// Of those, what is asked of all: a question to more is asked of the others as these answer, or cannot be reached.
pub const ASKING_MAX: usize = REACHING_MAX / 2;
/// Nodes that are asked later, in all questions; more are named as silent.
pub const ASKED_LATER_MAX: usize = 4 * MEMBERS_MAX;
/// Members that are down are called so often by one that is alone. Where there are more they share it, so that all together call
/// about fifty times a second.
pub const CALL_DOWN_EVERY: Duration = Duration::from_secs(1);
/// So many members call those that are down each second, however many there are.
pub const CALL_DOWN_TOGETHER: usize = 50;

/// Processes on a node; more are refused.
pub const PROCESSES_MAX: usize = 1_000_000;
/// Other nodes that a node knows; more are refused.
pub const PEERS_MAX: usize = MEMBERS_MAX;
/// Members of a cluster in which each keeps a link with each other one. In a larger one links are made on need.
pub const LINKS_KEPT: usize = 64;
/// Between two looks at the links that are needed.
pub const LINKS_LOOK: Duration = Duration::from_millis(500);
/// A link that nobody needs, and that has carried nothing but loads and hints for so long, is closed, unless somebody wants to see it
/// sooner.
pub const LINK_IDLE: Duration = Duration::from_secs(60);
/// The same, of one that was made only to say what everybody is to hear.
pub const NEWS_IDLE: Duration = Duration::from_secs(2);
/// Whoever is asked whether a link may be closed has used it no later than so long before.
pub const PART_QUIET: Duration = Duration::from_secs(1);
/// Members that are called at a look, because they are to hear what everybody is to hear.
pub const NEWS_AT_ONCE: usize = 16;
/// Who is called to hear what everybody is to hear has heard it so long afterwards, also if the first call is lost.
pub const NEWS_LATE: Duration = Duration::from_secs(10);
/// So many nodes have the cluster's token, and sign for the others.
pub const ISSUERS: usize = 3;
/// Bytes of a certificate on the wire, or in a node's directory.
pub const CERTIFICATE_BYTES_MAX: usize = 1_024;
/// Nodes that were removed for good: each node keeps all of them, and tells them to each that it is linked with.
pub const REMOVED_MAX: usize = 4_096;
/// A node's lease in etcd is good for so long at least: two attempts to renew it have to have time before the node ends.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(6);
/// And for so long at most.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(3_600);
/// A node ends so much earlier at least than its lease may: a leader of etcd that was deposed can answer for its election timeout,
/// which is a second unless somebody says otherwise; and clocks do not go at the same rate.
pub const LEASE_MARGIN_MIN: Duration = Duration::from_secs(2);
/// Between two attempts to renew a lease: a twentieth of its time to live, but so much at least.
pub const LEASE_RETRY_MIN: Duration = Duration::from_millis(250);
/// And at most.
pub const LEASE_RETRY_MAX: Duration = Duration::from_secs(1);
/// OS processes of nodes that have left in order: each node keeps so many, and tells them to each that it is linked with.
pub const LEFT_MAX: usize = 1_024;
/// Migrations under way from a node, and as many to it.
pub const MIGRATIONS_MAX: usize = 64;
/// Of a node that is being emptied so many go at a time: more would only wait for each other on the link.
pub const LEAVING_MAX: usize = 32;
/// And only one, if it has more memory: they share the link, and what could not be copied before stands still for so long.
pub const LEAVING_BYTES_MAX: u64 = 64 << 20;
/// Outcomes of migrations that a target keeps until their sources have heard them; then it takes no more.
pub const OUTCOMES_MAX: usize = 10_000;
/// Processes whose origin is attached to a node.
pub const HOMES_MAX: usize = 1_000_000;
/// Programs that the processes of a family may spawn, besides their own.
pub const FAMILY_PROGRAMS_MAX: usize = 64;
/// Labels of a node, and as many that a program asks for, as many that it does not want, and as many that it prefers.
pub const LABELS_MAX: usize = 16;
/// Bytes of a label's key, and as many of its value.
pub const LABEL_BYTES_MAX: usize = 63;
/// Bytes of a program's name and of its arguments together, as `ps` shows them; the rest is cut off.
pub const COMMAND_BYTES_MAX: usize = 4_096;

/// Bytes of the lines that a node tells of its processes, or a command of all: they go in one frame. Beyond, those that
/// sleep are left out first.
pub const LISTED_BYTES_MAX: usize = 512 << 10;

/// Between two looks at the balance, and two load samples for the peers.
pub const BALANCE_EVERY: Duration = Duration::from_millis(100);
/// What a call to a process of another node takes the caller more than one to a process on its core: some 40 us between nodes of one
/// machine, one microsecond on a core (`peri bench ipc`), and a network that is fast adds little.
pub const CALL_AWAY: Duration = Duration::from_micros(40);
/// So long a process has called another node, at least, before it goes there.
pub const AWAY_PATIENCE: Duration = Duration::from_millis(200);
/// Processes that go to those whom they call, at a look.
pub const DRAWN_MAX: usize = 8;
/// Processes that are looked at at a time, whether they would rather be on another node.
pub const PREFERRING_MAX: usize = 256;
/// Processes that call each other are moved together, if they are not more than this.
pub const TOGETHER_MAX: usize = 16;
/// Moves, and questions in vain, that a node remembers.
pub const HAPPENINGS_MAX: usize = 1_000;
/// Of those so many are told at a time.
pub const HAPPENINGS_TOLD_MAX: usize = 500;
/// Of other nodes' reasons so much is remembered, bytes.
pub const REASON_BYTES_MAX: usize = 200;
/// Nodes that are named when somebody asks where a process could go.
pub const OTHERS_TOLD_MAX: usize = 16;
/// Nodes that are named when none has the memory that a program will need.
pub const NODES_NAMED_MAX: usize = 8;
/// Nodes of a cluster in which each tells its load to all others ten times a second. With more, a few hear of it at a time.
pub const KNOWS_ALL_MAX: usize = 64;
/// A round of the balance where no node knows all: about as often a node asks another one for promises, if it would gain.
pub const ROUND: Duration = Duration::from_millis(600);
/// A promise that was held for so long is redeemed, but for as much as its holder has passed on in that time.
pub const REST: Duration = Duration::from_millis(600);
/// A promise that nobody has redeemed ends after so long. Settling takes some ten rounds.
pub const PROMISE_LIFE: Duration = Duration::from_secs(30);
/// A question for promises that has no answer is asked again after so long.
pub const ASK_AGAIN: Duration = Duration::from_millis(150);
/// And given up after so long: where a fifth of all words are lost, one of a million has no answer by then.
pub const ASK_GIVEN_UP: Duration = Duration::from_millis(2_100);
/// Nodes whose last question a node remembers, with its answer.
pub const ASKERS_MAX: usize = 1_024;
/// What was redeemed and has not come is asked for again after so long.
pub const REDEEM_AGAIN: Duration = Duration::from_secs(2);
/// Promises in one answer.
pub const PROMISES_PASSED_MAX: usize = 8;
/// Promises that a node holds and may pass on; and makers from which it redeems some.
pub const HELD_MAX: usize = 64;
/// Nodes that redeem what a node has promised, at a time; more ask again.
pub const OWED_MAX: usize = 1_024;
/// Nodes of whose load another one has heard of late.
pub const SAMPLES_MAX: usize = 256;
/// Datagrams in a second with which samples go along: about as many as membership sends when nothing happens (13 at its own times).
pub const SAMPLED_A_SECOND: u32 = 16;
/// And so many one after the other.
pub const SAMPLED_AT_ONCE: u32 = 8;
/// Samples of others that go along with a datagram.
pub const SAMPLES_TOLD: usize = 3;
/// Nodes that are weighed against each other, of those that were heard of, when one is to be asked. With fewer the heaviest are found late;
/// with more all ask the same ones, and the others wait.
pub const SAMPLES_WEIGHED: usize = 10;
/// A sample older than this is not told to others, nor a reason to ask.
pub const SAMPLE_FRESH: Duration = Duration::from_millis(1_200);
/// And one older than this is forgotten.
pub const SAMPLE_AGE_MAX: Duration = Duration::from_secs(3);
/// A node that has become less loaded looks again at the earliest so long after the last look.
pub const BALANCE_SOON: Duration = Duration::from_millis(20);
/// Until a node has measured how fast its cores are they count as those of the reference.
pub const SPEED_PERMILLE_UNKNOWN: u32 = 1_000;
/// A load sample older than this is no basis for a question.
pub const LOAD_AGE_MAX: Duration = Duration::from_secs(2);
/// So long a process that was not taken, or could not be frozen, lets others leave first, and a node that has not taken one is
/// the last to be asked.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Between two counts of the processes that cannot leave a node that is being emptied: each looks at all.
pub const STUCK_EVERY: Duration = Duration::from_secs(1);
/// A question for work that has no answer by then is given up.
pub const ASK_WAIT_MAX: Duration = Duration::from_secs(1);
/// A node that had nothing to give is asked again so long only if no other has spare work.
pub const NOTHING_PAUSE: Duration = Duration::from_secs(1);
/// A migration that has not come to its commit by then is given up, and the process goes on at the source. Large
/// programs are compiled at the target meanwhile, and large images travel. One that has been copied while it ran has as long
/// again.
pub const MIGRATION_WAIT_MAX: Duration = Duration::from_secs(120);
/// A process with less memory is not copied while it runs, nor one that uses less of it: it stands still for a moment only.
pub const PRE_COPY_BYTES_MIN: u64 = 512 << 10;
/// What is carried in so short a time is left for the moment in which the process stands still.
pub const PRE_COPY_LAST: Duration = Duration::from_millis(1);
/// No round begins that would end later than so long after the first one began.
pub const PRE_COPY_TIME_MAX: Duration = Duration::from_secs(60);
/// Rounds in which a process is copied while it runs.
pub const PRE_COPY_ROUNDS_MAX: u32 = 8;
/// Those who wait for a process of a node that says nothing any more are not told before so long, whatever somebody wishes: a
/// node tells its load ten times a second.
pub const UNREACHABLE_AFTER_MIN: Duration = Duration::from_millis(500);
/// A question to other nodes on behalf of a command is answered without those that are silent for so long.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);
/// A list waits so long for what the cores say of their processes.
pub const SURVEY_WAIT_MAX: Duration = Duration::from_millis(500);
/// Lists that wait for it; more go without.
pub const SURVEYS_MAX: usize = 64;
/// Of a circle of processes so many are named.
pub const CIRCLE_PIDS_MAX: usize = 16;
/// A command that was passed on may wait for a migration.
pub const COMMAND_WAIT_MAX: Duration = Duration::from_secs(150);
/// When a node is gone, what it ran may just have left it: so long its processes are not given up.
pub const LOST_AFTER: Duration = Duration::from_secs(2);
/// So long an origin's node knows that a process is over.
pub const OVER_KEPT: Duration = Duration::from_secs(60);

/// Packets of message kernels that wait on a node until it is known where to. More are lost: kernels send again.
pub const STRAYS_MAX: usize = 65_536;
/// Processes of which a node knows where they are because it is their keeper: as many as a node may have, for so many fall to
/// each. The oldest word goes first.
pub const DIRECTORY_MAX: usize = PROCESSES_MAX;
/// Processes of which a node tells a keeper in one message; more are not taken in.
pub const ENTRIES_MAX: usize = 1_024;
/// Processes of which a node tells a keeper at a tick: the others wait for the next one.
pub const ENTRIES_AT_ONCE_MAX: usize = 8 * ENTRIES_MAX;
/// Processes of which a keeper without a link is told in a datagram. For more there is a link.
pub const ENTRIES_SAID_MAX: usize = 48;
/// Datagrams to keepers at a tick: the others wait for the next one.
pub const KEEPERS_SAID_MAX: usize = 64;
/// Of those that are asked where a process is, so many at a tick. All of the largest cluster are asked within the time for which who
/// has left a node is still said to be there (twice [`SEEK_WAIT_MAX`]).
pub const ASKED_AT_ONCE_MAX: usize = 128;
/// How long a node that is asked alone has to say where a process is, before all are asked.
pub const LEAD_WAIT_MAX: Duration = Duration::from_millis(500);
/// Nodes that are asked alone, one after the other, before all are.
pub const LEADS_MAX: u8 = 2;
/// How long nodes have to say whether they have a process, when all are asked.
pub const SEEK_WAIT_MAX: Duration = Duration::from_secs(2);
/// Packets that have waited longer are lost. Half of what message kernels count on: they have been on their way before.
pub const STRAY_AGE_MAX: Duration = Duration::from_secs(15);
/// A node answers for those that have ended there for so long: what they had answered their kernels remember no longer.
pub const ANSWERS_MAX: Duration = Duration::from_secs(60);
/// Processes that have left, of which a node remembers where they went.
pub const GONE_MAX: usize = 65_536;
/// How long a node that others know, and to which no link was made, may have whatever is looked for.
pub const UNMET_WAIT_MAX: Duration = Duration::from_secs(30);
