//! The command line: what may be said, and nothing of what is done about it.

mod audit;
mod rollback;

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::manifest::{size, value};
use crate::model::target::Addressing;

pub use audit::{Verify, VerifyFormat, Versions};
pub use rollback::Rollback;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  noclobber init nightly.yaml                     write a commented manifest to start from
  noclobber plan nightly.yaml -o plan.jsonl       hash locally, look at the bucket, write nothing
  noclobber show plan.jsonl                       review it; quote its digest in the change ticket
  noclobber apply plan.jsonl --report report.csv  write exactly that, or nothing
  noclobber rollback report.csv -o back.jsonl     plan what undoes that run
  noclobber run nightly.yaml --out runs/nightly   plan and apply in one go, for schedulers
  noclobber verify report.csv                     months later: is what that run stored still there?
  noclobber bucket uploads s3://reports           what killed runs left half uploaded
  noclobber bucket policy s3://reports            a policy that refuses writes without a condition

Exit codes:
  0 done or nothing to do    1 could not run      2 there are changes (plan --detailed-exitcode)
  3 refused                  4 stale, nothing written            5 incomplete
  64 usage                   65 invalid manifest, plan or report 130 interrupted";

/// Uploads batches of files to S3 from a reviewed plan, and never silently overwrites anything
#[derive(Debug, Parser)]
#[command(name = "noclobber", version, styles = STYLES, after_help = EXAMPLES, max_term_width = 110)]
#[command(propagate_version = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Use an S3 server in this process, stored in DIR, instead of any endpoint: for trying a manifest, and for tests
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub sandbox: Option<PathBuf>,
    /// Print events and results as JSON lines on standard output
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Say nothing but results, warnings and errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Log what is done to standard error; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Faults of the sandbox, for tests
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    pub sandbox_faults: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Init(Init),
    Check(Check),
    Plan(Plan),
    Show(Show),
    Apply(Apply),
    Run(Run),
    Report(Report),
    Verify(Verify),
    Rollback(Rollback),
    Bucket(Bucket),
    Sandbox(Sandbox),
    Schema(Schema),
    Completions(Completions),
    Man(Man),
}

/// Write a commented manifest to start from
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  noclobber init\n  noclobber init nightly.yaml")]
pub struct Init {
    /// File to write; must not exist yet
    #[arg(default_value = "noclobber.yaml")]
    pub file: PathBuf,
}

/// What the templates of a manifest may refer to, and where its sources are
#[derive(Debug, Args)]
pub struct Inputs {
    /// Manifests, planned as one
    #[arg(required = true, value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
    /// Folder that sources are relative to, instead of each manifest's own
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// What {{ date }} stands for, YYYY-MM-DD; today in UTC if not given
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    pub date: Option<jiff::civil::Date>,
    /// What {{ var.NAME }} stands for; may be given several times
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = parse_var)]
    pub vars: Vec<(String, String)>,
}

/// Check manifests: every flaw, with file and line. Asks no bucket
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  noclobber check nightly.yaml\n  noclobber check a.yaml b.yaml --date 2026-07-01 --var env=prod"
)]
pub struct Check {
    #[command(flatten)]
    pub inputs: Inputs,
}

/// How heads are found
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Discovery {
    /// Whichever costs less
    Auto,
    /// ListObjectsV2 of the folders that the keys are in
    List,
    /// HeadObject for each key
    Head,
}

#[derive(Debug, Args)]
pub struct Looks {
    /// How the bucket is looked at
    #[arg(long, value_enum, default_value = "auto")]
    pub discovery: Discovery,
    /// HEAD requests at once
    #[arg(long = "looks", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub heads: u16,
    /// Threads that hash; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Hash every file anew, and keep no digests for the next plan
    #[arg(long)]
    pub no_cache: bool,
    /// Hash every file anew, and keep the digests for the next plan
    #[arg(long, conflicts_with = "no_cache")]
    pub rehash: bool,
}

/// Hash the files, look at the bucket, and write down what would be done. Writes nothing to the bucket
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber plan nightly.yaml                                   print the plan
  noclobber plan nightly.yaml -o plan.jsonl                     and keep it, for review and apply
  noclobber plan nightly.yaml -o plan.jsonl.zst --date 2026-07-01 --var env=prod
  noclobber plan nightly.yaml -o new.jsonl --diff plan.jsonl    what changed since plan.jsonl was approved
  noclobber plan nightly.yaml --detailed-exitcode               2 if there is something to write")]
pub struct Plan {
    #[command(flatten)]
    pub inputs: Inputs,
    #[command(flatten)]
    pub looks: Looks,
    #[command(flatten)]
    pub telling: Telling,
}

