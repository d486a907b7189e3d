//! The truth table of undoing, cell by cell, and the law that what others wrote is never touched.

use proptest::prelude::*;

use super::rows::{chosen, flaws, targets};
use super::*;
use crate::model::digest::Sha256;
use crate::model::glob::Glob;
use crate::model::head::{HeldChecksums, HeldSha256};
use crate::model::row::{Guard, REPORT_FORMAT};

const OURS: &str = "run-3";
const PINNED: Sha256 = Sha256([7; 32]);

/// A row of entry 3, in a bucket that keeps versions: before is `old`, after is `new`.
fn row(outcome: Outcome, action: &str) -> Row {
    let is_upload = matches!(action, "create" | "replace");
    let has_before = action != "create";
    let has_after = matches!(outcome, Outcome::Created | Outcome::Replaced | Outcome::Restored);
    let text = |is: bool, text: &str| if is { text.to_owned() } else { String::new() };
    Row {
        format: REPORT_FORMAT,
        run_id: "run".into(),
        plan_digest: "sha256:00".into(),
        entry: 3,
        place: "m.yaml:9".into(),
        source: "out/3.csv".into(),
        target: "default".into(),
        endpoint: "https://s3.eu-west-1.amazonaws.com".into(),
        region: "eu-west-1".into(),
        owner: String::new(),
        bucket: "reports".into(),
        key: "in/it's 3.csv".into(),
        rule: "always".into(),
        action: action.into(),
        reason: "differs".into(),
        outcome,
        size_bytes: Some(12),
        sha256: String::new(),
        checksum: text(is_upload, &format!("sha256:{PINNED}")),
        etag_before: text(has_before, "old"),
        version_before: text(has_before, "v-old"),
        etag_after: text(has_after, "new"),
        version_after: match outcome {
            Outcome::Deleted => "v-marker".into(),
            _ => text(has_after, "v-new"),
        },
        guard: Some(Guard::Atomic),
        attempts: 1,
        started_at: "2026-07-01T02:00:00.000Z".into(),
        duration_ms: Some(5),
        http_status: None,
        error_code: String::new(),
        message: String::new(),
        request_id: String::new(),
        write_id: OURS.into(),
    }
}

fn head(etag: &str, version: Option<&str>, write_id: Option<&str>) -> Head {
    Head {
        size: 12,
        etag: ETag::new(etag),
        version: version.map(|version| VersionId(version.into())),
        last_modified: Some("2026-07-01T02:00:00Z".into()),
        encryption: Encryption::Aes256,
        checksums: HeldChecksums::default(),
        first_part: None,
        properties: Properties { content_type: Some("text/csv".into()), ..Properties::default() },
        claim: None,
        write_id: write_id.map(str::to_owned),
    }
}

fn there(etag: &str, version: Option<&str>, write_id: Option<&str>) -> Remote {
    Remote::Present(Box::new(head(etag, version, write_id)))
}

fn ours() -> Remote {
    there("new", Some("v-new"), Some(OURS))
}

/// The version before, as it was.
fn old() -> Past {
    let carried = Carried { claim: Some("sha256:aa".into()), ..Carried::default() };
    Past::There { head: Box::new(Head { size: 40, ..head("old", Some("v-old"), Some("earlier-run-1")) }), carried }
}

/// The whole decision; what was asked is answered with `past`.
fn decide(row: &Row, now: &Remote, past: &Past) -> Decided {
    let written = Written::of(row).unwrap();
    match written.judge(now) {
        Judged::Decided(decided) => *decided,
        Judged::Asks(version) => {
            assert_eq!(version.0, row.version_before);
            written.bring_back(now, &version, past.clone())
        }
    }
}

fn said(row: &Row, now: &Remote, past: &Past) -> (Action, Reason) {
    let Decided { action, reason, .. } = decide(row, now, past);
    (action, reason)
}

