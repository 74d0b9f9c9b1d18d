//! Where a window begins and ends, in any time zone.

use jiff::civil::Weekday;
use jiff::{Timestamp, ToSpan, Zoned};

use super::{Period, QUARTER_S, Zone};

/// A span of time: from `start_s` on, before `end_s`, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// Its first second.
    pub start_s: i64,
    /// The first second after it.
    pub end_s: i64,
}

impl Window {
    /// Returns whether `unix_s` lies within.
    pub fn holds(self, unix_s: i64) -> bool {
        (self.start_s..self.end_s).contains(&unix_s)
    }
}

impl Period {
    /// Returns the window that `unix_s` lies in. A rolling one ends with the quarter of an hour under way.
    pub fn window_at(self, unix_s: i64, zone: &Zone) -> Window {
        let quarter_end = (unix_s.div_euclid(QUARTER_S) + 1) * QUARTER_S;
        if let Self::Rolling { seconds } = self {
            return Window { start_s: quarter_end - seconds.cast_signed(), end_s: quarter_end };
        }
        // A clock that stands beyond the years that calendars know has one window for all time.
        let calendar = Timestamp::from_second(unix_s).ok().map(|at| at.to_zoned(zone.time_zone().clone()));
        let window = calendar.and_then(|now| self.around(&now));
        window.unwrap_or(Window { start_s: i64::MIN, end_s: i64::MAX })
    }

    fn around(self, now: &Zoned) -> Option<Window> {
        let day = now.date();
        let first = match self {
            Self::Day | Self::Rolling { .. } => day,
            Self::Week => day.checked_sub(i64::from(day.weekday().since(Weekday::Monday)).days()).ok()?,
            Self::Month => day.first_of_month(),
            Self::Quarter => day.with().month((day.month() - 1) / 3 * 3 + 1).day(1).build().ok()?,
            Self::Year => day.first_of_year(),
        };
        let length = match self {
            Self::Day | Self::Rolling { .. } => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
            Self::Quarter => 3.months(),
            Self::Year => 1.year(),
        };
        let next = first.checked_add(length).ok()?;
        // Where midnight does not exist, the day begins with the first moment that does.
        let begin =
            |date: jiff::civil::Date| Some(date.to_zoned(now.time_zone().clone()).ok()?.timestamp().as_second());
        Some(Window { start_s: begin(first)?, end_s: begin(next)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(period: Period, at: &str, zone: &str) -> [String; 2] {
        let at: Timestamp = at.parse().unwrap();
        let window = period.window_at(at.as_second(), &Zone::of_name(zone).unwrap());
        assert!(window.holds(at.as_second()));
        [window.start_s, window.end_s].map(|second| Timestamp::from_second(second).unwrap().to_string())
    }

    #[test]
    fn a_month_is_that_of_the_holders_calendar() {
        let expected = ["2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"];
        assert_eq!(window(Period::Month, "2026-11-01T00:00:00Z", "Europe/Berlin"), expected);
    }
}
