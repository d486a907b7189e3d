//! The AWS CLI's commands and the documents that they read. They are printed, never run.

use std::fmt::Write as _;

use serde::Serialize;

use crate::model::target::Target;
use crate::model::text::quoted;

/// `aws s3api VERB` about the target's bucket. The rest are options without their `--`, and their values.
pub(super) fn aws(target: &Target, verb: &str, options: &[(&str, &str)]) -> String {
    let mut command = format!("aws s3api {verb}");
    // `--name=value`: a value that begins with a hyphen is no option.
    let mut give = |name: &str, value: &str| {
        let _ = write!(command, " --{name}={}", quoted(value));
    };
    give("bucket", &target.bucket);
    for (name, value) in options {
        give(name, value);
    }
    // The sandbox's address is its own each time: `noclobber sandbox` prints the variables that lead there.
    if !target.is_sandbox() {
        if let Some(owner) = &target.owner {
            give("expected-bucket-owner", owner);
        }
        give("endpoint-url", &target.endpoint);
        give("region", &target.region);
    }
    command
}

/// A JSON document in which no character acts on a terminal: whatever is not ASCII is escaped.
pub(super) fn ascii(document: &impl Serialize) -> String {
    // It has nothing in it that JSON cannot say.
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}
