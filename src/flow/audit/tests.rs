//! Whole audits over a bucket in memory.

use std::collections::BTreeMap;

use super::*;
use crate::audit::Writer;
use crate::audit::claim::Given;
use crate::model::digest::{Checksum, Sha256};
use crate::model::event::Nobody;
use crate::model::row::{Outcome, Row};
use crate::model::write::{Expect, Object, WriteId};
use crate::report::samples;
use crate::store::Body;
use crate::store::flaky::{Flaky, Rates};
use crate::store::memory::Memory;

const RUN: &str = "019db0c5-4a52-7d10-9f5e-3b0d8c1f2a77";
const LATER: &str = "019db4ec-0052-7d10-9f5e-3b0d8c1f2a77";

fn key(n: u64) -> Key {
    Key::new(format!("in/{n:04}"))
}

/// Stores what a run's entry would, over what is there, and gives its row.
async fn stored(store: &Memory, run: &str, n: u64, text: &str) -> Row {
    let before = store.versions(&key(n), 1).await.unwrap().pop().filter(|version| version.etag.is_some());
    let bytes = bytes::Bytes::from(text.to_owned());
    let object = Object {
        key: key(n),
        size: bytes.len() as u64,
        checksum: Checksum::Full(Sha256(
            sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&bytes)).into(),
        )),
        properties: Arc::default(),
        write_id: WriteId::new(run, n),
    };
    let expect = before.as_ref().and_then(|b| b.etag.clone()).map_or(Expect::Absent, Expect::Unchanged);
    let written = store.put(&object, Body::Bytes(bytes), &expect, Arc::new(|_| {})).await.unwrap();
    let version = store.versions(&key(n), 1).await.unwrap().pop().unwrap();
    let text = |id: Option<String>| id.unwrap_or_default();
    Row {
        run_id: run.into(),
        key: key(n).to_string(),
        size_bytes: Some(object.size),
        etag_before: text(before.as_ref().and_then(|b| b.etag.as_ref()).map(ToString::to_string)),
        version_before: text(before.as_ref().map(|b| b.id.to_string())),
        etag_after: text(written.etag.map(|etag| etag.to_string())),
        version_after: text(written.version.map(|id| id.to_string())),
        started_at: text(version.last_modified),
        duration_ms: Some(0),
        write_id: object.write_id.to_string(),
        ..samples::row(n, if before.is_some() { Outcome::Replaced } else { Outcome::Created })
    }
}

/// A bucket in which one run stored so many objects, and its rows.
async fn run(objects: u64) -> (Memory, Vec<Row>) {
    let store = Memory::new();
    let mut rows = Vec::new();
    for n in 1..=objects {
        rows.push(stored(&store, RUN, n, &format!("text {n}")).await);
    }
    (store, rows)
}

fn asked(reports: &[&[Row]], since: Option<&str>) -> Arc<Audit> {
    let given = reports.iter().map(|rows| Given { name: "r.csv".into(), rows: rows.to_vec() }).collect();
    let mut audit = Audit::of(given).unwrap();
    if let Some(since) = since {
        audit.since(since).unwrap();
    }
    Arc::new(audit)
}

async fn audited<S: Store>(audit: &Arc<Audit>, store: &Arc<S>, deep: bool) -> Result<Audited, AuditError> {
    let watch = Arc::new(Nobody) as Arc<dyn Watch>;
    let settings = Settings { looks: 8, deep };
    super::audit(audit, &[Arc::clone(store)], settings, &watch, &Cancel::default()).await
}

/// What is not intact, by run's first digits and entry.
fn troubles(audit: &Audit, found: &Found) -> BTreeMap<(String, u64), Verdict> {
    assert_eq!(found.verdicts.len(), audit.judged().count());
    let all = audit.judged().zip(&found.verdicts);
    let bad = all.filter(|(_, verdict)| verdict.state != State::Intact);
    bad.map(|((_, claim), verdict)| {
        let run = audit.run(claim.run).unwrap().id[..6].to_owned();
        ((run, claim.entry), verdict.clone())
    })
    .collect()
}

fn version(row: &Row) -> VersionId {
    VersionId(row.version_after.clone())
}

