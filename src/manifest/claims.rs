//! Two entries for one object: refused, whichever manifests they come from and whatever their targets are called.

use std::borrow::Cow;
use std::collections::HashMap;

use super::key::folded;
use super::shape::shown;
use crate::model::entry::{Entry, Flaw};
use crate::model::target::Target;

/// Compares every entry's object with every other's. `Ok` carries warnings: keys that differ in case or in Unicode
/// normalisation alone. An entry that is flawed already claims nothing; one whose target is not among `targets` neither.
pub fn claims(entries: &[Entry], targets: &[Target]) -> Result<Vec<String>, Vec<Flaw>> {
    let mut places = HashMap::new();
    let mut place_of = HashMap::new();
    for target in targets {
        let next = places.len();
        place_of.insert(target.name.as_str(), *places.entry(target.place()).or_insert(next));
    }
    let mut claimed: HashMap<(usize, &str), &Entry> = HashMap::with_capacity(entries.len());
    let mut alike: HashMap<(usize, Cow<'_, str>), &Entry> = HashMap::with_capacity(entries.len());
    let mut flaws = Vec::new();
    let mut warnings = Vec::new();
    for entry in entries.iter().filter(|entry| entry.flaw.is_none()) {
        let Some(&place) = place_of.get(&*entry.target) else { continue };
        let key = entry.key.as_str();
        if let Some(first) = claimed.insert((place, key), entry) {
            let message = format!("key {} is already claimed by {}", shown(key), said(first, entry));
            flaws.push(Flaw { place: entry.place.clone(), message });
            // The first stays the one to name.
            claimed.insert((place, key), first);
            continue;
        }
        let near = *alike.entry((place, folded(key))).or_insert(entry);
        if near.key != entry.key {
            warnings.push(format!(
                "{}: key {} and {} of {} differ only in case or in Unicode normalisation",
                entry.place,
                shown(key),
                shown(near.key.as_str()),
                near.place,
            ));
        }
    }
    flaws.sort();
    if flaws.is_empty() { Ok(warnings) } else { Err(flaws) }
}

/// The first claim's place; for two matches of one glob the line says too little, so the sources are named.
fn said(first: &Entry, second: &Entry) -> String {
    if first.place == second.place {
        format!("{}: both {} and {} go there", first.place, shown(&first.source), shown(&second.source))
    } else {
        first.place.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::{Compare, Key, Place, Rule};
    use crate::model::target::{Addressing, ConditionalWrites};

    fn entry(place: &str, target: &str, key: &str) -> Entry {
        Entry {
            place: place.parse::<Place>().unwrap(),
            source: format!("src-of-{key}"),
            real: None,
            target: target.into(),
            key: Key::new(key),
            rule: Rule::Never,
            compare: Compare::Content,
            stage: None,
            properties: std::sync::Arc::default(),
            flaw: None,
        }
    }

    fn target(name: &str, endpoint: &str, bucket: &str) -> Target {
        Target {
            name: name.into(),
            bucket: bucket.into(),
            endpoint: endpoint.into(),
            region: "us-east-1".into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        }
    }

    #[test]
    fn two_entries_for_one_object_are_refused_whatever_their_targets_are_called() {
        let targets = [
            target("one", "https://S3.example.com/", "b"),
            target("two", "https://s3.example.com", "b"),
            target("other", "https://s3.example.com", "c"),
        ];
        let entries = [
            entry("a.yaml:14", "one", "reports/a.csv"),
            entry("a.yaml:15", "other", "reports/a.csv"),
            entry("b.yaml:3", "two", "reports/a.csv"),
            entry("b.yaml:4", "one", "reports/a.csv"),
        ];
        let flaws = claims(&entries, &targets).unwrap_err();
        let said: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "b.yaml:3: key reports/a.csv is already claimed by a.yaml:14",
                "b.yaml:4: key reports/a.csv is already claimed by a.yaml:14",
            ]
        );
    }

    #[test]
    fn two_matches_of_one_glob_are_told_apart_by_their_sources() {
        let mut second = entry("a.yaml:3", "one", "k");
        second.source = "b.csv".into();
        let flaws = claims(&[entry("a.yaml:3", "one", "k"), second], &[target("one", "sandbox", "b")]).unwrap_err();
        assert_eq!(
            flaws[0].to_string(),
            "a.yaml:3: key k is already claimed by a.yaml:3: both src-of-k and b.csv go there"
        );
    }

    #[test]
    fn keys_that_look_alike_are_a_warning_and_only_in_one_bucket() {
        let targets = [target("one", "sandbox", "b"), target("two", "sandbox", "c")];
        let entries = [
            entry("a.yaml:1", "one", "Caf\u{e9}"),
            entry("a.yaml:2", "one", "cafe\u{301}"),
            entry("a.yaml:3", "two", "CAF\u{c9}"),
        ];
        let warnings = claims(&entries, &targets).unwrap();
        assert_eq!(
            warnings,
            ["a.yaml:2: key cafe\\u{301} and Caf\u{e9} of a.yaml:1 differ only in case or in Unicode normalisation"]
        );
    }

    #[test]
    fn a_flawed_entry_claims_nothing() {
        let mut flawed = entry("a.yaml:1", "one", "k");
        flawed.flaw = Some("is a folder".into());
        let entries = [flawed, entry("a.yaml:2", "one", "k")];
        assert_eq!(claims(&entries, &[target("one", "sandbox", "b")]), Ok(Vec::new()));
    }
}
