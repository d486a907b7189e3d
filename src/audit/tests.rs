//! The truth tables of this room, and what it shows.

use super::chain::later;
use super::claim::names_one_write;
use super::judge::{is_it, may_be, run_of, settle, writer};
use super::samples::{FIRST, SECOND, THIRD, audit, every_state, given, head, row, unversioned};
use super::*;
use crate::model::row::Row;

/// The one claim of one row.
fn claim_of(row: &Row) -> Claim {
    let audit = audit(&[std::slice::from_ref(row)]);
    audit.subjects[0].claims[0].clone()
}

fn created() -> Row {
    Row { entry: 1, ..row(FIRST, 1, Outcome::Created, "a", "") }
}

fn own() -> String {
    format!("{FIRST}-1")
}

fn now(head: &Head) -> Now<'_> {
    Now::There(head)
}

const OTHER: Held = Held::Other { same_bytes: false };
const SAME: Held = Held::Other { same_bytes: true };

#[test]
fn where_both_sides_have_a_version_it_alone_decides() {
    let claim = claim_of(&created());
    let ours = head("a", Some(&own()));
    assert_eq!(hold(&claim, now(&ours)), Held::Intact(Proof::Version));
    // Tags and storage class can change under a version; its id cannot be given twice.
    let bare = Head { write_id: None, last_modified: Some("2030-01-01T00:00:00Z".into()), ..ours.clone() };
    assert_eq!(hold(&claim, now(&bare)), Held::Intact(Proof::Version));
    // A copy over itself keeps ETag, size, write id, and may keep the second.
    let copy = Head { version: Some(VersionId("v-copy".into())), ..ours.clone() };
    assert_eq!(hold(&claim, now(&copy)), SAME);
    // Versioning was suspended since, and the same bytes were written.
    let suspended = Head { version: Some(VersionId("null".into())), ..ours };
    assert_eq!(hold(&claim, now(&suspended)), SAME);
    assert_eq!(hold(&claim, now(&head("b", None))), OTHER);
}

#[test]
fn without_versions_etag_size_write_id_and_time_decide_together() {
    for null in [None, Some(VersionId("null".into()))] {
        let mut row = unversioned(created());
        row.version_after = null.as_ref().map(|id| id.0.clone()).unwrap_or_default();
        let claim = claim_of(&row);
        let ours = Head { version: null.clone(), ..head("a", Some(&own())) };
        let at = |time: &str| Head { last_modified: Some(time.into()), ..ours.clone() };
        let cases = [
            (ours.clone(), Held::Intact(Proof::WriteId)),
            (Head { last_modified: None, ..ours.clone() }, Held::Intact(Proof::WriteId)),
            (Head { write_id: None, ..ours.clone() }, SAME),
            (Head { write_id: Some(format!("{FIRST}-2")), ..ours.clone() }, SAME),
            (Head { size: 1, ..ours.clone() }, OTHER),
            (Head { etag: ETag::new("other"), ..ours.clone() }, OTHER),
            // The row ended at 02:00:02; clocks may differ by a minute.
            (at("2026-07-01T02:01:02Z"), Held::Intact(Proof::WriteId)),
            (at("2026-07-01T02:01:03Z"), SAME),
            (at("2026-06-30T00:00:00Z"), Held::Intact(Proof::WriteId)),
        ];
        for (head, held) in cases {
            assert_eq!(hold(&claim, now(&head)), held, "{null:?} {head:?}");
        }
    }
}

#[test]
fn what_a_run_left_unchanged_is_known_by_what_it_saw_before_it_began() {
    let row = Row { write_id: String::new(), ..row(FIRST, 1, Outcome::Unchanged, "", "a") };
    let claim = claim_of(&row);
    assert_eq!(hold(&claim, now(&head("a", Some("anybody's")))), Held::Intact(Proof::Version));
    assert_eq!(hold(&claim, now(&head("b", None))), OTHER);
    // A listing told no version: the ETag, and that it is no younger than the run. Its id says when that began.
    let claim = claim_of(&unversioned(row));
    let began = jiff::Timestamp::from_second(claim.until.unwrap()).unwrap();
    let at = |seconds: i64| {
        let time = jiff::Timestamp::from_second(began.as_second() + seconds).unwrap();
        Head { last_modified: Some(time.to_string()), ..head("a", None) }
    };
    assert_eq!(hold(&claim, now(&at(60))), Held::Intact(Proof::Etag));
    assert_eq!(hold(&claim, now(&at(61))), SAME);
    assert_eq!(hold(&claim, now(&head("b", None))), OTHER);
}

