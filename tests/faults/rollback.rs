//! Restores and deletes under the sandbox's scripted answers: what a fault does to them, and what their rows say.

use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use noclobber::flow::apply::{End, Settings};
use noclobber::model::entry::Key;
use noclobber::model::head::{Head, Remote, WRITE_ID};
use noclobber::model::row::{Guard, Row};
use noclobber::model::step::{Action, Step};
use noclobber::plan::file::Plan;
use noclobber::sandbox::{Fault, Kind};
use noclobber::store::{Buried, Store as _};

use crate::dying::Death;
use crate::support::rollback as made;
use crate::world::{BUCKET, Run, World};

const EARLIER: &[u8] = b"what was there before the run";

/// The three things that a rollback does: over what the run wrote, where nothing is any more, and to what it created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    Over,
    Anew,
    Created,
}

impl Undo {
    const ALL: [Self; 3] = [Self::Over, Self::Anew, Self::Created];

    fn key(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Anew => "anew",
            Self::Created => "created",
        }
    }

    fn request(self) -> &'static str {
        match self {
            Self::Over | Self::Anew => "CopyObject",
            Self::Created => "DeleteObject",
        }
    }

    /// What its row says when all goes well.
    fn done(self) -> &'static str {
        match self {
            Self::Over | Self::Anew => "restored",
            Self::Created => "deleted",
        }
    }
}

async fn head(world: &World, key: &str) -> Head {
    match world.s3().await.head(&Key::new(key)).await.unwrap() {
        Remote::Present(head) => *head,
        other => panic!("{key}: {other:?}"),
    }
}

/// Lays out a key as a run left it, and gives the step that undoes it.
async fn step(world: &World, undo: Undo, earlier: &[u8]) -> Step {
    let key = undo.key();
    if undo == Undo::Created {
        world.stranger.put(key, "the run's").await;
        return made::delete(key, &head(world, key).await);
    }
    let put = world.stranger.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(earlier.to_vec()));
    let put = put.content_type("text/x-earlier").metadata("team", "finance").tagging("kept=yes");
    let version = put.send().await.unwrap().version_id().unwrap().to_owned();
    let now = if undo == Undo::Over {
        world.stranger.put(key, "the run's").await;
        Some(head(world, key).await)
    } else {
        world.stranger.delete(key).await;
        None
    };
    let buried = world.s3().await.buried(&Key::new(key), &noclobber::model::head::VersionId(version)).await.unwrap();
    let Buried::There { head, carried } = buried else { panic!("{buried:?}") };
    made::restore(key, now.as_ref(), &head, carried)
}

async fn plan(world: &World, undos: &[Undo], earlier: &[u8]) -> Plan {
    let mut steps = Vec::new();
    for undo in undos {
        steps.push(step(world, *undo, earlier).await);
    }
    made::plan(&world.target, steps).0
}

/// One step under one fault.
async fn under(undo: Undo, kind: Kind, times: u32) -> (World, Plan, Run) {
    let mut world = World::new().await;
    let plan = plan(&world, &[undo], EARLIER).await;
    world.fault(Fault::on(undo.request(), kind).key(undo.key()).times(times));
    let run = world.apply(&plan).await;
    hold(&world, &plan, &run, EARLIER).await;
    (world, plan, run)
}

/// Copies of ours, as version ids; and how many markers there are.
async fn ours(world: &World, row: &Row) -> (Vec<String>, Vec<String>) {
    let client = &world.stranger.client;
    let listed = client.list_object_versions().bucket(BUCKET).prefix(&row.key).send().await.unwrap();
    let mut copies = Vec::new();
    for version in listed.versions() {
        let id = version.version_id().unwrap();
        let got = client.get_object().bucket(BUCKET).key(&row.key).version_id(id).send().await.unwrap();
        let write_id = got.metadata().and_then(|metadata| metadata.get(WRITE_ID)).cloned();
        if write_id.is_some_and(|write_id| write_id.starts_with(&row.run_id)) {
            copies.push(id.to_owned());
        }
    }
    let markers = listed.delete_markers().iter().map(|marker| marker.version_id().unwrap().to_owned()).collect();
    (copies, markers)
}

