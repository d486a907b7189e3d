//! Somebody else writes while we do: between the last look and the write, and truly at the same time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use noclobber::flow::apply::End;
use noclobber::model::event::Nobody;
use noclobber::model::row::Outcome;

use crate::striking::{Strike, apply_under_strikes};
use crate::support::scene::{Scene, count, noise};
use crate::support::{Server, Versioning, guarded_servers, server};

const FILES: usize = 20;

fn key(n: usize) -> String {
    format!("p/{n:02}")
}

fn ours(n: usize) -> Vec<u8> {
    noise(n as u64, 700 + 41 * n)
}

/// Half of the keys are taken by objects that the plan names, half are free.
async fn planned(server: &Server, versioning: Versioning) -> Scene {
    let scene = Scene::new(server, versioning).await;
    for n in 0..FILES {
        scene.write(&format!("in/{n:02}"), ours(n));
        if n % 2 == 0 {
            scene.stranger.put(&key(n), format!("before {n}")).await;
        }
    }
    scene.manifest("overwrite: if-changed", "  - {source: \"in/*\", key: \"p/{{ name }}\"}");
    scene.plans();
    scene
}

#[tokio::test]
async fn who_writes_between_the_last_look_and_our_put_is_never_overwritten() {
    for server in guarded_servers() {
        for (round, versioning) in [Versioning::On, Versioning::Off].into_iter().enumerate() {
            let scene = planned(&server, versioning).await;
            let mut strikes = HashMap::new();
            for n in (0..FILES).filter(|n| (n + round) % 3 == 0) {
                let strike = if n % 4 == 0 { Strike::Delete } else { Strike::Put(noise(900 + n as u64, 64)) };
                strikes.insert(key(n), strike);
            }
            let (applied, rows) = apply_under_strikes(&scene, strikes.clone(), Arc::new(Nobody), |it| it).await;
            assert!(matches!(applied.end, End::Finished), "{}: {:?}", server.name, applied.end);
            assert_eq!(count(&rows, Outcome::Lost), strikes.len(), "{}: {rows:#?}", server.name);
            let there = scene.objects().await;
            for (n, row) in rows.iter().enumerate() {
                let (outcome, bytes) = match strikes.get(&key(n)) {
                    Some(Strike::Put(bytes) | Strike::AndBack(_, bytes)) => (Outcome::Lost, Some(bytes.clone())),
                    Some(Strike::Delete | Strike::DeleteOurs) => (Outcome::Lost, None),
                    None if n % 2 == 0 => (Outcome::Replaced, Some(ours(n))),
                    None => (Outcome::Created, Some(ours(n))),
                };
                assert_eq!(row.outcome, outcome, "{}: {row:#?}", server.name);
                assert!(there.get(&key(n)) == bytes.as_ref(), "{}: {}", server.name, key(n));
                scene.hold_to_its_word(row, &ours(n)).await;
            }
        }
    }
}

#[tokio::test]
async fn who_deletes_our_first_create_makes_no_liar_of_the_server() {
    for server in guarded_servers() {
        let scene = planned(&server, Versioning::Off).await;
        // The smallest create goes alone and is repeated, to see the repetition refused.
        let (applied, rows) =
            apply_under_strikes(&scene, [(key(1), Strike::DeleteOurs)].into(), Arc::new(Nobody), |it| it).await;
        assert!(matches!(applied.end, End::Finished), "{}: {:?}", server.name, applied.end);
        assert!(rows.iter().all(|row| row.outcome.is_success()), "{}: {rows:#?}", server.name);
    }
}

/// If-Match sees content: the README says that this rewrite goes unseen. What it buries is in the history all the same.
#[tokio::test]
async fn a_rewrite_of_the_very_same_bytes_is_buried_knowingly_and_stays_in_the_history() {
    for server in guarded_servers() {
        let scene = planned(&server, Versioning::On).await;
        let strike = Strike::AndBack(b"for a while".to_vec(), b"before 0".to_vec());
        let (_, rows) = apply_under_strikes(&scene, [(key(0), strike)].into(), Arc::new(Nobody), |it| it).await;
        assert_eq!(rows[0].outcome, Outcome::Replaced, "{}", server.name);
        let history: Vec<_> = scene.stranger.history(&key(0)).await.into_iter().map(|past| past.bytes).collect();
        let expected = [ours(0), b"before 0".to_vec(), b"for a while".to_vec(), b"before 0".to_vec()];
        assert!(history == expected, "{}: {} versions", server.name, history.len());
    }
}

