//! The report as one HTML file: totals, what was replaced and how to get it back, what did not end well and what to do,
//! and every row in a table.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::advice::advice;
use super::facts::{self, answer, times, why};
use super::restore::{Restore, restore};
use super::{Level, Report, State, tally};
use crate::model::row::{Outcome, Row, Tally};
use crate::model::text::{bytes as size, count, escape};
use crate::page::{self, Cell, Column, Kind, Page, Row as Line, Table};

/// How every page's title begins.
pub const TITLE: &str = "Report of run ";
/// So many rows that ended as planned and buried nothing are listed. Of more, the unchanged are counted, then the kept,
/// then the creates.
pub const ROWS_MAX: usize = 50_000;
/// So many replaces, and so many problems, stand above the table for everybody.
const HEAD_MAX: usize = 10;
/// So many more stand on the page where no script runs, and in print.
const PLAIN_MAX: usize = 2_000;

/// Renders a report.
pub fn render(report: &Report, level: Level) -> Result<String, serde_json::Error> {
    page_of(report, level, ROWS_MAX)
}

fn page_of(report: &Report, level: Level, rows_max: usize) -> Result<String, serde_json::Error> {
    let groups = groups(report, level, rows_max);
    let several = distinct(&report.rows, |row| (&row.target, &row.bucket, &row.endpoint)).len() > 1;
    let run = report.rows.first().map_or("", |row| row.run_id.as_str());
    let title = format!("{TITLE}{}", escape(run));
    let Groups { problems, replaced, .. } = &groups;
    let buried = Section { heading: facts::buried_heading(replaced), ..REPLACED };
    let page = Page {
        title: &title,
        head: html! {
            (head(report, level, &groups))
            (section(&buried, part(replaced, 0, HEAD_MAX), replaced.len(), Part::First))
            (section(&PROBLEMS, part(problems, 0, HEAD_MAX), problems.len(), Part::First))
        },
        plain: html! {
            (section(&buried, part(replaced, HEAD_MAX, PLAIN_MAX), replaced.len(), Part::Further))
            (section(&PROBLEMS, part(problems, HEAD_MAX, PLAIN_MAX), problems.len(), Part::Further))
        },
        table: table(&groups, several),
    };
    page::render(&page)
}

/// The rows that are told, in the order of the table; and how many are only counted.
struct Groups<'a> {
    problems: Vec<&'a Row>,
    replaced: Vec<&'a Row>,
    harmless: Vec<&'a Row>,
    counted: Vec<(Outcome, u64)>,
}

fn groups(report: &Report, level: Level, rows_max: usize) -> Groups<'_> {
    let mut groups = Groups { problems: Vec::new(), replaced: Vec::new(), harmless: Vec::new(), counted: Vec::new() };
    let mut room = rows_max;
    for outcome in [Outcome::Created, Outcome::Kept, Outcome::Unchanged] {
        let rows: Vec<_> = report.told(level).filter(|row| row.outcome == outcome).collect();
        if rows.len() <= room {
            room -= rows.len();
            groups.harmless.extend(rows);
        } else {
            groups.counted.push((outcome, rows.len() as u64));
        }
    }
    for row in report.told(level) {
        match row.outcome {
            Outcome::Created | Outcome::Kept | Outcome::Unchanged => {}
            Outcome::Replaced | Outcome::Restored | Outcome::Deleted => groups.replaced.push(row),
            Outcome::Refused
            | Outcome::Lost
            | Outcome::Stale
            | Outcome::SourceChanged
            | Outcome::Failed
            | Outcome::Unknown
            | Outcome::NotAttempted => groups.problems.push(row),
        }
    }
    groups
}

