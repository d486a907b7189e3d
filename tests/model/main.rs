//! The write state machine that every write goes through, walked by a model checker through every history of a small
//! bucket: other uploaders, a stranger who asks for no conditions, a deleter, a network that loses, delays and repeats,
//! a client that is killed and started again. The type under test is `guard::Write` itself.
//!
//! `NOCLOBBER_WORLDS=large cargo nextest run --release --test model` explores larger ones, by the million.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod client;
mod laws;
mod server;
mod world;

use noclobber::model::write::Refusal;
use stateright::{Checker, HasDiscoveries, Model};

use client::{
    CallsADoubtLost, CallsEvery412Lost, CallsSilenceAFailure, Client, ForgetsItsDoubt, ForgetsTheCrash, Ours, Planned,
    ResendsWithoutCondition, TakesAnyObjectForItsOwn, patience,
};
use world::{Bounds, World};

/// A key that is free, and two who plan to create it, while somebody else writes or deletes and one process dies.
fn two_creates() -> Bounds {
    Bounds {
        is_versioned: true,
        is_hidden: false,
        before: None,
        uploaders: vec![Planned::create("a", "new a"), Planned::create("b", "new b")],
        patience: patience(1, 0, 1, 1),
        contents: vec!["else"],
        strikes: 1,
        deletes: 1,
        resumes: 1,
        copies: 0,
        noes: vec![Refusal::Conflict],
        mangles: false,
        answers_wait: false,
        reaches: vec!["done: told", "done: seen", "lost", "unknown", "unknown, stored", "failed", "all stored"],
    }
}

/// A key with one object, and one who plans to replace it.
fn one_replace() -> Bounds {
    Bounds {
        before: Some("old"),
        uploaders: vec![Planned::replace("a", "old", "new a")],
        contents: vec!["old", "else"],
        strikes: 2,
        ..two_creates()
    }
}

/// The same with more patience, another death and another strike, where that is asked for.
fn at_size(mut bounds: Bounds) -> Bounds {
    if std::env::var("NOCLOBBER_WORLDS").is_ok_and(|size| size == "large") {
        bounds.patience.doubts += 1;
        bounds.patience.looks += 1;
        bounds.strikes += 1;
        bounds.resumes += 1;
    }
    bounds
}

/// Walks all of a world. Every law holds in every state, and all that it is said to reach is reached.
fn explore(name: &str, bounds: Bounds) {
    let bounds = at_size(bounds);
    let checker = World { client: Ours, bounds }.checker().threads(2).spawn_bfs().join();
    let (unique, depth) = (checker.unique_state_count(), checker.max_depth());
    eprintln!("{name}: {unique} states, {} steps between them, at most {depth} deep", checker.state_count());
    checker.assert_properties();
    assert!(checker.is_done() && unique > 1000, "only {unique} states were seen");
}

/// A client that gets something wrong breaks this law.
#[track_caller]
fn catch<C: Client>(client: C, bounds: Bounds, law: &'static str) {
    let broken = HasDiscoveries::AnyOf([law].into());
    let bounds = Bounds { reaches: Vec::new(), ..bounds };
    let checker = World { client, bounds }.checker().threads(2).finish_when(broken).spawn_bfs().join();
    let Some(path) = checker.discovery(law) else { panic!("it was not caught") };
    eprintln!("{law}: broken by {:?}", path.into_actions());
}

#[test]
fn two_creates_of_one_key_keep_the_promise() {
    let mut bounds = two_creates();
    bounds.reaches.extend(["done: found", "stored twice"]);
    explore("two creates", bounds);
}

#[test]
fn two_creates_keep_the_promise_where_nothing_is_versioned() {
    explore("unversioned", Bounds { is_versioned: false, ..two_creates() });
}

#[test]
fn a_create_in_parts_keeps_the_promise_beside_one_in_one_piece() {
    let uploaders = vec![Planned::create("a", "new a").in_parts(), Planned::create("b", "new b")];
    explore("in parts", Bounds { uploaders, strikes: 0, resumes: 0, ..two_creates() });
}

#[test]
fn a_replace_keeps_the_promise_beside_a_create_and_whoever_brings_the_bytes_back() {
    let mut bounds = one_replace();
    bounds.uploaders.push(Planned::create("b", "new b"));
    bounds.strikes = 1;
    bounds.noes.clear();
    bounds.reaches.retain(|end| *end != "failed");
    bounds.reaches.extend(["done: found", "the planned bytes were back"]);
    explore("replace and create", bounds);
}

