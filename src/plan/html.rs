//! The plan as one HTML file for a reviewer: totals and digest, what is wrong, what would be buried, and every row that
//! is worth a look in a table.

use maud::{Markup, html};

use crate::model::entry::Properties;
use crate::model::head::Seen;
use crate::model::step::{Action, Counts, Header, Step, digest_text};
use crate::model::target::ConditionalWrites;
use crate::model::text::{bytes as size, count, escape};
use crate::page::{self, Cell, Column, Kind, Page, Row, Table};

use super::fold::Reach;
use super::review::{Group, Reviewed, Told, needs_an_eye};
use super::text::totals;
use super::words::{NOTHING_THERE, brings_back, buried, encryption, properties, subject, unguarded, why};

/// So many harmless rows are listed. Of a longer plan the unchanged are counted, then the kept, then the creates.
pub const ROWS_MAX: usize = 20_000;
/// So many refusals, errors and replaces stand on the page where no script runs, and in print.
const PLAIN_MAX: usize = 2_000;

/// Renders what was reviewed.
pub fn render(reviewed: &Reviewed) -> Result<String, serde_json::Error> {
    let listed = listed(reviewed);
    let plain: usize = reviewed.groups.iter().filter(|group| needs_an_eye(group.action)).map(|g| g.steps.len()).sum();
    let title = format!("Plan {}", &digest_text(&reviewed.footer.digest)[..19]);
    let table = table(reviewed, &listed);
    let page = Page { title: &title, head: head(reviewed, &listed), plain: plain_rows(reviewed, plain), table };
    page::render(&page)
}

/// The groups whose steps are listed: what needs an eye always, of the rest what fits, the creates first.
fn listed(reviewed: &Reviewed) -> Vec<&Group> {
    let mut room = ROWS_MAX;
    let fits = |group: &&Group| {
        if needs_an_eye(group.action) {
            room = room.saturating_sub(group.steps.len());
            return true;
        }
        let is_listed = group.told == Told::Each && group.steps.len() <= room;
        if is_listed {
            room -= group.steps.len();
        }
        is_listed
    };
    reviewed.groups.iter().filter(fits).collect()
}

fn head(reviewed: &Reviewed, listed: &[&Group]) -> Markup {
    let Reviewed { header, footer, groups } = reviewed;
    html! {
        header {
            @if header.undoes.is_some() { h1 { "Rollback for review" } } @else { h1 { "Plan for review" } }
            @if header.undoes.is_some() { p { (subject(header)) } }
            p class="quiet" { (totals(&footer.counts)) }
        }
        (cards(&footer.counts))
        div class="digest" {
            span class="quiet" { "Digest" }
            code id="digest" { (digest_text(&footer.digest)) }
            button class="copy" type="button" data-from="digest" hidden { "Copy" }
        }
        @if reviewed.is_refused() {
            p class="note bad" { strong { "Refused." } " This plan cannot be applied as it is." }
        }
        @for refusal in &header.refusals { p class="note bad" { (escape(refusal)) } }
        @for warning in &header.warnings { p class="note warn" { "Warning: " (escape(warning)) } }
        (facts(header))
        @for group in groups { (counted(header, group, listed)) }
    }
}

fn cards(counts: &Counts) -> Markup {
    let Counts { create, replace, restore, delete, unchanged, keep, refuse, error, by_claim, bytes } = *counts;
    let card = |class: &str, what: &str, number: String| html! { li class=(class) { b { (number) } (what) } };
    let class = |class: &'static str, count: u64| if count > 0 { class } else { "" };
    html! {
        ul class="cards" {
            (card(class("bad", refuse), "refused", count(refuse)))
            (card(class("bad", error), "in error", count(error)))
            (card(class("warn", replace), "to replace", count(replace)))
            (card(class("good", create), "to create", count(create)))
            @if restore > 0 { (card("warn", "to restore", count(restore))) }
            @if delete > 0 { (card("warn", "to delete", count(delete))) }
            (card("", "kept", count(keep)))
            (card("", "unchanged", count(unchanged)))
            @if by_claim > 0 { (card("warn", "unchanged by claim alone", count(by_claim))) }
            (card("", "to upload", size(bytes)))
        }
    }
}

