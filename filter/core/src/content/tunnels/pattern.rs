//! The one matcher: whether the first bytes of a message can be those of a protocol.

/// How many bytes of a message are looked at, at most, and for how many of them a message is held: an `XMPP` stream behind its
/// XML declaration and a query of MongoDB show themselves within 30, and most messages within two.
pub const HEAD_LEN_MAX: usize = 32;

/// One piece of a [`Pattern`].
#[derive(Debug)]
pub(super) enum Part {
    /// These bytes.
    Is(&'static [u8]),
    /// One of these, none of which begins like another.
    OneOf(&'static [&'static [u8]]),
    /// So many bytes, each between the two.
    In(usize, u8, u8),
    /// So many bytes of whatever value.
    Any(usize),
    /// One byte or more between the two, as many as there are; never the last part.
    Run(u8, u8),
    /// A byte that counts the ones behind it, at least one and so many at most, and those.
    Counted(u8),
    /// Bytes up to a zero, and that.
    Terminated,
    /// An integer of MQTT: seven bits a byte, four bytes at most.
    Varint,
    /// Two bytes that, up to this number and with that one added, say how long the message is.
    Total(Order, u16, u8),
    /// The message ends here.
    End,
}

/// Which byte of an integer comes first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Big,
    Little,
}

/// What messages of a protocol begin with.
pub(super) type Pattern = &'static [Part];

/// What is known of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// Its first bytes, [`HEAD_LEN_MAX`] at most.
    pub(super) bytes: &'a [u8],
    /// Whether it has no others.
    pub(super) ended: bool,
}

impl Seen<'_> {
    /// Whether nothing more will be looked at.
    pub(super) const fn is_final(&self) -> bool {
        self.ended || self.bytes.len() >= HEAD_LEN_MAX
    }
}

/// How a message compares with a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fit {
    /// It differs, whatever follows.
    No,
    /// It agrees as far as it has come.
    SoFar,
    /// It matches, whatever follows.
    Yes,
}

/// Whether `byte` may stand at `place` in a message that matches: where that depends on bytes before it, it may.
#[expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "computed by the compiler")]
pub(super) const fn may_have(pattern: &[Part], place: usize, byte: u8) -> bool {
    let Some((part, rest)) = pattern.split_first() else { return true };
    match part {
        Part::Is(bytes) if place < bytes.len() => bytes[place] == byte,
        Part::Is(bytes) => may_have(rest, place - bytes.len(), byte),
        Part::OneOf(choices) => {
            let mut index = 0;
            while index < choices.len() {
                let choice = choices[index];
                let may_be = if place < choice.len() {
                    choice[place] == byte
                } else {
                    may_have(rest, place - choice.len(), byte)
                };
                if may_be {
                    return true;
                }
                index += 1;
            }
            false
        }
        Part::In(len, from, to) if place < *len => *from <= byte && byte <= *to,
        Part::Any(len) if place < *len => true,
        Part::In(len, ..) | Part::Any(len) => may_have(rest, place - *len, byte),
        Part::Run(from, to) => (*from <= byte && byte <= *to) || (place > 0 && may_have(rest, place - 1, byte)),
        Part::Counted(_) | Part::Terminated | Part::Varint | Part::Total(..) => true,
        Part::End => false,
    }
}

/// Compares the start of a message with `pattern`. What ended too early does not match.
pub(super) fn fit(pattern: Pattern, seen: Seen<'_>) -> Fit {
    let mut rest = seen.bytes;
    let mut open = false;
    for part in pattern {
        let after = match part {
            Part::Is(bytes) => literal(bytes, rest),
            Part::OneOf(choices) => one_of(choices, rest),
            Part::In(len, from, to) => within(rest, *len, *from, *to),
            Part::Any(len) => rest.get(*len..).ok_or(Fit::SoFar),
            Part::Run(from, to) => run(rest, *from, *to),
            Part::Counted(max) => counted(rest, *max),
            Part::Terminated => terminated(rest),
            Part::Varint => varint(rest),
            Part::Total(order, max, plus) => {
                open |= !seen.is_final();
                total(rest, *order, *max)
                    .and_then(|(len, after)| agree(len.saturating_add((*plus).into()), seen, after))
            }
            Part::End => {
                open |= !seen.ended;
                if rest.is_empty() { Ok(rest) } else { Err(Fit::No) }
            }
        };
        match after {
            Ok(after) => rest = after,
            Err(_) if seen.ended => return Fit::No,
            Err(fit) => return fit,
        }
    }
    if open { Fit::SoFar } else { Fit::Yes }
}

fn literal<'a>(bytes: &[u8], rest: &'a [u8]) -> Result<&'a [u8], Fit> {
    match rest.strip_prefix(bytes) {
        Some(after) => Ok(after),
        None if bytes.starts_with(rest) => Err(Fit::SoFar),
        None => Err(Fit::No),
    }
}

fn one_of<'a>(choices: &[&[u8]], rest: &'a [u8]) -> Result<&'a [u8], Fit> {
    let mut fit = Fit::No;
    for choice in choices {
        match literal(choice, rest) {
            Err(Fit::No) => {}
            Err(other) => fit = other,
            Ok(after) => return Ok(after),
        }
    }
    Err(fit)
}

fn within(rest: &[u8], len: usize, from: u8, to: u8) -> Result<&[u8], Fit> {
    if !rest.iter().take(len).all(|byte| (from..=to).contains(byte)) {
        return Err(Fit::No);
    }
    rest.get(len..).ok_or(Fit::SoFar)
}

fn run(rest: &[u8], from: u8, to: u8) -> Result<&[u8], Fit> {
    match rest.iter().position(|byte| !(from..=to).contains(byte)) {
        None => Err(Fit::SoFar),
        Some(0) => Err(Fit::No),
        Some(len) => rest.get(len..).ok_or(Fit::SoFar),
    }
}

fn counted(rest: &[u8], max: u8) -> Result<&[u8], Fit> {
    match rest.split_first() {
        Some((len, _)) if *len == 0 || *len > max => Err(Fit::No),
        Some((len, after)) => after.get(usize::from(*len)..).ok_or(Fit::SoFar),
        None => Err(Fit::SoFar),
    }
}

fn terminated(rest: &[u8]) -> Result<&[u8], Fit> {
    let last = rest.iter().position(|byte| *byte == 0).ok_or(Fit::SoFar)?;
    rest.get(last.saturating_add(1)..).ok_or(Fit::SoFar)
}

fn varint(rest: &[u8]) -> Result<&[u8], Fit> {
    match rest.iter().take(4).position(|byte| *byte < 0x80) {
        Some(last) => rest.get(last.saturating_add(1)..).ok_or(Fit::SoFar),
        None if rest.len() < 4 => Err(Fit::SoFar),
        None => Err(Fit::No),
    }
}

fn total(rest: &[u8], order: Order, max: u16) -> Result<(usize, &[u8]), Fit> {
    let (field, after) = rest.split_first_chunk().ok_or(Fit::SoFar)?;
    let len = match order {
        Order::Big => u16::from_be_bytes(*field),
        Order::Little => u16::from_le_bytes(*field),
    };
    if len <= max { Ok((len.into(), after)) } else { Err(Fit::No) }
}

/// Whether a message that says it has `len` bytes may be the one that is seen.
fn agree<'a>(len: usize, seen: Seen<'_>, after: &'a [u8]) -> Result<&'a [u8], Fit> {
    let seen_len = seen.bytes.len();
    if len < seen_len || (seen.ended && len != seen_len) { Err(Fit::No) } else { Ok(after) }
}
