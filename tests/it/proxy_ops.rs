//! The proxy in operation.
