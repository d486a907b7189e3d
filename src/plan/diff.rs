//! The rule table: what an entry may do to what is there.

use crate::model::entry::{Compare, Rule};
use crate::model::head::Remote;
use crate::model::local::LocalFile;
use crate::model::step::{Action, Proof, Reason};

use super::compare::{Compared, compare};

/// What is to be done, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    pub reason: Reason,
    pub proof: Option<Proof>,
}

/// Decides one entry. Pure and total.
///
/// | rule | absent | same content | different content | cannot tell | not visible |
/// |---|---|---|---|---|---|
/// | `never` | create | unchanged | refuse | refuse | create, `unseen` |
/// | `keep` | create | unchanged | keep | keep | create, `unseen` |
/// | `if-changed` | create | unchanged | replace | replace, `unproven` | error |
/// | `always` | create | replace | replace | replace | error |
///
/// Same content with other properties is `unchanged`, unless the entry compares those too and its rule may replace.
#[must_use]
pub fn diff(
    local: &LocalFile,
    remote: &Remote,
    rule: Rule,
    mode: Compare,
    trust_metadata: bool,
    properties_differ: bool,
) -> Decision {
    let head = match remote {
        Remote::Absent => return Decision { action: Action::Create, reason: Reason::Absent, proof: None },
        Remote::Unseen => {
            let action = if rule.may_replace() { Action::Error } else { Action::Create };
            return Decision { action, reason: Reason::Unseen, proof: None };
        }
        Remote::Present(head) => head,
    };
    match compare(local, head, trust_metadata) {
        Compared::Same(proof) => match rule {
            Rule::Always => Decision { action: Action::Replace, reason: Reason::Same, proof: Some(proof) },
            Rule::IfChanged if mode == Compare::Properties && properties_differ => {
                Decision { action: Action::Replace, reason: Reason::Properties, proof: Some(proof) }
            }
            Rule::Never | Rule::Keep | Rule::IfChanged => {
                Decision { action: Action::Unchanged, reason: Reason::Same, proof: Some(proof) }
            }
        },
        Compared::Different(proof) => Decision { action: over(rule), reason: Reason::Differs, proof: Some(proof) },
        Compared::Unknown => Decision { action: over(rule), reason: Reason::Unproven, proof: None },
    }
}

/// What a rule does to an object that is not known to be the same.
fn over(rule: Rule) -> Action {
    match rule {
        Rule::Never => Action::Refuse,
        Rule::Keep => Action::Keep,
        Rule::IfChanged | Rule::Always => Action::Replace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::{ETag, Md5};
    use crate::model::entry::Properties;
    use crate::model::head::{Encryption, Head, HeldChecksums};
    use crate::model::local::{Digests, Stat};

    const OURS: Md5 = Md5([1; 16]);

    fn local() -> LocalFile {
        LocalFile { stat: Stat { size: 3, mtime_ns: 0 }, digests: Digests { md5: Some(OURS), ..Digests::default() } }
    }

    fn present(etag: &str) -> Remote {
        Remote::Present(Box::new(Head {
            size: 3,
            etag: ETag::new(etag),
            version: None,
            last_modified: None,
            encryption: Encryption::None,
            checksums: HeldChecksums::default(),
            first_part: None,
            properties: Properties::default(),
            claim: None,
            write_id: None,
        }))
    }

    #[test]
    fn every_rule_meets_every_state_as_the_table_says() {
        use Action::{Create, Error, Keep, Refuse, Replace, Unchanged};
        let states = [
            Remote::Absent,
            present(&OURS.to_string()),
            present(&Md5([2; 16]).to_string()),
            present("opaque"),
            Remote::Unseen,
        ];
        let (absent, same, differs, unproven, unseen) =
            (Reason::Absent, Reason::Same, Reason::Differs, Reason::Unproven, Reason::Unseen);
        let table = [
            (
                Rule::Never,
                [(Create, absent), (Unchanged, same), (Refuse, differs), (Refuse, unproven), (Create, unseen)],
            ),
            (Rule::Keep, [(Create, absent), (Unchanged, same), (Keep, differs), (Keep, unproven), (Create, unseen)]),
            (
                Rule::IfChanged,
                [(Create, absent), (Unchanged, same), (Replace, differs), (Replace, unproven), (Error, unseen)],
            ),
            (
                Rule::Always,
                [(Create, absent), (Replace, same), (Replace, differs), (Replace, unproven), (Error, unseen)],
            ),
        ];
        assert_eq!(table.map(|(rule, _)| rule), Rule::ALL);
        for (rule, cells) in table {
            for (state, (action, reason)) in states.iter().zip(cells) {
                let decision = diff(&local(), state, rule, Compare::Content, true, false);
                assert_eq!((decision.action, decision.reason), (action, reason), "{rule} over {state:?}");
            }
        }
    }

    #[test]
    fn other_properties_replace_only_where_the_entry_compares_them_and_the_rule_may_replace() {
        let same = present(&OURS.to_string());
        for rule in Rule::ALL {
            for mode in [Compare::Content, Compare::Properties] {
                for differ in [false, true] {
                    let decision = diff(&local(), &same, rule, mode, true, differ);
                    let expected = match rule {
                        Rule::Always => (Action::Replace, Reason::Same),
                        Rule::IfChanged if mode == Compare::Properties && differ => {
                            (Action::Replace, Reason::Properties)
                        }
                        Rule::Never | Rule::Keep | Rule::IfChanged => (Action::Unchanged, Reason::Same),
                    };
                    assert_eq!((decision.action, decision.reason), expected, "{rule} {mode:?} {differ}");
                }
            }
        }
    }

    #[test]
    fn only_a_rule_that_may_replace_ever_replaces() {
        let states = [Remote::Absent, present(&OURS.to_string()), present("opaque"), Remote::Unseen];
        for rule in Rule::ALL {
            for state in &states {
                let action = diff(&local(), state, rule, Compare::Properties, true, true).action;
                assert!(action != Action::Replace || rule.may_replace(), "{rule} over {state:?}");
            }
        }
    }
}
