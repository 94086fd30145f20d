//! A fake target leads a move to a certain step, and dies there, falls silent or is cut off: the program goes on at its
//! source, or stands still in doubt until somebody knows.

use std::process::Child;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Answer, Command, Content, Message};
use peripatos_cluster::{Departure, NodeId, OwnProof, Proof};
use peripatos_host::link::{Keyring, Statement, Token};

use crate::fake::{Body, Fake, Step, Taken};
use crate::program::Program;
use crate::support::{Cluster, text};

/// Memory of a process whose image goes over the link, and of one whose image has a lane.
const BALLAST_BYTES: [usize; 2] = [100 << 10, 8 << 20];

/// A program at "a" that has said something and waits for more.
fn program(cluster: &Cluster, ballast_bytes: usize) -> Program {
    let mut program = Program::heavy_dialogue(cluster, "a", ballast_bytes);
    goes_on(cluster, &mut program);
    program
}

/// It answers, at "a".
#[track_caller]
fn goes_on(cluster: &Cluster, program: &mut Program) {
    program.say();
    assert!(program.answers(), "{}{}", program.errors.text(), cluster.logs());
    let row = cluster.row("a", &program.pid()).unwrap();
    assert_eq!(row.node.as_deref(), Some("a"));
}

#[track_caller]
fn is_refused(moving: Child, says: &str) {
    let said = refusal(moving);
    assert!(said.contains(says), "{said}");
}

fn refusal(moving: Child) -> String {
    let output = moving.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    text(&output.stderr)
}

#[test]
fn a_target_that_is_killed_at_any_step_leaves_the_program_at_its_source() {
    let cluster = Cluster::of(&["a"]);
    let check = |program: &mut Program, step: Step, says: &str| {
        let mut body = Body::new();
        let mut fake = Fake::new(&cluster, "target");
        fake.hello.host = body.identity();
        fake.dial(&cluster.join[2]);
        let moving = cluster.begin_move("a", &program.pid(), &fake.id_short());
        fake.takes(step);
        program.say();
        body.kill();
        fake.hang_up();
        let said = refusal(moving);
        // Who copies or sends its memory may notice first.
        let broke = step > Step::Offered && said.contains("cannot be copied: Broken pipe");
        assert!(broke || said.contains(says), "{said}");
        // Without anybody's help: the OS process is of this machine, and can be seen to be gone.
        goes_on(&cluster, program);
    };
    for ballast_bytes in BALLAST_BYTES {
        let mut program = program(&cluster, ballast_bytes);
        check(&mut program, Step::Offered, "the link to node target broke");
        check(&mut program, Step::Ready, "the link to node target broke");
        check(&mut program, Step::PartOfImage, "the link to node target broke");
        check(&mut program, Step::Image, "the link to node target broke");
        // Whether the commit went out before the end was noticed is not known.
        check(&mut program, Step::Prepared, "the link to node target broke");
        check(&mut program, Step::Committed, "is in doubt");
        program.finish(&cluster);
    }
}

#[test]
fn whoever_waits_is_told_that_the_source_has_died_in_a_move() {
    let mut cluster = Cluster::of(&["origin", "source"]);
    let mut check = |step: Step| {
        let mut program = Program::heavy_dialogue(&cluster, "origin", BALLAST_BYTES[0]);
        let pid = program.pid();
        cluster.migrate("origin", &pid, "source");
        let mut fake = Fake::new(&cluster, "target");
        fake.dial(&cluster.address("source"));
        let moving = cluster.begin_move("source", &pid, &fake.id_short());
        fake.takes(step);
        cluster.node("source").kill();
        assert_eq!(moving.wait_with_output().unwrap().status.code(), Some(68));
        program.ends_with(76, "node source, which ran the process, is gone");
        assert_eq!(cluster.row("origin", &pid), None);
        cluster.up_again("source", "origin");
        cluster.until_linked();
    };
    [Step::Offered, Step::PartOfImage, Step::Committed].into_iter().for_each(&mut check);
}

/// How often a link is cut.
const CUTS: usize = 25;

#[test]
fn a_link_cut_within_an_image_leaves_nothing_behind() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut fake = Fake::join(&cluster, "fake");
    let moved = |fake: &mut Fake, cluster: &Cluster, program: &mut Program, step| {
        let moving = cluster.begin_move("a", &program.pid(), "fake");
        let taken = fake.takes(step);
        cut(cluster, fake);
        // Of what is copied while it runs the lane may be seen to break first.
        let said = refusal(moving);
        let says = ["the link to node fake broke", "its memory cannot be copied"];
        assert!(says.iter().any(|one| said.contains(one)), "{said}");
        goes_on(cluster, program);
        fake.dial(&cluster.join[2]);
        taken
    };
    for ballast_bytes in BALLAST_BYTES {
        let mut program = program(&cluster, ballast_bytes);
        let Taken { mut luggage, image, by_lane, .. } =
            moved(&mut fake, &cluster, &mut program, Step::Image);
        assert_eq!(by_lane, ballast_bytes == BALLAST_BYTES[1]);
        luggage.process.pid = Pid::new(7, 7);
        let before = cluster.node("a").holds();
        for _ in 0..CUTS {
            moved(&mut fake, &cluster, &mut program, Step::PartOfImage);
            let migration = fake.offer_luggage(luggage.clone());
            fake.is_ready(migration);
            fake.bulk(Content::Image(migration), &image[..image.len() / 2], false);
            cut(&cluster, &mut fake);
            fake.dial(&cluster.join[2]);
        }
        cluster.node("a").until_holds_no_more_than(before);
        cluster.migrate("a", &program.pid(), "b");
        program.say();
        assert!(program.answers());
        program.finish(&cluster);
    }
}

