//! Runs to be verified, and what `verify` says of them.

use std::collections::BTreeMap;

use noclobber::model::row::Row;

use crate::support::scene::Scene;
use crate::support::{Server, Versioning, server};

/// The servers that keep versions and honour preconditions.
pub fn both() -> Vec<Server> {
    ["ministack", "seaweedfs"].into_iter().filter_map(server).collect()
}

/// A scene in which one run stored so many small objects, and its rows.
pub async fn stored(server: &Server, versioning: Versioning, objects: usize) -> (Scene, Vec<Row>) {
    let scene = Scene::new(server, versioning).await;
    for n in 0..objects {
        scene.write(&format!("in/{n:03}"), format!("text {n}"));
    }
    scene.manifest("overwrite: if-changed", "  - {source: \"in/*\", key: \"in/{{ name }}\"}");
    let rows = run(&scene, "one");
    assert_eq!(rows.len(), objects);
    (scene, rows)
}

/// One more run.
#[track_caller]
pub fn run(scene: &Scene, out: &str) -> Vec<Row> {
    scene.noclobber(&["run", "m.yaml", "--out", out, "--quiet"]).exits(0);
    scene.report(&format!("{out}/report.csv"))
}

/// What `verify --format csv` says of each row that is not intact, by key; of the first run where there are several.
pub fn verified(scene: &Scene, args: &[&str], exit: i32) -> BTreeMap<String, Told> {
    let args = [&["verify", "--format", "csv"], args].concat();
    let ran = scene.noclobber(&args).exits(exit);
    let mut told = BTreeMap::new();
    for record in csv::Reader::from_reader(ran.stdout.as_bytes()).deserialize::<BTreeMap<String, String>>() {
        let row = Told(record.unwrap());
        if row.of("state") != "intact" {
            told.entry(row.of("key").to_owned()).or_insert(row);
        }
    }
    told
}

/// One row of the CSV.
#[derive(Debug)]
pub struct Told(BTreeMap<String, String>);

impl Told {
    #[track_caller]
    pub fn of(&self, column: &str) -> &str {
        self.0.get(column).unwrap_or_else(|| panic!("no column {column}: {self:?}"))
    }
}

/// The state of each key that is not intact.
pub fn states(told: &BTreeMap<String, Told>) -> Vec<(&str, &str)> {
    told.iter().map(|(key, row)| (key.as_str(), row.of("state"))).collect()
}
