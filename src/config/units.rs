//! Durations, sizes, dates and moments as people write them.

use std::{fmt, time};

use jiff::{civil, fmt::friendly::SpanParser};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::strict::refuse;
use crate::model::written_time::WrittenTime;

const DURATION: &str = "a duration such as \"2s\", \"10m\", \"3d\" or \"1y\"";
const SIZE: &str = "a size such as \"30MB\", \"200KB\" or \"30MiB\", or a whole number of bytes";
const DATE: &str = "a date such as 2008-01-06";
const MOMENT: &str = "a date and time with the offset from UTC, such as 2026-11-20T09:30:00-06:00";
const NO_OFFSET: &str = "a moment: this time lacks its offset from UTC; write it such as 2026-11-20T09:30:00-06:00, or \
                         2026-11-20T15:30:00Z for UTC";
const NO_TIME: &str = "a moment: this date lacks its time; write it such as 2026-11-20T09:30:00-06:00";

/// Text that is not what it should be; the words say what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct Unreadable(&'static str);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// A length of time: a day has 24 hours, a year 365 days, and there are no months. At most 100 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(time::Duration);

impl Duration {
    /// `None` when it is longer than 100 years.
    pub const fn new(duration: time::Duration) -> Option<Self> {
        if duration.as_secs() >= 100 * YEAR { None } else { Some(Self(duration)) }
    }

    /// For defaults: at most a day less than 100 years.
    pub const fn seconds(seconds: u32) -> Self {
        Self(time::Duration::from_secs(if (seconds as u64) < 100 * YEAR { seconds as u64 } else { 100 * YEAR - 1 }))
    }

    /// What the standard library and tokio want.
    pub const fn get(self) -> time::Duration {
        self.0
    }

    /// For `deserialize_with`: more than nothing.
    pub fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let duration = Self::deserialize(deserializer)?;
        let zero = duration.0.is_zero();
        if zero { Err(refuse("longer than nothing, such as \"2s\"")) } else { Ok(duration) }
    }
}

impl std::str::FromStr for Duration {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let span = SpanParser::new().parse_span(text).map_err(|_| Unreadable(DURATION))?;
        if span.is_negative() {
            return Err(Unreadable("a duration that is not negative"));
        }
        if span.get_months() != 0 {
            return Err(Unreadable("a duration without months, whose lengths differ: say it in days"));
        }
        let days = i64::from(span.get_years()) * 365 + i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
        let clock = span.years(0).weeks(0).days(0);
        let clock = jiff::SignedDuration::try_from(clock).map_err(|_| Unreadable(DURATION))?;
        let total = jiff::SignedDuration::from_hours(24 * days).checked_add(clock);
        let total = total.and_then(|total| time::Duration::try_from(total).ok());
        total.and_then(Self::new).ok_or(Unreadable("a duration of less than 100 years"))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), u64::from(self.0.subsec_nanos()));
        let (years, days) = if seconds % YEAR < DAY { (seconds / YEAR, 0) } else { (0, seconds / DAY) };
        let parts = [
            (years, "y"),
            (days, "d"),
            (seconds % DAY / HOUR, "h"),
            (seconds % HOUR / MINUTE, "m"),
            (seconds % MINUTE, "s"),
            (nanos / 1_000_000, "ms"),
            (nanos / 1_000 % 1_000, "us"),
            (nanos % 1_000, "ns"),
        ];
        let mut words: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
        if words.is_empty() {
            words.push("0s".to_owned());
        }
        f.write_str(&words.join(" "))
    }
}

/// A number of bytes: KB, MB, GB count in thousands, KiB, MiB, GiB in 1024s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Largest first.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