fn part<'a>(rows: &'a [&'a Row], from: usize, most: usize) -> &'a [&'a Row] {
    let from = from.min(rows.len());
    rows.get(from..rows.len().min(from + most)).unwrap_or_default()
}

fn distinct<'a, T: Ord>(rows: &'a [Row], what: impl Fn(&'a Row) -> T) -> BTreeSet<T> {
    rows.iter().map(what).collect()
}

fn head(report: &Report, level: Level, groups: &Groups<'_>) -> Markup {
    let rows = &report.rows;
    let tally = tally(rows);
    let problems = facts::problems(rows);
    let left_out = report.left_out(level);
    let ids = |what: fn(&Row) -> &str| {
        let ids = distinct(rows, what).into_iter().map(|id| escape(id).into_owned());
        ids.collect::<Vec<_>>().join(", ")
    };
    html! {
        header {
            h1 { "What became of the plan" }
            p class="quiet" { (totals(&tally)) }
        }
        @match report.state {
            State::Unfinished => p class="note bad" {
                strong { "Not finished." } " The run is under way, or was killed: entries may have no row yet. "
                "If it was killed, the same apply again goes on from here."
            },
            State::Finished if problems > 0 => p class="note bad" {
                strong { "Incomplete." } " " (count(problems)) " of " (count(tally.rows())) " rows need attention."
            },
            State::Finished => {},
        }
        (cards(&tally))
        div class="digest" {
            span class="quiet" { "Run" }
            code id="run" { (ids(|row| &row.run_id)) }
            button class="copy" type="button" data-from="run" hidden { "Copy" }
        }
        div class="digest" {
            span class="quiet" { "Plan" }
            code id="digest" { (ids(|row| &row.plan_digest)) }
            button class="copy" type="button" data-from="digest" hidden { "Copy" }
        }
        (summary(rows, &tally))
        @if left_out > 0 {
            p class="note warn" {
                "Left out: " (count(left_out)) " rows that ended as planned. The totals are of all rows."
            }
        }
        @for (outcome, rows) in &groups.counted {
            p class="note warn" { (count(*rows)) " " (outcome) ": counted, not listed. The CSV report has them all." }
        }
    }
}

/// The numbers of the plan's last line, in its order, as they came out.
fn totals(tally: &Tally) -> String {
    let of_rollback = facts::of_rollback(tally);
    format!(
        "{} created, {} replaced{of_rollback}, {} unchanged, {} kept, {} refused ({} stored)",
        count(tally.created),
        count(tally.replaced),
        count(tally.unchanged),
        count(tally.kept),
        count(tally.refused),
        size(tally.bytes)
    )
}

fn cards(tally: &Tally) -> Markup {
    let class = |outcome: Outcome| match outcome {
        _ if tally.of(outcome) == 0 => "",
        Outcome::Created => "good",
        Outcome::Replaced | Outcome::Restored | Outcome::Deleted => "warn",
        Outcome::Unchanged | Outcome::Kept => "",
        Outcome::Refused
        | Outcome::Lost
        | Outcome::Stale
        | Outcome::SourceChanged
        | Outcome::Failed
        | Outcome::Unknown
        | Outcome::NotAttempted => "bad",
    };
    // The plan's numbers stand here always, so that the two pages can be laid side by side.
    let planned = [Outcome::Created, Outcome::Replaced, Outcome::Unchanged, Outcome::Kept, Outcome::Refused];
    html! {
        ul class="cards" {
            @for outcome in Outcome::ALL {
                @if planned.contains(&outcome) || tally.of(outcome) > 0 {
                    li class=(class(outcome)) { b { (count(tally.of(outcome))) } (outcome) }
                }
            }
            li { b { (size(tally.bytes)) } "stored" }
        }
    }
}

fn summary(rows: &[Row], tally: &Tally) -> Markup {
    let targets = distinct(rows, |row| (&row.target, &row.bucket, &row.endpoint, &row.region, &row.owner));
    let guards: BTreeSet<_> = rows.iter().filter_map(|row| row.guard).map(facts::guard).collect();
    html! {
        dl {
            @for (target, bucket, endpoint, region, owner) in targets {
                dt { "Target " (escape(target)) }
                dd {
                    code { "s3://" (escape(bucket)) } " at " code { (escape(endpoint)) } " in " (escape(region))
                    @if !owner.is_empty() { ", owner " (escape(owner)) }
                }
            }
            @if let Some((first, last)) = times(rows) {
                dt { "Started" } dd { (first) }
                dt { "Ended" } dd { (last) }
            }
            dt { "Stored" } dd { (size(tally.bytes)) " (" (count(tally.bytes)) " bytes)" }
            @for guard in guards { dt { "Guard" } dd { (guard) } }
        }
    }
}

struct Section {
    heading: &'static str,
    /// The badges to pick for all of them in the table.
    pick: &'static str,
    columns: &'static [&'static str],
    cells: fn(&Row) -> Markup,
}

const REPLACED: Section = Section {
    heading: facts::REPLACED,
    pick: "Pick the outcomes replaced, restored and deleted.",
    columns: &["Object", "Before and now", "To get it back"],
    cells: replaced_cells,
};

