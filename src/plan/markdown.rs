//! The plan as a page for a change ticket: totals and digest, then what is wrong, then what would be buried, then the
//! rest, folded. Nothing that a key or a server says can be markup.

use std::fmt::Write as _;

use crate::model::head::Seen;
use crate::model::step::{Action, Header, Step, digest_text};
use crate::model::target::{ConditionalWrites, Target};
use crate::model::text::{bytes as size, count, markdown as plain, markdown_of};

use super::fold::Reach;
use super::review::{Group, Reviewed, needs_an_eye};
use super::text::totals;
use super::words::{NOTHING_THERE, is_of_rollback, properties, subject, unguarded, why};

/// The page is shorter, in bytes as in characters: a comment on the usual forges and trackers takes no more.
pub const LIMIT_BYTES: usize = 65_535;
/// Harmless steps are listed up to here, and folded by folder beyond.
pub const FOLD_FROM: usize = 500;
/// Kept back for each later section's heading and for its word on what was cut.
const RESERVE_BYTES: usize = 400;
/// How many warnings, targets and the like the summary names.
const FACTS_MAX: usize = 10;
/// How long one of them may be.
const FACT_BYTES: usize = 1_000;

/// Renders what was reviewed. The harmless is cut first, then the rest in equal shares; the summary never. What did not
/// fit is counted where it is missing.
#[must_use]
pub fn render(reviewed: &Reviewed) -> String {
    let mut page = summary(reviewed);
    let (first, later): (Vec<_>, Vec<_>) = reviewed.groups.iter().partition(|group| needs_an_eye(group.action));
    let first: Vec<Section> = first.into_iter().map(|group| section(&reviewed.header, group)).collect();
    for (at, section) in first.iter().enumerate() {
        let after = &first[at + 1..];
        let left = left(&page, after.len() + 1 + later.len());
        // No long section may crowd the next ones out: each has its share of what is left.
        let share = left / (after.len() + 1);
        let kept: usize = after.iter().map(|section| section.needs().min(share)).sum();
        section.put(&mut page, left.saturating_sub(kept));
    }
    for (at, group) in later.iter().enumerate() {
        let left = left(&page, later.len() - at);
        section(&reviewed.header, group).put(&mut page, left);
    }
    page
}

fn left(page: &str, sections: usize) -> usize {
    LIMIT_BYTES.saturating_sub(page.len() + sections * RESERVE_BYTES)
}

fn summary(reviewed: &Reviewed) -> String {
    let Reviewed { header, footer, .. } = reviewed;
    let mut page = String::from("## noclobber plan\n\n");
    if header.undoes.is_some() {
        let _ = writeln!(page, "**{}**\n", fit(markdown_of(&subject(header))));
    }
    let _ = writeln!(page, "**{}**\n", plain(&totals(&footer.counts)));
    let _ = writeln!(page, "Digest: {}\n", code(&digest_text(&footer.digest)));
    if reviewed.is_refused() {
        page.push_str("**Refused: this plan cannot be applied as it is.**\n\n");
    }
    list(&mut page, "Refused", &header.refusals);
    list(&mut page, "Warning", &header.warnings);
    page.push_str("| | |\n|---|---|\n");
    let manifests = header.manifests.iter().map(|manifest| code(&manifest.path));
    fact(&mut page, if header.undoes.is_some() { "Report" } else { "Manifest" }, manifests);
    fact(&mut page, "Rolls back run", header.undoes.iter().map(|run| code(run)));
    let _ = writeln!(page, "| Made | {}, by {} |", fit(plain(&header.made_at)), fit(plain(&header.tool)));
    fact(&mut page, "Target", header.targets.iter().map(target));
    if header.undoes.is_none() {
        fact(&mut page, "Sources below", std::iter::once(code(&header.base)));
    }
    fact(&mut page, "Stages", header.stages.iter().map(|stage| code(stage)));
    let parameter = |(name, value): (&String, &String)| format!("{} = {}", code(name), code(value));
    fact(&mut page, "Parameters", header.parameters.iter().map(parameter));
    page
}

fn list(page: &mut String, what: &str, texts: &[String]) {
    for text in texts.iter().take(FACTS_MAX) {
        let _ = writeln!(page, "- **{what}:** {}", fit(plain(text)));
    }
    if texts.len() > FACTS_MAX {
        let more = count((texts.len() - FACTS_MAX) as u64);
        let _ = writeln!(page, "- **Cut: {more} more like it are not shown, for length.**");
    }
    if !texts.is_empty() {
        page.push('\n');
    }
}

/// One line of the summary.
fn fact(page: &mut String, name: &str, values: impl ExactSizeIterator<Item = String>) {
    let total = values.len();
    if total == 0 {
        return;
    }
    let shown: Vec<String> = values.take(FACTS_MAX).map(fit).collect();
    let more = if total > FACTS_MAX { format!("<br>and {} more", total - FACTS_MAX) } else { String::new() };
    let _ = writeln!(page, "| {name} | {}{more} |", shown.join("<br>"));
}

