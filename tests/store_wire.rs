//! What S3 requests look like on the wire, and what is made of answers that no real server gives on demand.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use noclobber::model::bucket::{Aspect, Configuration, Lifecycle, Owner, Told};
use noclobber::model::digest::{Checksum, ETag, Sha256};
use noclobber::model::entry::{Key, Properties};
use noclobber::model::head::{Carried, Remote, VersionId};
use noclobber::model::target::{Addressing, ConditionalWrites, Target};
use noclobber::model::write::{Copy, Expect, Object, PutError, Refusal, WriteId, Written};
use noclobber::store::contract::object;
use noclobber::store::s3::{ConnectError, Keys, S3};
use noclobber::store::{Access, Body, Buried, Part, PartContent, PartTaken, ProbeKey, Probed, Store, UploadId};
use sha2::Digest as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Whether as much came as Content-Length promised.
    whole: bool,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A server that answers from a script and writes down what it was asked.
#[derive(Clone)]
struct Wire {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// A permit for each request that was seen to its end.
    ended: Arc<Semaphore>,
}

/// An answer, or a connection closed without one.
#[derive(Clone)]
enum Say {
    Answer(String),
    /// Said, and then closed.
    Cut(String),
    Close,
}

fn say(status: u16, headers: &str, body: &str) -> Say {
    Say::Answer(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))
}

fn error(status: u16, code: &str) -> Say {
    say(status, "x-amz-request-id: R1\r\n", &format!("<Error><Code>{code}</Code><Message>No</Message></Error>"))
}

impl Wire {
    /// Answers in turn; the last answer again and again.
    async fn start(script: impl IntoIterator<Item = Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let ended = Arc::new(Semaphore::new(0));
        let wire = Self { address, seen: Arc::clone(&seen), ended: Arc::clone(&ended) };
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&script), Arc::clone(&seen), Arc::clone(&ended)));
            }
        });
        wire
    }

    async fn store(&self) -> S3 {
        self.store_with(|_| ()).await
    }

    async fn store_with(&self, change: impl FnOnce(&mut Target)) -> S3 {
        let mut target = Target {
            name: "default".into(),
            bucket: "bkt".into(),
            endpoint: format!("http://{}", self.address),
            region: "eu-west-1".into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        change(&mut target);
        S3::connect(&target, Keys::Static { access_key: "AK".into(), secret_key: "SK".into() }).await.unwrap()
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut connection: TcpStream,
    script: Arc<Mutex<VecDeque<Say>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    ended: Arc<Semaphore>,
) {
    let mut buffer = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if connection.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
        let mut whole = true;
        while buffer.len() < head_end + length {
            if connection.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                whole = false;
                break;
            }
        }
        let rest = buffer.split_off(buffer.len().min(head_end + length));
        let body = buffer.split_off(head_end);
        buffer = rest;
        seen.lock().unwrap().push(Seen { line, headers, body, whole });
        ended.add_permits(1);
        let next = {
            let mut script = script.lock().unwrap();
            if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
        };
        match next {
            Some(Say::Answer(text)) if whole => connection.write_all(text.as_bytes()).await.unwrap(),
            Some(Say::Cut(text)) => {
                connection.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            _ => return,
        }
    }
}

async fn put(store: &S3, object: &Object, bytes: &'static [u8], expect: &Expect) -> Result<Written, PutError> {
    store.put(object, Body::Bytes(Bytes::from_static(bytes)), expect, Arc::new(|_| ())).await
}

fn unchanged() -> Expect {
    Expect::Unchanged(ETag::new("abc"))
}

fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// An object of one part, uploaded.
fn one_part() -> (Object, PartTaken) {
    let part = sha256(b"part");
    let digest = sha256(&part.0);
    let checksum = Checksum::Composite { digest, parts: 1, part_bytes: 5 << 20 };
    let object = Object { checksum, ..object("k", b"part", "run-1") };
    (object, PartTaken { number: 1, etag: ETag::new("p"), sha256: part })
}

