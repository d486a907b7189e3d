//! A server that does not do what S3 does: it ignores conditions, or its ETags and checksums say little.

use noclobber::flow::apply::End;
use noclobber::model::entry::Rule;
use noclobber::sandbox::{Fault, Kind};

use crate::world::World;

#[tokio::test]
async fn a_server_that_ignores_conditions_is_left_before_anything_is_overwritten() {
    let mut world = World::new().await;
    world.stranger.put("theirs", "before").await;
    world.add("new", Rule::Never, b"reviewed");
    world.add("theirs", Rule::Always, b"reviewed");
    let run = world.run(|world| world.fault(Fault::on("PutObject", Kind::ConditionsIgnored))).await;
    let End::ServerIgnoresConditions(text) = &run.end else { panic!("{:?}", run.end) };
    assert!(text.contains("was removed again"), "{text}");
    assert_eq!(run.outcomes(), ["not-attempted", "not-attempted"]);
    // The probe's stray is gone, and nothing else was touched.
    assert_eq!(world.stranger.keys().await, ["theirs"]);
    assert_eq!(world.stranger.get("theirs").await.as_deref(), Some(&b"before"[..]));
}

#[tokio::test]
async fn a_stray_that_cannot_be_removed_is_named() {
    let mut world = World::new().await;
    world.add("new", Rule::Never, b"reviewed");
    let run = world
        .run(|world| {
            world.fault(Fault::on("PutObject", Kind::ConditionsIgnored));
            world.fault(Fault::on("DeleteObject", Kind::Forbidden));
        })
        .await;
    let End::ServerIgnoresConditions(text) = &run.end else { panic!("{:?}", run.end) };
    let [stray] = &world.stranger.keys().await[..] else { panic!("one stray") };
    assert!(text.contains(stray.as_str()) && text.contains("remove it by hand"), "{text}");
}

#[tokio::test]
async fn a_server_that_ignores_if_none_match_alone_is_found_out_by_the_first_create() {
    let mut world = World::new().await;
    world.stranger.put("theirs", "before").await;
    world.add("first", Rule::Never, b"1");
    world.add("second", Rule::Never, b"two");
    world.add("theirs", Rule::Always, b"reviewed");
    let plan = world.plan().await;
    // If-Match on the probe's key is honoured; the repeated create is not refused.
    world.fault(Fault::on("PutObject", Kind::ConditionsIgnored).key("first"));
    let run = world.apply(&plan).await;
    let End::ServerIgnoresConditions(text) = &run.end else { panic!("{:?}", run.end) };
    assert!(text.contains("If-None-Match"), "{text}");
    assert_eq!(run.outcomes(), ["created", "not-attempted", "not-attempted"]);
    assert_eq!(world.stranger.keys().await, ["first", "theirs"]);
    assert_eq!(world.stranger.get("theirs").await.as_deref(), Some(&b"before"[..]));
}

#[tokio::test]
async fn creates_of_a_later_stage_wait_for_proof_of_their_own() {
    let mut world = World::new().await;
    world.stranger.put("theirs", "before").await;
    world.add("theirs", Rule::Always, b"reviewed");
    for name in ["first", "second!"] {
        let entry = world.add(name, Rule::Never, name.as_bytes());
        std::sync::Arc::make_mut(&mut entry.terms).stage = Some("index".into());
    }
    let plan = world.plan().await;
    // The first stage has no create that could show it, and its replaces are guarded by a condition that is honoured.
    world.fault(Fault::on("PutObject", Kind::ConditionsIgnored).key("first"));
    let settings = noclobber::flow::apply::Settings { concurrency: 8, ..world.settings() };
    let run = world.apply_with(&plan, settings).await;
    let End::ServerIgnoresConditions(text) = &run.end else { panic!("{:?}", run.end) };
    assert!(text.contains("If-None-Match"), "{text}");
    assert_eq!(run.outcomes(), ["replaced", "created", "not-attempted"]);
    assert_eq!(world.stranger.keys().await, ["first", "theirs"]);
}

#[tokio::test]
async fn an_etag_that_is_no_md5_never_proves_sameness() {
    // (checksums kept, metadata trusted, what the second plan decides and by which proof)
    for (unchecked, trusted, action, proof) in [
        (false, true, "unchanged", Some("sha256")),
        (true, true, "unchanged", Some("claim")),
        (true, false, "refuse", None),
    ] {
        let mut world = World::new().await;
        world.target.trust_metadata = trusted;
        world.add("a", Rule::Never, b"reviewed");
        let run = world
            .run(|world| {
                world.fault(Fault::on("PutObject", Kind::KmsEtag));
                if unchecked {
                    world.fault(Fault::on("PutObject", Kind::ChecksumsIgnored));
                }
            })
            .await;
        assert_eq!(run.outcomes(), ["created"]);
        let second = world.plan().await;
        let step = &second.steps[0];
        let found = (step.action.name(), step.proof.as_ref().map(|proof| proof.name()));
        assert_eq!(found, (action, proof), "{step:#?}");
    }
}
