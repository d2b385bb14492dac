//! The keyword that an instance does not satisfy, and the place: a second walk over a refused instance finds them.

/// The longest pointer, in bytes: an operator finds the place by its beginning.
const POINTER_LEN_MAX: usize = 128;

/// The keyword that an instance does not satisfy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The keyword, as it is written in schemas; `false` for a schema that nothing satisfies.
    pub keyword: &'static str,
    /// Where in the instance, as a JSON Pointer (RFC 6901) of its names and indices, cut at 128 bytes.
    pub instance: String,
}

/// What was last found not to be satisfied, on the way out to the root. What a branch of `anyOf` does not satisfy is forgotten with the next
/// thing that is found.
#[derive(Debug, Default)]
pub(super) struct Trail {
    keyword: &'static str,
    /// Innermost first.
    steps: Vec<String>,
}

impl Trail {
    /// The instance in hand does not satisfy `keyword`.
    pub(super) fn begin(&mut self, keyword: &'static str) {
        self.keyword = keyword;
        self.steps.clear();
    }

    /// What was found is in the child of this name or index.
    pub(super) fn leave(&mut self, step: &str) {
        let step: String = step.chars().take(POINTER_LEN_MAX).collect();
        self.steps.push(step.replace('~', "~0").replace('/', "~1"));
    }

    pub(super) fn into_fault(self) -> Fault {
        let mut instance = String::new();
        for step in self.steps.iter().rev() {
            instance.push('/');
            instance.push_str(step);
        }
        let len = (0..=POINTER_LEN_MAX).rev().find(|len| instance.is_char_boundary(*len)).unwrap_or_default();
        instance.truncate(len);
        Fault { keyword: self.keyword, instance }
    }
}
