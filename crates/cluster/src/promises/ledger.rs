//! Who has promised what to whom, as one node knows it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use peripatos_balancer::Load;
use serde::{Deserialize, Serialize};

use super::wire::Promise;
use crate::limits::{HELD_MAX, OWED_MAX, PROMISE_LIFE, REDEEM_AGAIN, REST, ROUND};
use crate::{NodeId, Time};

/// Less than this is no process: half of one.
const LEAST_PERMILLE: u32 = 500;
/// Promises of one maker that end so soon one after the other are one.
const ALIKE: Duration = Duration::from_secs(1);

/// So exactly it is remembered when something was passed on, in parts of [`REST`].
const PASSED_PARTS: u32 = 8;

/// What others have promised and this node holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// What may be passed on.
    loose: Vec<Loose>,
    /// By their makers: what is to come here.
    redeemed: BTreeMap<NodeId, Redeemed>,
}

#[derive(Clone, Copy, Debug)]
struct Loose {
    maker: NodeId,
    permille: u32,
    since: Time,
    until: Time,
}

#[derive(Clone, Copy, Debug)]
struct Redeemed {
    permille: u32,
    /// What its maker was told last that is to come, without what has come since.
    told_permille: u32,
    /// Of what it was told, what it may still send: more than is to come if some of it was passed on since.
    sent_permille_max: u32,
    /// When it was asked for last.
    told_at: Option<Time>,
    /// There is more, or less, than it was told, and not because something has come.
    changed: bool,
    /// When something came of it last, or it was redeemed.
    came_at: Time,
}

impl Redeemed {
    /// The maker is told how much is to come. `again`: whatever it was told before.
    fn tell(&mut self, now: Time, again: bool) -> Redemption {
        let before = (!again).then_some(self.told_permille);
        (self.told_permille, self.told_at, self.changed) = (self.permille, Some(now), false);
        self.sent_permille_max = self.sent_permille_max.max(self.permille);
        Redemption { permille: self.permille, before }
    }

    /// Whether anything is to come, or may be on its way. Less than half a process is nothing.
    fn stays(&mut self, now: Time) -> bool {
        if self.permille < LEAST_PERMILLE {
            self.told_permille = self.told_permille.saturating_sub(self.permille);
            self.permille = 0;
        }
        let may_come = self.told_at.is_some_and(|at| now.since(at) < ROUND);
        self.permille > 0 || self.changed || may_come && self.sent_permille_max > 0
    }
}

impl Held {
    pub(super) fn permille(&self) -> u64 {
        let loose = self.loose.iter().map(|one| u64::from(one.permille));
        loose.sum::<u64>() + self.redeemed_permille()
    }

    pub(super) fn redeemed_permille(&self) -> u64 {
        self.redeemed.values().map(|one| u64::from(one.permille)).sum()
    }

    /// One more. What there is no room for is lost: its maker has it back when its time is over.
    pub(super) fn add(&mut self, now: Time, promise: &Promise) {
        let until = now + promise.left.min(PROMISE_LIFE);
        let alike = |one: &&mut Loose| {
            one.maker == promise.maker && one.until.since(until).max(until.since(one.until)) < ALIKE
        };
        if let Some(one) = self.loose.iter_mut().find(alike) {
            one.permille = one.permille.saturating_add(promise.permille);
            (one.since, one.until) = (now, one.until.min(until));
        } else if self.loose.len() < HELD_MAX {
            let Promise { maker, permille, .. } = *promise;
            self.loose.push(Loose { maker, permille, since: now, until });
        }
    }

    /// Takes so much off, in few parts: those that this node has made first, then large ones, then what was redeemed and has not come.
    pub(super) fn part(
        &mut self,
        now: Time,
        made_by: NodeId,
        amount: u32,
        max: usize,
    ) -> Vec<Promise> {
        let mut parts = self.part_loose(now, Some(made_by), amount, max);
        let mut left = amount - parts.iter().map(|part| part.permille).sum::<u32>();
        for (maker, one) in &mut self.redeemed {
            let permille = one.permille.min(left);
            if parts.len() >= max || permille == 0 {
                break;
            }
            parts.push(Promise { maker: *maker, permille, left: PROMISE_LIFE });
            // It is told that less is to come.
            (one.permille, one.changed) = (one.permille - permille, true);
            left -= permille;
        }
        parts
    }

    /// The same of what was not redeemed.
    pub(super) fn part_loose(
        &mut self,
        now: Time,
        made_by: Option<NodeId>,
        amount: u32,
        max: usize,
    ) -> Vec<Promise> {
        let of_others = |one: &Loose| made_by != Some(one.maker);
        self.loose.sort_by_key(|one| (of_others(one), std::cmp::Reverse(one.permille)));
        let (mut left, mut parts) = (amount, Vec::new());
        for one in self.loose.iter_mut().take(max) {
            let permille = one.permille.min(left);
            if permille == 0 {
                break;
            }
            parts.push(Promise { maker: one.maker, permille, left: one.until.since(now) });
            one.permille -= permille;
            left -= permille;
        }
        self.loose.retain(|one| one.permille > 0);
        parts
    }

