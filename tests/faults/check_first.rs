//! `conditional_writes: check-first`, at a server that ignores every condition: a HEAD stands in for it, and every row
//! that writes says so.

use noclobber::flow::apply::Settings;
use noclobber::model::entry::Rule;
use noclobber::model::row::Guard;
use noclobber::model::target::ConditionalWrites;
use noclobber::sandbox::{Fault, Kind};

use crate::world::World;

const LARGE_BYTES: u64 = (64 << 20) + 1;

/// A create and a replace, each by one request and in parts, where nobody looks at a condition.
async fn world(conditional_writes: ConditionalWrites) -> World {
    let mut world = World::new().await;
    world.target.conditional_writes = conditional_writes;
    for name in ["new", "new-large", "old", "old-large"] {
        world.add(name, Rule::Always, b"ours");
        if name.ends_with("large") {
            std::fs::File::options().write(true).open(world.file(name)).unwrap().set_len(LARGE_BYTES).unwrap();
        }
        if name.starts_with("old") {
            world.stranger.put(name, format!("before {name}")).await;
        }
    }
    ignore_conditions(&world);
    world
}

fn ignore_conditions(world: &World) {
    for operation in ["PutObject", "CompleteMultipartUpload"] {
        world.fault(Fault::on(operation, Kind::ConditionsIgnored));
    }
}

#[tokio::test]
async fn every_row_that_writes_says_that_nothing_but_a_look_guarded_it() {
    let mut world = world(ConditionalWrites::CheckFirst).await;
    let plan = world.plan().await;
    let run = world.apply(&plan).await;
    world.hold_the_promise(&plan, &run).await;
    assert_eq!(run.outcomes(), ["created", "created", "replaced", "replaced"], "{:#?}", run.rows);
    for row in &run.rows {
        assert_eq!(row.guard, Some(Guard::CheckFirst), "{row:#?}");
    }
    assert!(!world.sandbox.requests().contains_key("DeleteObject"), "no probe is sent where its answer is known");
}

#[tokio::test]
async fn what_somebody_else_wrote_since_the_plan_is_found_by_the_look_before_each_write() {
    let mut world = world(ConditionalWrites::CheckFirst).await;
    let plan = world.plan().await;
    for name in ["new", "new-large", "old", "old-large"] {
        world.stranger.put(name, format!("theirs {name}")).await;
    }
    // Without the preflight, which would have found them before.
    let run = world.apply_with(&plan, Settings { preflight: false, ..world.settings() }).await;
    world.hold_the_promise(&plan, &run).await;
    assert_eq!(run.outcomes(), ["lost"; 4], "{:#?}", run.rows);
    for row in &run.rows {
        assert_eq!((row.guard, &*row.error_code), (Some(Guard::CheckFirst), "CheckFirst"), "{row:#?}");
        assert_eq!(world.stranger.get(&row.key).await, Some(format!("theirs {}", row.key).into_bytes()));
    }
    assert_eq!(world.stranger.open_uploads().await, 0);
}

#[tokio::test]
async fn what_was_deleted_since_the_plan_is_not_created_anew() {
    let mut world = world(ConditionalWrites::CheckFirst).await;
    let plan = world.plan().await;
    world.stranger.delete("old").await;
    world.stranger.delete("old-large").await;
    let run = world.apply_with(&plan, Settings { preflight: false, ..world.settings() }).await;
    assert_eq!(run.outcomes(), ["created", "created", "lost", "lost"], "{:#?}", run.rows);
    assert_eq!(world.stranger.keys().await, ["new", "new-large"]);
}

#[tokio::test]
async fn without_the_setting_such_a_server_gets_nothing() {
    let mut world = world(ConditionalWrites::Required).await;
    let plan = world.plan().await;
    let run = world.apply(&plan).await;
    world.hold_the_promise(&plan, &run).await;
    assert_eq!(run.outcomes(), ["not-attempted"; 4], "{:#?}", run.rows);
    assert_eq!(world.stranger.keys().await, ["old", "old-large"]);
}
