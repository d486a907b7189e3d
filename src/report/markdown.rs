//! The report as a page for a change ticket: the summary, then what needs a person, then what was buried and how to get
//! it back, then the rest, folded. Nothing that a key or a server says can be markup.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::advice::advice;
use super::facts::{self, answer, times, why};
use super::restore::{Restore, buries, restore};
use super::{Level, Report, State, tally};
use crate::model::row::{Outcome, Row};
use crate::model::text::{self, markdown as plain};

/// How every page begins.
pub const MARK: &str = "## noclobber report\n";

/// The page is shorter, in bytes as in characters: a comment on the usual forges and trackers takes no more.
pub const LIMIT_BYTES: usize = 65_535;
/// Kept back for each later section's heading and for its word on what was cut.
const RESERVE_BYTES: usize = 400;

/// Renders a report. What was left out, or did not fit, is said where it is missing; the CSV has it all.
#[must_use]
pub fn render(report: &Report, level: Level) -> String {
    let mut page = summary(report, level);
    let rows = |is: fn(&Row) -> bool| report.told(level).filter(|row| is(row)).collect::<Vec<_>>();
    let problems = rows(|row| !row.outcome.is_success());
    let replaced = rows(|row| buries(row.outcome));
    let rest = rows(|row| row.outcome.is_success() && !buries(row.outcome));

    // Neither long section may crowd the other out: each has at least half of what the summary leaves.
    let left = LIMIT_BYTES.saturating_sub(page.len() + 3 * RESERVE_BYTES);
    let need = |rows: &[&Row], line: fn(&Row) -> String| rows.iter().map(|row| line(row).len()).sum::<usize>();
    let for_problems = left.saturating_sub(need(&replaced, replaced_line).min(left / 2));
    section(&mut page, &PROBLEMS, &problems, for_problems);
    let left = LIMIT_BYTES.saturating_sub(page.len() + 2 * RESERVE_BYTES);
    section(&mut page, &Section { heading: facts::buried_heading(&replaced), ..REPLACED }, &replaced, left);
    let left = LIMIT_BYTES.saturating_sub(page.len() + RESERVE_BYTES);
    section(&mut page, &REST, &rest, left);
    page
}

struct Section {
    heading: &'static str,
    columns: &'static str,
    line: fn(&Row) -> String,
    folded: bool,
}

const PROBLEMS: Section = Section {
    heading: "Needs attention",
    columns: "| # | Outcome | Object | Source | What happened |\n|--:|---|---|---|---|\n",
    line: problem_line,
    folded: false,
};

const REPLACED: Section = Section {
    heading: facts::REPLACED,
    columns: "| # | Object | Source | Before | Now | To get it back |\n|--:|---|---|---|---|---|\n",
    line: replaced_line,
    folded: false,
};

const REST: Section = Section {
    heading: "Everything else",
    columns: "| # | Outcome | Object | Size | Checksum |\n|--:|---|---|--:|---|\n",
    line: rest_line,
    folded: true,
};

fn section(page: &mut String, section: &Section, rows: &[&Row], room_bytes: usize) {
    let Section { heading, columns, line, folded } = section;
    if rows.is_empty() {
        return;
    }
    let count = text::count(rows.len() as u64);
    if *folded {
        let _ = write!(page, "\n<details><summary>{heading} ({count})</summary>\n\n{columns}");
    } else {
        let _ = write!(page, "\n### {heading} ({count})\n\n{columns}");
    }
    let end = page.len() + room_bytes;
    let mut shown = 0;
    for row in rows {
        let line = line(row);
        if page.len() + line.len() > end {
            break;
        }
        page.push_str(&line);
        shown += 1;
    }
    if shown < rows.len() {
        let cut = text::count((rows.len() - shown) as u64);
        let _ = write!(
            page,
            "\n**Cut: {cut} of these {count} rows are not shown, for length. The CSV report has them all.**\n"
        );
    }
    if *folded {
        page.push_str("\n</details>\n");
    }
}

