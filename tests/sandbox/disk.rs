//! The folder: what survives a restart or a kill, and which folders are refused.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use noclobber::sandbox::{Error, Options, serve};

use crate::support::{BUCKET, MIB, blobs, client, start, world};

const CHILD_DIR: &str = "NOCLOBBER_TEST_SANDBOX_DIR";

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let world = world().await;
    let first = world.put("a", "1").await.version_id.unwrap();
    let put =
        world.client.put_object().bucket(BUCKET).key("a").metadata("k", "v").tagging("t=1").content_type("text/x");
    put.body(b"2".to_vec().into()).send().await.unwrap();
    world.put("gone", "1").await;
    world.client.delete_object().bucket(BUCKET).key("gone").send().await.unwrap();
    let upload = world.create_upload("parts").await;
    let parts = world.upload("parts", &upload, &[&[1; 5 * MIB], b"tail"]).await;
    let before = world.head("a").await;
    let (access, secret) = (world.sandbox.access_key().to_owned(), world.sandbox.secret_key().to_owned());
    world.sandbox.stop().await;

    let sandbox = start(world.dir.path()).await;
    // The keys are the folder's: shells that exported them go on working.
    let c = client(sandbox.endpoint(), &access, &secret);
    let after = c.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!((after.e_tag(), after.version_id()), (before.e_tag(), before.version_id()));
    assert_eq!((after.content_type(), after.metadata()), (Some("text/x"), before.metadata()));
    assert_eq!(after.last_modified(), before.last_modified());
    assert_eq!(c.get_object_tagging().bucket(BUCKET).key("a").send().await.unwrap().tag_set().len(), 1);
    let old = c.get_object().bucket(BUCKET).key("a").version_id(first).send().await.unwrap();
    assert_eq!(old.body.collect().await.unwrap().to_vec(), b"1");
    assert!(c.head_object().bucket(BUCKET).key("gone").send().await.is_err());
    let complete = c.complete_multipart_upload().bucket(BUCKET).key("parts").upload_id(upload).multipart_upload(parts);
    complete.send().await.unwrap();
    sandbox.stop().await;
}

#[tokio::test]
async fn half_written_lines_and_blobs_of_a_killed_process_are_swept() {
    let world = world().await;
    world.put("a", "1").await;
    let dir = world.dir.path().to_owned();
    world.sandbox.stop().await;
    let log = dir.join("log.jsonl");
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, [whole.as_slice(), b"{\"is\":\"version\",\"bucket\":\"a-b"].concat()).unwrap();
    let orphan = dir.join("blobs/77/9079");
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, "half").unwrap();

    let sandbox = start(&dir).await;
    assert_eq!((blobs(&dir), std::fs::read(&log).unwrap()), (1, whole));
    let c = client(sandbox.endpoint(), sandbox.access_key(), sandbox.secret_key());
    c.put_object().bucket(BUCKET).key("b").send().await.unwrap();
    sandbox.stop().await;
    let sandbox = start(&dir).await;
    let c = client(sandbox.endpoint(), sandbox.access_key(), sandbox.secret_key());
    assert_eq!(c.list_objects_v2().bucket(BUCKET).send().await.unwrap().contents().len(), 2);
}

#[tokio::test]
async fn a_log_that_is_damaged_in_the_middle_is_told_with_its_line() {
    let world = world().await;
    world.put("a", "1").await;
    let dir = world.dir.path().to_owned();
    world.sandbox.stop().await;
    let log = dir.join("log.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, format!("{}\nnonsense\n", text.trim_end())).unwrap();
    let error = serve(Options::new(&dir)).await.unwrap_err();
    assert!(matches!(error, Error::Log { line: 3, .. }), "{error}");
}

#[tokio::test]
async fn a_foreign_folder_a_remote_address_and_a_taken_port_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.doc"), "precious").unwrap();
    let error = serve(Options::new(dir.path())).await.unwrap_err();
    assert!(matches!(error, Error::NotASandbox { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    let empty = tempfile::tempdir().unwrap();
    let listen = "0.0.0.0:0".parse().unwrap();
    let error = serve(Options { listen, ..Options::new(empty.path()) }).await.unwrap_err();
    assert!(matches!(error, Error::NotLoopback { .. }), "{error}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);

    let world = world().await;
    let listen = world.sandbox.endpoint().trim_start_matches("http://").parse().unwrap();
    let error = serve(Options { listen, ..Options::new(empty.path()) }).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_free_after_a_stop() {
    let world = world().await;
    let error = serve(Options::new(world.dir.path())).await.unwrap_err();
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    world.sandbox.stop().await;
    start(world.dir.path()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_all_that_it_acknowledged_and_nothing_in_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let (mut child, endpoint, access, secret) = spawn(dir.path());
        let c = client(&endpoint, &access, &secret);
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let c = c.clone();
                tokio::spawn(async move {
                    let mut done = Vec::new();
                    for n in 0.. {
                        let key = format!("{round}/{writer}/{n}");
                        // Every third body is long enough to be spooled to disk while it comes in.
                        let body = key.repeat(if n % 3 == 0 { 2 * MIB / key.len() } else { 1 });
                        let put =
                            c.put_object().bucket(BUCKET).key(&key).if_none_match("*").body(body.into_bytes().into());
                        if put.send().await.is_err() {
                            break;
                        }
                        done.push(key);
                    }
                    done
                })
            })
            .collect();
        // Killed once enough was acknowledged to be in the middle of it, whatever the machine's speed.
        while c.list_objects_v2().bucket(BUCKET).prefix(format!("{round}/")).send().await.unwrap().contents().len() < 12
        {
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
    }
    let sandbox = start(dir.path()).await;
    let c = client(sandbox.endpoint(), sandbox.access_key(), sandbox.secret_key());
    let mut stored = Vec::new();
    let mut pages = c.list_objects_v2().bucket(BUCKET).into_paginator().send();
    while let Some(page) = pages.next().await {
        stored.extend(page.unwrap().contents().iter().map(|o| o.key().unwrap().to_owned()));
    }
    for key in &acknowledged {
        assert!(stored.contains(key), "{key} was acknowledged and is gone");
    }
    // What was not acknowledged may be there, but then whole: the SDK compares the body with its checksum.
    for key in &stored {
        let body = c.get_object().bucket(BUCKET).key(key).send().await.unwrap().body.collect().await.unwrap().to_vec();
        assert!(body.starts_with(key.as_bytes()), "{key}");
    }
    assert_eq!(blobs(dir.path()), stored.len());
}

/// Runs this test binary as a server of its own.
fn spawn(dir: &Path) -> (Child, String, String, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "disk::serve_until_killed", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find_map(|line| line.split_once("serving ").map(|(_, rest)| rest.to_owned()));
    let line = line.expect("the child serves");
    let [endpoint, access, secret] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    (child, endpoint.to_owned(), access.to_owned(), secret.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test: the server that another test kills"]
async fn serve_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let sandbox = start(Path::new(&dir)).await;
    println!("serving {} {} {}", sandbox.endpoint(), sandbox.access_key(), sandbox.secret_key());
    std::future::pending::<()>().await;
}
