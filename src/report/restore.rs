//! How what was replaced is got back: the version that a write buried, and the command that puts it over the key again.
//!
//! Says so only where it is so. A command is for a POSIX shell, and no key or id can end its quotes.

use crate::model::digest::ETag;
use crate::model::row::{Outcome, Row};
use crate::model::target::SANDBOX;
use crate::model::text::{escape, quoted};

/// What can be done about what a replace buried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restore {
    /// The row buried nothing.
    Nothing,
    /// What was there is gone, and why.
    Gone(&'static str),
    /// What was there is kept under this version id.
    Version { id: String, commands: Option<Commands> },
}

/// The AWS CLI's commands. Objects above 5 GB cannot be copied in one request: those are got and uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// Gets the version as a file, to look at it.
    pub get: String,
    /// Copies the version over the key, if nobody has written there since the run.
    pub copy: String,
}

/// Whether what was there is not current any more.
#[must_use]
pub fn buries(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Replaced | Outcome::Restored | Outcome::Deleted => true,
        Outcome::Created
        | Outcome::Unchanged
        | Outcome::Kept
        | Outcome::Refused
        | Outcome::Lost
        | Outcome::Stale
        | Outcome::SourceChanged
        | Outcome::Failed
        | Outcome::Unknown
        | Outcome::NotAttempted => false,
    }
}

/// What is to be said of a row.
#[must_use]
pub fn restore(row: &Row) -> Restore {
    match row.outcome {
        // What a rollback had deleted came back where nothing was.
        Outcome::Restored if row.version_before.is_empty() && row.etag_before.is_empty() => Restore::Nothing,
        Outcome::Replaced | Outcome::Restored | Outcome::Deleted if row.version_before.is_empty() => {
            Restore::Gone("not versioned: cannot be got back")
        }
        // Where versioning is suspended, every write goes to the version named `null`, and takes the old one's place.
        Outcome::Replaced | Outcome::Restored | Outcome::Deleted if row.version_before == row.version_after => {
            Restore::Gone("versioning is suspended: cannot be got back")
        }
        Outcome::Replaced | Outcome::Restored | Outcome::Deleted => {
            Restore::Version { id: row.version_before.clone(), commands: commands(row) }
        }
        Outcome::Created
        | Outcome::Unchanged
        | Outcome::Kept
        | Outcome::Refused
        | Outcome::Lost
        | Outcome::Stale
        | Outcome::SourceChanged
        | Outcome::Failed
        | Outcome::Unknown
        | Outcome::NotAttempted => Restore::Nothing,
    }
}

/// `None` where no command line can say it: the AWS CLI reads a value that begins like `file://` as the name of a file,
/// finds the version by the first `?versionId=`, and a terminal may act on hidden characters.
fn commands(row: &Row) -> Option<Commands> {
    let Row { bucket, key, version_before, etag_after, endpoint, region, owner, .. } = row;
    let texts = [bucket, key, version_before, etag_after, endpoint, region, owner];
    let is_plain = texts.iter().all(|text| escape(text) == text.as_str());
    if !is_plain || key.contains("?versionId=") || texts.iter().any(|text| names_a_file(text)) {
        return None;
    }
    // `--name=value`: a value that begins with a hyphen is no option.
    let given = |name: &str, value: &str| {
        if value.is_empty() { String::new() } else { format!(" --{name}={}", quoted(value)) }
    };
    let mut common = given("bucket", bucket) + &given("key", key);
    // The sandbox's address is its own each time: `noclobber sandbox` prints the variables that lead there.
    let mut ends = String::new();
    if endpoint != SANDBOX {
        ends = given("endpoint-url", endpoint) + &given("region", region);
        common += &given("expected-bucket-owner", owner);
    }
    let get = format!("aws s3api get-object{common}{}{ends} old-version", given("version-id", version_before));
    let source = given("copy-source", &format!("{bucket}/{key}?versionId={version_before}"));
    let ours = if etag_after.is_empty() { String::new() } else { ETag::new(etag_after).quoted() };
    // Whoever wrote since is not overwritten: the copy carries a precondition, like every write of ours.
    let condition =
        if row.outcome == Outcome::Deleted { given("if-none-match", "*") } else { given("if-match", &ours) };
    let copy = format!("aws s3api copy-object{common}{source}{condition}{ends}");
    Some(Commands { get, copy })
}

fn names_a_file(value: &str) -> bool {
    ["file://", "fileb://"].iter().any(|scheme| value.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn said(row: &Row) -> Commands {
        match restore(row) {
            Restore::Version { commands: Some(commands), .. } => commands,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_names_the_version_that_was_buried_and_asks_for_what_we_wrote() {
        let Commands { get, copy } = said(&Row { key: "a b/it's.csv".into(), ..samples::row(2, Outcome::Replaced) });
        assert_eq!(
            get,
            "aws s3api get-object --bucket=finance --key='a b/it'\\''s.csv' --expected-bucket-owner=111122223333 \
             --version-id=v2-before --endpoint-url=https://s3.eu-west-1.amazonaws.com --region=eu-west-1 old-version"
        );
        assert_eq!(
            copy,
            "aws s3api copy-object --bucket=finance --key='a b/it'\\''s.csv' --expected-bucket-owner=111122223333 \
             --copy-source='finance/a b/it'\\''s.csv?versionId=v2-before' --if-match='\"after-2\"' \
             --endpoint-url=https://s3.eu-west-1.amazonaws.com --region=eu-west-1"
        );
        let sandbox = Row { endpoint: SANDBOX.into(), ..samples::row(2, Outcome::Replaced) };
        assert!(!said(&sandbox).copy.contains("--endpoint-url") && !said(&sandbox).copy.contains("owner"));
    }

    #[test]
    fn what_is_gone_is_called_gone_and_only_what_took_an_objects_place_buries() {
        let row = samples::row(1, Outcome::Replaced);
        let versions = |before: &str, after: &str| Row {
            version_before: before.into(),
            version_after: after.into(),
            ..row.clone()
        };
        assert_eq!(restore(&versions("", "")), Restore::Gone("not versioned: cannot be got back"));
        assert_eq!(restore(&versions("null", "null")), Restore::Gone("versioning is suspended: cannot be got back"));
        assert!(matches!(restore(&versions("null", "v2")), Restore::Version { id, .. } if id == "null"));
        let those = [Outcome::Replaced, Outcome::Restored, Outcome::Deleted];
        for outcome in Outcome::ALL {
            let takes_a_place = restore(&Row { outcome, ..row.clone() }) != Restore::Nothing;
            assert_eq!(takes_a_place, those.contains(&outcome), "{outcome}");
        }
        let nothing = Row { version_before: String::new(), etag_before: String::new(), ..row.clone() };
        assert_eq!(restore(&Row { outcome: Outcome::Restored, ..nothing.clone() }), Restore::Nothing);
        assert!(matches!(restore(&Row { outcome: Outcome::Deleted, ..nothing }), Restore::Gone(_)));
        // Over a key that was deleted nothing may be there.
        let deleted = Row { outcome: Outcome::Deleted, ..row.clone() };
        assert!(said(&deleted).copy.contains(" --if-none-match='*'") && !said(&deleted).copy.contains("--if-match"));
    }

    #[test]
    fn what_no_command_line_can_say_gets_none() {
        for key in ["a\nb", "a\u{202e}b", "file://etc/passwd", "a?versionId=b"] {
            let row = Row { key: key.into(), ..samples::row(1, Outcome::Replaced) };
            assert!(matches!(restore(&row), Restore::Version { commands: None, .. }), "{key:?}");
        }
    }
}
