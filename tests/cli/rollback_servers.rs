//! The plan of a rollback over real servers: what they tell of versions, and what they do with conditions on copies and
//! deletes. Nothing is applied here.

use noclobber::model::row::Guard;
use noclobber::model::step::{Action, Reason, Step};

use crate::support::scene::Scene;
use crate::support::{Versioning, server};

/// The servers, and whether they honour conditions on CopyObject and on DeleteObject.
const SERVERS: [(&str, Guard, Guard); 2] =
    [("ministack", Guard::CheckFirst, Guard::Tested), ("seaweedfs", Guard::Tested, Guard::Tested)];

/// One object replaced and one created, by the run of `report.csv`.
async fn scene(name: &str, versioning: Versioning) -> Option<Scene> {
    let server = server(name)?;
    let scene = Scene::new(&server, versioning).await;
    scene.write("new", "created\n");
    scene.write("over", "of the run\n");
    scene.stranger.put("in/over", "before\n").await;
    scene.manifest("overwrite: always", "  - { source: new, key: in/new }\n  - { source: over, key: in/over }\n");
    scene.noclobber(&["plan", "m.yaml", "-o", "plan.jsonl"]).exits(0);
    scene.noclobber(&["apply", "plan.jsonl", "--report", "report.csv"]).exits(0);
    Some(scene)
}

fn step<'a>(steps: &'a [Step], key: &str) -> &'a Step {
    steps.iter().find(|step| step.key.as_str() == key).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_servers_versions_are_found_and_its_conditions_asked_for_without_a_trace() {
    for (name, copies, deletes) in SERVERS {
        let Some(scene) = scene(name, Versioning::On).await else { continue };
        let before = scene.stranger.history("in/over").await;
        scene.noclobber(&["rollback", "report.csv", "-o", "back.jsonl"]).exits(0);
        let plan = scene.plan("back.jsonl");
        let (restore, delete) = (step(&plan.steps, "in/over"), step(&plan.steps, "in/new"));
        assert_eq!((restore.action, delete.action), (Action::Restore, Action::Delete), "{name}");
        assert_eq!((restore.guard, delete.guard), (Some(copies), Some(deletes)), "{name}");
        let ignored = [copies, deletes].iter().filter(|guard| **guard == Guard::CheckFirst).count();
        let said = plan.header.warnings.iter().filter(|warning| warning.contains("NOT atomic")).count();
        assert_eq!(said, ignored, "{name}: {:?}", plan.header.warnings);
        let earlier = &restore.earlier.as_ref().unwrap().seen;
        let old = before.iter().find(|past| past.bytes == b"before\n").unwrap();
        assert_eq!(earlier.version.as_ref().map(|id| &id.0), old.version.as_ref(), "{name}");
        assert_eq!(scene.stranger.keys().await, ["in/new", "in/over"], "{name}: a scratch object is left");
        assert_eq!(scene.stranger.history("in/over").await.len(), before.len(), "{name}");

        scene.stranger.put("in/over", "of the run\n").await;
        scene.stranger.delete("in/new").await;
        scene.noclobber(&["rollback", "report.csv", "-o", "back.jsonl"]).exits(3);
        let plan = scene.plan("back.jsonl");
        let told = |key| (step(&plan.steps, key).action, step(&plan.steps, key).reason);
        assert_eq!(told("in/over"), (Action::Refuse, Reason::Moved), "{name}");
        assert_eq!(told("in/new"), (Action::Unchanged, Reason::Undone), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_server_keeps_no_versions_what_was_replaced_is_refused_and_a_delete_says_that_it_is_for_good() {
    for (name, ..) in SERVERS {
        let Some(scene) = scene(name, Versioning::Off).await else { continue };
        scene.noclobber(&["rollback", "report.csv", "-o", "back.jsonl", "--no-probe"]).exits(3);
        let plan = scene.plan("back.jsonl");
        let (gone, delete) = (step(&plan.steps, "in/over"), step(&plan.steps, "in/new"));
        assert_eq!((gone.action, gone.reason), (Action::Refuse, Reason::Gone), "{name}");
        assert_eq!((delete.action, delete.guard), (Action::Delete, None), "{name}");
        assert!(delete.note.as_ref().unwrap().contains("gone for good"), "{name}: {delete:?}");
    }
}
