//! Where a window begins and ends, in any time zone.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, ToSpan};

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

impl Zone {
    /// Returns the day that it is there at that moment: `2026-12-01`; empty beyond all calendars.
    pub fn day_of(&self, unix_s: i64) -> String {
        let day = Timestamp::from_second(unix_s).map(|at| at.to_zoned(self.time_zone().clone()).date().to_string());
        day.unwrap_or_default()
    }

    /// Returns what its clocks show at that moment, to the minute: `2026-12-01 00:00 (Europe/Berlin)`.
    pub fn clock_at(&self, unix_s: i64) -> String {
        let shown = Timestamp::from_second(unix_s).map(|at| at.to_zoned(self.time_zone().clone()));
        shown
            .map_or_else(|_| "a time beyond all calendars".into(), |at| format!("{} ({self})", at.strftime("%F %H:%M")))
    }
}

impl Period {
    /// Returns the window that `unix_s` lies in. A rolling one ends with the quarter of an hour under way; all others follow
    /// each other without gaps, whatever the zone's clocks do.
    pub fn window_at(self, unix_s: i64, zone: &Zone) -> Window {
        if let Self::Rolling { seconds } = self {
            let end_s = unix_s.div_euclid(QUARTER_S).saturating_add(1).saturating_mul(QUARTER_S);
            return Window { start_s: end_s.saturating_sub_unsigned(seconds), end_s };
        }
        // A clock that stands beyond the years that calendars know has one window for all time.
        self.calendar_window(unix_s, zone.time_zone()).unwrap_or(Window { start_s: i64::MIN, end_s: i64::MAX })
    }

    fn calendar_window(self, unix_s: i64, zone: &TimeZone) -> Option<Window> {
        let today = Timestamp::from_second(unix_s).ok()?.to_zoned(zone.clone()).date();
        let first = self.first_day(today)?;
        let next = first.checked_add(self.length()).ok()?;
        let window = Window { start_s: begin(first, zone)?, end_s: begin(next, zone)? };
        if unix_s < window.end_s {
            return Some(window);
        }
        // Clocks that go back over midnight show the old day once more, when the new one has begun already.
        let after = next.checked_add(self.length()).ok()?;
        Some(Window { start_s: window.end_s, end_s: begin(after, zone)? })
    }

    /// Returns the first day of the window with `day` in it.
    fn first_day(self, day: Date) -> Option<Date> {
        match self {
            Self::Day | Self::Rolling { .. } => Some(day),
            Self::Week => day.checked_sub(i64::from(day.weekday().since(Weekday::Monday)).days()).ok(),
            Self::Month => Some(day.first_of_month()),
            Self::Quarter => day.with().month((day.month() - 1) / 3 * 3 + 1).day(1).build().ok(),
            Self::Year => Some(day.first_of_year()),
        }
    }

    fn length(self) -> Span {
        match self {
            Self::Day | Self::Rolling { .. } => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
            Self::Quarter => 3.months(),
            Self::Year => 1.year(),
        }
    }
}

