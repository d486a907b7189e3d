//! What may be said to `rollback`.

use std::path::PathBuf;

use clap::Args;

use super::{AddressingArg, Telling, sound};
use crate::manifest::value;

/// Plan what undoes a run, from its report. Writes nothing that is planned
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber rollback report.csv -o back.jsonl                    plan it; then show, and apply, like any plan
  noclobber rollback report.csv -o back.jsonl --only 'in/**'     of some keys alone
  noclobber rollback report.csv --sandbox /tmp/sandbox           of a sandbox's run

Only what the run itself wrote is restored over or deleted, under the same preconditions as any write; an object that
somebody wrote since is refused and told. Nothing planned is written here. A server other than AWS is asked with scratch
objects (KEY.noclobber-probe-ID, removed again) whether it honours preconditions on copies and deletes.")]
pub struct Rollback {
    /// Report of the run (CSV)
    pub report: PathBuf,
    /// Roll back only keys that this glob names, such as 'in/**/*.csv'; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// Named profile of the AWS configuration that gives the credentials; a report does not tell it
    #[arg(long, value_parser = sound(value::line))]
    pub profile: Option<String>,
    /// Role to assume
    #[arg(long, value_name = "ARN", value_parser = sound(value::role))]
    pub role_arn: Option<String>,
    /// How the buckets' names travel: by default in the path for localhost and IP addresses, else in the host
    #[arg(long, value_enum)]
    pub addressing: Option<AddressingArg>,
    /// Rows looked at at once
    #[arg(long = "looks", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub heads: u16,
    /// Store no scratch objects: servers are asked by apply, before its first write
    #[arg(long)]
    pub no_probe: bool,
    #[command(flatten)]
    pub telling: Telling,
}
