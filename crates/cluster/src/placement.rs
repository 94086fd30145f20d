//! Where processes may run: what nodes are labelled with, and what a program asks of the nodes that run it.
//!
//! A program's processes begin where they are spawned, and go on to a node that suits them if that one does not; what a
//! program asks goes with each of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{LABEL_BYTES_MAX, LABELS_MAX};

/// `KEY=VALUE`, each of 1 to [`LABEL_BYTES_MAX`] letters, digits, dots, dashes, underscores and slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Label {
    key: String,
    value: String,
}

impl Label {
    /// Whether it could have been parsed.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        let good =
            |text: &str| (1..=LABEL_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
        good(&self.key) && good(&self.value)
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Label, String> {
        let label = text
            .split_once('=')
            .map(|(key, value)| Label { key: key.to_owned(), value: value.to_owned() });
        label.filter(Label::is_valid).ok_or_else(|| {
            format!(
                "a label is KEY=VALUE, each of 1 to {LABEL_BYTES_MAX} letters, digits, dots, dashes, underscores \
                 and slashes"
            )
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// What a node is labelled with. A key may have several values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// In order, each once.
    ///
    /// # Errors
    /// There are more than [`LABELS_MAX`].
    pub fn new(labels: impl IntoIterator<Item = Label>) -> Result<Labels, String> {
        let mut labels: Vec<Label> = labels.into_iter().collect();
        labels.sort();
        labels.dedup();
        let labels = Labels(labels);
        labels.is_valid().then_some(labels).ok_or_else(|| format!("at most {LABELS_MAX} labels"))
    }

    /// Whether there are not too many, and each is valid.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.0.len() <= LABELS_MAX && self.0.iter().all(Label::is_valid)
    }

    fn has(&self, label: &Label) -> bool {
        self.0.contains(label)
    }

    /// As text.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(Label::to_string).collect()
    }
}

/// What a program asks of the nodes that run it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// A node has all of these.
    pub on: Vec<Label>,
    /// And none of these.
    pub not_on: Vec<Label>,
    /// Of the nodes that may run it those are favoured that have more of these, all the same each.
    pub prefer: Vec<Label>,
}

impl Placement {
    /// Whether it asks anything.
    #[must_use]
    pub fn is_some(&self) -> bool {
        !self.on.is_empty() || !self.not_on.is_empty() || !self.prefer.is_empty()
    }

    /// Whether there is not too much of it, and each label is valid.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let good =
            |labels: &[Label]| labels.len() <= LABELS_MAX && labels.iter().all(Label::is_valid);
        good(&self.on) && good(&self.not_on) && good(&self.prefer)
    }

    /// Whether a node of these labels may run the program.
    pub(crate) fn suits(&self, labels: &Labels) -> bool {
        self.on.iter().all(|label| labels.has(label))
            && !self.not_on.iter().any(|label| labels.has(label))
    }

    /// How much of what it prefers a node of these labels has: from 0 to 1. All, if it prefers nothing.
    pub(crate) fn met(&self, labels: &Labels) -> f64 {
        let met = self.prefer.iter().filter(|label| labels.has(label)).count();
        if self.prefer.is_empty() { 1.0 } else { met as f64 / self.prefer.len() as f64 }
    }
}

/// What has to be, as options of a command line; what is only preferred is left out.
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = self.on.iter().map(|label| format!("--on {label}"));
        let not_on = self.not_on.iter().map(|label| format!("--not-on {label}"));
        f.write_str(&on.chain(not_on).collect::<Vec<_>>().join(" "))
    }
}

/// Why a node does not take a process that asks for this.
pub(crate) fn unsuited(placement: Option<&Placement>) -> String {
    let asked = placement.map(Placement::to_string).unwrap_or_default();
    format!("it does not suit {asked}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(texts: &[&str]) -> Vec<Label> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn labels_are_checked() {
        assert_eq!("gpu=yes".parse::<Label>().unwrap().to_string(), "gpu=yes");
        let long = format!("{}=x", "k".repeat(LABEL_BYTES_MAX + 1));
        for wrong in ["", "gpu", "=yes", "gpu=", "a=b=c", "a b=c", "a=\u{1b}[31m", &long] {
            assert!(wrong.parse::<Label>().is_err(), "{wrong}");
        }
        let many = (0..=LABELS_MAX).map(|number| format!("k{number}=v").parse().unwrap());
        assert!(Labels::new(many).is_err());
        let twice = Labels::new(labels(&["b=1", "a=1", "b=1"])).unwrap();
        assert_eq!(twice.texts(), ["a=1", "b=1"]);
    }

    #[test]
    fn a_node_suits_that_has_all_that_is_wanted_and_nothing_that_is_not() {
        let check = |on: &[&str], not_on: &[&str], expected| {
            let (on, not_on) = (labels(on), labels(not_on));
            let placement = Placement { on, not_on, ..Placement::default() };
            let node = Labels::new(labels(&["gpu=yes", "zone=a"])).unwrap();
            assert_eq!(placement.suits(&node), expected, "{placement}");
        };
        check(&[], &[], true);
        check(&["gpu=yes"], &[], true);
        check(&["gpu=yes", "zone=a"], &["zone=b"], true);
        check(&["gpu=no"], &[], false);
        check(&["gpu=yes", "disk=ssd"], &[], false);
        check(&["gpu=yes"], &["zone=a"], false);
    }

    #[test]
    fn what_is_preferred_is_met_in_part() {
        let check = |prefer: &[&str], met: f64| {
            let placement = Placement { prefer: labels(prefer), ..Placement::default() };
            let node = Labels::new(labels(&["gpu=yes", "zone=a"])).unwrap();
            assert!((placement.met(&node) - met).abs() < 1e-9, "{prefer:?}");
            assert!(placement.suits(&node) && placement.to_string().is_empty());
            assert_eq!(placement.is_some(), !prefer.is_empty());
        };
        check(&[], 1.0);
        check(&["gpu=yes"], 1.0);
        check(&["gpu=no"], 0.0);
        check(&["gpu=yes", "zone=b"], 0.5);
        check(&["gpu=yes", "zone=a", "zone=b", "disk=ssd"], 0.5);
        let many = (0..=LABELS_MAX).map(|number| format!("k{number}=v").parse().unwrap());
        assert!(!Placement { prefer: many.collect(), ..Placement::default() }.is_valid());
    }
}
