//! Samples of one quantity, and how a metric is printed.

use crate::output::{Align, Table};
use serde::Serialize;

/// Several measurements of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle one, or the mean of the two in the middle; NaN of none.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => sorted[count / 2],
            count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
        }
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Geometric mean; 1 of none.
pub(crate) fn geomean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.into_iter().fold((0.0, 0_u32), |(sum, count), value| (sum + value.ln(), count + 1));
    if count == 0 { 1.0 } else { (sum / f64::from(count)).exp() }
}

/// One line of a bench, as JSON has it. `value` is the median.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Metric {
    pub(crate) metric: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) runs: usize,
    pub(crate) min: f64,
    pub(crate) median: f64,
}

impl Metric {
    pub(crate) fn of(metric: impl Into<String>, unit: &'static str, samples: &Samples) -> Metric {
        let median = samples.median();
        Metric {
            metric: metric.into(),
            value: median,
            unit,
            runs: samples.len(),
            min: samples.min(),
            median,
        }
    }

    /// A figure made of others.
    pub(crate) fn derived(
        metric: impl Into<String>,
        unit: &'static str,
        value: f64,
        runs: usize,
    ) -> Metric {
        Metric { metric: metric.into(), value, unit, runs, min: value, median: value }
    }
}

pub(crate) fn table(metrics: &[Metric]) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("METRIC", Align::Left),
        ("VALUE", right),
        ("UNIT", Align::Left),
        ("MIN", right),
        ("RUNS", right),
    ]);
    for metric in metrics {
        let number = |value: f64| format!("{value:.3}");
        table.row(vec![
            metric.metric.clone(),
            number(metric.value),
            metric.unit.into(),
            number(metric.min),
            metric.runs.to_string(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_means() {
        let samples = |values: &[f64]| Samples(values.to_vec());
        assert_eq!(samples(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(samples(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(samples(&[]).median().is_nan());
        assert_eq!(samples(&[3.0, 1.0]).min(), 1.0);
        assert!((geomean([2.0, 8.0]) - 4.0).abs() < 1e-12);
    }
}
