//! Reading and judging messages: beside a parser that keeps nothing, and beside a parser that keeps a tree with the oracle of our
//! tests behind it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use portcullis_core::json::reader::{Bounds, check, read};
use portcullis_core::json::schema::{Formats, Schema};
use portcullis_core::regex::Builder;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

const BOUNDS: Bounds =
    Bounds { depth_max: 32, keys_max: 1_024, string_len_max: 65_536, unique_keys: true, surrogates: false };

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let text = "The quick brown fox jumps over the lazy dog, and κόσμε too. ".repeat(65);
    let rows = [
        ("128 B", chat_schema(), json!({"type": "chat", "room": "lobby", "seq": 12_345, "text": "x".repeat(70)})),
        ("4 KiB text", chat_schema(), json!({"type": "chat", "room": "lobby", "seq": 12_345, "text": text})),
        ("4 KiB order", order_schema(), order()),
    ];
    for (name, schema, message) in rows {
        let compiled = Schema::compile(&schema, Formats::Assert, &mut Builder::default()).expect("a good schema");
        let oracle = jsonschema::options().should_validate_formats(true).build(&schema).expect("a good schema");
        let text = message.to_string();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(text.len() as u64));
        let id = |row| BenchmarkId::new(row, text.len());
        group.bench_function(id("IgnoredAny"), |bencher| {
            bencher.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(text.as_bytes())).expect("JSON"));
        });
        group.bench_function(id("check"), |bencher| {
            bencher.iter(|| check(black_box(&text), &BOUNDS).expect("JSON"));
        });
        group.bench_function(id("read"), |bencher| {
            bencher.iter(|| read(black_box(&text), &BOUNDS).map(drop).expect("JSON"));
        });
        group.bench_function(id("read and judge"), |bencher| {
            bencher.iter(|| {
                let document = read(black_box(&text), &BOUNDS).expect("JSON");
                compiled.check(document.root()).expect("a good message");
            });
        });
        group.bench_function(id("Value and jsonschema"), |bencher| {
            bencher.iter(|| {
                let value: Value = serde_json::from_slice(black_box(text.as_bytes())).expect("JSON");
                assert!(oracle.is_valid(&value));
            });
        });
        group.finish();
    }
    criterion.final_summary();
}

/// Four members.
fn chat_schema() -> Value {
    json!({
        "type": "object", "required": ["type", "room", "seq", "text"], "additionalProperties": false,
        "properties": {
            "type": {"const": "chat"},
            "room": {"type": "string", "maxLength": 64, "pattern": "^[a-z]+$"},
            "seq": {"type": "integer", "minimum": 0},
            "text": {"type": "string", "maxLength": 65536},
        },
    })
}

/// Twelve members, as a shop would send them.
fn order_schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "required": ["type", "id", "at", "user", "status", "currency", "lines"],
        "properties": {
            "type": {"const": "order.update"},
            "id": {"type": "string", "format": "uuid"},
            "at": {"type": "string", "format": "date-time"},
            "user": {"type": "string", "pattern": "^[a-z][a-z0-9_]{2,31}$"},
            "status": {"enum": ["new", "paid", "shipped", "done", "cancelled"]},
            "currency": {"type": "string", "minLength": 3, "maxLength": 3},
            "total": {"type": "number", "minimum": 0, "maximum": 1_000_000},
            "express": {"type": "boolean"},
            "note": {"type": ["string", "null"], "maxLength": 500},
            "tags": {"type": "array", "maxItems": 16, "uniqueItems": true, "items": {"type": "string", "maxLength": 32}},
            "address": {
                "type": "object", "required": ["street", "city", "country"], "additionalProperties": false,
                "properties": {
                    "street": {"type": "string", "maxLength": 100},
                    "city": {"type": "string", "maxLength": 100},
                    "zip": {"type": "string", "pattern": "^[0-9A-Z -]{3,10}$"},
                    "country": {"type": "string", "minLength": 2, "maxLength": 2},
                },
            },
            "lines": {
                "type": "array", "minItems": 1, "maxItems": 100,
                "items": {
                    "type": "object", "required": ["sku", "count", "price"], "additionalProperties": false,
                    "properties": {
                        "sku": {"type": "string", "maxLength": 20},
                        "name": {"type": "string", "maxLength": 200},
                        "count": {"type": "integer", "minimum": 1, "maximum": 999},
                        "price": {"type": "number", "exclusiveMinimum": 0},
                        "gift": {"type": "boolean"},
                    },
                },
            },
        },
    })
}

fn order() -> Value {
    let line = |index: usize| {
        json!({
            "sku": format!("SKU-{index:06}"), "name": "A thing of some use, in a box with a ribbon — größer als gedacht",
            "count": index % 7 + 1, "price": 19.99, "gift": index.is_multiple_of(2),
        })
    };
    json!({
        "type": "order.update", "id": "5d3ac2bf-2c68-4e3e-8e9c-1d4d5a1c0b7a", "at": "2026-11-23T10:20:30.123Z", "user": "alice_w",
        "status": "paid", "currency": "EUR", "total": 1234.5, "express": true, "note": "Please ring \"twice\".\nThanks!",
        "tags": ["gift", "b2c", "returning", "newsletter"],
        "address": {"street": "Lange Straße 1", "city": "Köln", "zip": "50667", "country": "DE"},
        "lines": (0..26).map(line).collect::<Vec<_>>(),
    })
}
