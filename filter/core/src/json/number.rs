//! The numbers of JSON (RFC 8259 §6), exactly: 0.1 is a tenth, and 9007199254740993 is odd.
//!
//! Numbers are equal when their values are, however they are written. Numbers that do not fit are refused, never rounded:
//! two receivers that round differently read two messages.
//!
//! ```text
//! -12.50e3  ──▶  negative, mantissa 125, exponent 2 (of ten), digits 3
//! ```

use core::cmp::Ordering;
use core::ops::RangeInclusive;

/// The significant digits of a number at most: what fits 128 bits. Doubles have 17, the greatest integers in use (128 bits)
/// 39 at most.
const DIGIT_COUNT_MAX: u8 = 38;

/// The significant digits that a double keeps, whichever they are (IEEE 754).
const DOUBLE_DIGIT_COUNT: u8 = 15;

/// Where the leading digit may stand, as a power of ten: doubles end at 1.8e308; 4.9e-324 is their smallest, with some room.
const LEADING_EXPONENTS: RangeInclusive<i64> = -400..=308;

/// So many digits fit 64 bits: they are read together, and most numbers have no more.
const CHUNK_LEN: usize = 18;

/// A decimal number.
///
/// The mantissa does not end in a zero, and zero is all zeros: what is derived compares values.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Decimal {
    mantissa: u128,
    exponent: i32,
    digits: u8,
    negative: bool,
}

impl Decimal {
    const ZERO: Self = Self { mantissa: 0, exponent: 0, digits: 0, negative: false };

    /// Reads a number.
    ///
    /// `None` for what is no number of JSON, for more than 38 significant digits (zeros on either side do not count), and for
    /// a leading digit beyond 1e308 or below 1e-400.
    #[must_use]
    pub fn parse(token: &[u8]) -> Option<Self> {
        let (negative, unsigned) = match token.strip_prefix(b"-") {
            Some(unsigned) => (true, unsigned),
            None => (false, token),
        };
        let magnitude = short_integer(unsigned).or_else(|| any_number(unsigned))?;
        Some(Self { negative: negative && magnitude.mantissa != 0, ..magnitude })
    }

    /// A number of a schema, by its shortest text: where it was read into a double, 0.1 is a tenth again.
    #[must_use]
    pub fn from_value(number: &serde_json::Number) -> Option<Self> {
        Self::parse(number.to_string().as_bytes())
    }

