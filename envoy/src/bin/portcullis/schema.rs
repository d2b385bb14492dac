//! `portcullis schema`: the keys of a policy for editors, described as the policy reference describes them.

use portcullis_core::config;
use serde_json::{Value, json};

use crate::document::{self, Content, Node};

/// The reference of policies. Its block that shows every key has a comment at each.
const REFERENCE: &str = include_str!("../../../../filter/POLICY.md");

/// What the block begins with.
const BLOCK_START: &str = "# revision";

/// The JSON Schema, with descriptions and defaults.
pub(crate) fn schema() -> Value {
    let mut schema = config::schema();
    if let Some(members) = schema.as_object_mut() {
        members.insert("title".to_owned(), json!("Policy of Portcullis"));
    }
    let block = REFERENCE.split("\n```yaml\n").find(|block| block.starts_with(BLOCK_START)).unwrap_or_default();
    let block = block.split("\n```").next().unwrap_or_default();
    let lines: Vec<&str> = block.lines().collect();
    if let Some(described) = document::documents(block).ok().and_then(|documents| documents.into_iter().next()) {
        describe(&mut schema, &described, &lines);
    }
    schema
}

fn describe(schema: &mut Value, described: &Node, lines: &[&str]) {
    // Every key may be null too.
    let schema = if schema.get("anyOf").is_some() { &mut schema["anyOf"][0] } else { schema };
    match &described.content {
        Content::Scalar(_) => {}
        Content::List(items) => {
            if let (Some(items), Some(first)) = (schema.get_mut("items"), items.first()) {
                describe(items, first, lines);
            }
        }
        Content::Map(members) => {
            for (key, node) in members {
                let Some(property) = schema.pointer_mut("/properties").and_then(|all| all.get_mut(&key.name)) else {
                    continue;
                };
                describe(property, node, lines);
                let Some(property) = property.as_object_mut() else { continue };
                let description = comment(lines, key.position.line);
                if !description.is_empty() {
                    property.insert("description".to_owned(), description.into());
                }
            }
        }
    }
}

/// The comment that begins in a line, from 1 on, and goes on in lines of its own.
fn comment(lines: &[&str], line: u64) -> String {
    let first = usize::try_from(line).unwrap_or_default().saturating_sub(1);
    let Some((_, begin)) = lines.get(first).and_then(|line| line.split_once(" # ")) else { return String::new() };
    let more = lines.iter().skip(first.saturating_add(1)).map_while(|line| line.trim_start().strip_prefix("# "));
    let all: Vec<&str> = std::iter::once(begin).chain(more).map(str::trim).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests;
