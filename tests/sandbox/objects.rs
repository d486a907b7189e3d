//! Objects, versions, properties, listings, buckets.

use std::collections::HashMap;

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Delete, EncodingType, MetadataDirective, ObjectAttributes, ObjectIdentifier,
    ServerSideEncryption, StorageClass, Tag, Tagging, TaggingDirective,
};

use noclobber::sandbox::{Options, serve};

use crate::support::{BUCKET, World, client, code, md5, world};

#[tokio::test]
async fn keys_are_bytes_and_not_paths() {
    let world = world().await;
    let long = "k".repeat(1024);
    let keys = [
        "a",
        "a/b",
        "a//b",
        "../../etc/x",
        "a/../b",
        "./c",
        "ü ñ/日本.csv",
        "a+b %41?&=#",
        "d/",
        "/lead",
        long.as_str(),
    ];
    for key in keys {
        world.put(key, key).await;
    }
    for key in keys {
        assert_eq!(world.read(key).await, Ok(key.to_owned()));
    }
    let listed = world.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(listed.contents().iter().map(|o| o.key().unwrap()).collect::<Vec<_>>(), sorted);
    assert_eq!(code(world.try_put(&"k".repeat(1025), "x").await), "400 KeyTooLongError");
}

#[tokio::test]
async fn versions_are_kept_deleted_hidden_and_removed_one_by_one() {
    let world = world().await;
    let one = world.put("a", "1").await.version_id.unwrap();
    let two = world.put("a", "2").await.version_id.unwrap();
    let marker = world.client.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(marker.delete_marker, Some(true));
    let marker = marker.version_id.unwrap();
    assert_eq!(world.read("a").await, Err("404 NoSuchKey".to_owned()));
    assert!(code(world.client.head_object().bucket(BUCKET).key("a").send().await).starts_with("404"));
    let head = |id: &str| world.client.head_object().bucket(BUCKET).key("a").version_id(id).send();
    assert!(code(head(&marker).await).starts_with("405"));
    assert_eq!(head(&one).await.unwrap().version_id(), Some(one.as_str()));
    assert!(code(head("no-such-version").await).starts_with("404"));
    let get = world.client.get_object().bucket(BUCKET).key("a").version_id(&one).send().await.unwrap();
    assert_eq!(get.body.collect().await.unwrap().to_vec(), b"1");

    let list = world.client.list_object_versions().bucket(BUCKET).prefix("a").send().await.unwrap();
    let ids: Vec<_> = list.versions().iter().map(|v| v.version_id().unwrap()).collect();
    assert_eq!(ids, [two.as_str(), one.as_str()]);
    assert_eq!(list.delete_markers()[0].is_latest(), Some(true));
    assert!(list.versions().iter().all(|v| v.is_latest() == Some(false)));

    let remove = |id: &str| world.client.delete_object().bucket(BUCKET).key("a").version_id(id).send();
    assert_eq!(remove(&marker).await.unwrap().delete_marker, Some(true));
    assert_eq!(world.read("a").await.unwrap(), "2");
    remove(&two).await.unwrap();
    assert_eq!((world.read("a").await.unwrap().as_str(), world.blobs()), ("1", 1));
    remove(&one).await.unwrap();
    remove(&one).await.unwrap();
    assert_eq!((world.versions("a").await, world.blobs()), (0, 0));
}

#[tokio::test]
async fn versions_are_listed_in_pages_that_join_without_a_gap() {
    let world = world().await;
    let mut all = Vec::new();
    for key in ["a", "b", "c"] {
        let mut ids = Vec::new();
        for body in ["1", "2", "3"] {
            ids.push(world.put(key, body).await.version_id.unwrap());
        }
        all.extend(ids.into_iter().rev());
    }
    for most in 1..=4 {
        let (mut seen, mut key, mut id) = (Vec::new(), None, None);
        loop {
            let list = world.client.list_object_versions().bucket(BUCKET).max_keys(most);
            let page = list.set_key_marker(key).set_version_id_marker(id).send().await.unwrap();
            seen.extend(page.versions().iter().map(|v| v.version_id().unwrap().to_owned()));
            if page.is_truncated() != Some(true) {
                break;
            }
            (key, id) = (page.next_key_marker, page.next_version_id_marker);
        }
        assert_eq!(seen, all, "pages of {most}");
    }
}

