//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1), read in one pass.

use super::Malformed;
use super::list::{token, trim};

/// One extension that is offered or chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extension<'a> {
    /// Its registered name.
    pub name: &'a str,
    /// Its parameters, in their order; quotes around a value are gone.
    pub parameters: Vec<(&'a str, Option<String>)>,
}

/// Reads one line: `extension *( "," extension )`, each `token *( ";" token [ "=" value ] )`.
///
/// # Errors
/// [`Malformed`] where the grammar is left; RFC 6455 §9.1 then fails the handshake.
pub fn parse(line: &[u8]) -> Result<Vec<Extension<'_>>, Malformed> {
    split(line, b',')?.into_iter().map(extension).collect()
}

fn extension(text: &[u8]) -> Result<Extension<'_>, Malformed> {
    let mut parts = split(text, b';')?.into_iter();
    let name = token(parts.next().map(trim).unwrap_or_default())?;
    let parameters = parts.map(|part| parameter(trim(part))).collect::<Result<_, _>>()?;
    Ok(Extension { name, parameters })
}

fn parameter(text: &[u8]) -> Result<(&str, Option<String>), Malformed> {
    let Some(equals) = text.iter().position(|byte| *byte == b'=') else { return Ok((token(text)?, None)) };
    let (name, value) = text.split_at_checked(equals).unwrap_or_default();
    Ok((token(trim(name))?, Some(unquote(trim(value.get(1..).unwrap_or_default()))?)))
}

/// A token, or a quoted string whose content is a token ("When using the quoted-string syntax variant, the value after
/// unescaping MUST conform to the token ABNF").
fn unquote(value: &[u8]) -> Result<String, Malformed> {
    let [b'"', quoted @ .., b'"'] = value else { return token(value).map(str::to_owned) };
    let unescaped: Vec<u8> = quoted.iter().copied().filter(|byte| *byte != b'\\').collect();
    token(&unescaped).map(str::to_owned)
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
            assert!(parse(line.as_bytes()).is_ok(), "{line}");
        }
    }

    #[test]
    fn names_parameters_and_values_are_told_apart() {
        let found = parse(b"a ; b; c = 1 ; d=\"x\", e").unwrap();
        let value = |text: &str| Some(text.to_owned());
        let expected = [
            Extension { name: "a", parameters: vec![("b", None), ("c", value("1")), ("d", value("x"))] },
            Extension { name: "e", parameters: vec![] },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_leaves_the_grammar_is_refused() {
        for line in
            ["", ";;;", "foo;", "foo;=1", "foo; a=", "foo; a=\"", "foo; a=\"b c\"", "foo, , bar", "a b", "foo; a=\"\""]
        {
            assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line}");
        }
    }
}
