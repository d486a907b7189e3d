//! What a person can do about a row that did not end well. One sentence or two an outcome, and nothing that is not known.

use crate::model::row::Outcome;

/// What to do next; `None` where nothing need be done.
#[must_use]
pub fn advice(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Created
        | Outcome::Replaced
        | Outcome::Restored
        | Outcome::Deleted
        | Outcome::Unchanged
        | Outcome::Kept => None,
        Outcome::Refused => Some(
            "The plan refused it. Change the entry's rule (overwrite:), or mend what the message names, and plan again.",
        ),
        Outcome::Lost => Some(
            "Somebody else wrote this key first, and theirs is intact. Find out who, then plan again with theirs in sight.",
        ),
        Outcome::Stale => Some("It moved after the plan was made, and nothing was written. Plan again."),
        Outcome::SourceChanged => {
            Some("The file is not the one that was reviewed, and nothing was stored. Plan again when it is complete.")
        }
        Outcome::Failed => Some("It was not written. Mend what the message names; the same apply again does this row."),
        Outcome::Unknown => Some(
            "It may have been written. The same apply again looks for its write id and settles it before it writes.",
        ),
        Outcome::NotAttempted => Some("Nothing was sent for it. The same apply again does it."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_that_is_no_success_has_its_advice_and_no_other() {
        for outcome in Outcome::ALL {
            let said = advice(outcome);
            assert_eq!(said.is_none(), outcome.is_success(), "{outcome}");
            // "The same apply again" is true of no final row.
            assert_eq!(said.is_some_and(|text| text.contains("same apply again")), !outcome.is_final(), "{outcome}");
        }
    }
}
