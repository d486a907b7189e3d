//! What scratch objects showed, as findings: what the server does, which is not always what it says of itself.

use super::{Finding, Level};
use crate::model::behaviour::{Behaviour, Kind};
use crate::model::text::escape;
use crate::model::write::LookError;

/// One finding for each request that takes conditions, and one for each thing that comparing rests on.
#[must_use]
pub fn findings(found: &Behaviour) -> Vec<Finding> {
    let Behaviour { conditions, permits, etag_is_md5, checksums_verified, checksum_returned, composite_returned } =
        found;
    let mut findings = Vec::new();
    for (name, request) in [
        ("probe-put", "PutObject"),
        ("probe-complete", "CompleteMultipartUpload"),
        ("probe-copy", "CopyObject"),
        ("probe-delete", "DeleteObject"),
    ] {
        let of = |answers: &'_ [(Kind, Result<bool, LookError>)]| -> Vec<(Kind, Result<bool, LookError>)> {
            answers.iter().filter(|(kind, _)| kind.request() == request).cloned().collect()
        };
        findings.push(condition(name, request, &of(conditions), &of(permits)));
    }
    findings.push(fact(
        "probe-etag",
        etag_is_md5,
        ("the ETag of a PUT is the MD5 of its bytes", "what other tools wrote is recognised by its ETag"),
        (
            Level::Warning,
            "the ETag of a PUT is not the MD5 of its bytes",
            "as with SSE-KMS: sameness is shown by checksums alone, and by noclobber's own claim",
        ),
    ));
    findings.push(fact(
        "probe-checksum-verified",
        checksums_verified,
        ("a checksum that does not fit its bytes is refused", "the server itself turns away a file that changed"),
        (
            Level::Warning,
            "a checksum that does not fit its bytes is taken",
            "noclobber holds back the last chunk of a file that changed; other clients' bytes go unchecked",
        ),
    ));
    findings.push(fact(
        "probe-checksum-returned",
        checksum_returned,
        ("HEAD gives back the SHA-256 of a PUT", "sameness is shown by the server's own checksum"),
        (
            Level::Warning,
            "HEAD does not give back the SHA-256 of a PUT",
            "sameness is shown by ETags, and where they cannot show it, by noclobber's own claim",
        ),
    ));
    findings.push(fact(
        "probe-composite-returned",
        composite_returned,
        ("HEAD gives back the composite SHA-256 of an upload in parts", "so it is with large files"),
        (
            Level::Warning,
            "HEAD does not give back the composite SHA-256 of an upload in parts",
            "of large files sameness is shown by the ETag of the parts, or by noclobber's own claim",
        ),
    ));
    findings
}

/// What becomes of a request whose condition does not hold, and of one whose condition holds.
fn condition(
    name: &'static str,
    request: &str,
    refused: &[(Kind, Result<bool, LookError>)],
    permitted: &[(Kind, Result<bool, LookError>)],
) -> Finding {
    let headers = |answers: &[(Kind, Result<bool, LookError>)], which: fn(&Result<bool, LookError>) -> bool| {
        let those = answers.iter().filter(|(_, answer)| which(answer)).map(|(kind, _)| kind.header());
        those.collect::<Vec<_>>().join(" and ")
    };
    let writes = matches!(request, "PutObject" | "CompleteMultipartUpload");
    let ignored = headers(refused, |answer| *answer == Ok(false));
    if !ignored.is_empty() {
        let found = format!("{request} ignores {ignored}: it stored or deleted what it had to refuse");
        return if writes {
            let why = "noclobber writes nothing there: whoever writes last wins, and nobody is told";
            Finding::new(name, Level::Problem, found, why)
                .say("use a server that honours conditions, or accept the race with conditional_writes: check-first")
        } else {
            let why = "a rollback then looks before each such request instead (check-first): what is written between \
                       the look and the request is lost";
            Finding::new(name, Level::Warning, found, why)
                .say("let nobody write under these keys while a rollback is applied")
        };
    }
    let unknown = refused.iter().find_map(|(kind, answer)| Some((kind, answer.as_ref().err()?)));
    if let Some((kind, error)) = unknown {
        return untold(name, &format!("{request} with {}", kind.header()), error);
    }
    let barred = headers(permitted, |answer| *answer == Ok(false));
    if !barred.is_empty() {
        let found = format!("{request} with {barred} is refused even where the condition holds");
        return Finding::new(name, Level::Problem, found, "nothing can be written there with that condition");
    }
    let found = format!("{request} honours {}", headers(refused, |answer| *answer == Ok(true)));
    Finding::new(name, Level::Ok, found, "one refusal does not show that it is atomic: rows say tested, not atomic")
}