#[tokio::test]
async fn each_thing_that_a_stranger_did_is_found_and_named_and_nothing_else_is() {
    let (store, rows) = run(1200).await;
    let of = |n: u64| &rows[usize::try_from(n).unwrap() - 1];
    store.stranger_put(&key(100), "a stranger's");
    store.stranger_delete(&key(200));
    store.stranger_put(&key(300), "text 300");
    store.stranger_put(&key(400), "a stranger's");
    store.stranger_forget(&key(400), &version(of(400)));
    store.stranger_delete(&key(500));
    store.stranger_forget(&key(500), &version(of(500)));
    // Nothing but a version that nobody asks for.
    store.stranger_put(&key(9999), "not ours");
    // All that is known of this one is gone, delete markers too.
    store.stranger_forget(&key(600), &version(of(600)));
    let store = Arc::new(store);
    let audit = asked(&[&rows], None);
    for deep in [false, true] {
        let Audited { found, requests } = audited(&audit, &store, deep).await.unwrap();
        let found = troubles(&audit, &found);
        let told: Vec<_> = found.iter().map(|((_, n), verdict)| (*n, verdict.state)).collect();
        let (overwritten, gone) = (State::Overwritten, State::Gone);
        assert_eq!(
            told,
            [(100, overwritten), (200, State::Deleted), (300, overwritten), (400, gone), (500, gone), (600, gone)]
        );
        let finding = |n: u64| found[&(RUN[..6].to_owned(), n)].finding.clone().unwrap();
        for n in [100, 200, 300] {
            assert_eq!(finding(n).kept, Kept::Version(version(of(n))), "{n}");
        }
        for n in [400, 500, 600] {
            assert_eq!(finding(n).kept, Kept::No, "{n}");
        }
        assert_eq!([100, 300, 400].map(|n| finding(n).same_bytes), [false, true, false]);
        assert!([100, 300, 400].iter().all(|n| finding(*n).current.unwrap().1 == Writer::Stranger));
        assert!(finding(200).marker.is_some() && finding(500).marker.is_some() && finding(600).marker.is_none());
        // Two pages show nearly all to be as they were; what they do not is asked for, and then for its version.
        let most = if deep { 1200 + 3 * 6 } else { 2 + 4 * 6 };
        assert!(requests <= most, "{requests} requests");
        assert!(deep || requests >= 2 + 6);
    }
}

#[tokio::test]
async fn an_older_version_that_came_up_again_is_not_taken_for_the_rows() {
    let store = Memory::new();
    let mut rows = Vec::new();
    for n in 1..=40 {
        // The same bytes were there before, by somebody else.
        store.stranger_put(&key(n), "the same");
        rows.push(stored(&store, RUN, n, "the same").await);
    }
    store.stranger_forget(&key(7), &version(&rows[6]));
    let audit = asked(&[&rows], None);
    let found = audited(&audit, &Arc::new(store), false).await.unwrap().found;
    let found = troubles(&audit, &found);
    assert_eq!(found.keys().map(|(_, n)| *n).collect::<Vec<_>>(), [7]);
    let verdict = found.values().next().unwrap();
    assert_eq!((verdict.state, verdict.finding.as_ref().unwrap().same_bytes), (State::Gone, true));
}

#[tokio::test]
async fn a_key_that_may_not_be_looked_at_is_never_intact() {
    let (store, rows) = run(5).await;
    store.hide(true);
    let audit = asked(&[&rows], None);
    let found = audited(&audit, &Arc::new(store), false).await.unwrap().found;
    assert!(found.verdicts.iter().all(|verdict| verdict.state == State::NotAllowed));
    assert_eq!(found.count().problems(), 5);
}

#[tokio::test]
async fn a_look_that_fails_is_told_and_spoils_no_other_row() {
    let (store, rows) = run(60).await;
    store.stranger_put(&key(9), "a stranger's");
    let audit = asked(&[&rows], None);
    let flaky = Arc::new(Flaky::new(store, 7, Rates { look_failed: 300, ..Rates::calm() }));
    let found = audited(&audit, &flaky, true).await.unwrap().found;
    let count = found.count();
    assert!(count.unreachable > 5 && count.intact > 20, "{count:?}");
    assert_eq!(count.intact + count.unreachable + count.overwritten + count.gone, 60);
    assert!(count.gone == 0, "a version that could not be looked for is not gone");
    let unreachable = found.verdicts.iter().filter(|verdict| verdict.state == State::Unreachable);
    assert!(unreachable.clone().all(|verdict| !verdict.finding.as_ref().unwrap().why.is_empty()));
    assert!(found.verdicts[8].state != State::Intact);
}

#[tokio::test]
async fn nothing_is_judged_once_somebody_wishes_to_stop() {
    let (store, rows) = run(5).await;
    let cancel = Cancel::default();
    cancel.set();
    let watch = Arc::new(Nobody) as Arc<dyn Watch>;
    let settings = Settings { looks: 8, deep: false };
    let ended = super::audit(&asked(&[&rows], None), &[Arc::new(store)], settings, &watch, &cancel).await;
    assert_eq!(ended.unwrap_err(), AuditError::Interrupted);
}

