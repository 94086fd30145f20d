//! Promises alone, among nodes that are only numbers: what must hold whatever becomes of words.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use peripatos_balancer::Load;
use peripatos_cluster::limits::{HELD_MAX, PROMISE_LIFE, PROMISES_PASSED_MAX, SAMPLES_TOLD};
use peripatos_cluster::promises::{
    Heard, MalformedWord, Output, Own, Promise, Promises, Redemption, Word, read_samples,
};
use peripatos_cluster::{NodeId, Time};

/// Marsaglia's xorshift, "Xorshift RNGs" (2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Nodes of one core whose processes want one each.
struct World {
    random: Random,
    now: Time,
    nodes: Vec<(Promises, u32)>,
    /// Words that are lost, and that come twice, in a hundred.
    lost: u64,
    twice: u64,
    moves: u32,
    /// What is on its way by link: from whom, to whom.
    links: VecDeque<(usize, usize, ByLink)>,
    /// What was given in answers that nobody has heard yet, in thousandths: by who has asked whom, and the question's number.
    unheard: BTreeMap<(usize, usize, u32), u64>,
    /// Questions that were answered and heard.
    heard: BTreeSet<(usize, usize, u32)>,
}

/// What goes by link.
#[derive(Debug, PartialEq)]
enum ByLink {
    Redeem(Load, Redemption),
    Instead(Vec<Promise>),
    Kept(u32),
    Process,
}

const fn id(index: usize) -> NodeId {
    NodeId(index as u128 + 1)
}

fn index(node: NodeId) -> usize {
    node.0 as usize - 1
}

fn load(processes: u32) -> Load {
    Load {
        cores: 1,
        speed_permille: 1_000,
        demand_permille: processes * 1_000,
        memory_free_bytes: u64::MAX,
        draining: false,
        closed: false,
    }
}

const fn own(load: Load) -> Own {
    Own { load, spare_permille: load.demand_permille, balancing: true }
}

impl World {
    fn new(seed: u64, processes: &[u32]) -> World {
        let new = |(at, processes): (usize, &u32)| {
            (Promises::new(id(at), Time::default(), seed + at as u64), *processes)
        };
        World {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: Time::default(),
            nodes: processes.iter().enumerate().map(new).collect(),
            lost: 0,
            twice: 0,
            moves: 0,
            links: VecDeque::new(),
            unheard: BTreeMap::new(),
            heard: BTreeSet::new(),
        }
    }

    fn own(&self, at: usize) -> Own {
        own(load(self.nodes[at].1))
    }

    fn effective(&self, at: usize) -> u64 {
        let (promises, processes) = &self.nodes[at];
        promises.effective(load(*processes)).demand_permille.into()
    }

