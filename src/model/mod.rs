//! The nouns. No I/O, no decisions, no clock: what every other room may speak of.

pub mod behaviour;
pub mod bucket;
pub mod digest;
pub mod entry;
pub mod event;
pub mod exit;
pub mod glob;
pub mod head;
pub mod local;
pub mod part;
pub mod row;
pub mod step;
pub mod target;
pub mod text;
pub mod write;
