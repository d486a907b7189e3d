//! Reads what a person wrote into checked entries. Pure.
//!
//! `read` goes from text to a [`Manifest`] or to every flaw in it, by line: `tree` parses, `shape` and `fields` say
//! what may stand where, serde decodes what is sound. Files are looked for, and templates rendered, by `flow::survey::gather`.

pub mod claims;
mod fields;
pub mod key;
pub mod limits;
pub mod list;
mod property;
mod read;
mod shape;
pub mod size;
pub mod template;
mod tree;
pub mod value;
pub mod wanted;

#[cfg(test)]
mod flaws;

pub use claims::claims;
pub use fields::schema;
pub use read::{Choices, From, Item, Manifest, Target, read, sound};

/// A manifest to begin with, as `noclobber init` writes it.
pub const EXAMPLE: &str = include_str!("example.yaml");
