//! Who may look, what cannot be looked at, and the history of one key.

use crate::scenes::{both, run, states, stored, verified};
use crate::support::scene::Ran;
use crate::support::{Versioning, server};

const REPORT: &str = "one/report.csv";

#[tokio::test]
async fn a_bucket_that_is_not_there_or_keys_that_are_not_known_end_with_1() {
    for server in both() {
        let (scene, _) = stored(&server, Versioning::On, 3).await;
        let mut command = scene.command(&["verify", REPORT]);
        command.env("AWS_ACCESS_KEY_ID", "nobody").env("AWS_SECRET_ACCESS_KEY", "nothing");
        let ran = Ran::of(&command.output().unwrap());
        assert!(ran.stdout.is_empty(), "{}: {ran:?}", server.name);
        ran.exits(1).says(&[&scene.stranger.bucket, &server.endpoint]);
        let report = std::fs::read_to_string(scene.path(REPORT)).unwrap();
        scene.write("elsewhere.csv", report.replace(&scene.stranger.bucket, "no-such-bucket-here"));
        scene.noclobber(&["verify", "elsewhere.csv"]).exits(1).says(&["no-such-bucket-here"]);
    }
}

#[tokio::test]
async fn a_role_that_may_not_look_is_told_so_and_nothing_is_called_intact() {
    let Some(server) = server("ministack") else { return };
    let (scene, _) = stored(&server, Versioning::On, 3).await;
    let bucket = &scene.stranger.bucket;
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"],
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
        }],
    });
    let put = scene.stranger.client.put_bucket_policy().bucket(bucket).policy(policy.to_string());
    put.send().await.unwrap();
    let ran = scene.noclobber(&["verify", REPORT]).exits(5);
    assert!(ran.stdout.ends_with("Verify: 3 rows checked: 0 intact, 3 not allowed to look\n"), "{ran:?}");
    assert!(ran.stdout.contains("s3:GetObject"), "{ran:?}");
    scene.stranger.client.delete_bucket_policy().bucket(bucket).send().await.unwrap();
    assert!(verified(&scene, &[REPORT], 0).is_empty());
}

#[tokio::test]
async fn a_history_names_each_version_and_whose_it_is() {
    for server in both() {
        let (scene, first) = stored(&server, Versioning::On, 2).await;
        scene.stranger.put("in/001", "a stranger's").await;
        scene.stranger.delete("in/001").await;
        scene.write("in/001", "new");
        let second = run(&scene, "two");
        let place = format!("s3://{}/in/001", scene.stranger.bucket);
        let endpoint = ["--endpoint", &server.endpoint];
        let args = [&["bucket", "versions", &place, "--report", REPORT, "--json"], &endpoint[..]].concat();
        let ran = scene.noclobber(&args).exits(0);
        let events: Vec<serde_json::Value> =
            ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Within one second a server that tells no less cannot say when the marker came.
        let (markers, objects): (Vec<_>, Vec<_>) =
            events.iter().partition(|event| event["is_delete_marker"].as_bool() == Some(true));
        assert_eq!((markers.len(), markers[0]["write_id"].as_str()), (1, None), "{}", server.name);
        let told: Vec<_> = objects.iter().map(|event| (event["run_id"].as_str(), event["place"].as_str())).collect();
        let (new, old) = (second[1].run_id.as_str(), first[1].run_id.as_str());
        assert_eq!(
            told,
            [(Some(new), None), (None, None), (Some(old), Some("m.yaml:7")), (None, None),],
            "{}: {ran:?}",
            server.name
        );
        assert_eq!(objects[2]["version_id"].as_str(), Some(&*first[1].version_after), "{}", server.name);
        assert_eq!(objects[2]["size_bytes"].as_u64(), first[1].size_bytes, "{}", server.name);
        assert_eq!((objects[3]["told"].as_u64(), objects[3]["more"].as_bool()), (Some(4), Some(false)));

        let args = [&["bucket", "versions", &place, "--most", "2"], &endpoint[..]].concat();
        let ran = scene.noclobber(&args).exits(0);
        assert!(
            ran.stdout.contains("the newest 2 versions; there are more") && ran.stdout.lines().count() == 4,
            "{ran:?}"
        );
        let none = format!("{place}-none");
        let args = [&["bucket", "versions", &none], &endpoint[..]].concat();
        scene.noclobber(&args).exits(1).says(&["no such key"]);
    }
}

#[tokio::test]
async fn a_bucket_without_versions_shows_what_is_there() {
    for server in both() {
        let (scene, rows) = stored(&server, Versioning::Off, 1).await;
        let place = format!("s3://{}/in/000", scene.stranger.bucket);
        let args = ["bucket", "versions", &place, "--endpoint", &server.endpoint, "--report", REPORT];
        let ran = scene.noclobber(&args).exits(0);
        let said = format!("run {}, m.yaml:7, created", rows[0].run_id);
        assert!(ran.stdout.contains("no versions are kept") && ran.stdout.contains(&said), "{}: {ran:?}", server.name);
        scene.stranger.delete("in/000").await;
        scene.noclobber(&args).exits(1).says(&["no such key"]);
        // Nothing of the sort was ever there: `verify` says the same of the key.
        assert_eq!(states(&verified(&scene, &[REPORT], 5)), [("in/000", "deleted")], "{}", server.name);
    }
}
