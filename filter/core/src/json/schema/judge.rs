//! Whether an instance satisfies a compiled schema: one walk, that ends at the first fault and allocates nothing, but for
//! `unevaluated…`, which has to know which children the other keywords evaluated (JSON Schema 2020-12 Core §7.7, §11). A second walk over
//! what was refused tells the keyword and the place ([`super::trail`]).

use super::constant::are_unique;
use super::program::{
    ArrayRules, Condition, Constants, Dependency, DynamicReference, FALSE, InPlace, Node, NumberRules, ObjectRules,
    Place, Program, Property, StringRules, TRUE, Types,
};
use super::steps::{Exhausted, Steps};
use super::trail::{Fault, Trail};
use crate::json::document::{Form, Items, Members, Value, fingerprint};
use crate::json::number::Decimal;
use crate::regex::Regex;

/// How many schemas may be in the course of being applied: each takes stack, of which some engines give a module 512 KiB. Messages
/// 128 deep with three schemas for each level fit.
const DEPTH_MAX: u32 = 400;

/// How often the digits of a number are read, for its type, its bounds and its divisor.
const NUMBER_READS: usize = 2;

/// What dividing numbers of 38 digits takes, which this machine does in pieces.
const DIVISION_STEPS: usize = 64;

/// Looking up a member by its name.
const MEMBER_STEPS: usize = 3;

/// Reading eight bytes for the automata of a pattern, and finding the classes of what is not ASCII.
const READ_STEPS: usize = 6;

/// Asking for memory, and giving it back.
const ALLOCATION_STEPS: usize = 8;

/// How much longer a format takes than a look at every byte.
const FORMAT_READS: usize = 20;

/// What the shortest message may take for `unevaluated…`, in bytes, beside as many as it is long: one bit for each child, and as many again
/// for each schema in a schema. A list of numbers fits eight of them.
const EVALUATED_LEN_MIN: usize = 4_096;

/// Which children of a value some keyword has evaluated.
struct Evaluated(Vec<u64>);

impl Evaluated {
    /// `room`: how many bytes all that are alive may still take, which [`Self::free`] gives back.
    fn new(count: usize, room: &mut usize) -> Result<Self, Exhausted> {
        let words = count.div_ceil(64);
        *room = room.checked_sub(words.saturating_mul(size_of::<u64>())).ok_or(Exhausted)?;
        Ok(Self(vec![0; words]))
    }

    fn free(self, room: &mut usize) {
        *room = room.saturating_add(self.0.len().saturating_mul(size_of::<u64>()));
    }

    fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index >> 6) {
            *word |= 1 << (index & 63);
        }
    }

    fn contains(&self, index: usize) -> bool {
        self.0.get(index >> 6).is_some_and(|word| word >> (index & 63) & 1 == 1)
    }

    fn extend(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own |= other);
    }
}

/// Whether an instance satisfies, unless the work ran out.
type Verdict = Result<bool, Exhausted>;

/// One instance in the course of being judged.
pub(super) struct Judge<'p> {
    program: &'p Program,
    steps: Steps,
    depth_left: u32,
    /// How many bytes may still be taken for which children keywords have evaluated: each schema within a schema takes as much again.
    evaluated_room: usize,
    /// The resources whose schemas are being applied, the outermost first: the dynamic scope (Core §7.1).
    scope: Vec<usize>,
    /// What is not satisfied, where that is to be told.
    trail: Option<Trail>,
}

impl<'p> Judge<'p> {
    /// `len`: the length of the message, in bytes.
    pub(super) fn new(program: &'p Program, len: usize) -> Self {
        let evaluated_room = len.saturating_add(EVALUATED_LEN_MIN);
        Self { program, steps: Steps::new(len), depth_left: DEPTH_MAX, evaluated_room, scope: Vec::new(), trail: None }
    }

