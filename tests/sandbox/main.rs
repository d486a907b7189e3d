//! The sandbox, seen by the AWS SDK: what S3 promises, what survives a kill, what goes wrong on schedule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
// Bodies of a few MiB, whose sizes the SDK wants signed.
#![allow(clippy::large_stack_arrays, clippy::cast_possible_wrap)]

mod boto3;
mod checksums;
mod conditions;
mod disk;
mod faults;
mod multipart;
mod objects;
mod raw;
mod support;
