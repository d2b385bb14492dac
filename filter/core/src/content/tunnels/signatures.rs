//! What the protocols begin with, as data. Facts from their specifications and from captured traffic.

use super::pattern::Order::{Big, Little};
use super::pattern::Part::{Any, Counted, End, In, Is, OneOf, Run, Terminated, Total, Varint};
use super::pattern::{Part, Pattern, may_have};
use super::protocol::Protocol;

/// A protocol and what no honest message begins with, whatever its sender puts behind it.
#[derive(Debug)]
pub(super) struct Signature(pub(super) Protocol, pub(super) Pattern);

/// A protocol and what its peers say in turn: each pattern alone may be chance, all of them in this order are not. Only an answer may have
/// to end somewhere: who begins may send what comes next along.
#[derive(Debug)]
pub(super) struct Dialog(pub(super) Protocol, pub(super) &'static [Pattern]);

const CRLF: Part = Is(b"\r\n");

/// Servers take either from a client. So do those of HTTP (RFC 9112 §2.2), but a request with line feeds alone is what people paste.
const LINE_END: Part = OneOf(&[b"\r\n", b"\n"]);

/// Decimal digits.
const DIGITS: Part = Run(b'0', b'9');
/// What stands in a line.
const TEXT: Part = Run(b' ', b'~');
/// What stands between two spaces.
const WORD: Part = Run(b'!', b'~');

/// RFC 9112 §3.
const HTTP_REQUEST: Pattern = &[
    OneOf(&[b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH "]),
    WORD,
    Is(b" HTTP/1."),
    In(1, b'0', b'1'),
    CRLF,
];

/// RFC 5321 §4.2 and RFC 959 §4.2: a server is ready.
const READY: Pattern = &[Is(b"220"), OneOf(&[b" ", b"-"]), TEXT, CRLF];

/// RFC 1928 §3: version, and the methods of authentication.
const SOCKS5_GREETING: Pattern = &[Is(&[5]), Counted(0xff)];
/// Methods that leave room in a head of 32 bytes: two stand before them, and five show that a request stands behind.
const SOCKS5_METHODS: Part = Counted(25);

/// RFC 1928 §4: what to connect, and the type of its address.
const SOCKS5_COMMAND: Part = In(1, 1, 3);
const SOCKS5_ADDRESS: Part = OneOf(&[&[0, 1], &[0, 3], &[0, 4]]);

/// RFC 854, RFC 855: WILL, WON'T, DO or DON'T.
const TELNET_VERB: Part = In(1, 0xfb, 0xfe);
/// An option that is in use.
const TELNET_OPTION: Part = In(1, 0, 0x31);

/// Looked for in every message of both sides.
pub(super) static SIGNATURES: &[Signature] = &[
    // The header of AMQP 0-9-1 §4.2.2 and AMQP 1.0 §2.2: protocol, major, minor, revision.
    Signature(Protocol::Amqp, &[Is(b"AMQP"), In(1, 0, 3), In(1, 0, 1), In(1, 0, 9), In(1, 0, 10)]),
    // STARTUP: version, flags, stream, operation, a length below 64 KiB, then a map of few options.
    Signature(
        Protocol::Cassandra,
        &[
            In(1, 3, 5),
            Any(3),
            Is(&[1, 0, 0]),
            Any(2),
            Is(&[0]),
            In(1, 1, 8),
            Is(&[0, 11]),
            OneOf(&[b"CQL_VERSION", b"COMPRESSION", b"DRIVER_NAME"]),
        ],
    ),
    Signature(Protocol::Http, HTTP_REQUEST),
    Signature(
        Protocol::Http,
        &[Is(b"HTTP/1."), In(1, b'0', b'1'), Is(b" "), In(1, b'1', b'5'), In(2, b'0', b'9'), TEXT, CRLF],
    ),
    // RFC 9113 §3.4.
    Signature(Protocol::Http, &[Is(b"PRI * HTTP/2.0\r\n")]),
    // ApiVersions: a length below 4 KiB, key, version, a small correlation, then the client's name with its length.
    Signature(
        Protocol::Kafka,
        &[
            Is(&[0, 0]),
            In(1, 0, 0x0f),
            Any(1),
            Is(&[0, 18, 0]),
            In(1, 0, 4),
            Is(&[0, 0, 0]),
            In(1, 0, 0x20),
            Is(&[0]),
            In(1, 1, 0x7f),
            In(4, b'!', b'~'),
        ],
    ),
    // OP_MSG: a length below 4 KiB, two identifiers, the operation, flags, a document's length.
    Signature(
        Protocol::MongoDb,
        &[
            Any(1),
            In(1, 0, 0x0f),
            Is(&[0, 0]),
            Any(8),
            Is(&[0xdd, 7, 0, 0, 0, 0]),
            In(1, 0, 1),
            Is(&[0, 0]),
            Any(1),
            In(1, 0, 0x0f),
            Is(&[0, 0]),
        ],
    ),
    // OP_QUERY, with which drivers still greet.
    Signature(
        Protocol::MongoDb,
        &[Any(1), In(1, 0, 0x0f), Is(&[0, 0]), Any(8), Is(&[0xd4, 7, 0, 0]), Any(1), Is(&[0, 0, 0]), Is(b"admin.$cmd")],
    ),
    // CONNECT of MQTT 3.1, 3.1.1 and 5 (§3.1.2).
    Signature(Protocol::Mqtt, &[Is(&[0x10]), Varint, OneOf(&[b"\0\x04MQTT", b"\0\x06MQIsdp"]), In(1, 3, 5)]),
    // The greeting: packet 0, protocol 10, "8.0.36" or "10.11.6-MariaDB".
    Signature(Protocol::MySql, &[Any(1), Is(&[0, 0, 0, 10]), In(5, b'.', b'9')]),
    // A hard reset in a packet of its own, without tls-auth: session, no acknowledgement, packet 0.
    Signature(Protocol::OpenVpn, &[Is(&[0, 14, 0x38]), Any(8), Is(&[0, 0, 0, 0, 0])]),
    // Connect: length, checksum, type, flags, version 308 to 320, compatible down to 300.
    Signature(Protocol::Oracle, &[In(1, 0, 1), Any(1), Is(&[0, 0, 1, 0, 0, 0, 1]), In(1, 0x34, 0x40), Is(&[1, 0x2c])]),
    // CancelRequest, SSLRequest and GSSENCRequest.
    Signature(Protocol::PostgreSql, &[Is(&[0, 0, 0]), In(1, 8, 16), Is(&[0x04, 0xd2, 0x16]), In(1, 0x2e, 0x30)]),
    // StartupMessage of version 3, of the 10,000 bytes that servers take.
    Signature(
        Protocol::PostgreSql,
        &[
            Is(&[0, 0]),
            In(1, 0, 0x27),
            Any(1),
            Is(&[0, 3, 0]),
            In(1, 0, 2),
            OneOf(&[b"user\0", b"database\0", b"application_name\0", b"client_encoding\0"]),
        ],
    ),
    Signature(Protocol::Radmin, &[Is(&[1, 0, 0, 0, 1, 0, 0, 0, 8, 8])]),
    // TPKT (RFC 1006 §6) below 512 bytes, around the connection request or confirm of X.224, from or to reference 0.
    Signature(
        Protocol::Rdp,
        &[Is(&[3, 0]), In(1, 0, 1), Any(1), In(1, 6, 0xfe), OneOf(&[&[0xe0, 0, 0], &[0xd0, 0, 0]])],
    ),
    // An array whose first element is a string.
    Signature(Protocol::Redis, &[Is(b"*"), DIGITS, Is(b"\r\n$"), DIGITS, CRLF]),
    // RFC 6143 §7.1.1.
    Signature(Protocol::Rfb, &[Is(b"RFB 00"), In(1, b'3', b'4'), Is(b"."), In(3, b'0', b'9'), Is(b"\n")]),
    // A command of type 20 on stream 0, in AMF 0.
    Signature(Protocol::Rtmp, &[Is(&[3]), Any(6), Is(b"\x14\0\0\0\0\x02\0\x07connect")]),
    // SMB 1, 2, encrypted and compressed, below 64 KiB.
    Signature(Protocol::Smb, &[Is(&[0, 0]), Any(2), In(1, 0xfc, 0xff), Is(b"SMB")]),
    // RFC 4253 §4.2; chisel names itself where the version stands.
    Signature(Protocol::Ssh, &[Is(b"SSH-"), OneOf(&[b"2.0-", b"1.99-", b"1.5-", b"chisel-"])]),
    Signature(
        Protocol::Stomp,
        &[
            OneOf(&[b"CONNECT\n", b"CONNECT\r\n", b"STOMP\n", b"STOMP\r\n", b"CONNECTED\n", b"CONNECTED\r\n"]),
            Run(b'a', b'z'),
            OneOf(&[b":", b"-"]),
        ],
    ),
    // PRELOGIN and its answer: type, last packet, a length below 4 KiB, process 0, then option 0 with an offset and six bytes.
    Signature(
        Protocol::Tds,
        &[
            OneOf(&[&[0x12, 1], &[0x04, 1]]),
            In(1, 0, 0x0f),
            Any(1),
            Is(&[0, 0]),
            In(1, 0, 1),
            Is(&[0, 0, 0]),
            In(1, 6, 0x40),
            Is(&[0, 6]),
        ],
    ),
    // Two commands in a row.
    Signature(Protocol::Telnet, &[Is(&[0xff]), TELNET_VERB, TELNET_OPTION, Is(&[0xff]), TELNET_VERB, TELNET_OPTION]),
    // A record with a ClientHello or ServerHello of less than 64 KiB (RFC 8446 §4, §5.1).
    Signature(
        Protocol::Tls,
        &[Is(&[0x16, 3]), In(1, 0, 3), In(1, 0, 0x40), Any(1), In(1, 1, 2), Is(&[0]), Any(2), Is(&[3]), In(1, 0, 3)],
    ),
    Signature(Protocol::Xmpp, &[Is(b"<stream:")]),
    Signature(Protocol::Xmpp, &[OneOf(&[b"<?xml version='1.0'?>", b"<?xml version=\"1.0\"?>"]), Is(b"<stream:")]),
    Signature(Protocol::Zabbix, &[Is(b"ZBXD"), In(1, 1, 7)]),
];

/// Which of the [`SIGNATURES`], by index, a message may have whose first and second byte have this upper half, and this lower half: few
/// or none are left to compare with. Of more than 64 it would not compile.
#[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
static STARTS: [[[u64; 16]; 2]; 2] = {
    let mut starts = [[[0; 16]; 2]; 2];
    let mut index = 0;
    while index < SIGNATURES.len() {
        let mut next = Some(0_u8);
        while let Some(byte) = next {
            let mut place = 0;
            while place < starts.len() {
                if may_have(SIGNATURES[index].1, place, byte) {
                    starts[place][0][byte as usize >> 4] |= 1_u64 << index;
                    starts[place][1][byte as usize & 0x0f] |= 1_u64 << index;
                }
                place += 1;
            }
            next = byte.checked_add(1);
        }
        index += 1;
    }
    starts
};

/// The signatures that messages may have that begin with `bytes`: more than those, if there are fewer than two.
pub(super) fn starting_with(bytes: &[u8]) -> impl Iterator<Item = &'static Signature> {
    let of = |half: &[u64; 16], nibble: u8| half.get(usize::from(nibble)).copied().unwrap_or_default();
    let mut left = bytes
        .iter()
        .zip(&STARTS)
        .fold(u64::MAX, |left, (byte, [high, low])| left & of(high, byte >> 4) & of(low, byte & 0x0f));
    core::iter::from_fn(move || {
        let index = left.trailing_zeros();
        left &= left.wrapping_sub(1);
        SIGNATURES.get(usize::try_from(index).ok()?)
    })
}

/// Looked for in the first turns of a conversation, whichever side begins; 32 at most, by [`super::Conversation`].
pub(super) static DIALOGS: &[Dialog] = &[
    // OPTIONS, SUPPORTED.
    Dialog(
        Protocol::Cassandra,
        &[&[In(1, 3, 5), In(1, 0, 0x10), Any(2), Is(&[5, 0, 0, 0, 0])], &[In(1, 0x83, 0x85), Any(3), Is(&[6, 0, 0])]],
    ),
    Dialog(
        Protocol::Ftp,
        &[READY, &[OneOf(&[b"AUTH TLS", b"AUTH SSL", b"FEAT", b"HOST ", b"OPTS UTF8", b"SYST", b"USER "])]],
    ),
    // A request whose line is too long to end within the head.
    Dialog(
        Protocol::Http,
        &[HTTP_REQUEST, &[Is(b"HTTP/1."), In(1, b'0', b'1'), Is(b" "), In(1, b'1', b'5'), In(2, b'0', b'9')]],
    ),
    Dialog(
        Protocol::Imap,
        &[
            &[Is(b"* OK "), TEXT, CRLF],
            &[
                WORD,
                Is(b" "),
                OneOf(&[b"AUTHENTICATE ", b"CAPABILITY", b"ID (", b"ID NIL", b"LOGIN ", b"NOOP", b"STARTTLS"]),
            ],
        ],
    ),
    Dialog(Protocol::Nats, &[&[Is(b"INFO {\"server_")], &[Is(b"CONNECT {\"")]]),
    // A hard reset of the client, with or without tls-auth, and the server's.
    Dialog(
        Protocol::OpenVpn,
        &[&[In(1, 0, 7), Any(1), OneOf(&[b"\x38", b"\x50"]), Any(8)], &[Total(Big, 0xff, 2), Is(b"\x40"), Any(8)]],
    ),
    Dialog(
        Protocol::Pop3,
        &[&[Is(b"+OK "), TEXT, CRLF], &[OneOf(&[b"APOP ", b"AUTH", b"CAPA", b"QUIT", b"STLS", b"USER "])]],
    ),
    Dialog(Protocol::Redis, &[&[Is(b"PING"), LINE_END], &[OneOf(&[b"+PONG\r\n", b"-DENIED ", b"-ERR ", b"-NOAUTH "])]]),
    Dialog(
        Protocol::Redis,
        &[&[Is(b"AUTH "), TEXT, LINE_END], &[OneOf(&[b"+OK\r\n", b"-DENIED ", b"-ERR ", b"-WRONGPASS "])]],
    ),
    // C0 and C1, S0 and S1: version, time, four zeros of the client, random bytes.
    Dialog(
        Protocol::Rtmp,
        &[
            &[Is(&[3]), Any(4), Is(&[0, 0, 0, 0]), In(16, 1, 0xff), Any(7)],
            &[Is(&[3]), Any(8), In(16, 1, 0xff), Any(7)],
        ],
    ),
    // SYN of a client's first stream; data on it that ends with the message.
    Dialog(
        Protocol::Smux,
        &[
            &[In(1, 1, 2), Is(&[0, 0, 0]), In(1, 1, 5), Is(&[0, 0, 0])],
            &[In(1, 1, 2), Is(&[2]), Total(Little, 0xffff, 8), In(1, 1, 5), Is(&[0, 0, 0])],
        ],
    ),
    Dialog(Protocol::Smtp, &[READY, &[OneOf(&[b"EHLO ", b"HELO "]), WORD, LINE_END]]),
    // CONNECT or BIND, port, address, user; of SOCKS 4A, a host behind it.
    Dialog(
        Protocol::Socks4,
        // Granted or not, then a port and an address.
        &[&[Is(&[4]), In(1, 1, 2), Any(6), Terminated], &[Is(&[0]), In(1, 0x5a, 0x5d), Any(6), End]],
    ),
    // No authentication, then a request; the request may come along with the greeting.
    Dialog(Protocol::Socks5, &[SOCKS5_GREETING, &[Is(&[5, 0]), End], &[Is(&[5]), SOCKS5_COMMAND, SOCKS5_ADDRESS]]),
    Dialog(Protocol::Socks5, &[&[Is(&[5]), SOCKS5_METHODS, Is(&[5]), SOCKS5_COMMAND, SOCKS5_ADDRESS], &[Is(&[5, 0])]]),
    // A password (RFC 1929 §2), in its turn or along with the greeting.
    Dialog(Protocol::Socks5, &[SOCKS5_GREETING, &[Is(&[5, 2]), End], &[Is(&[1]), Counted(0xff), Counted(0xff)]]),
    Dialog(Protocol::Socks5, &[&[Is(&[5]), SOCKS5_METHODS, Is(&[1]), Counted(0xff), Counted(0xff)], &[Is(&[5, 2])]]),
    Dialog(Protocol::TeamViewer, &[&[Is(&[0x17, 0x24, 0x0a, 0x20])], &[Is(&[0x17, 0x24, 0x0a, 0x20])]]),
    Dialog(
        Protocol::Telnet,
        &[&[Is(&[0xff]), TELNET_VERB, TELNET_OPTION], &[Is(&[0xff]), TELNET_VERB, TELNET_OPTION, End]],
    ),
    // A window or a ping with SYN, then with ACK, on one of the first streams.
    Dialog(
        Protocol::Yamux,
        &[
            &[Is(&[0]), In(1, 1, 2), Is(&[0, 1, 0, 0, 0]), In(1, 0, 4), Any(4)],
            &[Is(&[0]), In(1, 1, 2), Is(&[0, 2, 0, 0, 0]), In(1, 0, 4), Any(4), End],
        ],
    ),
];
