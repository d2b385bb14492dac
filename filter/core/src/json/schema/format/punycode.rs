//! The labels of names that are not of ASCII (RFC 3492).

/// The characters that `text` stands for (RFC 3492 §6.2); `None` where it stands for none.
pub(super) fn decode(text: &[u8]) -> Option<Vec<char>> {
    // A hyphen with nothing before it is no delimiter, nor is it a digit.
    let delimiter = text.iter().rposition(|byte| *byte == b'-').filter(|index| *index > 0);
    let (basic, mut rest) = match delimiter {
        Some(index) => (text.get(..index)?, text.get(index.checked_add(1)?..)?),
        None => (&[][..], text),
    };
    let mut label: Vec<char> = basic.iter().map(|byte| char::from(*byte)).collect();
    let (mut code_point, mut index, mut bias) = (128_u32, 0_u32, 72_u32);
    while !rest.is_empty() {
        let before = index;
        let (mut weight, mut position) = (1_u32, 36_u32);
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            // Letters come before the digits.
            let digit = char::from(*byte).to_digit(36)?.checked_add(26)?.checked_rem(36)?;
            index = index.checked_add(digit.checked_mul(weight)?)?;
            let threshold = position.saturating_sub(bias).clamp(1, 26);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(36_u32.checked_sub(threshold)?)?;
            position = position.checked_add(36)?;
        }
        let count = u32::try_from(label.len()).ok()?.checked_add(1)?;
        bias = adapt_bias(index.checked_sub(before)?, count, before == 0)?;
        code_point = code_point.checked_add(index.checked_div(count)?)?;
        index = index.checked_rem(count)?;
        // The remainder is the length at most, and there stands the end.
        label.insert(usize::try_from(index).ok()?, char::from_u32(code_point)?);
        index = index.checked_add(1)?;
    }
    Some(label)
}

/// RFC 3492 §6.1.
fn adapt_bias(delta: u32, count: u32, first: bool) -> Option<u32> {
    let delta = if first { delta / 700 } else { delta / 2 };
    let mut delta = delta.checked_add(delta.checked_div(count)?)?;
    let mut bias = 0_u32;
    while delta > 455 {
        delta /= 35;
        bias = bias.checked_add(36)?;
    }
    bias.checked_add(delta.checked_mul(36)?.checked_div(delta.checked_add(38)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3492 §7.1.
    #[test]
    fn punycode_decodes_the_samples_of_its_rfc() {
        for (encoded, decoded) in [
            ("egbpdaj6bu4bxfgehfvwxn", Some("ليهمابتكلموشعربي؟")),
            ("ihqwcrb4cv8a8dqg056pqjye", Some("他们为什么不说中文")),
            ("Proprostnemluvesky-uyb24dma41a", Some("Pročprostěnemluvíčesky")),
            ("n8jok5ay5dzabd5bym9f0cm5685rrjetr6pdxa", Some("なぜみんな日本語を話してくれないのか")),
            ("-with-SUPER-MONKEYS-pc58ag80a8qai00g7n9n", Some("安室奈美恵-with-SUPER-MONKEYS")),
            ("-> $1.00 <--", Some("-> $1.00 <-")),
            ("", Some("")),
            ("-", None),
            ("ihqwcrb4cv8a8dqg056pqjy", None),
            ("999999b", None),
        ] {
            let label = decode(encoded.as_bytes()).map(String::from_iter);
            assert_eq!(label.as_deref(), decoded, "{encoded}");
        }
    }
}
