//! A node that has the token and speaks the link's protocol, and says what the test wants it to.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

use peripatos_abi::Pid;
use peripatos_cluster::message::{
    Content, Description, Lane, LaneCipher, Luggage, Message, MigrationId, MoveCosts,
};
use peripatos_cluster::{Departure, Incarnation, Labels, NodeId};
use peripatos_host::link::{
    self, BULK_CHUNK_BYTES, Credentials, Frame, Hello, HostIdentity, LaneReader, LinkReader,
    LinkWriter, NodeKey, Token, Versions,
};
use tokio::runtime::Runtime;

use crate::support::Cluster;

/// A node that has not answered for so long will not.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// With so much of an image the rest is still to come.
const PART_BYTES: usize = 128 << 10;
/// What the processes that it makes up may use.
pub(crate) const MEMORY_BYTES_MAX: usize = 1 << 20;

/// `None`: not in time.
async fn within<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(ANSWER_MAX, future).await.ok()
}

/// The answer to the question what runs here, if this is the question.
fn listed(frame: &Frame) -> Option<Frame> {
    let Frame::Message(bytes) = frame else { return None };
    let Message::List { request } = postcard::from_bytes(bytes).unwrap() else { return None };
    let listed = Message::Listed { request, processes: Vec::new() };
    Some(Frame::Message(postcard::to_stdvec(&listed).unwrap()))
}

/// A fake node, and its link while it has one.
pub(crate) struct Fake {
    runtime: Runtime,
    link: Option<(LinkReader, LinkWriter)>,
    /// Where it has dialled.
    address: String,
    key: NodeKey,
    pub(crate) credentials: Credentials,
    pub(crate) hello: Hello,
    streams: u64,
    migrations: u64,
}

/// How far a fake target lets a move come.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Step {
    Offered,
    Ready,
    PartOfImage,
    Image,
    Prepared,
    Committed,
}

/// What a fake target has been given of a process.
pub(crate) struct Taken {
    pub(crate) migration: MigrationId,
    pub(crate) luggage: Luggage,
    /// As it came over the link, or sealed over its lane.
    pub(crate) image: Vec<u8>,
    pub(crate) by_lane: bool,
}

impl Fake {
    /// A node of this name, linked with the first node.
    pub(crate) fn join(cluster: &Cluster, name: &str) -> Fake {
        let mut fake = Fake::new(cluster, name);
        fake.dial(&cluster.join[2]);
        fake
    }

    /// The same, without a link.
    pub(crate) fn new(cluster: &Cluster, name: &str) -> Fake {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token: Token = cluster.join[4].parse().unwrap();
        let key = NodeKey::generate().unwrap();
        let credentials = Credentials::new(&token.into(), &key, SystemTime::now()).unwrap();
        let hello = Hello {
            versions: Versions::OWN,
            incarnation: Incarnation(7),
            name: name.to_owned(),
            address: String::new(),
            cores: 0,
            labels: Labels::default(),
            host: HostIdentity::own().unwrap(),
        };
        let address = String::new();
        Fake { runtime, link: None, address, key, credentials, hello, streams: 0, migrations: 0 }
    }

    /// Makes a link. The node there must have noticed that an earlier one is gone.
    pub(crate) fn dial(&mut self, address: &str) {
        let Fake { runtime, credentials, hello, .. } = self;
        let link = runtime.block_on(link::connect(address, credentials, hello)).unwrap();
        self.link = Some(link.split());
        self.address = address.to_owned();
    }

    /// Closes its link without a word.
    pub(crate) fn hang_up(&mut self) {
        self.link = None;
    }

    pub(crate) fn frame(&mut self, frame: &Frame) {
        let (_, writer) = self.link.as_mut().unwrap();
        self.runtime.block_on(async {
            // The node may have cut the link already.
            if writer.send(frame).await.is_ok() {
                let _ = writer.flush().await;
            }
        });
    }

    pub(crate) fn say(&mut self, message: &Message) {
        self.frame(&Frame::Message(postcard::to_stdvec(message).unwrap()));
    }

