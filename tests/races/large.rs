//! A file that goes up in parts, among small ones.

use base64::Engine as _;
use noclobber::model::row::Outcome;
use noclobber::model::step::{Action, Proof};
use sha2::Digest as _;

use crate::support::scene::{Scene, noise};
use crate::support::{Versioning, server};

const PART_BYTES: usize = 16 << 20;

/// SHA-256 of the parts' SHA-256s, from the definition.
fn composite(bytes: &[u8]) -> String {
    let mut whole = sha2::Sha256::new();
    let parts = bytes.chunks(PART_BYTES);
    let count = parts.len();
    for part in parts {
        whole.update(sha2::Sha256::digest(part));
    }
    let text = base64::engine::general_purpose::STANDARD.encode(whole.finalize());
    format!("composite:{text}-{count}@{PART_BYTES}")
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts_reads_back_the_same_and_is_then_unchanged() {
    for server in ["ministack", "seaweedfs"].into_iter().filter_map(server) {
        let name = server.name;
        let scene = Scene::new(&server, Versioning::On).await;
        // Not a whole number of parts.
        let large = noise(3, (200 << 20) + 12_345);
        scene.write("in/large", &large);
        scene.write("in/small", noise(4, 1000));
        scene.write("in/empty", b"");
        scene.manifest("overwrite: if-changed", "  - {source: \"in/*\", key: \"{{ name }}\"}");
        scene.noclobber(&["run", "m.yaml", "--out", "o"]).exits(0);

        let rows = scene.report("o/report.csv");
        assert_eq!(rows.iter().map(|row| &*row.key).collect::<Vec<_>>(), ["empty", "large", "small"]);
        assert!(rows.iter().all(|row| row.outcome == Outcome::Created), "{name}: {rows:#?}");
        assert_eq!(rows[1].checksum, composite(&large), "{name}");
        assert_eq!(rows[1].sha256, "", "{name}: parts have no SHA-256 of the whole");
        assert!(rows[1].etag_after.ends_with("-13"), "{name}: {}", rows[1].etag_after);
        for (row, bytes) in rows.iter().zip([&[][..], &large, &noise(4, 1000)]) {
            scene.hold_to_its_word(row, bytes).await;
        }
        assert_eq!(scene.stranger.open_uploads().await, 0, "{name}");

        let again = scene.plans();
        for step in &again.steps {
            assert_eq!(step.action, Action::Unchanged, "{name}: {step:#?}");
            assert!(!matches!(step.proof, None | Some(Proof::Claim)), "{name}: {step:#?}");
        }
        let ran = scene.noclobber(&["run", "m.yaml", "--out", "o"]).exits(0);
        assert!(ran.stdout.contains("3 unchanged"), "{name}: {}", ran.stdout);
    }
}
