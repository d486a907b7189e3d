//! A server that is asked for too much: it is asked for less, then for more again, and never for more than was allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use noclobber::flow::apply::Settings;
use noclobber::model::entry::Rule;
use noclobber::sandbox::{Fault, Kind};
use noclobber::store::flaky::{Flaky, Rates};
use noclobber::store::memory::Memory;
use noclobber::store::s3::{Limits, S3, Toll};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::counted::{Counted, Parts};
use crate::world::{Run, World};

/// The probe, the first create, and its repetition go alone before anything else does.
const ALONE: u32 = 3;

async fn world_of(files: usize) -> World {
    let mut world = World::new().await;
    for n in 0..files {
        world.add(&format!("f{n}"), Rule::Never, format!("content {n}").as_bytes());
    }
    world
}

fn at_once(world: &World, concurrency: usize) -> Settings {
    Settings { concurrency, preflight: false, ..world.settings() }
}

fn all_created(run: &Run) {
    for row in &run.rows {
        assert_eq!(row.outcome.name(), "created", "{row:#?}");
    }
}

#[tokio::test]
async fn a_throttling_server_gets_fewer_requests_at_once_and_more_when_it_is_calm_again() {
    let mut world = world_of(200).await;
    let plan = world.plan().await;
    // From 16 at once it takes 16 + 8 + 4 + 2 refusals to come down to one.
    world.fault(Fault { skip: ALONE, ..Fault::on("PutObject", Kind::SlowDown).times(40) });
    let store = Counted::new(world.s3().await, Parts::Stored);
    let run = world.apply_to(Arc::new(store.clone()), &plan, at_once(&world, 16)).await;
    all_created(&run);
    world.hold_the_promise(&plan, &run).await;
    assert_eq!(run.hits, 40);
    let starts = store.log().starts;
    assert_eq!(starts.iter().max(), Some(&16), "{starts:?}");
    let (busy, calm) = starts[2..].split_at(60);
    assert_eq!(busy.iter().max(), Some(&16), "{busy:?}");
    assert_eq!(busy[32..].iter().min(), Some(&1), "it fell: {busy:?}");
    assert!(busy[32..40].iter().max() <= Some(&3), "it fell: {busy:?}");
    assert!(calm.iter().max() >= Some(&8), "it recovered: {calm:?}");
    let [note] = &run.notes[..] else { panic!("one note in a short time: {:?}", run.notes) };
    assert!(note.starts_with("target default: slowed down to 8 at once: 503 SlowDown"), "{note}");
}

#[tokio::test]
async fn a_server_that_refuses_half_of_what_it_is_sent_gets_it_all_in_the_end() {
    let mut world = world_of(100).await;
    let plan = world.plan().await;
    let rates = Rates { throttled: 500, ..Rates::calm() };
    let store = Counted::new(Flaky::new(Memory::new(), 7, rates), Parts::Stored);
    let run = world.apply_to(Arc::new(store.clone()), &plan, at_once(&world, 16)).await;
    all_created(&run);
    let starts = store.log().starts;
    assert!(starts.len() > 150, "half were refused: {}", starts.len());
    assert!(starts[40..].iter().max() <= Some(&5), "{starts:?}");
}

#[tokio::test]
async fn a_slow_bucket_does_not_slow_another() {
    let mut world = world_of(60).await;
    world.send_every_other_to("other");
    let plan = world.plan().await;
    let fast = Counted::new(Memory::new(), Parts::Stored);
    // It answers, but for its first create and the repetition, when the other one has got everything.
    let slow = Counted::new(Memory::new(), Parts::Stored).answering_after(2, &fast, 31);
    let stores = [("default", &slow), ("other", &fast)].map(|(name, store)| (name.to_owned(), Arc::new(store.clone())));
    let run = world.apply_to_all(stores.into(), &plan, at_once(&world, 8)).await;
    all_created(&run);
    assert!(!slow.log().gave_up, "the other bucket waited for the slow one");
}