    /// The whole number, where it is one that fits.
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        if !self.is_integer() {
            return None;
        }
        let scale = 10_i128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        let magnitude = i128::try_from(self.mantissa).ok()?.checked_mul(scale)?;
        i64::try_from(if self.negative { magnitude.checked_neg()? } else { magnitude }).ok()
    }

    /// It without an exponent, as shortly as it goes: 9 for 9.0 and for 90e-1. `None` where that is longer than `len_max` bytes; by the
    /// bounds on digits and exponents it is never longer than 450.
    #[must_use]
    pub fn to_plain(self, len_max: usize) -> Option<String> {
        // So many digits behind the point, and so many zeros before it that are not in the mantissa.
        let places = usize::try_from(self.exponent.saturating_neg()).unwrap_or_default();
        let zeros = usize::try_from(self.exponent).unwrap_or_default();
        let digits = usize::from(self.digits).max(places.saturating_add(1));
        let signs = usize::from(self.negative).saturating_add(usize::from(places > 0));
        if digits.saturating_add(zeros).saturating_add(signs) > len_max {
            return None;
        }
        let mut reversed = Vec::with_capacity(digits);
        let mut rest = self.mantissa;
        while reversed.len() < digits {
            reversed.push(char::from_digit(u32::try_from(rest % 10).unwrap_or_default(), 10).unwrap_or('0'));
            rest /= 10;
        }
        let mut text = String::from(if self.negative { "-" } else { "" });
        for (place, digit) in reversed.iter().enumerate().rev() {
            text.push(*digit);
            if place == places && place > 0 {
                text.push('.');
            }
        }
        text.extend(core::iter::repeat_n('0', zeros));
        Some(text)
    }

    /// Its value for a reader that rounds to a double, by the digits that all doubles keep; `None` where it has no more digits.
    #[must_use]
    pub fn rounded(self) -> Option<Self> {
        let excess = self.digits.checked_sub(DOUBLE_DIGIT_COUNT).filter(|excess| *excess > 0)?;
        let unit = 10_u128.checked_pow(excess.into())?;
        let kept = self.mantissa.checked_div(unit)?;
        let is_up = self.mantissa.checked_rem(unit)? >= unit / 2;
        let mantissa = kept.checked_add(is_up.into())?;
        let text =
            format!("{}{mantissa}e{}", if self.negative { "-" } else { "" }, self.exponent.checked_add(excess.into())?);
        Self::parse(text.as_bytes())
    }

    /// Whether it is whole: 1.0 is.
    #[must_use]
    pub const fn is_integer(&self) -> bool {
        self.exponent >= 0
    }

    /// Whether it is greater than zero.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.mantissa != 0 && !self.negative
    }

    /// Whether it is a whole number of times `divisor`; of zero, nothing is.
    #[must_use]
    pub fn is_multiple_of(&self, divisor: &Self) -> bool {
        if self.mantissa == 0 || divisor.mantissa == 0 {
            return self.mantissa == 0 && divisor.mantissa != 0;
        }
        // With a negative power of ten, this mantissa would have to end in a zero.
        let Ok(power) = u32::try_from(self.exponent.saturating_sub(divisor.exponent)) else { return false };
        // That power of ten makes up for as many factors two and five, whatever the mantissa.
        let mut remaining = divisor.mantissa >> divisor.mantissa.trailing_zeros().min(power);
        for _ in 0..power {
            if !remaining.is_multiple_of(5) {
                break;
            }
            remaining = remaining.checked_div(5).unwrap_or_default();
        }
        self.mantissa.is_multiple_of(remaining)
    }

    /// The number of things it stands for; `None` for fractions, what is below zero, and 2^64 and more.
    #[must_use]
    pub fn to_count(self) -> Option<u64> {
        let scale = 10_u64.checked_pow(u32::try_from(self.exponent).ok()?)?;
        let count = u64::try_from(self.mantissa).ok()?.checked_mul(scale)?;
        (!self.negative).then_some(count)
    }

    /// A number without a sign; `mantissa` has `digits` digits and does not end in a zero.
    fn new(mantissa: u128, digits: u8, exponent: i64) -> Option<Self> {
        if mantissa == 0 {
            return Some(Self::ZERO);
        }
        let leading = exponent.saturating_add(i64::from(digits)).saturating_sub(1);
        let exponent = i32::try_from(exponent).ok()?;
        LEADING_EXPONENTS.contains(&leading).then_some(Self { mantissa, exponent, digits, negative: false })
    }

    fn cmp_magnitude(&self, other: &Self) -> Ordering {
        // Without digits there is no leading one: zero is below every other.
        (self.digits != 0, self.past_leading()).cmp(&(other.digits != 0, other.past_leading())).then_with(|| {
            let digits = self.digits.max(other.digits);
            self.mantissa_of(digits).cmp(&other.mantissa_of(digits))
        })
    }

    /// The power of ten above the leading digit.
    fn past_leading(&self) -> i32 {
        self.exponent.saturating_add(i32::from(self.digits))
    }

    /// The mantissa with zeros after it: at most 38 digits, as `digits` is another number's count.
    fn mantissa_of(&self, digits: u8) -> u128 {
        self.mantissa.wrapping_mul(10_u128.wrapping_pow(u32::from(digits.saturating_sub(self.digits))))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.cmp_magnitude(other),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (true, true) => other.cmp_magnitude(self),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Most numbers of most messages: a few digits. `None` for every other.
fn short_integer(text: &[u8]) -> Option<Decimal> {
    if text.len() <= CHUNK_LEN && is_integer_part(text) { from_digits(text, b"", 0) } else { None }
}

fn any_number(text: &[u8]) -> Option<Decimal> {
    let (number, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(index) => (text.get(..index)?, parse_exponent(text.get(index.checked_add(1)?..)?)?),
        None => (text, 0),
    };
    let (whole, fraction) = match number.iter().position(|byte| *byte == b'.') {
        Some(index) => (number.get(..index)?, Some(number.get(index.checked_add(1)?..)?)),
        None => (number, None),
    };
    if !is_integer_part(whole) || fraction.is_some_and(<[u8]>::is_empty) {
        return None;
    }
    from_digits(whole, fraction.unwrap_or_default(), exponent)
}

/// A number of these digits, without the zeros at either end; `None` where one is no digit.
fn from_digits(whole: &[u8], fraction: &[u8], exponent: i64) -> Option<Decimal> {
    let fraction = without_zeros_after(fraction);
    let exponent = exponent.saturating_sub(i64::try_from(fraction.len()).ok()?);
    let (whole, fraction, zeros) = match (whole, fraction) {
        (b"0", fraction) => (&[][..], without_zeros_before(fraction), 0),
        (whole, []) => {
            let significant = without_zeros_after(whole);
            (significant, &[][..], whole.len().saturating_sub(significant.len()))
        }
        (whole, fraction) => (whole, fraction, 0),
    };
    let digits = u8::try_from(whole.len().saturating_add(fraction.len())).ok()?;
    if digits > DIGIT_COUNT_MAX {
        return None;
    }
    let mut mantissa = 0_u128;
    for chunk in whole.chunks(CHUNK_LEN).chain(fraction.chunks(CHUNK_LEN)) {
        let (mut value, mut scale) = (0_u64, 1_u64);
        for byte in chunk {
            value = value.wrapping_mul(10).wrapping_add(digit(*byte)?.into());
            scale = scale.wrapping_mul(10);
        }
        mantissa = mantissa.wrapping_mul(scale.into()).wrapping_add(value.into());
    }
    Decimal::new(mantissa, digits, exponent.saturating_add(i64::try_from(zeros).ok()?))
}

fn without_zeros_after(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|byte| **byte == b'0').count();
    digits.get(..digits.len().saturating_sub(zeros)).unwrap_or_default()
}

fn without_zeros_before(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

/// The power of ten; one that is out of all proportion stays so, since zero may have it.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_i64, |exponent, byte| {
        Some(exponent.saturating_mul(10).saturating_add(i64::from(digit(*byte)?).saturating_mul(sign)))
    })
}

/// Digits without a leading zero, or one zero (`int`); whether the bytes are digits is seen later.
const fn is_integer_part(text: &[u8]) -> bool {
    !matches!(text, [] | [b'0', _, ..])
}

fn digit(byte: u8) -> Option<u8> {
    byte.checked_sub(b'0').filter(|digit| *digit <= 9)
}

#[cfg(test)]
mod tests;
