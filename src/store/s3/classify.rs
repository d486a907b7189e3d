//! What an answer means. Pure: the truth table of S3's answers, and the only place that knows it.

use crate::model::write::{Cause, Expect, LookError, PutError, Refusal};

/// The requests whose answers are classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Put,
    CreateUpload,
    Part,
    Complete,
    Copy,
    CopyPart,
    Delete,
}

/// Which precondition the request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    IfNoneMatch,
    IfMatch,
}

impl Condition {
    pub(super) fn of(expect: &Expect) -> Self {
        match expect {
            Expect::Absent => Self::IfNoneMatch,
            Expect::Unchanged(_) => Self::IfMatch,
        }
    }
}

/// How a request ended that did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The server answered with an error; for Complete also one inside a 200.
    Said {
        status: u16,
        code: String,
        message: String,
        request_id: Option<String>,
        /// The bucket's own region, where the server names it (`x-amz-bucket-region`).
        region: Option<String>,
    },
    /// It answered, but not in a way that can be read.
    Garbled { status: u16, message: String },
    /// No answer: timeout, reset, refused.
    Silent { code: &'static str, message: String },
    /// Nothing was sent: the request could not be made.
    Unsent { code: &'static str, message: String, stop: bool },
}

/// The three ends of a write that was not a plain yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Lost,
    Refused(Refusal),
    Unknown,
}

/// | status | code | op | verdict |
/// |---|---|---|---|
/// | 2xx to 4xx | credentials, clock, signature | any | Stop |
/// | any | SlowDown and its kin, or 429 | any | Throttled |
/// | 412, PreconditionFailed | | Put, Complete, Copy, Delete with a condition | Lost |
/// | 404 | NoSuchKey, NotFound (none, too, but for Complete) | Put, Complete, Copy, Delete with If-Match | Lost |
/// | 404 | NoSuchUpload | Part, CopyPart; Complete | NoSuchUpload; Unknown: it may have been completed |
/// | 404 | NoSuchBucket | any | Failed |
/// | 409 | ConditionalRequestConflict, OperationAborted | any | Conflict |
/// | 400 | BadDigest, InvalidDigest, XAmzContentSHA256Mismatch, XAmzContentChecksumMismatch | any | SourceChanged |
/// | 408, or RequestTimeout; other 5xx | | any | Unknown |
/// | 200 | with an error body that is none of these | any | Unknown |
/// | 3xx, other 4xx | | any | Failed |
pub(super) fn classify(op: Op, condition: Condition, status: u16, code: &str) -> Verdict {
    let conditional = matches!(op, Op::Put | Op::Complete | Op::Copy | Op::Delete) && condition != Condition::None;
    if status < 500 && stops(code) {
        return Verdict::Refused(Refusal::Stop);
    }
    if slows(code) || status == 429 {
        return Verdict::Refused(Refusal::Throttled);
    }
    match code {
        "RequestTimeout" | "InternalError" => return Verdict::Unknown,
        // A 404 of a Complete may stand for one that landed while its answer was lost.
        "NoSuchUpload" if op == Op::Complete => return Verdict::Unknown,
        "NoSuchUpload" if matches!(op, Op::Part | Op::CopyPart) && status < 500 => {
            return Verdict::Refused(Refusal::NoSuchUpload);
        }
        "NoSuchBucket" if status < 500 => return Verdict::Refused(Refusal::Failed),
        "PreconditionFailed" if status < 500 && conditional => return Verdict::Lost,
        "ConditionalRequestConflict" | "OperationAborted" if status < 500 => {
            return Verdict::Refused(Refusal::Conflict);
        }
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" if status < 500 => {
            return Verdict::Refused(Refusal::SourceChanged);
        }
        // S3 answers 404, not 412, when If-Match meets a missing key. To us both mean: someone got there first.
        "NoSuchKey" | "NotFound" if status < 500 && conditional && condition == Condition::IfMatch => {
            return Verdict::Lost;
        }
        _ => {}
    }
    match status {
        412 if conditional => Verdict::Lost,
        404 if matches!(op, Op::Put | Op::Copy | Op::Delete) && condition == Condition::IfMatch && code.is_empty() => {
            Verdict::Lost
        }
        // Without a code it may be the NoSuchUpload of a Complete that landed.
        404 if op == Op::Complete && code.is_empty() => Verdict::Unknown,
        408 => Verdict::Unknown,
        300..500 => Verdict::Refused(Refusal::Failed),
        _ => Verdict::Unknown,
    }
}