/// What becomes of a plan that was drawn
#[derive(Debug, Args)]
pub struct Telling {
    /// Plan file to write (JSON lines); compressed if its name ends in .zst
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Also tell what changed since this plan: the one that was approved
    #[arg(long, value_name = "PLAN")]
    pub diff: Option<PathBuf>,
    /// End with 2 when the plan has something to write
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// List every key, folding nothing
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    Text,
    /// The whole plan as one JSON document
    Json,
    /// One row a step, for a spreadsheet
    Csv,
    /// For a ticket: totals and digest first, under 65,535 characters, with what was cut said
    Markdown,
    /// One self-contained file to search, filter and sort in a browser
    Html,
}

/// Show a plan to a reviewer
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber show plan.jsonl
  noclobber show plan.jsonl --all
  noclobber show plan.jsonl --format markdown > plan.md
  noclobber show plan.jsonl --format html > plan.html
  noclobber show plan.jsonl --diff approved.jsonl
  noclobber show plan.jsonl --format json | jq '.steps[] | select(.action == \"replace\") | .key'")]
pub struct Show {
    /// Plan file
    pub plan: PathBuf,
    #[arg(long, value_enum, default_value = "text")]
    pub format: ShowFormat,
    /// List every key, folding nothing
    #[arg(long)]
    pub all: bool,
    /// Refuse any plan but the one with this digest
    #[arg(long, value_name = "sha256:...")]
    pub expect: Option<String>,
    /// Tell only what changed since this plan: the one that was approved (text or json)
    #[arg(long, value_name = "PLAN")]
    pub diff: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Writes {
    /// Files and parts uploaded at once, to each target. A server that answers 503 SlowDown or not in time gets half as
    /// many, and one more again for each round that goes well
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// Bytes a second that all uploads together may take, such as 50MiB or 10MB; at least 64KiB. Counts the content of
    /// files, sent again or not, as it leaves; fewer files go at once where it is small
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub max_bandwidth: Option<NonZeroU64>,
    /// Requests a second that all targets together may get. Everything sent to them counts: uploads, parts, looks, probes,
    /// whatever is sent again, and in `run` the looks of its plan; what fetches credentials does not
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(NonZeroU64))]
    pub max_requests: Option<NonZeroU64>,
    /// Memory for the parts of multipart uploads, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(16..=65536))]
    pub memory: u32,
    /// Go on with what can be done, leaving out refusals, errors and what moved since the plan
    #[arg(long)]
    pub partial: bool,
}

/// Write exactly what a plan says, or nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber apply plan.jsonl --report report.csv
  noclobber apply plan.jsonl --expect sha256:3f1c...    only the plan that was approved
  noclobber apply plan.jsonl --partial                  what can still be done of it

After a crash or an interruption the same command again goes on where it stopped.")]
pub struct Apply {
    /// Plan file
    pub plan: PathBuf,
    /// Report to write (CSV); by default beside the plan
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Refuse any plan but the one with this digest
    #[arg(long, value_name = "sha256:...")]
    pub expect: Option<String>,
    /// Folder that sources are relative to, instead of the plan's: to apply on another host
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// What one CopyObject may copy, for a server that takes less than S3's 5GB; in a rollback more is copied in parts
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "5GB")]
    pub copy_limit: u64,
    /// Summary to write when the run ends, however it ends (JSON)
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Metrics to write when the run ends, however it ends, for Prometheus' textfile collector
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    #[command(flatten)]
    pub writes: Writes,
}

/// Plan and apply in one go, for schedulers
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber run nightly.yaml --out runs/nightly
  noclobber run nightly.yaml --sandbox /tmp/sandbox     try it without a bucket

