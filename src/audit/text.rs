//! What was found, as a person reads it in the night: what is wrong first, the numbers last.

use std::fmt::Write as _;

use super::claim::{Audit, Claim, Subject};
use super::{Found, Settled, State, Verdict, words};
use crate::model::text::{count, escape, name};

/// How every page begins.
pub const MARK: &str = "Verify of ";

/// So many rows of a state are listed; the others are counted.
const LISTED: usize = 50;

/// Colours a stretch, or leaves it as it is. `None` is a heading.
pub type Paint<'a> = &'a dyn Fn(Option<State>, &str) -> String;

/// Renders what was found. Everything that came from outside is escaped, so that no key can fake a line.
#[must_use]
pub fn render(audit: &Audit, found: &Found, paint: Paint<'_>) -> String {
    let mut text = head(audit, paint);
    let all = found.count();
    for state in State::ALL.into_iter().filter(|state| !state.is_well() && all.of(*state) > 0) {
        let title = format!("{} {}", count(all.of(state)), state.words());
        let _ = writeln!(text, "\n{}", paint(Some(state), &title));
        let rows = audit.judged().zip(&found.verdicts).filter(|(_, verdict)| verdict.state == state);
        for ((subject, claim), verdict) in rows.take(LISTED) {
            row(&mut text, audit, subject, claim, verdict);
        }
        let more = all.of(state).saturating_sub(LISTED as u64);
        if more > 0 {
            let _ = writeln!(text, "  ... and {} more; --format csv has them all", count(more));
        }
        if let Some(advice) = words::advice(state, found) {
            let _ = writeln!(text, "  -> {advice}");
        }
    }
    doubts(&mut text, audit, found);
    let _ = writeln!(text, "\n{}", not_checked(audit));
    let _ = writeln!(text, "{}", paint(None, &totals(found)));
    text
}

/// The numbers, on one line.
#[must_use]
pub fn totals(found: &Found) -> String {
    let all = found.count();
    let told = State::ALL.into_iter().filter(|state| *state == State::Intact || all.of(*state) > 0);
    let states: Vec<_> = told.map(|state| format!("{} {}", count(all.of(state)), state.words())).collect();
    let rows = if all.checked == 1 { "row" } else { "rows" };
    format!("Verify: {} {rows} checked: {}", count(all.checked), states.join(", "))
}

/// How many rows claim nothing, and why.
#[must_use]
pub fn not_checked(audit: &Audit) -> String {
    let left = audit.not_checked();
    let all: u64 = left.values().sum();
    if all == 0 {
        return "No row of these runs was left out.".to_owned();
    }
    let each: Vec<_> = left.iter().map(|(outcome, rows)| format!("{} {outcome}", count(*rows))).collect();
    let were = if all == 1 { "row was" } else { "rows were" };
    format!(
        "{} {were} not written, or not known to be, by these runs, and not checked: {}",
        count(all),
        each.join(", ")
    )
}

fn head(audit: &Audit, paint: Paint<'_>) -> String {
    let runs = audit.runs.iter().filter(|run| !run.is_left_out).count();
    let runs = if runs == 1 { "1 run".to_owned() } else { format!("{} runs", count(runs as u64)) };
    let mut text = format!("{}\n", paint(None, &format!("{MARK}{runs}")));
    for run in &audit.runs {
        let rows = if run.rows == 1 { "1 row".to_owned() } else { format!("{} rows", count(run.rows)) };
        let left = if run.is_left_out { ", before --since: left out" } else { "" };
        let _ = writeln!(text, "  run {}, {}, {rows}{left}", escape(&run.id), name(&run.report));
    }
    for bucket in &audit.buckets {
        let (at, region) = (escape(&bucket.endpoint), escape(&bucket.region));
        let _ = writeln!(text, "  s3://{} at {at} ({region})", name(&bucket.bucket));
    }
    text
}

fn row(text: &mut String, audit: &Audit, subject: &Subject, claim: &Claim, verdict: &Verdict) {
    let bucket = audit.buckets.get(subject.bucket as usize).map_or("", |bucket| bucket.bucket.as_str());
    let key = name(subject.key.as_str()).into_owned();
    let key = if audit.buckets.len() > 1 { format!("s3://{}/{key}", name(bucket)) } else { key };
    let of = match audit.run(claim.run) {
        Some(run) if audit.runs.len() > 1 => format!(" of run {}", escape(&run.id)),
        Some(_) | None => String::new(),
    };
    let _ = writeln!(text, "  {key}  [{}, {}{of}]", escape(&claim.place), claim.outcome);
    let _ = writeln!(text, "    {}", escape(&words::what(claim, verdict)));
    if let Some(back) = words::back(verdict) {
        let _ = writeln!(text, "    {}", escape(&back));
    }
}

fn doubts(text: &mut String, audit: &Audit, found: &Found) {
    let mut told = audit.doubts().zip(&found.doubts).peekable();
    if told.peek().is_some() {
        let rows = if found.doubts.len() == 1 { "row" } else { "rows" };
        let _ = writeln!(text, "\n{} {rows} ended unknown", count(found.doubts.len() as u64));
    }
    for ((subject, doubt), settled) in told.take(LISTED) {
        let _ = writeln!(text, "  {}  [{}]", name(subject.key.as_str()), escape(&doubt.place));
        let _ = writeln!(text, "    {}", settled_words(*settled));
    }
    let more = found.doubts.len().saturating_sub(LISTED);
    if more > 0 {
        let _ = writeln!(text, "  ... and {} more; --format json has them all", count(more as u64));
    }
}

/// What a look said of a row that ended unknown.
#[must_use]
pub fn settled_words(settled: Settled) -> &'static str {
    match settled {
        Settled::Stored => "its write is there: the current object carries its write id and has its size",
        Settled::NotCurrent => "its write is not current: another object is, or none",
        Settled::NotKnown => "not known: there was no answer that tells",
    }
}
