//! Holds what the other tests take for granted of the real servers. A server that stops behaving so makes them moot.

mod support;

use support::{Listed, Versioning, server, servers};

#[tokio::test]
async fn what_a_stranger_stores_comes_back_byte_for_byte() {
    for server in servers() {
        let stranger = server.fresh_bucket(Versioning::Off).await;
        assert_eq!(stranger.get("a/b c+ü.txt").await, None, "{}", server.name);
        assert!(stranger.head("a/b c+ü.txt").await.is_none(), "{}", server.name);

        stranger.put("a/b c+ü.txt", b"first".to_vec()).await;
        stranger.put("a/b c+ü.txt", b"second".to_vec()).await;
        assert_eq!(stranger.get("a/b c+ü.txt").await.as_deref(), Some(&b"second"[..]), "{}", server.name);
        assert_eq!(stranger.list().await, [Listed { key: "a/b c+ü.txt".to_owned(), size: 6 }], "{}", server.name);

        stranger.delete("a/b c+ü.txt").await;
        assert!(stranger.head("a/b c+ü.txt").await.is_none(), "{}", server.name);
    }
}

#[tokio::test]
async fn every_server_but_rclone_refuses_a_second_create() {
    for server in servers() {
        let stranger = server.fresh_bucket(Versioning::Off).await;
        assert!(stranger.put_if_absent("key", b"first".to_vec()).await, "{}", server.name);
        let overwrote = stranger.put_if_absent("key", b"second".to_vec()).await;
        // The negative control: were it to honour conditions one day, nothing would test that we refuse such a server.
        assert_eq!(overwrote, server.name == "rclone", "{}", server.name);
        let left = if overwrote { b"second".to_vec() } else { b"first".to_vec() };
        assert_eq!(stranger.get("key").await, Some(left), "{}", server.name);
    }
}

#[tokio::test]
async fn a_versioned_bucket_keeps_what_was_overwritten() {
    for name in ["ministack", "seaweedfs", "moto"] {
        let Some(server) = server(name) else { continue };
        let stranger = server.fresh_bucket(Versioning::On).await;
        stranger.put("key", b"first".to_vec()).await;
        let buried = stranger.head("key").await.and_then(|head| head.version_id().map(str::to_owned));
        stranger.put("key", b"second".to_vec()).await;
        let get = stranger.client.get_object().bucket(&stranger.bucket).key("key").set_version_id(buried);
        let found = get.send().await.unwrap().body.collect().await.unwrap().to_vec();
        assert_eq!(found, b"first", "{name}");
    }
}
