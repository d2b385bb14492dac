mod honest;

use super::pattern::{Part, Pattern};
use super::signatures::SIGNATURES;
use super::*;
use Side::{Client, Server};
use honest::HONEST;

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const SOCKS5_GREETING: &[u8] = b"\x05\x01\0";
/// What a sender put behind the message that is looked for.
const NEXT: &[u8] = b"Q\0\0\0\x0dSELECT 1\0";

/// How a message arrives.
#[derive(Clone, Copy)]
enum Cut {
    Whole,
    Bytes,
    At(usize),
}

fn pieces(message: &[u8], cut: Cut) -> Vec<&[u8]> {
    match cut {
        Cut::Whole => vec![message],
        Cut::Bytes => message.chunks(1).collect(),
        Cut::At(index) => <[_; 2]>::from(message.split_at(index.min(message.len()))).to_vec(),
    }
}

/// The first message that is a tunnel, by index.
fn play(exempt: Exempt, first: Side, messages: &[&[u8]], cut: Cut) -> Option<(usize, Protocol)> {
    let mut conversation = Conversation::new(exempt);
    let mut from = first;
    for (index, message) in messages.iter().enumerate() {
        let mut head = Head::new(from);
        let mut seen = 0;
        for piece in pieces(message, cut) {
            seen += piece.len();
            let judgement = conversation.receive(&mut head, piece);
            assert!(judgement != Judgement::Undecided || seen < HEAD_LEN_MAX, "held for too long");
        }
        match conversation.finish(&mut head) {
            Judgement::Clear => {}
            Judgement::Tunnel(protocol) => return Some((index, protocol)),
            Judgement::Undecided => panic!("undecided at the end"),
        }
        from = from.peer();
    }
    None
}

/// The sides speak in turn, either first; the same is found however the messages are cut.
#[track_caller]
fn check(messages: &[&[u8]], expected: Option<(usize, Protocol)>) {
    for first in [Client, Server] {
        for cut in [Cut::Whole, Cut::Bytes].into_iter().chain((0..=HEAD_LEN_MAX).map(Cut::At)) {
            let found = play(Exempt::NONE, first, messages, cut);
            assert_eq!(found, expected, "{:?}", messages.last().map(|message| message.escape_ascii().to_string()));
        }
    }
}

/// Each of them is a tunnel whatever was said before, and whatever stands behind it.
#[track_caller]
fn tunnel(protocol: Protocol, messages: &[&[u8]]) {
    for message in messages {
        check(&[message], Some((0, protocol)));
        check(&[&[message, NEXT].concat()], Some((0, protocol)));
        check(&[b"{\"hello\":1}", message], Some((1, protocol)));
        check(&[b"{\"hello\":1}", b"ok", b"\x01\x02\x03", message], Some((3, protocol)));
    }
}

/// What is refused with the last message of a conversation, and not before; the first one may bring the next along.
#[track_caller]
fn dialog(protocol: Protocol, messages: &[&[u8]]) {
    check(messages, Some((messages.len() - 1, protocol)));
    let with_next = [messages[0], NEXT].concat();
    check(&[&[with_next.as_slice()], &messages[1..]].concat(), Some((messages.len() - 1, protocol)));
    let honest: &[u8] = b"{\"hello\":1}";
    check(&[&[honest], messages].concat(), None);
    for index in 0..messages.len() {
        let mut others = messages.to_vec();
        others[index] = honest;
        check(&others, None);
    }
}

#[track_caller]
fn clear(messages: &[&[u8]]) {
    for message in messages {
        check(&[message], None);
    }
}

/// `head`, and so many other bytes.
fn padded(head: &[u8], len: usize) -> Vec<u8> {
    head.iter().copied().chain([0xa7].into_iter().cycle()).take(len).collect()
}