/// Returns the first second of `day`: midnight, the earlier one of two, or where clocks leap over midnight the moment they do.
fn begin(day: Date, zone: &TimeZone) -> Option<i64> {
    let midnight = zone.to_ambiguous_timestamp(day.to_datetime(Time::midnight()));
    let leaps = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
    // Compatible: as if the clocks had not leapt, which is at the leap or up to its length later.
    let at = midnight.compatible().ok()?;
    if !leaps {
        return Some(at.as_second());
    }
    let just_after = at.checked_add(1.second()).ok()?;
    let leap = zone.preceding(just_after).next();
    Some(leap.map_or(at, |leap| leap.timestamp()).as_second())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALENDAR: [Period; 5] = [Period::Day, Period::Week, Period::Month, Period::Quarter, Period::Year];

    #[test]
    fn a_moment_is_told_by_the_clocks_of_the_zone() {
        let shown = |zone| Zone::of_name(zone).unwrap().clock_at(1_796_079_600);

        assert_eq!(shown("Europe/Berlin"), "2026-12-01 00:00 (Europe/Berlin)");
        assert_eq!(shown("UTC"), "2026-11-30 23:00 (UTC)");
    }

    fn window(period: Period, at: &str, zone: &str) -> [String; 2] {
        let at: Timestamp = at.parse().unwrap();
        let window = period.window_at(at.as_second(), &Zone::of_name(zone).unwrap());
        assert!(window.holds(at.as_second()));
        [window.start_s, window.end_s].map(|second| Timestamp::from_second(second).unwrap().to_string())
    }

    #[test]
    fn a_month_is_that_of_the_holders_calendar() {
        let november = ["2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"];
        assert_eq!(window(Period::Month, "2026-10-31T23:00:00Z", "Europe/Berlin"), november);
        assert_eq!(window(Period::Month, "2026-11-30T22:59:59Z", "Europe/Berlin"), november);
        assert_eq!(
            window(Period::Month, "2026-10-31T22:59:59Z", "Europe/Berlin"),
            ["2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"]
        );
        assert_eq!(
            window(Period::Month, "2028-02-29T23:59:59Z", "UTC"),
            ["2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"]
        );
    }

    #[test]
    fn a_day_has_23_or_25_hours_when_clocks_change() {
        let spring = window(Period::Day, "2027-03-28T12:00:00Z", "Europe/Berlin");
        assert_eq!(spring, ["2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z"]);
        let autumn = window(Period::Day, "2026-10-25T12:00:00Z", "Europe/Berlin");
        assert_eq!(autumn, ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]);
        let spring = window(Period::Day, "2027-03-14T12:00:00Z", "America/New_York");
        assert_eq!(spring, ["2027-03-14T05:00:00Z", "2027-03-15T04:00:00Z"]);
        let autumn = window(Period::Day, "2026-11-01T12:00:00Z", "America/New_York");
        assert_eq!(autumn, ["2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"]);
    }

    #[test]
    fn a_day_without_midnight_begins_when_clocks_leap() {
        let sao_paulo = window(Period::Day, "2018-11-04T03:00:00Z", "America/Sao_Paulo");
        assert_eq!(sao_paulo, ["2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"]);
        let beirut = window(Period::Day, "2026-03-28T22:00:00Z", "Asia/Beirut");
        assert_eq!(beirut, ["2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"]);
        // From 23:30 to 00:30.
        let toronto = window(Period::Day, "1919-03-31T04:30:00Z", "America/Toronto");
        assert_eq!(toronto, ["1919-03-31T04:30:00Z", "1919-04-01T04:00:00Z"]);
    }

    #[test]
    fn a_day_begins_once_where_midnight_comes_twice() {
        // Back from 00:01 to 23:01 of the day before.
        let first = window(Period::Day, "2010-11-07T02:30:00Z", "America/St_Johns");
        assert_eq!(first, ["2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"]);
        assert_eq!(window(Period::Day, "2010-11-07T03:00:00Z", "America/St_Johns"), first);
        let havana = window(Period::Day, "2024-11-03T05:30:00Z", "America/Havana");
        assert_eq!(havana, ["2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"]);
    }

    #[test]
    fn a_day_that_a_zone_left_out_has_no_window() {
        let eve = window(Period::Day, "2011-12-30T09:59:59Z", "Pacific/Apia");
        assert_eq!(eve, ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"]);
        let after = window(Period::Day, "2011-12-30T10:00:00Z", "Pacific/Apia");
        assert_eq!(after, ["2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"]);
    }

    #[test]
    fn a_day_in_kathmandu_begins_at_a_quarter_past_the_hour() {
        let day = window(Period::Day, "2026-11-24T00:00:00Z", "Asia/Kathmandu");
        assert_eq!(day, ["2026-11-23T18:15:00Z", "2026-11-24T18:15:00Z"]);
    }

    #[test]
    fn weeks_begin_on_monday_and_run_over_the_year() {
        let week = window(Period::Week, "2027-01-03T23:59:59Z", "UTC");
        assert_eq!(week, ["2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"]);
        assert_eq!(window(Period::Week, "2026-12-28T00:00:00Z", "UTC"), week);
    }

    #[test]
    fn quarters_and_years_are_those_of_the_calendar() {
        let first = window(Period::Quarter, "2028-02-29T12:00:00Z", "UTC");
        assert_eq!(first, ["2028-01-01T00:00:00Z", "2028-04-01T00:00:00Z"]);
        let last = window(Period::Quarter, "2026-12-31T22:00:00Z", "Europe/Berlin");
        assert_eq!(last, ["2026-09-30T22:00:00Z", "2026-12-31T23:00:00Z"]);
        let leap_year = window(Period::Year, "2028-12-31T23:59:59Z", "UTC");
        assert_eq!(leap_year, ["2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z"]);
    }

    #[test]
    fn a_rolling_window_ends_with_the_quarter_under_way() {
        let day = Period::Rolling { seconds: 86_400 };
        let window_at = |at| window(day, at, "Europe/Berlin");
        assert_eq!(window_at("2026-10-25T12:00:00Z"), ["2026-10-24T12:15:00Z", "2026-10-25T12:15:00Z"]);
        assert_eq!(window_at("2026-10-25T12:14:59Z"), ["2026-10-24T12:15:00Z", "2026-10-25T12:15:00Z"]);
        assert_eq!(window_at("2026-10-25T12:15:00Z"), ["2026-10-24T12:30:00Z", "2026-10-25T12:30:00Z"]);
    }

    fn zones() -> Vec<Zone> {
        jiff::tz::db().available().filter_map(|name| Zone::of_name(name.as_str())).collect()
    }

    /// 1900 to 2100.
    fn moment() -> impl Strategy<Value = i64> {
        -2_208_988_800_i64..4_102_444_800
    }

    proptest! {
        #[test]
        fn windows_follow_each_other_without_gaps(
            at in moment(), zone in prop::sample::select(zones()), period in prop::sample::select(&CALENDAR[..])
        ) {
            let window = period.window_at(at, &zone);

            prop_assert!(window.holds(at), "{window:?}");
            prop_assert_eq!(period.window_at(window.start_s, &zone), window);
            prop_assert_eq!(period.window_at(window.end_s - 1, &zone), window);
            prop_assert_eq!(period.window_at(window.end_s, &zone).start_s, window.end_s);
        }

        #[test]
        fn windows_of_this_century_begin_at_quarters_of_an_hour(
            at in 946_684_800_i64..4_102_444_800, zone in prop::sample::select(zones()),
            period in prop::sample::select(&CALENDAR[..])
        ) {
            let Window { start_s, end_s } = period.window_at(at, &zone);

            prop_assert_eq!((start_s % QUARTER_S, end_s % QUARTER_S), (0, 0));
        }

        #[test]
        fn no_clock_is_too_wrong_for_a_window(at: i64, hours in 1_u64..8_784, zone in prop::sample::select(zones())) {
            let rolling = Period::Rolling { seconds: hours * 3_600 };
            for period in CALENDAR.into_iter().chain([rolling]) {
                let window = period.window_at(at, &zone);

                prop_assert!(window.start_s <= at && (at < window.end_s || window.end_s == i64::MAX), "{window:?}");
            }
        }
    }

    /// Where clocks change windows are most likely to go wrong, and chance would seldom look there.
    #[test]
    fn windows_follow_each_other_around_every_change_of_clocks() {
        let from: Timestamp = "1900-01-01T00:00:00Z".parse().unwrap();
        let until: Timestamp = "2040-01-01T00:00:00Z".parse().unwrap();
        for zone in zones() {
            let changes = zone.time_zone().following(from).map(|change| change.timestamp());
            for change in changes.take_while(|change| *change < until) {
                for at in [-3_600, -1, 0, 1, 1_800, 3_599].map(|off| change.as_second() + off) {
                    let window = Period::Day.window_at(at, &zone);

                    assert!(window.holds(at), "{zone} {at} {window:?}");
                    assert_eq!(Period::Day.window_at(window.start_s, &zone), window, "{zone} {at}");
                    assert_eq!(Period::Day.window_at(window.end_s, &zone).start_s, window.end_s, "{zone} {at}");
                }
            }
        }
    }

    #[test]
    fn a_zone_goes_by_its_name_whatever_the_case() {
        assert_eq!(Zone::of_name("europe/berlin").unwrap().to_string(), "Europe/Berlin");
        assert_eq!(Zone::of_name("utc"), Some(Zone::default()));
        assert_eq!(Zone::of_name("Europe/Berlyn"), None);
        assert_eq!(Zone::of_name(""), None);
    }
}
