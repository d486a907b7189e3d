//! What a person is told when nothing can be done.

use noclobber::sandbox::{Options, serve};

use crate::support::scene::{Ran, Scene};
use crate::support::{REGION, Server, Versioning, guarded_servers};

async fn scene(server: &Server) -> Scene {
    let scene = Scene::new(server, Versioning::Off).await;
    scene.write("in/a", b"a");
    scene
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named_with_what_to_check() {
    for server in guarded_servers() {
        let mut scene = scene(&server).await;
        scene.stranger.bucket = "nobody-made-this-one".to_owned();
        scene.manifest("", "  - {source: in/a, key: a}");
        for verb in [&["plan", "m.yaml"][..], &["run", "m.yaml", "--out", "o"]] {
            let ran = scene.noclobber(verb).exits(1);
            ran.says(&["nobody-made-this-one", &server.endpoint, "check `bucket:`"]);
        }
    }
}

/// Not moto: it takes any keys.
#[tokio::test]
async fn wrong_credentials_are_named_as_such_and_nothing_is_planned_as_absent() {
    for server in guarded_servers().into_iter().filter(|server| server.name != "moto") {
        let scene = scene(&server).await;
        scene.manifest("", "  - {source: in/a, key: a}");
        scene.plans();
        for (access, secret) in [(&*server.access_key, "wrong"), ("AKIANOBODY0000000000", "wrong")] {
            for verb in [&["plan", "m.yaml"][..], &["apply", "plan.jsonl"], &["run", "m.yaml", "--out", "o"]] {
                let mut command = scene.command(verb);
                command.env("AWS_ACCESS_KEY_ID", access).env("AWS_SECRET_ACCESS_KEY", secret);
                let ran = Ran::of(&command.output().unwrap()).exits(1);
                assert!(
                    ["credentials", "access key", "signature"].iter().any(|it| ran.stderr.to_lowercase().contains(it)),
                    "{} {verb:?}: {}",
                    server.name,
                    ran.stderr
                );
            }
        }
        assert_eq!(scene.stranger.keys().await, [""; 0], "{}", server.name);
    }
}

#[tokio::test]
async fn no_credentials_at_all_are_named_as_such() {
    for server in guarded_servers() {
        let scene = scene(&server).await;
        scene.manifest("", "  - {source: in/a, key: a}");
        let mut command = scene.command(&["plan", "m.yaml"]);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        let ran = Ran::of(&command.output().unwrap()).exits(1);
        ran.says(&["no credentials", "AWS_PROFILE"]);
    }
}

#[tokio::test]
async fn an_endpoint_that_nobody_listens_at_is_named() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "a").unwrap();
    let manifest = format!(
        "version: 1\nbucket: some-bucket\nendpoint: {endpoint}\nregion: {REGION}\nentries:\n  - {{source: a, key: a}}\n"
    );
    std::fs::write(folder.path().join("m.yaml"), manifest).unwrap();
    let server = Server { name: "nobody", endpoint, access_key: "access".into(), secret_key: "secret".into() };
    for verb in [&["plan", "m.yaml"][..], &["run", "m.yaml", "--out", "o"]] {
        let output = server.noclobber(folder.path()).args(verb).output().unwrap();
        let ran = Ran::of(&output).exits(1);
        ran.says(&[&server.endpoint, "did not answer"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_another_account_gets_nothing_and_is_named_as_such() {
    const OWNER: &str = "111122223333";
    let dir = tempfile::tempdir().unwrap();
    let options = Options { owner: OWNER.to_owned(), ..Options::new(dir.path()) };
    let sandbox = serve(options).await.unwrap();
    let server = Server {
        name: "sandbox",
        endpoint: sandbox.endpoint().to_owned(),
        access_key: sandbox.access_key().to_owned(),
        secret_key: sandbox.secret_key().to_owned(),
    };
    let scene = scene(&server).await;
    scene.manifest(&format!("bucket_owner: \"{OWNER}\""), "  - {source: in/a, key: a}");
    tokio::task::block_in_place(|| scene.plans());
    scene.manifest("bucket_owner: \"999999999999\"", "  - {source: in/a, key: a}");
    let ran = tokio::task::block_in_place(|| scene.noclobber(&["run", "m.yaml", "--out", "o"]));
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(scene.stranger.keys().await, [""; 0]);
    let ran = ran.exits(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("does not belong to account 999999999999"), "{said}");
    sandbox.stop().await;
}
