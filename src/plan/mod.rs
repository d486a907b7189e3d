//! Decides what to do, and does none of it.

pub mod compare;
pub mod diff;
pub mod draw;
pub mod file;
pub mod text;

pub use compare::{Compared, asks_first_part, compare, wanted};
pub use diff::{Decision, diff};
pub use draw::{Drawing, draw};