fn fit(text: String) -> String {
    if text.len() > FACT_BYTES { "(too long to show)".to_owned() } else { text }
}

fn target(target: &Target) -> String {
    let owner = target.owner.as_ref().map(|owner| format!(", owner {}", code(owner))).unwrap_or_default();
    let checks = match target.conditional_writes {
        ConditionalWrites::Required => "",
        ConditionalWrites::CheckFirst => ", **check-first: NOT atomic**",
    };
    let Target { name, bucket, endpoint, region, .. } = target;
    format!("{}: {} at {} in {}{owner}{checks}", code(name), code(bucket), code(endpoint), code(region))
}

/// A heading and a table, as many of whose lines are shown as fit.
struct Section {
    /// Stands before the lines, with the heading.
    head: String,
    lines: Vec<String>,
    /// Stands after the lines, whether they were cut or not.
    foot: String,
    tail: &'static str,
    /// Steps that no line is for, because they were not held.
    more: u64,
}

impl Section {
    fn needs(&self) -> usize {
        self.lines.iter().map(String::len).sum::<usize>() + self.foot.len()
    }

    fn put(&self, page: &mut String, room_bytes: usize) {
        let Self { head, lines, foot, tail, more } = self;
        page.push_str(head);
        let room_bytes = room_bytes.saturating_sub(foot.len());
        let end = page.len() + room_bytes;
        let mut shown = 0;
        for line in lines {
            if page.len() + line.len() > end {
                break;
            }
            page.push_str(line);
            shown += 1;
        }
        let cut = (lines.len() - shown) as u64 + more;
        if cut > 0 {
            let (cut, all) = (count(cut), count(lines.len() as u64 + more));
            let _ =
                write!(page, "\n**Cut: {cut} of these {all} lines are not shown, for length. The plan has them.**\n");
        }
        page.push_str(foot);
        page.push_str(tail);
    }
}

fn section(header: &Header, group: &Group) -> Section {
    let what = if header.undoes.is_some() && group.action == Action::Refuse {
        "Refused: what cannot be undone"
    } else {
        heading(group.action)
    };
    let all = count(group.count);
    let is_folded = !needs_an_eye(group.action);
    let (columns, line): (&str, fn(&Header, &Step) -> String) = match group.action {
        Action::Restore => {
            ("| # | Object | Brings back | Takes the place of | Why |\n|--:|---|---|---|---|\n", undo_line)
        }
        Action::Delete => ("| # | Object | Deletes | Why |\n|--:|---|---|---|\n", undo_line),
        Action::Refuse | Action::Replace => (
            "| # | Object | Source | Size there | Last modified | ETag | Version | Why |\n|--:|---|---|--:|---|---|---|---|\n",
            over_line,
        ),
        Action::Error => ("| # | Object | Source | What is wrong |\n|--:|---|---|---|\n", error_line),
        Action::Create | Action::Keep | Action::Unchanged => {
            ("| # | Object | Source | Size | Why |\n|--:|---|---|--:|---|\n", rest_line)
        }
    };
    let by_folder = is_folded && !group.folders.is_empty();
    let columns = if by_folder { "| Folder | Files | Size |\n|---|--:|--:|\n" } else { columns };
    let head = if is_folded {
        format!("\n<details><summary>{what} ({all})</summary>\n\n{columns}")
    } else {
        format!("\n### {what} ({all})\n\n{columns}")
    };
    let lines = if by_folder {
        folder_lines(header, group)
    } else {
        group.steps.iter().map(|step| line(header, step)).collect()
    };
    let more = if by_folder { 0 } else { group.count.saturating_sub(group.steps.len() as u64) };
    let tail = if is_folded { "\n</details>\n" } else { "" };
    Section { head, lines, foot: sets(group), tail, more }
}

fn heading(action: Action) -> &'static str {
    match action {
        Action::Refuse => "Refused: what is there may not be replaced",
        Action::Error => "In error",
        Action::Replace => "To replace: what each would bury",
        Action::Create => "To create",
        Action::Restore => "To restore: what comes back, and what it takes the place of",
        Action::Delete => "To delete: what the run created",
        Action::Keep => "Kept",
        Action::Unchanged => "Unchanged",
    }
}

