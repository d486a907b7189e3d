//! Every row of the settle table, over the sandbox's scripted answers: what a fault does to a write, and what its row
//! says. After each, the bucket's whole history is compared with the rows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
// A test awaits its whole world in one place.
#![allow(clippy::large_futures)]

mod busy;
mod check_first;
mod counted;
mod create;
#[path = "../promise/dying.rs"]
mod dying;
mod multipart;
mod replace;
mod rollback;
mod seeded;
mod server;
mod stages;
#[path = "../support/mod.rs"]
mod support;
mod world;
