//! The properties that a manifest gives are those that a stranger then sees.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use noclobber::model::step::Action;

use crate::support::scene::{Scene, noise};
use crate::support::{Stranger, Versioning, guarded_servers};

const DEFAULTS: &str = "defaults:
  cache_control: \"max-age=3600\"
  content_disposition: attachment
  content_language: de
  metadata: {team: finance, batch: \"42\"}
  tags: {retention: 7y, \"a b\": \"c+d=e\"}
  storage_class: STANDARD_IA";

async fn tags(stranger: &Stranger, key: &str) -> BTreeMap<String, String> {
    let tagging = stranger.client.get_object_tagging().bucket(&stranger.bucket).key(key).send().await.unwrap();
    tagging.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

#[tokio::test]
async fn what_the_manifest_says_of_an_object_is_what_a_stranger_sees() {
    for server in guarded_servers() {
        let name = server.name;
        let scene = Scene::new(&server, Versioning::Off).await;
        scene.write("in/table.csv", b"a,b\n1,2\n");
        let mut keys = vec!["table.csv"];
        // Its properties travel with another request. moto takes no multipart upload from us.
        if name != "moto" {
            scene.write("in/zoom.json", noise(4, 64 << 20));
            keys.push("zoom.json");
        }
        // SeaweedFS answers 500 to SSE-S3 until a key of its own is configured.
        let sse = if name == "seaweedfs" { "" } else { "\n  sse: AES256" };
        scene.manifest(&format!("{DEFAULTS}{sse}"), "  - {source: \"in/*\", key: \"{{ name }}\"}");
        scene.noclobber(&["run", "m.yaml", "--out", "o"]).exits(0);
        for key in keys {
            let head = scene.stranger.head(key).await.unwrap();
            let case = format!("{name}: {key}: {head:?}");
            let content_type = if key == "table.csv" { "text/csv" } else { "application/json" };
            assert_eq!(head.content_type(), Some(content_type), "{case}");
            assert_eq!(head.cache_control(), Some("max-age=3600"), "{case}");
            assert_eq!(head.content_disposition(), Some("attachment"), "{case}");
            assert_eq!(head.content_language(), Some("de"), "{case}");
            let metadata = head.metadata().unwrap();
            assert_eq!(metadata.get("team").map(String::as_str), Some("finance"), "{case}");
            assert_eq!(metadata.get("batch").map(String::as_str), Some("42"), "{case}");
            assert!(metadata.contains_key("noclobber-write-id") && metadata.contains_key("noclobber-sha256"), "{case}");
            assert_eq!(head.storage_class().map(StorageClass::as_str), Some("STANDARD_IA"), "{case}");
            let encryption = head.server_side_encryption().map(ServerSideEncryption::as_str);
            assert!(sse.is_empty() || encryption == Some("AES256"), "{case}");
            let expected = [("retention", "7y"), ("a b", "c+d=e")];
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            // ministack loses the tags of a CreateMultipartUpload.
            if (name, key) != ("ministack", "zoom.json") {
                assert_eq!(tags(&scene.stranger, key).await, expected.into(), "{case}");
            }
        }
        let again = scene.plans();
        assert!(again.steps.iter().all(|step| step.action == Action::Unchanged), "{name}: {again:#?}");
    }
}
