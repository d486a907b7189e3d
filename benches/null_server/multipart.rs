//! Uploads in parts: the bytes are counted and dropped.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{ETAG, HeaderMap};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use md5::{Digest as _, Md5};

use crate::{Answer, Objects, document, error, escape, keep, quoted, refusal, set, status, xml};

/// Uploads that nobody has completed yet, by id.
#[derive(Default)]
pub struct Uploads {
    begun: u64,
    open: HashMap<String, Upload>,
}

struct Upload {
    key: String,
    headers: HeaderMap,
    parts: BTreeMap<u32, Part>,
}

struct Part {
    size: usize,
    md5: [u8; 16],
}

/// Reads a body to its end and keeps nothing of it. `None` where the client hung up.
pub async fn drain(mut body: Incoming) -> Option<usize> {
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame.ok()?.data_ref().map_or(0, Bytes::len);
    }
    Some(size)
}

/// Whether a request is about an upload in parts, and not about an object.
pub fn is_meant(method: &Method, query: &HashMap<String, String>) -> bool {
    query.contains_key("uploadId") || (method == Method::POST && query.contains_key("uploads"))
}

/// Answers such a request, of whose body `size` bytes were read.
pub fn answer(
    (uploads, objects): (&mut Uploads, &mut Objects),
    method: &Method,
    key: &str,
    query: &HashMap<String, String>,
    headers: HeaderMap,
    size: usize,
) -> Answer {
    let Some(id) = query.get("uploadId") else {
        uploads.begun += 1;
        let id = format!("upload-{}", uploads.begun);
        let answer = format!(
            "<InitiateMultipartUploadResult><Key>{}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
            escape(key)
        );
        uploads.open.insert(id, Upload { key: key.to_owned(), headers, parts: BTreeMap::new() });
        return xml(document(&answer));
    };
    let Some(upload) = uploads.open.get_mut(id).filter(|upload| upload.key == key) else {
        return error(StatusCode::NOT_FOUND, "NoSuchUpload");
    };
    match (method, query.get("partNumber").map(|number| number.parse())) {
        (&Method::PUT, Some(Ok(number))) => {
            if headers.get("content-encoding").is_some_and(|v| v.as_bytes().starts_with(b"aws-chunked")) {
                return error(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
            }
            let md5 = told(&headers);
            upload.parts.insert(number, Part { size, md5 });
            let mut answer = Response::default();
            set(&mut answer, ETAG, &quoted(&hex::encode(md5)));
            answer
        }
        (&Method::POST, None) => complete(uploads, objects, id, &headers),
        (&Method::DELETE, None) => {
            uploads.open.remove(id);
            status(StatusCode::NO_CONTENT)
        }
        (&Method::GET, None) => xml(document(&list(upload))),
        _ => error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
    }
}

/// The MD5 that the client says the bytes have. Hashing gigabytes would measure the server: where none is told, it is
/// made up.
pub fn told(headers: &HeaderMap) -> [u8; 16] {
    let md5 = headers.get("content-md5").and_then(|md5| BASE64.decode(md5).ok()?.try_into().ok());
    md5.unwrap_or_else(|| {
        let mut hash = Md5::new();
        for (name, value) in headers {
            if name.as_str().starts_with("x-amz-checksum-") {
                hash.update(value);
            }
        }
        hash.finalize().into()
    })
}

/// Puts together all that was sent, whatever the request lists.
fn complete(uploads: &mut Uploads, objects: &mut Objects, id: &str, conditions: &HeaderMap) -> Answer {
    let Some(upload) = uploads.open.get(id) else { return error(StatusCode::NOT_FOUND, "NoSuchUpload") };
    let mut hash = Md5::new();
    let mut size = 0;
    for part in upload.parts.values() {
        hash.update(part.md5);
        size += part.size;
    }
    let etag = quoted(&format!("{}-{}", hex::encode(hash.finalize()), upload.parts.len()));
    if let Some(refused) = refusal(objects, &upload.key, conditions) {
        return refused;
    }
    let answer = format!(
        "<CompleteMultipartUploadResult><Key>{}</Key><ETag>{}</ETag></CompleteMultipartUploadResult>",
        escape(&upload.key),
        escape(&etag)
    );
    let Some(Upload { key, headers, parts: _ }) = uploads.open.remove(id) else { return status(StatusCode::NOT_FOUND) };
    match keep(objects, &key, headers, size, etag) {
        Some(_) => xml(document(&answer)),
        None => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    }
}

fn list(upload: &Upload) -> String {
    let parts = upload.parts.iter().fold(String::new(), |all, (number, part)| {
        let etag = hex::encode(part.md5);
        let size = part.size;
        all + &format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Part>"
        )
    });
    format!(
        "<ListPartsResult><Key>{}</Key><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>",
        escape(&upload.key)
    )
}
