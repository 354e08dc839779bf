//! Mixed load for a while.