const DELETE: (Action, Reason) = (Action::Delete, Reason::Undo);
const RESTORE: (Action, Reason) = (Action::Restore, Reason::Undo);
const UNDONE: (Action, Reason) = (Action::Unchanged, Reason::Undone);
const MOVED: (Action, Reason) = (Action::Refuse, Reason::Moved);
const GONE: (Action, Reason) = (Action::Refuse, Reason::Gone);
const UNSEEN: (Action, Reason) = (Action::Error, Reason::Unseen);

#[test]
fn every_row_meets_every_state_of_its_key_as_the_table_says() {
    let before = there("old", Some("v-old"), Some("earlier-run-1"));
    let brought_back = there("old", Some("v-later"), Some("rollback-9"));
    let again = there("new", Some("v-later"), Some("other-run-1"));
    let other = there("else", Some("v-else"), None);
    // Nothing there, what the run wrote, what was there before, that written again, the run's bytes written again,
    // something else, not visible.
    let states = [&Remote::Absent, &ours(), &before, &brought_back, &again, &other, &Remote::Unseen];
    let table = [
        (Outcome::Created, "create", [UNDONE, DELETE, MOVED, MOVED, MOVED, MOVED, UNSEEN]),
        (Outcome::Replaced, "replace", [MOVED, RESTORE, UNDONE, UNDONE, MOVED, MOVED, UNSEEN]),
        (Outcome::Restored, "restore", [MOVED, RESTORE, UNDONE, UNDONE, MOVED, MOVED, UNSEEN]),
        (Outcome::Deleted, "delete", [RESTORE, MOVED, UNDONE, UNDONE, MOVED, MOVED, UNSEEN]),
        (Outcome::Unknown, "create", [UNDONE, DELETE, MOVED, MOVED, MOVED, MOVED, UNSEEN]),
        (Outcome::Unknown, "replace", [MOVED, RESTORE, UNDONE, UNDONE, MOVED, MOVED, UNSEEN]),
        (Outcome::Unknown, "restore", [MOVED, RESTORE, UNDONE, UNDONE, MOVED, MOVED, UNSEEN]),
        (Outcome::Unknown, "delete", [MOVED, MOVED, UNDONE, UNDONE, MOVED, MOVED, UNSEEN]),
    ];
    for (outcome, action, cells) in table {
        let row = row(outcome, action);
        for (now, cell) in states.into_iter().zip(cells) {
            assert_eq!(said(&row, now, &old()), cell, "{outcome} {action} over {now:?}");
        }
    }
}

#[test]
fn a_row_that_wrote_nothing_is_not_rolled_back() {
    for outcome in Outcome::ALL {
        let wrote = matches!(
            outcome,
            Outcome::Created | Outcome::Replaced | Outcome::Restored | Outcome::Deleted | Outcome::Unknown
        );
        assert_eq!(Written::of(&row(outcome, "replace")).is_some(), wrote, "{outcome}");
    }
}

#[test]
fn a_version_that_cannot_come_back_is_refused_and_one_that_may_not_be_seen_is_an_error() {
    let flaw = (Action::Refuse, Reason::Flaw);
    let of = |change: fn(&mut Head)| {
        let Past::There { mut head, carried } = old() else { unreachable!() };
        change(&mut head);
        Past::There { head, carried }
    };
    let table = [
        (old(), RESTORE, ""),
        (Past::Gone, GONE, "version v-old is not kept any more"),
        (Past::DeleteMarker, GONE, "version v-old is a delete marker"),
        (Past::Unseen, UNSEEN, "s3:GetObjectVersion"),
        (Past::Archived { class: "GLACIER".into() }, flaw, "--key='in/it'\\''s 3.csv' --version-id=v-old"),
        (of(|head| head.encryption = Encryption::Customer), flaw, "SSE-C"),
        (of(|head| head.etag = ETag::new("rewritten")), GONE, "is another object by now, with ETag rewritten"),
    ];
    for (past, cell, words) in table {
        for (row, now) in
            [(row(Outcome::Replaced, "replace"), ours()), (row(Outcome::Deleted, "delete"), Remote::Absent)]
        {
            assert_eq!(said(&row, &now, &past), cell, "{past:?}");
            let note = decide(&row, &now, &past).note.unwrap_or_default();
            assert!(note.contains(words), "{note}");
        }
    }
}

