//! Object tags.

use std::collections::BTreeMap;

use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Service;
use crate::sandbox::record::Record;

type Tags = BTreeMap<String, String>;

pub(super) fn get(
    service: &Service,
    req: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = req.input;
    let (version, object) = service.find(&input.bucket, &input.key, input.version_id.as_deref())?;
    let tag_set = object.tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: Some(version.id.clone()) }))
}

pub(super) fn put(
    service: &Service,
    req: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let input = req.input;
    let pairs =
        input.tagging.tag_set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    let tags = checked(pairs)?;
    let id = set(service, input.bucket, input.key, input.version_id.as_deref(), tags)?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id: Some(id) }))
}

pub(super) fn delete(
    service: &Service,
    req: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = req.input;
    let id = set(service, input.bucket, input.key, input.version_id.as_deref(), Tags::new())?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id: Some(id) }))
}

fn set(service: &Service, bucket: String, key: String, version: Option<&str>, tags: Tags) -> S3Result<String> {
    let (version, _) = service.find(&bucket, &key, version)?;
    let id = version.id.clone();
    service.shelf.lock().commit(Record::Tags { bucket, key, id: id.clone(), tags })?;
    Ok(id)
}

/// Reads the `x-amz-tagging` header: a URL query.
pub(super) fn from_header(header: Option<&str>) -> S3Result<Tags> {
    let pairs = header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    });
    checked(pairs)
}

fn checked(pairs: impl Iterator<Item = (String, String)>) -> S3Result<Tags> {
    let mut tags = Tags::new();
    for (key, value) in pairs {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(s3_error!(InvalidTag, "The TagKey or TagValue you have provided is invalid"));
        }
        if tags.insert(key, value).is_some() {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    if tags.len() > 10 {
        return Err(s3_error!(InvalidTag, "Object tags cannot be greater than 10"));
    }
    Ok(tags)
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut byte = [0];
                match tail.get(..2).map(|digits| hex::decode_to_slice(digits, &mut byte)) {
                    Some(Ok(())) => {
                        bytes.push(byte[0]);
                        rest = &tail[2..];
                    }
                    Some(Err(_)) | None => bytes.push(b'%'),
                }
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tagging_header_is_a_query() {
        let tags = from_header(Some("a=1&b%20c=x%2By+z&d")).unwrap();
        let expected = [("a", "1"), ("b c", "x+y z"), ("d", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(tags, Tags::from(expected));
        assert!(from_header(Some("a=1&a=2")).is_err());
        let eleven: Vec<String> = (0..11).map(|n| format!("k{n}=v")).collect();
        assert!(from_header(Some(&eleven.join("&"))).is_err());
    }
}
