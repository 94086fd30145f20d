//! Who belongs to the cluster and lives: SWIM (Das, Gupta and Motivala, 2002), by the library `foca`.
//!
//! Once a period each member asks one other whether it lives, directly, and through others if no answer comes. Who does not answer is
//! suspected, and down if he does not contradict in time. News travel with these questions and in datagrams of their own, to a few
//! at random. So what a member sends does not depend on how many there are, and what is new is everywhere after a number of periods
//! that grows with their logarithm.
//!
//! Invariants:
//! * Time, datagrams and the seed of what is random come in as arguments: what goes out is a function of them.
//! * What others say is checked before it is believed to be anything (`codec`), and there are never more members than
//!   [`MEMBERS_MAX`].
//! * Down is this protocol's word, not the truth: who was only cut off, or stood still, comes back under the next number of rejoins.
//!   What follows from it a [`Node`](crate::Node) decides, which knows of links, too.
//! * Nobody is declared down for what was not heard while this member itself stood still: such time does not count.
//!
//! What this does not do: seal datagrams, send them, or know who may be a member.

mod codec;
mod member;
mod timing;

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use foca::{Foca, NoCustomBroadcast, Notification, OwnedNotification, Runtime, Timer};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

pub use member::{Member, MemberError, is_node_name};
pub use timing::Timing;

use crate::limits::{
    ANNOUNCE_AGAIN_MAX, ANNOUNCE_AGAIN_MIN, ANNOUNCING_MAX, CALL_DOWN_EVERY, CALL_DOWN_TOGETHER,
    MEMBERS_MAX, MEMBERSHIP_BYTES_MAX,
};
use crate::{Incarnation, NodeId, Time};
use codec::Codec;

/// What membership wants done, or has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A datagram is to be sent, at most [`MEMBERSHIP_BYTES_MAX`] long.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// This member lives.
    Up {
        /// Who.
        member: Member,
        /// It had been down.
        back: bool,
    },
    /// This member has said nothing for too long, to anybody who asked; or it has left.
    Down(Member),
    /// This member itself was thought dead by others, and is one of them again.
    Rejoined,
}

/// Why a datagram was not taken. Nothing has changed, or as much as its sender's being alive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed gossip: {0}")]
pub struct Malformed(String);

/// A member's view of all. See the module.
pub struct Membership {
    swim: Foca<Member, Codec, Xoshiro256PlusPlus, NoCustomBroadcast>,
    timing: Timing,
    random: Xoshiro256PlusPlus,
    /// What is due when, by this member's own clock; numbered, as some are due at the same time.
    timers: BTreeMap<(Duration, u64), Timer<Member>>,
    timers_set: u64,
    /// Time in which this member stood still: its own clock is behind by that.
    stood_still: Duration,
    /// Those to whom a link stands, and who have said nothing yet.
    announcing: BTreeMap<(NodeId, Incarnation), Announcing>,
    /// When one that is down is called next, by this member's own clock.
    next_call: Duration,
    /// It has left: others may call, but it does not answer.
    left: bool,
}

#[derive(Debug)]
struct Announcing {
    member: Member,
    at: Duration,
    pause: Duration,
}

impl Membership {
    /// A member that knows nobody yet.
    #[must_use]
    pub fn new(own: Member, timing: Timing, now: Time, seed: u64) -> Membership {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let library = Xoshiro256PlusPlus::seed_from_u64(random.random());
        let phase = CALL_DOWN_EVERY.mul_f64(random.random_range(0.0..1.0));
        Membership {
            swim: Foca::new(own, timing.config(), library, Codec),
            timing,
            random,
            timers: BTreeMap::new(),
            timers_set: 0,
            stood_still: Duration::ZERO,
            announcing: BTreeMap::new(),
            next_call: now.0 + phase,
            left: false,
        }
    }

    /// This member as others know it.
    #[must_use]
    pub fn own(&self) -> &Member {
        self.swim.identity()
    }

    /// All others that live, as far as is known; suspected ones do.
    pub fn alive(&self) -> impl Iterator<Item = &Member> {
        self.swim.iter_members().map(foca::Member::id)
    }

    /// How many these are.
    #[must_use]
    pub fn alive_len(&self) -> usize {
        self.swim.num_members()
    }

