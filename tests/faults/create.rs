//! A create by one PutObject, under each answer that is no plain yes.

use noclobber::flow::apply::End;
use noclobber::model::entry::Rule;
use noclobber::sandbox::{Fault, Keys, Kind};

use crate::world::{Run, World};

const FOREVER: u32 = 0;

/// Creates one object while a fault hits its writes.
async fn create(kind: Kind, times: u32) -> (World, Run) {
    let mut world = World::new().await;
    world.add("a", Rule::Never, b"reviewed");
    let run = world.run(|world| world.on_put("a", kind, times)).await;
    (world, run)
}

#[tokio::test]
async fn a_passing_fault_ends_in_created_and_one_object() {
    // (what goes wrong, how often, how often the write was sent)
    let table = [
        (Kind::LostAfterCommit, 1, 1),
        (Kind::LostBeforeCommit, 1, 2),
        (Kind::LostBeforeCommit, 4, 5),
        (Kind::Conflict, 3, 4),
        (Kind::SlowDown, 5, 6),
        (Kind::TooManyRequests, 2, 3),
        (Kind::ErrorBeforeCommit, 2, 3),
        (Kind::ErrorAfterCommit, 1, 1),
        (Kind::RequestTimeout, 1, 2),
        (Kind::SlowAnswer { ms: 50 }, 1, 1),
        (Kind::SlowBody { ms: 50 }, 1, 1),
    ];
    for (kind, times, attempts) in table {
        let (world, run) = create(kind.clone(), times).await;
        let row = run.row();
        assert_eq!((row.outcome.name(), row.attempts), ("created", attempts), "{kind:?} {row:#?}");
        assert_eq!(run.hits, times, "{kind:?}");
        assert!(matches!(run.end, End::Finished), "{kind:?} {:?}", run.end);
        assert_eq!(world.stranger.get("a").await.as_deref(), Some(&b"reviewed"[..]), "{kind:?}");
        let settled = matches!(kind, Kind::LostAfterCommit | Kind::ErrorAfterCommit);
        assert_eq!(row.message.contains("found by its write id"), settled, "{kind:?} {row:#?}");
    }
}

#[tokio::test]
async fn a_fault_that_does_not_pass_ends_as_the_table_says_and_nothing_is_there() {
    let table = [
        (Kind::LostBeforeCommit, "unknown", 5, "Connection"),
        (Kind::ErrorBeforeCommit, "unknown", 5, "InternalError"),
        (Kind::RequestTimeout, "unknown", 5, "RequestTimeout"),
        (Kind::Conflict, "failed", 6, "ConditionalRequestConflict"),
        (Kind::SlowDown, "failed", 13, "SlowDown"),
        (Kind::TooManyRequests, "failed", 13, "TooManyRequests"),
        (Kind::Forbidden, "failed", 1, "AccessDenied"),
        (Kind::PermanentRedirect, "failed", 1, "PermanentRedirect"),
        (Kind::BadDigest, "source-changed", 1, "BadDigest"),
    ];
    for (kind, outcome, attempts, code) in table {
        let (world, run) = create(kind.clone(), FOREVER).await;
        let row = run.row();
        let told = (row.outcome.name(), row.attempts, row.error_code.as_str());
        assert_eq!(told, (outcome, attempts, code), "{kind:?} {row:#?}");
        assert_eq!(run.hits, attempts, "{kind:?}");
        assert!(!row.message.is_empty(), "{kind:?} {row:#?}");
        assert!(world.stranger.keys().await.is_empty(), "{kind:?}");
    }
}

#[tokio::test]
async fn another_writer_who_was_first_keeps_the_key() {
    let theirs = Kind::AnotherWriter { text: "theirs".into() };
    let (world, run) = create(theirs, 1).await;
    let row = run.row();
    assert_eq!((row.outcome.name(), row.attempts, row.http_status), ("lost", 1, Some(412)), "{row:#?}");
    assert!(row.message.starts_with("somebody else wrote first at "), "{}", row.message);
    assert!(row.message.contains("6 bytes, ETag ce97a90ef59e9c768263754682f68bd6"), "{}", row.message);
    assert_eq!(world.stranger.get("a").await.as_deref(), Some(&b"theirs"[..]));
}

#[tokio::test]
async fn our_own_412_after_a_lost_answer_is_not_called_lost() {
    // The first answer is lost after the write landed, and the HEAD that would settle it is answered once with 503: what
    // comes next must find the write id, not send the write again into its own 412.
    let mut world = World::new().await;
    world.add("a", Rule::Never, b"reviewed");
    let run = world
        .run(|world| {
            world.on_put("a", Kind::LostAfterCommit, 1);
            // The preflight's HEAD passes.
            let look = Fault { skip: 1, ..Fault::on("HeadObject", Kind::SlowDown).key("a").times(2) };
            world.fault(look);
        })
        .await;
    assert_eq!((run.row().outcome.name(), run.row().attempts, run.hits), ("created", 1, 3), "{:#?}", run.row());
}

