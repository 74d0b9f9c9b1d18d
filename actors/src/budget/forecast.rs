//! Where a budget is bound for, by how fast it was spent of late.

use super::account::Standing;

/// The longer of the two times looked back on, in seconds.
pub const WEEK_S: i64 = 7 * DAY_S;
/// The shorter.
pub const DAY_S: i64 = 86_400;

/// What will have been spent when the window ends, if spending goes on as in the last seven days or as in the last day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forecast {
    /// Nano-dollars by the end of the window, by the slower of the two paces.
    pub low_nano: u64,
    /// By the faster.
    pub high_nano: u64,
    /// When the limit is reached at the earliest, in seconds since 1970; `None`: not within the window.
    pub runs_out_s: Option<i64>,
}

impl Forecast {
    /// Makes it out at `now_s` from what the holder spent in the last seven days and in the last one.
    pub fn of(standing: &Standing, week_nano: u64, day_nano: u64, now_s: i64) -> Self {
        let left_s = standing.window.end_s.saturating_sub(now_s).max(0);
        let by = |spent: u64, within_s: i64| {
            let more = u128::from(spent) * left_s.cast_unsigned() as u128 / within_s.cast_unsigned() as u128;
            standing.posted_nano.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
        };
        let (week, day) = (by(week_nano, WEEK_S), by(day_nano, DAY_S));
        let room = standing.limit_nano.saturating_sub(standing.posted_nano);
        let out = |spent: u64, within_s: i64| {
            let wait = u128::from(room) * within_s.cast_unsigned() as u128 / u128::from(spent.max(1));
            i64::try_from(wait).ok().filter(|wait| spent > 0 && *wait < left_s).map(|wait| now_s.saturating_add(wait))
        };
        let runs_out_s = [out(week_nano, WEEK_S), out(day_nano, DAY_S)].into_iter().flatten().min();
        Self { low_nano: week.min(day), high_nano: week.max(day), runs_out_s: runs_out_s.filter(|_| left_s > 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Window;

    const NOW: i64 = 10 * DAY_S;

    fn standing(posted_nano: u64, limit_nano: u64) -> Standing {
        Standing { window: Window { start_s: 0, end_s: 30 * DAY_S }, limit_nano, posted_nano, pending_nano: 0 }
    }

    #[test]
    fn spending_goes_on_as_it_went() {
        let steady = Forecast::of(&standing(1_000, 9_000), 700, 100, NOW);
        let faster = Forecast::of(&standing(1_000, 9_000), 700, 500, NOW);

        assert_eq!(steady, Forecast { low_nano: 3_000, high_nano: 3_000, runs_out_s: None });
        assert_eq!((faster.low_nano, faster.high_nano), (3_000, 11_000));
        assert_eq!(faster.runs_out_s, Some(NOW + 16 * DAY_S));
    }

    #[test]
    fn what_is_spent_has_run_out_and_what_stands_still_never_does() {
        assert_eq!(Forecast::of(&standing(9_000, 9_000), 700, 0, NOW).runs_out_s, Some(NOW));
        assert_eq!(Forecast::of(&standing(8_999, 9_000), 0, 0, NOW).runs_out_s, None);
        assert_eq!(Forecast::of(&standing(0, u64::MAX), u64::MAX, u64::MAX, NOW).high_nano, u64::MAX);
    }
}