#[tokio::test]
async fn a_write_carries_its_condition_and_its_checksum_and_a_plain_body() {
    let ok = say(200, "ETag: \"e1\"\r\nx-amz-version-id: v1\r\nx-amz-request-id: R9\r\n", "");
    let wire = Wire::start([ok]).await;
    let store = wire.store().await;
    let planned = object("dir/a b+ü.csv", b"bytes", "run-1");
    let written = put(&store, &planned, b"bytes", &Expect::Absent).await.unwrap();
    assert_eq!(written.etag, Some(ETag::new("e1")));
    assert_eq!(written.version.unwrap().0, "v1");
    assert_eq!(written.request_id.as_deref(), Some("R9"));
    put(&store, &planned, b"bytes", &unchanged()).await.unwrap();
    put(&store, &object("empty", b"", "run-2"), b"", &Expect::Absent).await.unwrap();
    let seen = wire.seen();
    assert_eq!(seen[0].line, "PUT /bkt/dir/a%20b%2B%C3%BC.csv?x-id=PutObject HTTP/1.1");
    for (name, value) in [
        ("if-none-match", Some("*")),
        ("if-match", None),
        ("content-length", Some("5")),
        ("x-amz-checksum-sha256", Some(sha256(b"bytes").to_base64().as_str())),
        ("x-amz-content-sha256", Some("UNSIGNED-PAYLOAD")),
        ("x-amz-meta-noclobber-write-id", Some("run-1")),
        ("x-amz-meta-noclobber-sha256", Some(planned.checksum.to_string().as_str())),
        ("transfer-encoding", None),
        ("content-encoding", None),
        ("x-amz-trailer", None),
        ("x-amz-sdk-checksum-algorithm", None),
        ("x-amz-checksum-crc32", None),
        ("expect", None),
    ] {
        assert_eq!(seen[0].header(name), value, "{name}");
    }
    let signed = seen[0].header("authorization").unwrap();
    assert!(signed.contains("if-none-match") && signed.contains("x-amz-checksum-sha256"), "unsigned: {signed}");
    assert_eq!(seen[0].body, b"bytes");
    assert_eq!((seen[1].header("if-match"), seen[1].header("if-none-match")), (Some("\"abc\""), None));
    assert_eq!((seen[2].header("content-length"), seen[2].header("if-none-match")), (Some("0"), Some("*")));
}

#[tokio::test]
async fn a_write_is_sent_once_whatever_the_answer() {
    for (answer, unknown) in [
        (error(500, "InternalError"), true),
        (error(503, "SlowDown"), false),
        (Say::Close, true),
        (say(200, "", ""), false),
    ] {
        let wire = Wire::start([answer]).await;
        let store = wire.store().await;
        let planned = object("k", b"bytes", "run-1");
        let result = put(&store, &planned, b"bytes", &Expect::Absent).await;
        assert_eq!(matches!(result, Err(PutError::Unknown(_))), unknown, "{result:?}");
        assert_eq!(wire.seen().len(), 1, "{result:?}");
    }
}

#[tokio::test]
async fn a_write_over_a_used_connection_is_not_repeated_when_its_answer_is_lost() {
    let ok = say(200, "ETag: \"e1\"\r\n", "");
    let wire = Wire::start([ok, Say::Close]).await;
    let store = wire.store().await;
    let planned = object("k", b"bytes", "run-1");
    put(&store, &planned, b"bytes", &Expect::Absent).await.unwrap();
    let lost = put(&store, &planned, b"bytes", &unchanged()).await;
    assert!(matches!(lost, Err(PutError::Unknown(_))), "{lost:?}");
    assert_eq!(wire.seen().len(), 2);
}

