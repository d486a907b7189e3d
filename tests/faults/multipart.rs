//! A create in parts: what Complete leaves in doubt, what is left behind, and what an answer may not hide.

use noclobber::flow::apply::{End, Settings};
use noclobber::model::entry::Rule;
use noclobber::sandbox::{Fault, Kind};

use crate::world::{Run, World};

const MIB: u64 = 1 << 20;

/// A world with one file just large enough for parts: zeros, but for its ends.
async fn world() -> World {
    let mut world = World::new().await;
    world.add("big", Rule::Never, b"begin");
    let file = std::fs::OpenOptions::new().write(true).open(world.file("big")).unwrap();
    file.set_len(64 * MIB + 1).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"!", 64 * MIB).unwrap();
    world
}

fn on(operation: &str, kind: Kind) -> Fault {
    Fault::on(operation, kind).key("big")
}

async fn create(fault: Fault) -> (World, Run) {
    let mut world = world().await;
    let run = world.run(|world| world.fault(fault)).await;
    (world, run)
}

async fn whole(world: &World) -> bool {
    let head = world.stranger.head("big").await;
    head.is_some_and(|head| {
        head.content_length() == Some(64 * (1 << 20) + 1) && head.e_tag().is_some_and(|etag| etag.ends_with("-5\""))
    })
}

#[tokio::test]
async fn a_complete_whose_answer_does_not_tell_is_settled_by_its_write_id() {
    for kind in
        [Kind::LostAfterCommit, Kind::ErrorBodyAfterCommit, Kind::NoSuchUploadAfterCommit, Kind::ErrorAfterCommit]
    {
        let (world, run) = create(on("CompleteMultipartUpload", kind.clone()).once()).await;
        let row = run.row();
        assert_eq!((row.outcome.name(), row.attempts, run.hits), ("created", 1, 1), "{kind:?} {row:#?}");
        assert!(row.message.contains("found by its write id"), "{kind:?} {row:#?}");
        assert!(whole(&world).await, "{kind:?}");
    }
}

#[tokio::test]
async fn a_complete_that_was_not_done_is_sent_again_and_after_a_conflict_its_parts_too() {
    // (what goes wrong, once, and how many uploads it took)
    for (kind, uploads) in [(Kind::LostBeforeCommit, 1), (Kind::ErrorBodyBeforeCommit, 1), (Kind::Conflict, 2)] {
        let (world, run) = create(on("CompleteMultipartUpload", kind.clone()).once()).await;
        let row = run.row();
        assert_eq!((row.outcome.name(), row.attempts), ("created", 2), "{kind:?} {row:#?}");
        assert!(whole(&world).await, "{kind:?}");
        // One upload more is the probe's.
        assert_eq!(world.sandbox.requests().get("CreateMultipartUpload"), Some(&(uploads + 1)), "{kind:?}");
    }
}

#[tokio::test]
async fn parts_come_through_faults_and_a_part_that_was_damaged_stores_nothing() {
    for (kind, times) in [(Kind::SlowDown, 3), (Kind::LostBeforeCommit, 2), (Kind::LostAfterCommit, 2)] {
        let (world, run) = create(on("UploadPart", kind.clone()).times(times)).await;
        assert_eq!((run.row().outcome.name(), run.hits), ("created", times), "{kind:?} {:#?}", run.row());
        assert!(whole(&world).await, "{kind:?}");
    }
    for (kind, outcome) in [(Kind::BadDigest, "source-changed"), (Kind::Forbidden, "failed")] {
        let (world, run) = create(on("UploadPart", kind.clone()).once()).await;
        assert_eq!(run.row().outcome.name(), outcome, "{kind:?} {:#?}", run.row());
        assert_eq!(world.stranger.open_uploads().await, 0, "{kind:?}");
    }
}

#[tokio::test]
async fn another_writer_before_the_complete_keeps_the_key_and_the_upload_is_aborted() {
    let (world, run) =
        create(on("CompleteMultipartUpload", Kind::AnotherWriter { text: "theirs".into() }).once()).await;
    assert_eq!((run.row().outcome.name(), run.row().http_status), ("lost", Some(412)), "{:#?}", run.row());
    assert_eq!(world.stranger.get("big").await.as_deref(), Some(&b"theirs"[..]));
    assert_eq!(world.stranger.open_uploads().await, 0);
}

#[tokio::test]
async fn a_server_that_ignores_conditions_on_complete_alone_is_left_too() {
    let mut world = world().await;
    world.add("small", Rule::Never, b"small");
    let run = world.run(|world| world.fault(Fault::on("CompleteMultipartUpload", Kind::ConditionsIgnored))).await;
    let End::ServerIgnoresConditions(text) = &run.end else { panic!("{:?}", run.end) };
    assert!(text.contains("CompleteMultipartUpload"), "{text}");
    assert_eq!(run.outcomes(), ["not-attempted", "not-attempted"]);
    assert!(world.stranger.keys().await.is_empty());
}

#[tokio::test]
async fn a_file_that_changes_after_the_review_is_not_put_together() {
    for unchecked in [false, true] {
        let mut world = world().await;
        let plan = world.plan().await;
        let file = std::fs::OpenOptions::new().write(true).open(world.file("big")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"?", 64 * MIB).unwrap();
        if unchecked {
            world.fault(Fault { operation: None, ..on("", Kind::ChecksumsIgnored) });
        }
        let run = world.apply_with(&plan, Settings { preflight: false, ..world.settings() }).await;
        world.hold_the_promise(&plan, &run).await;
        assert_eq!(run.row().outcome.name(), "source-changed", "{:#?}", run.row());
        assert!(world.stranger.keys().await.is_empty());
    }
}

#[tokio::test]
async fn an_upload_that_cannot_be_aborted_is_named_in_a_warning() {
    let mut world = world().await;
    let run = world
        .run(|world| {
            world.fault(on("CompleteMultipartUpload", Kind::Forbidden));
            world.fault(on("AbortMultipartUpload", Kind::Forbidden));
        })
        .await;
    assert_eq!(run.row().outcome.name(), "failed", "{:#?}", run.row());
    assert_eq!(world.stranger.open_uploads().await, 1);
    assert!(run.warnings.iter().any(|text| text.contains("could not be aborted")), "{:?}", run.warnings);
}

#[tokio::test]
async fn an_upload_that_began_without_an_answer_is_named_in_a_warning() {
    let (world, run) = create(on("CreateMultipartUpload", Kind::LostAfterCommit).once()).await;
    assert_eq!(run.row().outcome.name(), "created", "{:#?}", run.row());
    // Nobody knows its id, so nobody can abort it.
    assert_eq!(world.stranger.open_uploads().await, 1);
    assert!(run.warnings.iter().any(|text| text.contains("may have been begun")), "{:?}", run.warnings);
}

#[tokio::test]
async fn an_object_that_the_server_put_together_otherwise_is_never_said_to_be_absent() {
    let (world, run) = create(on("CompleteMultipartUpload", Kind::OtherChecksum).once()).await;
    let row = run.row();
    assert_eq!(row.outcome.name(), "unknown", "{row:#?}");
    assert_eq!(row.error_code, "ChecksumMismatch", "{row:#?}");
    assert!(row.message.starts_with("stored, but "), "{}", row.message);
    assert!(whole(&world).await);
}