/// No row claims what did not happen, nothing happened without a row that claims it or does not know, no upload is left
/// open, and no scratch object is.
async fn hold(world: &World, plan: &Plan, run: &Run, earlier: &[u8]) {
    for (step, row) in plan.steps.iter().zip(&run.rows) {
        let (copies, markers) = ours(world, row).await;
        let case = format!("{row:#?}\ncopies {copies:?}, markers {markers:?}");
        let there = world.stranger.get(&row.key).await;
        let markers_before = usize::from(step.action == Action::Restore && step.head.is_none());
        match row.outcome.name() {
            "restored" => {
                assert_eq!(copies, [row.version_after.as_str()], "{case}");
                assert_eq!(there.as_deref(), Some(earlier), "{case}");
                let now = head(world, &row.key).await;
                assert_eq!((now.etag.as_str(), now.size), (&*row.etag_after, earlier.len() as u64), "{case}");
                assert_eq!(row.size_bytes, Some(earlier.len() as u64), "{case}");
                assert_eq!(now.properties.content_type.as_deref(), Some("text/x-earlier"), "{case}");
                assert_eq!(now.properties.metadata.get("team").map(String::as_str), Some("finance"), "{case}");
                let tags = world.s3().await.tags(&step.key).await.unwrap();
                assert_eq!(tags.get("kept").map(String::as_str), Some("yes"), "{case}");
            }
            "deleted" => {
                assert_eq!(markers, [row.version_after.as_str()], "{case}");
                assert_eq!((there, &*row.etag_after, &*row.write_id), (None, "", ""), "{case}");
            }
            "unknown" => {}
            _ => assert!(copies.is_empty() && markers.len() == markers_before, "{case}"),
        }
        let before = step.head.as_ref().map(|seen| (seen.etag.to_string(), seen.version.clone().unwrap().0));
        assert_eq!((row.etag_before.clone(), row.version_before.clone()), before.unwrap_or_default(), "{case}");
    }
    assert_eq!(world.stranger.open_uploads().await, 0);
    assert!(world.stranger.keys().await.iter().all(|key| !key.contains("noclobber-probe")), "a scratch object is left");
}

