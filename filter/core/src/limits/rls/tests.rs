use super::*;

/// Overall OVER_LIMIT; a status OVER_LIMIT with all its fields and 61.000025087 s, one OK with 1 h; a header, a body, a quota.
const REFUSED: &[u8] = b"\
    \x08\x02\
    \x12\x18\x08\x02\x12\x0a\x08\x64\x10\x03\x1a\x04name\x18\x00\x22\x06\x08\x3d\x10\xff\xc3\x01\
    \x12\x07\x08\x01\x22\x03\x08\x90\x1c\
    \x1a\x06\x0a\x01k\x12\x01v\
    \x2a\x04body\
    \x3a\x02\x08\x01";

const OVER: Option<Verdict> = Some(Verdict { allowed: false, retry_after: None });

#[track_caller]
fn check(bytes: &[u8], expected: Option<Verdict>) {
    assert_eq!(decode(bytes), expected, "{bytes:02x?}");
}

const fn refused(span: Duration) -> Option<Verdict> {
    Some(Verdict { allowed: false, retry_after: Some(span) })
}

#[test]
fn a_request_is_domain_descriptors_and_hits() {
    let request = Request {
        domain: "portcullis",
        descriptors: &[&[("remote_address", "192.0.2.1")], &[("subject", "corp/alice"), ("message_type", "")]],
        hits_addend: 300,
    };
    let expected = b"\
        \x0a\x0aportcullis\
        \x12\x1d\x0a\x1b\x0a\x0eremote_address\x12\x09192.0.2.1\
        \x12\x29\x0a\x15\x0a\x07subject\x12\x0acorp/alice\x0a\x10\x0a\x0cmessage_type\x12\x00\
        \x18\xac\x02";
    assert_eq!(request.encode(), expected);
}

#[test]
fn lengths_of_more_than_one_byte_are_written_too() {
    let value = "x".repeat(200);
    let request = Request { domain: "", descriptors: &[&[("k", &value)]], hits_addend: 0 };
    let expected = [b"\x0a\x00\x12\xd1\x01\x0a\xce\x01\x0a\x01k\x12\xc8\x01", value.as_bytes(), b"\x18\x00"].concat();
    assert_eq!(request.encode(), expected);
}

#[test]
fn the_overall_code_decides() {
    check(b"\x08\x01", Some(Verdict { allowed: true, retry_after: None }));
    check(b"\x08\x02", OVER);
    for neither in
        [&b""[..], b"\x08\x00", b"\x08\x03", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0a\x01\x02"]
    {
        check(neither, None);
    }
    // "Last one wins" of a field that stands twice.
    check(b"\x08\x01\x08\x02", OVER);
    check(b"\x08\x02\x08\x01", Some(Verdict { allowed: true, retry_after: None }));
    // A status does not decide.
    check(b"\x12\x02\x08\x02", None);
    check(b"\x08\x01\x12\x07\x08\x02\x22\x03\x08\x90\x1c", Some(Verdict { allowed: true, retry_after: None }));
}

#[test]
fn the_longest_wait_of_what_is_exceeded_counts() {
    check(REFUSED, refused(Duration::from_nanos(61_000_025_087)));
    check(b"\x08\x02\x12\x06\x08\x02\x22\x02\x08\x05\x12\x06\x08\x02\x22\x02\x08\x09", refused(Duration::from_secs(9)));
    check(b"\x12\x06\x08\x02\x22\x02\x08\x09\x12\x02\x08\x02\x08\x02", refused(Duration::from_secs(9)));
    // The fields of a status in another order.
    check(b"\x08\x02\x12\x06\x22\x02\x08\x05\x08\x02", refused(Duration::from_secs(5)));
    check(b"\x08\x02\x12\x04\x08\x02\x22\x00", refused(Duration::ZERO));
}

#[test]
fn a_wait_out_of_bounds_is_none() {
    let status = |duration: &[u8]| {
        let mut status = b"\x08\x02".to_vec();
        push_bytes(&mut status, 4, duration);
        let mut response = b"\x08\x02".to_vec();
        push_bytes(&mut response, 2, &status);
        response
    };
    let span = |seconds: u64, nanos: u64| {
        let mut span = Vec::new();
        push_varint(&mut span, 1, seconds);
        push_varint(&mut span, 2, nanos);
        status(&span)
    };
    check(&span(315_576_000_000, 999_999_999), refused(Duration::new(315_576_000_000, 999_999_999)));
    check(&span(315_576_000_001, 0), OVER);
    check(&span(0, 1_000_000_000), OVER);
    check(&span(u64::MAX, 0), OVER);
    check(&span(0, u64::MAX), OVER);
    // Not a duration at all.
    check(&status(b"\x08"), None);
}

#[test]
fn unknown_fields_are_passed_over() {
    let unknown = b"\x78\x01\x7a\x02xy\x79\x01\x02\x03\x04\x05\x06\x07\x08\x7d\x01\x02\x03\x04";
    check(&[&unknown[..], b"\x08\x02", unknown].concat(), OVER);
    // A known number with another wire type is as unknown.
    check(b"\x08\x02\x10\x02\x0d\x01\x00\x00\x00", OVER);
    let status = [b"\x08\x02", &unknown[..], b"\x22\x02\x08\x05", unknown].concat();
    let mut response = b"\x08\x02".to_vec();
    push_bytes(&mut response, 2, &status);
    check(&response, refused(Duration::from_secs(5)));
}

#[test]
fn an_answer_is_read_up_to_its_longest() {
    let padded = |len: usize| {
        let mut response = b"\x08\x02".to_vec();
        // The field's tag and the three bytes of its length.
        push_bytes(&mut response, 5, &vec![0; len - 6]);
        assert_eq!(response.len(), len);
        response
    };
    check(&padded(ANSWER_LEN_MAX), OVER);
    check(&padded(ANSWER_LEN_MAX + 1), None);
}

#[test]
fn what_is_cut_or_changed_is_none_or_another_answer_but_never_a_panic() {
    for cut in 0..REFUSED.len() {
        let _ = decode(&REFUSED[..cut]);
        for bit in 0..8 {
            let mut changed = REFUSED.to_vec();
            changed[cut] ^= 1 << bit;
            let _ = decode(&changed);
        }
    }
}

/// Alone, and in the places of what is an answer.
#[test]
fn random_bytes_never_panic_nor_allow_with_a_wait() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut answers = 0;
    for _ in 0..100_000 {
        let noise = [random(), random()].concat();
        let mut changed = REFUSED.to_vec();
        for byte in &noise[..noise.len() / 4] {
            let [place, ..] = random();
            let place = usize::from(place) % changed.len();
            changed[place] = *byte;
        }
        for bytes in [&noise, &changed] {
            let answer = decode(bytes);
            assert!(!answer.is_some_and(|answer| answer.allowed && answer.retry_after.is_some()), "{bytes:02x?}");
            answers += usize::from(answer.is_some());
        }
    }
    // Not all of it ends at its first field.
    assert!(answers > 1_000, "{answers}");
}
