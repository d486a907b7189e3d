//! What `verify` and `bucket versions` may be told.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{AddressingArg, At, sound};
use crate::manifest::value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyFormat {
    /// What is wrong, and what to do
    Text,
    /// For a ticket: summary first, under 65,535 characters, with what was cut said
    Markdown,
    /// One row a row of the reports that was checked, intact ones too
    Csv,
    /// The summary and the rows as one JSON document
    Json,
}

/// Tell whether what runs stored is still there. Reads the buckets that their reports name, and writes nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber verify report.csv
  noclobber verify report.csv --format markdown > verify.md    for a ticket
  noclobber verify report.csv --format csv -o verify.csv       every row, intact ones too
  noclobber verify */report.csv --since 019db0c5               later runs replaced some on purpose
  noclobber verify report.csv --deep                           believe no listing, ask for each key

States:
  intact               the object that the run stored is current
  superseded           with --since: a later run replaced just that, on purpose
  gone                 it is not current, and its version does not exist any more
  overwritten          another object is current, the same bytes or not
  deleted              no object is current
  not allowed to look  the server answered 403
  unreachable          there was no answer that tells

Exit codes: 0 all intact or superseded, 1 could not run, 5 anything else was found, 64 usage,
65 no whole report of a finished run, 130 interrupted")]
pub struct Verify {
    /// Reports of finished runs (CSV)
    #[arg(required = true, value_name = "REPORT")]
    pub reports: Vec<PathBuf>,
    /// Begin with this run, by its id or the beginning of it; take what a later run of the given reports replaced, restored
    /// or deleted for superseded, where that run found just what the earlier one had left
    #[arg(long, value_name = "RUN")]
    pub since: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    pub format: VerifyFormat,
    /// File to write, instead of standard output; replaces only what an earlier `verify` wrote there
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Ask for each key by itself: a listing shows no version, and its times are to the second
    #[arg(long)]
    pub deep: bool,
    /// Keys that are asked for at once
    #[arg(long = "looks", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub looks: u16,
    /// Requests a second that all buckets together may get
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(NonZeroU64))]
    pub max_requests: Option<NonZeroU64>,
    /// Named profile of the AWS configuration: a report does not say which one it was
    #[arg(long, value_parser = sound(value::line))]
    pub profile: Option<String>,
    /// Role to assume
    #[arg(long, value_name = "ARN", value_parser = sound(value::role))]
    pub role_arn: Option<String>,
    /// How a bucket's name travels: by default in the path for localhost and IP addresses, else in the host
    #[arg(long, value_enum)]
    pub addressing: Option<AddressingArg>,
}

/// Tell the history of one key, newest first: versions, delete markers, and which run wrote what
#[derive(Debug, Args)]
#[command(mut_arg("place", |place| place.value_name("s3://BUCKET/KEY").help("The key, whole")))]
#[command(after_help = "Examples:
  noclobber bucket versions s3://reports/summary.csv
  noclobber bucket versions s3://reports/summary.csv --report report.csv   and the manifest's line
  noclobber bucket versions s3://reports/summary.csv --most 5 --json

A run is known by the write id that its objects carry. Anybody who can write can forge it, and a
copy keeps it; with the run's report, the version is compared too. Where the server tells times to
the second, a delete marker may be told beside its place among versions of that second.

Exit codes: 0 done, 1 could not run, or no such key, 64 usage, 65 no report, 130 interrupted")]
pub struct Versions {
    #[command(flatten)]
    pub at: At,
    /// A run's report, to tell what each of its versions was; may be given several times
    #[arg(long = "report", value_name = "REPORT")]
    pub reports: Vec<PathBuf>,
    /// So many versions are told, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10000))]
    pub most: u16,
}