    /// Sends this as bulk. `whole`: its last piece is marked as such.
    pub(crate) fn bulk(&mut self, content: Content, bytes: &[u8], whole: bool) {
        self.streams += 1;
        let stream = self.streams;
        self.say(&Message::Bulk { stream, content, lane: None });
        let mut pieces = bytes.chunks(BULK_CHUNK_BYTES).peekable();
        while let Some(piece) = pieces.next() {
            let last = whole && pieces.peek().is_none();
            self.frame(&Frame::Bulk { stream, last, bytes: piece.to_vec() });
        }
    }

    /// The next frame that is this. What else comes is passed over, but for questions what runs here: nothing does.
    #[track_caller]
    fn reads<T>(&mut self, mut wanted: impl FnMut(Frame) -> Option<T>) -> T {
        let (reader, writer) = self.link.as_mut().unwrap();
        let read = self.runtime.block_on(within(async {
            loop {
                let frame = reader.next().await.unwrap();
                if let Some(listed) = listed(&frame) {
                    writer.send(&listed).await.unwrap();
                    writer.flush().await.unwrap();
                } else if let Some(found) = wanted(frame) {
                    return found;
                }
            }
        }));
        read.expect("the node does not say it")
    }

    /// The next message that is this. What else comes is passed over.
    #[track_caller]
    pub(crate) fn hears<T>(&mut self, wanted: impl Fn(Message) -> Option<T>) -> T {
        self.reads(|frame| match frame {
            Frame::Message(bytes) => wanted(postcard::from_bytes(&bytes).unwrap()),
            _ => None,
        })
    }

    /// Waits until the node has cut the link.
    #[track_caller]
    pub(crate) fn is_cut(&mut self) {
        let (reader, _) = self.link.as_mut().unwrap();
        let cut = self.runtime.block_on(within(async { while reader.next().await.is_ok() {} }));
        cut.expect("the node does not cut the link");
        self.hang_up();
    }

    /// Waits until everything said so far has been taken in.
    #[track_caller]
    pub(crate) fn is_heard(&mut self) {
        self.say(&Message::List { request: 99 });
        self.hears(|message| matches!(message, Message::Listed { request: 99, .. }).then_some(()));
    }

    /// Waits until the node asks for this program.
    #[track_caller]
    pub(crate) fn is_asked_for(&mut self, wanted: [u8; 32]) {
        self.hears(|said| {
            matches!(said, Message::WantCode { code } if code == wanted).then_some(())
        });
    }

    /// Offers a process of this program.
    pub(crate) fn offer(&mut self, code: [u8; 32]) -> MigrationId {
        let process = Description {
            pid: Pid::new(900_000, self.migrations),
            command: vec!["false".to_owned()],
            code,
            origin: self.id(),
            started_unix_seconds: 0,
            memory_bytes_max: MEMORY_BYTES_MAX as u64,
            memory_bytes_needed: 0,
            canonical_nan: false,
            kin: None,
        };
        let costs = MoveCosts::default();
        self.offer_luggage(Luggage {
            process,
            moves: 1,
            costs,
            cpu_ms: 0,
            memory_bytes: 0,
            demand_permille: 1_000,
            hold: None,
            demand_permille_max: None,
            orphaned: false,
        })
    }

    pub(crate) fn offer_luggage(&mut self, luggage: Luggage) -> MigrationId {
        self.migrations += 1;
        let (source, incarnation) = (self.id(), self.hello.incarnation);
        let migration = MigrationId { source, incarnation, number: self.migrations };
        self.say(&Message::Offer { migration, luggage });
        migration
    }

    /// Waits until the node wants the image of what was offered.
    #[track_caller]
    pub(crate) fn is_ready(&mut self, wanted: MigrationId) {
        self.hears(|said| {
            matches!(said, Message::Ready { migration } if migration == wanted).then_some(())
        });
    }

    /// Waits until this offer is refused: why.
    #[track_caller]
    pub(crate) fn is_refused(&mut self, wanted: MigrationId) -> String {
        self.hears(|message| match message {
            Message::Refused { migration, reason } if migration == wanted => Some(reason),
            _ => None,
        })
    }

