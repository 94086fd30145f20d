//! Many that talk.

use std::time::Instant;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn as _};
use kameo::message::{Context, Message};
use tokio::sync::{mpsc, oneshot};

use crate::pairs::{Add, Counter, Sum};
use crate::{Done, Outcome};

const RING: usize = 100;
const WAVE: u64 = 500;
const COUNTERS: u64 = 60;
const CROWD: u64 = 100;

/// Hands tokens on.
#[derive(Actor)]
struct Link {
    number: usize,
    next: Option<ActorRef<Link>>,
    last: mpsc::UnboundedSender<usize>,
}

struct Next(ActorRef<Link>);
struct Token(u64);

impl Message<Next> for Link {
    type Reply = ();

    async fn handle(&mut self, Next(next): Next, _: &mut Context<Self, ()>) {
        self.next = Some(next);
    }
}

impl Message<Token> for Link {
    type Reply = ();

    async fn handle(&mut self, Token(hops): Token, _: &mut Context<Self, ()>) {
        match (&self.next, hops.checked_sub(1)) {
            (Some(next), Some(left)) => {
                let _ = next.tell(Token(left)).await;
            }
            _ => {
                let _ = self.last.send(self.number);
            }
        }
    }
}

pub(crate) async fn thread_ring(hops: u64) -> Outcome {
    let (last, mut end) = mpsc::unbounded_channel();
    let link = |number| Link::spawn(Link { number, next: None, last: last.clone() });
    let ring: Vec<ActorRef<Link>> = (0..RING).map(link).collect();
    for (at, one) in ring.iter().enumerate() {
        one.ask(Next(ring[(at + 1) % RING].clone())).await?;
    }
    let begun = Instant::now();
    ring[0].tell(Token(hops)).await?;
    let last = end.recv().await;
    let done = Done::since(begun, hops);
    assert_eq!(last, Some(hops as usize % RING), "it ended elsewhere");
    for one in ring {
        one.kill();
    }
    Ok(done)
}

/// Tells its number, and ends.
#[derive(Actor)]
struct Child(mpsc::UnboundedSender<u64>);

struct Tell(u64);

impl Message<Tell> for Child {
    type Reply = ();

    async fn handle(&mut self, Tell(number): Tell, context: &mut Context<Self, ()>) {
        let _ = self.0.send(number);
        context.stop();
    }
}

pub(crate) async fn create(actors: u64) -> Outcome {
    let (tell, mut told) = mpsc::unbounded_channel();
    let begun = Instant::now();
    let (mut left, mut total) = (actors, 0);
    while left > 0 {
        let wave = left.min(WAVE);
        for number in 0..wave {
            Child::spawn(Child(tell.clone())).tell(Tell(left - number)).await?;
        }
        for _ in 0..wave {
            total += told.recv().await.unwrap_or_default();
        }
        left -= wave;
    }
    let done = Done::since(begun, actors);
    assert_eq!(total, actors * (actors + 1) / 2, "some are lost");
    Ok(done)
}

pub(crate) async fn throughput(messages: u64) -> Outcome {
    let counters: Vec<ActorRef<Counter>> =
        (0..COUNTERS).map(|_| Counter::spawn_default()).collect();
    let (each, mut total) = (messages.div_ceil(COUNTERS), 0);
    let begun = Instant::now();
    for _ in 0..each {
        for counter in &counters {
            counter.tell(Add(1)).await?;
        }
    }
    for counter in &counters {
        total += counter.ask(Sum).await?;
    }
    let done = Done::since(begun, total);
    assert_eq!(total, each * COUNTERS, "messages were lost");
    Ok(done)
}

/// Each asks in a task, and has an actor that answers in its stead.
pub(crate) async fn big(pings: u64) -> Outcome {
    let all: Vec<ActorRef<Counter>> = (0..CROWD).map(|_| Counter::spawn_default()).collect();
    let (each, mut total, mut answered) = (pings.div_ceil(CROWD), 0, 0);
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut starts = Vec::new();
    for number in 0..CROWD {
        let (all, tell, (start, started)) = (all.clone(), tell.clone(), oneshot::channel::<()>());
        starts.push(start);
        tokio::spawn(async move {
            let _ = started.await;
            let mut random = number + 1;
            for _ in 0..each {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let other = &all[(random % CROWD) as usize];
                other.ask(Add(1)).await.expect("an answer");
            }
            let _ = tell.send(each);
        });
    }
    let begun = Instant::now();
    starts.into_iter().for_each(|start| start.send(()).expect("one who waits"));
    for _ in 0..CROWD {
        total += told.recv().await.unwrap_or_default();
    }
    let done = Done::since(begun, total);
    for one in all {
        answered += one.ask(Sum).await?;
    }
    assert_eq!((total, answered), (each * CROWD, total), "pings were lost");
    Ok(done)
}
