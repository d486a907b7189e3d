//! A run as Prometheus reads it: the text format of its exposition formats, version 0.0.4, for node_exporter's textfile
//! collector.
//!
//! The file tells of the last run, and of two things that outlive it: how many runs there were, and when one last
//! succeeded. They are read back from the file that is there. What is there and is not ours is never replaced, and what
//! is ours and damaged fails no run; both are said.

use std::fmt::Write as _;

use crate::model::exit::Exit;
use crate::model::row::{Outcome, Tally};
use crate::model::text::escape;

/// How every file begins.
pub const MARK: &str = "# Written by noclobber, whole, at the end of each run.\n";

const RUNS: &str = "noclobber_runs_total";
const LAST_SUCCESS: &str = "noclobber_last_success_timestamp_seconds";

/// A run that ended, however it ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The manifests, as the command line named them; `None` where the plan that names them could not be read.
    pub manifest: Option<String>,
    pub tally: Tally,
    pub took_ms: u64,
    /// Unix time.
    pub ended_at_ms: u64,
    pub exit: Exit,
}

/// What is to be done with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The whole file; `None` where what is there must be left alone.
    pub text: Option<String>,
    /// What a person should know.
    pub trouble: Option<String>,
}

/// What outlives a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Before {
    manifest: Option<String>,
    runs: u64,
    last_success_ms: u64,
}

/// The file after a run, from the file before it.
#[must_use]
pub fn write(before: &[u8], ran: &Ran) -> Written {
    let (before, trouble) = match read(before) {
        Old::Nothing => (Before::default(), None),
        Old::Foreign => {
            let trouble = "holds something that noclobber did not write: it is left alone, and no metrics are written";
            return Written { text: None, trouble: Some(trouble.to_owned()) };
        }
        Old::Damaged(why) => {
            let trouble = format!("is damaged ({why}): the count of runs and the last success begin anew");
            (Before::default(), Some(trouble))
        }
        Old::Ours(before) => match (&before.manifest, &ran.manifest) {
            (Some(theirs), Some(ours)) if theirs != ours => {
                let (theirs, ours) = (escape(theirs), escape(ours));
                let trouble = format!("told of {theirs}, and now tells of {ours}: give each job a file of its own");
                (Before::default(), Some(trouble))
            }
            _ => (before, None),
        },
    };
    Written { text: Some(render(&before, ran)), trouble }
}

fn render(before: &Before, ran: &Ran) -> String {
    let Ran { manifest, tally, took_ms, ended_at_ms, exit } = ran;
    let manifest = manifest.as_deref().or(before.manifest.as_deref()).unwrap_or_default();
    let label = format!("manifest=\"{}\"", escaped(manifest));
    let mut text = String::from(MARK);
    let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    };
    let one = |value: String| [(label.clone(), value)];
    let last_success_ms = if *exit == Exit::Done { *ended_at_ms } else { before.last_success_ms };
    let rows = Outcome::ALL.map(|outcome| (format!("{label},outcome=\"{outcome}\""), tally.of(outcome).to_string()));
    metric(RUNS, "counter", "Runs that ended, however they ended.", &one(before.runs.saturating_add(1).to_string()));
    metric("noclobber_rows", "gauge", "Rows of the last run's report, by outcome.", &rows);
    metric("noclobber_uploaded_bytes", "gauge", "Bytes that the last run stored.", &one(tally.bytes.to_string()));
    metric("noclobber_run_duration_seconds", "gauge", "How long the last run took.", &one(seconds(*took_ms)));
    let help = "When the last run ended, in Unix time.";
    metric("noclobber_last_run_timestamp_seconds", "gauge", help, &one(seconds(*ended_at_ms)));
    let help = "When a run last ended with exit code 0, in Unix time; 0 if none has.";
    metric(LAST_SUCCESS, "gauge", help, &one(seconds(last_success_ms)));
    metric("noclobber_last_exit_code", "gauge", "The exit code of the last run.", &one(exit.code().to_string()));
    text
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn milliseconds(seconds: &str) -> Option<u64> {
    let (whole, part) = seconds.split_once('.')?;
    let part = (part.len() == 3).then(|| part.parse::<u64>().ok())??;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(part)
}

/// A label's value, as the format asks: backslash, quote and line feed are escaped, and nothing else is.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn unescaped(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => text.push(match chars.next()? {
                '\\' => '\\',
                '"' => '"',
                'n' => '\n',
                _ => return None,
            }),
            c => text.push(c),
        }
    }
    Some(text)
}

