//! An S3 server that does as little as it can, so that a benchmark on one machine measures the client and not the server.
//!
//! It answers for buckets, objects in one piece or in parts, and listings, honours preconditions, and keeps everything
//! but the bytes. It never looks at signatures, and must never hold anything that somebody wants back.
//!
//!     cargo run --release --example null_server -- 127.0.0.1:9000
//!
//! `PUT /bucket?preload` with a line `key size md5` for each object stores them all at once.

// It is a program for a developer's terminal.
#![allow(clippy::print_stderr)]

mod multipart;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use tokio::net::TcpListener;

type Answer = Response<Full<Bytes>>;

/// What is kept of an object, in the forms in which it is asked for.
struct Kept {
    size: usize,
    etag: String,
    modified: Arc<Modified>,
    /// `x-amz-meta-*`, the type and the checksums, as they came. Of what was preloaded, none.
    headers: Option<Box<HeaderMap>>,
}

/// A time is written once, and not for each request.
struct Modified {
    header: HeaderValue,
    xml: String,
}

impl Modified {
    fn now() -> Option<Arc<Self>> {
        let now = Timestamp::now();
        let header = HeaderValue::from_str(&now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()?;
        Some(Arc::new(Self { header, xml: now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string() }))
    }
}

type Objects = BTreeMap<String, Kept>;

#[derive(Default)]
struct Bucket {
    objects: Objects,
    uploads: multipart::Uploads,
    /// Answers to what was asked of the bucket since its last write, by query: a second client pays for none of them.
    pages: HashMap<String, Bytes>,
}

/// Pages that are kept at once: a million keys, as one client asks for them.
const MOST_PAGES: usize = 1_100;

impl Bucket {
    fn page(&mut self, name: &str, query: &str) -> Bytes {
        if let Some(page) = self.pages.get(query) {
            return page.clone();
        }
        let page = Bytes::from(about(name, &self.objects, &self::query(query)));
        if self.pages.len() >= MOST_PAGES {
            self.pages.clear();
        }
        self.pages.insert(query.to_owned(), page.clone());
        page
    }
}

/// A larger body is neither put together nor hashed.
const LARGE_BYTES: u64 = 1 << 20;

type Buckets = Arc<Mutex<HashMap<String, Bucket>>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    eprintln!("null_server: http://{}", listener.local_addr()?);
    let buckets = Buckets::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let buckets = Arc::clone(&buckets);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&buckets), request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that hangs up is no news.
            let _ = connection.await;
        });
    }
}

async fn answer(buckets: Buckets, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let path = decode(head.uri.path().trim_start_matches('/'));
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    let query = head.uri.query().unwrap_or("");
    let is_object = head.method == Method::PUT && !key.is_empty();
    let large = is_object && body.size_hint().lower() > LARGE_BYTES;
    // The body is read to its end whatever the answer: the connection is kept.
    let mut size = 0;
    let body = if body.is_end_stream() {
        Bytes::new()
    } else if large {
        let Some(read) = multipart::drain(body).await else {
            return Ok(error(StatusCode::BAD_REQUEST, "IncompleteBody"));
        };
        size = read;
        Bytes::new()
    } else {
        let Ok(body) = body.collect().await else { return Ok(error(StatusCode::BAD_REQUEST, "IncompleteBody")) };
        body.to_bytes()
    };
    let size = if large { size } else { body.len() };
    let in_parts = !key.is_empty() && !query.is_empty() && multipart::is_meant(&head.method, &self::query(query));
    // Before the lock: hashing is most of a PUT.
    let etag = if large {
        quoted(&hex::encode(multipart::told(&head.headers)))
    } else if is_object && !in_parts {
        quoted(&hex::encode(Md5::digest(&body)))
    } else {
        String::new()
    };
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    if bucket.is_empty() {
        return Ok(names(&buckets));
    }
    if key.is_empty() && head.method == Method::PUT {
        let found = buckets.entry(bucket.to_owned()).or_default();
        found.pages.clear();
        return Ok(if query == "preload" { preload(&mut found.objects, &body) } else { Response::default() });
    }
    let Some(found) = buckets.get_mut(bucket) else { return Ok(error(StatusCode::NOT_FOUND, "NoSuchBucket")) };
    if matches!(head.method, Method::PUT | Method::POST | Method::DELETE) && !found.pages.is_empty() {
        found.pages.clear();
    }
    if head.method == Method::GET && key.is_empty() {
        return Ok(xml(found.page(bucket, query)));
    }
    let Bucket { objects, uploads, .. } = found;
    if in_parts {
        let query = self::query(query);
        return Ok(multipart::answer((uploads, objects), &head.method, key, &query, head.headers, size));
    }
    Ok(match (&head.method, key) {
        (&Method::HEAD, "") => Response::default(),

        (&Method::PUT, _) => put(objects, key, head.headers, size, etag),
        (&Method::HEAD, _) => look(objects, key),
        (&Method::DELETE, _) => {
            objects.remove(key);
            status(StatusCode::NO_CONTENT)
        }
        _ => error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
    })
}

