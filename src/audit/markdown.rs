//! What was found, as a page for a ticket: the summary, what to do, then what is wrong, row by row. Nothing that a key or a
//! server says can be markup.

use std::fmt::Write as _;

use super::claim::{Audit, Claim, Subject};
use super::{Found, State, Verdict, text, words};
use crate::model::text::{count, markdown as plain};

/// How every page begins.
pub const MARK: &str = "## noclobber verify\n";

/// The page is shorter, in bytes as in characters: a comment on the usual forges and trackers takes no more.
pub const LIMIT_BYTES: usize = 65_535;
/// Kept back for each later section's heading and for its word on what was cut.
const RESERVE_BYTES: usize = 400;
/// So many runs, buckets and rows in doubt are named.
const LISTED: usize = 20;
/// What is longer than this as markup is not shown in the summary: it must leave room for the rows.
const LONGEST_BYTES: usize = 400;

/// Renders what was found. What did not fit is counted where it is missing.
#[must_use]
pub fn render(audit: &Audit, found: &Found) -> String {
    let mut page = summary(audit, found);
    let all = found.count();
    let mut left: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_well() && all.of(*state) > 0).collect();
    left.reverse();
    while let Some(state) = left.pop() {
        // None may crowd the others out: each has at least its share of what is left.
        let free = LIMIT_BYTES.saturating_sub(page.len() + (left.len() + 1) * RESERVE_BYTES);
        section(&mut page, audit, found, state, free / (left.len() + 1));
    }
    page
}

fn summary(audit: &Audit, found: &Found) -> String {
    let all = found.count();
    let mut page = format!("{MARK}\n");
    let _ = match all.problems() {
        0 => writeln!(page, "**All is there.** What these runs stored is what is stored now."),
        1 => writeln!(page, "**1 row needs attention.**"),
        n => writeln!(page, "**{} rows need attention.**", count(n)),
    };
    page.push_str("\n| State | Rows |\n|---|--:|\n");
    for state in State::ALL {
        let _ = writeln!(page, "| {} | {} |", state.words(), count(all.of(state)));
    }
    let _ = writeln!(page, "\n{}", plain(&text::not_checked(audit)));
    page.push_str("\n| | |\n|---|---|\n");
    for run in audit.runs.iter().take(LISTED) {
        let left = if run.is_left_out { ", before --since: left out" } else { "" };
        let _ = writeln!(page, "| Run | {}, {}, {} rows{left} |", brief(&run.id), brief(&run.report), count(run.rows));
    }
    more(&mut page, "Run", audit.runs.len());
    for bucket in audit.buckets.iter().take(LISTED) {
        let (name, at, region) = (brief(&bucket.bucket), brief(&bucket.endpoint), brief(&bucket.region));
        let _ = writeln!(page, "| Bucket | {name} at {at} in {region} |");
    }
    more(&mut page, "Bucket", audit.buckets.len());
    let mut advised = State::ALL
        .into_iter()
        .filter(|state| all.of(*state) > 0)
        .filter_map(|state| Some((state, words::advice(state, found)?)))
        .peekable();
    if advised.peek().is_some() {
        page.push_str("\nWhat to do:\n\n");
    }
    for (state, advice) in advised {
        let _ = writeln!(page, "- **{}**: {}", state.words(), plain(&advice));
    }
    let mut doubts = audit.doubts().zip(&found.doubts).peekable();
    if doubts.peek().is_some() {
        page.push_str("\nRows that ended unknown:\n\n");
    }
    for ((subject, doubt), settled) in doubts.take(LISTED) {
        let (key, place) = (brief(subject.key.as_str()), brief(&doubt.place));
        let _ = writeln!(page, "- {key} ({place}): {}", text::settled_words(*settled));
    }
    if found.doubts.len() > LISTED {
        let _ = writeln!(page, "- and {} more; the JSON has them all", count((found.doubts.len() - LISTED) as u64));
    }
    page
}

fn more(page: &mut String, what: &str, all: usize) {
    if all > LISTED {
        let _ = writeln!(page, "| {what} | and {} more |", count((all - LISTED) as u64));
    }
}

fn section(page: &mut String, audit: &Audit, found: &Found, state: State, room_bytes: usize) {
    let rows = || audit.judged().zip(&found.verdicts).filter(|(_, verdict)| verdict.state == state);
    let all = found.count().of(state);
    let _ = write!(page, "\n### {} ({})\n\n", capital(state.words()), count(all));
    page.push_str("| # | Object | Row | What was found | Recoverable |\n|--:|---|---|---|---|\n");
    let end = page.len() + room_bytes;
    let mut shown = 0;
    for ((subject, claim), verdict) in rows() {
        let line = line(audit, subject, claim, verdict);
        if page.len() + line.len() > end {
            break;
        }
        page.push_str(&line);
        shown += 1;
    }
    if shown < all {
        let (cut, all) = (count(all - shown), count(all));
        let _ = write!(
            page,
            "\n**Cut: {cut} of these {all} rows are not shown, for length. --format csv has them all.**\n"
        );
    }
}

fn line(audit: &Audit, subject: &Subject, claim: &Claim, verdict: &Verdict) -> String {
    let bucket = audit.buckets.get(subject.bucket as usize).map_or("", |bucket| bucket.bucket.as_str());
    let object = code(&format!("s3://{bucket}/{}", subject.key));
    let run = audit.run(claim.run).map(|run| code(&run.id)).unwrap_or_default();
    let place = plain(&claim.place);
    let what = plain(&words::what(claim, verdict));
    let back = words::back(verdict).unwrap_or_default();
    let back = plain(back.strip_prefix("recoverable: ").unwrap_or(&back));
    format!("| {} | {object} | {} by {run}<br>{place} | {what} | {back} |\n", claim.entry, claim.outcome)
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Text in fixed width. Not a backtick span: inside one, a `|` cannot be made safe in every renderer.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<code>{}</code>", plain(text)) }
}

/// The same, where it is short enough for the summary.
fn brief(text: &str) -> String {
    let code = code(text);
    if code.len() > LONGEST_BYTES { "(too long to show)".to_owned() } else { code }
}