/// What a file was before a run.
#[derive(Debug, PartialEq, Eq)]
enum Old {
    Nothing,
    Ours(Before),
    Damaged(&'static str),
    Foreign,
}

fn read(text: &[u8]) -> Old {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Old::Nothing;
    }
    if !text.starts_with(MARK.as_bytes()) {
        return Old::Foreign;
    }
    let Ok(text) = std::str::from_utf8(text) else { return Old::Damaged("it is not UTF-8") };
    let sample = |name: &str| {
        let mut found = text.lines().filter_map(|line| {
            let (label, value) = line.strip_prefix(name)?.strip_prefix("{manifest=\"")?.rsplit_once("\"} ")?;
            Some((unescaped(label)?, value.to_owned()))
        });
        // Of two, neither can be believed.
        found.next().filter(|_| found.next().is_none())
    };
    let Some((manifest, runs)) = sample(RUNS) else { return Old::Damaged("it has no one count of runs") };
    let Some((_, last_success)) = sample(LAST_SUCCESS) else { return Old::Damaged("it has no one last success") };
    match (runs.parse(), milliseconds(&last_success)) {
        (Ok(runs), Some(last_success_ms)) => Old::Ours(Before { manifest: Some(manifest), runs, last_success_ms }),
        (Ok(_) | Err(_), _) => Old::Damaged("its numbers are none"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ran(exit: Exit, ended_at_ms: u64) -> Ran {
        let mut tally = Tally::default();
        tally.add(Outcome::Created, 4096);
        tally.add(Outcome::Lost, 1);
        Ran { manifest: Some("nightly.yaml".into()), tally, took_ms: 12_034, ended_at_ms, exit }
    }

    fn text(before: &str, ran: &Ran) -> String {
        let Written { text, trouble } = write(before.as_bytes(), ran);
        assert_eq!(trouble, None);
        text.unwrap()
    }

    fn value(text: &str, name: &str) -> String {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit_once(' ').unwrap().1.to_owned()
    }

    #[test]
    fn the_whole_file_of_a_run() {
        insta::assert_snapshot!(text("", &ran(Exit::Incomplete, 1_782_871_200_250)));
    }

    #[test]
    fn runs_are_counted_on_and_a_failure_keeps_the_last_success() {
        let first = text("", &ran(Exit::Done, 1_000));
        let second = text(&first, &ran(Exit::Refused, 2_500));
        let third = text(&second, &Ran { tally: Tally::default(), ..ran(Exit::BadInput, 3_000) });
        assert_eq!((&*value(&third, RUNS), &*value(&third, LAST_SUCCESS)), ("3", "1.000"));
        assert_eq!(value(&third, "noclobber_last_run_timestamp_seconds"), "3.000");
        assert_eq!(value(&third, "noclobber_last_exit_code"), "65");
        // All outcomes are there, whatever became of the run.
        assert_eq!(
            third.lines().filter(|line| line.starts_with("noclobber_rows{") && line.ends_with(" 0")).count(),
            Outcome::ALL.len()
        );
        assert_eq!(value(&text(&third, &ran(Exit::Done, 4_001)), LAST_SUCCESS), "4.001");
    }

    #[test]
    fn a_plan_that_cannot_be_read_keeps_the_series_it_belongs_to() {
        let first = text("", &ran(Exit::Done, 1_000));
        let second = text(&first, &Ran { manifest: None, ..ran(Exit::BadInput, 2_000) });
        assert!(second.contains("noclobber_runs_total{manifest=\"nightly.yaml\"} 2\n"));
        assert!(text("", &Ran { manifest: None, ..ran(Exit::BadInput, 1) }).contains("{manifest=\"\"} 1\n"));
    }

    #[test]
    fn what_is_not_ours_is_left_alone_and_what_is_damaged_is_made_anew() {
        for foreign in ["node_up 1\n", "#!/bin/sh\n", "\u{0}"] {
            let Written { text, trouble } = write(foreign.as_bytes(), &ran(Exit::Done, 1));
            assert!(text.is_none() && trouble.unwrap().contains("left alone"), "{foreign:?}");
        }
        let good = text("", &ran(Exit::Done, 1_000));
        let damaged = [
            good.as_bytes()[..good.len() / 3].to_vec(),
            good.replace(" 1\n", " one\n").into_bytes(),
            [good.as_bytes(), b"\xff"].concat(),
            (good.clone() + &good).into_bytes(),
        ];
        for damaged in damaged {
            let Written { text, trouble } = write(&damaged, &ran(Exit::Done, 2_000));
            assert!(trouble.unwrap().contains("is damaged"));
            assert_eq!(value(&text.unwrap(), RUNS), "1");
        }
        let other = Ran { manifest: Some("weekly.yaml".into()), ..ran(Exit::Done, 2_000) };
        let Written { text, trouble } = write(good.as_bytes(), &other);
        assert!(trouble.unwrap().contains("told of nightly.yaml"));
        assert_eq!(value(&text.unwrap(), RUNS), "1");
        for nothing in ["", "\n"] {
            assert_eq!(read(nothing.as_bytes()), Old::Nothing);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_manifest_is_called_each_sample_is_one_line_and_is_read_back(
            manifest in "[a\\\\\"\n{}=, #n\r]{0,12}", runs in 0..u64::MAX, at in 0..u64::MAX / 1000
        ) {
            let before = Before { manifest: Some(manifest.clone()), runs, last_success_ms: at };
            let ran = Ran { manifest: Some(manifest.clone()), ..ran(Exit::Stale, 5) };
            let text = render(&before, &ran);
            prop_assert_eq!(text.split('\n').count(), 1 + 7 * 2 + 6 + Outcome::ALL.len() + 1);
            let expected = Before { manifest: Some(manifest), runs: runs + 1, last_success_ms: at };
            prop_assert_eq!(read(text.as_bytes()), Old::Ours(expected));
        }
    }
}