/// Not moto: it ignores If-Match on CompleteMultipartUpload, as the next test holds.
#[tokio::test]
async fn who_writes_between_the_last_part_and_our_complete_is_never_overwritten() {
    for server in ["ministack", "seaweedfs"].into_iter().filter_map(server) {
        let scene = Scene::new(&server, Versioning::On).await;
        let large = noise(5, 64 << 20);
        for name in ["replaced", "struck-create", "struck-replace", "vanished"] {
            scene.write(&format!("in/{name}"), &large);
        }
        for name in ["replaced", "struck-replace", "vanished"] {
            scene.stranger.put(name, b"before".to_vec()).await;
        }
        scene.manifest("overwrite: always", "  - {source: \"in/*\", key: \"{{ name }}\"}");
        scene.plans();
        let strikes = HashMap::from([
            ("struck-create".to_owned(), Strike::Put(b"a stranger's".to_vec())),
            ("struck-replace".to_owned(), Strike::Put(b"a stranger's".to_vec())),
            ("vanished".to_owned(), Strike::Delete),
        ]);
        let (applied, rows) = apply_under_strikes(&scene, strikes, Arc::new(Nobody), |it| it).await;
        assert!(matches!(applied.end, End::Finished), "{}: {:?}", server.name, applied.end);
        let outcomes: Vec<_> = rows.iter().map(|row| row.outcome).collect();
        let expected = [Outcome::Replaced, Outcome::Lost, Outcome::Lost, Outcome::Lost];
        assert_eq!(outcomes, expected, "{}: {rows:#?}", server.name);
        for row in &rows {
            scene.hold_to_its_word(row, &large).await;
        }
        for key in ["struck-create", "struck-replace"] {
            assert_eq!(scene.stranger.get(key).await.as_deref(), Some(&b"a stranger's"[..]), "{}", server.name);
        }
        assert_eq!(scene.stranger.get("vanished").await, None, "{}", server.name);
        assert_eq!(scene.stranger.open_uploads().await, 0, "{}: an upload was left open", server.name);
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_condition_on_complete_alone_gets_no_multipart_upload() {
    let Some(server) = server("moto") else { return };
    let scene = Scene::new(&server, Versioning::Off).await;
    scene.write("in/large", noise(5, 64 << 20));
    scene.write("in/small", noise(5, 64));
    scene.manifest("", "  - {source: \"in/*\", key: \"{{ name }}\"}");
    scene.plans();
    let ran = scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]).exits(3);
    ran.says(&["CompleteMultipartUpload", &server.endpoint]);
    assert_eq!(scene.stranger.keys().await, [""; 0]);
    assert_eq!(scene.stranger.open_uploads().await, 0);
    assert_eq!(count(&scene.report("r.csv"), Outcome::NotAttempted), 2);
}

/// Every stranger writes each of its keys once, and asks for no condition where it buries. So whoever comes first, what
/// is there at the end is the stranger's: were it ours, we would have overwritten it. Where the stranger only creates,
/// exactly one of the two may have been told yes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_hammer_the_same_keys_lose_nothing_to_a_run() {
    const ROUNDS: usize = 3;
    let (mut met, mut written) = (0, 0);
    let worlds = guarded_servers().into_iter().flat_map(|it| [(it.clone(), Versioning::On), (it, Versioning::Off)]);
    for (server, versioning) in worlds {
        let scene = Scene::new(&server, versioning).await;
        for n in 0..FILES {
            scene.write(&format!("in/{n:02}"), ours(n));
        }
        for round in 0..ROUNDS {
            let key = |n: usize| format!("{round}/{n:02}");
            for n in (0..FILES).step_by(4) {
                scene.stranger.put(&key(n), format!("before {n}")).await;
            }
            let entry = format!("  - {{source: \"in/*\", key: \"{round}/{{{{ name }}}}\", overwrite: if-changed}}");
            scene.manifest("", &entry);
            let run = scene.start(&["run", "m.yaml", "--out", "o", "--concurrency", "8", "--json"]);
            // The plan is drawn, and not one write was sent.
            let run = run.until(|line| line.contains(r#""begin","phase":"uploading""#));
            // From the far end, so that the two meet on the way.
            let mut strangers = tokio::task::JoinSet::new();
            for lane in 0..4 {
                let stranger = scene.stranger.clone();
                strangers.spawn(async move {
                    let mut struck = BTreeMap::new();
                    for n in (0..FILES).rev().filter(|n| n % 4 == lane) {
                        let (key, bytes) = (format!("{round}/{n:02}"), format!("a stranger's {round} {n}"));
                        let yes = match n % 2 {
                            0 => !stranger.put(&key, bytes).await.is_empty(),
                            _ => stranger.put_if_absent(&key, bytes).await,
                        };
                        struck.insert(n, yes);
                    }
                    struck
                });
            }
            let struck: BTreeMap<usize, bool> = strangers.join_all().await.into_iter().flatten().collect();
            let ran = tokio::task::spawn_blocking(|| run.ended()).await.unwrap();
            assert!(matches!(ran.code, Some(0 | 5)), "{}: {ran:?}", server.name);
            let rows = scene.report("o/report.csv");
            assert_eq!(rows.len(), FILES);
            for (n, row) in rows.iter().enumerate() {
                let done = matches!(row.outcome, Outcome::Created | Outcome::Replaced);
                let case = || format!("{}: the stranger: {:?}; {row:#?}", server.name, struck[&n]);
                assert!(done || row.outcome == Outcome::Lost, "{}", case());
                // Without versions, a write that the stranger buried has left no trace.
                if versioning == Versioning::On || !done {
                    scene.hold_to_its_word(row, &ours(n)).await;
                }
                let theirs = format!("a stranger's {round} {n}").into_bytes();
                let there = scene.stranger.get(&key(n)).await.unwrap();
                if struck[&n] {
                    let is_kept = match versioning {
                        // SeaweedFS takes a PUT without a condition between its check and its write, and then calls
                        // the other version the newest: both are there, and nothing is buried for good.
                        Versioning::On if server.name == "seaweedfs" && n % 2 == 0 => {
                            scene.stranger.history(&key(n)).await.iter().any(|past| past.bytes == theirs)
                        }
                        Versioning::On | Versioning::Off => there == theirs,
                    };
                    assert!(is_kept, "we overwrote the stranger\n{}", case());
                } else {
                    assert!(there == ours(n), "the stranger was told no, and ours is not there\n{}", case());
                }
                if n % 2 == 1 {
                    assert_ne!(done, struck[&n], "both or neither were told yes\n{}", case());
                }
                met += usize::from(!done);
                written += usize::from(done);
            }
        }
    }
    eprintln!("{met} rows met a stranger, {written} were written");
}