const PROBLEMS: Section = Section {
    heading: "Needs attention",
    pick: "They stand first.",
    columns: &["Outcome", "Object", "What happened", "What to do"],
    cells: problem_cells,
};

/// Which of a section's rows these are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The first, that everybody sees.
    First,
    /// The others, so far as the page has them outside its table.
    Further,
}

fn section(Section { heading, pick, columns, cells }: &Section, rows: &[&Row], all: usize, part: Part) -> Markup {
    let all = count(all as u64);
    html! {
        @if !rows.is_empty() {
            section {
                @match part {
                    Part::First => h2 { (heading) " (" (all) ")" },
                    Part::Further => h2 { (heading) ", further rows" },
                }
                div class="scroll" {
                    table {
                        thead { tr { th class="number" { "#" } @for column in *columns { th { (column) } } } }
                        tbody { @for row in rows { tr { td class="number" { (row.entry) } (cells(row)) } } }
                    }
                }
                @if part == Part::First && rows.len() == HEAD_MAX {
                    p class="quiet" { "So far " (rows.len()) " of " (all) ". All are in the table below. " (pick) }
                }
            }
        }
    }
}

fn replaced_cells(row: &Row) -> Markup {
    let shown = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { escape(text).into_owned() };
    let side = |name: &str, etag: &str, version: &str| {
        html! { div { (name) " ETag " code { (shown(etag, "unknown")) } ", version " code { (shown(version, "none")) } } }
    };
    html! {
        (named(row))
        td {
            (side("Before:", &row.etag_before, &row.version_before))
            @match (row.outcome, row.version_after.as_str()) {
                (Outcome::Deleted, "") => div { "Now: nothing" },
                (Outcome::Deleted, marker) => div { "Now: nothing, delete marker " code { (escape(marker)) } },
                _ => (side("Now:", &row.etag_after, &row.version_after)),
            }
        }
        td {
            @match restore(row) {
                Restore::Nothing => {},
                Restore::Gone(why) => span class="badge bad" { (why) },
                Restore::Version { id, commands: None } => { "Copy version " code { (escape(&id)) } " over the key." },
                Restore::Version { id: _, commands: Some(commands) } => {
                    (command(row, "get", "To look at it:", &commands.get))
                    (command(row, "back", "To put it back, if nobody has written there since:", &commands.copy))
                },
            }
        }
    }
}

fn command(row: &Row, kind: &str, what: &str, text: &str) -> Markup {
    let id = format!("{kind}-{}", row.entry);
    html! {
        div class="quiet" { (what) " " button class="copy" type="button" data-from=(id) hidden { "Copy" } }
        code class="command" id=(id) { (text) }
    }
}

fn problem_cells(row: &Row) -> Markup {
    html! {
        td { span class={ "badge " (row.outcome) } { (row.outcome) } }
        (named(row))
        td {
            @for line in happened(row) { div { (line) } }
            @for (name, value) in [("Now: ETag", &row.etag_after), ("Now: version", &row.version_after)] {
                @if !value.is_empty() { div { (name) " " code { (escape(value)) } } }
            }
        }
        td { (advice(row.outcome).unwrap_or_default()) }
    }
}

fn named(row: &Row) -> Markup {
    html! {
        td class="code" {
            (object(row))
            div class="quiet" { "from " (escape(&row.source)) ", " (escape(&row.place)) }
        }
    }
}

/// Escaped: why, and what the server answered.
fn happened(row: &Row) -> Vec<String> {
    let answer = answer(row);
    let answer = if answer.is_empty() { answer } else { format!("answer {answer}") };
    let why = why(row);
    let lines = [why.as_ref(), &answer].into_iter().filter(|line| !line.is_empty());
    lines.map(|line| escape(line).into_owned()).collect()
}

fn object(row: &Row) -> String {
    escape(&format!("s3://{}/{}", row.bucket, row.key)).into_owned()
}

const LABELS: [&str; 24] = [
    "object",
    "place",
    "answer",
    "what to do",
    "to look at what was there",
    "to get back what was there",
    "rule",
    "action",
    "reason",
    "size",
    "checksum",
    "ETag before",
    "version before",
    "ETag after",
    "version after",
    "guard",
    "attempts",
    "started",
    "took",
    "request id",
    "write id",
    "endpoint",
    "region",
    "owner",
];