#[tokio::test]
async fn a_redirect_of_a_write_is_not_followed_and_names_the_region() {
    let elsewhere = Wire::start([say(200, "ETag: \"e1\"\r\n", "")]).await;
    let redirect = say(
        307,
        &format!("Location: http://{}/bkt/k\r\nx-amz-bucket-region: eu-central-1\r\n", elsewhere.address),
        "<Error><Code>TemporaryRedirect</Code><Message>Elsewhere.</Message></Error>",
    );
    let wire = Wire::start([redirect]).await;
    let result = put(&wire.store().await, &object("k", b"x", "run-1"), b"x", &Expect::Absent).await;
    let Err(PutError::Refused(Refusal::Failed, cause)) = result else { panic!("{result:?}") };
    assert_eq!(cause.message, "Elsewhere. The bucket is in eu-central-1: set `region: eu-central-1` and plan again");
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn a_file_that_changed_is_never_whole_on_the_wire() {
    let planned = vec![7; 3 << 20];
    let mut now = planned.clone();
    now[3 << 19] = 8;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&now).unwrap();
    let wire = Wire::start([say(200, "ETag: \"e1\"\r\n", "")]).await;
    let store = wire.store().await;
    let body = Body::File(file.path().to_owned());
    let result = store.put(&object("k", &planned, "run-1"), body, &Expect::Absent, Arc::new(|_| ())).await;
    let Err(PutError::Refused(Refusal::SourceChanged, cause)) = result else { panic!("{result:?}") };
    assert!(cause.message.contains(&file.path().display().to_string()), "{}", cause.message);
    let _end = wire.ended.acquire().await.unwrap();
    let seen = &wire.seen()[0];
    assert!(!seen.whole && seen.body.len() < planned.len(), "{} bytes arrived", seen.body.len());
}