    /// A datagram has come, from this address.
    ///
    /// # Errors
    /// It is not what members say to each other.
    pub fn datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), Malformed> {
        if self.left {
            return Ok(());
        }
        if bytes.len() > MEMBERSHIP_BYTES_MAX {
            return Err(Malformed("it is too long".to_owned()));
        }
        let malformed = |error: codec::CodecError| Malformed(error.to_string());
        let mut bytes = codec::with_address(bytes, from).map_err(malformed)?;
        if self.swim.iter_membership_state().len() >= MEMBERS_MAX {
            // Who is known may go on to say that he lives. Whatever else he tells might be somebody new.
            let (header, head) = codec::header_of(&bytes).map_err(malformed)?;
            if !self.alive().any(|member| member.key() == header.src.key()) {
                return Ok(());
            }
            bytes.truncate(head.len());
        }
        let (swim, mut host) = self.parts(now, out);
        let taken = swim.handle_data(&bytes, &mut host);
        let heard = host.heard;
        self.heard(&heard);
        taken.map_err(|error| Malformed(error.to_string()))
    }

    /// Time has passed.
    pub fn handle(&mut self, now: Time, out: &mut Vec<Output>) {
        let clock = self.clock(now);
        while let Some(((at, number), timer)) = self.timers.pop_first() {
            if at > clock {
                self.timers.insert((at, number), timer);
                break;
            }
            if self.is_refuted(&timer) {
                continue;
            }
            let (swim, mut host) = self.parts(now, out);
            // It fails only where a round of questions was not completed, which begins again of itself.
            let _ = swim.handle_timer(timer, &mut host);
            let heard = host.heard;
            self.heard(&heard);
        }
        self.announce_again(now, out);
        self.call_down(now, out);
    }

    /// When [`Membership::handle`] is to be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        let timer = self.timers.keys().next().map(|(at, _)| *at);
        let announcing = self.announcing.values().map(|one| one.at).min();
        let first = [timer, announcing].into_iter().flatten().fold(self.next_call, Duration::min);
        Time(first.saturating_add(self.stood_still))
    }

    /// A link to this member stands. It is told of us until it says something: it counts as alive when it has, for its datagrams may
    /// be stopped on the way.
    pub fn linked(&mut self, now: Time, member: Member, out: &mut Vec<Output>) {
        let key = member.key();
        let known = self.alive().any(|other| other.key() == key);
        if !known && !self.left && self.announcing.len() < ANNOUNCING_MAX {
            let at = self.clock(now);
            self.announcing.insert(key, Announcing { member, at, pause: ANNOUNCE_AGAIN_MIN });
            self.announce_again(now, out);
        }
    }

    /// There is no link to that node any more.
    pub fn unlinked(&mut self, node: NodeId) {
        self.announcing.retain(|(other, _), _| *other != node);
    }

    /// Somebody who is believed says that these live. What they are told of is not passed on.
    pub fn learn(
        &mut self,
        now: Time,
        members: impl Iterator<Item = Member>,
        out: &mut Vec<Output>,
    ) {
        let room = MEMBERS_MAX.saturating_sub(self.swim.iter_membership_state().len());
        let (swim, mut host) = self.parts(now, out);
        // It fails only where something cannot be written, and nothing is.
        let _ = swim.apply_many(members.take(room).map(foca::Member::alive), false, &mut host);
        let heard = host.heard;
        self.heard(&heard);
    }

    /// This member ends, and says so. It takes no part any more.
    pub fn leave(&mut self, now: Time, out: &mut Vec<Output>) {
        let (swim, mut host) = self.parts(now, out);
        // It fails only where something cannot be written. Then the others find out.
        let _ = swim.leave_cluster(&mut host);
        self.left = true;
        self.timers.clear();
        self.announcing.clear();
        self.next_call = Duration::MAX;
    }

    /// This member's own clock, in which time does not pass while it stands still. Who finds that he is late by more than a period
    /// had no chance to hear what was said meanwhile.
    fn clock(&mut self, now: Time) -> Duration {
        let late = now.since(self.next_deadline());
        if late > self.timing.probe_every {
            self.stood_still += late;
        }
        now.0.saturating_sub(self.stood_still)
    }

    /// Whether this would be the end of a suspicion that is over. The library (2.0.0) leaves such a member alive, and yet tells it that
    /// it counts as dead, so that it would have to come back under another number.
    fn is_refuted(&self, timer: &Timer<Member>) -> bool {
        let Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer else { return false };
        let suspected = foca::Member::new(member_id.clone(), *incarnation, foca::State::Suspect);
        !self.swim.iter_membership_state().any(|member| *member == suspected)
    }

    /// The library, and what it acts upon.
    fn parts<'a>(
        &'a mut self,
        now: Time,
        out: &'a mut Vec<Output>,
    ) -> (&'a mut Foca<Member, Codec, Xoshiro256PlusPlus, NoCustomBroadcast>, Surroundings<'a>)
    {
        let clock = self.clock(now);
        let Membership { swim, timers, timers_set, .. } = self;
        let heard = Vec::new();
        (swim, Surroundings { clock, timers, timers_set, out, heard, renamed: None })
    }

    /// These have said something.
    fn heard(&mut self, members: &[(NodeId, Incarnation)]) {
        for member in members {
            self.announcing.remove(member);
        }
    }

    fn announce_again(&mut self, now: Time, out: &mut Vec<Output>) {
        let clock = self.clock(now);
        let mut due = Vec::new();
        for one in self.announcing.values_mut().filter(|one| one.at <= clock) {
            due.push(one.member.clone());
            one.at = clock + one.pause;
            one.pause = (one.pause * 2).min(ANNOUNCE_AGAIN_MAX);
        }
        for member in due {
            self.announce(now, member, out);
        }
    }

    /// Calls one of those that are down: a pause is over some time, and so is a partition. The library could do it, but not
    /// where nobody else is left, and not the slower the more there are to do it.
    fn call_down(&mut self, now: Time, out: &mut Vec<Output>) {
        let clock = self.clock(now);
        if clock < self.next_call {
            return;
        }
        let sharing = (self.alive_len() + 1).div_ceil(CALL_DOWN_TOGETHER);
        let pause = CALL_DOWN_EVERY.saturating_mul(u32::try_from(sharing).unwrap_or(u32::MAX));
        // Not all at the same time.
        self.next_call = clock + pause.mul_f64(self.random.random_range(0.5..1.5));
        let is_down = |member: &&foca::Member<Member>| member.state() == foca::State::Down;
        let down = self.swim.iter_membership_state().filter(is_down).count();
        if down > 0 {
            let chosen = self.random.random_range(0..down);
            let member = self.swim.iter_membership_state().filter(is_down).nth(chosen);
            let member = member.map(|member| member.id().clone());
            member.into_iter().for_each(|member| self.announce(now, member, out));
        }
    }

    fn announce(&mut self, now: Time, to: Member, out: &mut Vec<Output>) {
        let (swim, mut host) = self.parts(now, out);
        // A header always has room.
        let _ = swim.announce(to, &mut host);
    }
}