    /// A tenth of a second passes: each tells somebody of loads, and looks at its promises.
    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(100);
        self.deliver();
        for at in 0..self.nodes.len() {
            let own = self.own(at);
            let to = self.random.below(self.nodes.len() as u64) as usize;
            let samples = self.nodes[at].0.samples(self.now, &own, 1_000);
            let (heard, rest) = read_samples(&samples).expect("it was written");
            assert!(rest.is_empty());
            self.nodes[to].0.heard(self.now, id(at), &heard, |_| true);
            let mut out = Vec::new();
            self.nodes[at].0.handle(self.now, &own, &mut out);
            self.act(at, out);
            self.serve(at);
        }
    }

    fn act(&mut self, at: usize, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Say { to, word } => {
                    let word = Word::read(&word.to_bytes()).expect("it was written");
                    if let Word::Answer { number, promises, .. } = &word {
                        let question = (index(to), at, *number);
                        let given = promises.iter().map(|one| u64::from(one.permille)).sum();
                        let known = self.unheard.get(&question);
                        assert!(known.is_none_or(|known| *known == given), "a second answer");
                        if !self.heard.contains(&question) {
                            self.unheard.insert(question, given);
                        }
                    }
                    let lost = self.random.below(100) < self.lost;
                    let twice = self.random.below(100) < self.twice;
                    for _ in 0..if lost { 0 } else { 1 + usize::from(twice) } {
                        self.say(at, index(to), word.clone());
                    }
                }
                Output::Redeem { maker, redemption } => {
                    let redeemed = ByLink::Redeem(load(self.nodes[at].1), redemption);
                    self.links.push_back((at, index(maker), redeemed));
                }
                Output::Instead { to, promises } => {
                    self.links.push_back((at, index(to), ByLink::Instead(promises)));
                }
            }
        }
    }

    /// What was sent by link in the last step arrives, in order: it crosses what is sent meanwhile.
    fn deliver(&mut self) {
        for (from, to, what) in std::mem::take(&mut self.links) {
            let (now, mut out) = (self.now, Vec::new());
            let (promises, processes) = &mut self.nodes[to];
            match what {
                ByLink::Redeem(real, redemption) => {
                    let kept = promises.redeemed(now, id(from), real, redemption, &mut out);
                    self.links.push_back((to, from, ByLink::Kept(kept)));
                }
                ByLink::Instead(given) => promises.instead(now, id(from), &given, &mut out),
                ByLink::Kept(permille) => promises.kept(id(from), permille),
                ByLink::Process => {
                    *processes += 1;
                    promises.comes(now, id(from), 1_000);
                }
            }
            self.act(to, out);
        }
    }

    fn say(&mut self, from: usize, to: usize, word: Word) {
        if let Word::Answer { number, .. } = word {
            self.unheard.remove(&(to, from, number));
            self.heard.insert((to, from, number));
        }
        let (own, mut out) = (self.own(to), Vec::new());
        self.nodes[to].0.word(self.now, &own, id(from), word, &mut out);
        self.act(to, out);
    }

    /// One process goes to each of some that have redeemed, if that makes the two more equal.
    fn serve(&mut self, at: usize) {
        for _ in 0..4 {
            let Some((to, _, _)) = self.nodes[at].0.next_owed() else { return };
            let holder = index(to);
            let comes =
                |link: &&(usize, usize, ByLink)| (link.1, &link.2) == (holder, &ByLink::Process);
            let coming = self.links.iter().filter(comes).count() as u32;
            let what = if self.nodes[at].1 > self.nodes[holder].1 + coming + 1 {
                self.nodes[at].1 -= 1;
                self.moves += 1;
                self.nodes[at].0.goes(self.now, to, 1_000);
                ByLink::Process
            } else {
                ByLink::Kept(self.nodes[at].0.gives_nothing(to))
            };
            self.links.push_back((at, holder, what));
        }
    }

    /// What all would have if all promises were kept, with those that are on their way.
    fn all(&self) -> u64 {
        let effective: u64 = (0..self.nodes.len()).map(|at| self.effective(at)).sum();
        effective + self.unheard.values().sum::<u64>()
    }

    fn spread(&self) -> (u32, u32) {
        let counts = self.nodes.iter().map(|(_, processes)| *processes);
        counts.fold((u32::MAX, 0), |(least, most), count| (least.min(count), most.max(count)))
    }
}

/// Everything on the first of so many.
fn crowded(nodes: usize, processes: u32) -> Vec<u32> {
    let mut counts = vec![0; nodes];
    counts[0] = processes;
    counts
}

#[test]
fn what_is_promised_is_neither_more_nor_less() {
    for (lost, twice) in [(0, 0), (20, 20), (40, 0)] {
        for seed in 1..=20 {
            let mut world = World::new(seed, &crowded(20, 400));
            (world.lost, world.twice) = (lost, twice);
            for _ in 0..100 {
                world.step();
                // A process goes whole for what is left of a promise, half of it or more; less is dropped at both ends.
                let all = world.all();
                assert!(all.abs_diff(400_000) < 4_000, "seed {seed}: {all} at {:?}", world.now);
            }
        }
    }
}

#[test]
fn it_settles_and_each_moves_once() {
    for seed in 1..=20 {
        let mut world = World::new(seed, &crowded(20, 400));
        (0..200).for_each(|_| world.step());
        let (least, most) = world.spread();
        assert!(least >= 18 && most <= 22, "seed {seed}: {least} to {most}");
        // 380 have to.
        assert!(world.moves <= 420, "seed {seed}: {} moves", world.moves);
        let before = world.moves;
        (0..100).for_each(|_| world.step());
        assert!(world.moves - before <= 5, "seed {seed}: it is over");
    }
}

#[test]
fn words_that_are_lost_or_come_twice_cost_a_round_or_two() {
    for seed in 1..=20 {
        let mut world = World::new(seed, &crowded(20, 400));
        (world.lost, world.twice) = (20, 20);
        // As long as where nothing is lost.
        (0..200).for_each(|_| world.step());
        let (least, most) = world.spread();
        assert!(least >= 18 && most <= 22, "seed {seed}: {least} to {most}");
        assert!(world.moves <= 420, "seed {seed}: {} moves", world.moves);
        assert_eq!(world.nodes.iter().map(|(_, processes)| processes).sum::<u32>(), 400);
    }
}

