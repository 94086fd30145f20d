//! Policy: which process should move where, given what is known. It proposes and never moves.
//!
//! All nodes together have one **potential**: how many seconds all processes lose in a second, as they share cores
//! ([`Load::strain`]). A move is proposed only if it lowers the potential, clearly, and if what that saves for as long as the process may be
//! expected to go on is more than what the move takes, as measured ([`Prices`]). **Idle nodes pull**: a node asks the one of which it
//! would take most, and that one sees for itself. docs/balancing.md has the argument.
//!
//! Pure functions of their arguments: no clock, no randomness.
//!
//! Invariants, each a test of `tests/potential.rs`:
//! * each move that is proposed lowers the potential by what [`Terms::gain`] says. So while demands and speeds stay as they are there are no
//!   more moves than the potential allows, whatever the order of questions, and nobody goes to and fro;
//! * when nothing more is proposed, nodes of one core and the same speed differ by at most a process and a tenth of what they have.

mod demand;
mod load;
mod policy;
mod price;
mod share;

pub use demand::{Crowd, Demand};
pub use load::{Load, MEMORY_KEPT_BYTES, level, median};
pub use policy::{
    Bounds, Candidate, MARGIN, MARGIN_PROMISED, Nearest, PREFERENCE, Terms, Why, weigh,
    what_to_give, where_to_send, whom_to_ask,
};
pub use price::{Prices, rest_after};
pub use share::share;