#[test]
fn where_no_version_was_kept_nothing_is_asked_for() {
    let versions =
        |row: Row, before: &str, after: &str| Row { version_before: before.into(), version_after: after.into(), ..row };
    let replaced = || row(Outcome::Replaced, "replace");
    let unversioned = there("new", None, Some(OURS));
    let null = there("new", Some("null"), Some(OURS));
    for (row, now, note) in [
        (versions(replaced(), "", ""), &unversioned, "kept no versions when the run replaced it"),
        (versions(replaced(), "null", "null"), &null, "versioning was suspended when the run replaced it"),
        (versions(row(Outcome::Unknown, "replace"), "null", ""), &null, "versioning was suspended"),
        (versions(row(Outcome::Deleted, "delete"), "", ""), &Remote::Absent, "no versions when the run deleted it"),
        (versions(row(Outcome::Deleted, "delete"), "null", "null"), &Remote::Absent, "suspended when the run deleted"),
    ] {
        let Judged::Decided(decided) = Written::of(&row).unwrap().judge(now) else { panic!("{row:?}") };
        assert_eq!((decided.action, decided.reason), GONE);
        assert!(decided.note.as_ref().unwrap().contains(note), "{decided:?}");
    }
    // The first version of a bucket that keeps versions since is named null, and is kept.
    let row = versions(replaced(), "null", "v-new");
    assert_eq!(said(&row, &ours(), &old()), RESTORE);
}

#[test]
fn where_no_version_tells_a_copy_over_itself_is_told_by_its_time_and_by_a_version_of_its_own() {
    let row = |version_after: &str| Row { version_after: version_after.into(), ..row(Outcome::Created, "create") };
    let at = |time: &str, version: Option<&str>| {
        Remote::Present(Box::new(Head { last_modified: Some(time.into()), ..head("new", version, Some(OURS)) }))
    };
    for (row, now, is_ours) in [
        (row(""), at("2026-07-01T02:00:00Z", None), true),
        // Clocks differ.
        (row(""), at("2026-07-01T02:01:00Z", None), true),
        (row(""), at("2026-07-01T02:01:01Z", None), false),
        (row("null"), at("2026-07-01T02:01:01Z", Some("null")), false),
        // The bucket keeps versions since; the run's own object is the one named null.
        (row(""), at("2026-07-01T02:00:00Z", Some("null")), true),
        (row(""), at("2026-07-01T02:00:00Z", Some("v-copy")), false),
        // A version id is one write's, whatever the clocks say.
        (row("v-new"), at("2026-07-09T00:00:00Z", Some("v-new")), true),
    ] {
        let decided = decide(&row, &now, &Past::Gone);
        assert_eq!(decided.action == Action::Delete, is_ours, "{:?} over {now:?}", row.version_after);
        assert_eq!(decided.reason == Reason::Moved, !is_ours, "{:?} over {now:?}", row.version_after);
    }
}

#[test]
fn a_version_whose_metadata_leaves_no_room_for_a_write_id_is_refused_before_it_is_tried() {
    let with = |bytes: usize| {
        let Past::There { mut head, carried } = old() else { panic!("it is there") };
        head.properties.metadata = [("n".to_owned(), "x".repeat(bytes - 1))].into();
        decide(&row(Outcome::Replaced, "replace"), &ours(), &Past::There { head, carried })
    };
    let own = CLAIM.len() + "sha256:aa".len() + WRITE_ID.len() + 57;
    assert_eq!(with(2048 - own).action, Action::Restore);
    let refused = with(2048 - own + 1);
    assert_eq!((refused.action, refused.reason), (Action::Refuse, Reason::Flaw));
    assert!(refused.note.unwrap().contains("finds no room"));
}

