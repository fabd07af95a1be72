//! A moment with the offset from UTC that it was written with: a document of a late evening keeps its day.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date, fmt::temporal::DateTimeParser, tz::Offset};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, and how it was written. Two of them are equal when they are the same moment: rows of older versions hold the same
/// moment in UTC, and it is no correction to write it otherwise.
///
/// Text form: as [`Timestamp`] writes it with `Z`, else with the offset.
#[derive(Clone, Copy, Debug)]
pub struct WrittenTime {
    at: Timestamp,
    /// `None`: written with `Z`.
    offset: Option<Offset>,
}

impl WrittenTime {
    /// In UTC.
    pub fn utc(at: Timestamp) -> Self {
        Self { at, offset: None }
    }

    /// The moment.
    pub fn timestamp(self) -> Timestamp {
        self.at
    }

    pub(crate) fn offset_seconds(self) -> i32 {
        self.offset.map_or(0, Offset::seconds)
    }

    /// The day where it was written.
    pub(crate) fn local_date(self) -> Date {
        self.offset.unwrap_or(Offset::UTC).to_datetime(self.at).date()
    }

    /// FHIR's `instant`: whole seconds, and the offset.
    pub(crate) fn instant(self) -> String {
        match self.offset {
            None => format!("{:.0}", self.at),
            Some(offset) => format!("{:.0}{}", offset.to_datetime(self.at), suffix(offset)),
        }
    }
}

/// `-06:00`; an offset with seconds is written with them.
fn suffix(offset: Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes, rest) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    if rest == 0 {
        format!("{sign}{hours:02}:{minutes:02}")
    } else {
        format!("{sign}{hours:02}:{minutes:02}:{rest:02}")
    }
}

impl PartialEq for WrittenTime {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for WrittenTime {}

impl fmt::Display for WrittenTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            None => fmt::Display::fmt(&self.at, f),
            Some(offset) => write!(f, "{}{}", offset.to_datetime(self.at), suffix(offset)),
        }
    }
}

impl FromStr for WrittenTime {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        let at = text.parse()?;
        let pieces = DateTimeParser::new().parse_pieces(text)?;
        let is_utc = text.trim_end().ends_with(['Z', 'z']);
        Ok(Self { at, offset: pieces.to_numeric_offset().filter(|_| !is_utc) })
    }
}

impl Serialize for WrittenTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WrittenTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_keeps_its_offset_and_one_in_utc_its_bytes() {
        for (text, stored, instant) in [
            ("2026-11-20T23:30:00-06:00", "2026-11-20T23:30:00-06:00", "2026-11-20T23:30:00-06:00"),
            ("2026-11-20 23:30:00.25+05:45", "2026-11-20T23:30:00.25+05:45", "2026-11-20T23:30:00+05:45"),
            ("2026-11-20T23:30:00+00:00", "2026-11-20T23:30:00+00:00", "2026-11-20T23:30:00+00:00"),
            ("2026-11-20T23:30:00-00:00", "2026-11-20T23:30:00+00:00", "2026-11-20T23:30:00+00:00"),
            ("2026-11-20T23:30:00Z", "2026-11-20T23:30:00Z", "2026-11-20T23:30:00Z"),
            ("2026-11-20T23:30:00.987654321Z", "2026-11-20T23:30:00.987654321Z", "2026-11-20T23:30:00Z"),
        ] {
            let time: WrittenTime = text.parse().unwrap();
            assert_eq!((time.to_string().as_str(), time.instant().as_str()), (stored, instant), "{text}");
            let json = serde_json::to_string(&time).unwrap();
            let again: WrittenTime = serde_json::from_str(&json).unwrap();
            assert_eq!(again.to_string(), stored);
            assert_eq!(time, WrittenTime::utc(text.parse().unwrap()), "the same moment");
        }
        // What an older version stored is stored as it was.
        let at: Timestamp = "2026-11-20T15:30:00.5Z".parse().unwrap();
        let old = serde_json::to_string(&at).unwrap();
        assert_eq!(serde_json::to_string(&serde_json::from_str::<WrittenTime>(&old).unwrap()).unwrap(), old);
        assert_eq!(WrittenTime::utc(at).instant(), format!("{at:.0}"));
    }

    #[test]
    fn a_late_evening_keeps_its_day() {
        let time: WrittenTime = "2026-11-20T23:30:00-06:00".parse().unwrap();
        assert_eq!(time.local_date(), jiff::civil::date(2026, 11, 20));
        assert_ne!(time, "2026-11-20T23:30:00-05:00".parse().unwrap());
    }

    #[test]
    fn no_text_makes_a_panic() {
        for text in
            ["", "Z", "+14:00", "9999-12-31T23:59:59-23:00", "-009999-01-01T00:00:00+25:59", "0000-01-01T00:00:00Z"]
        {
            if let Ok(time) = text.parse::<WrittenTime>() {
                assert_eq!(time.to_string().parse::<WrittenTime>().unwrap(), time, "{text}");
                time.instant();
            }
        }
    }
}
