//! What a report says of getting the old version back is true: the AWS CLI does it, and loses to whoever wrote since.

use std::fmt::Write as _;
use std::process::Output;

use noclobber::model::row::Outcome;
use noclobber::report::restore::{Commands, Restore, restore};

use crate::support::Versioning;
use crate::support::scene::Scene;
use crate::tools::Tools;

/// Everything that a shell, a URL or the CLI itself might take for something else.
const KEYS: [&str; 4] = ["plain.csv", "it's a \"b+c\" %41 $HOME `id` ü.csv", "-hyphen=&;?x.csv", "a/b~*.csv"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_a_report_bring_back_what_was_replaced_unless_somebody_wrote_since() {
    let (_sandbox, server, _folder) = crate::sandbox().await;
    let Some(tools) = Tools::new(&server) else { return };
    let scene = Scene::new(&server, Versioning::On).await;
    let mut entries = String::new();
    for (n, key) in KEYS.iter().enumerate() {
        scene.write(&format!("f{n}"), format!("new {n}"));
        scene.stranger.put(key, format!("old {n}")).await;
        writeln!(entries, "  - {{ source: f{n}, key: {} }}", serde_json::to_string(key).unwrap()).unwrap();
    }
    scene.manifest("overwrite: if-changed", &entries);
    scene.noclobber(&["plan", "m.yaml", "-o", "plan.jsonl"]).exits(0);
    scene.noclobber(&["apply", "plan.jsonl", "--report", "report.csv"]).exits(0);
    for (n, (row, key)) in scene.report("report.csv").iter().zip(KEYS).enumerate() {
        assert_eq!(row.outcome, Outcome::Replaced);
        let Restore::Version { commands: Some(Commands { get, copy }), .. } = restore(row) else { panic!("{row:?}") };
        let told = |output: &Output| format!("{}\n{output:?}", row.key);
        let got = tools.shell(scene.folder(), &get);
        assert!(got.status.success(), "{}", told(&got));
        assert_eq!(std::fs::read_to_string(scene.path("old-version")).unwrap(), format!("old {n}"), "{key}");
        let first = tools.shell(scene.folder(), &copy);
        assert!(first.status.success(), "{}", told(&first));
        assert_eq!(scene.stranger.get(key).await, Some(format!("old {n}").into_bytes()), "{key}");
        scene.stranger.put(key, "theirs").await;
        let second = tools.shell(scene.folder(), &copy);
        assert!(String::from_utf8_lossy(&second.stderr).contains("PreconditionFailed"), "{}", told(&second));
        assert_eq!(scene.stranger.get(key).await, Some(b"theirs".to_vec()), "{key}");
    }
}
