//! A stage starts only when all before it fully succeeded: whatever went wrong with one file of the first, `_SUCCESS` is
//! not there; once an apply has mended it, it is.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use noclobber::flow::apply::Settings;
use noclobber::model::entry::Rule;
use noclobber::sandbox::{Fault, Kind};

use crate::world::World;

const LARGE_BYTES: u64 = (64 << 20) + 1;

/// How the file that goes wrong is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    PutObject,
    Complete,
}

/// What goes wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Lost,
    Failed,
    Unknown,
    SourceChanged,
    Refused,
    Stale,
}

impl Wrong {
    const ALL: [Self; 6] = [Self::Lost, Self::Failed, Self::Unknown, Self::SourceChanged, Self::Refused, Self::Stale];

    fn outcome(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::SourceChanged => "source-changed",
            Self::Refused => "refused",
            Self::Stale => "stale",
        }
    }

    /// Whether the same apply again can end well.
    fn passes(self) -> bool {
        match self {
            Self::Failed | Self::Unknown => true,
            Self::Lost | Self::SourceChanged | Self::Refused | Self::Stale => false,
        }
    }

    fn settings(self, world: &World) -> Settings {
        let settings = world.settings();
        match self {
            Self::Lost | Self::Failed | Self::Unknown => settings,
            // Found as it is sent, not before.
            Self::SourceChanged => Settings { preflight: false, ..settings },
            Self::Refused | Self::Stale => Settings { partial: true, ..settings },
        }
    }

    fn fault(self, by: By) -> Option<Fault> {
        let on = |kind| {
            let operation = match by {
                By::PutObject => "PutObject",
                By::Complete => "CompleteMultipartUpload",
            };
            Fault::on(operation, kind).key("b")
        };
        match self {
            Self::Lost => Some(on(Kind::AnotherWriter { text: "theirs".into() }).once()),
            Self::Failed => Some(on(Kind::Forbidden).once()),
            Self::Unknown => Some(on(Kind::LostBeforeCommit)),
            Self::SourceChanged | Self::Refused | Self::Stale => None,
        }
    }
}

async fn world(by: By) -> World {
    let mut world = World::new().await;
    for (name, stage) in [("a", "data"), ("b", "data"), ("_SUCCESS", "index")] {
        let entry = world.add(name, Rule::Never, b"it");
        Arc::make_mut(&mut entry.terms).stage = Some(stage.into());
    }
    if by == By::Complete {
        std::fs::File::options().write(true).open(world.file("b")).unwrap().set_len(LARGE_BYTES).unwrap();
    }
    world
}

async fn holds_back(by: By, wrong: Wrong) {
    let case = format!("{wrong:?} by {by:?}");
    let mut world = world(by).await;
    if wrong == Wrong::Refused {
        world.stranger.put("b", "theirs").await;
    }
    let plan = world.plan().await;
    match wrong {
        Wrong::SourceChanged => {
            let file = std::fs::File::options().write(true).open(world.file("b")).unwrap();
            file.write_all_at(b"?", 0).unwrap();
        }
        Wrong::Stale => {
            world.stranger.put("b", "theirs").await;
        }
        Wrong::Lost | Wrong::Failed | Wrong::Unknown | Wrong::Refused => {}
    }
    if let Some(fault) = wrong.fault(by) {
        world.fault(fault);
    }
    let settings = wrong.settings(&world);
    let run = world.apply_with(&plan, settings.clone()).await;
    world.hold_the_promise(&plan, &run).await;
    assert_eq!(run.outcomes(), ["created", wrong.outcome(), "not-attempted"], "{case}: {:#?}", run.rows);
    assert_eq!(run.rows[2].message, "stage data did not fully succeed", "{case}");
    assert_eq!(world.stranger.get("_SUCCESS").await, None, "{case}");
    assert_eq!(world.stranger.open_uploads().await, 0, "{case}");

    let run = world.resume_with(&plan, settings).await;
    world.hold_the_promise(&plan, &run).await;
    let (mended, then) = if wrong.passes() { ("created", "created") } else { (wrong.outcome(), "not-attempted") };
    assert_eq!(run.outcomes(), ["created", mended, then], "{case}, again: {:#?}", run.rows);
    assert_eq!(world.stranger.get("_SUCCESS").await.is_some(), wrong.passes(), "{case}, again");
    assert_eq!(world.stranger.open_uploads().await, 0, "{case}, again");
}

#[tokio::test]
async fn a_later_stage_waits_for_every_single_put_of_the_one_before() {
    for wrong in Wrong::ALL {
        holds_back(By::PutObject, wrong).await;
    }
}

#[tokio::test]
async fn a_later_stage_waits_for_every_upload_in_parts_of_the_one_before() {
    for wrong in Wrong::ALL {
        holds_back(By::Complete, wrong).await;
    }
}

#[tokio::test]
async fn a_later_stage_is_published_where_the_one_before_is_unchanged() {
    let mut world = world(By::PutObject).await;
    world.stranger.put("a", "it").await;
    world.stranger.put("b", "it").await;
    let plan = world.plan().await;
    let run = world.apply(&plan).await;
    assert_eq!(run.outcomes(), ["unchanged", "unchanged", "created"], "{:#?}", run.rows);
    assert_eq!(world.stranger.get("_SUCCESS").await.as_deref(), Some(&b"it"[..]));
}
