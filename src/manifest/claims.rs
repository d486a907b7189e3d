//! Two entries for one object: refused, whichever manifests they come from and whatever their targets are called.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::key::folded;
use super::shape::shown;
use crate::model::entry::{Entry, Flaw};
use crate::model::target::Target;

/// Warnings of keys that look alike which are told one by one.
const MOST_ALIKE: usize = 100;

/// Compares every entry's object with every other's. `Ok` carries warnings: keys that differ in case or in Unicode
/// normalisation alone. An entry that is flawed already claims nothing; one whose target is not among `targets` neither.
pub fn claims(entries: &[Entry], targets: &[Target]) -> Result<Vec<String>, Vec<Flaw>> {
    let mut places = HashMap::new();
    let mut place_of = HashMap::new();
    for target in targets {
        let next = places.len();
        place_of.insert(target.name.as_str(), *places.entry(target.place()).or_insert(next));
    }
    // The tables hold the numbers of entries and not their keys: of a million keys there is one copy.
    let place = |entry: &Entry| if entry.flaw.is_none() { place_of.get(&*entry.terms.target).copied() } else { None };
    let random = DefaultHashBuilder::default();
    let claim = |entry: &Entry| random.hash_one((place(entry), entry.key.as_str()));
    let likeness = |entry: &Entry| random.hash_one((place(entry), folded(entry.key.as_str())));
    let mut claimed: HashTable<u32> = HashTable::with_capacity(entries.len());
    let mut alike: HashTable<u32> = HashTable::with_capacity(entries.len());
    let mut flaws = Vec::new();
    let mut warnings = Vec::new();
    let mut more = 0u64;
    for (entry, n) in entries.iter().zip(0u32..) {
        if place(entry).is_none() {
            continue;
        }
        let at = |n: &u32| &entries[*n as usize];
        let same = |other: &u32| at(other).key == entry.key && place(at(other)) == place(entry);
        match claimed.entry(claim(entry), same, |other| claim(at(other))) {
            hashbrown::hash_table::Entry::Occupied(first) => {
                let message =
                    format!("key {} is already claimed by {}", shown(entry.key.as_str()), said(at(first.get()), entry));
                flaws.push(Flaw { place: entry.place.clone(), message });
                continue;
            }
            hashbrown::hash_table::Entry::Vacant(free) => drop(free.insert(n)),
        }
        let near = |other: &u32| {
            folded(at(other).key.as_str()) == folded(entry.key.as_str()) && place(at(other)) == place(entry)
        };
        match alike.entry(likeness(entry), near, |other| likeness(at(other))) {
            hashbrown::hash_table::Entry::Occupied(_) if warnings.len() >= MOST_ALIKE => more += 1,
            hashbrown::hash_table::Entry::Occupied(first) => {
                let near = at(first.get());
                warnings.push(format!(
                    "{}: key {} and {} of {} differ only in case or in Unicode normalisation",
                    entry.place, entry.key, near.key, near.place,
                ));
            }
            hashbrown::hash_table::Entry::Vacant(free) => drop(free.insert(n)),
        }
    }
    if more > 0 {
        warnings.push(format!("{more} more keys differ from others only in case or in Unicode normalisation"));
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
    use crate::model::entry::{Compare, Key, Place, Rule, Terms};
    use crate::model::target::{Addressing, ConditionalWrites};

    fn entry(place: &str, target: &str, key: &str) -> Entry {
        Entry {
            place: place.parse::<Place>().unwrap(),
            source: format!("src-of-{key}").into(),
            real: None,
            key: Key::new(key),
            terms: std::sync::Arc::new(Terms {
                target: target.into(),
                rule: Rule::Never,
                compare: Compare::Content,
                stage: None,
                properties: std::sync::Arc::default(),
            }),
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
            ["a.yaml:2: key cafe\u{301} and Caf\u{e9} of a.yaml:1 differ only in case or in Unicode normalisation"]
        );
    }

    #[test]
    fn a_thousand_likenesses_are_counted_and_not_all_told() {
        let entries: Vec<Entry> = (0..1000)
            .flat_map(|n| [entry("a.yaml:1", "one", &format!("k{n}")), entry("a.yaml:2", "one", &format!("K{n}"))])
            .collect();
        let warnings = claims(&entries, &[target("one", "sandbox", "b")]).unwrap();
        assert_eq!(warnings.len(), 101);
        assert_eq!(warnings[100], "900 more keys differ from others only in case or in Unicode normalisation");
    }

    #[test]
    fn a_flawed_entry_claims_nothing() {
        let mut flawed = entry("a.yaml:1", "one", "k");
        flawed.flaw = Some("is a folder".into());
        let entries = [flawed, entry("a.yaml:2", "one", "k")];
        assert_eq!(claims(&entries, &[target("one", "sandbox", "b")]), Ok(Vec::new()));
    }
}
