//! The first bytes of protocols that are tunnelled.