#[tokio::test]
async fn a_doubt_that_nobody_can_settle_is_called_unknown() {
    let mut world = World::new().await;
    world.add("a", Rule::Never, b"reviewed");
    let plan = world.plan().await;
    world.on_put("a", Kind::LostAfterCommit, 1);
    world.fault(Fault { skip: 1, ..Fault::on("HeadObject", Kind::ErrorBeforeCommit).key("a") });
    // The client itself repeats a look, with pauses: one of ours is enough.
    let mut settings = world.settings();
    settings.patience.looks = 1;
    let run = world.apply_with(&plan, settings).await;
    world.hold_the_promise(&plan, &run).await;
    let row = run.row();
    assert_eq!((row.outcome.name(), row.attempts), ("unknown", 1), "{row:#?}");
    assert!(row.message.contains("the look that would settle it got no answer"), "{}", row.message);
}

#[tokio::test]
async fn a_write_that_was_buried_before_its_answer_is_found_in_the_history() {
    // Ours landed and its answer was lost; another writer replaced it before we looked.
    let mut world = World::new().await;
    world.add("a", Rule::Never, b"reviewed");
    let plan = world.plan().await;
    world.on_put("a", Kind::LostAfterCommit, 1);
    // The settling HEAD is slow: the stranger writes meanwhile.
    let slow = Fault { skip: 1, ..Fault::on("HeadObject", Kind::SlowBody { ms: 300 }).key("a").times(1) };
    world.fault(slow);
    let settings = world.settings();
    let stranger = world.stranger.clone();
    let strike = async {
        while stranger.client.head_object().bucket("a-bucket").key("a").send().await.is_err() {
            tokio::task::yield_now().await;
        }
        stranger.put("a", "buried it").await;
    };
    let (run, ()) = tokio::join!(world.apply_with(&plan, settings), strike);
    world.hold_the_promise(&plan, &run).await;
    let row = run.row();
    assert_eq!(row.outcome.name(), "created", "{row:#?}");
    assert_eq!(world.stranger.get("a").await.as_deref(), Some(&b"buried it"[..]));
}

#[tokio::test]
async fn a_key_that_may_not_be_seen_is_protected_by_the_condition_alone() {
    for (rule, outcome, there) in [
        (Rule::Never, "lost", true),
        (Rule::Keep, "kept", true),
        (Rule::Never, "created", false),
        (Rule::Keep, "created", false),
    ] {
        let mut world = World::new().await;
        world.add("a", rule, b"reviewed");
        if there {
            world.stranger.put("a", "theirs").await;
        }
        let hidden = || Fault::on("HeadObject", Kind::Forbidden);
        world.fault(hidden());
        let plan = world.plan_by(noclobber::flow::survey::Discovery::Head).await;
        assert_eq!((plan.steps[0].action.name(), plan.steps[0].reason.name()), ("create", "unseen"));
        let run = world.apply(&plan).await;
        world.hold_the_promise(&plan, &run).await;
        assert_eq!(run.row().outcome.name(), outcome, "{rule:?} {:#?}", run.row());
        let expected: &[u8] = if there { b"theirs" } else { b"reviewed" };
        assert_eq!(world.stranger.get("a").await.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_source_that_changes_after_the_review_is_never_stored_even_where_the_server_checks_nothing() {
    for kind in [None, Some(Kind::ChecksumsIgnored)] {
        let mut world = World::new().await;
        world.add("a", Rule::Never, b"reviewed");
        let plan = world.plan().await;
        std::fs::write(world.file("a"), b"REVIEWED").unwrap();
        if let Some(kind) = kind.clone() {
            world.fault(Fault::on("PutObject", kind));
        }
        // Without the preflight, which would have seen it.
        let settings = noclobber::flow::apply::Settings { preflight: false, ..world.settings() };
        let run = world.apply_with(&plan, settings).await;
        world.hold_the_promise(&plan, &run).await;
        assert_eq!(run.row().outcome.name(), "source-changed", "{kind:?} {:#?}", run.row());
        assert!(world.stranger.keys().await.is_empty(), "{kind:?}");
    }
}

#[tokio::test]
async fn credentials_that_expire_stop_the_run_and_the_rest_is_not_attempted() {
    let mut world = World::new().await;
    for name in ["1", "2", "3", "4", "5"] {
        world.add(name, Rule::Never, name.as_bytes());
    }
    let run = world.run(|world| world.on_put("3", Kind::ExpiredToken, FOREVER)).await;
    assert_eq!(run.outcomes(), ["created", "created", "failed", "not-attempted", "not-attempted"]);
    let End::Stopped(cause) = &run.end else { panic!("{:?}", run.end) };
    assert_eq!(cause.code, "ExpiredToken");
    assert!(run.rows[2].message.contains("renew"), "{}", run.rows[2].message);
    assert_eq!(run.rows[4].message, "the run was stopped before it");
}

#[tokio::test]
async fn the_same_failure_twenty_times_running_stops_the_run() {
    let mut world = World::new().await;
    for n in 10..40 {
        world.add(&format!("{n}.csv"), Rule::Never, b"x");
    }
    let run = world
        .run(|world| {
            let key = Some(Keys::Suffix(".csv".into()));
            world.fault(Fault { key, ..Fault::on("PutObject", Kind::Forbidden) });
        })
        .await;
    let (failed, rest) = run.rows.split_at(20);
    assert!(failed.iter().all(|row| row.outcome.name() == "failed"), "{:?}", run.outcomes());
    assert!(rest.iter().all(|row| row.outcome.name() == "not-attempted"), "{:?}", run.outcomes());
    let End::Stopped(cause) = &run.end else { panic!("{:?}", run.end) };
    assert!(cause.message.starts_with("the same failure 20 times running"), "{}", cause.message);
}