#[test]
fn a_restore_names_what_comes_back_and_what_it_takes_the_place_of() {
    let Decided { head, earlier, properties, note, .. } = decide(&row(Outcome::Replaced, "replace"), &ours(), &old());
    let earlier = earlier.unwrap();
    assert_eq!(earlier.seen.version, Some(VersionId("v-old".into())));
    assert_eq!((earlier.seen.etag.as_str(), earlier.seen.size), ("old", 40));
    assert_eq!(earlier.carried.claim.as_deref(), Some("sha256:aa"));
    assert_eq!(head.unwrap().version, Some(VersionId("v-new".into())));
    assert_eq!((properties.content_type.as_deref(), note), (Some("text/csv"), None));
    // Over nothing, the precondition is that nothing is there.
    assert_eq!(decide(&row(Outcome::Deleted, "delete"), &Remote::Absent, &old()).head, None);
    // What has no version of its own is lost by being restored over.
    let row = Row { version_after: "null".into(), ..row(Outcome::Replaced, "replace") };
    let note = decide(&row, &there("new", Some("null"), Some(OURS)), &old()).note.unwrap();
    assert!(note.contains("gone for good"), "{note}");
}

#[test]
fn a_delete_says_whether_a_version_stays() {
    let note = |version: Option<&str>| {
        let version_after = version.unwrap_or_default().into();
        let row = Row { version_after, ..row(Outcome::Created, "create") };
        decide(&row, &there("new", version, Some(OURS)), &Past::Gone).note.unwrap()
    };
    assert_eq!(note(Some("v-new")), "a delete marker will stand over it; version v-new stays");
    assert_eq!(note(None), "the bucket keeps no versions: it will be gone for good");
    assert!(note(Some("null")).contains("unless the bucket keeps versions by now"));
}

/// One way back and forth: what a rollback's own report says of what it did is undone in turn.
#[test]
fn a_rollback_of_a_rollback_brings_the_runs_objects_back() {
    // The rollback restored `old` over the run's object; that lies buried as v-new.
    let restored = Row {
        run_id: "back".into(),
        write_id: "back-1".into(),
        entry: 1,
        etag_before: "new".into(),
        version_before: "v-new".into(),
        etag_after: "old".into(),
        version_after: "v-back".into(),
        size_bytes: Some(12),
        checksum: String::new(),
        ..row(Outcome::Restored, "restore")
    };
    let now = there("old", Some("v-back"), Some("back-1"));
    let ours = Past::There { head: Box::new(head("new", Some("v-new"), Some(OURS))), carried: Carried::default() };
    let decided = decide(&restored, &now, &ours);
    assert_eq!((decided.action, decided.reason), RESTORE);
    assert_eq!(decided.earlier.unwrap().seen.version, Some(VersionId("v-new".into())));
    // It deleted what the run had created.
    let deleted = Row {
        etag_before: "new".into(),
        version_before: "v-new".into(),
        ..Row { run_id: "back".into(), write_id: String::new(), ..row(Outcome::Deleted, "delete") }
    };
    let decided = decide(&deleted, &Remote::Absent, &ours);
    assert_eq!((decided.action, decided.head), (Action::Restore, None));
    // And that, restored where nothing was, is taken away again like any create.
    let over_nothing = Row { etag_before: String::new(), version_before: String::new(), ..restored.clone() };
    assert_eq!(said(&over_nothing, &now, &Past::Gone), DELETE);
    assert_eq!(said(&over_nothing, &Remote::Absent, &Past::Gone), UNDONE);
    for row in [restored, over_nothing, deleted] {
        assert_eq!(flaws("r.csv", &[(2, row)]), []);
    }
}

