//! The rules that are built in.

mod nosql_injection;
mod prototype_pollution;
mod sql_injection;
