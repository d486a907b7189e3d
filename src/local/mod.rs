//! The disk: finding, statting and hashing files.

mod digests;
pub mod find;
mod hash;
mod pattern;
mod stat;
mod walk;

pub use hash::{Job, hash, hash_all};
pub use stat::{FileError, stat};
