//! Values with a notation of their own: durations and integers.

use core::ops::RangeInclusive;
use core::time::Duration;

use serde_json::Value;

use super::findings::Findings;
use super::read::Read;

/// The longest duration: a year. What is longer is a slip of the unit.
const SPAN_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A duration as in protobuf's JSON, with more units: `"250ms"`, `"30s"`, `"1.5s"`, `"5m"`, `"2h"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span(pub(super) Duration);

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = text.split_at_checked(digits)?;
        let nanos_per_unit: u64 = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_number =
            |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let whole = whole.parse::<u64>().ok()?.checked_mul(nanos_per_unit)?;
        let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let fraction =
            u128::from(fraction.parse::<u64>().ok()?).checked_mul(nanos_per_unit.into())?.checked_div(scale.into())?;
        let span = Duration::from_nanos(whole.checked_add(u64::try_from(fraction).ok()?)?);
        (span <= SPAN_MAX).then_some(Self(span))
    }
}

impl Read for Span {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        let span = value.as_str().and_then(Self::parse);
        span.or_else(|| found.expected("a duration such as \"250ms\", \"30s\", \"5m\" or \"2h\""))
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"type": "string", "pattern": "^[0-9]{1,9}(\\.[0-9]{1,9})?(ms|s|m|h)$"})
    }
}

/// A whole number that is not negative; `65536.0` is one too, as `google.protobuf.Struct` knows only doubles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Count(pub(super) u64);

impl Read for Count {
    fn read(value: &Value, found: &mut Findings) -> Option<Self> {
        /// 2^53: beyond it a double skips whole numbers.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        let from_double = |value: f64| {
            let is_count = value.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&value);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be whole and in range"
            )]
            is_count.then_some(value as u64)
        };
        let value = found.number(value);
        let count = value.as_u64().or_else(|| value.as_f64().and_then(from_double));
        count.map(Self).or_else(|| found.expected("a whole number that is not negative"))
    }

    #[cfg(feature = "schema")]
    fn schema() -> Value {
        serde_json::json!({"type": "integer", "minimum": 0})
    }
}

/// A count of at least one.
pub(super) fn positive(key: &str, value: Option<Count>, default: u64, found: &mut Findings) -> u64 {
    if value == Some(Count(0)) {
        found.fault(key, "must be at least 1");
    }
    value.map_or(default, |Count(count)| count)
}

/// A duration within bounds, which `problem` tells.
pub(super) fn span_within(
    key: &str,
    raw: Option<Span>,
    default: Duration,
    bounds: RangeInclusive<Duration>,
    problem: &str,
    found: &mut Findings,
) -> Duration {
    let span = raw.map_or(default, |Span(span)| span);
    if !bounds.contains(&span) {
        found.fault(key, problem);
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(Span::parse(text).map(|span| span.0), millis.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn durations_have_a_unit() {
        check("250ms", Some(250));
        check("30s", Some(30_000));
        check("1.5s", Some(1_500));
        check("5m", Some(300_000));
        check("2h", Some(7_200_000));
        check("0s", Some(0));
        check("8760h", Some(8_760 * 3_600_000));
        for text in
            ["", "30", "s", "-1s", "+1s", "1 s", "1.s", ".5s", "1d", "1S", "1e3s", "8761h", "9999999999s", "1s2"]
        {
            check(text, None);
        }
    }

    #[test]
    fn counts_are_whole() {
        let count =
            |text: &str| Count::read(&serde_json::from_str(text).ok()?, &mut Findings::default()).map(|count| count.0);
        assert_eq!(count("65536"), Some(65_536));
        assert_eq!(count("65536.0"), Some(65_536));
        assert_eq!(count("1e6"), Some(1_000_000));
        for text in ["-1", "1.5", "\"1\"", "1e99", "null", "true"] {
            assert_eq!(count(text), None, "{text}");
        }
    }
}
