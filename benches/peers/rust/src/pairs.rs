//! Two that talk.

use std::time::Instant;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn as _};
use kameo::message::{Context, Message};
use tokio::sync::oneshot;

use crate::{Done, Outcome};

/// Plays with another one: each message goes back with the next number.
#[derive(Actor)]
struct Player {
    done: Option<oneshot::Sender<u64>>,
}

struct Ball {
    number: u64,
    left: u64,
    from: ActorRef<Player>,
}

impl Message<Ball> for Player {
    type Reply = ();

    async fn handle(&mut self, ball: Ball, context: &mut Context<Self, ()>) {
        match (ball.left, self.done.take()) {
            (0, Some(done)) => {
                let _ = done.send(ball.number);
            }
            (left, done) => {
                self.done = done;
                let from = context.actor_ref().clone();
                let ball_back = Ball { number: ball.number + 1, left: left - 1, from };
                let _ = ball.from.tell(ball_back).await;
            }
        }
    }
}

pub(crate) async fn ping_pong(round_trips: u64) -> Outcome {
    let (done, end) = oneshot::channel();
    let ping = Player::spawn(Player { done: Some(done) });
    let pong = Player::spawn(Player { done: None });
    let begun = Instant::now();
    pong.tell(Ball { number: 0, left: 2 * round_trips - 1, from: ping.clone() }).await?;
    let number = end.await?;
    let done = Done::since(begun, round_trips);
    assert_eq!(number, 2 * round_trips - 1, "a number was lost");
    Ok(done)
}

/// Adds up.
#[derive(Actor, Default)]
pub(crate) struct Counter(u64);

/// A number to be added.
pub(crate) struct Add(pub(crate) u64);

/// The sum, and nothing is added.
pub(crate) struct Sum;

impl Message<Add> for Counter {
    type Reply = u64;

    async fn handle(&mut self, Add(number): Add, _: &mut Context<Self, u64>) -> u64 {
        self.0 += number;
        self.0
    }
}

impl Message<Sum> for Counter {
    type Reply = u64;

    async fn handle(&mut self, _: Sum, _: &mut Context<Self, u64>) -> u64 {
        self.0
    }
}

pub(crate) async fn call(calls: u64) -> Outcome {
    let counter = Counter::spawn_default();
    let (begun, mut sum) = (Instant::now(), 0);
    for _ in 0..calls {
        sum = counter.ask(Add(1)).await?;
    }
    let done = Done::since(begun, sum);
    assert_eq!(sum, calls, "a message was lost");
    Ok(done)
}

pub(crate) async fn counting(messages: u64) -> Outcome {
    let counter = Counter::spawn_default();
    let begun = Instant::now();
    for _ in 0..messages {
        counter.tell(Add(1)).await?;
    }
    let sum = counter.ask(Sum).await?;
    let done = Done::since(begun, sum);
    assert_eq!(sum, messages, "a message was lost");
    Ok(done)
}