    /// The fault that ends the walk over a value, where there is one.
    pub(super) fn explain(mut self, value: Value<'_>) -> Option<Fault> {
        self.trail = Some(Trail::default());
        let is_satisfied = self.judge(value).ok()?;
        self.trail.filter(|_| !is_satisfied).map(Trail::into_fault)
    }

    /// The instance in hand does not satisfy `keyword`.
    fn fail(&mut self, keyword: &'static str) -> Verdict {
        if let Some(trail) = &mut self.trail {
            trail.begin(keyword);
        }
        Ok(false)
    }

    /// The member of this name does not satisfy `schema`, which `keyword` has.
    fn fail_member(&mut self, name: &str, schema: Place, keyword: &'static str) -> Verdict {
        if let Some(trail) = &mut self.trail {
            if schema == FALSE {
                trail.begin(keyword);
            }
            trail.leave(name);
        }
        Ok(false)
    }

    /// Likewise the item of this index.
    fn fail_item(&mut self, index: usize, schema: Place, keyword: &'static str) -> Verdict {
        if self.trail.is_some() { self.fail_member(&index.to_string(), schema, keyword) } else { Ok(false) }
    }

    /// Applies the whole schema.
    pub(super) fn judge(&mut self, value: Value<'_>) -> Verdict {
        self.apply(self.program.root, value, None)
    }

    /// The steps that this took, of those for a message of `len` bytes.
    pub(super) const fn spent(&self, len: usize) -> u64 {
        self.steps.spent(len)
    }

    fn apply(&mut self, place: Place, value: Value<'_>, evaluated: Option<&mut Evaluated>) -> Verdict {
        match place {
            TRUE => return Ok(true),
            FALSE => return self.fail("false"),
            _ => {}
        }
        let Some(node) = self.program.nodes.get(place) else { return Err(Exhausted) };
        self.steps.spend(2)?;
        self.depth_left = self.depth_left.checked_sub(1).ok_or(Exhausted)?;
        let enters = !self.program.dynamic_anchors.is_empty() && self.scope.last() != Some(&node.resource);
        if enters {
            self.scope.push(node.resource);
        }
        let verdict = match unevaluated(node, value) {
            None => self.apply_keywords(place, value, evaluated)?,
            Some(schema) => self.apply_unevaluated(place, schema, value, evaluated)?,
        };
        if enters {
            self.scope.pop();
        }
        self.depth_left = self.depth_left.saturating_add(1);
        Ok(verdict)
    }

    /// The other keywords first, then `schema` to the children that none of them evaluated.
    #[inline(never)]
    fn apply_unevaluated(
        &mut self,
        place: Place,
        schema: Place,
        value: Value<'_>,
        evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let mut own = self.nothing_evaluated(value)?;
        let is_satisfied =
            self.apply_keywords(place, value, Some(&mut own))? && self.apply_rest(schema, value, &mut own)?;
        if let Some(evaluated) = evaluated
            && is_satisfied
        {
            evaluated.extend(&own);
        }
        own.free(&mut self.evaluated_room);
        Ok(is_satisfied)
    }

    /// Applies `schema` to the children that are not among `evaluated`, and adds them.
    fn apply_rest(&mut self, schema: Place, value: Value<'_>, evaluated: &mut Evaluated) -> Verdict {
        self.steps.spend(value.child_count())?;
        for (index, child) in children(value).enumerate() {
            if !evaluated.contains(index) {
                if !self.apply(schema, child, None)? {
                    return self.fail_unevaluated(schema, value, index);
                }
                evaluated.insert(index);
            }
        }
        Ok(true)
    }

    fn fail_unevaluated(&mut self, schema: Place, value: Value<'_>, index: usize) -> Verdict {
        match value.form() {
            Form::Object(members) if self.trail.is_some() => {
                let name = members.map(|(name, _)| name).nth(index);
                self.fail_member(name.unwrap_or_default(), schema, "unevaluatedProperties")
            }
            _ => self.fail_item(index, schema, "unevaluatedItems"),
        }
    }

