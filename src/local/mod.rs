//! The disk: finding, statting and hashing files.

mod digests;
mod hash;
mod stat;

pub use hash::{Job, hash, hash_all};
pub use stat::{FileError, stat};
pub mod find;
mod pattern;
mod walk;
