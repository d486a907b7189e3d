//! What other tools wrote is recognised, and other content of the same size never is.
//!
//! The tools are real ones, installed by `scripts/servers`. Which rung of the ladder speaks is part of the expectation: a
//! server or a tool that begins to tell more, or less, changes what a reader of a plan may rely on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod opaque;
mod restore;
#[path = "../support/mod.rs"]
mod support;
mod tools;

use std::fmt::Write as _;

use noclobber::model::step::{Action, Reason, Step};
use noclobber::sandbox::{Options, Sandbox, serve};

use support::scene::{Scene, noise};
use support::{Server, Versioning, server};
use tools::Tools;

const MIB: usize = 1 << 20;

/// The sources: one that goes in one request, one in the parts of boto3, the AWS CLI and rclone, one in s5cmd's.
const SOURCES: [(&str, usize); 4] = [("empty", 0), ("small", 10_000), ("parts", 12 * MIB + 5), ("large", 60 * MIB + 3)];

/// What two plans under `never` say of an object: over the same content, and over other content of the same size. A rung,
/// or that nothing is proven; nothing where the server does not take such an object.
type Said = Option<(&'static str, &'static str)>;

struct Object {
    /// Begins with the tool that writes it; the rest says how, where it is not the tool's default.
    key: &'static str,
    source: &'static str,
    ministack: Said,
    seaweedfs: Said,
    /// The nearest to S3: it holds the checksums that S3 holds.
    sandbox: Said,
}

const UNPROVEN: &str = "unproven";
/// The object's own CRC32: boto3 and the AWS CLI send one with a single request.
const CRC32: Said = Some(("crc32", "crc32"));
/// S3 makes it where a tool sends no checksum.
const CRC64: Said = Some(("crc64nvme", "crc64nvme"));
const SHA256: Said = Some(("sha256", "sha256"));
const MD5: Said = Some(("etag-md5", "etag-md5"));
/// Three parts or more: they may have been cut otherwise.
const PARTS: Said = Some(("etag-parts", UNPROVEN));
/// Two parts, the first of which was told: the second is the rest.
const TWO_PARTS: Said = Some(("etag-parts", "etag-parts"));
const COMPOSITE: Said = Some(("sha256-composite", UNPROVEN));
const TWO_IN_COMPOSITE: Said = Some(("sha256-composite", "sha256-composite"));
const UNKNOWN: Said = Some((UNPROVEN, UNPROVEN));
const EMPTY: Said = Some(("empty", "empty"));