impl std::str::FromStr for ByteSize {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| Unreadable(SIZE))?;
        let unit = match unit.trim() {
            "" => "B",
            unit => unit,
        };
        let unit = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(Unreadable(SIZE))?;
        number.checked_mul(unit.1).map(Self).ok_or(Unreadable("a smaller size"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZE_UNITS.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        let (name, unit) = whole.copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// A day in the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub civil::Date);

impl std::str::FromStr for Date {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        // jiff also takes the date out of a date and time, and a year of six digits.
        let bare = text.len() == "2008-01-06".len() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        text.parse().ok().filter(|_| bare).map(Self).ok_or(Unreadable(DATE))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A moment, with the offset that it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub WrittenTime);

impl std::str::FromStr for Instant {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        // Which of two disagreeing statements holds, offset or zone name, is not ours to guess.
        if let (Ok(moment), false) = (text.parse(), text.contains('[')) {
            return Ok(Self(moment));
        }
        Err(Unreadable(match (text.parse::<Date>(), text.parse::<civil::DateTime>()) {
            (Ok(_), _) => NO_TIME,
            (_, Ok(_)) if !text.contains('[') => NO_OFFSET,
            _ => MOMENT,
        }))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Reads text through `FromStr` and, where the second argument is given, whole numbers.
macro_rules! serde_as_text {
    ($name:ident, $expected:expr $(, $from_u64:expr)?) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|Unreadable(expected)| refuse(expected))
                    }

                    $(fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        Ok($from_u64(number))
                    }

                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        u64::try_from(number).map($from_u64).map_err(|_| refuse($expected))
                    })?
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
serde_as_text!(Duration, DURATION);
serde_as_text!(ByteSize, SIZE, ByteSize);
serde_as_text!(Date, DATE);
serde_as_text!(Instant, MOMENT);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::strict;
    use proptest::prelude::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct All {
        duration: Option<Duration>,
        #[serde(default, deserialize_with = "some_positive")]
        wait: Option<Duration>,
        size: Option<ByteSize>,
        date: Option<Date>,
        at: Option<Instant>,
    }

    fn some_positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Duration::positive(deserializer).map(Some)
    }

    fn toml(text: &str) -> Result<All, String> {
        strict::toml(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, seconds) in
            [("2s", 2), ("10m", 600), ("3d", 259_200), ("1y", 31_536_000), ("1h 30m", 5400), ("0s", 0)]
        {
            assert_eq!(text.parse::<Duration>().unwrap().get(), time::Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "2", "-2s", "2 parsecs", "1mo", "P1D", "100y", "2s ago", "99999999999y"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
        assert_eq!("2w".parse::<Duration>().unwrap().to_string(), "14d");
        assert_eq!("1y".parse::<Duration>().unwrap().to_string(), "1y");
        assert_eq!("90m".parse::<Duration>().unwrap().to_string(), "1h 30m");
        assert!(toml("duration = \"0s\"").is_ok());
        let error = toml("wait = \"0s\"").unwrap_err();
        assert_eq!(error, "line 1, column 8: \"wait\" must be longer than nothing, such as \"2s\"");
        let error = toml("duration = 5").unwrap_err();
        assert!(
            error.ends_with("must be a duration such as \"2s\", \"10m\", \"3d\" or \"1y\", not a whole number"),
            "{error}"
        );
    }

    #[test]
    fn sizes_in_thousands_and_in_1024s() {
        let sizes =
            [("30MB", 30_000_000), ("200KB", 200_000), ("30MiB", 31_457_280), ("7", 7), ("1 gb", 1_000_000_000)];
        for (text, bytes) in sizes {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MB", "-1MB", "1.5MB", "1XB", "99999999999GiB", "\u{661}MB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!(toml("size = 1000").unwrap().size, Some(ByteSize(1000)));
        assert!(toml("size = -1").is_err());
        assert_eq!(ByteSize(30_000_000).to_string(), "30MB");
        assert_eq!(ByteSize(30 << 20).to_string(), "30MiB");
        assert_eq!(ByteSize(0).to_string(), "0B");
    }

    #[test]
    fn dates_with_and_without_quotes() {
        let born = Some(Date(civil::date(2008, 1, 6)));
        assert_eq!(toml("date = 2008-01-06").unwrap().date, born);
        assert_eq!(toml("date = \"2008-01-06\"").unwrap().date, born);
        assert_eq!(strict::json::<All>(br#"{"date": "2008-01-06"}"#).unwrap().date, born);
        for text in [
            "2008-13-06",
            "06.01.2008",
            "01/06/2008",
            "2008-01-06T00:00:00",
            "20080106",
            "2008-1-6",
            "2008-01-0\u{661}",
        ] {
            let error = toml(&format!("date = \"{text}\"")).unwrap_err();
            assert_eq!(error, "line 1, column 8: \"date\" must be a date such as 2008-01-06");
        }
    }

    #[test]
    fn moments_need_their_offset() {
        let expected = Some(Instant("2026-11-20T15:30:00Z".parse().unwrap()));
        for text in ["2026-11-20T09:30:00-06:00", "\"2026-11-20T15:30:00Z\"", "2026-11-20 09:30:00-06:00"] {
            assert_eq!(toml(&format!("at = {text}")).unwrap().at, expected, "{text}");
        }
        for (text, words) in [
            ("2026-11-20T09:30:00", "lacks its offset from UTC"),
            ("\"2026-11-20T09:30\"", "lacks its offset from UTC"),
            ("2026-11-20", "lacks its time"),
            ("\"2026-11-20T09:30:00-06:00[Europe/Zurich]\"", "such as 2026"),
            ("\"yesterday\"", "such as 2026"),
        ] {
            let error = toml(&format!("at = {text}")).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("yesterday") && !error.contains("Zurich"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(seconds in 0..100 * YEAR, nanos in prop_oneof![Just(0), 0..1_000_000_000u32], bytes: u64) {
            for seconds in [seconds, seconds / DAY * DAY, seconds / YEAR * YEAR] {
                let duration = Duration::new(time::Duration::new(seconds, nanos)).unwrap();
                prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            }
            for bytes in [bytes, bytes % 1_000_000 * 1_000, bytes % 1_000_000 * 1_024] {
                prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
            }
        }

        #[test]
        fn no_text_makes_a_panic(text: String, short in "[-+0-9ymwdhsn. :TZP\\[\\]]{0,30}") {
            for text in [text, short] {
                let _ = text.parse::<Duration>();
                let _ = text.parse::<ByteSize>();
                let _ = text.parse::<Date>();
                let _ = text.parse::<Instant>();
            }
        }
    }
}