fn facts(header: &Header) -> Markup {
    html! {
        dl {
            @let what = if header.undoes.is_some() { "Report" } else { "Manifest" };
            @for manifest in &header.manifests { dt { (what) } dd class="code" { (escape(&manifest.path)) } }
            @if let Some(run) = &header.undoes { dt { "Rolls back run" } dd class="code" { (escape(run)) } }
            dt { "Made" } dd { (escape(&header.made_at)) " by " (escape(&header.tool)) }
            @for target in &header.targets {
                dt { "Target " (escape(&target.name)) }
                dd {
                    code { "s3://" (escape(&target.bucket)) } " at " code { (escape(&target.endpoint)) }
                    " in " (escape(&target.region))
                    @if let Some(owner) = &target.owner { ", owner " (escape(owner)) }
                    @if target.conditional_writes == ConditionalWrites::CheckFirst {
                        ", " span class="badge bad" { "check-first: a HEAD stands in for the precondition; NOT atomic" }
                    }
                    @if !target.trust_metadata { ", trust_metadata: false" }
                }
            }
            @if header.undoes.is_none() { dt { "Sources below" } dd class="code" { (escape(&header.base)) } }
            @if !header.stages.is_empty() {
                dt { "Stages" } dd { (header.stages.iter().map(|stage| escape(stage)).collect::<Vec<_>>().join(", then ")) }
            }
            @for (name, value) in &header.parameters {
                dt { "Parameter " (escape(name)) } dd class="code" { (escape(value)) }
            }
        }
    }
}

/// What of a group is on no row: how many steps, and where. And what a whole group gives its objects.
fn counted(header: &Header, group: &Group, listed: &[&Group]) -> Markup {
    let is_listed = listed.iter().any(|one| one.action == group.action);
    let held = if is_listed { group.steps.len() as u64 } else { 0 };
    let missing = group.count.saturating_sub(held);
    let sets: Vec<_> = group.sets.by_text.iter().filter(|(text, _)| !text.is_empty()).take(40).collect();
    let named: u64 =
        group.sets.by_text.get("").copied().unwrap_or(0) + sets.iter().map(|(_, steps)| **steps).sum::<u64>();
    html! {
        @if missing > 0 {
            section {
                h2 { (count(missing)) " of " (count(group.count)) " " (heading(group.action)) ": counted, not listed" }
                @if !group.folders.is_empty() {
                    table {
                        thead { tr { th { "Folder" } th class="number" { "Files" } th class="number" { "Size" } } }
                        tbody {
                            @for folder in &group.folders {
                                tr {
                                    td class="code" {
                                        @if header.targets.len() > 1 { (escape(&folder.target)) ":" }
                                        (escape(&folder.path)) "…"
                                        @if folder.reach == Reach::Below { " and other folders below" }
                                    }
                                    td class="number" { (count(folder.files)) }
                                    td class="number" { (size(folder.bytes)) }
                                }
                            }
                        }
                    }
                }
                @for (text, steps) in &sets { p { (count(**steps)) " with " code { (text) } } }
                @if named < group.count {
                    p { (count(group.count - named)) " with other properties" }
                    @for (acl, steps) in &group.sets.acls { p { (count(*steps)) " with acl: " code { (escape(acl)) } } }
                }
            }
        }
    }
}

fn heading(action: Action) -> &'static str {
    match action {
        Action::Refuse => "refused",
        Action::Error => "in error",
        Action::Replace => "to replace",
        Action::Restore => "to restore",
        Action::Delete => "to delete",
        Action::Create => "to create",
        Action::Keep => "kept",
        Action::Unchanged => "unchanged",
    }
}