#[tokio::test]
async fn a_rollback_comes_through_the_faults_that_pass() {
    for undo in Undo::ALL {
        for (kind, times, attempts) in [
            (Kind::LostAfterCommit, 1, 1),
            (Kind::LostBeforeCommit, 1, 2),
            (Kind::ErrorAfterCommit, 1, 1),
            (Kind::ErrorBeforeCommit, 1, 2),
            (Kind::ErrorBodyAfterCommit, 1, 1),
            (Kind::ErrorBodyBeforeCommit, 1, 2),
            (Kind::RequestTimeout, 1, 2),
            (Kind::Conflict, 2, 3),
            (Kind::SlowDown, 2, 3),
        ] {
            // A DELETE has no body to hide an error in.
            if undo == Undo::Created && matches!(kind, Kind::ErrorBodyAfterCommit | Kind::ErrorBodyBeforeCommit) {
                continue;
            }
            let (_, _, run) = under(undo, kind.clone(), times).await;
            let row = run.row();
            assert_eq!((row.outcome.name(), row.attempts), (undo.done(), attempts), "{undo:?} {kind:?} {row:#?}");
            assert_eq!((row.guard, run.hits), (Some(Guard::Tested), times), "{undo:?} {kind:?} {row:#?}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_changes_nothing_and_says_why() {
    for undo in Undo::ALL {
        for (kind, times, outcome, status) in [
            (Kind::Forbidden, 0, "failed", Some(403)),
            (Kind::Conflict, 0, "failed", Some(409)),
            (Kind::SlowDown, 0, "failed", Some(503)),
            (Kind::AnotherWriter { text: "theirs".into() }, 1, "lost", Some(412)),
        ] {
            let (world, _, run) = under(undo, kind.clone(), times).await;
            let row = run.row();
            assert_eq!((row.outcome.name(), row.http_status), (outcome, status), "{undo:?} {kind:?} {row:#?}");
            if outcome == "lost" {
                assert_eq!(world.stranger.get(undo.key()).await.as_deref(), Some(&b"theirs"[..]));
                assert!(row.message.contains("somebody else wrote first"), "{}", row.message);
            }
        }
    }
}

#[tokio::test]
async fn what_vanished_since_the_plan_is_lost_and_nothing_is_brought_back_over_it() {
    for undo in [Undo::Over, Undo::Created] {
        let mut world = World::new().await;
        let plan = plan(&world, &[undo], EARLIER).await;
        world.stranger.delete(undo.key()).await;
        let settings = Settings { preflight: false, ..world.settings() };
        let run = world.apply_with(&plan, settings).await;
        assert_eq!(run.row().outcome.name(), "lost", "{:#?}", run.row());
        assert!(run.row().message.contains("nobody's object is visible there now"), "{}", run.row().message);
        assert_eq!(world.stranger.get(undo.key()).await, None);
        assert_eq!(ours(&world, run.row()).await.1.len(), 1, "a marker over a marker");
    }
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_is_settled_by_what_stands_over_it() {
    // The look is refused too: nobody can tell, until the next attempt.
    let mut world = World::new().await;
    let plan = plan(&world, &[Undo::Created], EARLIER).await;
    world.fault(Fault::on("DeleteObject", Kind::LostAfterCommit).key("created").once());
    let blind = Fault { skip: 1, ..Fault::on("HeadObject", Kind::Forbidden).key("created") };
    world.fault(blind);
    let run = world.apply(&plan).await;
    assert_eq!(run.row().outcome.name(), "unknown", "{:#?}", run.row());
    let settings = world.settings();
    let run = world.resume_with(&plan, settings.clone()).await;
    hold(&world, &plan, &run, EARLIER).await;
    assert_eq!((run.row().outcome.name(), run.row().attempts), ("deleted", 0), "{:#?}", run.row());
    assert!(run.row().message.contains("a delete marker stands over it"), "{}", run.row().message);

    // Somebody wrote and deleted in between: the marker that is seen is not ours to claim.
    let mut world = World::new().await;
    let plan = self::plan(&world, &[Undo::Created], EARLIER).await;
    world.fault(Fault::on("DeleteObject", Kind::LostBeforeCommit).key("created").once());
    world.fault(Fault { skip: 1, ..Fault::on("HeadObject", Kind::Forbidden).key("created") });
    let run = world.apply(&plan).await;
    assert_eq!(run.row().outcome.name(), "unknown", "{:#?}", run.row());
    world.stranger.put("created", "theirs").await;
    world.stranger.delete("created").await;
    let run = world.resume_with(&plan, Settings { partial: true, ..settings.clone() }).await;
    assert_eq!(run.row().outcome.name(), "unknown", "{:#?}", run.row());
    assert!(run.row().message.contains("no marker stands directly over it"), "{}", run.row().message);
}

#[tokio::test]
async fn a_copy_that_is_not_what_was_copied_is_called_unknown_loudly() {
    for undo in [Undo::Over, Undo::Anew] {
        let (world, plan, run) = under(undo, Kind::CopiedShort, 1).await;
        let row = run.row();
        assert_eq!((row.outcome.name(), &*row.error_code), ("unknown", "ChecksumMismatch"), "{row:#?}");
        assert!(row.message.contains("28 bytes") && row.message.contains("29"), "{}", row.message);
        // Nor does the write id make the next attempt believe it.
        let mut world = world;
        let settings = world.settings();
        let run = world.resume_with(&plan, settings).await;
        assert_eq!(run.row().outcome.name(), "unknown", "{:#?}", run.row());
    }
}

#[tokio::test]
async fn a_version_that_is_gone_is_named_before_anything_is_written() {
    for undo in [Undo::Over, Undo::Anew] {
        let mut world = World::new().await;
        let plan = plan(&world, &[undo, Undo::Created], EARLIER).await;
        let version = plan.steps[0].earlier.as_ref().unwrap().seen.version.clone().unwrap().0;
        let delete = world.stranger.client.delete_object().bucket(BUCKET).key(undo.key()).version_id(version);
        delete.send().await.unwrap();
        let run = world.apply(&plan).await;
        hold(&world, &plan, &run, EARLIER).await;
        assert!(matches!(&run.end, End::Stale(moved) if moved.len() == 1), "{:?}", run.end);
        assert_eq!(run.outcomes(), ["stale", "not-attempted"], "{:#?}", run.rows);
        assert!(run.rows[0].message.contains("the version to bring back is gone"), "{}", run.rows[0].message);
        // Nor is it taken for a race when nobody looked before.
        let settings = Settings { preflight: false, ..world.settings() };
        let run = world.apply_with(&plan, settings).await;
        hold(&world, &plan, &run, EARLIER).await;
        assert_eq!(run.outcomes(), ["failed", "deleted"], "{:#?}", run.rows);
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_condition_gets_nothing_of_the_rollback() {
    for undo in Undo::ALL {
        let mut world = World::new().await;
        let plan = plan(&world, &Undo::ALL, EARLIER).await;
        world.fault(Fault::on(undo.request(), Kind::ConditionsIgnored));
        let run = world.apply(&plan).await;
        hold(&world, &plan, &run, EARLIER).await;
        assert_eq!(run.outcomes(), ["not-attempted"; 3], "{:#?}", run.rows);
        let End::ServerIgnoresConditions(text) = &run.end else { panic!("{:?}", run.end) };
        assert!(text.contains(undo.request()) && text.contains("Plan the rollback again"), "{text}");
    }
}

#[tokio::test]
async fn a_plan_that_says_check_first_is_carried_out_behind_a_look() {
    let mut world = World::new().await;
    let mut steps = Vec::new();
    for undo in Undo::ALL {
        steps.push(Step { guard: Some(Guard::CheckFirst), ..step(&world, undo, EARLIER).await });
    }
    let (plan, _) = made::plan(&world.target, steps);
    for request in ["CopyObject", "DeleteObject"] {
        world.fault(Fault::on(request, Kind::ConditionsIgnored));
    }
    let run = world.apply(&plan).await;
    hold(&world, &plan, &run, EARLIER).await;
    assert_eq!(run.outcomes(), ["restored", "restored", "deleted"], "{:#?}", run.rows);
    assert!(run.rows.iter().all(|row| row.guard == Some(Guard::CheckFirst)), "{:#?}", run.rows);

    // The look finds what the condition would have.
    let mut world = World::new().await;
    let mut steps = Vec::new();
    for undo in Undo::ALL {
        steps.push(Step { guard: Some(Guard::CheckFirst), ..step(&world, undo, EARLIER).await });
        world.stranger.put(undo.key(), "theirs").await;
    }
    let (plan, _) = made::plan(&world.target, steps);
    let settings = Settings { preflight: false, ..world.settings() };
    let run = world.apply_with(&plan, settings).await;
    hold(&world, &plan, &run, EARLIER).await;
    assert_eq!(run.outcomes(), ["lost"; 3], "{:#?}", run.rows);
    assert!(run.rows.iter().all(|row| row.error_code == "CheckFirst"), "{:#?}", run.rows);
}

/// Two parts, the last a short one.
fn large() -> Vec<u8> {
    crate::support::scene::noise(7, (5 << 20) + 5)
}

async fn in_parts(undo: Undo, fault: Option<Fault>, settings: impl FnOnce(Settings) -> Settings) -> (World, Run) {
    let (mut world, large) = (World::new().await, large());
    let plan = plan(&world, &[undo], &large).await;
    if let Some(fault) = fault {
        world.fault(fault.key(undo.key()));
    }
    let settings = settings(Settings { copy_max_bytes: 5 << 20, concurrency: 2, ..world.settings() });
    let run = world.apply_with(&plan, settings).await;
    hold(&world, &plan, &run, &large).await;
    (world, run)
}

#[tokio::test]
async fn what_one_request_cannot_copy_is_copied_in_parts() {
    for undo in [Undo::Over, Undo::Anew] {
        let (world, run) = in_parts(undo, None, |settings| settings).await;
        let row = run.row();
        assert_eq!((row.outcome.name(), row.attempts), ("restored", 1), "{row:#?}");
        assert!(row.etag_after.ends_with("-2"), "{row:#?}");
        let requests = world.sandbox.requests();
        assert_eq!((requests.get("UploadPartCopy"), requests.get("CopyObject")), (Some(&2), None), "{requests:?}");
        // At the limit it is one request.
        let one = |settings| Settings { copy_max_bytes: large().len() as u64, ..settings };
        let (_, run) = in_parts(undo, None, one).await;
        assert!(!run.row().etag_after.contains('-'), "{:#?}", run.row());
    }
}

#[tokio::test]
async fn a_copy_in_parts_comes_through_the_faults_that_pass() {
    let complete = "CompleteMultipartUpload";
    for (request, kind, attempts) in [
        ("CreateMultipartUpload", Kind::LostBeforeCommit, 1),
        ("UploadPartCopy", Kind::LostAfterCommit, 1),
        ("UploadPartCopy", Kind::LostBeforeCommit, 1),
        ("UploadPartCopy", Kind::SlowDown, 1),
        ("UploadPartCopy", Kind::ErrorBodyBeforeCommit, 1),
        (complete, Kind::LostAfterCommit, 1),
        (complete, Kind::NoSuchUploadAfterCommit, 1),
        (complete, Kind::ErrorBodyAfterCommit, 1),
        (complete, Kind::LostBeforeCommit, 2),
        (complete, Kind::ErrorBodyBeforeCommit, 2),
        (complete, Kind::Conflict, 2),
    ] {
        let (_, run) = in_parts(Undo::Over, Some(Fault::on(request, kind.clone()).once()), |settings| settings).await;
        let row = run.row();
        assert_eq!((row.outcome.name(), row.attempts), ("restored", attempts), "{request} {kind:?} {row:#?}");
        assert_eq!(run.hits, 1, "{request} {kind:?}");
    }
}

#[tokio::test]
async fn a_copy_in_parts_that_loses_leaves_no_upload_behind() {
    for undo in [Undo::Over, Undo::Anew] {
        let theirs = || Kind::AnotherWriter { text: "theirs".into() };
        for (fault, outcome) in [
            (Fault::on("CompleteMultipartUpload", theirs()).once(), "lost"),
            // The HEAD just before finds it.
            (Fault::on("UploadPartCopy", theirs()).once(), "lost"),
            (Fault::on("UploadPartCopy", Kind::Forbidden), "failed"),
            (Fault::on("CompleteMultipartUpload", Kind::Conflict), "failed"),
        ] {
            let case = format!("{undo:?} {fault:?}");
            let (_, run) = in_parts(undo, Some(fault), |settings| settings).await;
            assert_eq!(run.row().outcome.name(), outcome, "{case} {:#?}", run.row());
        }
    }
}

#[tokio::test]
async fn a_rollback_that_is_killed_at_any_request_is_finished_by_the_next_attempt() {
    for nth in 0.. {
        let death = if nth % 2 == 0 { Death::Before(nth) } else { Death::After(nth) };
        let mut world = World::new().await;
        let plan = plan(&world, &Undo::ALL, EARLIER).await;
        let lives = world.attempt(&plan, death).await.is_some();
        let run = world.attempt(&plan, Death::Never).await.unwrap();
        hold(&world, &plan, &run, EARLIER).await;
        assert_eq!(run.outcomes(), ["restored", "restored", "deleted"], "{death:?} {:#?}", run.rows);
        if lives {
            assert!(nth > 10, "only {nth} requests");
            return;
        }
    }
}

#[tokio::test]
async fn nothing_of_a_rollback_asks_for_a_file() {
    let mut world = World::new().await;
    let plan = plan(&world, &Undo::ALL, EARLIER).await;
    let settings = Settings { base: "/nowhere/at/all".into(), ..world.settings() };
    let run = world.apply_to(Arc::new(world.s3().await), &plan, settings).await;
    hold(&world, &plan, &run, EARLIER).await;
    assert_eq!(run.outcomes(), ["restored", "restored", "deleted"], "{:#?}", run.rows);
}