    /// What has been here for a while stays: it is redeemed, until so much is.
    pub(super) fn redeem_resting(&mut self, now: Time, most: u64) {
        let mut left = most.saturating_sub(self.redeemed_permille());
        for at in 0..self.loose.len() {
            let one = self.loose[at];
            let permille = u64::from(one.permille).min(left) as u32;
            if permille > 0 && now.since(one.since) >= REST {
                self.loose[at].permille -= permille;
                left -= u64::from(permille);
                self.redeem_one(now, one.maker, permille);
            }
        }
        self.loose.retain(|one| one.permille > 0);
    }

    /// A maker gives something else instead of what it was told that was redeemed: how much of it, no more than that. It may be more than
    /// is to come by now.
    pub(super) fn replace(&mut self, now: Time, maker: NodeId, permille: u32) -> u32 {
        let Some(redeemed) = self.redeemed.get_mut(&maker) else { return 0 };
        let replaced = permille.min(redeemed.sent_permille_max);
        redeemed.sent_permille_max -= replaced;
        self.came(now, maker, replaced);
        replaced
    }

    /// So much is redeemed at once, whatever becomes of the rest.
    pub(super) fn redeem(&mut self, now: Time, permille: u32) {
        if permille < LEAST_PERMILLE || self.loose.is_empty() {
            return;
        }
        for part in self.part_loose(now, None, permille, usize::MAX) {
            self.redeem_one(now, part.maker, part.permille);
        }
    }

    /// Of so many makers; what more have promised is lost: they have it back when its time is over.
    pub(super) fn redeem_one(&mut self, now: Time, maker: NodeId, permille: u32) {
        if !self.redeemed.contains_key(&maker) {
            if self.redeemed.len() >= HELD_MAX {
                self.redeemed.retain(|_, one| one.permille > 0);
            }
            if permille == 0 || self.redeemed.len() >= HELD_MAX {
                return;
            }
        }
        let new = Redeemed {
            permille: 0,
            told_permille: 0,
            sent_permille_max: 0,
            told_at: None,
            changed: true,
            came_at: now,
        };
        let redeemed = self.redeemed.entry(maker).or_insert(new);
        redeemed.permille = redeemed.permille.saturating_add(permille);
        redeemed.changed = true;
    }

    /// The makers that are to be asked for it now, and how much.
    pub(super) fn take_due(&mut self, now: Time, again: Duration) -> Vec<(NodeId, Redemption)> {
        let due = self.redeemed.iter_mut().filter_map(|(maker, one)| {
            let long_ago = one.told_at.is_some_and(|at| now.since(at) >= again);
            (one.changed || long_ago).then(|| (*maker, one.tell(now, long_ago)))
        });
        let due = due.collect();
        self.redeemed.retain(|_, one| one.stays(now));
        due
    }

    /// That maker can be reached: how much is to be asked of it.
    pub(super) fn reached(&mut self, now: Time, maker: NodeId) -> Option<Redemption> {
        let redeemed = self.redeemed.get_mut(&maker)?;
        Some(redeemed.tell(now, true))
    }

    /// A process of that maker is on its way here.
    pub(super) fn came(&mut self, now: Time, maker: NodeId, permille: u32) {
        if let Some(redeemed) = self.redeemed.get_mut(&maker) {
            redeemed.permille = redeemed.permille.saturating_sub(permille);
            redeemed.told_permille = redeemed.told_permille.saturating_sub(permille);
            redeemed.came_at = now;
            if !redeemed.stays(now) {
                self.redeemed.remove(&maker);
            }
        }
    }

    /// So much of what was redeemed from that maker does not come.
    pub(super) fn kept(&mut self, maker: NodeId, permille: u32) {
        if let Some(redeemed) = self.redeemed.get_mut(&maker) {
            redeemed.permille = redeemed.permille.saturating_sub(permille);
            redeemed.told_permille = redeemed.told_permille.saturating_sub(permille);
        }
    }

    /// Nothing comes from there.
    pub(super) fn gone(&mut self, maker: NodeId) {
        self.redeemed.remove(&maker);
    }

    pub(super) fn forget_late(&mut self, now: Time) {
        self.loose.retain(|one| one.until > now);
        self.redeemed.retain(|_, one| now.since(one.came_at) < PROMISE_LIFE);
    }
}

/// How much of what a node has promised a holder redeems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// So much is still to come, all together, in thousandths of a process.
    pub permille: u32,
    /// So much of what the maker was told before had not come when this was said, so that the maker can tell what has changed from what is
    /// on its way. `None`: it is not to go by what it was told before.
    pub before: Option<u32>,
}

/// What was passed on of late.
#[derive(Debug, Default)]
pub(super) struct Passed(VecDeque<(Time, u64)>);

impl Passed {
    pub(super) fn add(&mut self, now: Time, permille: u32) {
        self.0.retain(|(at, _)| now.since(*at) < REST);
        match self.0.back_mut() {
            Some((at, sum)) if now.since(*at) < REST / PASSED_PARTS => *sum += u64::from(permille),
            _ if permille == 0 => {}
            _ => self.0.push_back((now, permille.into())),
        }
    }