#[test]
fn a_promise_that_nobody_redeems_ends() {
    let mut world = World::new(1, &[100, 0]);
    let (ask, mut out) = (Word::Ask { number: 1, load: load(0) }, Vec::new());
    let own = world.own(0);
    world.nodes[0].0.word(world.now, &own, id(1), ask, &mut out);
    assert!(world.effective(0).abs_diff(50_000) <= 2, "{}", world.effective(0));
    // Who asked has never heard of it.
    let late = world.now + PROMISE_LIFE + Duration::from_secs(2);
    world.nodes[0].0.handle(late, &own, &mut Vec::new());
    assert_eq!(world.effective(0), 100_000);
}

#[test]
fn what_nobody_has_asked_for_is_not_taken() {
    let mut world = World::new(1, &[1, 1]);
    let promise = Promise { maker: id(7), permille: 9_000, left: PROMISE_LIFE };
    let answer = Word::Answer { number: 0, load: load(9), promises: vec![promise] };
    world.say(1, 0, answer);
    world.nodes[0].0.instead(world.now, id(1), &[promise], &mut Vec::new());
    assert_eq!(world.effective(0), 1_000);
    // Nor is what was not promised given.
    let redemption = Redemption { permille: 5_000, before: Some(0) };
    let kept = world.nodes[0].0.redeemed(world.now, id(1), load(0), redemption, &mut Vec::new());
    assert_eq!((kept, world.nodes[0].0.next_owed()), (5_000, None));
    // Nor does it come back to who has not promised it.
    let redemption = Redemption { permille: 0, before: Some(9_000) };
    let kept = world.nodes[0].0.redeemed(world.now, id(1), load(0), redemption, &mut Vec::new());
    assert_eq!((kept, world.effective(0)), (0, 1_000));
}

/// One that has one for its core hears of those with so many, is promised this by the first of them, and redeems.
fn redeemed_at_once(processes: &[u32], promised: u32) -> u32 {
    let mut world = World::new(1, &[1]);
    let (own, mut out) = (own(load(1)), Vec::new());
    for _ in 0..20 {
        world.now = world.now + Duration::from_millis(100);
        for (at, processes) in processes.iter().enumerate() {
            let heard = Heard { node: None, load: load(*processes), age: Duration::ZERO };
            world.nodes[0].0.heard(world.now, id(1 + at), &[heard], |_| true);
        }
        world.nodes[0].0.handle(world.now, &own, &mut out);
    }
    let [Output::Say { to, word: Word::Ask { number, .. } }, ..] = out[..] else { panic!() };
    let mut out = Vec::new();
    let promises = vec![Promise { maker: to, permille: promised, left: PROMISE_LIFE }];
    let answer = Word::Answer { number, load: load(9), promises };
    world.nodes[0].0.word(world.now, &own, to, answer, &mut out);
    let [Output::Redeem { redemption, .. }] = out[..] else { return 0 };
    redemption.permille
}

#[test]
fn what_half_of_the_nodes_have_at_least_is_redeemed_at_once() {
    // It may be asked for it, as far as it has heard.
    assert_eq!(redeemed_at_once(&[100; 5], 8_000), 0);
    assert_eq!(redeemed_at_once(&[100, 100, 1, 1, 1, 1, 1, 0, 0, 0], 8_000), 0);
    assert_eq!(redeemed_at_once(&[100, 100, 5, 5, 5, 5, 5, 5, 4, 4], 8_000), 4_000);
    assert_eq!(redeemed_at_once(&[9; 10], 3_000), 3_000);
}

