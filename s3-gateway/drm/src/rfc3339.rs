//! Dates of licences and status documents: RFC 3339.
//!
//! Written are whole seconds and `Z`. Read is what the standard allows.

use types::Timestamp;

const DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats itself.
const ERA: i64 = 146_097;

/// No date of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no date of RFC 3339")]
pub struct BadDate;

/// The time without the fraction of its second: the only kind that documents hold.
#[must_use]
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_secs(at.secs(), 0)
}

/// Writes a time, rounded down to its second.
#[must_use]
pub fn write(at: Timestamp) -> String {
    let (days, second) = (at.secs().div_euclid(DAY), at.secs().rem_euclid(DAY));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Reads a date and time with its offset. A fraction counts to the nanosecond, a leap second as the one after it, and what
/// [`Timestamp`] cannot hold as the nearest that it can: there are licences that end in the year 9999.
///
/// # Errors
/// [`BadDate`].
pub fn read(text: &str) -> Result<Timestamp, BadDate> {
    let bytes = text.as_bytes();
    let (head, rest) = bytes.split_at_checked(19).ok_or(BadDate)?;
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| head[*at] != *mark) || !matches!(head[10], b'T' | b't') {
        return Err(BadDate);
    }
    let (year, month, day) = (number(&head[..4])?, number(&head[5..7])?, number(&head[8..10])?);
    let (hour, minute, second) = (number(&head[11..13])?, number(&head[14..16])?, number(&head[17..])?);
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return Err(BadDate);
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err(BadDate);
    }
    let (nanos, offset) = fraction(rest)?;
    let local = days_since_epoch(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    Ok(Timestamp::from_secs(local - offset_seconds(offset)?, nanos))
}

fn number(digits: &[u8]) -> Result<i64, BadDate> {
    digits.iter().try_fold(0, |number, digit| {
        if !digit.is_ascii_digit() {
            return Err(BadDate);
        }
        Ok(number * 10 + i64::from(digit - b'0'))
    })
}

/// The nanoseconds of a fraction, if there is one, and what stands after it.
fn fraction(rest: &[u8]) -> Result<(u32, &[u8]), BadDate> {
    let Some(after) = rest.strip_prefix(b".") else { return Ok((0, rest)) };
    let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return Err(BadDate);
    }
    let nanos = (0..9).fold(0, |nanos, at| {
        let digit = after[..digits].get(at).map_or(0, |byte| u32::from(byte - b'0'));
        nanos * 10 + digit
    });
    Ok((nanos, &after[digits..]))
}

fn offset_seconds(offset: &[u8]) -> Result<i64, BadDate> {
    if matches!(offset, b"Z" | b"z") {
        return Ok(0);
    }
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = offset else { return Err(BadDate) };
    let (hour, minute) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
    if hour > 23 || minute > 59 {
        return Err(BadDate);
    }
    let seconds = hour * 3600 + minute * 60;
    Ok(if *sign == b'-' { -seconds } else { seconds })
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01. Years begin in March here, so that the leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of days from 1970-01-01; [`days_since_epoch`] the other way round.
fn civil(days: i64) -> (i64, i64, i64) {
    let (era, day) = ((days + 719_468).div_euclid(ERA), (days + 719_468).rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_dates() {
        for (text, secs) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-02T03:04:05Z", 1_767_323_045),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("1969-12-31T23:59:59Z", -1),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(read(text), Ok(Timestamp::from_secs(secs, 0)), "{text}");
            assert_eq!(write(Timestamp::from_secs(secs, 999_999_999)), text);
        }
        assert_eq!(write(Timestamp(-1)), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn offsets_fractions_and_leap_seconds_are_read() {
        let utc = read("2026-01-02T03:04:05Z").expect("a date");
        assert_eq!(read("2026-01-02T12:04:05+09:00"), Ok(utc));
        assert_eq!(read("2026-01-01T21:34:05.000-05:30"), Ok(utc));
        assert_eq!(read("2026-01-02t03:04:05.25z"), Ok(Timestamp(utc.0 + 250_000_000)));
        assert_eq!(read("2026-01-02T03:04:05.1234567891Z"), Ok(Timestamp(utc.0 + 123_456_789)));
        assert_eq!(read("2016-12-31T23:59:60Z"), read("2017-01-01T00:00:00Z"));
        assert_eq!(read("9999-12-31T23:59:59Z"), Ok(Timestamp(i64::MAX)));
        assert_eq!(read("0000-01-01T00:00:00Z"), Ok(Timestamp(i64::MIN)));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05Z",
            "2026-13-02T03:04:05Z",
            "2026-02-29T03:04:05Z",
            "1900-02-29T03:04:05Z",
            "2026-01-00T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:60:05Z",
            "2026-01-02T03:04:61Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+0900",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05ZZ",
            "+026-01-02T03:04:05Z",
            "2026-01-02T03:04:0한Z",
        ] {
            assert_eq!(read(text), Err(BadDate), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_seconds_come_back(nanos in any::<i64>()) {
            let at = whole_seconds(Timestamp(nanos));
            // The first second that a timestamp can hold is not whole.
            prop_assume!(at.0 != i64::MIN);
            prop_assert_eq!(read(&write(at)), Ok(at));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9TtZz:.한]{0,40}") {
            let _ = read(&text);
        }
    }
}
