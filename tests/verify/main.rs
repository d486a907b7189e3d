//! `verify` and `bucket versions` against real servers: what a stranger did after a run is found and named, and nothing
//! else is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod looking;
mod scenes;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