/// A step that meets an object: what that is, and how to find it again.
fn over_line(header: &Header, step: &Step) -> String {
    let there = match &step.head {
        Some(Seen { etag, version, size: bytes, checksum: _, last_modified, encryption: _ }) => {
            let version = match version {
                Some(version) => code(&version.0),
                None => "none: it could not be got back".to_owned(),
            };
            let when = last_modified.as_deref().map(plain).unwrap_or_default();
            format!("{} | {when} | {} | {version}", size(*bytes), code(etag.as_str()))
        }
        None => " | | | ".to_owned(),
    };
    let is_ruled = step.action == Action::Refuse && !is_of_rollback(step);
    let rule = if is_ruled { format!("<br>overwrite: {}", step.rule) } else { String::new() };
    let ours = step.local.as_ref().map(|local| format!(", {}", size(local.size))).unwrap_or_default();
    let (object, source) = (object(header, step), source(step));
    format!("| {} | {object} | {source}{ours} | {there} | {}{rule}{} |\n", step.n, plain(&why(step)), more(step))
}

/// A rollback's step: what comes back, and what has to go for it.
fn undo_line(header: &Header, step: &Step) -> String {
    let told = |seen: &Seen| {
        let Seen { etag, version, size: bytes, checksum: _, last_modified, encryption: _ } = seen;
        let version = version.as_ref().map_or("no version".to_owned(), |id| format!("version {}", code(&id.0)));
        let when = last_modified.as_deref().map(plain).unwrap_or_default();
        format!("{version}<br>{}, {when}<br>ETag {}", size(*bytes), code(etag.as_str()))
    };
    let earlier = step.earlier.as_ref().map(|earlier| format!("{} | ", told(&earlier.seen))).unwrap_or_default();
    let there = step.head.as_ref().map_or_else(|| NOTHING_THERE.to_owned(), told);
    let object = format!("{}<br>{}", object(header, step), plain(&step.place.to_string()));
    format!("| {} | {object} | {earlier}{there} | {}{} |\n", step.n, plain(&why(step)), more(step))
}

fn error_line(header: &Header, step: &Step) -> String {
    let note = step.note.as_deref().map(plain).unwrap_or_default();
    format!("| {} | {} | {} | {note} |\n", step.n, object(header, step), source(step))
}

fn rest_line(header: &Header, step: &Step) -> String {
    let bytes = step.local.as_ref().map(|local| size(local.size)).unwrap_or_default();
    let (object, source) = (object(header, step), source(step));
    format!("| {} | {object} | {source} | {bytes} | {}{} |\n", step.n, plain(&why(step)), more(step))
}

fn folder_lines(header: &Header, group: &Group) -> Vec<String> {
    let line = |folder: &super::fold::Folder| {
        let below = match folder.reach {
            Reach::Own => "",
            Reach::Below => " in other folders",
        };
        let path = code(&format!("s3://{}/{}...", bucket(header, &folder.target), folder.path));
        format!("| {path} | {}{below} | {} |\n", count(folder.files), size(folder.bytes))
    };
    group.folders.iter().map(line).collect()
}

/// Who may read what is written, where no line says it.
fn sets(group: &Group) -> String {
    let mut text = String::new();
    if group.folders.is_empty() {
        return text;
    }
    let mut sets: Vec<_> = group.sets.by_text.iter().filter(|(set, _)| !set.is_empty()).collect();
    let more: u64 = group.sets.more + sets.iter().skip(FACTS_MAX).map(|(_, steps)| **steps).sum::<u64>();
    sets.truncate(FACTS_MAX);
    if !sets.is_empty() {
        text.push('\n');
    }
    for (set, steps) in sets {
        let _ = writeln!(text, "- {} with {}", count(*steps), fit(markdown_of(set)));
    }
    if more > 0 {
        let _ = writeln!(text, "- {} with other properties", count(more));
        for (acl, steps) in group.sets.acls.iter().take(FACTS_MAX) {
            let _ = writeln!(text, "- {} with acl: {}", count(*steps), fit(code(acl)));
        }
    }
    text
}

/// What is said of a step beyond its columns.
fn more(step: &Step) -> String {
    let mut text = String::new();
    if let Some(unguarded) = unguarded(step) {
        let _ = write!(text, "<br>**{}**", plain(unguarded));
    }
    if let Some(note) = &step.note {
        let _ = write!(text, "<br>{}", plain(note));
    }
    let with = properties(step);
    if !with.is_empty() {
        let _ = write!(text, "<br>with {}", markdown_of(&with));
    }
    text
}

fn source(step: &Step) -> String {
    let real = step.real.as_ref().map(|real| format!(" -&#62; {}", code(real))).unwrap_or_default();
    format!("{}{real}<br>{}", code(&step.source), plain(&step.place.to_string()))
}

fn object(header: &Header, step: &Step) -> String {
    let stage = step.stage.as_ref().map(|stage| format!("<br>stage {}", code(stage))).unwrap_or_default();
    format!("{}{stage}", code(&format!("s3://{}/{}", bucket(header, &step.target), step.key)))
}