    /// Is the target of a move, as far as this.
    #[track_caller]
    pub(crate) fn takes(&mut self, until: Step) -> Taken {
        let (migration, luggage) = self.hears(|message| match message {
            Message::Offer { migration, luggage } => Some((migration, luggage)),
            _ => None,
        });
        let mut taken = Taken { migration, luggage, image: Vec::new(), by_lane: false };
        if until >= Step::Ready {
            self.say(&Message::Ready { migration });
        }
        if until >= Step::PartOfImage {
            self.take_image(&mut taken, until == Step::PartOfImage);
        }
        if until >= Step::Prepared {
            self.say(&Message::Prepared { migration });
        }
        if until >= Step::Committed {
            self.hears(|said| {
                matches!(said, Message::Commit { migration: of } if of == migration).then_some(())
            });
        }
        taken
    }

    /// Reads the image that comes, or a part of it.
    fn take_image(&mut self, taken: &mut Taken, part: bool) {
        let announced = self.hears(|message| match message {
            Message::Bulk { content, lane, .. } if content == Content::Image(taken.migration) => {
                Some(lane)
            }
            _ => None,
        });
        let lane = |lane: Lane| LaneReader::new(self.lane(lane.name), &lane).unwrap();
        let mut lane = announced.map(lane);
        taken.by_lane = lane.is_some();
        loop {
            let (last, bytes) = match &mut lane {
                Some(lane) => {
                    let mut bytes = vec![0; BULK_CHUNK_BYTES];
                    let count = lane.read(&mut bytes).unwrap();
                    bytes.truncate(count);
                    (count == 0, bytes)
                }
                None => self.reads(|frame| match frame {
                    Frame::Bulk { last, bytes, .. } => Some((last, bytes)),
                    _ => None,
                }),
            };
            taken.image.extend(bytes);
            if last || part && taken.image.len() >= PART_BYTES {
                return;
            }
        }
    }

    /// A connection for a lane of this name.
    pub(crate) fn lane(&self, name: [u8; 16]) -> TcpStream {
        let mut lane = TcpStream::connect(&self.address).unwrap();
        lane.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        lane.write_all(&[&b"PERILANE"[..], &name].concat()).unwrap();
        lane
    }

    /// Announces a lane for an image, and sends these bytes over it.
    pub(crate) fn image_by_lane(&mut self, migration: MigrationId, bytes: &[u8]) {
        self.streams += 1;
        let (stream, content) = (self.streams, Content::Image(migration));
        let mut name = [0; 16];
        name[..8].copy_from_slice(&stream.to_le_bytes());
        let lane = Lane { name, key: [0; 32], cipher: LaneCipher::Aes128Gcm };
        self.say(&Message::Bulk { stream, content, lane: Some(lane) });
        self.lane(name).write_all(bytes).unwrap();
    }

    /// Waits until the node asks what has become of a move.
    #[track_caller]
    pub(crate) fn is_queried(&mut self, wanted: MigrationId) {
        self.hears(|said| {
            matches!(said, Message::Query { migration } if migration == wanted).then_some(())
        });
    }

    /// Dials, and is refused: why.
    pub(crate) fn is_refused_a_link(&self, address: &str) -> String {
        let Fake { runtime, credentials, hello, .. } = self;
        let link = runtime.block_on(link::connect(address, credentials, hello));
        link.err().expect("no link").to_string()
    }

    /// What it says as the last word, if it leaves in order.
    pub(crate) fn departure(&self) -> Departure {
        let (node, incarnation) = (self.id(), self.hello.incarnation);
        let proof = self.key.sign_departure(incarnation).unwrap();
        Departure { node, incarnation, proof }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.credentials.id
    }

    /// What a user may call it where there are several of its name.
    pub(crate) fn id_short(&self) -> String {
        format!("{:#}", self.id())
    }
}

/// An OS process for a fake node to be of, which can be killed.
pub(crate) struct Body(Child);

impl Body {
    pub(crate) fn new() -> Body {
        Body(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    pub(crate) fn identity(&self) -> HostIdentity {
        let os_process = self.0.id();
        let stat = fs::read_to_string(format!("/proc/{os_process}/stat")).unwrap();
        // proc_pid_stat(5): the name in parentheses is the second field, the start time the 22nd.
        let started = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
        let started_ticks = started.parse().unwrap();
        HostIdentity { os_process, started_ticks, ..HostIdentity::own().unwrap() }
    }

    /// `kill -9`. Returns when it is dead.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.kill();
    }
}