/// Every other request would fail the same way.
fn stops(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "TokenRefreshRequired"
            | "InvalidToken"
            | "RequestTimeTooSkewed"
            | "RequestExpired"
            | "SignatureDoesNotMatch"
            | "InvalidAccessKeyId"
            | "AuthorizationHeaderMalformed"
            | "AccountProblem"
            | "NotSignedUp"
    )
}

/// Not applied, but it may be if asked more slowly. A plain 503 ServiceUnavailable is not here: it does not say "not applied".
fn slows(code: &str) -> bool {
    matches!(
        code,
        "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "TooManyRequests"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
    )
}

/// The end of a write. `whole_left` is false where the last chunk of the body never left: then silence proves that
/// nothing was applied.
pub(super) fn put_error(op: Op, condition: Condition, answer: Answer, whole_left: bool) -> PutError {
    match answer {
        Answer::Said { status, code, message, request_id, region } => {
            let verdict = classify(op, condition, status, &code);
            let message = advised(message, advice(Some((op, condition)), status, &code, region.as_deref()));
            let cause = Cause { http_status: Some(status), code, message, request_id };
            match verdict {
                Verdict::Lost => PutError::Lost(cause),
                Verdict::Refused(refusal) => PutError::Refused(refusal, cause),
                Verdict::Unknown => PutError::Unknown(cause),
            }
        }
        Answer::Garbled { status, message } => {
            PutError::Unknown(Cause { http_status: Some(status), code: "Garbled".into(), message, request_id: None })
        }
        Answer::Silent { code, message } => {
            let cause = Cause { code: code.into(), message, ..Cause::default() };
            // To be tried again, more slowly: the only refusal that says so.
            if whole_left { PutError::Unknown(cause) } else { PutError::Refused(Refusal::Throttled, cause) }
        }
        Answer::Unsent { code, message, stop } => {
            let refusal = if stop { Refusal::Stop } else { Refusal::Failed };
            PutError::Refused(refusal, Cause { code: code.into(), message, ..Cause::default() })
        }
    }
}

/// A look that gave no answer.
pub(super) fn look_error(answer: Answer) -> LookError {
    let (cause, stop) = match answer {
        Answer::Said { status, code, message, request_id, region } => {
            let stop = stops(&code);
            let message = advised(message, advice(None, status, &code, region.as_deref()));
            (Cause { http_status: Some(status), code, message, request_id }, stop)
        }
        Answer::Garbled { status, message } => {
            (Cause { http_status: Some(status), code: "Garbled".into(), message, request_id: None }, false)
        }
        Answer::Silent { code, message } => (Cause { code: code.into(), message, ..Cause::default() }, false),
        Answer::Unsent { code, message, stop } => (Cause { code: code.into(), message, ..Cause::default() }, stop),
    };
    LookError { cause, stop }
}

fn advised(message: String, advice: Option<String>) -> String {
    match advice {
        None => message,
        Some(advice) if message.is_empty() => advice,
        Some(advice) => format!("{}. {advice}", message.trim_end_matches('.')),
    }
}