#[tokio::test]
async fn what_a_later_run_replaced_is_superseded_and_what_it_buried_of_somebody_else_is_not() {
    let (store, first) = run(4).await;
    let mut second = vec![stored(&store, LATER, 1, "new 1").await];
    store.stranger_put(&key(2), "a stranger's");
    let strangers = store.versions(&key(2), 1).await.unwrap()[0].id.clone();
    second.push(stored(&store, LATER, 2, "new 2").await);
    store.stranger_delete(&key(3));
    second.push(stored(&store, LATER, 3, "new 3").await);
    second.push(stored(&store, LATER, 4, "new 4").await);
    store.stranger_forget(&key(4), &version(&first[3]));
    store.stranger_put(&key(4), "a stranger's");
    let store = Arc::new(store);

    let audit = asked(&[&second, &first], Some(RUN));
    let found = audited(&audit, &store, false).await.unwrap().found;
    let found = troubles(&audit, &found);
    let told: Vec<_> = found.iter().map(|((run, n), verdict)| (&**run, *n, verdict.state)).collect();
    let (first_run, later) = (&RUN[..6], &LATER[..6]);
    assert_eq!(
        told,
        [
            (first_run, 1, State::Superseded),
            (first_run, 2, State::Overwritten),
            (first_run, 3, State::Deleted),
            // Its version is gone, and nobody asks for it: a later run took its place on purpose.
            (first_run, 4, State::Superseded),
            (later, 4, State::Overwritten),
        ]
    );
    let buried = found[&(first_run.to_owned(), 2)].finding.clone().unwrap();
    assert_eq!(buried.kept, Kept::Version(version(&first[1])));
    assert!(
        matches!(buried.later.unwrap().met, Some(crate::audit::Met::Object(_, Some(id))) if id == strangers),
        "the stranger's version is named"
    );

    // Without --since every report is judged by itself; by the first alone four are overwritten.
    let audit = asked(&[&first, &second], None);
    let count = audited(&audit, &store, false).await.unwrap().found.count();
    assert_eq!((count.overwritten, count.gone, count.superseded, count.intact), (4, 1, 0, 3));
}

#[tokio::test]
async fn a_key_that_a_rollback_deleted_is_to_be_absent() {
    let (store, mut rows) = run(30).await;
    for row in &mut rows {
        let marker = {
            store.stranger_delete(&Key::new(row.key.as_str()));
            store.versions(&Key::new(row.key.as_str()), 1).await.unwrap().pop().unwrap()
        };
        row.outcome = Outcome::Deleted;
        row.etag_before = std::mem::take(&mut row.etag_after);
        row.version_before = std::mem::replace(&mut row.version_after, marker.id.0);
    }
    store.stranger_put(&key(4), "again");
    store.stranger_forget(&key(5), &version(&rows[4]));
    let audit = asked(&[&rows], None);
    let found = audited(&audit, &Arc::new(store), false).await.unwrap().found;
    let found = troubles(&audit, &found);
    let what = |n: u64| {
        let verdict = &found[&(RUN[..6].to_owned(), n)];
        let (_, claim) = audit.judged().find(|(_, claim)| claim.entry == n).unwrap();
        (verdict.state, crate::audit::words::what(claim, verdict), crate::audit::words::back(verdict))
    };
    assert_eq!(found.len(), 2);
    let (state, said, back) = what(4);
    assert!(state == State::Overwritten && said.starts_with("an object is there again"), "{said}");
    assert_eq!(back, None);
    assert!(what(5).1.starts_with("the version that the run deleted is current again"), "{}", what(5).1);
}

#[tokio::test]
async fn a_row_that_ended_unknown_is_looked_for_by_its_write_id() {
    let (store, mut rows) = run(3).await;
    for row in &mut rows {
        row.outcome = Outcome::Unknown;
        row.etag_after.clear();
        row.version_after.clear();
    }
    store.stranger_put(&key(2), "a stranger's");
    store.stranger_delete(&key(3));
    let audit = asked(&[&rows], None);
    let found = audited(&audit, &Arc::new(store), false).await.unwrap().found;
    assert_eq!(found.doubts, [Settled::Stored, Settled::NotCurrent, Settled::NotCurrent]);
    assert!(found.verdicts.is_empty());
}

#[tokio::test]
async fn an_unchanged_row_without_a_version_is_found_among_the_keys_versions() {
    let (store, mut rows) = run(3).await;
    for row in &mut rows {
        row.outcome = Outcome::Unchanged;
        row.etag_before = std::mem::take(&mut row.etag_after);
        row.version_after.clear();
        row.write_id.clear();
    }
    let versions = store.versions(&key(2), 1).await.unwrap();
    store.stranger_put(&key(2), "a stranger's");
    let third = store.versions(&key(3), 1).await.unwrap();
    store.stranger_put(&key(3), "a stranger's");
    store.stranger_forget(&key(3), &third[0].id);
    let audit = asked(&[&rows], None);
    let found = audited(&audit, &Arc::new(store), false).await.unwrap().found;
    let states: Vec<_> = found.verdicts.iter().map(|verdict| verdict.state).collect();
    assert_eq!(states, [State::Intact, State::Overwritten, State::Gone]);
    assert_eq!(found.verdicts[0].proof, Some(Proof::Etag));
    assert_eq!(found.verdicts[1].finding.as_ref().unwrap().kept, Kept::Version(versions[0].id.clone()));
}