    fn apply_keywords(&mut self, place: Place, value: Value<'_>, mut evaluated: Option<&mut Evaluated>) -> Verdict {
        let Some(node) = self.program.nodes.get(place) else { return Err(Exhausted) };
        let form = value.form();
        if let Form::Number(token) = form {
            self.steps.spend_often_on(token, NUMBER_READS)?;
        }
        if !is_of_type(node.types, form, value) {
            return self.fail("type");
        }
        if let Some(constants) = &node.constants
            && !self.is_constant(constants, value)?
        {
            return self.fail(constants.keyword);
        }
        let is_satisfied = match form {
            Form::Array(items) => match &node.array {
                Some(rules) => self.apply_array(rules, value, items, evaluated.as_deref_mut())?,
                None => true,
            },
            Form::Number(token) => match &node.number {
                Some(rules) => self.is_number_within(rules, token, value.is_plain_integer())?,
                None => true,
            },
            Form::Object(members) => match &node.object {
                Some(rules) => self.apply_object(rules, value, members, evaluated.as_deref_mut())?,
                None => true,
            },
            Form::String(string) => match &node.string {
                Some(rules) => self.is_string_within(rules, string)?,
                None => true,
            },
            Form::Boolean(_) | Form::Null => true,
        };
        match &node.in_place {
            Some(rules) if is_satisfied => self.apply_in_place(rules, value, evaluated),
            Some(_) | None => Ok(is_satisfied),
        }
    }

