//! The disk: finding, statting and hashing files.

mod digests;
pub mod find;
#[cfg(test)]
mod finding;
mod hash;
mod stat;
mod walk;

pub use hash::{Job, hash, hash_all};
pub use stat::{FileError, stat};
