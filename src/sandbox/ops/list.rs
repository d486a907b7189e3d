//! Listings: bytewise order, pages, common prefixes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as TOKEN;
use s3s::dto::{
    ChecksumAlgorithm, CommonPrefix, DeleteMarkerEntry, EncodingType, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    Object as ListedObject, ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::read::owner;
use super::{Service, counted, etag, signed, timestamp};
use crate::sandbox::record::{Object, Version};

const MAX_KEYS: usize = 1000;

type Keys = BTreeMap<String, Vec<Arc<Version>>>;

/// Where a page begins: after a key, or after everything under a common prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
enum After {
    Key(String),
    Prefix(String),
}

impl After {
    fn token(&self) -> String {
        let (sign, text) = match self {
            Self::Key(key) => ('k', key),
            Self::Prefix(prefix) => ('p', prefix),
        };
        TOKEN.encode(format!("{sign}{text}"))
    }

    fn read(token: &str) -> S3Result<Self> {
        let text = TOKEN.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match text.as_deref().and_then(|text| text.split_at_checked(1)) {
            Some(("k", key)) => Ok(Self::Key(key.to_owned())),
            Some(("p", prefix)) => Ok(Self::Prefix(prefix.to_owned())),
            _ => Err(s3_error!(InvalidArgument, "The continuation token provided is incorrect")),
        }
    }

    fn text(&self) -> &str {
        let (Self::Key(text) | Self::Prefix(text)) = self;
        text
    }

    fn covers(&self, key: &str) -> bool {
        match self {
            Self::Key(after) => key <= after.as_str(),
            Self::Prefix(prefix) => key <= prefix.as_str() || key.starts_with(prefix.as_str()),
        }
    }
}

/// What is asked of a listing.
struct Query<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    after: Option<After>,
    most: usize,
}

enum Row<'a> {
    Key(&'a str, &'a [Arc<Version>]),
    Prefix(&'a str),
}

impl<'a> Query<'a> {
    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter.filter(|d| !d.is_empty())?;
        let at = key.get(self.prefix.len()..)?.find(delimiter)?;
        key.get(..self.prefix.len() + at + delimiter.len())
    }

    /// Rows in bytewise order, from where the page begins, without end. `shows` leaves keys out.
    fn rows<'k>(
        &'a self,
        keys: &'k Keys,
        shows: impl Fn(&[Arc<Version>]) -> bool + 'a,
    ) -> impl Iterator<Item = Row<'k>> + 'a
    where
        'k: 'a,
    {
        let start = self.after.as_ref().map_or(self.prefix, |after| after.text().max(self.prefix));
        let range = keys.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        let mut last: Option<&'k str> = None;
        range
            .take_while(|(key, _)| key.starts_with(self.prefix))
            .filter(|(key, _)| self.after.as_ref().is_none_or(|after| !after.covers(key)))
            .filter(move |(_, versions)| shows(versions))
            .filter_map(move |(key, versions)| match self.common_prefix(key) {
                None => Some(Row::Key(key, versions)),
                Some(prefix) if last == Some(prefix) => None,
                Some(prefix) => {
                    last = Some(prefix);
                    Some(Row::Prefix(prefix))
                }
            })
    }
}

fn is_live(versions: &[Arc<Version>]) -> bool {
    versions.last().is_some_and(|v| v.object.is_some())
}

/// A page of current objects.
struct Page {
    contents: Vec<ListedObject>,
    prefixes: Vec<CommonPrefix>,
    next: Option<After>,
}

fn page(service: &Service, bucket: &str, query: &Query<'_>, encoding: &Encoding, with_owner: bool) -> Page {
    let inner = service.shelf.lock();
    let mut page = Page { contents: Vec::new(), prefixes: Vec::new(), next: None };
    let Some(bucket) = inner.index.buckets.get(bucket) else { return page };
    if query.most == 0 {
        return page;
    }
    let mut last = None;
    for (count, row) in query.rows(&bucket.keys, is_live).enumerate() {
        if count == query.most {
            page.next = last;
            break;
        }
        match row {
            Row::Prefix(prefix) => {
                page.prefixes.push(CommonPrefix { prefix: Some(encoding.encode(prefix)) });
                last = Some(After::Prefix(prefix.to_owned()));
            }
            Row::Key(key, versions) => {
                if let Some((version, object)) = versions.last().and_then(|v| Some((v, v.object.as_ref()?))) {
                    let mut listed = entry(encoding.encode(key), version, object);
                    listed.owner = with_owner.then(|| owner(&service.owner));
                    page.contents.push(listed);
                }
                last = Some(After::Key(key.to_owned()));
            }
        }
    }
    page
}

