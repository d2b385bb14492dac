//! The rules that are built in.