/// Cuts the link, and waits until that has been noticed.
fn cut(cluster: &Cluster, fake: &mut Fake) {
    fake.hang_up();
    cluster.until_cut("a", "fake");
}

/// How it is found out what has become of a process in doubt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    /// The same OS process of the target is back, and does not have it.
    NotTaken,
    /// The target is back in another OS process.
    Restarted,
    /// An operator gives it up.
    Forgotten,
    /// The same OS process of the target is back, and has it.
    Taken,
}

#[test]
fn a_program_in_doubt_stands_still_until_it_is_known_where_it_is() {
    let cluster = Cluster::of(&["a"]);
    let mut program = program(&cluster, BALLAST_BYTES[0]);
    let pid = program.pid();
    for found in [Found::NotTaken, Found::Restarted, Found::Forgotten, Found::Taken] {
        let mut fake = Fake::join(&cluster, "fake");
        let moving = cluster.begin_move("a", &pid, &fake.id_short());
        let Taken { migration, .. } = fake.takes(Step::Committed);
        fake.hang_up();
        is_refused(moving, "is in doubt");
        let answered = program.said.text();
        program.say();
        let row = cluster.until_row("a", &pid, |row| row.state == "in-doubt");
        assert_eq!(row.node.as_deref(), Some("a"));
        assert_eq!(program.said.text(), answered, "it stands still");

        match found {
            Found::Forgotten => drop(cluster.done(["forget", &fake.id_short()])),
            Found::Restarted => {
                fake.hello.incarnation.0 += 1;
                fake.dial(&cluster.join[2]);
            }
            Found::NotTaken | Found::Taken => {
                fake.dial(&cluster.join[2]);
                fake.is_queried(migration);
                let committed = found == Found::Taken;
                fake.say(&Message::Outcome { migration, committed });
                fake.is_heard();
            }
        }
        if found != Found::Taken {
            assert!(program.answers(), "{found:?}{}", cluster.logs());
            assert_eq!(cluster.row("a", &pid).unwrap().node.as_deref(), Some("a"));
            fake.hang_up();
            continue;
        }
        // It is the target's now, and is lost with it.
        cut(&cluster, &mut fake);
        assert_eq!(cluster.row("a", &pid), None);
        cluster.done(["forget", &fake.id_short()]);
        program.ends_with(76, "which ran the process, is gone");
        assert_eq!(program.said.text(), answered);
    }
}

/// A node that was stolen, and that does not have the token: what is in doubt would go on, and run twice.
#[test]
fn who_does_not_have_the_token_ends_no_doubt() {
    let mut cluster = Cluster::of(&["a"]);
    let mut program = program(&cluster, BALLAST_BYTES[0]);
    let pid = program.pid();
    let mut fake = Fake::join(&cluster, "fake");
    let mut liar = Fake::join(&cluster, "liar");
    let moving = cluster.begin_move("a", &pid, &fake.id_short());
    fake.takes(Step::Committed);
    fake.hang_up();
    is_refused(moving, "is in doubt");

    let node = fake.id();
    let mut says = |proof: Option<Proof>| -> Answer {
        let command = Command::Forget { node, proof: proof.map(Box::new) };
        liar.say(&Message::Command { request: 9, command });
        liar.hears(|message| match message {
            Message::Answer { request: 9, answer } => Some(answer),
            _ => None,
        })
    };
    let a: NodeId = cluster.nodes_at("a")[0].id.parse().unwrap();
    let keyring = Keyring::from(cluster.join[4].parse::<Token>().unwrap());
    let stranger = Keyring::from(Token::generate().unwrap());
    let gone = Statement::Gone { node, to: a };
    // What an operator has told another node is not told on, nor is it what was said of another one.
    let others = [
        Statement::Gone { node, to: NodeId(99) },
        Statement::Gone { node: NodeId(99), to: a },
        Statement::Removed(node),
    ];
    let lies = others.map(|other| keyring.sign(other).unwrap()).map(Some);
    let unsigned = [None, Some(Proof::default()), Some(stranger.sign(gone).unwrap())];
    for proof in lies.into_iter().chain(unsigned) {
        let refused = says(proof);
        assert!(
            matches!(&refused, Answer::Refused(why) if why.contains("has the token")),
            "{refused:?}"
        );
        assert_eq!(cluster.row("a", &pid).unwrap().state, "in-doubt");
    }
    cluster.node("a").until_said(
        "node liar says that node fake is gone, and does not prove that an operator says so: it is not believed",
    );
    // Who has the token is believed.
    assert_eq!(says(Some(keyring.sign(gone).unwrap())), Answer::Done);
    goes_on(&cluster, &mut program);

    // That a node has left in order it has signed itself, whoever tells it.
    let mut fake = Fake::join(&cluster, "other");
    let moving = cluster.begin_move("a", &pid, &fake.id_short());
    fake.takes(Step::Committed);
    fake.hang_up();
    is_refused(moving, "is in doubt");
    let departure = fake.departure();
    for proof in [OwnProof::default(), liar.departure().proof] {
        liar.say(&Message::Left(vec![Departure { proof, ..departure }]));
        liar.is_heard();
        assert_eq!(cluster.row("a", &pid).unwrap().state, "in-doubt");
    }
    cluster.node("a").until_said(
        "node liar says that nodes have left, and does not prove it: it is not believed",
    );
    liar.say(&Message::Left(vec![departure]));
    goes_on(&cluster, &mut program);
    program.finish(&cluster);
}
