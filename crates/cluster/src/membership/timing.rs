//! How fast membership is, and why: docs/adr/0011-membership.md.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use crate::limits::{DOWN_KEPT, MEMBERSHIP_BYTES_MAX, UNREACHABLE_AFTER_MIN};

/// No member is asked more often, however soon silence is to be told.
const PROBE_EVERY_MIN: Duration = Duration::from_millis(50);
/// Members that are asked to ask another one. With 5 % of all datagrams lost, three would be enough to keep members alive, but one
/// question in 1,600 would raise a suspicion, of which all hear: with five it is one in 47,000.
const HELPERS: NonZeroUsize = NonZeroUsize::new(5).unwrap();
/// Members that are told news at a time.
const FAN_OUT: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// A member tells a piece of news so often. Among n members, one hears nothing of it about n·e^-15 times: 1 in 600 at 5,000.
const TELLINGS: NonZeroU8 = NonZeroU8::new(15).unwrap();
/// Between two questions to a random member for others that it knows.
const ASK_EVERY: Duration = Duration::from_secs(10);
const ONE: NonZeroUsize = NonZeroUsize::new(1).unwrap();
const GOSSIP_BYTES: NonZeroUsize = NonZeroUsize::new(MEMBERSHIP_BYTES_MAX).unwrap();

/// The times of membership, all in proportion to when silence is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A protocol period: each asks one other whether it lives.
    pub probe_every: Duration,
    /// Who has not answered by then is asked through others, until the period is over.
    pub answer_within: Duration,
    /// Who has not answered has so long to say that it lives, before it counts as down.
    pub suspected_for: Duration,
    /// Between two tellings of news, if there are any.
    pub gossip_every: Duration,
}

impl Timing {
    /// Such that all know of a death within so long, nearly always.
    #[must_use]
    pub fn of(unreachable_after: Duration) -> Timing {
        let unreachable_after = unreachable_after.max(UNREACHABLE_AFTER_MIN);
        let probe_every = (unreachable_after / 20).max(PROBE_EVERY_MIN);
        Timing {
            probe_every,
            answer_within: probe_every * 2 / 5,
            suspected_for: unreachable_after * 2 / 5,
            gossip_every: probe_every / 2,
        }
    }

    pub(super) fn config(self) -> foca::Config {
        foca::Config {
            probe_period: self.probe_every,
            probe_rtt: self.answer_within,
            num_indirect_probes: HELPERS,
            max_transmissions: TELLINGS,
            suspect_to_down_after: self.suspected_for,
            remove_down_after: Some(DOWN_KEPT),
            max_packet_size: GOSSIP_BYTES,
            notify_down_members: true,
            periodic_announce: Some(foca::PeriodicParams {
                frequency: ASK_EVERY,
                num_members: ONE,
            }),
            // Ours is different: see `Membership::call_down`.
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(foca::PeriodicParams {
                frequency: self.gossip_every,
                num_members: FAN_OUT,
            }),
        }
    }
}
