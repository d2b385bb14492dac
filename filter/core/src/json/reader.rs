//! A JSON message, read once.
