//! Dates, times and durations (RFC 3339 §5.6, §5.7, appendix A).

use core::slice;

/// `YYYY-MM-DD`
const DATE_LEN: usize = 10;
const MINUTES_PER_HOUR: u16 = 60;
const MINUTES_PER_DAY: u16 = 24 * MINUTES_PER_HOUR;

/// `date-fullyear "-" date-month "-" date-mday`, on the calendar (§5.7, appendix C).
pub(super) fn is_date(text: &[u8]) -> bool {
    let [c1, c2, y1, y2, b'-', m1, m2, b'-', d1, d2] = text else { return false };
    let parts = (number(*c1, *c2), number(*y1, *y2), number(*m1, *m2), number(*d1, *d2));
    let (Some(century), Some(year), Some(month), Some(day)) = parts else { return false };
    let leap = if year == 0 { century } else { year }.is_multiple_of(4);
    let day_last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=day_last).contains(&day)
}

/// `partial-time time-offset`; a leap second stands where UTC has 23:59:60 (§5.7).
pub(super) fn is_time(text: &[u8]) -> bool {
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = text else { return false };
    let (Some(minute), Some(second)) = (minute_of_day([*h1, *h2], [*m1, *m2]), number(*s1, *s2)) else { return false };
    let offset = match rest {
        [b'.', fraction @ ..] => {
            let offset = after_digits(fraction);
            if offset.len() == fraction.len() {
                return false;
            }
            offset
        }
        offset => offset,
    };
    let Some(to_utc) = minutes_to_utc(offset) else { return false };
    second < 60
        || (second == 60 && minute.saturating_add(to_utc) % MINUTES_PER_DAY == MINUTES_PER_DAY.saturating_sub(1))
}

/// `full-date "T" full-time`
pub(super) fn is_date_time(text: &[u8]) -> bool {
    let Some((date, time)) = text.split_at_checked(DATE_LEN) else { return false };
    matches!(time, [b'T' | b't', time @ ..] if is_time(time)) && is_date(date)
}

/// `"P" (dur-date / dur-time / dur-week)`, in capitals, as ISO 8601 has them.
pub(super) fn is_duration(text: &[u8]) -> bool {
    let [b'P', rest @ ..] = text else { return false };
    if after_units(rest, b"W").is_some_and(<[u8]>::is_empty) {
        return true;
    }
    match after_units(rest, b"YMD").unwrap_or(rest) {
        [b'T', time @ ..] => after_units(time, b"HMS").is_some_and(<[u8]>::is_empty),
        rest_of_date => rest_of_date.is_empty() && !rest.is_empty(),
    }
}

/// What follows one or more numbers with their units, which come in order and leave out none between two.
fn after_units<'a>(text: &'a [u8], units: &[u8]) -> Option<&'a [u8]> {
    let (mut text, mut following) = after_unit(text, units)?;
    while let Some((unit, others)) = following.split_first() {
        let Some((rest, _)) = after_unit(text, slice::from_ref(unit)) else { break };
        (text, following) = (rest, others);
    }
    Some(text)
}

/// What follows one number and its unit, and the units after that one.
fn after_unit<'a, 'u>(text: &'a [u8], units: &'u [u8]) -> Option<(&'a [u8], &'u [u8])> {
    let (unit, rest) = after_digits(text).split_first()?;
    let index = units.iter().position(|known| known == unit)?;
    // One byte less than the text: the unit alone, without a number.
    (rest.len().saturating_add(1) < text.len()).then_some((rest, units.get(index..)?.get(1..)?))
}

/// The minutes that lead to UTC, all of them forward; `None` for what is no `time-offset`.
fn minutes_to_utc(offset: &[u8]) -> Option<u16> {
    match offset {
        [b'Z' | b'z'] => Some(0),
        [sign, h1, h2, b':', m1, m2] => {
            let minutes = minute_of_day([*h1, *h2], [*m1, *m2])?;
            match sign {
                b'+' => Some(MINUTES_PER_DAY.saturating_sub(minutes)),
                b'-' => Some(minutes),
                _ => None,
            }
        }
        _ => None,
    }
}

fn minute_of_day([h1, h2]: [u8; 2], [m1, m2]: [u8; 2]) -> Option<u16> {
    let (hour, minute) = (number(h1, h2)?, number(m1, m2)?);
    (hour < 24 && minute < 60).then(|| u16::from(hour).saturating_mul(MINUTES_PER_HOUR).saturating_add(minute.into()))
}

fn number(tens: u8, ones: u8) -> Option<u8> {
    if tens.is_ascii_digit() && ones.is_ascii_digit() {
        Some((tens & 0x0f).saturating_mul(10).saturating_add(ones & 0x0f))
    } else {
        None
    }
}

fn after_digits(text: &[u8]) -> &[u8] {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(len..).unwrap_or_default()
}