fn fact(
    name: &'static str,
    answer: &Result<bool, LookError>,
    (yes, why): (&str, &str),
    (level, no, why_not): (Level, &str, &str),
) -> Finding {
    match answer {
        Ok(true) => Finding::new(name, Level::Ok, yes, why),
        Ok(false) => Finding::new(name, level, no, why_not),
        Err(error) => untold(name, yes, error),
    }
}

fn untold(name: &'static str, what: &str, error: &LookError) -> Finding {
    let level = if error.cause.http_status == Some(403) { Level::NotAllowed } else { Level::CannotTell };
    let found = format!("asked for, and not told: {what} ({})", escape(&error.to_string()));
    Finding::new(name, level, found, "what is not known is not relied on")
}

/// Where no scratch object could be stored at all.
#[must_use]
pub fn not_asked(error: &LookError) -> Finding {
    untold("probe", "what the server does with a scratch object", error)
}

/// Where a scratch object could not be removed again.
#[must_use]
pub fn left(error: &LookError) -> Finding {
    Finding::new("probe-left", Level::Problem, escape(&error.to_string()), "what is left is billed, and in the way")
        .say("remove what is named, with all its versions")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::write::Cause;

    fn all(
        refused: impl Fn(Kind) -> Result<bool, LookError>,
        permitted: impl Fn(Kind) -> Result<bool, LookError>,
    ) -> Behaviour {
        Behaviour {
            conditions: Kind::ALL.into_iter().map(|kind| (kind, refused(kind))).collect(),
            permits: Kind::ALL.into_iter().map(|kind| (kind, permitted(kind))).collect(),
            etag_is_md5: Ok(true),
            checksums_verified: Ok(true),
            checksum_returned: Ok(true),
            composite_returned: Ok(true),
        }
    }

    type Fact = fn(&mut Behaviour) -> &mut Result<bool, LookError>;

    fn error(status: u16) -> LookError {
        LookError { cause: Cause { http_status: Some(status), code: "X".into(), ..Cause::default() }, stop: false }
    }

    fn levels(found: &Behaviour) -> Vec<(&'static str, Level)> {
        findings(found).iter().map(|finding| (finding.name, finding.level)).collect()
    }

    #[test]
    fn each_answer_has_its_level_and_what_was_not_answered_is_never_ok() {
        let good = all(|_| Ok(true), |_| Ok(true));
        assert!(levels(&good).iter().all(|(_, level)| *level == Level::Ok), "{:?}", levels(&good));
        assert_eq!(levels(&good).len(), 8);
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let writes = matches!(kind.request(), "PutObject" | "CompleteMultipartUpload");
            let of = |found: &Behaviour| {
                findings(found).into_iter().find(|finding| finding.found.contains(kind.request())).unwrap().level
            };
            let ignored = all(|asked| Ok(asked != kind), |_| Ok(true));
            assert_eq!(of(&ignored), if writes { Level::Problem } else { Level::Warning }, "{at}: {kind:?}");
            let barred = all(|_| Ok(true), |asked| Ok(asked != kind));
            assert_eq!(of(&barred), Level::Problem, "{kind:?}");
            for (status, level) in [(403, Level::NotAllowed), (501, Level::CannotTell)] {
                let untold = all(|asked| if asked == kind { Err(error(status)) } else { Ok(true) }, |_| Ok(true));
                assert_eq!(of(&untold), level, "{kind:?}");
            }
        }
        let facts: [Fact; 4] = [
            |found| &mut found.etag_is_md5,
            |found| &mut found.checksums_verified,
            |found| &mut found.checksum_returned,
            |found| &mut found.composite_returned,
        ];
        for (at, fact) in facts.into_iter().enumerate() {
            for (answer, level) in [
                (Ok(false), Level::Warning),
                (Err(error(403)), Level::NotAllowed),
                (Err(error(500)), Level::CannotTell),
            ] {
                let mut found = good.clone();
                *fact(&mut found) = answer;
                assert_eq!(levels(&found)[4 + at].1, level);
            }
        }
    }
}