#[test]
fn what_is_absent_or_could_not_be_looked_at_is_never_intact() {
    for row in [created(), unversioned(created())] {
        let claim = claim_of(&row);
        assert_eq!(hold(&claim, Now::Absent), Held::Absent);
        assert_eq!(hold(&claim, Now::Unseen), Held::NotAllowed);
        assert_eq!(hold(&claim, Now::Failed("timeout")), Held::Unreachable);
    }
    let nothing = Claim { wanted: Wanted::Nothing { was: None }, ..claim_of(&created()) };
    assert_eq!(hold(&nothing, Now::Absent), Held::Intact(Proof::Absent));
    assert_eq!(hold(&nothing, now(&head("a", None))), OTHER);
    assert_eq!(hold(&nothing, Now::Unseen), Held::NotAllowed);
    assert_eq!(hold(&nothing, Now::Failed("timeout")), Held::Unreachable);
}

#[test]
fn a_listing_is_believed_only_within_the_rows_own_time() {
    let etag = ETag::new("etag-a");
    let seen = |modified: Option<&str>| Glimpse {
        etag: &etag,
        size: 1536,
        modified: modified.map(|time| time.parse::<jiff::Timestamp>().unwrap().as_second()),
    };
    // Begun at 02:00:00.5, ended at 02:00:02.0.
    let claim = claim_of(&created());
    for (modified, believed) in [
        ("2026-07-01T01:59:59Z", false),
        ("2026-07-01T02:00:00Z", true),
        ("2026-07-01T02:00:02Z", true),
        ("2026-07-01T02:00:03Z", false),
    ] {
        assert_eq!(glance(&claim, Some(seen(Some(modified)))), believed, "{modified}");
    }
    let good = seen(Some("2026-07-01T02:00:01Z"));
    assert!(glance(&claim, Some(good)));
    let other = ETag::new("etag-b");
    assert!(!glance(&claim, Some(Glimpse { etag: &other, ..good })));
    assert!(!glance(&claim, Some(Glimpse { size: 1, ..good })));
    assert!(!glance(&claim, Some(seen(None))));
    assert!(!glance(&claim, None));
    // Settled on the way to an end: such a row does not say when it was written.
    let timeless = claim_of(&Row { started_at: String::new(), duration_ms: None, ..created() });
    assert!(!glance(&timeless, Some(good)));
    // What was there before the run may be as old as it likes, and no younger.
    let unchanged = claim_of(&unversioned(row(FIRST, 1, Outcome::Unchanged, "", "a")));
    let until = unchanged.until;
    assert!(glance(&unchanged, Some(Glimpse { modified: Some(0), ..good })));
    assert!(glance(&unchanged, Some(Glimpse { modified: until, ..good })));
    assert!(!glance(&unchanged, Some(Glimpse { modified: until.map(|until| until + 1), ..good })));
    let named = claim_of(&row(FIRST, 1, Outcome::Unchanged, "", "a"));
    assert!(!glance(&named, Some(Glimpse { modified: Some(0), ..good })));
    let nothing = Claim { wanted: Wanted::Nothing { was: None }, ..claim };
    assert!(glance(&nothing, None) && !glance(&nothing, Some(good)));
    // Nothing was there that a rollback had to undo.
    let undone =
        Row { etag_before: String::new(), version_before: String::new(), ..row(FIRST, 1, Outcome::Unchanged, "", "") };
    let undone = claim_of(&undone);
    assert!(glance(&undone, None) && !glance(&undone, Some(good)));
}

#[test]
fn an_old_version_is_the_rows_by_everything_that_is_known_of_it() {
    let claim = claim_of(&unversioned(created()));
    let (id, etag) = (VersionId("null".into()), ETag::new("etag-a"));
    let time = Some("2026-07-01T02:00:01Z");
    assert!(may_be(&claim, &id, Some(&etag), time));
    assert!(!may_be(&claim, &id, None, time), "a delete marker");
    assert!(!may_be(&claim, &id, Some(&ETag::new("etag-b")), time));
    assert!(!may_be(&claim, &id, Some(&etag), Some("2026-07-02T00:00:00Z")));
    let unnamed = |write_id: Option<&str>| Head { version: Some(id.clone()), ..head("a", write_id) };
    assert!(is_it(&claim, &unnamed(Some(&own()))));
    assert!(!is_it(&claim, &unnamed(None)));
    // The bucket gave the run no version: what has one of its own was written since, the write id copied or not.
    assert!(!is_it(&claim, &head("a", Some(&own()))));
    let held = hold(&claim, Now::There(&head("a", Some(&own()))));
    assert_eq!(held, Held::Other { same_bytes: true });
    let named = claim_of(&Row { version_after: "null".into(), ..created() });
    assert!(may_be(&named, &id, Some(&etag), time) && !may_be(&named, &VersionId("v".into()), Some(&etag), time));
    assert!(!names_one_write(&id) && names_one_write(&VersionId("v".into())));
}

