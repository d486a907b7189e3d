//! Bucket policies: what they permit, whether they force conditional writes, and one that does.
//!
//! - [`Policy::read`] takes the JSON apart and keeps what it does not understand as such.
//! - [`evaluate`] answers one [`Request`]; [`Kind::request`] makes the requests as S3 authorises them.
//! - [`enforcement`] says whether a policy forces conditional writes on every key under a prefix, for everybody but named
//!   operators; [`writers`] says whom it lets write there.
//! - [`draw`](fn@draw) draws a policy that forces them, and [`merge`](fn@merge) puts it among statements that are there.
//!
//! The logic has more than two values. What is not understood and could change an answer makes it
//! [`Answer::CannotTell`]; nothing here ever takes "probably" for "denied".
//!
//! A bucket's policy is not all there is: identities of the bucket's own account are allowed things by policies of their
//! own, which cannot be seen from here. A Deny holds against them all the same, which is why enforcement rests on Deny
//! alone. (AWS, IAM User Guide, "Policy evaluation logic".)

mod arn;
mod condition;
mod draw;
mod enforce;
mod evaluate;
mod json;
mod kind;
mod merge;
mod pattern;
mod principal;
mod read;
mod writers;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use draw::{DrawError, Partition, Wanted, draw};
pub use enforce::{Enforcement, Hole, enforcement};
pub use evaluate::{Answer, Caller, Context, Held, Request, Resource, evaluate};
pub use json::Json;
pub use kind::Kind;
pub use merge::{Change, MergeError, Merged, SIZE_MAX_BYTES, Settings, merge};
pub use read::{Effect, Policy, PolicyError, Statement};
pub use writers::{IDENTITIES_UNSEEN, Who, Writer, writers};
