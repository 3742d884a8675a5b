//! Times and lengths of time as people say them.
//!
//! | said | meant |
//! | --- | --- |
//! | `2026-11-25T14:00:00Z`, `2026-11-25 14:00`, `2026-11-25` | that moment, in UTC |
//! | `14:00`, `14:00:30` | today, in UTC |
//! | `90s`, `30m`, `2h`, `3d`, `1w` | so long ago; as a length, so long |

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};
use types::Timestamp;

const DAY: i64 = 24 * 3600;

/// A moment that was named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When(pub Timestamp);

/// A length of time that was named on the command line, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub u64);

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let said = parse(text, now);
        said.map(|secs| When(Timestamp::from_secs(secs, 0))).ok_or_else(|| {
            format!("{text:?} is no time: say 2026-11-25T14:00:00Z, \"2026-11-25 14:00\", 14:00 (UTC) or 2h (ago)")
        })
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        length(text).map(Length).ok_or_else(|| format!("{text:?} is no length of time: say 90s, 30m, 12h, 7d or 2w"))
    }
}

impl std::fmt::Display for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(DAY as u64, 'd'), (3600, 'h'), (60, 'm')];
        match units.into_iter().find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, letter)) => write!(f, "{}{letter}", self.0 / unit),
            None => write!(f, "{}s", self.0),
        }
    }
}

fn length(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => DAY as u64,
        "w" => 7 * DAY as u64,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn parse(text: &str, now: i64) -> Option<i64> {
    if let Some(ago) = length(text) {
        return now.checked_sub(i64::try_from(ago).ok()?);
    }
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (days(date)?, time),
        None if text.contains(':') => (now.div_euclid(DAY), text),
        None => (days(text)?, "00:00"),
    };
    Some(date * DAY + seconds(time)?)
}

/// Two or four digits and nothing else.
fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn seconds(text: &str) -> Option<i64> {
    let mut fields = text.split(':');
    let (hour, minute) = (number(fields.next()?, 2)?, number(fields.next()?, 2)?);
    let second = fields.next().map_or(Some(0), |second| number(second, 2))?;
    (hour < 24 && minute < 60 && second < 60 && fields.next().is_none()).then_some(hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(text: &str) -> Option<i64> {
    let mut fields = text.split('-');
    let (year, month, day) = (number(fields.next()?, 4)?, number(fields.next()?, 2)?, number(fields.next()?, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    let valid = (1..=*months.get(month)?).contains(&day) && fields.next().is_none() && year >= 1970;
    let before = year - 1;
    let leap_days = |years: i64| years / 4 - years / 100 + years / 400;
    let days =
        (year - 1970) * 365 + leap_days(before) - leap_days(1969) + months[..month].iter().sum::<i64>() + day - 1;
    valid.then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::time;

    #[test]
    fn moments_are_read_as_they_are_printed() {
        for secs in [0, 951_782_400, 1_709_251_199, 4_107_542_400] {
            assert_eq!(parse(&time(Timestamp::from_secs(secs, 0)), 0), Some(secs));
        }
        let now = 1_700_000_000;
        assert_eq!(parse("2023-11-14", now), Some(now.div_euclid(DAY) * DAY));
        assert_eq!(parse("2023-11-14 01:02", now), Some(now.div_euclid(DAY) * DAY + 3720));
        assert_eq!(parse("01:02:03", now), Some(now.div_euclid(DAY) * DAY + 3723));
        assert_eq!((parse("2h", now), parse("1w", now)), (Some(now - 7200), Some(now - 7 * DAY)));
    }

    #[test]
    fn other_words_are_refused() {
        for text in ["", "h", "-1h", "yesterday", "2023-02-29", "2023-13-01", "24:00", "12:60", "2023-1-1", "1:00", "é"]
        {
            assert_eq!(parse(text, 0), None, "{text}");
        }
        assert!("7".parse::<Length>().is_err() && "7y".parse::<Length>().is_err());
    }

    #[test]
    fn lengths_are_printed_as_they_are_said() {
        for text in ["90s", "30m", "36h", "7d"] {
            assert_eq!(text.parse::<Length>().map(|length| length.to_string()), Ok(text.to_owned()));
        }
    }
}