#[test]
fn a_writer_is_named_by_a_write_id_that_a_run_can_have_made() {
    let rows = [created(), Row { key: created().key, ..row(SECOND, 1, Outcome::Replaced, "b", "a") }];
    let audit = audit(&[&rows[..1], &rows[1..]]);
    let subject = &audit.subjects[0];
    assert_eq!(subject.claims.len(), 2);
    let by = |write_id: Option<&str>| writer(&audit, subject, &subject.claims[0], &Current::of(&head("b", write_id)));
    assert_eq!(by(None), Writer::Stranger);
    assert_eq!(by(Some(&own())), Writer::Copy);
    let known = Some(("nightly.yaml:1".to_owned(), Outcome::Replaced));
    assert_eq!(by(Some(&format!("{SECOND}-1"))), Writer::Run { run_id: SECOND.into(), row: known });
    assert_eq!(by(Some(&format!("{THIRD}-1"))), Writer::Run { run_id: THIRD.into(), row: None });
    for odd in ["", "x", "-1", THIRD, &format!("{THIRD}-"), &format!("{THIRD}-x")] {
        assert_eq!(by(Some(odd)), Writer::Odd(odd.to_owned()));
        assert_eq!(run_of(odd), None);
    }
}

#[test]
fn a_row_in_doubt_is_stored_only_where_its_write_id_and_size_are() {
    let audit = audit(&[&[row(FIRST, 1, Outcome::Unknown, "", "")]]);
    let doubt = &audit.subjects[0].doubts[0];
    assert_eq!(settle(doubt, now(&head("a", Some(&own())))), Settled::Stored);
    let torn = Head { size: 1, ..head("a", Some(&own())) };
    for (now, settled) in [
        (now(&torn), Settled::NotCurrent),
        (now(&head("a", None)), Settled::NotCurrent),
        (Now::Absent, Settled::NotCurrent),
        (Now::Unseen, Settled::NotKnown),
        (Now::Failed(""), Settled::NotKnown),
    ] {
        assert_eq!(settle(doubt, now), settled, "{now:?}");
    }
}

/// What three runs make of the first one's row.
fn chained(rows: &[Row]) -> Option<(State, Option<Met>)> {
    let reports: Vec<_> = rows.iter().map(std::slice::from_ref).collect();
    let mut audit = audit(&reports);
    audit.since(FIRST).unwrap();
    let verdict = later(&audit, &audit.subjects[0], 0)?;
    Some((verdict.state, verdict.finding.unwrap().later.unwrap().met))
}

