//! What is measured of a run.

use std::time::Duration;

use peripatos_cluster::limits::ROUND;
use peripatos_cluster::membership::Timing;

use super::{Config, Scheme};
use crate::members;

/// So near to the mean is even.
const EVEN: f64 = 0.05;
/// The end of a run, for what holds in a steady state.
const LAST: Duration = Duration::from_secs(10);
/// Membership is measured with so many members, for so long: what one sends does not grow with their number (docs/adr/0011).
const MEMBERS: usize = 100;

/// One look at a run.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// When.
    pub at: Duration,
    /// The largest deviation of a node from the mean, in parts of it. A process more or less is none.
    pub gap: f64,
    /// The same, if all promises were kept.
    pub promised_gap: f64,
    /// The potential, in parts of what it is where all is spread evenly: how long processes take, on average. What is on its way counts
    /// where it comes from: else whoever orders a move has made it, however long the network takes for it.
    pub strain: f64,
    /// Of those whom processes call, the share that is on other nodes.
    pub apart: f64,
    /// Moves so far.
    pub moves: u64,
    /// Bytes of samples and words so far, of all nodes.
    pub bytes: u64,
    /// Nodes.
    pub nodes: usize,
}

/// All looks at a run.
#[derive(Clone, Debug, Default)]
pub struct Curve(pub Vec<Point>);

impl Curve {
    /// The first point from which on it is even to the end.
    fn even_from(&self, gap: impl Fn(&Point) -> f64) -> Option<&Point> {
        let last_uneven = self.0.iter().rposition(|point| gap(point) > EVEN);
        self.0.get(last_uneven.map_or(0, |at| at + 1))
    }

    /// The first point at which it is.
    fn even_at(&self, gap: impl Fn(&Point) -> f64) -> Option<&Point> {
        self.0.iter().find(|point| gap(point) <= EVEN)
    }

    fn last(&self) -> &[Point] {
        let end = self.0.last().map_or(Duration::ZERO, |point| point.at);
        let first = self.0.partition_point(|point| point.at + LAST < end);
        &self.0[first..]
    }

    /// A figure's mean over these points.
    fn mean(points: &[Point], figure: impl Fn(&Point) -> f64) -> f64 {
        points.iter().map(figure).sum::<f64>() / points.len().max(1) as f64
    }
}

/// A scheme's run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which scheme.
    pub scheme: Scheme,
    /// What was seen.
    pub curve: Curve,
    /// The fewest moves that could have made the beginning even.
    pub fewest: u64,
}

impl Outcome {
    /// When it was even to the end, in rounds: of the real load.
    #[must_use]
    pub fn rounds_to_even(&self) -> Option<f64> {
        self.curve.even_from(|point| point.gap).map(|point| rounds(point.at))
    }

    /// When it was even for the first time as far as promises go.
    #[must_use]
    pub fn rounds_to_promised(&self) -> Option<f64> {
        self.curve.even_at(|point| point.promised_gap).map(|point| rounds(point.at))
    }

    /// The largest deviation in the last ten seconds, on average.
    #[must_use]
    pub fn gap(&self) -> f64 {
        Curve::mean(self.curve.last(), |point| point.gap)
    }

    /// How long processes take, over the whole run.
    #[must_use]
    pub fn strain(&self) -> f64 {
        Curve::mean(&self.curve.0, |point| point.strain)
    }

    /// Of those whom processes call, the share on other nodes in the last ten seconds.
    #[must_use]
    pub fn apart(&self) -> f64 {
        Curve::mean(self.curve.last(), |point| point.apart)
    }

    /// Moves.
    #[must_use]
    pub fn moves(&self) -> u64 {
        self.curve.0.last().map_or(0, |point| point.moves)
    }

    /// Moves in parts of the fewest.
    #[must_use]
    pub fn moves_ratio(&self) -> f64 {
        self.moves() as f64 / self.fewest.max(1) as f64
    }

    /// Moves a second of each hundred nodes, in the last ten seconds.
    #[must_use]
    pub fn last_moves_a_second(&self) -> f64 {
        self.last_rate(|point| point.moves) * 100.0
    }

    /// Of one node, in the last ten seconds.
    fn last_rate(&self, count: impl Fn(&Point) -> u64) -> f64 {
        let last = self.curve.last();
        let (Some(from), Some(to)) = (last.first(), last.last()) else { return 0.0 };
        let seconds = (to.at - from.at).as_secs_f64().max(1e-9);
        (count(to) - count(from)) as f64 / seconds / to.nodes.max(1) as f64
    }

    /// Bytes of samples and words that a node sends in a second: over the whole run, in the last ten seconds, and in the
    /// second in which most are sent.
    #[must_use]
    pub fn bytes_a_second(&self) -> [f64; 3] {
        let (points, per_node) = (&self.curve.0, |from: &Point, to: &Point| {
            let seconds = (to.at - from.at).as_secs_f64().max(1e-9);
            (to.bytes - from.bytes) as f64 / seconds / to.nodes.max(1) as f64
        });
        let (Some(first), Some(end)) = (points.first(), points.last()) else { return [0.0; 3] };
        let second = |from: &Point| {
            let to = points.iter().find(|to| to.at >= from.at + Duration::from_secs(1));
            to.map(|to| per_node(from, to))
        };
        let most = points.iter().step_by(5).filter_map(second).fold(0.0, f64::max);
        [per_node(first, end), self.last_rate(|point| point.bytes), most]
    }
}

/// What was measured of all schemes.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of which run.
    pub config: Config,
    /// Of each scheme but the ideal, the one that ships first.
    pub outcomes: Vec<Outcome>,
    /// Bytes that membership sends itself, a node and second, measured where nothing happens.
    pub membership_bytes: f64,
}

impl Report {
    pub(super) fn new(config: Config, outcomes: Vec<Outcome>) -> Report {
        let timing = Timing::of(Duration::from_secs(3));
        let alone = members::Config { members: MEMBERS, seed: config.seed, loss: 0, timing };
        let membership_bytes = members::measure(alone, 0).quiet_bytes as f64;
        Report { config, outcomes, membership_bytes }
    }

    /// The scheme that ships.
    #[must_use]
    pub fn own(&self) -> &Outcome {
        &self.outcomes[0]
    }
}

fn rounds(at: Duration) -> f64 {
    at.as_secs_f64() / ROUND.as_secs_f64()
}
