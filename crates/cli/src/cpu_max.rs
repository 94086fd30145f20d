//! How much CPU time a program may use: `50%` of a core, or `1.5` cores.

use std::str::FromStr;

/// The most that can be said.
const CORES_MAX: f64 = 1024.0;

/// In thousandths of a core, ten at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuMax(u32);

impl CpuMax {
    pub(crate) fn permille(self) -> u32 {
        self.0
    }
}

impl FromStr for CpuMax {
    type Err = String;

    fn from_str(text: &str) -> Result<CpuMax, String> {
        let (number, of) = match text.strip_suffix('%') {
            Some(percent) => (percent, 100.0),
            None => (text, 1.0),
        };
        let cores = number.parse::<f64>().ok().map(|number| number / of);
        let cores = cores.filter(|cores| (0.01..=CORES_MAX).contains(cores));
        let cores = cores.ok_or("write it as 50% of a core, or as 1.5 cores: from 1% to 1024")?;
        Ok(CpuMax((cores * 1e3).round() as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_and_cores() {
        let check = |text: &str, permille: Option<u32>| {
            assert_eq!(text.parse().ok().map(CpuMax::permille), permille, "{text}");
        };
        check("50%", Some(500));
        check("1.5", Some(1_500));
        check("2", Some(2_000));
        check("150%", Some(1_500));
        check("0.01", Some(10));
        for wrong in ["", "%", "0", "0.5%", "-1", "2000", "NaN", "inf", "half"] {
            check(wrong, None);
        }
    }
}
