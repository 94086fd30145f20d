//! Today's date, for names of records. UTC; no time zones, no parsing.

use std::time::{SystemTime, UNIX_EPOCH};

/// `YYYY-MM-DD`, now.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    civil(seconds / 86_400)
}

/// Days since 1970-01-01 as a civil date (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> String {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn known_days() {
        let check = |days, expected| assert_eq!(civil(days), expected);
        check(0, "1970-01-01");
        check(11_016, "2000-02-29");
        check(20_000, "2024-10-04");
        check(47_540, "2100-02-28");
        check(47_541, "2100-03-01");
    }
}