fn table<'a>(groups: &Groups<'_>, several: bool) -> Table<'a> {
    let mut columns = vec![Column { name: "#", kind: Kind::Number }, Column { name: "Outcome", kind: Kind::Tag }];
    if several {
        columns.push(Column { name: "Target", kind: Kind::Choice });
    }
    columns.push(Column { name: "Key", kind: Kind::Code });
    columns.push(Column { name: "Source", kind: Kind::Code });
    columns.push(Column { name: "Size", kind: Kind::Number });
    columns.push(Column { name: "What happened", kind: Kind::Text });
    let Groups { problems, replaced, harmless, counted: _ } = groups;
    let mut rows = Vec::with_capacity(problems.len() + replaced.len() + harmless.len());
    for group in [problems, replaced] {
        let lines = group.iter().zip(0..).map(|(row, at)| line(row, several, at < HEAD_MAX + PLAIN_MAX));
        rows.extend(lines);
    }
    rows.extend(harmless.iter().map(|row| line(row, several, false)));
    Table { caption: "All rows", columns, rows, labels: LABELS.to_vec() }
}

fn line(row: &Row, several: bool, is_plain: bool) -> Line {
    let shown = |text: &str| escape(text).into_owned();
    let mut cells = vec![Cell::Number(row.entry, count(row.entry)), Cell::Text(row.outcome.name().to_owned())];
    if several {
        cells.push(Cell::Text(shown(&row.target)));
    }
    cells.push(Cell::Text(shown(&row.key)));
    cells.push(Cell::Text(shown(&row.source)));
    cells.push(match row.size_bytes {
        Some(bytes) => Cell::Number(bytes, size(bytes)),
        None => Cell::Number(0, String::new()),
    });
    cells.push(Cell::Text(shown(&why(row))));
    Line { cells, details: details(row, several), is_plain }
}