    /// In the last moments ([`REST`]).
    pub(super) fn permille(&self, now: Time) -> u64 {
        let late = self.0.iter().filter(|(at, _)| now.since(*at) < REST);
        late.map(|(_, permille)| permille).sum()
    }
}

/// What this node has promised and nobody has redeemed: how much, by when it ends.
#[derive(Debug, Default)]
pub(super) struct Promised {
    /// By whole seconds: so there are never more than a promise lasts.
    by_second: BTreeMap<u64, u64>,
    total: u64,
}

impl Promised {
    pub(super) fn permille(&self) -> u64 {
        self.total
    }

    /// So much more, from now on.
    pub(super) fn add(&mut self, now: Time, permille: u32) {
        if permille == 0 {
            return;
        }
        let until = (now + PROMISE_LIFE).0.as_secs() + 1;
        *self.by_second.entry(until).or_default() += u64::from(permille);
        self.total += u64::from(permille);
    }

    /// So much is promised no more: it was redeemed, or has come back. The oldest first.
    pub(super) fn take(&mut self, permille: u32) {
        let mut left = u64::from(permille);
        while let Some(mut first) = self.by_second.first_entry() {
            let taken = left.min(*first.get());
            *first.get_mut() -= taken;
            (left, self.total) = (left - taken, self.total - taken);
            if *first.get() == 0 {
                first.remove();
            }
            if left == 0 {
                return;
            }
        }
    }

    pub(super) fn forget_late(&mut self, now: Time) {
        while let Some(first) = self.by_second.first_entry() {
            if *first.key() > now.0.as_secs() {
                return;
            }
            self.total -= first.remove();
        }
    }
}

/// Who redeems what this node has promised.
#[derive(Debug, Default)]
pub(super) struct Owed {
    by: BTreeMap<NodeId, One>,
    last: Option<NodeId>,
}

#[derive(Clone, Copy, Debug)]
struct One {
    permille: u32,
    /// What has gone there of late, and when the last of it has.
    gone_permille: u32,
    gone_at: Time,
    /// How loaded it is, with what has gone there since it said so.
    load: Load,
    said_at: Time,
}

impl Owed {
    pub(super) fn permille(&self) -> u64 {
        self.by.values().map(|one| u64::from(one.permille)).sum()
    }

    /// What has gone to that node just now, and may be on its way.
    pub(super) fn gone_lately(&self, now: Time, to: NodeId) -> u32 {
        let lately = self.by.get(&to).filter(|one| now.since(one.gone_at) < ROUND);
        lately.map_or(0, |one| one.gone_permille)
    }

    /// What is still to go to that node.
    pub(super) fn of(&self, by: NodeId) -> u32 {
        self.by.get(&by).map_or(0, |one| one.permille)
    }

    /// So much is; less if that is no process, or if there are too many that ask: how much.
    pub(super) fn set(&mut self, now: Time, by: NodeId, load: Load, permille: u32) -> u32 {
        if self.by.len() >= OWED_MAX && !self.by.contains_key(&by) {
            self.by.retain(|_, one| one.permille > 0);
            if self.by.len() >= OWED_MAX {
                return 0;
            }
        }
        let permille = if permille < LEAST_PERMILLE { 0 } else { permille };
        let gone_permille = self.gone_lately(now, by);
        let gone_at = self.by.get(&by).map_or(now, |one| one.gone_at);
        let one = One { permille, gone_permille, gone_at, load, said_at: now };
        if permille == 0 && gone_permille == 0 {
            self.by.remove(&by);
        } else {
            self.by.insert(by, one);
        }
        permille
    }

    /// The next one in turn.
    pub(super) fn next(&mut self) -> Option<(NodeId, Load, u32)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let is_owed = |one: &(&NodeId, &One)| one.1.permille > 0;
        let after = self
            .last
            .and_then(|last| self.by.range((Excluded(last), Unbounded)).find(|one| is_owed(one)));
        let (node, one) = after.or_else(|| self.by.iter().find(|one| is_owed(one)))?;
        self.last = Some(*node);
        Some((*node, one.load, one.permille))
    }

    /// So much goes there: for what is owed, if anything is.
    pub(super) fn goes(&mut self, now: Time, to: NodeId, permille: u32) {
        let gone = self.gone_lately(now, to);
        if let Some(one) = self.by.get_mut(&to) {
            one.permille = one.permille.saturating_sub(permille);
            if one.permille < LEAST_PERMILLE {
                one.permille = 0;
            }
            (one.gone_permille, one.gone_at) = (gone.saturating_add(permille), now);
            one.load.demand_permille = one.load.demand_permille.saturating_add(permille);
        }
    }

    /// Nothing is to go there any more: how much was.
    pub(super) fn remove(&mut self, to: NodeId) -> u32 {
        self.by.remove(&to).map_or(0, |one| one.permille)
    }

    /// Who has not said for long that it wants it does not.
    pub(super) fn forget_late(&mut self, now: Time) {
        self.by.retain(|_, one| now.since(one.said_at) < 4 * REDEEM_AGAIN);
    }
}
