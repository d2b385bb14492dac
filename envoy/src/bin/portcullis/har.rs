//! Handshakes and messages as browsers export them: HTTP Archive 1.2, with Chromium's `_webSocketMessages`.

use serde_json::Value;

/// A handshake of an archive, and the texts that the page sent.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) url: String,
    /// As curl takes them. Pseudo-headers of HTTP/2 are left out: the URL says the same.
    pub(crate) headers: Vec<String>,
    /// What the upstream chose.
    pub(crate) subprotocol: Option<String>,
    pub(crate) messages: Vec<String>,
    /// How many more the page sent that are no texts.
    pub(crate) skipped_count: usize,
}

/// The `number`-th entry of the archive, from 0 on, or the first one that is a WebSocket.
///
/// # Errors
/// Why there is none.
pub(crate) fn entry(text: &str, number: Option<usize>) -> Result<Entry, String> {
    // Some tools begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let archive: Value = serde_json::from_str(text).map_err(|_| "--har: not JSON".to_owned())?;
    let entries = archive.pointer("/log/entries").and_then(Value::as_array).ok_or("--har: no log.entries")?;
    let found = match number {
        Some(number) => entries.get(number).ok_or_else(|| format!("--har: it has {} entries", entries.len()))?,
        None => entries.iter().find(|entry| is_websocket(entry)).ok_or("--har: no entry is a WebSocket")?,
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let header = |header: &Value| Some(format!("{}: {}", text(&header["name"])?, text(&header["value"])?));
    let headers = found.pointer("/request/headers").and_then(Value::as_array).into_iter().flatten();
    let mut answered = found.pointer("/response/headers").and_then(Value::as_array).into_iter().flatten();
    let is_choice =
        |header: &&Value| text(&header["name"]).is_some_and(|name| name.eq_ignore_ascii_case("sec-websocket-protocol"));
    // Control frames are no messages.
    let is_sent = |message: &&Value| message["type"] == "send" && (message["opcode"] == 1 || message["opcode"] == 2);
    let sent = found["_webSocketMessages"].as_array().into_iter().flatten().filter(is_sent);
    let sent: Vec<_> = sent.map(|message| text(&message["data"]).filter(|_| message["opcode"] == 1)).collect();
    Ok(Entry {
        url: text(&found["request"]["url"]).ok_or("--har: the entry has no URL")?,
        headers: headers.filter_map(header).filter(|line| !line.starts_with(':')).collect(),
        subprotocol: answered.find(is_choice).and_then(|header| text(&header["value"])),
        skipped_count: sent.iter().filter(|message| message.is_none()).count(),
        messages: sent.into_iter().flatten().collect(),
    })
}

fn is_websocket(entry: &Value) -> bool {
    let url = entry.pointer("/request/url").and_then(Value::as_str).unwrap_or_default();
    entry["_resourceType"] == "websocket" || url.starts_with("ws://") || url.starts_with("wss://")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_what_a_page_asked_for_and_sent() {
        let archive = json!({"log": {"entries": [
            {"request": {"url": "https://chat.example.com/", "headers": []}},
            {
                "_resourceType": "websocket",
                "request": {"url": "wss://chat.example.com/a?b", "headers": [
                    {"name": ":authority", "value": "chat.example.com"}, {"name": "Origin", "value": "https://app.example.com"},
                ]},
                "response": {"headers": [{"name": "sec-websocket-protocol", "value": "v12.stomp"}]},
                "_webSocketMessages": [
                    {"type": "send", "opcode": 1, "data": "{}"}, {"type": "receive", "opcode": 1, "data": "no"},
                    {"type": "send", "opcode": 2, "data": "AAE="},
                    {"type": "send", "opcode": 9, "data": ""}, {"type": "send", "opcode": 8, "data": "A+g="},
                ],
            },
        ]}})
        .to_string();
        let expected = Entry {
            url: "wss://chat.example.com/a?b".to_owned(),
            headers: vec!["Origin: https://app.example.com".to_owned()],
            subprotocol: Some("v12.stomp".to_owned()),
            messages: vec!["{}".to_owned()],
            skipped_count: 1,
        };
        assert_eq!(entry(&archive, None), Ok(expected));
        let first = entry(&archive, Some(0)).unwrap();
        assert_eq!((&*first.url, first.subprotocol), ("https://chat.example.com/", None));
        assert!(entry(&archive, Some(2)).unwrap_err().contains("2 entries"));
    }

    #[test]
    fn what_is_no_archive_is_said() {
        for text in
            ["", "{}", r#"{"log": {"entries": []}}"#, r#"{"log": {"entries": [{"_resourceType": "websocket"}]}}"#]
        {
            assert!(entry(text, None).unwrap_err().starts_with("--har: "), "{text}");
        }
    }
}