#[test]
fn an_object_with_our_write_id_and_other_content_is_not_ours() {
    let belied = |change: fn(&mut Head)| {
        let mut head = head("forged", Some("v-forged"), Some(OURS));
        change(&mut head);
        Remote::Present(Box::new(head))
    };
    let row = row(Outcome::Unknown, "create");
    assert_eq!(said(&row, &belied(|_| {}), &old()), DELETE);
    for forged in [
        belied(|head| head.size = 13),
        belied(|head| head.checksums.sha256 = Some(HeldSha256::Full(Sha256([8; 32])))),
        belied(|head| head.checksums.sha256 = Some(HeldSha256::Composite { digest: PINNED, parts: 2 })),
    ] {
        assert_eq!(said(&row, &forged, &old()), MOVED, "{forged:?}");
    }
}

fn placed(rows: &[Row]) -> Vec<(u64, Row)> {
    (2..).zip(rows.iter().cloned()).collect()
}

#[test]
fn every_row_that_no_run_can_have_left_is_named_by_its_line() {
    let good = row(Outcome::Replaced, "replace");
    let of = |n: u64, row: Row| Row { entry: n, write_id: format!("run-{n}"), key: format!("k{n}"), ..row };
    let rows = [
        of(1, good.clone()),
        of(2, Row { run_id: "other".into(), ..good.clone() }),
        of(3, Row { bucket: "elsewhere".into(), outcome: Outcome::Lost, ..good.clone() }),
        Row { key: "k1".into(), ..of(4, good.clone()) },
        Row { write_id: "run-9".into(), ..of(5, good.clone()) },
        of(6, Row { action: "create".into(), ..good.clone() }),
        of(7, Row { etag_before: "old".into(), ..row(Outcome::Created, "create") }),
        of(8, Row { rule: "sometimes".into(), ..good.clone() }),
        of(9, Row { etag_before: String::new(), ..good.clone() }),
        Row { key: String::new(), ..of(10, good.clone()) },
    ];
    let told: Vec<String> = flaws("r.csv", &placed(&rows)).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "r.csv:3: is a row of run \"other\", among rows of run \"run\": roll back one at a time",
            "r.csv:4: target \"default\" is at another place than in the rows before",
            "r.csv:5: is a second write to key \"k1\"",
            "r.csv:6: has write id \"run-9\", which is not its own",
            "r.csv:7: is replaced, and its action is \"create\"",
            "r.csv:8: is of a create, and names an object that was there before",
            "r.csv:9: has rule \"sometimes\", which no entry has",
            "r.csv:10: is of a replace, and does not name what was there before",
            "r.csv:11: has a key that S3 cannot have",
        ]
    );
    assert_eq!(flaws("r.csv", &placed(&rows[..1])), []);
    assert!(flaws("r.csv", &[])[0].message.contains("no rows"));
}

#[test]
fn what_was_written_last_is_undone_first_and_globs_choose() {
    let of = |n: u64, second: u64| {
        let started_at = format!("2026-07-01T02:00:0{second}.000Z");
        Row { entry: n, key: format!("in/{n}.csv"), started_at, ..row(Outcome::Created, "create") }
    };
    let idle = Row { outcome: Outcome::Unchanged, ..of(4, 9) };
    let rows = placed(&[of(1, 3), of(2, 1), of(3, 3), idle]);
    let entries = |only: &[&str]| {
        let only: Vec<_> = only.iter().map(|glob| ((*glob).to_owned(), Glob::of_keys(glob).unwrap())).collect();
        let chosen = chosen(&rows, &only)?;
        assert_eq!(targets(&chosen).len(), 1.min(chosen.len()));
        Ok(chosen.iter().map(|(line, written)| (*line, written.row().entry)).collect::<Vec<_>>())
    };
    assert_eq!(entries(&[]), Ok(vec![(4, 3), (2, 1), (3, 2)]));
    assert_eq!(entries(&["in/[12].csv"]), Ok(vec![(2, 1), (3, 2)]));
    assert_eq!(entries(&["in/4.csv"]), Ok(vec![]));
    assert_eq!(entries(&["**", "out/*"]), Err("out/*".to_owned()));
}