/// Ministack's HEAD tells no part's size, so that only the usual ones are tried there.
///
/// With CRC32, which boto3 and the AWS CLI send by default, S3 holds of a multipart object only the composite of the
/// parts' CRCs; so the ETag decides.
#[rustfmt::skip]
const OBJECTS: [Object; 22] = [
    Object { key: "boto3/a b+ü 日本.txt",     source: "small", ministack: CRC32,    seaweedfs: CRC32,            sandbox: CRC32 },
    Object { key: "boto3/empty",             source: "empty", ministack: EMPTY,    seaweedfs: EMPTY,            sandbox: EMPTY },
    Object { key: "boto3/8 MiB",             source: "parts", ministack: PARTS,    seaweedfs: TWO_PARTS,        sandbox: TWO_PARTS },
    Object { key: "boto3/7 MiB",             source: "parts", ministack: UNKNOWN,  seaweedfs: TWO_PARTS,        sandbox: TWO_PARTS },
    Object { key: "boto3/6 MiB",             source: "parts", ministack: UNKNOWN,  seaweedfs: PARTS,            sandbox: PARTS },
    // Parts of many sizes match at none.
    Object { key: "boto3/5, 6, 1 MiB",       source: "parts", ministack: UNKNOWN,  seaweedfs: UNKNOWN,          sandbox: UNKNOWN },
    Object { key: "boto3/SHA256",            source: "small", ministack: SHA256,   seaweedfs: SHA256,           sandbox: SHA256 },
    Object { key: "boto3/SHA256 7 MiB",      source: "parts", ministack: UNKNOWN,  seaweedfs: TWO_IN_COMPOSITE, sandbox: TWO_IN_COMPOSITE },
    Object { key: "boto3/SHA256 6 MiB",      source: "parts", ministack: UNKNOWN,  seaweedfs: COMPOSITE,        sandbox: COMPOSITE },
    Object { key: "boto3/no checksum",       source: "small", ministack: MD5,      seaweedfs: MD5,              sandbox: CRC64 },
    Object { key: "boto3/no checksum 8 MiB", source: "parts", ministack: PARTS,    seaweedfs: TWO_PARTS,        sandbox: CRC64 },
    Object { key: "boto3/no checksum 7 MiB", source: "parts", ministack: UNKNOWN,  seaweedfs: TWO_PARTS,        sandbox: CRC64 },
    Object { key: "boto3/no checksum 6 MiB", source: "parts", ministack: UNKNOWN,  seaweedfs: PARTS,            sandbox: CRC64 },
    Object { key: "boto3/no checksum 5, 6, 1 MiB", source: "parts", ministack: UNKNOWN, seaweedfs: UNKNOWN,     sandbox: CRC64 },
    // S3 makes one piece of it, with a checksum of the whole. The others keep the ETag of the parts.
    Object { key: "boto3/copy of 8 MiB",     source: "parts", ministack: PARTS,    seaweedfs: TWO_PARTS,        sandbox: CRC32 },
    // SeaweedFS answers 500 where it was given no key to encrypt with.
    Object { key: "boto3/AES256",            source: "small", ministack: CRC32,    seaweedfs: None,             sandbox: CRC32 },
    Object { key: "aws/a b+ü 日本.txt",       source: "small", ministack: CRC32,    seaweedfs: CRC32,            sandbox: CRC32 },
    Object { key: "aws/8 MiB",               source: "parts", ministack: PARTS,    seaweedfs: TWO_PARTS,        sandbox: TWO_PARTS },
    Object { key: "s5cmd/a b+ü 日本.txt",     source: "small", ministack: MD5,      seaweedfs: MD5,              sandbox: CRC64 },
    Object { key: "s5cmd/50 MiB",            source: "large", ministack: PARTS,    seaweedfs: TWO_PARTS,        sandbox: CRC64 },
    Object { key: "rclone/a b+ü 日本.txt",    source: "small", ministack: MD5,      seaweedfs: MD5,              sandbox: CRC64 },
    Object { key: "rclone/5 MiB",            source: "parts", ministack: PARTS,    seaweedfs: PARTS,            sandbox: CRC64 },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_tools_wrote_to_ministack_is_recognised_and_other_content_never_is() {
    let Some(server) = server("ministack") else { return };
    holds(&server, |object| object.ministack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_tools_wrote_to_seaweedfs_is_recognised_and_other_content_never_is() {
    let Some(server) = server("seaweedfs") else { return };
    holds(&server, |object| object.seaweedfs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_tools_wrote_to_the_sandbox_is_recognised_and_other_content_never_is() {
    let (_sandbox, server, _folder) = sandbox().await;
    holds(&server, |object| object.sandbox).await;
}

/// Has every tool write its objects, and plans over them twice: with the same files, and with one byte changed in each.
async fn holds(server: &Server, said: fn(&Object) -> Said) {
    let Some(tools) = Tools::new(server) else { return };
    let scene = Scene::new(server, Versioning::Off).await;
    for (seed, (name, bytes)) in (1..).zip(SOURCES) {
        let mut content = noise(seed, bytes);
        scene.write(&format!("same/{name}"), &content);
        if let Some(byte) = content.get_mut(bytes / 2) {
            *byte ^= 1;
        }
        scene.write(&format!("other/{name}"), &content);
    }
    let objects: Vec<&Object> = OBJECTS.iter().filter(|object| said(object).is_some()).collect();
    let written: Vec<_> = objects.iter().map(|object| (object.key, object.source)).collect();
    tools.write_all(&scene.path("same"), &scene.stranger.bucket, &written);

    let (same, other) = (planned(&scene, "same", &objects), planned(&scene, "other", &objects));
    let (mut expected, mut found) = (String::new(), String::new());
    for (object, (same, other)) in objects.iter().zip(same.iter().zip(&other)) {
        let (to_same, to_other) = said(object).unwrap();
        // An empty file has no byte to change.
        let differs = object.source != "empty" && to_other != UNPROVEN;
        let to_other = if differs { format!("not {to_other}") } else { to_other.to_owned() };
        writeln!(expected, "{}: {to_same}, {to_other}", object.key).unwrap();
        writeln!(found, "{}: {}, {}", object.key, verdict(same), verdict(other)).unwrap();
    }
    assert_eq!(found, expected, "{}\nfound:\n{found}\nexpected:\n{expected}", server.name);
}

/// The steps of a plan whose sources are the files of one folder.
#[track_caller]
fn planned(scene: &Scene, folder: &str, objects: &[&Object]) -> Vec<Step> {
    let mut entries = String::new();
    for Object { key, source, .. } in objects {
        writeln!(entries, "  - source: {folder}/{source}\n    key: \"{key}\"").unwrap();
    }
    scene.manifest("", &entries);
    // A LIST tells ETags alone, and would hide what the other rungs say.
    let ran = scene.noclobber(&["plan", "m.yaml", "-o", "plan.jsonl", "--discovery", "head"]);
    assert!(matches!(ran.code, Some(0 | 3)), "{ran:?}");
    scene.plan("plan.jsonl").steps
}

/// What the plan made of it, as the table words it.
fn verdict(step: &Step) -> String {
    match (step.action, step.reason, step.proof) {
        (Action::Unchanged, Reason::Same, Some(proof)) => proof.to_string(),
        (Action::Refuse, Reason::Differs, Some(proof)) => format!("not {proof}"),
        (Action::Refuse, Reason::Unproven, None) => UNPROVEN.to_owned(),
        other => format!("{other:?}"),
    }
}

async fn sandbox() -> (Sandbox, Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = serve(Options::new(folder.path())).await.unwrap();
    let server = Server {
        name: "sandbox",
        endpoint: sandbox.endpoint().to_owned(),
        access_key: sandbox.access_key().to_owned(),
        secret_key: sandbox.secret_key().to_owned(),
    };
    (sandbox, server, folder)
}