#[test]
fn encryption_is_refused() {
    let hello = padded(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 517);
    let answer = padded(b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03", 127);
    tunnel(Protocol::Tls, &[&hello, &answer, b"\x16\x03\x00\x40\0\x01\0\0\x31\x03\x00"]);
    clear(&[
        b"\x16\x03\x04\x02\0\x01\0\x01\xfc\x03\x03",
        b"\x16\x03\x01\x41\0\x01\0\x01\xfc\x03\x03",
        b"\x16\x03\x01\x02\0\x03\0\x01\xfc\x03\x03",
        b"\x16\x03\x01\x02\0\x01\x01\x01\xfc\x03\x03",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x04",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03",
        b"\x16\x03\x01 a record",
    ]);
    tunnel(
        Protocol::Ssh,
        &[b"SSH-2.0-OpenSSH_9.6\r\n", b"SSH-1.99-Cisco-1.25\n", b"SSH-2.0-", b"SSH-chisel-v3-client\r\n"],
    );
    clear(&[b"SSH-keys are kept elsewhere", b"SSH-2.", b"SSH-2.1-x", b"SSH 2.0-x", b"ssh-2.0-x", b"SSH-"]);
    tunnel(Protocol::OpenVpn, &[b"\0\x0e\x38\x8a\x12\x77\x31\xff\0\x9e\x55\0\0\0\0\0"]);
    clear(&[
        b"\0\x0e\x38\x8a\x12\x77\x31\xff\0\x9e\x55\0\0\0\0",
        b"\0\x0e\x38\x8a\x12\x77\x31\xff\0\x9e\x55\0\0\0\0\x01",
        b"\0\x0e\x40\x8a\x12\x77\x31\xff\0\x9e\x55\0\0\0\0\0",
    ]);
    let (reset, answer) =
        (padded(b"\0\x2a\x38\x01\x02\x03\x04\x05", 44), padded(b"\0\x36\x40\x01\x02\x03\x04\x05", 56));
    dialog(Protocol::OpenVpn, &[&reset, &answer]);
    check(&[&reset, &answer[..30]], None);
    check(&[&reset, &reset], None);
}

#[test]
fn screens_and_shells_are_refused() {
    tunnel(Protocol::Rfb, &[b"RFB 003.008\n", b"RFB 003.889\n", b"RFB 004.001\n"]);
    clear(&[b"RFB 003.008", b"RFB 005.008\n", b"RFB 003.00x\n", b"RFB 003.008\r\n", b"RFB is how VNC talks"]);
    let cookie = padded(b"\x03\0\0\x2b\x26\xe0\0\0\0\0\0Cookie: mstshash=", 43);
    tunnel(
        Protocol::Rdp,
        &[
            b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
            b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x02\0\0\0",
            b"\x03\0\0\x0b\x06\xe0\0\0\0\0\0",
            &cookie,
            &cookie[..31],
        ],
    );
    clear(&[
        b"\x03\0\x02\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
        b"\x03\0\0\x13\x0e\xf0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
        b"\x03\0\0\x13\x05\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
        b"\x03\0\0\0\x01\0\0\0",
    ]);
    tunnel(
        Protocol::Telnet,
        &[
            b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27",
            b"\xff\xfb\x01\xff\xfb\x03",
            b"\xff\xfe\x31\xff\xfc\0 x",
        ],
    );
    clear(&[
        b"\xff\xfb\x90\x64\0\x0f\xf0",
        b"\xff\xfb\x14\xc4\xff\xfb\x14",
        b"\xff\xfd\x18\xff\xfd",
        b"\xff\xfd\x18\xff\xfd\x32",
        b"\xff\xfa\x18\xff\xfd\x20",
        b"\xff\xfe<\0h\0i\0>\0",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    ]);
    dialog(Protocol::Telnet, &[b"\xff\xfd\x18", b"\xff\xfc\x18"]);
    check(&[b"\xff\xfd\x18", b"\xff\xfc\x18 login:"], None);
    tunnel(Protocol::Radmin, &[b"\x01\0\0\0\x01\0\0\0\x08\x08"]);
    clear(&[b"\x01\0\0\0\x01\0\0\0\x08", b"\x01\0\0\0\x01\0\0\0\x08\x07", b"\x01\0\0\0\x01\0\0\0"]);
    dialog(Protocol::TeamViewer, &[&padded(b"\x17\x24\x0a\x20", 37), &padded(b"\x17\x24\x0a\x20", 37)]);
    check(&[b"\x17\x24\x0a\x20", b"\x17\x24\x0b\x20"], None);
    check(&[b"\x17\x24", b"\x17\x24"], None);
}

#[test]
fn databases_are_refused() {
    let login = padded(b"\0\0\0\x54\0\x03\0\0user\0admin\0database\0", 0x54);
    tunnel(
        Protocol::PostgreSql,
        &[
            SSL_REQUEST,
            b"\0\0\0\x08\x04\xd2\x16\x30",
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x34\x9a\xbc\xde\xf0",
            &login,
            &login[..31],
            &padded(b"\0\0\x04\x54\0\x03\0\0user\0admin\0options\0", 0x454),
            b"\0\0\0\x11\0\x03\0\x02user\0me\0\0",
        ],
    );
    clear(&[
        b"\0\0\0\x08\x04\xd2\x16\x31",
        b"\0\0\0\x07\x04\xd2\x16\x2f",
        b"\0\0\0\x08\x04\xd2\x16",
        b"\0\0\x28\x11\0\x03\0\0user\0me\0\0",
        b"\0\0\0\x11\0\x04\0\0user\0me\0\0",
        b"\0\0\0\x11\0\x03\0\0uses\0me\0\0",
        b"\0\0\0\x2a\0\x03\0\0a length, a type and text",
    ]);
    tunnel(
        Protocol::MySql,
        &[b"J\0\0\0\n8.0.36\0\x0b\0\0\0", b"n\0\0\0\n5.5.5-10.11.6-MariaDB\0", b"[\0\0\0\n11.4.2-MariaDB\0"],
    );
    clear(&[b"J\0\0\0\n8.0x", b"J\0\0\x01\n8.0.36\0", b"J\0\0\0\x098.0.36\0", b"J\0\0\0\n\x388.0", b"J\0\0\0\n8.0."]);
    tunnel(
        Protocol::Tds,
        &[
            &padded(b"\x12\x01\0\x2f\0\0\0\0\0\0\x1a\0\x06\x01\0\x20", 0x2f),
            &padded(b"\x12\x01\0\x58\0\0\x01\0\0\0\x1f\0\x06", 0x58),
            &padded(b"\x04\x01\0\x2b\0\0\x01\0\0\0\x1a\0\x06", 0x2b),
            b"\x12\x01\0\x2f\0\0\0\0\0\0\x1a\0\x06\x01\0\x20",
            &padded(b"\x12\x01\x01\x2f\0\0\0\0\0\0\x1a\0\x06\x01\0\x20", 0x12f),
        ],
    );
    clear(&[
        &padded(b"\x12\x01\x10\x2f\0\0\0\0\0\0\x1a\0\x06\x01\0\x20", 0x102f),
        &padded(b"\x12\x01\0\x2f\0\0\0\0\0\0\x1a\0\x07", 0x2f),
        &padded(b"\x12\x00\0\x2f\0\0\0\0\0\0\x1a\0\x06", 0x2f),
        b"\x12\x05hello",
    ]);
    tunnel(
        Protocol::Oracle,
        &[b"\0\xf4\0\0\x01\0\0\0\x01\x3c\x01\x2c\x0c\x41\x20\0", b"\x01\x0a\0\0\x01\0\0\0\x01\x3f\x01\x2c\0\0"],
    );
    clear(&[
        b"\0\xf4\0\0\x01\0\0\0\x01\x41\x01\x2c\x0c\x41",
        b"\0\xf4\0\0\x02\0\0\0\x01\x3c\x01\x2c\x0c\x41",
        b"\0\xf4\0\0\x01\0\0\0\x01\x3c\x01\x2d\x0c\x41",
        b"\0\x01\0\0\x01\0\0\0\x01\0\0\0",
    ]);
    let message = b"\x46\x01\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x31\x01\0\0\x10hello\0";
    let query = b"\x3a\0\0\0\x02\0\0\0\0\0\0\0\xd4\x07\0\0\x04\0\0\0admin.$cmd\0\0\0\0\0";
    let exhaust = b"\x46\x01\0\0\x01\0\0\0\x07\0\0\0\xdd\x07\0\0\0\0\x01\0\0\x31\x01\0\0\x10hello\0";
    tunnel(Protocol::MongoDb, &[message, query, exhaust]);
    clear(&[
        b"\x46\x01\0\0\x01\0\0\0\0\0\0\0\xdc\x07\0\0\0\0\0\0\0\x31\x01\0\0\x10hello\0",
        b"\x46\x10\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x31\x01\0\0\x10hello\0",
        b"\x46\x01\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\x02\0\0\0\0\x31\x01\0\0",
        b"\x46\x01\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\x01\x31\x01\0\0",
        b"\x10\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0",
        b"\x3a\0\0\0\x02\0\0\0\0\0\0\0\xd4\x07\0\0\x04\0\0\0hello.$cmd\0\0\0\0\0",
    ]);
    tunnel(Protocol::Redis, &[b"*1\r\n$4\r\nPING\r\n", b"*3\r\n$3\r\nSET\r\n", b"*12\r\n$10\r\nSUBSCRIBE"]);
    clear(&[b"*1\r\n$4", b"*1\r\n$4 off", b"*1 footnote", b"*1\n$4\n", b"**bold**", b"*x\r\n$4\r\n", b"*1\r\n:4\r\n"]);
    dialog(Protocol::Redis, &[b"PING\r\n", b"+PONG\r\n"]);
    dialog(Protocol::Redis, &[b"AUTH hunter2\r\n", b"-WRONGPASS invalid\r\n"]);
    dialog(Protocol::Redis, &[b"PING\n", b"+PONG\r\n"]);
    dialog(Protocol::Redis, &[b"AUTH hunter2\n", b"+OK\r\n"]);
    check(&[b"PING", b"PONG"], None);
    check(&[b"AUTH me", b"+OK\r\n"], None);
    check(&[b"AUTH me\r\n", b"+OK see you\r\n"], None);
    let startup = b"\x04\0\0\x01\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0";
    tunnel(Protocol::Cassandra, &[startup, b"\x05\x10\0\0\x01\0\0\0\x64\0\x03\0\x0bDRIVER_NAME\0\x04"]);
    clear(&[
        b"\x06\0\0\x01\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0",
        b"\x04\0\0\x01\x07\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0",
        b"\x04\0\0\x01\x01\0\0\0\x16\0\x09\0\x0bCQL_VERSION\0\x053.0.0",
        b"\x04\0\0\x01\x01\0\0\0\x16\0\x01\0\x0bCQL-VERSION\0\x053.0.0",
        b"\x05\0\0\0\x05\0\0\0\0",
    ]);
    let options = b"\x05\0\0\x01\x05\0\0\0\0";
    dialog(Protocol::Cassandra, &[options, b"\x85\0\0\x01\x06\0\0\0\x60\0\x03"]);
    check(&[options, b"\x86\0\0\x01\x06\0\0\0\x60"], None);
    check(&[b"\x05\0\0\x01\x05\0\0\0", b"\x85\0\0\x01\x06\0\0\0\x60"], None);
}

#[test]
fn queues_are_refused() {
    tunnel(
        Protocol::Amqp,
        &[b"AMQP\0\0\x09\x01", b"AMQP\x01\x01\0\x09", b"AMQP\0\x01\0\0", b"AMQP\x03\x01\0\0", b"AMQP\x02\x01\0\0"],
    );
    clear(&[b"AMQP is a queue", b"AMQP\x04\x01\0\0", b"AMQP\0\x02\0\0", b"AMQP\0\0\x09", b"amqp\0\0\x09\x01"]);
    tunnel(
        Protocol::Mqtt,
        &[
            b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd",
            b"\x10\x80\x01\0\x04MQTT\x05",
            b"\x10\x12\0\x06MQIsdp\x03",
            b"\x10\x80\x80\x80\x01\0\x04MQTT\x05",
        ],
    );
    clear(&[
        b"\x10\x80\x80\x80\x80\x01\0\x04MQTT\x05",
        b"\x10\x10\0\x04MQTT\x06",
        b"\x10\x10\0\x04MQTT",
        b"\x10\x10\0\x05MQTT\x04",
        b"\x20\x10\0\x04MQTT\x04",
        b"\x10\x96\x01",
        b"\x10\x01\x1a\x04name",
    ]);
    tunnel(
        Protocol::Stomp,
        &[
            b"CONNECT\naccept-version:1.2\nhost:x\n\n\0",
            b"STOMP\r\nhost:x\r\n",
            b"CONNECTED\nversion:1.2\n",
            b"CONNECT\r\nlogin:guest",
        ],
    );
    clear(&[
        b"CONNECT us",
        b"CONNECT\nus, please",
        b"CONNECT",
        b"STOMP\n\nyour feet:",
        b"CONNECT\nHost:x",
        b"SEND\na:b\n\n",
    ]);
    dialog(Protocol::Nats, &[b"INFO {\"server_id\":\"NA\"} \r\n", b"CONNECT {\"verbose\":false}\r\n"]);
    check(&[b"INFO {\"server_id\":\"NA\"}", b"INFO {\"server_id\":\"NA\"}"], None);
    let versions = b"\0\0\0\x1b\0\x12\0\x03\0\0\0\x01\0\x07rdkafka\0\x07librdka\0";
    let short = padded(b"\0\0\0\x40\0\x12\0\0\0\0\0\0\0\x0aproducer-1", 0x44);
    tunnel(Protocol::Kafka, &[versions, &versions[..30], &short]);
    clear(&[
        &padded(b"\0\0\x10\x1b\0\x12\0\x03\0\0\0\x01\0\x07rdkafka", 0x101f),
        &padded(b"\0\0\0\x1b\0\x12\0\x05\0\0\0\x01\0\x07rdkafka", 31),
        &padded(b"\0\0\0\x1b\0\x13\0\x03\0\0\0\x01\0\x07rdkafka", 31),
        &padded(b"\0\0\0\x1b\0\x12\0\x03\0\0\x01\x01\0\x07rdkafka", 31),
        &padded(b"\0\0\0\x1b\0\x12\0\x03\0\0\0\x01\0\x07rd\xff\xff\xff\xff\xff", 31),
    ]);
}

#[test]
fn the_web_is_refused() {
    tunnel(
        Protocol::Http,
        &[
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST /api HTTP/1.0\r\n",
            b"CONNECT a.example:443 HTTP/1.1\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.0 404 Not Found\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    );
    clear(&[
        b"GET well soon",
        b"GET / HTTP/1.1 is a request line",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"GET / HTTP/2.1\r\n",
        b"get / HTTP/1.1\r\n",
        b"GETS / HTTP/1.1\r\n",
        b"GET /api/users returns 404",
        b"POST it on the wall",
        b"DELETE /tmp/x, please",
        b"OPTIONS rtsp://10.0.0.1/1 RTSP/1.0\r\n",
        b"HTTP/1.1 404 errors are annoying",
        b"HTTP/1.1 is old",
        b"HTTP/1.1 600 No\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"PRI * HTTP/2.0",
    ]);
    let request = b"GET /a/path/that/is/quite/long/index.html HTTP/1.1\r\nHost: x\r\n\r\n";
    dialog(Protocol::Http, &[request, b"HTTP/1.1 500 Internal Server Error\r\n"]);
    check(&[request, b"RTSP/1.0 200 OK\r\n"], None);
    check(&[b"GET /a/path", b"HTTP/1.1 404 errors are annoying"], None);
    tunnel(Protocol::Rtmp, &[b"\x03\0\0\0\0\0\xb8\x14\0\0\0\0\x02\0\x07connect\0\x3f\xf0"]);
    clear(&[b"\x03\0\0\0\0\0\xb8\x11\0\0\0\0\x02\0\x07connect", b"\x03\0\0\0\0\0\xb8\x14\0\0\0\0\x02\0\x07publish"]);
    let (c1, s1) = (padded(b"\x03\0\0\x12\x34\0\0\0\0", 1537), padded(b"\x03\0\x0b\x12\x34\x0d\x0e\x0a\x0d", 3073));
    dialog(Protocol::Rtmp, &[&c1, &s1]);
    check(&[&c1[..31], &s1], None);
    check(&[b"\x03\0\0\0\x12\0\0\0\0\0\0\0\0", b"\x03\0\0\0\x12\0\0\0\0\0\0\0\0"], None);
}

#[test]
fn files_mail_and_chat_are_refused() {
    tunnel(
        Protocol::Smb,
        &[b"\0\0\0\x45\xffSMB\x72\0\0", b"\0\0\0\xd8\xfeSMB\x40\0", b"\0\0\x01\0\xfdSMB", b"\0\0\0\x90\xfcSMB"],
    );
    clear(&[b"\0\0\0\x45\xfbSMB", b"\0\x01\0\x45\xffSMB", b"\0\0\0\x45\xffSMC", b"\0\0\0\x45\xffSM", b"SMB shares"]);
    tunnel(Protocol::Zabbix, &[b"ZBXD\x01\x0d\0\0\0\0\0\0\0agent.ping", b"ZBXD\x03"]);
    clear(&[b"ZBXD", b"ZBXD\0", b"ZBXD\x08", b"ZBXDATA"]);
    tunnel(
        Protocol::Xmpp,
        &[
            b"<stream:stream to='x'>",
            b"<stream:features>",
            b"<?xml version='1.0'?><stream:stream to='x'>",
            b"<?xml version=\"1.0\"?><stream:stream",
        ],
    );
    clear(&[
        b"<?xml version='1.0'?><streams/>",
        b"<?xml version='1.0'?>\n<a/>",
        b"<stream>",
        b"<streams:a>",
        b"<html>",
    ]);
    let ready: &[u8] = b"220 mail.example ESMTP\r\n";
    dialog(Protocol::Smtp, &[ready, b"EHLO client.example\r\n"]);
    dialog(Protocol::Smtp, &[ready, b"EHLO client.example\n"]);
    dialog(Protocol::Ftp, &[ready, b"FEAT\n"]);
    dialog(Protocol::Imap, &[b"* OK ready\r\n", b"1 CAPABILITY\n"]);
    dialog(Protocol::Pop3, &[b"+OK ready\r\n", b"CAPA\n"]);
    dialog(Protocol::Smtp, &[b"220-a.host.with.a.long.name.example ESMTP Postfix\r\n", b"HELO x\r\n"]);
    dialog(Protocol::Ftp, &[b"220 (vsFTPd 3.0.5)\r\n", b"USER anonymous\r\n"]);
    check(&[b"220 people online", b"USER anonymous\r\n"], None);
    check(&[b"220 people\n", b"EHLO x\r\n"], None);
    check(&[ready, b"EHLO, how are you\r\n"], None);
    check(&[ready, b"+OK"], None);
    dialog(Protocol::Imap, &[b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN] ready\r\n", b"a001 LOGIN me x\r\n"]);
    dialog(Protocol::Imap, &[b"* OK ready\r\n", b"1 CAPABILITY\r\n"]);
    check(&[b"* OK, agreed", b"a001 LOGIN me x\r\n"], None);
    check(&[b"* OK ready\r\n", b"LOGIN me x\r\n"], None);
    dialog(Protocol::Pop3, &[b"+OK POP3 ready <1@x>\r\n", b"CAPA\r\n"]);
    check(&[b"+OK see you", b"USER me"], None);
    check(&[b"+OK see you\r\n", b"user me"], None);
}

#[test]
fn proxies_and_multiplexers_are_refused() {
    dialog(Protocol::Socks5, &[SOCKS5_GREETING, b"\x05\0", b"\x05\x01\0\x01\x0a\0\0\x01\x01\xbb"]);
    dialog(Protocol::Socks5, &[b"\x05\x02\0\x02", b"\x05\0", b"\x05\x01\0\x03\x07example\0\x50"]);
    dialog(Protocol::Socks5, &[b"\x05\x03\0\x01\x02", b"\x05\x02", b"\x01\x02me\x06secret"]);
    // The client does not wait for the answers.
    let request = b"\x05\x01\0\x01\x0a\0\0\x01\x01\xbb";
    let password = b"\x01\x02me\x06secret";
    dialog(Protocol::Socks5, &[&[SOCKS5_GREETING, request].concat(), b"\x05\0"]);
    dialog(Protocol::Socks5, &[&[b"\x05\x03\x02\x01\0", request.as_slice()].concat(), b"\x05\0\x05\0\0\x01"]);
    dialog(Protocol::Socks5, &[&[b"\x05\x01\x02", password.as_slice(), request].concat(), b"\x05\x02\x01\0"]);
    dialog(Protocol::Socks5, &[b"\x05\x01\x02", b"\x05\x02", &[password.as_slice(), request].concat()]);
    dialog(Protocol::Socks5, &[&[&padded(b"\x05\x19", 27), request.as_slice()].concat(), b"\x05\0"]);
    check(&[&[SOCKS5_GREETING, request].concat(), b"\x05\x01"], None);
    // A type, a length and so many bytes.
    check(&[&padded(b"\x05\x1a", 28), b"\x05\0"], None);
    check(&[&padded(b"\x05\x28", 42), b"\x05\0"], None);
    check(&[&padded(b"\x05\x28", 42), b"\x05\x02ok"], None);
    check(&[b"\x05\x02\0", b"\x05\0", b"\x05\x01\0\x01"], None);
    check(&[b"\x05\0", b"\x05\0", b"\x05\x01\0\x01"], None);
    check(&[SOCKS5_GREETING, b"\x05\0\0", b"\x05\x01\0\x01"], None);
    check(&[SOCKS5_GREETING, b"\x05\0", b"\x05\x01\0\x02"], None);
    check(&[SOCKS5_GREETING, b"\x05\x02", b"\x01\x02me\x06secre"], None);
    let granted: &[u8] = b"\0\x5a\0\0\0\0\0\0";
    dialog(Protocol::Socks4, &[b"\x04\x01\0\x50\x0a\0\0\x01\0", granted]);
    dialog(Protocol::Socks4, &[b"\x04\x02\0\x50\x0a\0\0\x01me\0", b"\0\x5b\0\x50\x0a\0\0\x01"]);
    dialog(Protocol::Socks4, &[b"\x04\x01\0\x50\0\0\0\x01me\0example.com\0", granted]);
    check(&[b"\x04\x01\0\x50\x0a\0\0\x01", granted], None);
    check(&[b"\x04\x03\0\x50\x0a\0\0\x01\0", granted], None);
    check(&[b"\x04\x01\0\x50\x0a\0\0\x01\0", b"\0\x5e\0\0\0\0\0\0"], None);
    check(&[b"\x04\x01\0\x50\x0a\0\0\x01\0", b"\0\x5a\0\0\0\0\0"], None);
    let (syn, ack) = (b"\0\x01\0\x01\0\0\0\x01\0\0\0\0", b"\0\x01\0\x02\0\0\0\x01\0\0\0\0");
    dialog(Protocol::Yamux, &[syn, ack]);
    dialog(Protocol::Yamux, &[b"\0\x02\0\x01\0\0\0\0\x12\x34\x56\x78", b"\0\x02\0\x02\0\0\0\0\x12\x34\x56\x78"]);
    check(&[syn, syn], None);
    check(&[syn, &ack[..11]], None);
    check(&[syn, b"\0\x01\0\x02\0\0\0\x05\0\0\0\0"], None);
    let syn = b"\x01\0\0\0\x03\0\0\0";
    dialog(Protocol::Smux, &[syn, b"\x01\x02\x04\0\x03\0\0\0SSH-"]);
    dialog(Protocol::Smux, &[b"\x02\0\0\0\x03\0\0\0", &padded(b"\x02\x02\xf8\x01\x03\0\0\0", 512)]);
    check(&[syn, b"\x01\x02\x04\0\x03\0\0\0SSH-2"], None);
    check(&[syn, b"\x01\x02\x04\0\x03\0\0\0SSH"], None);
    check(&[syn, syn], None);
}

#[test]
fn a_turn_is_judged_by_its_first_message() {
    let mut conversation = Conversation::new(Exempt::NONE);
    let mut say = |from, message| {
        let mut head = Head::new(from);
        conversation.receive(&mut head, message);
        conversation.finish(&mut head)
    };
    assert_eq!(say(Client, b"\0\x01\0\x01\0\0\0\x01\0\0\0\0"), Judgement::Clear);
    assert_eq!(say(Client, b"data"), Judgement::Clear);
    assert_eq!(say(Server, b""), Judgement::Clear);
    assert_eq!(say(Server, b"\0\x01\0\x02\0\0\0\x01\0\0\0\0"), Judgement::Tunnel(Protocol::Yamux));
}

#[test]
fn a_judgement_sticks() {
    let mut conversation = Conversation::new(Exempt::NONE);
    let mut head = Head::new(Client);
    assert_eq!(conversation.receive(&mut head, b"SSH"), Judgement::Undecided);
    assert_eq!(conversation.receive(&mut head, b""), Judgement::Undecided);
    assert_eq!(conversation.receive(&mut head, b"-2.0-"), Judgement::Tunnel(Protocol::Ssh));
    assert_eq!(conversation.receive(&mut head, b"x"), Judgement::Tunnel(Protocol::Ssh));
    assert_eq!(conversation.finish(&mut head), Judgement::Tunnel(Protocol::Ssh));
    let mut head = Head::new(Client);
    assert_eq!(conversation.receive(&mut head, b"{"), Judgement::Undecided);
    assert_eq!(conversation.receive(&mut head, b"}"), Judgement::Clear);
    assert_eq!(conversation.receive(&mut head, b"SSH-2.0-"), Judgement::Clear);
    assert!(size_of::<Head>() <= 40 && size_of::<Conversation>() <= 16);
}

#[test]
fn subprotocols_exempt_what_they_carry() {
    let mqtt = b"\x10\x10\0\x04MQTT\x04";
    let found = |name, message| play(Exempt::for_subprotocol(name), Client, &[message], Cut::Bytes);
    assert_eq!(found("mqtt", mqtt), None);
    assert_eq!(found("MQTTv3.1", mqtt), None);
    assert_eq!(found("mqtt", SSL_REQUEST), Some((0, Protocol::PostgreSql)));
    for (name, protocol) in [
        ("amqp", Protocol::Amqp),
        ("rfb", Protocol::Rfb),
        ("sqlnet.oracle.com", Protocol::Oracle),
        ("v12.stomp", Protocol::Stomp),
        ("xmpp", Protocol::Xmpp),
    ] {
        assert_eq!(Exempt::for_subprotocol(name), Exempt::NONE.with(protocol));
        assert!(Protocol::ALL.iter().all(|&p| Exempt::for_subprotocol(name).contains(p) == (p == protocol)), "{name}");
    }
    for name in ["binary", "base64", "guacamole", "tty", "v5.channel.k8s.io", "chisel-v3", "authorization.bearer.a.b.c"]
    {
        assert_eq!(Exempt::for_subprotocol(name), Exempt::ALL, "{name}");
        let socks: [&[u8]; 3] = [SOCKS5_GREETING, b"\x05\0", b"\x05\x01\0\x01"];
        assert_eq!(play(Exempt::for_subprotocol(name), Client, &socks, Cut::Whole), None);
        assert_eq!(found(name, SSL_REQUEST), None);
    }
    for name in ["", "graphql-transport-ws", "sip", "msrp", "coap", "xchisel-v3", "mqtt2", "soap"] {
        assert_eq!(Exempt::for_subprotocol(name), Exempt::NONE, "{name}");
    }
}

#[test]
fn protocols_have_names_and_patterns_of_their_own() {
    for (index, protocol) in Protocol::ALL.iter().enumerate() {
        assert!(Protocol::ALL[..index].iter().all(|other| other.name() < protocol.name()), "{}", protocol.name());
        let signed = SIGNATURES.iter().any(|signature| signature.0 == *protocol);
        assert!(signed || DIALOGS.iter().any(|dialog| dialog.0 == *protocol), "{}", protocol.name());
    }
    assert!(Protocol::ALL.len() <= 64 && DIALOGS.len() <= 32);
}

fn patterns() -> impl Iterator<Item = Pattern> {
    SIGNATURES.iter().map(|s| s.1).chain(DIALOGS.iter().flat_map(|dialog| dialog.1.iter().copied()))
}

#[test]
fn patterns_keep_the_rules_of_the_matcher() {
    for pattern in patterns() {
        assert!(!matches!(pattern.last(), None | Some(Part::Run(..))), "{pattern:?}");
        for part in pattern {
            if let Part::OneOf(choices) = part {
                let alike = |a: &[u8]| choices.iter().filter(|b| b.starts_with(a)).count() > 1;
                assert!(!choices.iter().any(|choice| alike(choice)), "{pattern:?}");
            }
        }
    }
}

/// The share of random messages that match, at most: that a length or an end agrees is left out.
fn share(pattern: Pattern) -> f64 {
    let share = |part: &Part| match part {
        Part::Is(bytes) => 256_f64.powi(-(bytes.len() as i32)),
        Part::OneOf(choices) => choices.iter().map(|bytes| 256_f64.powi(-(bytes.len() as i32))).sum(),
        Part::In(len, from, to) => ((f64::from(to - from) + 1.0) / 256.0).powi(*len as i32),
        Part::Total(_, max, _) => (f64::from(*max) + 1.0) / 65_536.0,
        Part::Run(from, to) => (f64::from(to - from) + 1.0) / 256.0,
        Part::Any(_) | Part::Counted(_) | Part::Terminated | Part::Varint | Part::End => 1.0,
    };
    pattern.iter().map(share).product()
}

#[test]
fn random_messages_pass_but_for_one_in_many_millions() {
    let shares: Vec<f64> = SIGNATURES.iter().map(|signature| share(signature.1)).collect();
    assert!(shares.iter().all(|share| *share <= 2_f64.powi(-32)), "{shares:?}");
    assert!(shares.iter().sum::<f64>() < 1e-9, "{}", shares.iter().sum::<f64>());
    for dialog in DIALOGS {
        assert!(dialog.1.iter().map(|pattern| share(pattern)).product::<f64>() <= 2_f64.powi(-24), "{dialog:?}");
    }
}

struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn head(&mut self) -> [u8; HEAD_LEN_MAX] {
        let mut head = [0; HEAD_LEN_MAX];
        head.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.next().to_le_bytes()));
        head
    }
}

#[test]
fn two_million_random_heads_pass() {
    let mut random = XorShift(0x9e37_79b9_7f4a_7c15);
    for _ in 0..1_000_000 {
        let (head, answer) = (random.head(), random.head());
        let len = 1 + random.next() as usize % HEAD_LEN_MAX;
        assert_eq!(play(Exempt::NONE, Client, &[&head, &answer[..len]], Cut::Whole), None, "{head:02x?} {answer:02x?}");
    }
}

/// Small integers of one, two and four bytes in either order, as headers of many formats have them, answered by their like.
#[test]
fn small_integers_pass() {
    let mut random = XorShift(0x2545_f491_4f6c_dd1d);
    for _ in 0..200_000 {
        let messages = [(); 2].map(|()| {
            let mut message = Vec::new();
            for _ in 0..=random.next() % 8 {
                let value = (random.next() % 8) as u8;
                let zeros = random.next() as usize % 4;
                message.push(value);
                message.extend_from_slice(&[0; 3][..zeros]);
                // One in two has its low byte last.
                let start = message.len() - zeros - 1;
                message[start..].rotate_left(random.next() as usize % 2);
            }
            message
        });
        assert_eq!(play(Exempt::NONE, Client, &[&messages[0], &messages[1]], Cut::Whole), None, "{messages:02x?}");
    }
}

#[test]
fn honest_messages_pass_in_every_order() {
    clear(HONEST);
    for first in HONEST {
        for second in HONEST {
            let messages = [*first, *second, *first, *second];
            assert_eq!(play(Exempt::NONE, Server, &messages, Cut::Whole), None, "{first:?} {second:?}");
        }
    }
}

/// After so many bytes it is known that `message` is none, later in a conversation.
#[track_caller]
fn held(message: &[u8], expected: usize) {
    let mut conversation = Conversation::new(Exempt::NONE);
    conversation.receive(&mut Head::new(Server), b"{}");
    let mut head = Head::new(Client);
    let len =
        message.chunks(1).take_while(|byte| conversation.receive(&mut head, byte) == Judgement::Undecided).count();
    assert_eq!(len + 1, expected, "{:?}", message.escape_ascii().to_string());
}

#[test]
fn most_messages_are_clear_within_two_bytes() {
    for message in [
        &b"{\"type\":1}"[..],
        b"[1,2]",
        b"\"text\"",
        b"42[\"chat\"]",
        b"hello",
        b"GIF89a",
        b"\x0a\x10binary",
        b"\x82\xa7compact",
        b"\x89PNG",
        b"\x1f\x8b\x08",
    ] {
        held(message, 2);
    }
    held(b"\x08\x01\x12\x0b", 3);
    held(b"\x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0", 13);
    held(b"GET well soon", 10);
}

/// The short way says nothing else than the long one.
#[test]
fn two_bytes_are_clear_where_the_matcher_says_so() {
    let starts = |mut conversation: Conversation| {
        let mut clear = 0;
        for start in 0..=u16::MAX {
            let start = start.to_be_bytes();
            if conversation.is_clear(Client, start) {
                clear += 1;
                assert_eq!(conversation.receive(&mut Head::new(Client), &start), Judgement::Clear, "{start:?}");
            }
        }
        clear
    };
    let mut conversation = Conversation::new(Exempt::NONE);
    // Its first message may be the first turn of anything.
    assert_eq!(starts(conversation), 0);
    conversation.receive(&mut Head::new(Client), b"{}");
    assert!(starts(conversation) > 59_000, "{}", starts(conversation));
    // An answer may be the next turn, while there is a dialog that it answers.
    let mut dialog = Conversation::new(Exempt::NONE);
    assert_eq!(dialog.receive(&mut Head::new(Server), b"PING\r\n"), Judgement::Clear);
    assert_eq!(starts(dialog), 0);
}
