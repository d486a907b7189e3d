//! Decides what to do, and does none of it.

pub mod changes;
pub mod compare;
pub mod csv;
pub mod diff;
pub mod draw;
pub mod file;
pub mod fold;
pub mod html;
pub mod json;
pub mod markdown;
pub mod review;
pub mod text;
mod words;

pub use compare::{Compared, asks_first_part, compare, wanted};
pub use diff::{Decision, diff};
pub use draw::{Drawing, draw};

#[cfg(test)]
pub(crate) mod samples;
