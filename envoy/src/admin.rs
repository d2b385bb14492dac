//! Envoy's admin endpoint: one request a connection, and the few answers that are read.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::Error;

/// How long an answer may take: Envoy's main thread compiles the module and may be busy for seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The body that Envoy answers to `GET path`.
///
/// # Errors
/// [`Error::Admin`] for a status other than 200.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String, Error> {
    ask(address, "GET", path)
}

/// Has Envoy do what `POST path` says.
///
/// # Errors
/// [`Error::Admin`] for a status other than 200.
pub(crate) fn post(address: SocketAddr, path: &str) -> Result<(), Error> {
    ask(address, "POST", path).map(drop)
}

fn ask(address: SocketAddr, method: &str, path: &str) -> Result<String, Error> {
    let answer = exchange(address, method, path).map_err(Error::io(format!("{method} {path} from {address}")))?;
    let unusable = |answer: &str| Error::Admin { path: path.into(), answer: answer.into() };
    let (head, body) = split(&answer, b"\r\n\r\n").ok_or_else(|| unusable("an answer without a head"))?;
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        return Err(unusable(status));
    }
    let body = if head.contains("\r\ntransfer-encoding: chunked") {
        dechunk(body).ok_or_else(|| unusable("a cut or malformed chunk"))?
    } else {
        body.to_vec()
    };
    String::from_utf8(body).map_err(|_| unusable("a body that is not text"))
}

/// The counters and gauges in an answer to `/stats`.
pub(crate) fn stats(text: &str) -> BTreeMap<String, u64> {
    let parse = |line: &str| {
        // Histograms and text values do not parse as numbers.
        let (name, value) = line.rsplit_once(": ")?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}

/// The value of the statistic of this full name, or of this name of the filter's; 0 if there is none.
pub(crate) fn value(stats: &BTreeMap<String, u64>, name: &str) -> u64 {
    // Envoy puts this before the names that modules define.
    stats.get(name).or_else(|| stats.get(&format!("wasmcustom.{name}"))).copied().unwrap_or(0)
}

/// The values of a histogram in an answer to `/stats?histogram_buckets=detailed&format=json`: whole numbers, and how many there were of each.
/// From 100 on a number stands for all that begin with the same two digits, and is the highest of them.
pub(crate) fn histogram(text: &str, name: &str) -> Option<BTreeMap<u64, u64>> {
    let stats: Value = serde_json::from_str(text).ok()?;
    let details = stats["stats"].as_array()?.iter().find_map(|stat| stat.pointer("/histograms/details")?.as_array())?;
    let histogram = details.iter().find(|histogram| histogram["name"] == format!("wasmcustom.{name}"))?;
    let bins = histogram["totals"].as_array()?.iter().map(|bin| {
        let end = bin["lower_bound"].as_f64()? + bin["width"].as_f64()?;
        // Bounds are off by their last digit, and below 10 bins are a tenth wide.
        Some(((end - 0.001).max(0.0) as u64, bin["count"].as_u64()?))
    });
    bins.collect()
}

/// The address of the listener of this name in an answer to `/listeners?format=json`.
pub(crate) fn listener(text: &str, name: &str) -> Option<SocketAddr> {
    let listeners: Value = serde_json::from_str(text).ok()?;
    let listener = listeners["listener_statuses"].as_array()?.iter().find(|listener| listener["name"] == name)?;
    let address = listener.pointer("/local_address/socket_address")?;
    let port = address["port_value"].as_u64().and_then(|port| u16::try_from(port).ok())?;
    Some(SocketAddr::new(address["address"].as_str()?.parse().ok()?, port))
}

fn exchange(address: SocketAddr, method: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// A body of RFC 9112 §7.1 without its framing; nothing if its last chunk is not there.
fn dechunk(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let (size, rest) = split(body, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(rest.get(..size)?);
        body = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_gauges_are_read_and_nothing_else() {
        let text = concat!(
            "wasmcustom.portcullis.refused.origin_refused: 3\n",
            "server.live: 1\n",
            "http_filter.portcullis.version_text: \"7\"\n",
            "wasmcustom.portcullis.handshake_us: P0(3.0,3.0) P25(3.0,3.0)\n",
        );
        let stats = stats(text);
        assert_eq!(stats.len(), 2);
        assert_eq!(value(&stats, "portcullis.refused.origin_refused"), 3);
        assert_eq!(value(&stats, "server.live"), 1);
        assert_eq!(value(&stats, "origin_refused"), 0);
    }

    #[test]
    fn a_histogram_is_read_as_whole_numbers() {
        let text = r#"{"stats": [{"histograms": {"supported_percentiles": [0, 100], "details": [
            {"name": "wasmcustom.portcullis.other_us", "totals": []},
            {"name": "wasmcustom.portcullis.tick_us", "totals": [
                {"lower_bound": 0, "width": 0, "count": 1}, {"lower_bound": 5, "width": 0.1, "count": 119},
                {"lower_bound": 11, "width": 1, "count": 4}, {"lower_bound": 490.00000000000006, "width": 10, "count": 3},
                {"lower_bound": 869.9999999999999, "width": 10, "count": 2}]}]}}]}"#;
        let expected = BTreeMap::from([(0, 1), (5, 119), (11, 4), (499, 3), (879, 2)]);
        assert_eq!(histogram(text, "portcullis.tick_us"), Some(expected));
        assert_eq!(histogram(text, "portcullis.other_us"), Some(BTreeMap::new()));
        assert_eq!(histogram(text, "portcullis.none"), None);
        assert_eq!(histogram("{}", "portcullis.tick_us"), None);
    }

    #[test]
    fn chunks_are_joined_and_a_cut_one_is_noticed() {
        assert_eq!(dechunk(b"4\r\nLIVE\r\n1\r\n\n\r\n0\r\n\r\n").as_deref(), Some(&b"LIVE\n"[..]));
        assert_eq!(dechunk(b"4\r\nLIVE\r\n"), None);
        assert_eq!(dechunk(b"4\r\nLI"), None);
        assert_eq!(dechunk(b"x\r\nLIVE\r\n0\r\n\r\n"), None);
    }

    #[test]
    fn the_listeners_address_is_read() {
        let text = r#"{"listener_statuses": [
            {"name": "edge", "local_address": {"socket_address": {"address": "127.0.0.1", "port_value": 45381}}},
            {"name": "second", "local_address": {"socket_address": {"address": "127.0.0.1", "port_value": 45382}}}]}"#;
        assert_eq!(listener(text, "edge"), Some(SocketAddr::from(([127, 0, 0, 1], 45381))));
        assert_eq!(listener(text, "second"), Some(SocketAddr::from(([127, 0, 0, 1], 45382))));
        assert_eq!(listener(text, "third"), None);
        assert_eq!(listener("{}", "edge"), None);
    }
}
