//! One checker a property. Each compares what processes and kernels say with the ledger of what has happened.

pub(crate) mod copies;
pub(crate) mod ends;
pub(crate) mod families;
pub(crate) mod groups;
pub(crate) mod leaks;
pub(crate) mod leases;
pub(crate) mod lost;
pub(crate) mod names;
pub(crate) mod once;
pub(crate) mod origins;
pub(crate) mod replies;
pub(crate) mod sleep;
pub(crate) mod tables;
pub(crate) mod told;
pub(crate) mod truth;

use crate::world::World;

/// Their names, and what each holds.
pub const ALL: [(&str, &str); 16] = [
    ("once", "no message is delivered twice"),
    ("lost", "no reply is refused that its sender waits for"),
    ("replies", "a reply matches its send"),
    ("copies", "at most one copy of a process runs"),
    ("told", "every blocked process is told eventually"),
    ("truth", "what a process is told has happened"),
    ("ends", "who watches is told of an end once, and who is linked ends"),
    ("leaks", "nothing is kept for ever"),
    ("leases", "what is lent is read and written while its sender waits, and is what both see"),
    ("groups", "a send to a group gets each member's reply at most once, and ends"),
    ("sleep", "who sleeps does nothing, wakes once with all that it had, and misses nothing"),
    ("families", "a family ends with its root, and not before"),
    ("names", "all nodes know the same names, each has one owner, and who has lost one is told"),
    ("origins", "an origin is told once of each end"),
    ("tables", "nodes keep nothing of what is over"),
    ("limits", "what is sent and moved keeps to the limits"),
];

/// Nothing goes wrong any more, and there was time.
pub(crate) fn at_rest(world: &mut World) {
    told::check(world);
    ends::at_rest(world);
    leaks::at_rest(world);
    copies::at_rest(world);
    families::at_rest(world);
    names::at_rest(world);
    leases::at_rest(world);
    sleep::at_rest(world);
}

/// All have ended, and there was time.
pub(crate) fn at_end(world: &mut World) {
    leaks::at_end(world);
    origins::at_end(world);
    tables::at_end(world);
}