fn entry(key: String, version: &Version, object: &Object) -> ListedObject {
    let class = object.properties.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned());
    ListedObject {
        key: Some(key),
        e_tag: Some(etag(&object.etag)),
        size: Some(signed(object.size)),
        last_modified: Some(timestamp(version.at)),
        storage_class: Some(ObjectStorageClass::from(class)),
        checksum_algorithm: object.sum.as_ref().map(|sum| vec![ChecksumAlgorithm::from_static(sum.algorithm.name())]),
        checksum_type: object.sum.as_ref().map(|sum| sum.kind().to_owned().into()),
        ..ListedObject::default()
    }
}

fn most(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.unwrap_or(1000);
    let asked = usize::try_from(asked)
        .map_err(|_| s3_error!(InvalidArgument, "Argument maxKeys must be an integer between 0 and 2147483647"))?;
    Ok(asked.min(MAX_KEYS))
}

/// Keys as they go into the XML: as they are, or percent-encoded where the client asked for it.
pub(super) struct Encoding(bool);

impl Encoding {
    pub fn read(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some("url") => Ok(Self(true)),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    pub fn encode(&self, text: &str) -> String {
        use std::fmt::Write as _;
        if !self.0 {
            return text.to_owned();
        }
        let mut encoded = String::with_capacity(text.len());
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~/*".contains(&byte) {
                encoded.push(char::from(byte));
            } else if write!(encoded, "%{byte:02X}").is_err() {
                // Writing to a string cannot fail.
            }
        }
        encoded
    }
}

pub(super) fn objects_v2(
    service: &Service,
    req: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = req.input;
    let encoding = Encoding::read(input.encoding_type.as_ref())?;
    let after = match &input.continuation_token {
        Some(token) => Some(After::read(token)?),
        None => input.start_after.clone().filter(|s| !s.is_empty()).map(After::Key),
    };
    let prefix = input.prefix.clone().unwrap_or_default();
    let query = Query { prefix: &prefix, delimiter: input.delimiter.as_deref(), after, most: most(input.max_keys)? };
    let page = page(service, &input.bucket, &query, &encoding, input.fetch_owner == Some(true));
    Ok(S3Response::new(ListObjectsV2Output {
        key_count: Some(counted(page.contents.len() + page.prefixes.len())),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_ref().map(After::token),
        contents: Some(page.contents),
        common_prefixes: Some(page.prefixes),
        max_keys: Some(counted(query.most)),
        prefix: Some(encoding.encode(&prefix)),
        delimiter: input.delimiter.as_deref().map(|d| encoding.encode(d)),
        start_after: input.start_after.as_deref().map(|s| encoding.encode(s)),
        name: Some(input.bucket),
        continuation_token: input.continuation_token,
        encoding_type: input.encoding_type,
        ..ListObjectsV2Output::default()
    }))
}

pub(super) fn objects(service: &Service, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = req.input;
    let encoding = Encoding::read(input.encoding_type.as_ref())?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let marker = input.marker.clone().unwrap_or_default();
    let mut query =
        Query { prefix: &prefix, delimiter: input.delimiter.as_deref(), after: None, most: most(input.max_keys)? };
    // A marker that is a common prefix was the last row of a page: all under it has been told.
    query.after = (!marker.is_empty()).then(|| match query.common_prefix(&marker) {
        Some(whole) if whole == marker => After::Prefix(marker.clone()),
        Some(_) | None => After::Key(marker.clone()),
    });
    let page = page(service, &input.bucket, &query, &encoding, true);
    // S3 tells the next marker only where there is a delimiter; otherwise it is the last key.
    let next_marker = page.next.as_ref().filter(|_| input.delimiter.is_some());
    Ok(S3Response::new(ListObjectsOutput {
        is_truncated: Some(page.next.is_some()),
        next_marker: next_marker.map(|next| encoding.encode(next.text())),
        contents: Some(page.contents),
        common_prefixes: Some(page.prefixes),
        max_keys: Some(counted(query.most)),
        prefix: Some(encoding.encode(&prefix)),
        marker: Some(encoding.encode(&marker)),
        delimiter: input.delimiter.as_deref().map(|d| encoding.encode(d)),
        name: Some(input.bucket),
        encoding_type: input.encoding_type,
        ..ListObjectsOutput::default()
    }))
}

pub(super) fn versions(
    service: &Service,
    req: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = req.input;
    let encoding = Encoding::read(input.encoding_type.as_ref())?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let key_marker = input.key_marker.clone().unwrap_or_default();
    let id_marker = input.version_id_marker.clone().unwrap_or_default();
    let mut query =
        Query { prefix: &prefix, delimiter: input.delimiter.as_deref(), after: None, most: most(input.max_keys)? };
    // With a version marker the page begins within that key.
    let within = (!id_marker.is_empty()).then_some(key_marker.as_str());
    query.after = (!key_marker.is_empty() && within.is_none()).then(|| match query.common_prefix(&key_marker) {
        Some(whole) if whole == key_marker => After::Prefix(key_marker.clone()),
        Some(_) | None => After::Key(key_marker.clone()),
    });
    let mut output = ListObjectVersionsOutput::default();
    let (mut shown, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
    let mut last: Option<(String, Option<String>)> = None;
    let mut truncated = false;
    let inner = service.shelf.lock();
    let empty = Keys::new();
    let keys = inner.index.buckets.get(&input.bucket).map_or(&empty, |bucket| &bucket.keys);
    'rows: for row in query.rows(keys, |_| true) {
        let (key, versions) = match row {
            Row::Prefix(prefix) => {
                if within.is_some_and(|key| prefix <= key) {
                    continue;
                }
                if shown.len() + markers.len() + prefixes.len() == query.most {
                    truncated = true;
                    break;
                }
                prefixes.push(CommonPrefix { prefix: Some(encoding.encode(prefix)) });
                last = Some((prefix.to_owned(), None));
                continue;
            }
            Row::Key(key, _) if within.is_some_and(|marker| key < marker) => continue,
            Row::Key(key, versions) => (key, versions),
        };
        let skip = match within {
            Some(marker) if marker == key => {
                versions.iter().rev().position(|v| v.id == id_marker).map_or(0, |at| at + 1)
            }
            Some(_) | None => 0,
        };
        for (newest, version) in versions.iter().rev().enumerate().skip(skip) {
            if shown.len() + markers.len() + prefixes.len() == query.most {
                truncated = true;
                break 'rows;
            }
            let is_latest = Some(newest == 0);
            let told = Some(encoding.encode(key));
            match &version.object {
                None => markers.push(DeleteMarkerEntry {
                    is_latest,
                    key: told,
                    last_modified: Some(timestamp(version.at)),
                    owner: Some(owner(&service.owner)),
                    version_id: Some(version.id.clone()),
                }),
                Some(object) => shown.push(listed_version(told, is_latest, version, object, &service.owner)),
            }
            last = Some((key.to_owned(), Some(version.id.clone())));
        }
    }
    drop(inner);
    if let Some((key, id)) = last.filter(|_| truncated) {
        output.next_key_marker = Some(encoding.encode(&key));
        output.next_version_id_marker = id;
    }
    output.is_truncated = Some(truncated);
    output.versions = Some(shown);
    output.delete_markers = Some(markers);
    output.common_prefixes = Some(prefixes);
    output.max_keys = Some(counted(query.most));
    output.prefix = Some(encoding.encode(&prefix));
    output.key_marker = Some(encoding.encode(&key_marker));
    output.version_id_marker = Some(id_marker);
    output.delimiter = input.delimiter.as_deref().map(|d| encoding.encode(d));
    output.name = Some(input.bucket);
    output.encoding_type = input.encoding_type;
    Ok(S3Response::new(output))
}

fn listed_version(
    key: Option<String>,
    is_latest: Option<bool>,
    version: &Version,
    object: &Object,
    account: &str,
) -> ObjectVersion {
    let listed = entry(String::new(), version, object);
    ObjectVersion {
        checksum_algorithm: listed.checksum_algorithm,
        checksum_type: listed.checksum_type,
        e_tag: listed.e_tag,
        is_latest,
        key,
        last_modified: listed.last_modified,
        owner: Some(owner(account)),
        restore_status: None,
        size: listed.size,
        storage_class: listed.storage_class.map(|class| ObjectVersionStorageClass::from(class.as_str().to_owned())),
        version_id: Some(version.id.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_token_survives_its_text_and_a_forged_one_is_refused() {
        for after in [After::Key("a/ü\n".to_owned()), After::Prefix("b/".to_owned()), After::Key(String::new())] {
            assert_eq!(After::read(&after.token()).unwrap(), after);
        }
        for forged in ["", "!!", "eA"] {
            assert!(After::read(forged).is_err(), "{forged:?}");
        }
    }

    #[test]
    fn an_encoded_key_has_only_what_xml_can_hold() {
        assert_eq!(Encoding(true).encode("a b/\u{1}ü+*"), "a%20b/%01%C3%BC%2B*");
        assert_eq!(Encoding(false).encode("a b"), "a b");
    }
}
