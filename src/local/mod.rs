//! The disk: finding, statting and hashing files.

pub mod cache;
mod digests;
pub mod find;
#[cfg(test)]
mod finding;
mod hash;
mod read;
mod stat;
mod walk;

pub use cache::Cache;
pub use hash::{Hashing, Job, Told, hash};
pub use stat::{FileError, Mark, mark, stat};