fn bucket<'a>(header: &'a Header, target: &'a str) -> &'a str {
    header.targets.iter().find(|known| known.name == target).map_or(target, |known| &known.bucket)
}

/// Text in fixed width. Not a backtick span: inside one, a `|` cannot be made safe in every renderer.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<code>{}</code>", plain(text)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::file::Plan;
    use crate::plan::review::{Detail, review};
    use crate::plan::samples;

    fn page(plan: &Plan) -> String {
        render(&review(plan, Detail::Fold(FOLD_FROM)))
    }

    #[test]
    fn a_page_shows_the_summary_then_problems_then_what_is_buried_then_the_rest() {
        let mut header = samples::header();
        header.refusals.push("nightly.yaml: 2 replaces; its limit is 1".into());
        header.warnings.push("two keys differ in case alone".into());
        insta::assert_snapshot!(page(&samples::plan(header, samples::steps())));
    }

    #[test]
    fn a_long_page_is_cut_where_it_is_harmless_first_and_says_what_was_cut() {
        let key = |n: u64| format!("{}/{n}.csv", "long-folder-name/".repeat(20));
        let step = |n: u64| {
            let action = match n {
                ..=5_000 => Action::Replace,
                5_001..=5_010 => Action::Refuse,
                _ => Action::Create,
            };
            samples::step(n, &key(n), action)
        };
        let page = page(&samples::plan(samples::header(), (1..=5_400).map(step).collect()));
        assert!(page.len() < LIMIT_BYTES && page.len() > LIMIT_BYTES - 4_000, "{}", page.len());
        assert!(page.contains("**Plan: 390 to create, 5,000 to replace"), "{page}");
        let lines = |what: &str| page.lines().filter(|line| line.starts_with("| 5") && line.contains(what)).count();
        assert_eq!(lines("overwrite: never<"), 0);
        // Few refusals are all there, replaces as many as fit, and creates are counted.
        assert_eq!(page.matches("<br>overwrite: never |").count(), 10);
        let shown = page.matches("overwrite: if-changed |").count() as u64;
        assert!(shown > 40, "{shown}");
        let cut = format!("**Cut: {} of these 5,000 lines are not shown", count(5_000 - shown));
        assert!(page.contains(&cut), "{cut}\n{page}");
        assert!(page.contains("<summary>To create (390)</summary>") && page.ends_with("</details>\n"));
    }

    #[test]
    fn a_header_too_long_for_any_page_does_not_break_it() {
        let long = "|`<".repeat(5_000);
        let mut plan = samples::said_everywhere(&long);
        plan.header.refusals = vec![long.clone(); 3_000];
        plan.header.warnings = vec!["|".repeat(150); 3_000];
        let page = page(&plan);
        assert!(page.len() < LIMIT_BYTES, "{}", page.len());
        assert!(page.contains("**Cut: 2,990 more like it"));
        assert!(page.contains("**Cut: 1 of these 1 lines"));
    }

    #[test]
    fn a_fold_says_who_may_read_what_is_written() {
        let mut steps: Vec<Step> = (1..=1_000).map(|n| samples::step(n, &format!("in/{n}"), Action::Create)).collect();
        steps[700].properties = std::sync::Arc::new(crate::model::entry::Properties {
            acl: Some("public-read".into()),
            ..Default::default()
        });
        let page = page(&samples::plan(samples::header(), steps));
        assert!(page.contains("| <code>s3&#58;//reports/in/...</code> | 1,000 | "), "{page}");
        assert!(page.contains("\n- 1 with acl: public-read\n"), "{page}");
    }

    proptest! {
        #[test]
        fn no_text_can_add_a_cell_a_row_or_a_tag(evil in "[|`<>&\\\\\r\n\t*_~#!\\[\\](){}:/.@a-c \u{202e}\u{2028}]{0,40}") {
            for said in [samples::said_everywhere, samples::said_everywhere_of_undo] {
            let page = page(&said(&evil));
            let model = self::page(&said("tame"));
            // An empty value may leave a fact out, never add a line.
            prop_assert!(page.lines().count() <= model.lines().count());
            let cells = |page: &str| {
                let rows = page.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
                rows.map(|line| line.matches('|').count()).collect::<Vec<_>>()
            };
            prop_assert_eq!(cells(&page), cells(&model));
            for line in page.lines() {
                let tags = ["<code>", "</code>", "<br>", "<details>", "</details>", "<summary>", "</summary>"];
                let bare = tags.iter().fold(line.to_owned(), |line, tag| line.replace(tag, ""));
                prop_assert!(!bare.contains(['<', '>', '`', '@']), "{}", bare);
            }
            }
        }
    }

    #[test]
    fn a_rollback_says_what_comes_back_and_what_goes() {
        insta::assert_snapshot!(page(&samples::plan(samples::undoing(), samples::undo())));
    }
}