fn put(objects: &mut Objects, key: &str, headers: HeaderMap, size: usize, etag: String) -> Answer {
    if headers.get("content-encoding").is_some_and(|v| v.as_bytes().starts_with(b"aws-chunked")) {
        return error(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
    }
    if let Some(refused) = refusal(objects, key, &headers) {
        return refused;
    }
    match keep(objects, key, headers, size, etag) {
        Some(etag) => {
            let mut answer = Response::new(Full::default());
            answer.headers_mut().insert(ETAG, etag);
            answer
        }
        None => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    }
}

/// What a request's conditions say against it.
fn refusal(objects: &Objects, key: &str, conditions: &HeaderMap) -> Option<Answer> {
    let there = objects.get(key);
    if conditions.contains_key(IF_NONE_MATCH) && there.is_some() {
        return Some(error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"));
    }
    let wanted = conditions.get(IF_MATCH)?;
    match there {
        None => Some(error(StatusCode::NOT_FOUND, "NoSuchKey")),
        Some(kept) if kept.etag.as_bytes() != wanted.as_bytes() => {
            Some(error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"))
        }
        Some(_) => None,
    }
}

/// Stores everything but the bytes, and gives the ETag as it is told.
fn keep(objects: &mut Objects, key: &str, mut headers: HeaderMap, size: usize, etag: String) -> Option<HeaderValue> {
    let modified = Modified::now()?;
    let is_kept = |name: &HeaderName| {
        ["x-amz-meta-", "x-amz-checksum-", "content-type"].iter().any(|start| name.as_str().starts_with(start))
    };
    let others: Vec<HeaderName> = headers.keys().filter(|name| !is_kept(name)).cloned().collect();
    for name in others {
        headers.remove(name);
    }
    let told = HeaderValue::from_str(&etag).ok()?;
    objects.insert(key.to_owned(), Kept { size, etag, modified, headers: Some(Box::new(headers)) });
    Some(told)
}

/// A line `key size md5` for each object. The key may have spaces in it.
fn preload(objects: &mut Objects, lines: &Bytes) -> Answer {
    let (Ok(lines), Some(modified)) = (std::str::from_utf8(lines), Modified::now()) else {
        return error(StatusCode::BAD_REQUEST, "InvalidRequest");
    };
    for line in lines.lines() {
        let mut words = line.rsplitn(3, ' ');
        let (Some(md5), Some(Ok(size)), Some(key)) = (words.next(), words.next().map(str::parse), words.next()) else {
            return error(StatusCode::BAD_REQUEST, "InvalidRequest");
        };
        let kept = Kept { size, etag: quoted(md5), modified: Arc::clone(&modified), headers: None };
        objects.insert(key.to_owned(), kept);
    }
    Response::default()
}

fn quoted(md5: &str) -> String {
    format!("\"{md5}\"")
}

fn look(objects: &Objects, key: &str) -> Answer {
    let Some(kept) = objects.get(key) else { return status(StatusCode::NOT_FOUND) };
    let mut answer = Response::new(Full::default());
    if let Some(headers) = &kept.headers {
        answer.headers_mut().clone_from(headers);
    }
    set(&mut answer, ETAG, &kept.etag);
    answer.headers_mut().insert(LAST_MODIFIED, kept.modified.header.clone());
    answer.headers_mut().insert(CONTENT_LENGTH, kept.size.into());
    answer
}

/// Everything that is asked of a bucket itself.
fn about(name: &str, objects: &Objects, query: &HashMap<String, String>) -> String {
    let told = if query.contains_key("versioning") {
        "<VersioningConfiguration/>"
    } else if query.contains_key("versions") {
        "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"
    } else if query.contains_key("location") {
        "<LocationConstraint>us-east-1</LocationConstraint>"
    } else {
        return list(name, objects, query);
    };
    document(told)
}

/// ListObjects in both versions, with or without a delimiter.
fn list(name: &str, objects: &Objects, query: &HashMap<String, String>) -> String {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let prefix = get("prefix");
    let delimiter = get("delimiter");
    let after = ["continuation-token", "start-after", "marker"].map(get).into_iter().find(|a| !a.is_empty());
    let most: usize = get("max-keys").parse().unwrap_or(1000);

    let from = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
    // No more than S3 gives at once; an object takes about 200 bytes beside its key.
    let most = most.min(1000);
    let mut body = String::with_capacity(most * 300);
    let mut count = 0;
    let mut last = "";
    let mut folder_shown = String::new();
    let mut more = false;
    for (key, kept) in objects.range::<str, _>((from, Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(prefix) else { break };
        let folder = if delimiter.is_empty() { None } else { rest.split_once(delimiter).map(|(folder, _)| folder) };
        let shown = folder.map_or(key.as_str(), |folder| &key[..prefix.len() + folder.len() + delimiter.len()]);
        // A folder is shown once, also when a page ended within it.
        if folder.is_some() && (shown == folder_shown || after.is_some_and(|after| after.starts_with(shown))) {
            continue;
        }
        if count == most {
            more = true;
            break;
        }
        count += 1;
        if folder.is_some() {
            body.push_str("<CommonPrefixes><Prefix>");
            body.push_str(&escape(shown));
            body.push_str("</Prefix></CommonPrefixes>");
            shown.clone_into(&mut folder_shown);
        } else {
            object(&mut body, shown, kept);
        }
        last = shown;
    }
    let next = escape(last);
    let next = match (more, query.contains_key("list-type")) {
        (false, _) => String::new(),
        (true, true) => format!("<NextContinuationToken>{next}</NextContinuationToken>"),
        (true, false) => format!("<NextMarker>{next}</NextMarker>"),
    };
    document(&format!(
        "<ListBucketResult><Name>{name}</Name><Prefix>{}</Prefix><KeyCount>{count}</KeyCount><MaxKeys>{most}</MaxKeys>\
         <IsTruncated>{more}</IsTruncated>{next}{body}</ListBucketResult>",
        escape(prefix)
    ))
}

/// Piece by piece: this is nearly all that a long listing costs.
fn object(body: &mut String, key: &str, kept: &Kept) {
    let size = kept.size.to_string();
    for piece in [
        "<Contents><Key>",
        &escape(key),
        "</Key><LastModified>",
        &kept.modified.xml,
        "</LastModified><ETag>",
        &escape(&kept.etag),
        "</ETag><Size>",
        &size,
        "</Size><StorageClass>STANDARD</StorageClass></Contents>",
    ] {
        body.push_str(piece);
    }
}

fn names(buckets: &HashMap<String, Bucket>) -> Answer {
    let all = buckets.keys().fold(String::new(), |all, name| all + "<Bucket><Name>" + name + "</Name></Bucket>");
    xml(document(&format!("<ListAllMyBucketsResult><Buckets>{all}</Buckets></ListAllMyBucketsResult>")))
}

fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn status(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn document(body: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}")
}

fn xml(body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    set(&mut answer, http::header::CONTENT_TYPE, "application/xml");
    answer
}

fn error(code: StatusCode, name: &str) -> Answer {
    let mut answer = xml(document(&format!("<Error><Code>{name}</Code><Message>{name}</Message></Error>")));
    *answer.status_mut() = code;
    answer
}

fn escape(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'&' | b'<' | b'>' | b'"')) {
        return text.into();
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").into()
}

fn query(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (decode(name).into_owned(), decode(&value.replace('+', " ")).into_owned())).collect()
}

/// Percent-decoding; what is no UTF-8 afterwards is replaced.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        if let Some(byte) = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned().into()
}