fn summary(Report { rows, state }: &Report, level: Level) -> String {
    let tally = tally(rows);
    let problems = facts::problems(rows);
    let mut page = format!("{MARK}\n");
    let _ = match (state, rows.len(), problems) {
        (State::Unfinished, n, _) => {
            let n = text::count(n as u64);
            writeln!(
                page,
                "**Not finished: it is running, or was killed. {n} rows so far; entries without one are not here.**"
            )
        }
        (State::Finished, 0, _) => writeln!(page, "**No rows.**"),
        (State::Finished, _, 0) => writeln!(page, "**Complete.** Every row ended as it should."),
        (State::Finished, _, 1) => writeln!(page, "**Incomplete: 1 row needs attention.**"),
        (State::Finished, _, n) => writeln!(page, "**Incomplete: {} rows need attention.**", text::count(n)),
    };
    page.push_str("\n| Outcome | Rows |\n|---|--:|\n");
    for outcome in Outcome::ALL {
        let count = tally.of(outcome);
        // The plan's five numbers stand here always, so that the two can be laid side by side.
        let planned = matches!(
            outcome,
            Outcome::Created | Outcome::Replaced | Outcome::Unchanged | Outcome::Kept | Outcome::Refused
        );
        if planned || count > 0 {
            let _ = writeln!(page, "| {outcome} | {} |", text::count(count));
        }
    }
    page.push_str("\n| | |\n|---|---|\n");
    fact(&mut page, "Run", rows.iter().map(|row| code(&row.run_id)));
    fact(&mut page, "Plan", rows.iter().map(|row| code(&row.plan_digest)));
    fact(&mut page, "Bucket", rows.iter().map(bucket));
    if let Some((first, last)) = times(rows) {
        let _ = writeln!(page, "| Started | {first} |\n| Ended | {last} |");
    }
    let _ = writeln!(page, "| Stored | {} ({} bytes) |", text::bytes(tally.bytes), text::count(tally.bytes));
    fact(&mut page, "Guard", rows.iter().filter_map(|row| row.guard).map(|guard| facts::guard(guard).to_owned()));
    let left_out = rows.iter().filter(|row| !level.tells(row)).count() as u64;
    if left_out > 0 {
        let n = text::count(left_out);
        let _ = writeln!(page, "\n**Left out: {n} rows that ended as planned. The totals are of all rows.**");
    }
    let mut advised = Outcome::ALL
        .into_iter()
        .filter(|outcome| tally.of(*outcome) > 0)
        .filter_map(|outcome| Some((outcome, advice(outcome)?)))
        .peekable();
    if advised.peek().is_some() {
        page.push_str("\nWhat to do:\n\n");
    }
    for (outcome, advice) in advised {
        let _ = writeln!(page, "- **{outcome}**: {advice}");
    }
    page
}

/// One line of the summary: the distinct values, the first few of them.
fn fact(page: &mut String, name: &str, values: impl Iterator<Item = String>) {
    const SHOWN: usize = 5;
    const LONGEST_BYTES: usize = 2000;
    let fit = |value: String| if value.len() > LONGEST_BYTES { "(too long to show)".into() } else { value };
    let values: BTreeSet<_> = values.filter(|value| !value.is_empty()).map(fit).collect();
    if values.is_empty() {
        return;
    }
    let shown: Vec<_> = values.iter().take(SHOWN).map(String::as_str).collect();
    let more = if values.len() > SHOWN { format!("<br>and {} more", values.len() - SHOWN) } else { String::new() };
    let _ = writeln!(page, "| {name} | {}{more} |", shown.join("<br>"));
}

fn bucket(row: &Row) -> String {
    let owner = if row.owner.is_empty() { String::new() } else { format!(", owner {}", code(&row.owner)) };
    format!("{} at {} in {}{owner}", code(&row.bucket), code(&row.endpoint), code(&row.region))
}

fn problem_line(row: &Row) -> String {
    let mut what = Vec::new();
    let why = why(row);
    if !why.is_empty() {
        what.push(plain(&why));
    }
    let answer = answer(row);
    if !answer.is_empty() {
        what.push(format!("answer {}", code(&answer)));
    }
    for (name, value) in [
        ("planned against ETag", &row.etag_before),
        ("planned against version", &row.version_before),
        ("ETag now", &row.etag_after),
        ("version now", &row.version_after),
        ("request", &row.request_id),
        ("write id", &row.write_id),
    ] {
        if !value.is_empty() {
            what.push(format!("{name} {}", code(value)));
        }
    }
    let (object, source, place) = (object(row), code(&row.source), plain(&row.place));
    format!("| {} | **{}** | {object} | {source}<br>{place} | {} |\n", row.entry, row.outcome, what.join("<br>"))
}

