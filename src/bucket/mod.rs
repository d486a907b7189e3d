//! What a bucket's own settings say about who may write to it, and how. Pure: whoever asks the bucket is elsewhere.

pub mod check;
pub mod policy;
