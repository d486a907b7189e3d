//! `bucket uploads`: the multipart uploads that nobody completed or aborted, and an end to those that are ours.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::json;

use crate::flow::cancel::Cancel;
use crate::flow::uploads::{self, Found};
use crate::journal::{Hold, JournalError, Noted, noted};
use crate::model::exit::Exit;
use crate::model::target::{ConditionalWrites, Require, Target, TargetSpec};
use crate::model::text::{count, name};
use crate::model::write::LookError;
use crate::store::s3::S3;

use super::args::{At, Global, Place, Uploads};
use super::out::Out;
use super::reach::Reach;
use super::{Ended, Failure, signal};

pub(super) async fn uploads(global: &Global, args: Uploads, out: Out) -> Ended {
    if args.abort && args.journals.is_empty() && !args.foreign {
        return Err(Failure::new(
            Exit::Usage,
            "--abort: without a journal nothing is known to be ours; give --journal REPORT, or --foreign to abort whatever \
             is open",
        ));
    }
    // Held until the end: a run that began meanwhile would go on with the very uploads that are aborted here.
    let noted = journals(&args, out)?;
    let cancel = Cancel::default();
    signal::heed(&cancel, out);
    let reach = Reach::begin(global).await?;
    let ended = Box::pin(list_and_abort(&reach, &args, &noted, &cancel, out)).await;
    reach.end().await;
    ended
}

fn journals(args: &Uploads, out: Out) -> Result<Vec<Noted>, Failure> {
    let hold = if args.abort { Hold::Run } else { Hold::Nothing };
    let mut found = Vec::new();
    for path in &args.journals {
        match noted(path, hold) {
            Ok(Some(noted)) => found.push(noted),
            Ok(None) => out.note(&format!("{}: that run has finished, and its journal is gone", path.display())),
            Err(JournalError::Locked { path: lock, holder }) => {
                let text = format!(
                    "{}: this run is under way ({holder}, {}); its uploads are not aborted. Wait for it to end",
                    path.display(),
                    lock.display()
                );
                return Err(Failure::new(Exit::CouldNotRun, text));
            }
            Err(error @ (JournalError::NoJournal { .. } | JournalError::NoFolder { .. })) => {
                return Err(Failure::new(Exit::Usage, error));
            }
            Err(error) => return Err(Failure::new(Exit::CouldNotRun, error)),
        }
    }
    Ok(found)
}

async fn list_and_abort(reach: &Reach, args: &Uploads, noted: &[Noted], cancel: &Cancel, out: Out) -> Ended {
    let at = &args.at;
    let store = connect(reach, at).await?;
    let listed = uploads::list(&store, &at.place.prefix, noted, cancel).await;
    let could_not = |error| Failure::new(Exit::CouldNotRun, format!("{}: {error}", told_place(at)));
    let Some(found) = listed.map_err(could_not)? else {
        return Err(Failure::new(Exit::Interrupted, "interrupted; nothing was aborted"));
    };
    let mut told = Told::new(at, &found, out);
    told.header()?;
    let (chosen, left): (Vec<&Found>, Vec<&Found>) =
        found.iter().partition(|found| args.abort && (args.foreign || found.run_id.is_some()));
    for found in left {
        told.upload(found, None);
    }
    let store = &store;
    uploads::abort(store, chosen.iter().copied(), cancel, |found, aborted| told.upload(found, Some(aborted))).await;
    told.end(args, cancel.is_set())
}

/// The bucket of a command line, reached as a manifest's target would be.
pub(super) async fn connect(reach: &Reach, at: &At) -> Result<S3, Failure> {
    Ok(connected(reach, at).await?.1)
}

/// The same, with where it is.
pub(super) async fn connected(reach: &Reach, at: &At) -> Result<(Target, S3), Failure> {
    let spec = TargetSpec {
        name: at.place.bucket.clone(),
        bucket: at.place.bucket.clone(),
        bucket_owner: at.bucket_owner.clone(),
        region: at.region.clone(),
        profile: at.profile.clone(),
        endpoint: at.endpoint.clone(),
        addressing: at.addressing.map(Into::into),
        prefix: String::new(),
        role_arn: at.role_arn.clone(),
        request_payer: false,
        trust_metadata: true,
        conditional_writes: ConditionalWrites::Required,
        require: Require::default(),
    };
    let target = reach.resolve(&spec).await.map_err(|failure| Failure { exit: Exit::CouldNotRun, ..failure })?;
    let store = reach.connect(&target).await?;
    Ok((target, store))
}

/// What is said of the uploads, one line each.
struct Told<'a> {
    at: &'a At,
    open: usize,
    ours: usize,
    widths: [usize; 3],
    now: i64,
    aborted: usize,
    failed: usize,
    /// The first trouble with standard output; what is aborted is aborted all the same.
    trouble: Option<Failure>,
    out: Out,
}