/// What to do about it; `write` is what a request was to write by, and under which condition, if it did not only look.
fn advice(write: Option<(Op, Condition)>, status: u16, code: &str, region: Option<&str>) -> Option<String> {
    let text = match (status, code) {
        (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken") => {
            "The credentials have expired: renew them (for SSO: aws sso login) and run the same command again"
        }
        (_, "RequestTimeTooSkewed" | "RequestExpired") => "This machine's clock is wrong: set it, then run again",
        (_, "InvalidAccessKeyId") => "The server does not know this access key: check the profile and the endpoint",
        (_, "SignatureDoesNotMatch") => "The secret key is wrong, or a proxy changed the request",
        (_, "NoSuchBucket") => "There is no such bucket at this endpoint: check `bucket:` and `endpoint:`",
        (_, "NoSuchVersion") => "The version that was to be brought back is not there any more",
        (_, "InvalidObjectState") => "It is archived: restore it first (aws s3api restore-object)",
        (_, "NoSuchUpload") => "The upload is gone: it was completed or aborted",
        (_, "ConditionalRequestConflict" | "OperationAborted") => "Another write of the same key was in flight",
        (300..400, _) | (_, "AuthorizationHeaderMalformed") | (400, "") if region.is_some() => {
            return region.map(|region| format!("The bucket is in {region}: set `region: {region}` and plan again"));
        }
        (300..400, _) if write.is_some() => {
            "The endpoint redirects, and a write is never redirected: name the right region or endpoint"
        }
        (300..400, _) => "The endpoint redirects: name the right region or endpoint",
        (400, "") => {
            "The server gave no reason; most often the credentials have expired, or the region is the wrong one"
        }
        (403, _) => match write? {
            (Op::Delete, Condition::IfMatch) => "A delete needs s3:DeleteObject, and s3:GetObject for its condition",
            (Op::Delete, _) => "A delete needs s3:DeleteObject",
            (_, Condition::IfMatch) => "A replace needs s3:GetObject beside s3:PutObject",
            (_, Condition::None | Condition::IfNoneMatch) => return None,
        },
        (501, _) => "The server does not implement this request",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    use Condition::{IfMatch, IfNoneMatch};
    use Op::{Complete, CreateUpload, Part, Put};
    use Refusal::{Conflict, Failed, NoSuchUpload, SourceChanged, Stop, Throttled};
    use Verdict::{Lost, Refused, Unknown};

    #[test]
    fn every_answer_has_the_meaning_that_the_table_gives_it() {
        let no = Condition::None;
        #[rustfmt::skip]
        let table: &[(Op, Condition, u16, &str, Verdict)] = &[
            // Somebody was first.
            (Put, IfNoneMatch, 412, "PreconditionFailed", Lost),
            (Put, IfMatch, 412, "PreconditionFailed", Lost),
            (Put, IfMatch, 412, "", Lost),
            (Put, IfMatch, 404, "NoSuchKey", Lost),
            (Put, IfMatch, 404, "NotFound", Lost),
            (Put, IfMatch, 404, "", Lost),
            (Complete, IfNoneMatch, 412, "PreconditionFailed", Lost),
            (Complete, IfMatch, 404, "NoSuchKey", Lost),
            (Complete, IfMatch, 200, "PreconditionFailed", Lost),
            (Complete, IfMatch, 200, "NoSuchKey", Lost),
            // A 404 that is not about the key.
            (Put, IfNoneMatch, 404, "NoSuchKey", Refused(Failed)),
            (Put, IfNoneMatch, 404, "", Refused(Failed)),
            (Put, IfMatch, 404, "NoSuchBucket", Refused(Failed)),
            (Complete, IfMatch, 404, "NoSuchBucket", Refused(Failed)),
            (Complete, IfMatch, 404, "NoSuchUpload", Unknown),
            (Complete, IfNoneMatch, 404, "NoSuchUpload", Unknown),
            (Complete, IfMatch, 404, "", Unknown),
            (Complete, IfNoneMatch, 200, "NoSuchUpload", Unknown),
            (Part, no, 404, "NoSuchUpload", Refused(NoSuchUpload)),
            (CreateUpload, no, 404, "NoSuchBucket", Refused(Failed)),
            // A precondition that was never sent cannot be lost.
            (Part, no, 412, "PreconditionFailed", Refused(Failed)),
            (CreateUpload, no, 412, "", Refused(Failed)),
            // In flight at the same time.
            (Put, IfMatch, 409, "ConditionalRequestConflict", Refused(Conflict)),
            (Complete, IfNoneMatch, 409, "ConditionalRequestConflict", Refused(Conflict)),
            (Put, IfNoneMatch, 409, "OperationAborted", Refused(Conflict)),
            (Put, IfNoneMatch, 409, "BucketNotEmpty", Refused(Failed)),
            // The bytes.
            (Put, IfNoneMatch, 400, "BadDigest", Refused(SourceChanged)),
            (Put, IfNoneMatch, 400, "InvalidDigest", Refused(SourceChanged)),
            (Part, no, 400, "XAmzContentSHA256Mismatch", Refused(SourceChanged)),
            (Put, IfNoneMatch, 400, "XAmzContentChecksumMismatch", Refused(SourceChanged)),
            (Complete, IfNoneMatch, 200, "BadDigest", Refused(SourceChanged)),
            // Slowly.
            (Put, IfNoneMatch, 503, "SlowDown", Refused(Throttled)),
            (Part, no, 429, "", Refused(Throttled)),
            (Complete, IfMatch, 200, "SlowDown", Refused(Throttled)),
            // It does not tell.
            (Put, IfNoneMatch, 503, "ServiceUnavailable", Unknown),
            (Put, IfNoneMatch, 503, "", Unknown),
            (Put, IfNoneMatch, 500, "InternalError", Unknown),
            (Put, IfNoneMatch, 502, "", Unknown),
            (Put, IfMatch, 504, "NoSuchKey", Unknown),
            (Put, IfNoneMatch, 500, "ExpiredToken", Unknown),
            (Complete, IfNoneMatch, 200, "InternalError", Unknown),
            (Complete, IfNoneMatch, 200, "", Unknown),
            (Complete, IfNoneMatch, 200, "SomethingNew", Unknown),
            (Put, IfNoneMatch, 408, "", Unknown),
            (Put, IfNoneMatch, 400, "RequestTimeout", Unknown),
            // Nothing more.
            (Put, IfNoneMatch, 400, "ExpiredToken", Refused(Stop)),
            (Put, IfNoneMatch, 403, "RequestTimeTooSkewed", Refused(Stop)),
            (Part, no, 403, "SignatureDoesNotMatch", Refused(Stop)),
            (CreateUpload, no, 403, "InvalidAccessKeyId", Refused(Stop)),
            // The rest.
            (Put, IfMatch, 403, "AccessDenied", Refused(Failed)),
            (Put, IfNoneMatch, 400, "InvalidArgument", Refused(Failed)),
            (Put, IfNoneMatch, 301, "PermanentRedirect", Refused(Failed)),
            (Put, IfNoneMatch, 307, "TemporaryRedirect", Refused(Failed)),
            (Complete, IfNoneMatch, 400, "InvalidPart", Refused(Failed)),
        ];
        for &(op, condition, status, code, verdict) in table {
            assert_eq!(classify(op, condition, status, code), verdict, "{op:?} {condition:?} {status} {code}");
        }
    }

    #[test]
    fn silence_is_a_no_only_while_the_last_chunk_is_still_here() {
        let silent = || Answer::Silent { code: "Connection", message: "reset".into() };
        assert!(matches!(put_error(Put, IfMatch, silent(), true), PutError::Unknown(_)));
        assert!(matches!(put_error(Put, IfMatch, silent(), false), PutError::Refused(Throttled, _)));
        let garbled = Answer::Garbled { status: 200, message: String::new() };
        assert!(matches!(put_error(Complete, IfMatch, garbled, true), PutError::Unknown(_)));
    }

    #[test]
    fn a_message_says_what_to_do() {
        let said = |status, code: &str, region: Option<&str>| Answer::Said {
            status,
            code: code.into(),
            message: "No.".into(),
            request_id: None,
            region: region.map(Into::into),
        };
        let text = |answer| put_error(Put, IfMatch, answer, true).cause().message.clone();
        assert_eq!(text(said(403, "AccessDenied", None)), "No. A replace needs s3:GetObject beside s3:PutObject");
        assert_eq!(
            text(said(301, "PermanentRedirect", Some("eu-west-1"))),
            "No. The bucket is in eu-west-1: set `region: eu-west-1` and plan again"
        );
        let delete = put_error(Op::Delete, IfMatch, said(403, "AccessDenied", None), true).cause().message.clone();
        assert!(delete.contains("A delete needs s3:DeleteObject") && !delete.contains("PutObject"), "{delete}");
        let moved = || said(301, "PermanentRedirect", None);
        assert!(text(moved()).contains("a write is never redirected"));
        assert_eq!(
            look_error(moved()).cause.message,
            "No. The endpoint redirects: name the right region or endpoint",
            "a look writes nothing"
        );
        assert!(look_error(said(400, "ExpiredToken", None)).stop);
        assert!(!look_error(said(500, "InternalError", None)).stop);
    }
}
