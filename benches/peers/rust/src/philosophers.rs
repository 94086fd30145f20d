//! The dining philosophers: forks are actors, philosophers are tasks.

use std::collections::VecDeque;
use std::time::Instant;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn as _};
use kameo::message::{Context, Message};
use kameo::reply::{DelegatedReply, ReplySender};
use tokio::sync::mpsc;

use crate::{Done, Outcome};

/// First come, first served.
#[derive(Actor, Default)]
struct Fork {
    is_taken: bool,
    waiting: VecDeque<ReplySender<u64>>,
    uses: u64,
}

struct Take;
struct Give;
struct Uses;

impl Message<Take> for Fork {
    type Reply = DelegatedReply<u64>;

    async fn handle(
        &mut self,
        _: Take,
        context: &mut Context<Self, DelegatedReply<u64>>,
    ) -> DelegatedReply<u64> {
        let (delegated, sender) = context.reply_sender();
        if let Some(sender) = sender {
            if self.is_taken {
                self.waiting.push_back(sender);
            } else {
                self.is_taken = true;
                sender.send(0);
            }
        }
        delegated
    }
}

impl Message<Give> for Fork {
    type Reply = u64;

    async fn handle(&mut self, _: Give, _: &mut Context<Self, u64>) -> u64 {
        self.uses += 1;
        match self.waiting.pop_front() {
            Some(next) => next.send(0),
            None => self.is_taken = false,
        }
        0
    }
}

impl Message<Uses> for Fork {
    type Reply = u64;

    async fn handle(&mut self, _: Uses, _: &mut Context<Self, u64>) -> u64 {
        self.uses
    }
}

pub(crate) async fn dine(count: u64, meals: u64) -> Outcome {
    let forks: Vec<ActorRef<Fork>> = (0..count).map(|_| Fork::spawn_default()).collect();
    let (tell, mut told) = mpsc::unbounded_channel();
    let begun = Instant::now();
    for number in 0..forks.len() {
        let next = (number + 1) % forks.len();
        let [first, second] =
            [number.min(next), number.max(next)].map(|number| forks[number].clone());
        let tell = tell.clone();
        tokio::spawn(async move {
            for _ in 0..meals {
                first.ask(Take).await.expect("a fork");
                second.ask(Take).await.expect("a fork");
                second.ask(Give).await.expect("a fork");
                first.ask(Give).await.expect("a fork");
                tokio::task::yield_now().await;
            }
            let _ = tell.send(meals);
        });
    }
    let mut eaten = 0;
    for _ in 0..count {
        eaten += told.recv().await.unwrap_or_default();
    }
    let done = Done::since(begun, eaten);
    assert_eq!(eaten, count * meals, "somebody is hungry");
    for fork in forks {
        assert_eq!(fork.ask(Uses).await?, 2 * meals, "a fork counts otherwise");
    }
    Ok(done)
}