impl<'a> Told<'a> {
    fn new(at: &'a At, found: &[Found], out: Out) -> Self {
        let now = Timestamp::now().as_second();
        let mut widths = ["AGE".len(), "WHOSE".len(), "KEY".len()];
        for found in found {
            let [_, columns @ ..] = columns(found, now);
            for (width, column) in widths.iter_mut().zip(&columns) {
                *width = (*width).max(column.chars().count());
            }
        }
        let ours = found.iter().filter(|found| found.run_id.is_some()).count();
        Self { at, open: found.len(), ours, widths, now, aborted: 0, failed: 0, trouble: None, out }
    }

    fn header(&self) -> Result<(), Failure> {
        if self.out.json || self.open == 0 {
            return Ok(());
        }
        self.line(["BEGUN", "AGE", "WHOSE", "KEY", "UPLOAD"], "")
    }

    fn line(&self, [begun, age, whose, key, upload]: [&str; 5], end: &str) -> Result<(), Failure> {
        let [age_width, whose_width, key_width] = self.widths;
        self.out
            .result(&format!("{begun:20}  {age:>age_width$}  {whose:whose_width$}  {key:key_width$}  {upload}{end}"))
    }

    /// Tells one upload, and what became of it where it was to be aborted.
    fn upload(&mut self, found: &Found, aborted: Option<Result<(), LookError>>) {
        match &aborted {
            None => {}
            Some(Ok(())) => self.aborted += 1,
            Some(Err(_)) => self.failed += 1,
        }
        let upload = &found.open.upload.0;
        let said = if self.out.json {
            let initiated = found.open.initiated.map(|time| time.to_string());
            self.out.event(&json!({
                "event": "upload",
                "bucket": self.at.place.bucket,
                "key": found.open.key,
                "upload_id": upload,
                "initiated": initiated,
                "run_id": found.run_id.as_deref(),
                "aborted": matches!(aborted, Some(Ok(()))),
                "error": aborted.and_then(Result::err).map(|error| error.to_string()),
            }))
        } else {
            let end = match &aborted {
                None => String::new(),
                Some(Ok(())) => "  aborted".to_owned(),
                Some(Err(error)) => format!("  NOT aborted: {error}"),
            };
            let [begun, age, whose, key] = columns(found, self.now);
            self.line([&begun, &age, &whose, &key, &name(upload)], &end)
        };
        if let Err(failure) = said {
            self.trouble.get_or_insert(failure);
        }
    }

    fn end(self, args: &Uploads, interrupted: bool) -> Ended {
        let Self { at, open, ours, aborted, failed, trouble, out, .. } = self;
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        let foreign = open - ours;
        if out.json {
            out.event(&json!({
                "event": "uploads", "open": open, "ours": ours, "foreign": foreign, "aborted": aborted, "failed": failed,
            }))?;
        } else {
            let place = told_place(at);
            let ended = if args.abort { format!("; {} aborted", n(aborted)) } else { String::new() };
            let whose = format!("{} ours, {} foreign", n(ours), n(foreign));
            out.result(&format!("{} open under {place}: {whose}{ended}", n(open)))?;
        }
        if args.abort && foreign > 0 && !args.foreign {
            out.note("foreign ones stand in no journal that was given, and were left alone; --foreign aborts them too");
        }
        if interrupted {
            return Err(Failure::new(Exit::Interrupted, "interrupted; the same command again aborts the rest"));
        }
        if failed > 0 {
            let text = format!("{} could not be aborted, and are billed until they are", n(failed));
            return Err(Failure::new(Exit::CouldNotRun, text));
        }
        Ok(Exit::Done)
    }
}

fn n(number: usize) -> String {
    count(number as u64)
}

pub(super) fn told_place(at: &At) -> String {
    let Place { bucket, prefix } = &at.place;
    // `name` quotes what is empty.
    let prefix = if prefix.is_empty() { Cow::Borrowed("") } else { name(prefix) };
    format!("s3://{}/{prefix}", name(bucket))
}

/// When it was begun, how long ago that is, whose it is, and its key.
fn columns(found: &Found, now: i64) -> [String; 4] {
    let begun = found.open.initiated.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let age = begun.parse::<Timestamp>().map_or_else(|_| "-".to_owned(), |time| age(now - time.as_second()));
    let whose = found.run_id.as_ref().map_or_else(|| "foreign".to_owned(), |run| format!("run {run}"));
    [begun, age, whose, name(found.open.key.as_str()).into_owned()]
}

/// The two largest units at most: nobody asks for the seconds of a week.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ ..3600 => format!("{} min", seconds / 60),
        seconds @ ..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_units() {
        for (seconds, text) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3660, "1 h 1 min"),
            (86_399, "23 h 59 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(age(seconds), text, "{seconds}");
        }
    }
}