/// Does not show the state of the library.
impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Membership");
        shown.field("own", self.own()).field("alive", &self.alive_len()).finish_non_exhaustive()
    }
}

/// What the library acts upon.
struct Surroundings<'a> {
    clock: Duration,
    timers: &'a mut BTreeMap<(Duration, u64), Timer<Member>>,
    timers_set: &'a mut u64,
    out: &'a mut Vec<Output>,
    /// Members that live, as is known since just now.
    heard: Vec<(NodeId, Incarnation)>,
    /// This member is known under its next number. If it had been down, it is said next that it is up.
    renamed: Option<(NodeId, Incarnation)>,
}

impl Runtime<Member> for Surroundings<'_> {
    fn notify(&mut self, notification: Notification<'_, Member>) {
        let renamed = self.renamed.take();
        match notification.to_owned() {
            OwnedNotification::MemberUp(member) => {
                let back = renamed == Some(member.key());
                self.heard.push(member.key());
                self.out.push(Output::Up { member, back });
            }
            OwnedNotification::MemberDown(member) => self.out.push(Output::Down(member)),
            OwnedNotification::Rename(_, member) => self.renamed = Some(member.key()),
            OwnedNotification::Rejoin(_) => self.out.push(Output::Rejoined),
            // Whether there is anybody else.
            OwnedNotification::Active | OwnedNotification::Idle | OwnedNotification::Defunct => {}
        }
    }

    fn send_to(&mut self, to: Member, data: &[u8]) {
        self.out.push(Output::Send { to: to.address(), bytes: data.to_vec() });
    }

    fn submit_after(&mut self, event: Timer<Member>, after: Duration) {
        *self.timers_set += 1;
        self.timers.insert((self.clock + after, *self.timers_set), event);
    }
}
