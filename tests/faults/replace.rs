//! A replace by one PutObject: only the object that was reviewed may be buried.

use noclobber::flow::apply::Settings;
use noclobber::model::entry::Rule;
use noclobber::sandbox::Kind;

use crate::world::{Run, World};

async fn replace(kind: Kind, times: u32) -> (World, Run) {
    let mut world = World::new().await;
    world.stranger.put("a", "before").await;
    world.add("a", Rule::IfChanged, b"reviewed");
    let run = world.run(|world| world.on_put("a", kind, times)).await;
    (world, run)
}

#[tokio::test]
async fn a_replace_comes_through_the_faults_that_pass() {
    let table = [
        (Kind::LostAfterCommit, 1, "replaced", 1),
        (Kind::LostBeforeCommit, 1, "replaced", 2),
        (Kind::ErrorBeforeCommit, 1, "replaced", 2),
        (Kind::ErrorAfterCommit, 1, "replaced", 1),
        (Kind::Conflict, 1, "replaced", 2),
        (Kind::Forbidden, 0, "failed", 1),
    ];
    for (kind, times, outcome, attempts) in table {
        let (world, run) = replace(kind.clone(), times).await;
        let row = run.row();
        assert_eq!((row.outcome.name(), row.attempts), (outcome, attempts), "{kind:?} {row:#?}");
        let stored: &[u8] = if outcome == "replaced" { b"reviewed" } else { b"before" };
        assert_eq!(world.stranger.get("a").await.as_deref(), Some(stored), "{kind:?}");
        if kind == Kind::Forbidden {
            assert!(row.message.contains("s3:GetObject"), "{}", row.message);
        }
    }
}

#[tokio::test]
async fn a_replace_loses_to_another_writer_and_never_creates_what_vanished() {
    let (world, run) = replace(Kind::AnotherWriter { text: "theirs".into() }, 1).await;
    assert_eq!((run.row().outcome.name(), run.row().http_status), ("lost", Some(412)), "{:#?}", run.row());
    assert_eq!(world.stranger.get("a").await.as_deref(), Some(&b"theirs"[..]));

    let mut world = World::new().await;
    world.stranger.put("a", "before").await;
    world.add("a", Rule::Always, b"reviewed");
    let plan = world.plan().await;
    world.stranger.delete("a").await;
    let run = world.apply_with(&plan, Settings { preflight: false, ..world.settings() }).await;
    world.hold_the_promise(&plan, &run).await;
    assert_eq!((run.row().outcome.name(), run.row().http_status), ("lost", Some(404)), "{:#?}", run.row());
    assert_eq!(world.stranger.get("a").await, None);
}
