//! The promise, end to end: our binary and somebody else at one bucket of a real server, at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod between;
mod changing;
mod control;
mod interrupted;
mod large;
mod messages;
mod properties;
mod racing;
mod resuming;
mod rollback;
mod round_trip;
mod striking;
#[path = "../support/mod.rs"]
mod support;
mod twice;
mod uploads;
