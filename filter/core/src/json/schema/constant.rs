//! Values of a schema, and when an instance is equal to one (JSON Schema 2020-12 Core §4.2.2): numbers by their value,
//! objects whatever the order of their members.

use core::hash::{Hash, Hasher};
use std::collections::BinaryHeap;

use serde_json::Value as Tree;

use super::steps::{Exhausted, Steps};
use crate::json::document::{Form, Value};
use crate::json::number::Decimal;

/// A value that stands in a schema.
#[derive(Debug)]
pub(super) enum Constant {
    Array(Vec<Self>),
    Boolean(bool),
    Null,
    Number(Decimal),
    Object(Vec<(Box<str>, Self)>),
    String(Box<str>),
}

impl Constant {
    /// `None` for a number that no instance could have.
    pub(super) fn new(tree: &Tree) -> Option<Self> {
        Some(match tree {
            Tree::Null => Self::Null,
            Tree::Bool(boolean) => Self::Boolean(*boolean),
            Tree::Number(number) => Self::Number(Decimal::from_value(number)?),
            Tree::String(string) => Self::String(string.as_str().into()),
            Tree::Array(items) => Self::Array(items.iter().map(Self::new).collect::<Option<_>>()?),
            Tree::Object(members) => {
                let member = |(name, value): (&String, &Tree)| Some((name.as_str().into(), Self::new(value)?));
                Self::Object(members.iter().map(member).collect::<Option<_>>()?)
            }
        })
    }

    /// Whether `value` is equal to it.
    pub(super) fn is(&self, value: Value<'_>, steps: &mut Steps) -> Result<bool, Exhausted> {
        steps.spend(2)?;
        Ok(match (self, value.form()) {
            (Self::Null, Form::Null) => true,
            (Self::Boolean(own), Form::Boolean(other)) => *own == other,
            (Self::Number(own), Form::Number(token)) => {
                steps.spend_on(token)?;
                Decimal::parse(token.as_bytes()).is_some_and(|other| *own == other)
            }
            (Self::String(own), Form::String(other)) => **own == *other,
            (Self::Array(own), Form::Array(items)) => {
                if own.len() != items.len() {
                    return Ok(false);
                }
                for (own, item) in own.iter().zip(items) {
                    if !own.is(item, steps)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Object(own), Form::Object(members)) => {
                if own.len() != members.len() {
                    return Ok(false);
                }
                for (name, own) in own {
                    steps.spend(members.len())?;
                    match value.get(name) {
                        Some(member) if own.is(member, steps)? => {}
                        Some(_) | None => return Ok(false),
                    }
                }
                true
            }
            (
                Self::Array(_) | Self::Boolean(_) | Self::Null | Self::Number(_) | Self::Object(_) | Self::String(_),
                _,
            ) => false,
        })
    }
}

/// Whether two instances are equal.
fn is_same(one: Value<'_>, other: Value<'_>, steps: &mut Steps) -> Result<bool, Exhausted> {
    steps.spend(1)?;
    Ok(match (one.form(), other.form()) {
        (Form::Null, Form::Null) => true,
        (Form::Boolean(one), Form::Boolean(other)) => one == other,
        (Form::Number(one), Form::Number(other)) => {
            steps.spend_on(one)?;
            steps.spend_on(other)?;
            one == other || Decimal::parse(one.as_bytes()) == Decimal::parse(other.as_bytes())
        }
        (Form::String(one), Form::String(other)) => {
            steps.spend(one.len().min(other.len()) >> 6)?;
            one == other
        }
        (Form::Array(one), Form::Array(other)) => {
            if one.len() != other.len() {
                return Ok(false);
            }
            for (one, other) in one.zip(other) {
                if !is_same(one, other, steps)? {
                    return Ok(false);
                }
            }
            true
        }
        (Form::Object(members), Form::Object(others)) => {
            if members.len() != others.len() {
                return Ok(false);
            }
            for (name, one) in members {
                steps.spend(others.len())?;
                match other.get(name) {
                    Some(other) if is_same(one, other, steps)? => {}
                    Some(_) | None => return Ok(false),
                }
            }
            true
        }
        (Form::Array(_) | Form::Boolean(_) | Form::Null | Form::Number(_) | Form::Object(_) | Form::String(_), _) => {
            false
        }
    })
}

/// Up to here every two items are compared.
const PAIRWISE_MAX: usize = 8;

/// Whether no two items of an array are equal. Items are compared where their hashes are equal: what an attacker makes of
/// that ends where the steps do.
pub(super) fn are_unique(array: Value<'_>, steps: &mut Steps) -> Result<bool, Exhausted> {
    let Form::Array(items) = array.form() else { return Ok(true) };
    // They are sorted.
    steps.spend(items.len().saturating_mul(6))?;
    let is_hashed = items.len() > PAIRWISE_MAX;
    // Half of a hash and an index: eight bytes for an item that may be two bytes of text.
    let mut keyed: Vec<(u32, u32)> = Vec::with_capacity(items.len());
    for item in items {
        let hash = if is_hashed { hash(item, steps)? } else { 0 };
        // FNV is folded: neither half alone is spread well.
        let key = (hash >> 32) as u32 ^ (hash & 0xffff_ffff) as u32;
        keyed.push((key, item.index()));
    }
    // Sorting a slice is 3 KB more of code.
    let keyed = BinaryHeap::from(keyed).into_sorted_vec();
    for run in keyed.chunk_by(|(one, _), (other, _)| one == other) {
        let mut rest = run;
        while let Some(((_, index), others)) = rest.split_first() {
            for (_, other) in others {
                if is_same(array.at(*index), array.at(*other), steps)? {
                    return Ok(false);
                }
            }
            rest = others;
        }
    }
    Ok(true)
}

/// FNV-1a.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Equal for equal values; each kind of value has a start of its own.
fn hash(value: Value<'_>, steps: &mut Steps) -> Result<u64, Exhausted> {
    steps.spend(1)?;
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    match value.form() {
        Form::Null => fnv.write_u8(1),
        Form::Boolean(boolean) => fnv.write(&[2, boolean.into()]),
        Form::Number(token) => {
            steps.spend_on(token)?;
            (3_u8, Decimal::parse(token.as_bytes())).hash(&mut fnv);
        }
        Form::String(string) => {
            steps.spend_on(string)?;
            (4_u8, string).hash(&mut fnv);
        }
        Form::Array(items) => {
            fnv.write_u8(5);
            for item in items {
                fnv.write_u64(hash(item, steps)?);
            }
        }
        Form::Object(members) => {
            // The order of members is no matter.
            let mut sum: u64 = 6;
            for (name, member) in members {
                steps.spend_on(name)?;
                let mut fnv = Fnv(hash(member, steps)?);
                name.hash(&mut fnv);
                sum = sum.wrapping_add(fnv.finish());
            }
            fnv.write_u64(sum);
        }
    }
    Ok(fnv.finish())
}