#[test]
fn two_replaces_of_one_object_keep_the_promise_where_nothing_is_versioned() {
    let uploaders = vec![Planned::replace("a", "old", "new a").in_parts(), Planned::replace("b", "old", "new b")];
    let bounds = Bounds { uploaders, is_versioned: false, strikes: 1, deletes: 0, resumes: 0, ..one_replace() };
    explore("two replaces", Bounds { contents: vec!["old"], ..bounds });
}

#[test]
fn a_rewrite_of_the_same_bytes_keeps_the_promise_though_it_may_be_stored_twice() {
    let uploaders = vec![Planned::replace("a", "old", "old")];
    let mut bounds = Bounds { uploaders, resumes: 2, ..one_replace() };
    bounds.reaches.push("stored twice");
    explore("same bytes", bounds);
}

#[test]
fn a_key_that_may_not_be_seen_keeps_the_promise() {
    let mut bounds = Bounds { is_hidden: true, ..two_creates() };
    // Nobody can see that it is stored; the history tells, where something asks for it.
    bounds.reaches.retain(|end| *end != "done: seen");
    explore("hidden", bounds);
}

#[test]
fn every_refusal_in_every_place_keeps_the_promise() {
    for uploader in [Planned::replace("a", "old", "new a"), Planned::replace("a", "old", "new a").in_parts()] {
        let noes = vec![
            Refusal::Conflict,
            Refusal::Throttled,
            Refusal::SourceChanged,
            Refusal::Stop,
            Refusal::Failed,
            Refusal::Source,
            Refusal::NoSuchUpload,
        ];
        let mut bounds = Bounds { noes, mangles: true, uploaders: vec![uploader], ..one_replace() };
        bounds.patience = patience(1, 1, 1, 2);
        bounds.strikes = 1;
        bounds.reaches.extend(["source-changed", "stopped", "done: found"]);
        explore("refusals", bounds);
    }
}

#[test]
fn a_request_that_is_sent_twice_on_the_way_stores_what_its_row_says_or_after_the_row() {
    let mut bounds = one_replace();
    bounds.uploaders.push(Planned::create("b", "new b").in_parts());
    bounds.copies = 1;
    bounds.strikes = 1;
    bounds.resumes = 0;
    bounds.noes.clear();
    bounds.reaches.retain(|end| *end != "failed");
    bounds.reaches.push("no, and a copy stored it");
    explore("copies", bounds);
}

#[test]
fn answers_that_take_their_time_change_nothing() {
    for (before, uploader) in
        [(None, Planned::create("a", "new a")), (Some("old"), Planned::replace("a", "old", "new a").in_parts())]
    {
        let mut bounds = Bounds { before, uploaders: vec![uploader], answers_wait: true, strikes: 1, ..one_replace() };
        bounds.reaches.push("done: found");
        explore("answers wait", bounds);
    }
}

#[test]
fn a_client_that_calls_every_412_lost_is_caught() {
    catch(CallsEvery412Lost, two_creates(), laws::DOUBTS);
    catch(CallsEvery412Lost, two_creates(), laws::DENIES);
    // Without any doubt of its own: the other copy of its request was there first.
    catch(CallsEvery412Lost, Bounds { copies: 1, ..two_creates() }, laws::OURS);
}

#[test]
fn a_client_that_calls_a_doubt_lost_is_caught() {
    catch(CallsADoubtLost, two_creates(), laws::DENIES);
    catch(CallsADoubtLost, one_replace(), laws::THEIRS);
}

#[test]
fn a_client_that_takes_silence_for_a_failure_is_caught() {
    catch(CallsSilenceAFailure, two_creates(), laws::DENIES);
}

#[test]
fn a_client_that_forgets_its_doubt_is_caught() {
    catch(ForgetsItsDoubt, two_creates(), laws::DOUBTS);
    catch(ForgetsItsDoubt, one_replace(), laws::DENIES);
}

#[test]
fn a_client_that_forgets_the_crash_is_caught() {
    catch(ForgetsTheCrash, two_creates(), laws::DENIES);
}

#[test]
fn a_client_that_sends_again_without_its_condition_is_caught() {
    catch(ResendsWithoutCondition, two_creates(), laws::BURIES);
    catch(ResendsWithoutCondition, one_replace(), laws::BURIES);
}

#[test]
fn a_client_that_takes_any_object_for_its_own_is_caught() {
    catch(TakesAnyObjectForItsOwn, two_creates(), laws::CLAIMS);
}
