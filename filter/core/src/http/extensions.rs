//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1), read in one pass.

use super::Malformed;
use super::list::{is_token_byte, token, trim};

/// Checks one line: `extension *( "," extension )`, each `token *( ";" token [ "=" value ] )`.
///
/// # Errors
/// [`Malformed`] where the grammar is left; RFC 6455 §9.1 then fails the handshake.
pub fn check(line: &[u8]) -> Result<(), Malformed> {
    for extension in split(line, b',')? {
        let mut parts = split(extension, b';')?.into_iter();
        token(parts.next().map(trim).unwrap_or_default())?;
        for parameter in parts {
            let parameter = trim(parameter);
            let Some(equals) = parameter.iter().position(|byte| *byte == b'=') else {
                token(parameter)?;
                continue;
            };
            let (name, value) = parameter.split_at(equals);
            token(trim(name))?;
            check_value(trim(value.get(1..).unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// A token, or a quoted string whose content is a token ("When using the quoted-string syntax variant, the value after
/// unescaping MUST conform to the token ABNF").
fn check_value(value: &[u8]) -> Result<(), Malformed> {
    let [b'"', quoted @ .., b'"'] = value else { return token(value).map(|_| ()) };
    let unescaped: Vec<u8> = quoted.iter().copied().filter(|byte| *byte != b'\\').collect();
    if unescaped.is_empty() || !unescaped.into_iter().all(is_token_byte) {
        return Err(Malformed);
    }
    Ok(())
}

/// The parts of `bytes` between `separator`s that stand outside quotes.
fn split(bytes: &[u8], separator: u8) -> Result<Vec<&[u8]>, Malformed> {
    let mut quoted = false;
    let parts = bytes
        .split(|byte| {
            quoted ^= *byte == b'"';
            !quoted && *byte == separator
        })
        .collect();
    if quoted { Err(Malformed) } else { Ok(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_of_the_rfc_are_read() {
        for line in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "permessage-deflate; server_max_window_bits=\"10\"",
            "foo, bar; baz=2",
            "constructor",
        ] {
            assert_eq!(check(line.as_bytes()), Ok(()), "{line}");
        }
    }

    #[test]
    fn what_leaves_the_grammar_is_refused() {
        for line in
            ["", ";;;", "foo;", "foo;=1", "foo; a=", "foo; a=\"", "foo; a=\"b c\"", "foo, , bar", "a b", "foo; a=\"\""]
        {
            assert_eq!(check(line.as_bytes()), Err(Malformed), "{line}");
        }
    }
}
