//! HTTP through the proxy as it should be.
