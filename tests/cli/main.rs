//! What a person sees: exit code, standard output and standard error of whole sessions, side by side. Every word that
//! can be predicted stands in a snapshot; times, ids and digests are redacted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bucket;
mod check_bucket;
mod flaws;
mod manifests;
mod policy;
mod refusals;
mod reports;
mod rollback;
mod rollback_servers;
mod session;
#[path = "../support/mod.rs"]
mod support;
mod usage;
mod verbs;
mod verify;
mod views;
