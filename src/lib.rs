//! noclobber uploads batches of files to S3 from a reviewed plan, and never silently overwrites anything.
//!
//! # The house
//!
//! Every import points down; rooms on one floor do not know each other, and `flow` alone joins mind and hands.
//!
//! ```text
//! 4  door    cli                                  arguments, environment, printing, exit codes
//! 3  flow    flow::{survey, apply}  sandbox       where deciding and doing meet
//! 2  hands   local  store  journal                disk, bucket, what survives a crash
//! 1  mind    manifest  plan  report  guard        pure: no I/O, no clock, no async
//! 0  words   model                                the nouns
//! ```

pub mod cli;
pub mod flow;
pub mod guard;
pub mod journal;
pub mod local;
pub mod manifest;
pub mod model;
pub mod plan;
pub mod report;
pub mod sandbox;
pub mod store;
