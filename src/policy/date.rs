//! HTTP dates (RFC 9110 section 5.6.7), read as caches read them: in any case, and in no zone but GMT (RFC 9111 section 4.2).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Now;

/// The date that a field holds. `None`: it is not there, more than once, or no date.
pub fn of(headers: &HeaderMap, name: &HeaderName, now: Now) -> Option<Duration> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.next().is_some() { None } else { parse(first.as_bytes(), now) }
}

/// A date as the time since the Unix epoch, in any of the three formats; none before the epoch. `now` tells the century
/// of a two-digit year.
pub fn parse(text: &[u8], now: Now) -> Option<Duration> {
    let text = text.trim_ascii();
    let seconds = match text.len() {
        29 => fixed(text)?,
        24 => asctime(text)?,
        _ => rfc850(text, now)?,
    };
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// The first second of the year 10000, which no date can say.
const END: u64 = 253_402_300_800;

/// A moment as the value of a field; `None` where it is beyond what a date can say.
pub fn value(at: Now) -> Option<HeaderValue> {
    let sayable = at.unix_seconds() < END;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at.unix_seconds());
    sayable.then(|| HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()).flatten()
}

const DAYS: [&[u8]; 7] =
    [b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday"];
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn fixed(text: &[u8]) -> Option<i64> {
    let marks = (text[3], text[4], text[7], text[11], text[16]) == (b',', b' ', b' ', b' ', b' ');
    if !marks || !is_short_day(&text[..3]) || !text[25..].eq_ignore_ascii_case(b" GMT") {
        return None;
    }
    moment(number(&text[12..16])?, month(&text[8..11])?, number(&text[5..7])?, &text[17..25])
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime(text: &[u8]) -> Option<i64> {
    if !is_short_day(&text[..3]) || (text[3], text[7], text[10], text[19]) != (b' ', b' ', b' ', b' ') {
        return None;
    }
    let day = number(text[8..10].strip_prefix(b" ").unwrap_or(&text[8..10]))?;
    moment(number(&text[20..])?, month(&text[4..7])?, day, &text[11..19])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`: the latest such year that is not more than 50 years ahead.
fn rfc850(text: &[u8], now: Now) -> Option<i64> {
    const FIFTY_YEARS: i64 = 50 * 31_556_952;
    let comma = memchr::memchr(b',', text)?;
    DAYS.iter().find(|day| day.eq_ignore_ascii_case(&text[..comma]))?;
    let rest = text.get(comma..).filter(|rest| rest.len() == 24)?;
    let marks = (rest[1], rest[4], rest[8], rest[11]) == (b' ', b'-', b'-', b' ');
    if !marks || !rest[20..].eq_ignore_ascii_case(b" GMT") {
        return None;
    }
    let (day, month, year) = (number(&rest[2..4])?, month(&rest[5..8])?, number(&rest[9..11])?);
    let latest = i64::try_from(now.unix_seconds().min(END)).ok()? + FIFTY_YEARS;
    let century = (civil_year(latest) / 100) * 100 + year;
    let begins = |year: i64| Some(days(year, month, day) * 86_400 + time(&rest[12..20])?);
    let year = if begins(century)? <= latest { century } else { century - 100 };
    moment(year, month, day, &rest[12..20])
}

fn is_short_day(name: &[u8]) -> bool {
    DAYS.iter().any(|day| day[..3].eq_ignore_ascii_case(name))
}

fn month(name: &[u8]) -> Option<i64> {
    let place = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    i64::try_from(place + 1).ok()
}

fn number(digits: &[u8]) -> Option<i64> {
    let fine = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    fine.then(|| digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
}

/// `08:49:37`; a leap second is the one after it.
fn time(text: &[u8]) -> Option<i64> {
    let (hour, minute, second) = (number(&text[..2])?, number(&text[3..5])?, number(&text[6..])?);
    let fine = text[2] == b':' && text[5] == b':' && hour < 24 && minute < 60 && second <= 60;
    fine.then_some(hour * 3_600 + minute * 60 + second)
}

/// Seconds since the Unix epoch, where there is such a day. What day of the week it is said to be is not checked: it adds
/// nothing, and is wrong now and then.
fn moment(year: i64, month: i64, day: i64, clock: &[u8]) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let seconds = days(year, month, day) * 86_400 + time(clock)?;
    (1..=length).contains(&day).then_some(seconds)
}

/// Days since the Unix epoch in the Gregorian calendar: years are counted from March, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

/// The year of a moment.
fn civil_year(seconds: i64) -> i64 {
    let day = seconds.div_euclid(86_400);
    let guess = 1970 + day / 366;
    let beyond = (guess..).take_while(|year| days(*year, 1, 1) <= day).last();
    beyond.unwrap_or(guess)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::ZERO, wall: Duration::from_secs(seconds) }
    }

    fn read(text: &str) -> Option<u64> {
        parse(text.as_bytes(), at(1_700_000_000)).map(|d| d.as_secs())
    }

    #[test]
    fn rfc9110_5_6_7_all_three_formats_are_read() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(read(text), Some(784_111_777), "{text}");
        }
        assert_eq!(read("Thu, 29 Feb 2024 00:00:60 GMT"), Some(1_709_164_860));
        assert_eq!(read("Mon, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777), "a wrong day of the week");
    }

    #[test]
    fn rfc9111_4_2_a_cache_reads_dates_in_any_case_and_no_zone_but_gmt() {
        for text in
            ["SUN, 06 nov 1994 08:49:37 gMt", "sUNDAY, 06-NOV-94 08:49:37 gmt", "sun nov  6 08:49:37 1994"]
        {
            assert_eq!(read(text), Some(784_111_777), "{text}");
        }
        for bad in [
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Thu, 30 Feb 2023 00:00:00 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sunday, 06-Nov-94 08:49:37",
            "Sunday, 6-Nov-94 08:49:37 GMT",
            "0",
            "",
            "-1",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn rfc9110_5_6_7_a_two_digit_year_is_never_more_than_fifty_years_ahead() {
        assert_eq!(read("Thursday, 18-Aug-50 02:01:18 GMT"), Some(2_544_400_878));
        for (short, long) in [
            ("Monday, 13-Nov-73 00:00:00 GMT", "Mon, 13 Nov 2073 00:00:00 GMT"),
            ("Thursday, 15-Nov-73 00:00:00 GMT", "Thu, 15 Nov 1973 00:00:00 GMT"),
        ] {
            assert!(read(short).is_some() && read(short) == read(long), "{short}");
        }
        // Seen from 2099, the year 05 is one to come.
        let late = parse(b"Thursday, 01-Jan-05 00:00:00 GMT", at(4_090_000_000)).unwrap();
        assert_eq!(late, parse(b"Thu, 01 Jan 2105 00:00:00 GMT", at(0)).unwrap());
    }

    #[test]
    fn a_date_is_written_as_it_is_read() {
        assert_eq!(value(at(784_111_777)).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(value(at(u64::MAX / 2)), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0_u64..253_402_300_800, other: u64) {
            let text = value(at(seconds)).unwrap();
            proptest::prop_assert_eq!(parse(text.as_bytes(), at(other)), Some(Duration::from_secs(seconds)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(text: Vec<u8>, now: u64) {
            let _ = parse(&text, at(now));
        }

        #[test]
        fn no_digits_make_the_reader_panic(text in "[A-Z][a-z]{2,8}[, ][- 0-9A-Za-z:]{20,26}", now: u64) {
            let _ = parse(text.as_bytes(), at(now));
        }
    }
}