#[tokio::test]
async fn parts_under_way_never_take_more_than_the_pool_and_never_go_more_at_once_than_allowed() {
    const MIB: u64 = 1 << 20;
    let mut world = World::new().await;
    for name in ["a", "b"] {
        world.add(name, Rule::Never, b"");
        let file = std::fs::File::options().write(true).open(world.file(name)).unwrap();
        file.set_len(64 * MIB + 5).unwrap();
    }
    let plan = world.plan().await;
    // (at once, pool, the most that is under way): a part is 16 MiB, and the last one short.
    for (concurrency, pool, most) in [(8, 32, 32), (8, 48, 48), (1, 48, 16)] {
        let store = Counted::new(Memory::new(), Parts::Swallowed { wanted: most * MIB });
        let settings = Settings { pool_bytes: pool * MIB, ..at_once(&world, concurrency) };
        let run = world.apply_to(Arc::new(store.clone()), &plan, settings).await;
        all_created(&run);
        assert_eq!(store.log().bytes_most, most * MIB, "{concurrency} at once, a pool of {pool} MiB");
    }
}

/// Passes bytes on to a server, and counts connections.
async fn relay(to: &str) -> (String, Arc<AtomicUsize>) {
    let to = to.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let to = to.clone();
            tokio::spawn(async move {
                if let Ok(mut far) = TcpStream::connect(to).await {
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    (endpoint, accepted)
}

#[tokio::test]
async fn connections_are_used_again() {
    for (concurrency, most) in [(1, 2), (8, 16)] {
        let mut world = world_of(150).await;
        let plan = world.plan().await;
        let (endpoint, accepted) = relay(world.sandbox.endpoint()).await;
        let store = world.s3_at(&endpoint).await;
        let run = world.apply_to(Arc::new(store), &plan, at_once(&world, concurrency)).await;
        all_created(&run);
        // The pool may open one while another comes free, so that there can be twice as many, but not one a request.
        let accepted = accepted.load(Ordering::Relaxed);
        assert!((1..=most).contains(&accepted), "{accepted} connections, {concurrency} at once");
    }
}

#[tokio::test]
async fn every_request_and_every_byte_of_a_body_is_counted() {
    let counting = || {
        let sum = Arc::new(AtomicU64::new(0));
        let toll: Toll = {
            let sum = Arc::clone(&sum);
            Arc::new(move |units| {
                sum.fetch_add(units, Ordering::Relaxed);
                Duration::ZERO
            })
        };
        (toll, sum)
    };
    let mut world = world_of(5).await;
    world.add("large", Rule::Never, &vec![7; (64 << 20) + 1]);
    world.add("mid", Rule::Never, &vec![7; 3 << 20]);
    let plan = world.plan().await;
    let before: u64 = world.sandbox.requests().values().sum();
    // Sent again by us: writes, parts, and what begins an upload. Sent again by the SDK: looks.
    world.on_put("f1", Kind::SlowDown, 2);
    world.on_put("f2", Kind::LostAfterCommit, 1);
    world.fault(Fault::on("HeadObject", Kind::ErrorBeforeCommit).times(2));
    world.fault(Fault::on("UploadPart", Kind::SlowDown).times(1).key("large"));
    world.fault(Fault::on("CreateMultipartUpload", Kind::SlowDown).times(1).key("large"));
    let ((requests, asked), (bytes, left)) = (counting(), counting());
    let store: S3 = world.s3().await.limited(Limits { requests: Some(requests), bytes: Some(bytes) });
    let run = world.apply_to(Arc::new(store), &plan, Settings { preflight: true, ..at_once(&world, 4) }).await;
    all_created(&run);
    assert_eq!(run.hits, 7);
    let after: u64 = world.sandbox.requests().values().sum();
    assert_eq!(asked.load(Ordering::Relaxed), after - before);
    let planned: u64 = plan.steps.iter().map(|step| step.local.as_ref().unwrap().size).sum();
    // What was sent again: f1 twice, the first create for its proof, one part that was refused; and no probe.
    let again = left.load(Ordering::Relaxed) - planned;
    // A refusal may come while the part is still being sent.
    let sure = 2 * 9 + 9;
    assert!((sure..=sure + (16 << 20)).contains(&again), "{again}");
}
