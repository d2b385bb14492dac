//! The rules that are built in.

mod command_injection;
mod cross_site_scripting;
mod path_traversal;