#[tokio::test]
async fn listings_page_in_bytewise_order_and_roll_up_prefixes() {
    let world = world().await;
    let keys = ["B", "a", "a/1", "a/2", "a0", "b/1/x", "b/2", "z/9", "é"];
    for key in keys {
        world.put(key, "").await;
    }
    world.put("gone", "").await;
    world.client.delete_object().bucket(BUCKET).key("gone").send().await.unwrap();
    for most in 1..=10 {
        assert_eq!(walk(&world, most, None).await, keys, "pages of {most}");
        let rolled = ["B", "a", "a/", "a0", "b/", "z/", "é"];
        assert_eq!(walk(&world, most, Some("/")).await, rolled, "pages of {most}");
        assert_eq!(walk_v1(&world, most, Some("/")).await, rolled, "pages of {most}, V1");
    }
    assert_eq!(walk_v1(&world, 2, None).await, keys);
    let list = || world.client.list_objects_v2().bucket(BUCKET);
    let under = list().prefix("b/").delimiter("/").send().await.unwrap();
    assert_eq!(under.contents()[0].key(), Some("b/2"));
    assert_eq!(under.common_prefixes()[0].prefix(), Some("b/1/"));
    let after = list().start_after("a/2").send().await.unwrap();
    assert_eq!(after.contents()[0].key(), Some("a0"));
    let encoded = list().prefix("é").encoding_type(EncodingType::Url).send().await.unwrap();
    assert_eq!((encoded.contents()[0].key(), encoded.prefix()), (Some("%C3%A9"), Some("%C3%A9")));
    assert_eq!(list().max_keys(0).send().await.unwrap().key_count(), Some(0));
    assert_eq!(code(list().continuation_token("forged!").send().await), "400 InvalidArgument");
}

async fn walk(world: &World, most: i32, delimiter: Option<&str>) -> Vec<String> {
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let list = world.client.list_objects_v2().bucket(BUCKET).max_keys(most);
        let list = list.set_delimiter(delimiter.map(str::to_owned)).set_continuation_token(token);
        let page = list.send().await.unwrap();
        assert!(page.key_count().unwrap() <= most);
        seen.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
        seen.extend(page.common_prefixes().iter().map(|p| p.prefix().unwrap().to_owned()));
        token = page.next_continuation_token;
        if token.is_none() {
            return joined(seen, delimiter);
        }
    }
}

/// Keys and prefixes of one page come apart in the answer; without prefixes the order is the server's own.
fn joined(mut seen: Vec<String>, delimiter: Option<&str>) -> Vec<String> {
    if delimiter.is_some() {
        seen.sort();
    }
    seen
}

async fn walk_v1(world: &World, most: i32, delimiter: Option<&str>) -> Vec<String> {
    let (mut seen, mut marker) = (Vec::<String>::new(), None);
    loop {
        let ask = world.client.list_objects().bucket(BUCKET).max_keys(most);
        let page = ask.set_delimiter(delimiter.map(str::to_owned)).set_marker(marker).send().await.unwrap();
        let last = page.contents().last().and_then(|o| o.key().map(str::to_owned));
        seen.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
        seen.extend(page.common_prefixes().iter().map(|p| p.prefix().unwrap().to_owned()));
        if page.is_truncated() != Some(true) {
            return joined(seen, delimiter);
        }
        marker = page.next_marker.or(last);
    }
}