    fn is_constant(&mut self, constants: &Constants, value: Value<'_>) -> Verdict {
        match value.form() {
            Form::String(string) => {
                let comparisons = usize::BITS.saturating_sub(constants.strings.len().leading_zeros());
                self.steps.spend((string.len() >> 6).saturating_add(2).saturating_mul(comparisons as usize))?;
                return Ok(constants.strings.binary_search_by(|own| (**own).cmp(string)).is_ok());
            }
            Form::Number(_) if constants.numbers.is_empty() => return Ok(false),
            Form::Number(token) => {
                let comparisons = usize::BITS.saturating_sub(constants.numbers.len().leading_zeros());
                self.steps.spend((comparisons as usize).saturating_mul(2))?;
                self.steps.spend_often_on(token, NUMBER_READS)?;
                let number = Decimal::parse(token.as_bytes());
                return Ok(number.is_some_and(|number| constants.numbers.binary_search(&number).is_ok()));
            }
            Form::Array(_) | Form::Boolean(_) | Form::Null | Form::Object(_) => {}
        }
        for constant in &constants.others {
            if constant.is(value, &mut self.steps)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_number_within(&mut self, rules: &NumberRules, token: &str, is_plain_integer: bool) -> Verdict {
        if let Some((least, greatest)) = rules.integers
            && is_plain_integer
            && let Ok(number) = token.parse::<i64>()
        {
            return match number {
                number if number < least => self.fail("minimum"),
                number if number > greatest => self.fail("maximum"),
                _ => Ok(true),
            };
        }
        // Beyond what numbers are compared by: it has a type, and is within no bound.
        let Some(number) = Decimal::parse(token.as_bytes()) else { return self.fail("type") };
        if rules.multiple_of.is_some() {
            self.steps.spend(DIVISION_STEPS)?;
        }
        match () {
            () if rules.minimum.is_some_and(|minimum| number < minimum) => self.fail("minimum"),
            () if rules.exclusive_minimum.is_some_and(|minimum| number <= minimum) => self.fail("exclusiveMinimum"),
            () if rules.maximum.is_some_and(|maximum| number > maximum) => self.fail("maximum"),
            () if rules.exclusive_maximum.is_some_and(|maximum| number >= maximum) => self.fail("exclusiveMaximum"),
            () if rules.multiple_of.is_some_and(|divisor| !number.is_multiple_of(&divisor)) => self.fail("multipleOf"),
            () => Ok(true),
        }
    }

    fn is_string_within(&mut self, rules: &StringRules, string: &str) -> Verdict {
        // A code point has one to four bytes.
        let len = string.len();
        if len < rules.len_min {
            return self.fail("minLength");
        }
        if len.div_ceil(4) > rules.len_max {
            return self.fail("maxLength");
        }
        if len > rules.len_max || len.div_ceil(4) < rules.len_min {
            self.steps.spend_on(string)?;
            let count = string.chars().count();
            if count < rules.len_min {
                return self.fail("minLength");
            }
            if count > rules.len_max {
                return self.fail("maxLength");
            }
        }
        if let Some(pattern) = &rules.pattern {
            self.spend_on_pattern(pattern, string)?;
            if !pattern.is_match(string) {
                return self.fail("pattern");
            }
        }
        let Some(format) = rules.format else { return Ok(true) };
        self.steps.spend_often_on(string, FORMAT_READS)?;
        if format.is_valid(string) { Ok(true) } else { self.fail("format") }
    }

    /// Each automaton of a pattern looks at each character, which is read before.
    fn spend_on_pattern(&mut self, pattern: &Regex, text: &str) -> Result<(), Exhausted> {
        self.steps.spend_often_on(text, pattern.scan_count().saturating_add(READ_STEPS))?;
        self.steps.spend(ALLOCATION_STEPS)
    }

    #[inline(never)]
    fn apply_array(
        &mut self,
        rules: &ArrayRules,
        array: Value<'_>,
        items: Items<'_>,
        mut evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        if items.len() < rules.len_min {
            return self.fail("minItems");
        }
        if items.len() > rules.len_max {
            return self.fail("maxItems");
        }
        let mut matches: usize = 0;
        let is_about_all = rules.items.is_some() || rules.contains.is_some();
        let count = if is_about_all { items.len() } else { rules.prefix.len() };
        if count > 0 {
            self.steps.spend(count)?;
            for (index, item) in items.enumerate().take(count) {
                let schema = rules.prefix.get(index).copied().or(rules.items);
                if let Some(schema) = schema {
                    if !self.apply(schema, item, None)? {
                        return self.fail_item(index, schema, "items");
                    }
                    note(&mut evaluated, index);
                }
                if let Some(contains) = &rules.contains
                    && self.apply(contains.schema, item, None)?
                {
                    matches = matches.saturating_add(1);
                    note(&mut evaluated, index);
                }
            }
        }
        if let Some(contains) = &rules.contains
            && (matches < contains.count_min || matches > contains.count_max)
        {
            return self.fail("contains");
        }
        if rules.unique && !are_unique(array, &mut self.steps)? { self.fail("uniqueItems") } else { Ok(true) }
    }

    #[inline(never)]
    fn apply_object(
        &mut self,
        rules: &ObjectRules,
        object: Value<'_>,
        members: Members<'_>,
        mut evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        if members.len() < rules.len_min {
            return self.fail("minProperties");
        }
        if members.len() > rules.len_max {
            return self.fail("maxProperties");
        }
        self.steps.spend(members.len().saturating_mul(MEMBER_STEPS).saturating_add(rules.required_count >> 3))?;
        let mut required = Required::new(rules.required_count);
        let mut rest = members;
        let mut index: usize = 0;
        while let Some((name, value)) = rest.next_pair() {
            let text = name.as_str().unwrap_or_default();
            let property = find(&rules.properties, text);
            let mut is_evaluated = false;
            if let Some(property) = property {
                if let Some(required_index) = property.required {
                    required.insert(required_index);
                }
                if let Some(schema) = property.schema {
                    is_evaluated = true;
                    if !self.apply(schema, value, None)? {
                        return self.fail_member(text, schema, "properties");
                    }
                }
            }
            for (pattern, schema) in &rules.patterns {
                self.spend_on_pattern(pattern, text)?;
                if pattern.is_match(text) {
                    is_evaluated = true;
                    if !self.apply(*schema, value, None)? {
                        return self.fail_member(text, *schema, "patternProperties");
                    }
                }
            }
            if let Some(schema) = rules.additional
                && !is_evaluated
            {
                is_evaluated = true;
                if !self.apply(schema, value, None)? {
                    return self.fail_member(text, schema, "additionalProperties");
                }
            }
            if is_evaluated {
                note(&mut evaluated, index);
            }
            if let Some(schema) = rules.names
                && !self.apply(schema, name, None)?
            {
                return self.fail("propertyNames");
            }
            index = index.saturating_add(1);
        }
        if !required.is_complete() {
            return self.fail("required");
        }
        self.has_dependent(&rules.dependent_required, object)
    }

    fn has_dependent(&mut self, dependent: &[Dependency], object: Value<'_>) -> Verdict {
        for (name, required) in dependent {
            self.steps.spend(object.child_count())?;
            if object.get(name).is_none() {
                continue;
            }
            for other in required {
                self.steps.spend(object.child_count())?;
                if object.get(other).is_none() {
                    return self.fail("dependentRequired");
                }
            }
        }
        Ok(true)
    }

    #[inline(never)]
    fn apply_in_place(&mut self, rules: &InPlace, value: Value<'_>, mut evaluated: Option<&mut Evaluated>) -> Verdict {
        let dynamic = rules.dynamic_reference.as_ref().map(|reference| self.resolve(reference)).transpose()?;
        for place in rules.reference.into_iter().chain(dynamic).chain(rules.all_of.iter().copied()) {
            if !self.apply(place, value, evaluated.as_deref_mut())? {
                return Ok(false);
            }
        }
        for (name, place) in &rules.dependent_schemas {
            self.steps.spend(value.child_count())?;
            if value.get(name).is_some() && !self.apply(*place, value, evaluated.as_deref_mut())? {
                return Ok(false);
            }
        }
        if let Some(place) = rules.not
            && self.apply(place, value, None)?
        {
            return self.fail("not");
        }
        if let Some(places) = &rules.any_of
            && self.count(places, value, evaluated.as_deref_mut(), 1)? == 0
        {
            return self.fail("anyOf");
        }
        if let Some(places) = &rules.one_of
            && self.count(places, value, evaluated.as_deref_mut(), 2)? != 1
        {
            return self.fail("oneOf");
        }
        match &rules.condition {
            Some(Condition { when, then, otherwise }) => {
                let is_met = self.try_apply(*when, value, evaluated.as_deref_mut())?;
                self.apply(if is_met { *then } else { *otherwise }, value, evaluated)
            }
            None => Ok(true),
        }
    }

    /// How many of `places` are satisfied, up to `enough`; all of them are tried where it matters what they evaluated.
    fn count(
        &mut self,
        places: &[Place],
        value: Value<'_>,
        mut evaluated: Option<&mut Evaluated>,
        enough: usize,
    ) -> Result<usize, Exhausted> {
        let mut count: usize = 0;
        for place in places {
            if self.try_apply(*place, value, evaluated.as_deref_mut())? {
                count = count.saturating_add(1);
                if count >= enough && evaluated.is_none() {
                    break;
                }
            }
        }
        Ok(count)
    }

    fn nothing_evaluated(&mut self, value: Value<'_>) -> Result<Evaluated, Exhausted> {
        // It takes memory, a word for 64 children, and time to join with others.
        self.steps.spend((value.child_count() >> 6).saturating_add(ALLOCATION_STEPS))?;
        Evaluated::new(value.child_count(), &mut self.evaluated_room)
    }

    /// What a schema evaluated counts only where it is satisfied.
    fn try_apply(&mut self, place: Place, value: Value<'_>, evaluated: Option<&mut Evaluated>) -> Verdict {
        let Some(evaluated) = evaluated else { return self.apply(place, value, None) };
        let mut own = self.nothing_evaluated(value)?;
        let is_satisfied = self.apply(place, value, Some(&mut own))?;
        if is_satisfied {
            evaluated.extend(&own);
        }
        own.free(&mut self.evaluated_room);
        Ok(is_satisfied)
    }

    /// "The outermost schema resource in the dynamic scope that defines an identically named fragment" (Core §8.2.3.2).
    fn resolve(&mut self, reference: &DynamicReference) -> Result<Place, Exhausted> {
        let places = reference.anchor.and_then(|anchor| self.program.dynamic_anchors.get(anchor));
        let places = places.map(|(_, places)| places.as_slice()).unwrap_or_default();
        self.steps.spend(self.scope.len().saturating_mul(places.len()))?;
        let outermost = self.scope.iter().find_map(|own| places.iter().find(|(resource, _)| resource == own));
        Ok(outermost.map_or(reference.place, |(_, place)| *place))
    }
}

fn note(evaluated: &mut Option<&mut Evaluated>, index: usize) {
    if let Some(evaluated) = evaluated {
        evaluated.insert(index);
    }
}

/// The items of an array, or the values of an object.
fn children(value: Value<'_>) -> impl Iterator<Item = Value<'_>> {
    let (items, members) = match value.form() {
        Form::Array(items) => (Some(items), None),
        Form::Object(members) => (None, Some(members)),
        Form::Boolean(_) | Form::Null | Form::Number(_) | Form::String(_) => (None, None),
    };
    items.into_iter().flatten().chain(members.into_iter().flatten().map(|(_, value)| value))
}

/// The schema for what the other keywords of a node do not evaluate.
fn unevaluated(node: &Node, value: Value<'_>) -> Option<Place> {
    if node.unevaluated_items.is_none() && node.unevaluated_properties.is_none() {
        return None;
    }
    match value.form() {
        Form::Array(_) => node.unevaluated_items,
        Form::Object(_) => node.unevaluated_properties,
        Form::Boolean(_) | Form::Null | Form::Number(_) | Form::String(_) => None,
    }
}

fn is_of_type(types: Types, form: Form<'_>, value: Value<'_>) -> bool {
    let allowed = |bits: u8| types.0 & bits != 0;
    match form {
        Form::Array(_) => allowed(Types::ARRAY),
        Form::Boolean(_) => allowed(Types::BOOLEAN),
        Form::Null => allowed(Types::NULL),
        Form::Number(token) => {
            // "Any number with a zero fractional part" is an integer (Validation §6.1.1).
            let is_integer = || {
                value.is_plain_integer() || Decimal::parse(token.as_bytes()).is_some_and(|number| number.is_integer())
            };
            allowed(Types::NUMBER) || (allowed(Types::INTEGER) && is_integer())
        }
        Form::Object(_) => allowed(Types::OBJECT),
        Form::String(_) => allowed(Types::STRING),
    }
}

fn find<'p>(properties: &'p [Property], name: &str) -> Option<&'p Property> {
    let wanted = (fingerprint(name.as_bytes()), name);
    let found = properties.binary_search_by(|property| property.key().cmp(&wanted));
    properties.get(found.ok()?)
}

/// Which required members have come.
enum Required {
    Few { missing: u64 },
    Many { came: Vec<bool> },
}

impl Required {
    fn new(count: usize) -> Self {
        match u32::try_from(count) {
            Ok(0) => Self::Few { missing: 0 },
            Ok(count @ 1..=64) => Self::Few { missing: u64::MAX >> 64_u32.saturating_sub(count) },
            Ok(_) | Err(_) => Self::Many { came: vec![false; count] },
        }
    }

    fn insert(&mut self, index: usize) {
        match self {
            Self::Few { missing } => *missing &= !(1 << (index & 63)),
            Self::Many { came } => {
                if let Some(came) = came.get_mut(index) {
                    *came = true;
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        match self {
            Self::Few { missing } => *missing == 0,
            Self::Many { came } => came.iter().all(|came| *came),
        }
    }
}