/// Refusals, errors and replaces for whoever has no script, and for paper.
fn plain_rows(reviewed: &Reviewed, all: usize) -> Markup {
    let mut room = PLAIN_MAX;
    html! {
        @for group in reviewed.groups.iter().filter(|group| needs_an_eye(group.action)) {
            section {
                h2 { (count(group.count)) " " (heading(group.action)) }
                table {
                    thead { tr { th class="number" { "#" } th { "Object" } th { "Source" } th { "What is known" } } }
                    tbody {
                        @for step in first(group, &mut room) {
                            tr {
                                td class="number" { (step.n) }
                                td class="code" { (object(reviewed, step)) }
                                td class="code" { (escape(&step.source)) }
                                td { @for line in known(step) { div { (line) } } }
                            }
                        }
                    }
                }
            }
        }
        @if all > PLAIN_MAX { p { "The first " (count(PLAIN_MAX as u64)) " of these rows stand here." } }
    }
}

/// So many of a group's steps as there is room for.
fn first<'a>(group: &'a Group, room: &mut usize) -> &'a [Step] {
    let taken = group.steps.len().min(*room);
    *room -= taken;
    group.steps.get(..taken).unwrap_or_default()
}

/// Escaped: what a reviewer must know of a step that needs an eye.
fn known(step: &Step) -> Vec<String> {
    let mut lines: Vec<String> = brings_back(step).into_iter().collect();
    match &step.head {
        Some(head) => {
            let verb = match step.action {
                Action::Replace => "Buries",
                Action::Restore => "Takes the place of",
                Action::Delete => "Deletes",
                Action::Create | Action::Unchanged | Action::Keep | Action::Refuse | Action::Error => "Is there:",
            };
            lines.push(format!("{verb} {}", buried(head)));
            lines.push(why(step));
        }
        None if step.action == Action::Restore => lines.push(format!("Takes the place of {NOTHING_THERE}")),
        None => {}
    }
    lines.extend(unguarded(step).map(str::to_owned));
    lines.extend(step.note.as_ref().map(|note| escape(note).into_owned()));
    let with = properties(step);
    if !with.is_empty() {
        lines.push(format!("with {with}"));
    }
    lines.push(escape(&step.place.to_string()).into_owned());
    lines
}

fn object(reviewed: &Reviewed, step: &Step) -> String {
    if reviewed.header.targets.len() == 1 {
        return escape(step.key.as_str()).into_owned();
    }
    format!("{}:{}", escape(&step.target), escape(step.key.as_str()))
}

const LABELS: [&str; 28] = [
    "place",
    "real path",
    "rule",
    "why",
    "note",
    "ETag before",
    "version before",
    "size before",
    "last modified before",
    "encryption before",
    "checksum before",
    "size",
    "modified",
    "checksum",
    "content_type",
    "properties",
    "object",
    "source",
    "number",
    "stage",
    "target",
    "proof",
    "version that comes back",
    "its ETag",
    "its size",
    "its date",
    "its checksum",
    "guard",
];