#[test]
fn what_a_later_run_replaced_is_superseded_only_where_it_found_what_was_left() {
    let second = |outcome, left: &str, before: &str| row(SECOND, 1, outcome, left, before);
    let third = |before: &str| row(THIRD, 1, Outcome::Replaced, "c", before);
    let met = |name: &str| Met::Object(ETag::new(&format!("etag-{name}")), Some(VersionId(format!("v-{name}"))));
    let (replaced, unchanged, created_anew) = (Outcome::Replaced, Outcome::Unchanged, Outcome::Created);
    let superseded = Some((State::Superseded, None));
    for (rows, found) in [
        (vec![second(replaced, "b", "a")], superseded.clone()),
        (vec![second(replaced, "b", "x")], Some((State::Overwritten, Some(met("x"))))),
        (vec![second(created_anew, "b", "")], Some((State::Deleted, Some(Met::Nothing)))),
        // Nobody wrote: the bucket decides.
        (vec![second(unchanged, "", "a")], None),
        (vec![second(unchanged, "", "a"), third("a")], superseded.clone()),
        (vec![second(unchanged, "", "x"), third("x")], Some((State::Overwritten, Some(met("x"))))),
        (vec![second(unchanged, "", "a"), third("x")], Some((State::Overwritten, Some(met("x"))))),
        // The second run's row is superseded or not by itself.
        (vec![second(replaced, "b", "a"), third("b")], superseded.clone()),
        (vec![second(replaced, "b", "a"), third("x")], superseded.clone()),
        (vec![], None),
    ] {
        let rows: Vec<Row> = std::iter::once(created()).chain(rows).collect();
        assert_eq!(chained(&rows), found, "{rows:#?}");
    }
    // What a rollback did was done on purpose too, and what comes after it is held to what it left.
    let deleted = || second(Outcome::Deleted, "marker", "a");
    for (rows, found) in [
        (vec![second(Outcome::Restored, "b", "a")], superseded.clone()),
        (vec![deleted()], superseded.clone()),
        (vec![second(Outcome::Deleted, "marker", "x")], Some((State::Overwritten, Some(met("x"))))),
    ] {
        let rows: Vec<Row> = std::iter::once(created()).chain(rows).collect();
        assert_eq!(chained(&rows), found, "{rows:#?}");
    }
    let after_deletion = |before: &str| {
        let next = row(THIRD, 1, Outcome::Created, "c", before);
        let rows = [Row { run_id: FIRST.into(), write_id: own(), ..deleted() }, next];
        chained(&rows)
    };
    assert_eq!(after_deletion(""), superseded);
    assert_eq!(after_deletion("x"), Some((State::Overwritten, Some(met("x")))));
    // Somebody wrote the same bytes in between: the ETag is the same, the version is not.
    let rewritten = Row { etag_before: "etag-a".into(), ..second(replaced, "b", "x") };
    let same = chained(&[created(), rewritten.clone()]).unwrap();
    assert!(matches!(same, (State::Overwritten, Some(Met::Object(_, Some(id)))) if id.0 == "v-x"));
    // Without versions the ETag is all that tells.
    assert_eq!(chained(&[created(), unversioned(rewritten)]), superseded);
}

#[test]
fn the_second_link_is_judged_as_well_as_the_first() {
    let rows = [created(), row(SECOND, 1, Outcome::Replaced, "b", "a"), row(THIRD, 1, Outcome::Replaced, "c", "x")];
    let reports: Vec<_> = rows.iter().map(std::slice::from_ref).collect();
    let mut audit = audit(&reports);
    assert_eq!(later(&audit, &audit.subjects[0], 0), None, "without --since every report is judged by itself");
    audit.since(SECOND).unwrap();
    assert_eq!(audit.judged().count(), 2);
    let state = |at| later(&audit, &audit.subjects[0], at).map(|verdict| verdict.state);
    assert_eq!([state(0), state(1), state(2)], [Some(State::Superseded), Some(State::Overwritten), None]);
}

#[test]
fn runs_are_in_the_order_of_their_ids_and_buckets_of_other_places_never_meet() {
    let elsewhere = |change: fn(&mut Row)| {
        let mut row = row(SECOND, 1, Outcome::Replaced, "b", "a");
        change(&mut row);
        audit(&[&[row], &[created()]])
    };
    let same = elsewhere(|row| row.endpoint = "https://S3.eu-west-1.amazonaws.com/".into());
    assert_eq!((same.subjects.len(), same.buckets.len()), (1, 1));
    assert_eq!(same.runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), [FIRST, SECOND]);
    assert_eq!(same.subjects[0].claims.iter().map(|claim| claim.run).collect::<Vec<_>>(), [0, 1]);
    for other in [
        elsewhere(|row| row.endpoint = "https://s3.eu-west-2.amazonaws.com".into()),
        elsewhere(|row| row.bucket = "other".into()),
    ] {
        assert_eq!((other.subjects.len(), other.buckets.len()), (2, 2));
    }
    assert_eq!(elsewhere(|row| row.key = "other".into()).subjects.len(), 2);
}

#[test]
fn since_names_one_run_and_forgets_what_only_earlier_ones_speak_of() {
    let old = Row { bucket: "old".into(), ..row(FIRST, 2, Outcome::Created, "z", "") };
    let reports: [&[Row]; 2] = [&[created(), old], &[row(SECOND, 1, Outcome::Replaced, "b", "a")]];
    let mut asked = audit(&reports);
    assert!(asked.since("019db").unwrap_err().contains("more than one run"));
    assert!(asked.since("").unwrap_err().contains("no run"));
    assert!(asked.since("ff").unwrap_err().contains(FIRST));
    asked.since("019db4").unwrap();
    assert_eq!((asked.buckets.len(), asked.subjects.len(), asked.judged().count()), (1, 1, 1));
    // What is left out still names who wrote.
    assert_eq!(asked.subjects[0].claims.len(), 2);
    assert_eq!(asked.buckets[0].bucket, "finance");
}

