//! The sandbox, seen by the AWS SDK: what S3 promises, what survives a kill, what goes wrong on schedule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod boto3;
mod checksums;
mod conditions;
mod disk;
mod faults;
mod multipart;
mod objects;
mod raw;
mod support;