fn replaced_line(row: &Row) -> String {
    let side = |etag: &str, version: &str| {
        let etag = if etag.is_empty() { "unknown".into() } else { code(etag) };
        let version = if version.is_empty() { "none".into() } else { code(version) };
        format!("ETag {etag}<br>version {version}")
    };
    let before = side(&row.etag_before, &row.version_before);
    let now = match (row.outcome, row.version_after.as_str()) {
        (Outcome::Deleted, "") => "nothing".to_owned(),
        (Outcome::Deleted, marker) => format!("nothing<br>delete marker {}", code(marker)),
        _ => side(&row.etag_after, &row.version_after),
    };
    let back = match restore(row) {
        Restore::Nothing => String::new(),
        Restore::Gone(why) => why.to_owned(),
        Restore::Version { id, commands: _ } if row.outcome == Outcome::Deleted => {
            format!("copy version {} to the key", code(&id))
        }
        Restore::Version { id, commands: _ } => format!("copy version {} over the key", code(&id)),
    };
    let (object, source) = (object(row), code(&row.source));
    format!("| {} | {object} | {source} | {before} | {now} | {back} |\n", row.entry)
}

fn rest_line(row: &Row) -> String {
    let size = row.size_bytes.map(text::bytes).unwrap_or_default();
    let note = if row.message.is_empty() { String::new() } else { format!("<br>{}", plain(&row.message)) };
    let (object, checksum) = (object(row), code(&row.checksum));
    format!("| {} | {}{note} | {object} | {size} | {checksum} |\n", row.entry, row.outcome)
}

fn object(row: &Row) -> String {
    code(&format!("s3://{}/{}", row.bucket, row.key))
}

