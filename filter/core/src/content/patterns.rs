//! Patterns that no message may match.