/// Everything that the report says of an entry and that neither its columns nor the head do.
fn details(row: &Row, several: bool) -> Vec<(usize, String)> {
    let mut details = Vec::new();
    let mut say = |label: &str, text: &str| {
        if let (Some(at), false) = (LABELS.iter().position(|known| *known == label), text.is_empty()) {
            details.push((at, escape(text).into_owned()));
        }
    };
    let gone = match restore(row) {
        Restore::Gone(why) => why,
        Restore::Nothing | Restore::Version { .. } => "",
    };
    say("object", &format!("s3://{}/{}", row.bucket, row.key));
    say("what to do", advice(row.outcome).unwrap_or_default());
    say("answer", &answer(row));
    say("to get back what was there", gone);
    for (label, text) in [
        ("ETag before", &row.etag_before),
        ("version before", &row.version_before),
        ("ETag after", &row.etag_after),
        ("version after", &row.version_after),
        ("checksum", &row.checksum),
    ] {
        say(label, text);
    }
    say("size", &row.size_bytes.map(|bytes| format!("{} ({} bytes)", size(bytes), count(bytes))).unwrap_or_default());
    for (label, text) in [("rule", &row.rule), ("action", &row.action), ("reason", &row.reason), ("place", &row.place)]
    {
        say(label, text);
    }
    say("guard", row.guard.map(facts::guard).unwrap_or_default());
    say("attempts", &if row.attempts == 0 { String::new() } else { row.attempts.to_string() });
    say("started", &row.started_at);
    say("took", &row.duration_ms.map(|ms| format!("{} ms", count(ms))).unwrap_or_default());
    say("request id", &row.request_id);
    say("write id", &row.write_id);
    if several {
        for (label, text) in [("endpoint", &row.endpoint), ("region", &row.region), ("owner", &row.owner)] {
            say(label, text);
        }
    }
    // A command is shown to the letter: it holds nothing that is hidden, and a doubled backslash would be another command.
    if let Restore::Version { commands: Some(commands), .. } = restore(row) {
        let at = |label| LABELS.iter().position(|known| *known == label).unwrap_or_default();
        details.push((at("to look at what was there"), commands.get));
        details.push((at("to get back what was there"), commands.copy));
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn page(rows: Vec<Row>, level: Level) -> String {
        render(&Report { rows, state: State::Finished }, level).unwrap()
    }

    /// What a browser that runs no script shows.
    fn without_data(page: &str) -> &str {
        page.split("<script type=\"application/json\"").next().unwrap()
    }

    fn data(page: &str) -> serde_json::Value {
        let from = page.split("id=\"data\">").nth(1).unwrap();
        serde_json::from_str(from.split("</script>").next().unwrap()).unwrap()
    }

    /// The page's words, a line a block: what a person reads without a script.
    fn words(page: &str) -> String {
        let body = without_data(page).split("<main>").nth(1).unwrap();
        let body = body.split("<section id=\"table\"").next().unwrap();
        let mut text = String::new();
        for piece in body.split('<') {
            let (tag, words) = piece.split_once('>').unwrap_or(("", piece));
            let is_inline = ["code", "/code", "span", "/span", "b", "/b", "strong", "/strong", "button", "/button"];
            if !is_inline.contains(&tag.split(' ').next().unwrap()) && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(words);
        }
        text
    }

    #[test]
    fn the_words_of_a_page_at_each_level() {
        for (name, level) in [("all", Level::All), ("problems", Level::Problems)] {
            insta::assert_snapshot!(name, words(&page(samples::mixed(), level)));
        }
    }

    #[test]
    fn the_table_has_problems_first_then_what_was_replaced_then_the_rest_with_every_fact() {
        let page = page(samples::mixed(), Level::All);
        let data = data(&page);
        let rows = data["rows"].as_array().unwrap();
        let outcomes: Vec<_> = rows.iter().map(|row| row["c"][1].as_str().unwrap()).collect();
        assert_eq!(
            outcomes[..11].join(" "),
            "refused lost stale source-changed failed unknown not-attempted replaced restored deleted replaced"
        );
        assert_eq!(outcomes[11..].join(" "), "created created kept unchanged");
        let text = rows[7].to_string();
        for fact in
            ["before-2", "v2-before", "after-2", "v2-after", "sha256:cdcd", "0198-run-2", "request-2", "1,500 ms"]
        {
            assert!(text.contains(fact), "{fact}: {text}");
        }
        let evil = rows[10]["c"][2].as_str().unwrap();
        assert_eq!(evil, "</script><b>=1|\\u{202e}");
    }

    #[test]
    fn no_text_is_markup_wherever_it_stands() {
        let evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;\u{202e}\u{200b}";
        let rows = samples::mixed().into_iter().map(|row| Row {
            run_id: evil.into(),
            plan_digest: evil.into(),
            place: evil.into(),
            source: evil.into(),
            target: evil.into(),
            endpoint: evil.into(),
            region: evil.into(),
            owner: evil.into(),
            bucket: evil.into(),
            key: evil.into(),
            rule: evil.into(),
            action: evil.into(),
            reason: evil.into(),
            checksum: evil.into(),
            etag_before: evil.into(),
            version_before: evil.into(),
            etag_after: evil.into(),
            version_after: format!("{evil}2"),
            started_at: evil.into(),
            error_code: evil.into(),
            message: evil.into(),
            request_id: evil.into(),
            write_id: evil.into(),
            ..row
        });
        let page = page(rows.collect(), Level::All);
        assert_eq!(page.matches("<script").count(), 2);
        let bare = page.replace("</script>", "");
        assert!(!bare.contains("<img") && !bare.contains("onerror=alert(1)>\"") && !page.contains('\u{202e}'));
    }

    #[test]
    fn of_a_long_report_what_ended_as_planned_is_counted_first_and_the_rest_never() {
        let listed = (HEAD_MAX + PLAIN_MAX) as u64;
        let outcome = |n: u64| match n {
            _ if n <= listed + 5 => Outcome::Replaced,
            _ if n <= 2 * (listed + 5) => Outcome::Failed,
            _ if n <= 2 * (listed + 5) + 60 => Outcome::Created,
            _ => Outcome::Unchanged,
        };
        let rows = (1..=2 * (listed + 5) + 60 + 41).map(|n| samples::row(n, outcome(n))).collect();
        let page = page_of(&Report { rows, state: State::Finished }, Level::All, 100).unwrap();
        assert_eq!(data(&page)["rows"].as_array().unwrap().len() as u64, 2 * (listed + 5) + 60);
        let bare = without_data(&page);
        assert!(bare.contains("41 unchanged: counted, not listed"));
        assert_eq!(bare.matches("To put it back").count() as u64, listed);
        assert_eq!(bare.matches("badge failed").count() as u64, listed);
    }

    #[test]
    fn what_was_not_finished_says_so() {
        let page = render(&Report { rows: samples::mixed(), state: State::Unfinished }, Level::All).unwrap();
        assert!(without_data(&page).contains("Not finished."));
    }
}