/// Text in fixed width. Not a backtick span: inside one, a `|` cannot be made safe in every renderer.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<code>{}</code>", plain(text)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::samples;

    fn render(rows: &[Row]) -> String {
        super::render(&Report { rows: rows.to_vec(), state: State::Finished }, Level::All)
    }

    #[test]
    fn a_page_shows_the_summary_then_problems_then_what_was_buried_then_the_rest() {
        let rows = [
            samples::row(1, Outcome::Created),
            samples::row(2, Outcome::Replaced),
            Row { version_before: String::new(), version_after: String::new(), ..samples::row(3, Outcome::Replaced) },
            Row { guard: None, started_at: String::new(), ..samples::row(4, Outcome::Unchanged) },
            Row {
                http_status: Some(412),
                error_code: "PreconditionFailed".into(),
                message: "somebody else wrote first; theirs is intact".into(),
                started_at: "2026-07-01T02:00:03.250Z".into(),
                etag_before: String::new(),
                version_before: String::new(),
                ..samples::row(5, Outcome::Lost)
            },
        ];
        insta::assert_snapshot!(render(&rows));
    }

    #[test]
    fn a_complete_run_says_so_and_an_empty_report_too() {
        let page = render(&[samples::row(1, Outcome::Created)]);
        assert!(page.contains("**Complete.** Every row ended as it should."));
        assert!(!page.contains("###"));
        assert!(render(&[]).contains("**No rows.**"));
    }

    #[test]
    fn every_outcome_that_is_no_success_is_shown_in_full() {
        for outcome in Outcome::ALL {
            let page = render(&[Row { message: "the reason".into(), ..samples::row(1, outcome) }]);
            assert_eq!(page.contains("### Needs attention (1)"), !outcome.is_success(), "{outcome}");
            assert_eq!(page.contains("### Replaced"), buries(outcome), "{outcome}");
        }
    }

    #[test]
    fn a_null_version_that_was_written_over_cannot_be_got_back() {
        let null = |after: &str| Row {
            version_before: "null".into(),
            version_after: after.into(),
            ..samples::row(1, Outcome::Replaced)
        };
        assert!(render(&[null("null")]).contains("versioning is suspended: cannot be got back"));
        assert!(render(&[null("v2")]).contains("copy version <code>null</code> over the key"));
    }

    #[test]
    fn at_the_level_of_problems_what_was_left_out_is_said_and_the_totals_are_of_all() {
        let rows = samples::mixed();
        let page = super::render(&Report { rows, state: State::Unfinished }, Level::Problems);
        insta::assert_snapshot!(page);
    }

    #[test]
    fn a_page_that_is_too_long_is_cut_and_says_what_was_cut() {
        let outcomes = [Outcome::Failed, Outcome::Replaced, Outcome::Created].into_iter().cycle();
        let rows: Vec<_> = (1..=3000).zip(outcomes).map(|(n, outcome)| samples::row(n, outcome)).collect();
        let page = render(&rows);
        assert!(page.len() < LIMIT_BYTES && page.len() > LIMIT_BYTES - 2000, "{}", page.len());
        let shown = |mark: &str| page.matches(mark).count();
        let cut: Vec<usize> = page
            .lines()
            .filter_map(|line| line.strip_prefix("**Cut: ")?.split(' ').next()?.replace(',', "").parse().ok())
            .collect();
        // Both long sections have their share; every row is shown or counted as cut.
        assert_eq!(cut.len(), 3);
        assert!(shown("| **failed** |") > 50 && shown("copy version") > 50);
        assert_eq!(shown("| **failed** |") + cut[0], 1000);
        assert_eq!(shown("copy version") + cut[1], 1000);
        assert!(page.ends_with("</details>\n"));
    }

    #[test]
    fn rows_too_long_for_any_page_do_not_break_it() {
        let key = "|`<".repeat(40_000);
        let long = |n| Row { key: key.clone(), run_id: format!("{key}{n}"), ..samples::row(n, Outcome::Failed) };
        let rows: Vec<_> = (1..9).map(long).collect();
        for level in [Level::All, Level::Problems] {
            for state in [State::Finished, State::Unfinished] {
                let page = super::render(&Report { rows: rows.clone(), state }, level);
                assert!(page.len() < LIMIT_BYTES);
                assert!(page.contains("**Cut: 8 of these 8 rows"));
            }
        }
    }

    #[test]
    fn nothing_said_in_a_row_is_markup() {
        let evil = "a|b`c<script>alert(1)</script>\r\n| 9 | created | x |\u{202e}\u{1b}[2J**x**_y_[l](http://e.example)\
                    \\|&amp;~~#1@me www.e.example  end ";
        assert_eq!(
            plain(evil),
            "a&#124;b&#96;c&#60;script&#62;alert(1)&#60;/script&#62;&#92;r&#92;n&#124; 9 &#124; created &#124; x \
             &#124;&#92;u&#123;202e&#125;&#92;u&#123;1b&#125;&#91;2J&#42;&#42;x&#42;&#42;\\_y\\_&#91;l&#93;\
             (http&#58;//e.example)&#92;&#92;&#124;&#38;amp;&#126;&#126;&#35;1&#64;me www&#46;e.example &nbsp;end&nbsp;"
        );
    }

    proptest! {
        #[test]
        fn no_text_can_add_a_cell_a_row_or_a_tag(evil in "[|`<>&\\\\\r\n\t*_~#!\\[\\](){}:/.@a-c \u{202e}\u{2028}]{0,40}") {
            let tame = samples::row(1, Outcome::Unknown);
            let row = Row {
                run_id: evil.clone(), plan_digest: evil.clone(), place: evil.clone(), source: evil.clone(),
                endpoint: evil.clone(), region: evil.clone(), owner: evil.clone(), bucket: evil.clone(),
                key: evil.clone(), etag_before: evil.clone(), version_before: evil.clone(), etag_after: evil.clone(),
                version_after: evil.clone(), error_code: evil.clone(), message: evil.clone(),
                request_id: evil.clone(), write_id: evil, ..tame.clone()
            };
            for outcome in [Outcome::Unknown, Outcome::Replaced, Outcome::Kept] {
                let page = render(&[Row { outcome, ..row.clone() }]);
                let model = render(&[Row { outcome, message: "m".into(), error_code: "c".into(), ..tame.clone() }]);
                // An empty value may leave a fact out, never add a line.
                prop_assert!(page.lines().count() <= model.lines().count());
                let cells = |page: &str| {
                    page.lines().filter(|l| l.starts_with("| 1 |")).map(|l| l.matches('|').count()).collect::<Vec<_>>()
                };
                prop_assert_eq!(cells(&page), cells(&model));
                for line in page.lines() {
                    let bare = ["<code>", "</code>", "<br>", "<details>", "</details>", "<summary>", "</summary>"]
                        .iter().fold(line.to_owned(), |line, tag| line.replace(tag, ""));
                    prop_assert!(!bare.contains(['<', '>', '`']), "{}", bare);
                }
            }
        }
    }
}
