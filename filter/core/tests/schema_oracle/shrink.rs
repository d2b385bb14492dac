//! Makes what fails as small as it can be while it still fails.

use serde_json::{Map, Value, json};

/// The smallest schema and instance, one step after another, for which `fails` still holds.
pub(crate) fn shrink(schema: &Value, instance: &Value, fails: &dyn Fn(&Value, &Value) -> bool) -> (Value, Value) {
    let (mut schema, mut instance) = (schema.clone(), instance.clone());
    loop {
        if let Some(found) = smaller(&schema).into_iter().find(|schema| fails(schema, &instance)) {
            schema = found;
        } else if let Some(found) = smaller(&instance).into_iter().find(|instance| fails(&schema, instance)) {
            instance = found;
        } else {
            return (schema, instance);
        }
    }
}

/// What `value` is with one thing less.
fn smaller(value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    match value {
        Value::Array(items) => {
            found.extend((0..items.len()).map(|index| {
                let mut items = items.clone();
                items.remove(index);
                Value::Array(items)
            }));
            for (index, item) in items.iter().enumerate() {
                let with = |item: Value| {
                    let mut items = items.clone();
                    items[index] = item;
                    Value::Array(items)
                };
                found.extend(smaller(item).into_iter().map(with));
            }
        }
        Value::Object(members) => {
            found.extend(members.keys().map(|name| {
                let members = members.iter().filter(|(own, _)| *own != name);
                Value::Object(members.map(|(name, member)| (name.clone(), member.clone())).collect::<Map<_, _>>())
            }));
            // What is within in its place, and `true` for a schema of which nothing matters.
            found.extend(members.values().filter(|member| member.is_object()).cloned());
            found.push(json!(true));
            for (name, member) in members {
                let with = |member: Value| {
                    let mut members = members.clone();
                    members.insert(name.clone(), member);
                    Value::Object(members)
                };
                found.extend(smaller(member).into_iter().map(with));
            }
        }
        Value::String(text) if text.chars().count() > 1 => found.extend([json!("a"), json!("")]),
        Value::Number(number) if ![Some(0.0), Some(1.0)].contains(&number.as_f64()) => {
            found.extend([json!(0), json!(1)])
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}
