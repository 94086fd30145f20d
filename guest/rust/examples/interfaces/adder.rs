//! What the adder's clients and servers have in common.

/// Adds up.
#[peripatos::service]
pub(crate) trait Adder {
    /// Adds to the sum: the sum.
    fn add(&mut self, number: i64) -> i64;
    /// The sum, in words.
    fn describe(&self, unit: &str) -> String;
}

/// The sum.
#[derive(Default)]
pub(crate) struct Sum(i64);

impl Adder for Sum {
    fn add(&mut self, number: i64) -> i64 {
        self.0 += number;
        self.0
    }

    fn describe(&self, unit: &str) -> String {
        format!("{} {unit}", self.0)
    }
}