#[tokio::test]
async fn a_small_file_that_changed_is_not_sent_at_all() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"now").unwrap();
    let wire = Wire::start([say(200, "ETag: \"e1\"\r\n", "")]).await;
    let body = Body::File(file.path().to_owned());
    let planned = object("k", b"old", "run-1");
    let result = wire.store().await.put(&planned, body, &Expect::Absent, Arc::new(|_| ())).await;
    assert!(matches!(result, Err(PutError::Refused(Refusal::SourceChanged, _))), "{result:?}");
    assert_eq!(wire.seen().len(), 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_applied_nothing() {
    let wire = Wire::start([Say::Close]).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let store = wire.store_with(|target| target.endpoint = format!("http://{nobody}")).await;
    let result = put(&store, &object("k", b"bytes", "run-1"), b"bytes", &Expect::Absent).await;
    assert!(matches!(result, Err(PutError::Refused(Refusal::Throttled, _))), "{result:?}");
}

#[tokio::test]
async fn a_complete_that_fails_inside_a_200_is_an_error() {
    let (object, taken) = one_part();
    let inside = |code: &str| {
        say(200, "", &format!("<?xml version=\"1.0\"?>\n   \n<Error><Code>{code}</Code><Message>No</Message></Error>"))
    };
    for (answer, wanted) in [
        (inside("InternalError"), "unknown"),
        (inside("PreconditionFailed"), "lost"),
        (error(404, "NoSuchUpload"), "unknown"),
        (error(409, "ConditionalRequestConflict"), "conflict"),
        (
            Say::Cut("HTTP/1.1 200 X\r\nContent-Length: 999\r\n\r\n<CompleteMultipartUploadResult><ETag>".into()),
            "unknown",
        ),
        (say(200, "", ""), "unknown"),
        (say(200, "", "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"), "unknown"),
        (say(200, "", "<CompleteMultipartUploadResult><ETag>\"e-1\"</ETag></CompleteMultipartUploadResult>"), "yes"),
    ] {
        let wire = Wire::start([answer]).await;
        let store = wire.store().await;
        let result = store.complete(&object, &UploadId("u".into()), std::slice::from_ref(&taken), &unchanged()).await;
        let got = match &result {
            Ok(_) => "yes",
            Err(PutError::Lost(_)) => "lost",
            Err(PutError::Mangled(_)) => "mangled",
            Err(PutError::Unknown(_)) => "unknown",
            Err(PutError::Refused(Refusal::Conflict, _)) => "conflict",
            Err(PutError::Refused(..)) => "refused",
        };
        assert_eq!(got, wanted, "{result:?}");
        let seen = wire.seen();
        assert_eq!((seen.len(), seen[0].header("if-match")), (1, Some("\"abc\"")));
        assert_eq!(seen[0].header("x-amz-mp-object-size"), Some("4"));
        let body = String::from_utf8_lossy(&seen[0].body).into_owned();
        assert!(body.contains(&format!("<ChecksumSHA256>{}</ChecksumSHA256>", taken.sha256.to_base64())), "{body}");
    }
}

#[tokio::test]
async fn a_put_of_which_other_content_was_stored_is_not_a_yes() {
    for (stored, yes) in [(b"bytes", true), (b"other", false)] {
        let headers = format!("ETag: \"e1\"\r\nx-amz-checksum-sha256: {}\r\n", sha256(stored).to_base64());
        let store = Wire::start([say(200, &headers, "")]).await.store().await;
        let result = put(&store, &object("k", b"bytes", "run-1"), b"bytes", &Expect::Absent).await;
        assert_eq!(result.is_ok(), yes, "{result:?}");
        assert!(yes || matches!(result, Err(PutError::Mangled(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_complete_whose_composite_is_another_is_not_a_yes() {
    let (object, taken) = one_part();
    let Checksum::Composite { digest, .. } = object.checksum else { panic!() };
    for (composite, yes) in [(digest, true), (sha256(b"other"), false)] {
        let body = format!(
            "<CompleteMultipartUploadResult><ETag>\"e-1\"</ETag><ChecksumSHA256>{}-1</ChecksumSHA256></CompleteMultipartUploadResult>",
            composite.to_base64()
        );
        let store = Wire::start([say(200, "", &body)]).await.store().await;
        let result =
            store.complete(&object, &UploadId("u".into()), std::slice::from_ref(&taken), &Expect::Absent).await;
        assert_eq!(result.is_ok(), yes, "{result:?}");
        assert!(yes || matches!(result, Err(PutError::Mangled(_))));
    }
}

#[tokio::test]
async fn a_head_that_is_forbidden_is_asked_again_without_checksums() {
    let there = say(200, "ETag: \"e1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n", "");
    let wire = Wire::start([say(403, "", ""), there]).await;
    let Ok(Remote::Present(head)) = wire.store().await.head(&Key::new("k")).await else { panic!() };
    assert_eq!(head.last_modified.as_deref(), Some("2015-10-21T07:28:00Z"));
    let modes: Vec<_> = wire.seen().iter().map(|seen| seen.header("x-amz-checksum-mode").map(str::to_owned)).collect();
    assert_eq!(modes, [Some("ENABLED".to_owned()), None]);
    let hidden = Wire::start([say(403, "", "")]).await;
    assert_eq!(hidden.store().await.head(&Key::new("k")).await, Ok(Remote::Unseen));
    assert_eq!(hidden.seen().len(), 2);
}

#[tokio::test]
async fn nothing_but_a_404_or_a_delete_marker_is_absence() {
    let absent = Wire::start([say(404, "", "")]).await;
    assert_eq!(absent.store().await.head(&Key::new("k")).await, Ok(Remote::Absent));
    // S3's answer to a HEAD of a delete marker by its version.
    let marker = Wire::start([say(405, "x-amz-delete-marker: true\r\n", "")]).await;
    let version = VersionId("m1".into());
    assert_eq!(marker.store().await.head_version(&Key::new("k"), &version).await, Ok(Remote::Absent));
    for other in
        [say(301, "x-amz-bucket-region: eu-west-2\r\n", ""), say(400, "", ""), say(405, "", ""), say(410, "", "")]
    {
        let result = Wire::start([other]).await.store().await.head(&Key::new("k")).await;
        assert!(result.is_err(), "{result:?}");
    }
}

#[tokio::test]
async fn a_listing_that_does_not_say_how_to_go_on_is_an_error() {
    let page = |rest: &str| {
        let xml = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a</Key><ETag>\"e\"</ETag><Size>1</Size></Contents>";
        say(200, "", &format!("{xml}{rest}</ListBucketResult>"))
    };
    let store = Wire::start([page("")]).await.store().await;
    assert!(store.list("", None).await.is_err());
    let store = Wire::start([page("<NextContinuationToken>t</NextContinuationToken>")]).await.store().await;
    assert_eq!(store.list("", None).await.unwrap().next.as_deref(), Some("t"));
    assert!(store.list("", Some("t")).await.is_err());
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_asked_for_again_and_never_taken_for_a_short_one() {
    let whole =
        "<ListBucketResult><Contents><Key>a</Key><ETag>\"e\"</ETag><Size>1</Size></Contents></ListBucketResult>";
    let short = Say::Cut(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", whole.len(), &whole[..90]));
    // Without a length, its end is only where the connection ends.
    let unframed = Say::Cut(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", &whole[..90]));
    let wire = Wire::start([short.clone(), say(200, "", whole)]).await;
    let page = wire.store().await.list("", None).await.unwrap();
    assert_eq!(page.objects.iter().map(|listed| listed.key.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(wire.seen().len(), 2);
    for cut in [short, unframed] {
        let store = Wire::start(vec![cut; 4]).await.store().await;
        assert!(store.list("", None).await.is_err());
    }
}

#[tokio::test]
async fn an_error_inside_a_200_is_no_empty_listing() {
    let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let store = Wire::start([say(200, "", body)]).await.store().await;
    assert_eq!(store.list("", None).await.unwrap_err().cause.code, "AccessDenied");
}

#[tokio::test]
async fn delete_markers_take_their_place_among_the_versions() {
    let version = |tag: &str, key: &str, id: &str, latest: bool, second: u32| {
        let time = format!("2026-01-01T00:00:0{second}.000Z");
        let rest = if tag == "Version" { "<ETag>\"e\"</ETag>" } else { "" };
        format!(
            "<{tag}><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{latest}</IsLatest><LastModified>{time}</LastModified>{rest}</{tag}>"
        )
    };
    let body = [
        version("Version", "k", "v4", true, 4),
        version("DeleteMarker", "k", "m3", false, 3),
        version("Version", "k", "v2", false, 2),
        version("Version", "k", "v1", false, 1),
        version("Version", "key", "x9", true, 9),
    ]
    .concat();
    let answer = say(200, "", &format!("<ListVersionsResult>{body}</ListVersionsResult>"));
    let store = Wire::start([answer]).await.store().await;
    let versions = store.versions(&Key::new("k"), 10).await.unwrap();
    let ids: Vec<_> = versions.iter().map(|version| version.id.0.as_str()).collect();
    assert_eq!(ids, ["v4", "m3", "v2", "v1"]);
    assert!(versions[1].etag.is_none() && versions[0].is_latest);
}

#[tokio::test]
async fn every_request_names_the_expected_owner_and_who_pays() {
    let wire = Wire::start([error(400, "InvalidArgument")]).await;
    let store = wire
        .store_with(|target| {
            target.owner = Some("111122223333".into());
            target.request_payer = true;
        })
        .await;
    let (key, upload) = (Key::new("k"), UploadId("u".into()));
    let (parted, taken) = one_part();
    let probe = ProbeKey::new(&key, "run");
    let part = Part { number: 1, content: PartContent::Bytes(Bytes::from_static(b"part")), sha256: taken.sha256 };
    let failed = [
        store.access().await.is_err(),
        store.head(&key).await.is_err(),
        store.list("", None).await.is_err(),
        store.versions(&key, 1).await.is_err(),
        store.tags(&key).await.is_err(),
        put(&store, &object("k", b"x", "run-1"), b"x", &Expect::Absent).await.is_err(),
        store.create_upload(&parted).await.is_err(),
        store.put_part(&parted, &upload, part).await.is_err(),
        store.complete(&parted, &upload, &[taken], &Expect::Absent).await.is_err(),
        store.abort(&key, &upload).await.is_err(),
        store.probe_put(&probe).await.is_err(),
        store.probe_complete(&probe).await.is_err(),
        store.remove_probe(&probe).await.is_err(),
    ];
    assert_eq!(failed, [true; 13]);
    let seen = wire.seen();
    // remove_probe looks for versions first.
    assert_eq!(seen.len(), 14);
    for seen in seen {
        assert_eq!(seen.header("x-amz-expected-bucket-owner"), Some("111122223333"), "{}", seen.line);
        let pays = if seen.line.starts_with("HEAD /bkt ")
            || seen.line.starts_with("HEAD /bkt?")
            || seen.line.starts_with("HEAD /bkt/ ")
        {
            // HeadBucket has no such header.
            None
        } else {
            Some("requester")
        };
        assert_eq!(seen.header("x-amz-request-payer"), pays, "{}", seen.line);
    }
}

#[tokio::test]
async fn access_says_what_to_do() {
    let told = async |answer: Say| {
        let store = Wire::start([answer]).await.store_with(|target| target.owner = Some("111122223333".into())).await;
        store.access().await
    };
    let doubtful = told(say(403, "", "")).await;
    let Ok(Access::Doubtful(why)) = doubtful else { panic!("{doubtful:?}") };
    assert!(why.contains("s3:ListBucket") && why.contains("111122223333"), "{why}");
    let none = told(say(404, "", "")).await.unwrap_err();
    assert!(none.stop && none.cause.message.contains("check `bucket:`"), "{none}");
    let moved = told(say(301, "x-amz-bucket-region: eu-central-1\r\n", "")).await.unwrap_err();
    assert!(moved.cause.message.contains("set `region: eu-central-1`"), "{moved}");
}

#[tokio::test]
async fn a_probe_is_honoured_only_by_a_412_or_a_404() {
    let probe = ProbeKey::new(&Key::new("k"), "run");
    for (answer, wanted) in [
        (error(412, "PreconditionFailed"), Some(Probed::Honoured)),
        (error(404, "NoSuchKey"), Some(Probed::Honoured)),
        (say(200, "ETag: \"e\"\r\n", ""), Some(Probed::Ignored)),
        (error(404, "NoSuchBucket"), None),
        (error(403, "AccessDenied"), None),
        (error(501, "NotImplemented"), None),
        (error(500, "InternalError"), None),
        (Say::Close, None),
    ] {
        let store = Wire::start([answer]).await.store().await;
        assert_eq!(store.probe_put(&probe).await.ok(), wanted);
    }
}

#[tokio::test]
async fn a_sandbox_target_without_its_server_is_refused() {
    let wire = Wire::start([Say::Close]).await;
    let mut target = None;
    wire.store_with(|t| target = Some(t.clone())).await;
    let target = Target { endpoint: "sandbox".into(), ..target.unwrap() };
    let result = S3::connect(&target, Keys::Ambient).await.map(drop);
    assert_eq!(result, Err(ConnectError::Sandbox { bucket: "bkt".into() }));
}

/// What is made of one answer to GetBucketLifecycleConfiguration.
async fn lifecycle(answer: Say) -> Told<Lifecycle> {
    let wire = Wire::start([answer]).await;
    let told = wire.store().await.bucket(&[Aspect::Lifecycle]).await.unwrap();
    assert_eq!(told, Configuration { lifecycle: told.lifecycle.clone(), ..Configuration::default() });
    told.lifecycle
}

fn rules(inner: &str) -> Say {
    say(
        200,
        "",
        &format!(
            "<LifecycleConfiguration xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{inner}</LifecycleConfiguration>"
        ),
    )
}

#[tokio::test]
async fn a_lifecycle_that_is_not_read_to_its_last_element_is_not_told() {
    let rule = "<Rule><ID>r</ID><Status>Enabled</Status><Filter/>";
    for answer in [
        // The SDK would pass over it, and a fix that puts the whole back would lose it.
        rules(&format!("{rule}<NewAction><Days>1</Days></NewAction></Rule>")),
        rules("<Rule><ID>r</ID><Status>Paused</Status><Filter/></Rule>"),
        say(200, "", &format!("<LifecycleConfiguration>{rule}</Rule>")),
        say(200, "", "<html><body>It works!</body></html>"),
        say(200, "", "<ListBucketResult><Name>bkt</Name></ListBucketResult>"),
        say(200, "", ""),
        error(404, "NoSuchKey"),
        error(404, "NotFound"),
    ] {
        let Say::Answer(text) = &answer else { panic!() };
        let (text, told) = (text.clone(), lifecycle(answer).await);
        assert!(matches!(told, Told::Failed(_)), "{text}: {told:?}");
    }
    assert_eq!(lifecycle(error(404, "NoSuchLifecycleConfiguration")).await, Told::NotSet);
    assert_eq!(lifecycle(error(403, "AccessDenied")).await, Told::NotAllowed);
    assert_eq!(lifecycle(error(405, "MethodNotAllowed")).await, Told::NotSupported);
    let Told::Is(told) = lifecycle(rules(&format!(
        "{rule}<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration></Rule>"
    )))
    .await
    else {
        panic!()
    };
    assert_eq!(told.rules[0].noncurrent_version_expiration.as_ref().unwrap().noncurrent_days, Some(3));
}

#[tokio::test]
async fn a_bucket_of_another_account_is_known_by_the_refusal_of_the_expected_one_alone() {
    let denied = || say(403, "", "");
    for (script, expected) in [
        (vec![say(200, "", "")], Told::Is(Owner::Expected)),
        (vec![denied(), say(200, "", "")], Told::Is(Owner::Another)),
        (vec![denied(), denied()], Told::NotAllowed),
    ] {
        let wire = Wire::start(script).await;
        let store = wire.store_with(|target| target.owner = Some("111122223333".into())).await;
        let told = store.bucket(&[Aspect::Owner]).await.unwrap();
        assert_eq!(told.owner, expected);
        let owners: Vec<bool> =
            wire.seen().iter().map(|seen| seen.header("x-amz-expected-bucket-owner").is_some()).collect();
        assert_eq!(owners[..], [true, false][..owners.len()], "{expected:?}");
    }
}

#[tokio::test]
async fn what_every_look_would_meet_is_no_configuration() {
    for (status, code) in [(404, "NoSuchBucket"), (403, "InvalidAccessKeyId"), (400, "ExpiredToken")] {
        let wire = Wire::start([error(status, code)]).await;
        let stopped = wire.store().await.bucket(&[Aspect::Policy]).await.unwrap_err();
        assert!(stopped.stop && stopped.cause.code == code, "{stopped:?}");
    }
}

fn copy(key: &str) -> Copy {
    let properties = Properties {
        content_type: Some("text/csv".into()),
        metadata: [("team".to_owned(), "finance".to_owned())].into(),
        ..Properties::default()
    };
    Copy {
        key: Key::new(key),
        version: VersionId("v/1".into()),
        etag: ETag::new("old"),
        size: 3,
        properties: Arc::new(properties),
        carried: Carried { claim: Some("sha256:00".into()), expires: Some("0".into()), ..Carried::default() },
        write_id: WriteId("run-7".into()),
    }
}

const COPIED: &str = "<CopyObjectResult><ETag>\"new\"</ETag></CopyObjectResult>";

#[tokio::test]
async fn a_copy_carries_a_condition_for_each_side_and_all_that_the_version_had() {
    let wire = Wire::start([say(200, "x-amz-version-id: v2\r\n", COPIED)]).await;
    let written = wire.store().await.copy(&copy("a b/c+d?versionId=x%ü.csv"), &unchanged()).await.unwrap();
    assert_eq!((written.etag, written.version), (Some(ETag::new("new")), Some(VersionId("v2".into()))));
    let seen = wire.seen.lock().unwrap().clone();
    let [request] = &seen[..] else { panic!("{seen:?}") };
    for (header, expected) in [
        ("x-amz-copy-source", "bkt/a%20b/c%2Bd%3FversionId%3Dx%25%C3%BC.csv?versionId=v%2F1"),
        ("x-amz-copy-source-if-match", "\"old\""),
        ("if-match", "\"abc\""),
        ("x-amz-metadata-directive", "REPLACE"),
        ("x-amz-tagging-directive", "COPY"),
        ("content-type", "text/csv"),
        // Not a date, and as it stood there.
        ("expires", "0"),
        ("x-amz-meta-team", "finance"),
        ("x-amz-meta-noclobber-sha256", "sha256:00"),
        ("x-amz-meta-noclobber-write-id", "run-7"),
    ] {
        assert_eq!(request.header(header), Some(expected), "{header}: {request:?}");
    }
    assert_eq!(request.header("if-none-match"), None);
}

#[tokio::test]
async fn a_copy_or_a_delete_is_sent_once_and_its_answers_mean_what_they_say() {
    let inside = |code: &str| say(200, "", &format!("<Error><Code>{code}</Code><Message>No</Message></Error>"));
    for (answer, expected) in [
        (error(412, "PreconditionFailed"), "lost"),
        (error(404, "NoSuchKey"), "lost"),
        (error(404, "NoSuchVersion"), "failed"),
        (error(403, "InvalidObjectState"), "failed"),
        (error(409, "ConditionalRequestConflict"), "conflict"),
        (error(503, "SlowDown"), "throttled"),
        (error(500, "InternalError"), "unknown"),
        (inside("InternalError"), "unknown"),
        (inside("PreconditionFailed"), "lost"),
        (say(200, "", "<CopyObjectResult></CopyObjectResult>"), "unknown"),
        (Say::Close, "unknown"),
    ] {
        let wire = Wire::start([answer]).await;
        let told = match wire.store().await.copy(&copy("k"), &unchanged()).await {
            Ok(_) => "yes",
            Err(PutError::Lost(_)) => "lost",
            Err(PutError::Refused(Refusal::Conflict, _)) => "conflict",
            Err(PutError::Refused(Refusal::Throttled, _)) => "throttled",
            Err(PutError::Refused(..)) => "failed",
            Err(PutError::Unknown(_) | PutError::Mangled(_)) => "unknown",
        };
        assert_eq!(told, expected);
        assert_eq!(wire.seen.lock().unwrap().len(), 1, "{expected}");
    }
    for (answer, is_lost) in [(error(412, "PreconditionFailed"), true), (error(404, ""), true), (Say::Close, false)] {
        let wire = Wire::start([answer]).await;
        let told = wire.store().await.delete(&Key::new("k"), &ETag::new("abc")).await;
        assert_eq!(matches!(told, Err(PutError::Lost(_))), is_lost, "{told:?}");
        assert_eq!(matches!(told, Err(PutError::Unknown(_))), !is_lost, "{told:?}");
        let seen = wire.seen.lock().unwrap().clone();
        let [request] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!(request.header("if-match"), Some("\"abc\""));
        assert!(request.line.starts_with("DELETE /bkt/k?x-id=DeleteObject") && !request.line.contains("versionId"));
    }
}

#[tokio::test]
async fn a_version_is_called_gone_by_a_404_alone() {
    for (answer, gone) in [(say(404, "", ""), true), (say(400, "", ""), false), (say(500, "", ""), false)] {
        let wire = Wire::start([answer]).await;
        let told = wire.store().await.buried(&Key::new("k"), &VersionId("v1".into())).await;
        assert_eq!(told == Ok(Buried::Gone), gone, "{told:?}");
        assert_eq!(told.is_err(), !gone, "{told:?}");
    }
}