#[tokio::test]
async fn every_property_comes_back() {
    let world = world().await;
    let put = world.client.put_object().bucket(BUCKET).key("a").body(b"x".to_vec().into());
    let put = put
        .content_type("text/csv; charset=utf-8")
        .cache_control("max-age=60")
        .content_disposition("attachment; filename=\"x\"")
        .content_encoding("gzip")
        .content_language("de")
        .expires(DateTime::from_secs(2_000_000_000))
        .metadata("team", "finance")
        .metadata("noclobber-write-id", "run-1")
        .storage_class(StorageClass::StandardIa)
        .tagging("retention=7y&b%20c=d")
        .acl(aws_sdk_s3::types::ObjectCannedAcl::BucketOwnerFullControl);
    put.send().await.unwrap();
    let head = world.head("a").await;
    assert_eq!(head.content_type(), Some("text/csv; charset=utf-8"));
    assert_eq!(head.cache_control(), Some("max-age=60"));
    assert_eq!(head.content_disposition(), Some("attachment; filename=\"x\""));
    assert_eq!(head.content_encoding(), Some("gzip"));
    assert_eq!(head.content_language(), Some("de"));
    assert_eq!(head.expires_string(), Some("Wed, 18 May 2033 03:33:20 GMT"));
    assert_eq!(head.storage_class(), Some(&StorageClass::StandardIa));
    assert_eq!(head.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    let expected =
        HashMap::from([("team", "finance"), ("noclobber-write-id", "run-1")].map(|(k, v)| (k.into(), v.into())));
    assert_eq!(head.metadata(), Some(&expected));
    let get = world.client.get_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!((get.content_language(), get.metadata(), get.tag_count()), (Some("de"), Some(&expected), Some(2)));
    assert_eq!(tags(&world, "a").await, [("b c", "d"), ("retention", "7y")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let big = world.client.put_object().bucket(BUCKET).key("b").metadata("k", "v".repeat(2048)).send().await;
    assert_eq!(code(big), "400 MetadataTooLarge");
}

async fn tags(world: &World, key: &str) -> Vec<(String, String)> {
    let tags = world.client.get_object_tagging().bucket(BUCKET).key(key).send().await.unwrap();
    tags.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

#[tokio::test]
async fn tags_are_put_and_deleted_on_a_version() {
    let world = world().await;
    let id = world.put("a", "1").await.version_id.unwrap();
    world.put("a", "2").await;
    let tag = Tag::builder().key("k").value("v").build().unwrap();
    let put = world.client.put_object_tagging().bucket(BUCKET).key("a").version_id(&id);
    put.tagging(Tagging::builder().tag_set(tag).build().unwrap()).send().await.unwrap();
    assert!(tags(&world, "a").await.is_empty());
    let old = world.client.get_object_tagging().bucket(BUCKET).key("a").version_id(&id).send().await.unwrap();
    assert_eq!(old.tag_set().len(), 1);
    world.client.delete_object_tagging().bucket(BUCKET).key("a").version_id(&id).send().await.unwrap();
    let old = world.client.get_object_tagging().bucket(BUCKET).key("a").version_id(&id).send().await.unwrap();
    assert_eq!((old.tag_set().len(), world.versions("a").await), (0, 2));
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_metadata_and_tags_as_told() {
    let world = world().await;
    let put =
        world.client.put_object().bucket(BUCKET).key("from").metadata("a", "1").tagging("t=1").content_type("text/x");
    let old = put.body(b"old".to_vec().into()).send().await.unwrap().version_id.unwrap();
    world.put("from", "new").await;
    let source = format!("{BUCKET}/from?versionId={old}");
    let copy = || world.client.copy_object().bucket(BUCKET).copy_source(&source);
    let done = copy().key("kept").send().await.unwrap();
    assert_eq!(done.copy_object_result().unwrap().e_tag(), Some(format!("\"{}\"", md5(b"old")).as_str()));
    assert_eq!(done.copy_source_version_id(), Some(old.as_str()));
    let kept = world.head("kept").await;
    assert_eq!((kept.content_type(), kept.metadata().unwrap()["a"].as_str()), (Some("text/x"), "1"));
    assert_eq!((tags(&world, "kept").await.len(), world.read("kept").await.unwrap().as_str()), (1, "old"));
    let replaced = copy().key("replaced").metadata("b", "2").metadata_directive(MetadataDirective::Replace);
    replaced.tagging_directive(TaggingDirective::Replace).tagging("x=y&z=w").send().await.unwrap();
    let head = world.head("replaced").await;
    assert_eq!(head.metadata(), Some(&HashMap::from([("b".to_owned(), "2".to_owned())])));
    assert_eq!((head.content_type(), tags(&world, "replaced").await.len()), (Some("binary/octet-stream"), 2));
    let missing = world.client.copy_object().bucket(BUCKET).key("x").copy_source(format!("{BUCKET}/none")).send().await;
    assert_eq!(code(missing), "404 NoSuchKey");
}

#[tokio::test]
async fn reads_have_ranges_and_conditions() {
    let world = world().await;
    let etag = world.put("a", "0123456789").await.e_tag.unwrap();
    let get = || world.client.get_object().bucket(BUCKET).key("a");
    for (range, body, told) in
        [("bytes=2-4", "234", "bytes 2-4/10"), ("bytes=8-", "89", "bytes 8-9/10"), ("bytes=-3", "789", "bytes 7-9/10")]
    {
        let part = get().range(range).send().await.unwrap();
        assert_eq!(part.content_range(), Some(told));
        assert_eq!(part.body.collect().await.unwrap().to_vec(), body.as_bytes());
    }
    assert_eq!(code(get().range("bytes=10-").send().await), "416 InvalidRange");
    assert_eq!(code(get().if_match("\"0123\"").send().await), "412 PreconditionFailed");
    assert!(code(get().if_none_match(&etag).send().await).starts_with("304"));
    get().if_match(&etag).send().await.unwrap();
    world.put("empty", "").await;
    assert_eq!(world.read("empty").await.unwrap(), "");
    let attributes = world.client.get_object_attributes().bucket(BUCKET).key("a");
    let attributes =
        attributes.object_attributes(ObjectAttributes::ObjectSize).object_attributes(ObjectAttributes::Checksum);
    let attributes = attributes.send().await.unwrap();
    assert_eq!(attributes.object_size(), Some(10));
    assert!(attributes.checksum().unwrap().checksum_crc32().is_some());
}

#[tokio::test]
async fn buckets_are_made_on_demand_and_always_versioned() {
    let world = world().await;
    let c = &world.client;
    c.head_bucket().bucket("made-by-head").send().await.unwrap();
    c.create_bucket().bucket("made").send().await.unwrap();
    c.create_bucket().bucket("made").send().await.unwrap();
    let listed = c.list_buckets().send().await.unwrap();
    assert_eq!(listed.buckets().iter().map(|b| b.name().unwrap()).collect::<Vec<_>>(), ["made", "made-by-head"]);
    let versioning = c.get_bucket_versioning().bucket("made").send().await.unwrap();
    assert_eq!(versioning.status(), Some(&BucketVersioningStatus::Enabled));
    c.get_bucket_location().bucket("made").send().await.unwrap();
    let lifecycle = c.get_bucket_lifecycle_configuration().bucket("made").send().await;
    assert_eq!(code(lifecycle), "404 NoSuchLifecycleConfiguration");
    assert_eq!(code(c.get_bucket_policy().bucket("made").send().await), "404 NoSuchBucketPolicy");
    assert_eq!(
        code(c.get_public_access_block().bucket("made").send().await),
        "404 NoSuchPublicAccessBlockConfiguration"
    );
    c.put_object().bucket("made").key("a").send().await.unwrap();
    assert_eq!(code(c.delete_bucket().bucket("made").send().await), "409 BucketNotEmpty");
    c.delete_bucket().bucket("made-by-head").send().await.unwrap();
    assert_eq!(c.list_buckets().send().await.unwrap().buckets().len(), 1);
}

#[tokio::test]
async fn many_are_deleted_at_once_each_with_its_own_answer() {
    let world = world().await;
    for key in ["a", "b"] {
        world.put(key, "1").await;
    }
    let name = |key: &str, etag: Option<&str>| {
        ObjectIdentifier::builder().key(key).set_e_tag(etag.map(str::to_owned)).build().unwrap()
    };
    let delete = Delete::builder().objects(name("a", None)).objects(name("b", Some("\"0123\""))).build().unwrap();
    let done = world.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    assert_eq!(done.deleted()[0].delete_marker(), Some(true));
    assert_eq!((done.errors()[0].key(), done.errors()[0].code()), (Some("b"), Some("PreconditionFailed")));
    assert_eq!(world.read("b").await.unwrap(), "1");
}

#[tokio::test]
async fn keys_that_are_not_the_sandbox_s_own_are_refused() {
    let world = world().await;
    let (endpoint, access, secret) = (world.sandbox.endpoint(), world.sandbox.access_key(), world.sandbox.secret_key());
    for (access, secret, expected) in
        [(access, "wrong", "403 SignatureDoesNotMatch"), ("WRONG", secret, "403 InvalidAccessKeyId")]
    {
        let put = client(endpoint, access, secret).put_object().bucket(BUCKET).key("a").send().await;
        assert_eq!(code(put), expected);
    }
    let request = format!("PUT /{BUCKET}/a HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let address = endpoint.trim_start_matches("http://").to_owned();
    assert_eq!(crate::raw::exchange(address, request.into_bytes()).await.0, 403);
    assert_eq!(world.versions("a").await, 0);
}

#[tokio::test]
async fn unsigned_requests_are_taken_where_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = serve(Options { require_auth: false, ..Options::new(dir.path()) }).await.unwrap();
    let address = sandbox.endpoint().trim_start_matches("http://").to_owned();
    let put = |payload: &str| {
        format!(
            "PUT /{BUCKET}/a HTTP/1.1\r\nhost: x\r\nx-amz-content-sha256: {payload}\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx"
        )
    };
    assert_eq!(crate::raw::exchange(address.clone(), put("UNSIGNED-PAYLOAD").into_bytes()).await.0, 200);
    // Its framing would be stored as content.
    assert_eq!(crate::raw::exchange(address, put("STREAMING-UNSIGNED-PAYLOAD-TRAILER").into_bytes()).await.0, 501);
    let wrong = client(sandbox.endpoint(), sandbox.access_key(), "wrong");
    assert_eq!(code(wrong.get_object().bucket(BUCKET).key("a").send().await), "403 SignatureDoesNotMatch");
    let right = client(sandbox.endpoint(), sandbox.access_key(), sandbox.secret_key());
    assert_eq!(right.list_object_versions().bucket(BUCKET).send().await.unwrap().versions().len(), 1);
}
