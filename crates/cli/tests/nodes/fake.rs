//! A node that has the token and speaks the link's protocol, and says what the test wants it to.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Content, Description, Luggage, Message, MigrationId, MoveCosts};
use peripatos_cluster::{Incarnation, NodeId};
use peripatos_host::link::{
    self, Credentials, Frame, Hello, HostIdentity, LINK_VERSION, Link, LinkReader, LinkWriter,
    NodeKey,
};
use tokio::runtime::Runtime;

use crate::support::Cluster;

/// A node that has not answered for so long will not.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// `None`: not in time.
async fn within<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(ANSWER_MAX, future).await.ok()
}

/// One link of a fake node.
pub(crate) struct Fake {
    runtime: Runtime,
    reader: LinkReader,
    writer: LinkWriter,
    /// Who it is.
    pub(crate) id: NodeId,
    incarnation: Incarnation,
    migrations: u64,
}

impl Fake {
    /// Dials the first node, as a node of this name.
    pub(crate) fn join(cluster: &Cluster, name: &str) -> Fake {
        Fake::with_version(cluster, name, LINK_VERSION)
    }

    pub(crate) fn with_version(cluster: &Cluster, name: &str, version: u16) -> Fake {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = cluster.join[4].parse().unwrap();
        let credentials = Credentials::new(&token, &NodeKey::generate().unwrap()).unwrap();
        let incarnation = Incarnation(7);
        let host = HostIdentity::own().unwrap();
        let (name, address) = (name.to_owned(), String::new());
        let hello = Hello { version, incarnation, name, address, host };
        let linked = runtime.block_on(link::connect(&cluster.join[2], &credentials, &hello));
        let link: Link = linked.unwrap();
        let (reader, writer) = link.split();
        let migrations = 0;
        Fake { runtime, reader, writer, id: credentials.id, incarnation, migrations }
    }

    pub(crate) fn frame(&mut self, frame: &Frame) {
        let Fake { runtime, writer, .. } = self;
        runtime.block_on(async {
            // The node may have cut the link already.
            if writer.send(frame).await.is_ok() {
                let _ = writer.flush().await;
            }
        });
    }

    pub(crate) fn say(&mut self, message: &Message) {
        self.frame(&Frame::Message(postcard::to_stdvec(message).unwrap()));
    }

    /// Sends this in one piece.
    pub(crate) fn bulk(&mut self, stream: u64, content: Content, bytes: Vec<u8>) {
        self.say(&Message::Bulk { stream, content, lane: None });
        self.frame(&Frame::Bulk { stream, last: true, bytes });
    }

    /// The next message that is this. What else comes is passed over.
    #[track_caller]
    pub(crate) fn hears<T>(&mut self, wanted: impl Fn(Message) -> Option<T>) -> T {
        let Fake { runtime, reader, .. } = self;
        let heard = runtime.block_on(within(async {
            loop {
                if let Frame::Message(bytes) = reader.next().await.unwrap()
                    && let Some(found) = wanted(postcard::from_bytes(&bytes).unwrap())
                {
                    return found;
                }
            }
        }));
        heard.expect("the node does not say it")
    }

    /// Waits until the node has cut the link.
    #[track_caller]
    pub(crate) fn is_cut(&mut self) {
        let Fake { runtime, reader, .. } = self;
        let cut = runtime.block_on(within(async { while reader.next().await.is_ok() {} }));
        cut.expect("the node does not cut the link");
    }

    /// Waits until everything said so far has been taken in.
    #[track_caller]
    pub(crate) fn is_heard(&mut self) {
        self.say(&Message::List { request: 99 });
        self.hears(|message| matches!(message, Message::Listed { request: 99, .. }).then_some(()));
    }

    /// Offers a process of this program.
    pub(crate) fn offer(&mut self, code: [u8; 32]) -> (MigrationId, Pid) {
        self.migrations += 1;
        let number = self.migrations;
        let migration = MigrationId { source: self.id, incarnation: self.incarnation, number };
        let pid = Pid::new(900_000 + number, number);
        let process = Description {
            pid,
            command: vec!["false".to_owned()],
            code,
            origin: self.id,
            started_unix_seconds: 0,
            memory_bytes_max: 1 << 20,
            canonical_nan: false,
        };
        let costs = MoveCosts::default();
        let luggage = Luggage { process, moves: 1, costs, cpu_ms: 0, memory_bytes: 0, hold: None };
        self.say(&Message::Offer { migration, luggage });
        (migration, pid)
    }

    /// Waits until this offer is refused: why.
    #[track_caller]
    pub(crate) fn is_refused(&mut self, wanted: MigrationId) -> String {
        self.hears(|message| match message {
            Message::Refused { migration, reason } if migration == wanted => Some(reason),
            _ => None,
        })
    }
}