#[test]
fn a_row_that_wrote_nothing_is_counted_and_not_judged() {
    let rows: Vec<Row> =
        (1..).zip(Outcome::ALL).map(|(n, outcome)| row(FIRST, n, outcome, &n.to_string(), "x")).collect();
    let audit = audit(&[&rows]);
    let judged: Vec<Outcome> = audit.judged().map(|(_, claim)| claim.outcome).collect();
    let left: Vec<Outcome> = audit.not_checked().into_keys().collect();
    assert_eq!(judged.len() + left.len(), Outcome::ALL.len());
    assert!(judged.iter().all(|outcome| outcome.is_success() && *outcome != Outcome::Kept), "{judged:?}");
    assert_eq!(audit.doubts().count(), 1);
}

#[test]
fn what_no_run_can_have_written_is_refused_all_of_it() {
    let flaws = |reports: &[&[Row]]| {
        let given = reports.iter().map(|rows| given(rows)).collect();
        Audit::of(given).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(flaws(&[&[]]), ["empty.csv: has no rows: it says nothing that could be checked"]);
    let twice = flaws(&[&[created()], &[created()]]);
    assert_eq!(twice, [format!("019db0c5.csv: is of run {FIRST}, like 019db0c5.csv: give each run's report once")]);
    let edited = [
        created(),
        Row { write_id: own(), ..row(FIRST, 2, Outcome::Replaced, "b", "a") },
        Row { etag_after: String::new(), version_after: String::new(), ..row(FIRST, 3, Outcome::Created, "c", "") },
        row(SECOND, 4, Outcome::Created, "d", ""),
        Row { key: String::new(), ..row(FIRST, 5, Outcome::Created, "e", "") },
        Row { key: created().key, ..row(FIRST, 6, Outcome::Kept, "", "") },
    ];
    insta::assert_snapshot!(flaws(&[&edited, &[row(THIRD, 1, Outcome::Created, "x", ""), created()]]).join("\n"));
}

#[test]
fn the_pages_of_every_state() {
    let (audit, found) = every_state();
    insta::assert_snapshot!("text", text::render(&audit, &found, &|_, text| text.to_owned()));
    insta::assert_snapshot!("markdown", markdown::render(&audit, &found));
    let lines: Vec<_> =
        audit.judged().zip(&found.verdicts).map(|((s, c), verdict)| csv::Line::of(&audit, s, c, verdict)).collect();
    let rows: String = lines.iter().map(csv::Line::csv).collect();
    insta::assert_snapshot!("csv", csv::header() + &rows);
    let mut text = String::new();
    let mut say = |part: &str| -> Result<(), serde_json::Error> {
        text.push_str(part);
        Ok(())
    };
    json::tell(&audit, &found, &mut say).unwrap();
    insta::assert_snapshot!("json", text);
    assert!(text.starts_with(json::MARK));
    let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(whole["rows"].as_array().unwrap().len(), found.verdicts.len());
    // The columns of the one are the fields of the other, and a program gets the very key.
    let first = serde_json::to_string(&lines[0]).unwrap();
    let places: Vec<usize> = csv::COLUMNS.iter().map(|name| first.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{first}");
    let mut reader = ::csv::Reader::from_reader(rows.as_bytes());
    let keys: Vec<_> = reader.records().map(|record| record.unwrap()[8].to_owned()).collect();
    assert_eq!(keys[1], "<script>|`x`\n\u{202e}.csv");
}

#[test]
fn a_page_of_many_problems_is_cut_and_says_what_was_cut() {
    let rows: Vec<Row> = (1..=2_000).map(|n| row(FIRST, n, Outcome::Created, "a", "")).collect();
    let audit = audit(&[&rows]);
    let verdict = |n: u64| {
        let state = if n.is_multiple_of(2) { State::Gone } else { State::Deleted };
        Verdict::of(state, Finding::blank())
    };
    let found = Found { verdicts: (0..2_000).map(verdict).collect(), doubts: Vec::new() };
    let page = markdown::render(&audit, &found);
    assert!(page.len() < markdown::LIMIT_BYTES, "{}", page.len());
    assert_eq!(page.matches("**Cut: ").count(), 2);
    for state in ["### Gone (1,000)", "### Deleted (1,000)"] {
        let from = page.find(state).unwrap();
        let shown = page[from + 4..].split("### ").next().unwrap().matches("created by").count();
        assert!(shown > 30, "{state}: {shown}");
        let cut = format!("**Cut: {} of these 1,000 rows", 1_000 - shown);
        assert!(page[from..].contains(&cut), "{cut}");
    }
    let text = text::render(&audit, &found, &|_, text| text.to_owned());
    assert_eq!(text.matches("... and 950 more").count(), 2);
    assert!(text.lines().count() < 350);
}

#[test]
fn names_too_long_for_any_page_do_not_break_it() {
    let long = |n: u64| format!("{n}{}", "|`<".repeat(300));
    let rows: Vec<Row> = (1..=20)
        .map(|n| Row { key: long(n), place: long(n), ..row(FIRST, n, Outcome::Unknown, "", "") })
        .chain((21..=80).map(|n| Row { key: long(n), ..row(FIRST, n, Outcome::Created, "a", "") }))
        .collect();
    let given = (1..=25u64).map(|n| {
        let id = format!("019db0c5-4a52-7d10-9f5e-{n:012}");
        let rows = rows.iter().map(|row| Row {
            run_id: id.clone(),
            write_id: format!("{id}-{}", row.entry),
            bucket: long(n),
            ..row.clone()
        });
        claim::Given { name: long(n), rows: rows.collect() }
    });
    let audit = Audit::of(given.collect()).unwrap();
    let verdicts = audit.judged().map(|_| Verdict::of(State::Deleted, Finding::blank())).collect();
    let doubts = audit.doubts().map(|_| Settled::NotCurrent).collect();
    let page = markdown::render(&audit, &Found { verdicts, doubts });
    assert!(page.len() < markdown::LIMIT_BYTES, "{}", page.len());
    assert!(page.contains("| Run | and 5 more |") && page.contains("- and 480 more"), "{page}");
    assert!(page.contains("of these 1,500 rows are not shown"));
}

#[test]
fn no_key_can_add_a_line_a_cell_or_a_tag() {
    let evil = "a\n2 gone\n| b | `c` <d> \u{1b}[2J\u{202e}";
    let (mut audit, found) = every_state();
    let lines = |audit: &Audit| {
        let text = text::render(audit, &found, &|_, text| text.to_owned());
        let page = markdown::render(audit, &found);
        (text.lines().count(), page.lines().map(|line| line.matches('|').count()).collect::<Vec<_>>(), text + &page)
    };
    let before = lines(&audit);
    for subject in &mut audit.subjects {
        subject.key = crate::model::entry::Key::new(evil);
        for claim in &mut subject.claims {
            claim.place = evil.into();
        }
    }
    audit.runs[0].report = evil.into();
    audit.buckets[0].bucket = evil.into();
    let after = lines(&audit);
    assert_eq!((before.0, before.1), (after.0, after.1));
    assert!(!after.2.contains('\u{1b}') && !after.2.contains('\u{202e}'));
    let page = after.2.split_once(markdown::MARK).unwrap().1;
    assert!(!page.contains("<d>") && !page.contains('`'), "{page}");
}

#[test]
fn a_version_is_to_be_copied_only_where_one_is_named() {
    let verdict = |state, kept| {
        let finding = Finding { kept, ..Finding::blank() };
        Verdict { state, proof: None, finding: Some(Box::new(finding)) }
    };
    let named = || Kept::Version(VersionId("v-1".into()));
    let advice = |state, kept: Vec<Kept>| {
        let verdicts = kept.into_iter().map(|kept| verdict(state, kept)).collect();
        words::advice(state, &Found { verdicts, doubts: Vec::new() }).unwrap()
    };
    for (state, how) in [(State::Overwritten, "copy the version"), (State::Deleted, "removing the delete marker")] {
        for (kept, is_named, is_lost) in [
            (vec![named()], true, false),
            (vec![Kept::No], false, true),
            (vec![Kept::NotKnown("403".into())], false, true),
            (vec![Kept::No, named()], true, true),
            (vec![Kept::Nothing], false, false),
        ] {
            let said = advice(state, kept.clone());
            assert_eq!(said.contains(how), is_named, "{kept:?}: {said}");
            assert_eq!(said.contains("find the source"), is_lost, "{kept:?}: {said}");
        }
    }
}
