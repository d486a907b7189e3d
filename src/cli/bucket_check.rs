//! `bucket check`: what a bucket's configuration means for what is written into it. Only reads.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::bucket::check::{Question, Report, json, markdown, probe, text};
use crate::flow::bucket::look;
use crate::flow::probe::behaviour;
use crate::model::entry::Key;
use crate::model::exit::Exit;
use crate::store::ProbeKey;

use super::args::{At, Global};
use super::bucket::connected;
use super::out::Out;
use super::plan::umask;
use super::reach::Reach;
use super::{Ended, Failure, place};

/// Check whether a bucket keeps what is replaced, who else may write there, and what its rules do. Changes nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  noclobber bucket check s3://reports                                 all that the bucket tells of itself
  noclobber bucket check s3://reports/2026/ --recovery-days 90        what is replaced must live so long
  noclobber bucket check s3://reports --format markdown -o check.md   for a ticket
  noclobber bucket check s3://reports --json                          for a program

  noclobber bucket check s3://reports --probe scratch/                and what the server does, by scratch objects

Only reads, a request for each part of the configuration; --probe alone also stores, copies, deletes and
removes scratch objects. A part that the role may not see, or that the
server does not tell, is named as such and never called fine. A fix is a command to be reviewed; one for
the lifecycle comes with the whole configuration, since S3 replaces it as a whole.

Exit codes: 0 no problem, and everything was seen (there may be warnings); 1 the bucket could not be
reached; 5 a problem, or something that could not be seen or told; 64 usage")]
pub struct BucketCheck {
    #[command(flatten)]
    pub at: At,
    /// For so many days what was replaced must be there to be got back
    #[arg(long, value_name = "N", default_value = "30")]
    pub recovery_days: u32,
    /// Store scratch objects under this prefix, and see by them what the server does: are conditions honoured on PUT,
    /// Complete, Copy and Delete, are ETags MD5, are checksums verified and given back? They are removed with all versions
    #[arg(long, value_name = "PREFIX")]
    pub probe: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    pub format: CheckFormat,
    /// Write to a file instead of standard output; over nothing but an earlier check
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For a terminal
    Text,
    /// For a ticket
    Markdown,
    /// For programs
    Json,
}

/// How every file of text begins.
const TEXT_MARK: &str = "noclobber bucket check\n";

pub(super) async fn check(global: &Global, args: BucketCheck, out: Out) -> Ended {
    let format = match args.format {
        CheckFormat::Text if out.json => CheckFormat::Json,
        format => format,
    };
    args.output.as_deref().map_or(Ok(()), may_write)?;
    let reach = Reach::begin(global).await?;
    let report = Box::pin(ask(&reach, &args)).await;
    reach.end().await;
    let report = report?;
    let render = |paint: text::Paint<'_>| match format {
        CheckFormat::Text => Ok(text::render(&report, paint)),
        CheckFormat::Markdown => Ok(markdown::render(&report)),
        CheckFormat::Json => json::render(&report).map_err(|error| Failure::new(Exit::CouldNotRun, error.to_string())),
    };
    match &args.output {
        None => out.result(&render(&out.paint_level())?)?,
        Some(path) => {
            let mut page = render(&|_, text| text.to_owned())?;
            if format == CheckFormat::Text {
                page.insert_str(0, TEXT_MARK);
            }
            let mode = 0o666 & !umask();
            place::put(path, &page, mode)
                .map_err(|error| Failure::new(Exit::CouldNotRun, format!("{}: {error}", path.display())))?;
        }
    }
    Ok(report.exit())
}

async fn ask(reach: &Reach, args: &BucketCheck) -> Result<Report, Failure> {
    let (target, store) = connected(reach, &args.at).await?;
    let told = look(&store)
        .await
        .map_err(|error| Failure::new(Exit::CouldNotRun, format!("s3://{}: {error}", args.at.place.bucket)))?;
    let question =
        Question { target: &target, prefix: &args.at.place.prefix, recovery_days: args.recovery_days.into() };
    let mut report = Report::new(&question, &told);
    if let Some(prefix) = &args.probe {
        let (id, first) = (uuid::Uuid::now_v7().simple(), Key::new(prefix.as_str()));
        let keys = (ProbeKey::new(&first, &id.to_string()), ProbeKey::new(&first, &format!("{id}-2")));
        match Box::pin(behaviour(&store, &keys.0, &keys.1)).await {
            Err(error) => report.add(probe::not_asked(&error)),
            Ok((found, left)) => {
                for finding in probe::findings(&found) {
                    report.add(finding);
                }
                if let Some(error) = &left {
                    report.add(probe::left(error));
                }
            }
        }
    }
    Ok(report)
}

fn may_write(path: &Path) -> Result<(), Failure> {
    place::may_replace(path, "page that `noclobber bucket check` wrote", |start| {
        let start = String::from_utf8_lossy(start);
        [TEXT_MARK, markdown::MARK, json::MARK].iter().any(|mark| start.starts_with(mark))
    })
}