#[derive(Debug, Clone)]
enum Change {
    Etag(String),
    Size(u64),
    Version(String),
    Writer(Option<String>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        "[a-f0-9]{4}".prop_map(Change::Etag),
        (0u64..100).prop_map(Change::Size),
        "[a-z]{4}|null".prop_map(Change::Version),
        proptest::option::of("[a-z]{3}-[0-9]").prop_map(Change::Writer),
    ]
}

proptest! {
    #[test]
    fn nothing_that_somebody_else_wrote_is_ever_restored_over_or_deleted(
        kind in prop_oneof![
            Just((Outcome::Created, "create")),
            Just((Outcome::Replaced, "replace")),
            Just((Outcome::Restored, "restore")),
            Just((Outcome::Deleted, "delete")),
            Just((Outcome::Unknown, "create")),
            Just((Outcome::Unknown, "replace")),
            Just((Outcome::Unknown, "restore")),
            Just((Outcome::Unknown, "delete")),
        ],
        version in proptest::option::of("v-new|null"),
        changes in proptest::collection::vec(change(), 1..4),
    ) {
        let mut row = row(kind.0, kind.1);
        if kind.0 != Outcome::Unknown && kind.0 != Outcome::Deleted {
            row.version_after = version.clone().unwrap_or_default();
        }
        let mut head = head("new", version.as_deref(), Some(OURS));
        let ours = head.clone();
        for change in changes {
            match change {
                Change::Etag(etag) => head.etag = ETag::new(&etag),
                Change::Size(size) => head.size = size,
                Change::Version(version) => head.version = head.version.map(|_| VersionId(version)),
                Change::Writer(id) => head.write_id = id,
            }
        }
        // Of a row in doubt nothing but write id, size and content is known.
        let is_unknown = kind.0 == Outcome::Unknown;
        let seen = |head: &Head| {
            let id = (head.write_id.clone(), head.size);
            if is_unknown { (id, None) } else { (id, Some((head.etag.clone(), head.version.clone()))) }
        };
        prop_assume!(seen(&head) != seen(&ours));
        // A version comes once: who wrote it is known, whether the answer tells or not.
        let is_that_version = head.version == ours.version
            && version.as_deref() == Some("v-new")
            && (&head.etag, head.size) == (&ours.etag, ours.size);
        prop_assume!(!(is_that_version && head.write_id.is_none()));
        let decided = decide(&row, &Remote::Present(Box::new(head)), &old());
        prop_assert!(!decided.action.writes(), "{:?}", decided);
    }

    #[test]
    fn every_step_that_writes_names_what_it_acts_on(version in "v-new|null|", archived: bool) {
        for (outcome, action) in
            [(Outcome::Created, "create"), (Outcome::Replaced, "replace"), (Outcome::Deleted, "delete")]
        {
            let row = Row { version_after: version.clone(), ..row(outcome, action) };
            let past = if archived { Past::Archived { class: "GLACIER".into() } } else { old() };
            for now in [Remote::Absent, ours(), there("new", None, Some(OURS))] {
                let written = Written::of(&row).unwrap();
                let step = written.draw(1, Place { file: "r.csv".into(), line: 2 }, decide(&row, &now, &past));
                let is_over = now != Remote::Absent;
                match step.action {
                    Action::Restore => {
                        prop_assert_eq!(step.head.is_some(), is_over);
                        prop_assert!(step.earlier.is_some_and(|earlier| earlier.seen.version.is_some()));
                    }
                    Action::Delete => prop_assert!(is_over && step.head.is_some() && step.earlier.is_none()),
                    _ => prop_assert!(step.earlier.is_none() && step.note.is_some()),
                }
                prop_assert!(step.local.is_none());
                prop_assert_eq!(step.place.to_string(), "r.csv:2");
            }
        }
    }
}
