//! noclobber uploads batches of files to S3 from a reviewed plan, and never silently overwrites anything.
//!
//! *What was reviewed is what is stored, or nothing is written, and the server enforces it.*
//!
//! # The house
//!
//! Every import points down; rooms on one floor do not know each other, and `flow` alone joins mind and hands. A test
//! holds these rules.
//!
//! ```text
//! 4  door    cli                                               arguments, environment, printing, exit codes
//! 3  flow    flow::{survey, apply, restore, audit}  sandbox    where deciding and doing meet
//! 2  hands   local  store  journal                             disk, bucket, what survives a crash
//! 1  mind    manifest plan report guard undo audit bucket      pure: no I/O, no clock, no async
//! 0  words   model  page                                       the nouns; paper to write on
//! ```
//!
//! # One entry's walk
//!
//! Forward only: [`manifest`] reads what a person wrote; `local::find` finds its files and [`flow::survey::gather`]
//! makes entries of them; [`flow::survey`] looks through a [`store`] and hashes what [`plan::compare`](fn@plan::compare) needs;
//! [`plan::diff`](fn@plan::diff) decides, [`plan::draw`](fn@plan::draw) writes the step down, [`plan::file`] keeps it.
//! Then, perhaps days later: [`plan::file`] reads it back, [`flow::apply`] looks again and writes through the [`store`],
//! [`guard`] says what each answer means, [`journal`] keeps the row through a crash, and [`report`] shows it.
//! Months later [`flow::audit`] looks once more, and [`audit`] judges each row of the reports by what is there.
//! And back: [`undo`] decides what takes a report's rows back, [`flow::restore`] looks for it and draws a plan like any other.
//!
//! # Where the promise lives
//!
//! - `model::write::Expect` has two values, so that no write without a precondition can be spelled.
//! - `guard::Write` is the write state machine, pure; its tests walk every history of answers.
//! - `store::s3` withholds the last chunk of a body whose digest is not the plan's.
//! - `flow::apply` asks a server to prove that it honours preconditions before it trusts it with one.

pub mod audit;
pub mod bucket;
pub mod cli;
pub mod flow;
pub mod guard;
pub mod journal;
pub mod local;
pub mod manifest;
pub mod model;
pub mod page;
pub mod plan;
pub mod report;
pub mod sandbox;
pub mod store;
pub mod undo;