Writes plan.jsonl, report.csv and summary.json to the --out folder. What an earlier run left there is moved to its
history folder; what an earlier run left unfinished is settled first.")]
pub struct Run {
    #[command(flatten)]
    pub inputs: Inputs,
    #[command(flatten)]
    pub looks: Looks,
    #[command(flatten)]
    pub writes: Writes,
    /// Folder for plan.jsonl, report.csv and summary.json
    #[arg(long, value_name = "DIR", default_value = "noclobber-out")]
    pub out: PathBuf,
    /// Metrics to write when the run ends, however it ends, for Prometheus' textfile collector
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a ticket: summary first, problems and replaced objects in full, under 65,535 characters, with what was cut said
    Markdown,
    /// One self-contained file to search, filter and sort in a browser, with the commands that get back what was replaced
    Html,
    /// The summary and the rows as one JSON document
    Json,
    /// The rows, under the same columns
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportLevel {
    /// Every row
    All,
    /// What did not end well, what was overwritten, and creates of which something is said. Totals are of all rows
    Problems,
}

/// Render a report for a ticket, a browser, a program or a spreadsheet
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber report report.csv > report.md
  noclobber report report.csv --format html -o report.html
  noclobber report report.csv --format json | jq .summary
  noclobber report report.csv --format csv --spreadsheet-safe --level problems > problems.csv
  noclobber report report.csv.partial                     of a run that is under way, or was killed")]
pub struct Report {
    /// Report file (CSV), or its .partial
    #[arg(value_name = "REPORT")]
    pub file: PathBuf,
    #[arg(long, value_enum, default_value = "markdown")]
    pub format: ReportFormat,
    /// Which rows are shown
    #[arg(long, value_enum, default_value = "all")]
    pub level: ReportLevel,
    /// With --format csv: put an apostrophe before text that a spreadsheet would take for a formula (= + - @ tab, line
    /// ends, and their wide forms). Such a copy has one more column, and is not read back
    #[arg(long)]
    pub spreadsheet_safe: bool,
    /// File to write, instead of standard output; replaces only what an earlier `report` wrote there
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Look after a bucket, outside of any manifest
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Bucket {
    #[command(subcommand)]
    pub verb: BucketVerb,
}

#[derive(Debug, Subcommand)]
pub enum BucketVerb {
    Check(super::bucket_check::BucketCheck),
    Uploads(Uploads),
    Policy(Policy),
    Versions(Versions),
}

/// List the multipart uploads that were begun and never completed or aborted, and abort them on request
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber bucket uploads s3://reports                                     list all that are open
  noclobber bucket uploads s3://reports/2026/ --journal runs/report.csv     which are that run's?
  noclobber bucket uploads s3://reports --journal runs/report.csv --abort   abort that run's
  noclobber bucket uploads s3://reports --abort --foreign                   abort all, anybody's

Open uploads are billed. Ours are those whose id stands in a run's journal, which lies beside its
report until the run has finished. Any other is foreign, and may be somebody's who is uploading
right now. The same apply again goes on with its own: abort them where nobody will apply again.

Exit codes: 0 done, 1 could not run or could not abort, 64 usage, 130 interrupted")]
pub struct Uploads {
    #[command(flatten)]
    pub at: At,
    /// Abort those that stand in a journal
    #[arg(long)]
    pub abort: bool,
    /// A run's report, or the journal beside it; may be given several times. A run that is under way is refused under
    /// --abort
    #[arg(long = "journal", value_name = "FILE")]
    pub journals: Vec<PathBuf>,
    /// Abort those that stand in no journal too
    #[arg(long, requires = "abort")]
    pub foreign: bool,
}

/// Print a bucket policy that refuses writes without a condition, whoever sends them. Changes nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber bucket policy s3://reports/2026/ > policy.json       creates only, and no deletes
  noclobber bucket policy s3://reports/2026/ --allow-replace     replaces too, with If-Match
  noclobber bucket policy s3://reports --operator arn:aws:iam::111122223333:role/release
  noclobber bucket policy s3://reports --merge > policy.json     into the policy that the bucket has

The policy denies, under the prefix: PutObject, CompleteMultipartUpload and CopyObject without
If-None-Match (under --allow-replace, or If-Match), to everybody; deletes of objects and versions,
and replication into it, to all but the operators; and in the whole bucket the ways around:
lifecycle rules, versioning and, where there are operators, changes of the policy.

Standard output is the policy alone; what it means, and the command that applies it, go to
standard error. A policy is one for the whole bucket and applying one replaces it: --merge.

Exit codes: 0 done, 1 could not ask the bucket, 3 refused, 64 usage, 65 a policy that cannot be read")]
pub struct Policy {
    #[command(flatten)]
    pub at: At,
    /// Let objects be replaced by writes that name what they replace (If-Match)
    #[arg(long)]
    pub allow_replace: bool,
    /// Role or user that may delete; may be given several times, and end in a wildcard
    #[arg(long = "operator", value_name = "ARN")]
    pub operators: Vec<String>,
    /// Let these operators take the place of those that other prefixes of the bucket rest on
    #[arg(long, requires = "merge")]
    pub replace_operators: bool,
    /// Print it merged into the policy of the bucket, or of FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[allow(clippy::option_option)]
    pub merge: Option<Option<PathBuf>>,
}

/// A bucket that no manifest names. What is not said comes from the AWS configuration, as in a manifest.
#[derive(Debug, Args)]
pub struct At {
    /// The bucket, and what the keys must begin with
    #[arg(value_name = "s3://BUCKET[/PREFIX]", value_parser = parse_place)]
    pub place: Place,
    /// Server other than AWS, such as https://minio.example.com:9000
    #[arg(long, value_name = "URL", value_parser = sound(value::endpoint))]
    pub endpoint: Option<String>,
    /// Region of the bucket, such as eu-west-1
    #[arg(long, value_parser = sound(value::region))]
    pub region: Option<String>,
    /// Named profile of the AWS configuration
    #[arg(long, value_parser = sound(value::line))]
    pub profile: Option<String>,
    /// How the bucket's name travels: by default in the path for localhost and IP addresses, else in the host
    #[arg(long, value_enum)]
    pub addressing: Option<AddressingArg>,
    /// Account id that must own the bucket
    #[arg(long, value_name = "ACCOUNT", value_parser = sound(value::owner))]
    pub bucket_owner: Option<String>,
    /// Role to assume
    #[arg(long, value_name = "ARN", value_parser = sound(value::role))]
    pub role_arn: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AddressingArg {
    Virtual,
    Path,
}

impl From<AddressingArg> for Addressing {
    fn from(arg: AddressingArg) -> Self {
        match arg {
            AddressingArg::Virtual => Self::Virtual,
            AddressingArg::Path => Self::Path,
        }
    }
}

/// A bucket, and what the keys that are meant begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub bucket: String,
    pub prefix: String,
}

/// Serve the sandbox to any S3 client, until interrupted
#[derive(Debug, Args)]
#[command(after_help = "Example:
  noclobber sandbox --dir /tmp/sandbox --listen 127.0.0.1:9000

Prints `export` lines that a shell can eval: AWS_ENDPOINT_URL_S3, keys and region.")]
pub struct Sandbox {
    /// Folder to store buckets in
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SchemaOf {
    Manifest,
}

/// Print a JSON Schema, for editors
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  noclobber schema manifest > noclobber.schema.json")]
pub struct Schema {
    #[arg(value_enum)]
    pub of: SchemaOf,
}

/// Print a completion script
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  noclobber completions bash > /etc/bash_completion.d/noclobber")]
pub struct Completions {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Print the manual page
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  noclobber man > noclobber.1")]
pub struct Man {}

/// Takes `s3://BUCKET[/PREFIX]`; an access point's ARN, which has a slash of its own, may stand for the bucket.
fn parse_place(text: &str) -> Result<Place, String> {
    let Some(rest) = text.strip_prefix("s3://") else {
        return Err("expected s3://BUCKET or s3://BUCKET/PREFIX".to_owned());
    };
    let own = if rest.starts_with("arn:") { rest.find('/').map_or(0, |slash| slash + 1) } else { 0 };
    let end = rest[own..].find('/').map_or(rest.len(), |slash| own + slash);
    let (bucket, prefix) = (&rest[..end], rest[end..].strip_prefix('/').unwrap_or_default());
    match value::bucket(bucket) {
        Some(flaw) => Err(format!("the bucket {flaw}")),
        None => Ok(Place { bucket: bucket.to_owned(), prefix: prefix.to_owned() }),
    }
}

/// A value that must be as a manifest would have it.
fn sound(judge: fn(&str) -> Option<String>) -> impl Fn(&str) -> Result<String, String> + Clone {
    move |text| judge(text).map_or_else(|| Ok(text.to_owned()), Err)
}

fn parse_date(text: &str) -> Result<jiff::civil::Date, String> {
    text.parse().map_err(|_| "expected YYYY-MM-DD, such as 2026-01-31".to_owned())
}

/// Slower than this, servers would give up waiting for a body.
const BANDWIDTH_MIN: u64 = 64 << 10;

fn parse_rate(text: &str) -> Result<NonZeroU64, String> {
    let bytes = size::parse(text.strip_suffix("/s").unwrap_or(text))?;
    NonZeroU64::new(bytes).filter(|rate| rate.get() >= BANDWIDTH_MIN).ok_or_else(|| {
        format!("{} a second is too slow for S3's time limits; 64KiB is the least", size::display(bytes))
    })
}

fn parse_var(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_or_an_access_point_and_whatever_follows_it() {
        let place = |text: &str| parse_place(text).map(|place| (place.bucket, place.prefix));
        let is = |bucket: &str, prefix: &str| Ok((bucket.to_owned(), prefix.to_owned()));
        assert_eq!(place("s3://a-bucket"), is("a-bucket", ""));
        assert_eq!(place("s3://a-bucket/"), is("a-bucket", ""));
        assert_eq!(place("s3://a-bucket/x/y"), is("a-bucket", "x/y"));
        assert_eq!(place("s3://a-bucket//x/"), is("a-bucket", "/x/"));
        let point = "arn:aws:s3:eu-west-1:111122223333:accesspoint/point";
        assert_eq!(place(&format!("s3://{point}")), is(point, ""));
        assert_eq!(place(&format!("s3://{point}/x/y")), is(point, "x/y"));
        for wrong in ["a-bucket", "s3://", "s3:///x", "s3://Bucket", "https://a-bucket", "s3://arn:aws:s3"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