fn table<'a>(reviewed: &'a Reviewed, listed: &[&'a Group]) -> Table<'a> {
    let header = &reviewed.header;
    let (several, staged) = (header.targets.len() > 1, !header.stages.is_empty());
    let mut columns = vec![Column { name: "#", kind: Kind::Number }, Column { name: "Action", kind: Kind::Tag }];
    if several {
        columns.push(Column { name: "Target", kind: Kind::Choice });
    }
    if staged {
        columns.push(Column { name: "Stage", kind: Kind::Choice });
    }
    columns.push(Column { name: "Key", kind: Kind::Code });
    columns.push(Column { name: "Source", kind: Kind::Code });
    columns.push(Column { name: "Size", kind: Kind::Number });
    columns.push(Column { name: "Why", kind: Kind::Text });
    let mut rows = Vec::new();
    for group in listed {
        for step in &group.steps {
            let is_plain = needs_an_eye(group.action) && rows.len() < PLAIN_MAX;
            rows.push(row(header, step, (several, staged), is_plain));
        }
    }
    Table { caption: "All rows", columns, rows, labels: LABELS.to_vec() }
}

fn row(header: &Header, step: &Step, (several, staged): (bool, bool), is_plain: bool) -> Row {
    let shown = |text: &str| escape(text).into_owned();
    let mut cells = vec![Cell::Number(step.n, count(step.n)), Cell::Text(step.action.name().to_owned())];
    if several {
        cells.push(Cell::Text(shown(&step.target)));
    }
    if staged {
        cells.push(Cell::Text(step.stage.as_deref().map(shown).unwrap_or_default()));
    }
    cells.push(Cell::Text(shown(step.key.as_str())));
    cells.push(Cell::Text(shown(&step.source)));
    cells.push(match step.size() {
        Some(bytes) => Cell::Number(bytes, size(bytes)),
        None => Cell::Number(0, String::new()),
    });
    cells.push(Cell::Text(why(step)));
    Row { cells, details: details(header, step), is_plain }
}

/// Everything that the plan says of a step and that its columns do not.
fn details(header: &Header, step: &Step) -> Vec<(usize, String)> {
    let shown = |text: &str| escape(text).into_owned();
    let exact = |bytes: u64| format!("{} ({} bytes)", size(bytes), count(bytes));
    let Step {
        n: _,
        place,
        source: _,
        real,
        target,
        key,
        rule,
        stage: _,
        action: _,
        reason: _,
        proof: _,
        note,
        properties: given,
        local,
        head,
        earlier,
        guard,
    } = step;
    let mut details = Vec::new();
    let mut say = |label: &str, text: Option<String>| {
        if let (Some(at), Some(text)) = (LABELS.iter().position(|known| *known == label), text) {
            details.push((at, text));
        }
    };
    let bucket = header.targets.iter().find(|known| *known.name == **target).map_or("", |known| &*known.bucket);
    say("object", Some(shown(&format!("s3://{bucket}/{key}"))));
    say("note", note.as_deref().map(shown));
    if let Some(Seen { etag, version, size: bytes, checksum, last_modified, encryption: _ }) =
        earlier.as_ref().map(|earlier| &earlier.seen)
    {
        say("version that comes back", version.as_ref().map(|id| shown(&id.0)));
        say("its ETag", Some(shown(etag.as_str())));
        say("its size", Some(exact(*bytes)));
        say("its date", last_modified.as_deref().map(shown));
        say("its checksum", checksum.as_deref().map(shown));
    }
    say("guard", guard.map(|guard| unguarded(step).unwrap_or(guard.name()).to_owned()));
    if let Some(head) = head {
        say("ETag before", Some(shown(head.etag.as_str())));
        say(
            "version before",
            Some(head.version.as_ref().map_or("none: it could not be got back".to_owned(), |id| shown(&id.0))),
        );
        say("size before", Some(exact(head.size)));
        say("last modified before", head.last_modified.as_deref().map(shown));
        say("encryption before", Some(encryption(&head.encryption).to_owned()));
        say("checksum before", head.checksum.as_deref().map(shown));
    }
    if let Some(local) = local {
        say("size", Some(exact(local.size)));
        say("modified", Some(shown(&local.mtime)));
        say("checksum", local.checksum.map(|checksum| checksum.to_string()));
    }
    let Properties { content_type, .. } = &**given;
    say("content_type", content_type.as_deref().map(shown));
    say("properties", Some(properties(step)).filter(|text| !text.is_empty()));
    say("real path", real.as_deref().map(shown));
    say("rule", Some(rule.to_string()));
    say("place", Some(shown(&place.to_string())));
    details
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::file::Plan;
    use crate::plan::review::{Detail, review};
    use crate::plan::samples;

    fn page(plan: &Plan) -> String {
        render(&review(plan, Detail::Fold(ROWS_MAX))).unwrap()
    }

    /// What a browser that runs no script shows.
    fn without_data(page: &str) -> &str {
        page.split("<script type=\"application/json\"").next().unwrap()
    }

    fn data(page: &str) -> serde_json::Value {
        let from = page.split("id=\"data\">").nth(1).unwrap();
        serde_json::from_str(from.split("</script>").next().unwrap()).unwrap()
    }

    #[test]
    fn without_a_script_the_summary_and_what_needs_an_eye_are_there() {
        let mut header = samples::header();
        header.refusals.push("nightly.yaml: 2 replaces; its limit is 1".into());
        let page = page(&samples::plan(header, samples::steps()));
        let bare = without_data(&page);
        for text in [
            "1 to replace",
            "in/replace.csv",
            "in/refuse.csv",
            "in/error.csv",
            "its limit is 1",
            "sha256:abab",
            "etag2",
        ] {
            assert!(bare.contains(text), "{text}");
        }
        assert!(!bare.contains("in/keep.csv"));
        let actions: Vec<_> = data(&page)["rows"].as_array().unwrap().iter().map(|row| row["c"][1].clone()).collect();
        assert_eq!(actions, ["refuse", "error", "replace", "create", "keep", "unchanged"]);
    }

    #[test]
    fn without_a_script_a_rollback_says_what_comes_back_and_what_goes() {
        let page = page(&samples::plan(samples::undoing(), samples::undo()));
        let bare = without_data(&page);
        for text in [
            "Rollback of run 0198-run (report report.csv)",
            "Rolls back run",
            "brings back 11 B of 2025-12-31T23:59:59Z, ETag etag2-before, version v2-before",
            "Takes the place of 9 B of 2025-12-31T23:59:59Z, ETag etag2, version v2",
            "Takes the place of nothing: it must still be absent",
            "check-first: a look just before it stands in for the precondition; NOT atomic",
            "Deletes 9 B of",
            "a delete marker will stand over it; version v1 stays",
            "it was written since the run",
        ] {
            assert!(bare.contains(text), "{text}");
        }
        assert!(!bare.contains("Sources below"));
        let (data, labels) = (data(&page), LABELS.map(str::to_owned));
        let rows = data["rows"].as_array().unwrap();
        let restore = rows.iter().find(|row| row["c"][2] == "in/replaced.csv").unwrap().to_string();
        assert!(restore.contains("v2-before") && restore.contains("atomic"), "{restore} {labels:?}");
    }

    #[test]
    fn no_text_is_markup_and_hidden_characters_are_spelled_out() {
        let evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;\u{202e}\u{200b}";
        for said in [samples::said_everywhere_of_undo, samples::said_everywhere] {
            let page = page(&said(evil));
            let bare = page.replace("</script>", "");
            assert_eq!(page.matches("<script").count(), 2);
            assert!(!bare.contains("<img") && !bare.contains("onerror=alert(1)>\"") && !page.contains('\u{202e}'));
        }
        let page = page(&samples::said_everywhere(evil));
        let rows = data(&page);
        let key = rows["rows"][0]["c"][3].as_str().unwrap();
        assert_eq!(key, format!("{}\\u{{202e}}\\u{{200b}}", evil.trim_end_matches(['\u{202e}', '\u{200b}'])));
    }

    #[test]
    fn of_a_long_plan_the_unchanged_go_first_and_what_needs_an_eye_never() {
        let step = |n: u64| {
            let action = match n {
                ..=2_500 => Action::Replace,
                2_501..=18_000 => Action::Create,
                18_001..=19_000 => Action::Keep,
                _ => Action::Unchanged,
            };
            samples::step(n, &format!("in/{n}"), action)
        };
        let page = page(&samples::plan(samples::header(), (1..=21_500).map(step).collect()));
        assert_eq!(data(&page)["rows"].as_array().unwrap().len(), 19_000);
        let bare = without_data(&page);
        assert!(bare.contains("2,500 of 2,500 unchanged: counted, not listed"), "{}", &bare[bare.len() - 3_000..]);
        assert!(bare.contains("The first 2,000 of these rows stand here."));
        assert_eq!(bare.matches("Buries").count(), 2_000);
    }
}