#[test]
fn what_is_given_instead_counts_though_a_process_has_come_for_it() {
    let mut world = World::new(1, &[0, 9]);
    let heavy = Heard { node: None, load: load(9), age: Duration::ZERO };
    let mut out = Vec::new();
    while out.is_empty() {
        world.now = world.now + Duration::from_millis(100);
        world.nodes[0].0.heard(world.now, id(1), &[heavy], |_| true);
        world.nodes[0].0.handle(world.now, &own(load(0)), &mut out);
    }
    let [Output::Say { word: Word::Ask { number, .. }, .. }] = out[..] else { panic!("{out:?}") };
    let promise = |maker, permille| Promise { maker, permille, left: PROMISE_LIFE };
    let promises = vec![promise(id(1), 1_000)];
    world.say(1, 0, Word::Answer { number, load: load(8), promises });
    assert_eq!(world.effective(0), 1_000);
    // What its maker has left to give is less than a process, as it gives another one's promise instead, which is on its way.
    world.nodes[0].0.comes(world.now, id(1), 1_000);
    assert_eq!(world.effective(0), 0);
    let (now, mut out) = (world.now, Vec::new());
    world.nodes[0].0.instead(now, id(1), &[promise(id(7), 600)], &mut out);
    assert_eq!(world.effective(0), 600);
    let redemption = Redemption { permille: 600, before: Some(0) };
    assert_eq!(out, [Output::Redeem { maker: id(7), redemption }]);
    // Never more than was redeemed.
    world.nodes[0].0.instead(now, id(1), &[promise(id(8), 9_000)], &mut out);
    assert_eq!(world.effective(0), 600);
}

#[test]
fn a_liar_gets_half_of_what_there_is_each_time_and_nobody_holds_more_than_there_is_room_for() {
    let mut world = World::new(1, &[100, 0]);
    let crowded = world.own(0);
    for number in 0..50 {
        let ask = Word::Ask { number, load: load(0) };
        world.nodes[0].0.word(world.now, &crowded, id(1), ask, &mut Vec::new());
    }
    // It is never left with less than who asks says to have, nor with less than one.
    assert!((1_000..3_000).contains(&world.effective(0)), "{}", world.effective(0));
    // Promises of makers that are not there fill what there is room for, until they end.
    let mut liar = World::new(2, &[0, 0]);
    let mut asked = 0;
    for _ in 0..2_000 {
        liar.now = liar.now + Duration::from_millis(100);
        let heavy = Heard { node: Some(id(1)), load: load(1_000), age: Duration::ZERO };
        liar.nodes[0].0.heard(liar.now, id(1), &[heavy], |_| true);
        let mut out = Vec::new();
        let idle = own(load(0));
        liar.nodes[0].0.handle(liar.now, &idle, &mut out);
        for output in out {
            let Output::Say { word: Word::Ask { number, .. }, .. } = output else { continue };
            asked += 1;
            let promise = |maker| Promise {
                maker: NodeId(1_000 * u128::from(asked + 1_u32) + maker),
                permille: 700,
                left: PROMISE_LIFE,
            };
            let promises = (0..PROMISES_PASSED_MAX as u128).map(promise).collect();
            let answer = Word::Answer { number, load: load(1_000), promises };
            liar.nodes[0].0.word(liar.now, &idle, id(1), answer, &mut Vec::new());
        }
    }
    assert!(asked > 10);
    let most = 700 * 2 * HELD_MAX as u64;
    assert!(liar.effective(0) <= most, "{}", liar.effective(0));
}

#[test]
fn words_that_cannot_be_are_refused() {
    let promise = Promise { maker: id(3), permille: 2_000, left: Duration::from_secs(9) };
    let words = [
        Word::Ask { number: 7, load: load(3) },
        Word::Answer { number: 7, load: load(3), promises: vec![promise; 3] },
    ];
    for word in words {
        let bytes = word.to_bytes();
        assert_eq!(Word::read(&bytes), Ok(word.clone()));
        for length in 0..bytes.len() {
            assert_eq!(Word::read(&bytes[..length]), Err(MalformedWord::Cut), "{word:?}");
        }
        assert_eq!(Word::read(&[bytes.as_slice(), &[0]].concat()), Err(MalformedWord::Long));
    }
    let promises = vec![promise; PROMISES_PASSED_MAX + 1];
    let many = Word::Answer { number: 7, load: load(3), promises };
    assert!(Word::read(&many.to_bytes()).is_err());
    let much = Word::Ask { number: 1, load: Load { demand_permille: u32::MAX, ..load(0) } };
    assert_eq!(Word::read(&much.to_bytes()), Err(MalformedWord::Unknown("demand")));
    assert_eq!(Word::read(&[9]), Err(MalformedWord::Unknown("kind")));
    assert_eq!(
        read_samples(&[2 + SAMPLES_TOLD as u8]),
        Err(MalformedWord::Unknown("number of samples"))
    );
    assert_eq!(read_samples(&[1, 0]), Err(MalformedWord::Cut));
    assert_eq!(read_samples(&[0, 5, 6]), Ok((Vec::new(), [5, 6].as_slice())));
}
