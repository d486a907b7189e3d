//! The settle table, row by row, and its laws over every short history.

use super::*;
use crate::model::entry::Properties;
use crate::model::head::{Encryption, HeldChecksums};

const OURS: &str = "run-1";

fn cause(code: &str) -> Cause {
    Cause { http_status: Some(500), code: code.into(), message: code.into(), request_id: None }
}

fn head(etag: &str, version: Option<&str>, write_id: Option<&str>) -> Head {
    Head {
        size: 3,
        etag: ETag::new(etag),
        version: version.map(|id| VersionId(id.into())),
        last_modified: None,
        encryption: Encryption::None,
        checksums: HeldChecksums::default(),
        first_part: None,
        properties: Properties::default(),
        claim: None,
        write_id: write_id.map(str::to_owned),
    }
}

fn present(etag: &str, write_id: Option<&str>) -> Remote {
    Remote::Present(Box::new(head(etag, None, write_id)))
}

fn patience() -> Patience {
    Patience { conflicts: 2, throttles: 2, doubts: 2, looks: 2, pause: Duration::ZERO, pause_max: Duration::ZERO }
}

fn create() -> Write {
    Write::new(Expect::Absent, None, WriteId(OURS.into()), patience())
}

fn replace() -> Write {
    let planned = Seen::of(&head("old", None, None));
    Write::new(Expect::Unchanged(ETag::new("old")), Some(planned), WriteId(OURS.into()), patience())
}

fn delete() -> Write {
    Write::delete(Seen::of(&head("old", None, None)), patience())
}

fn written() -> Answer {
    Answer::Put(Ok(Written { etag: Some(ETag::new("new")), version: None, request_id: None, http_status: 200 }))
}

fn no(refusal: Refusal) -> Answer {
    Answer::Put(Err(PutError::Refused(refusal, cause("No"))))
}

fn lost() -> Answer {
    Answer::Put(Err(PutError::Lost(cause("PreconditionFailed"))))
}

fn silence() -> Answer {
    Answer::Put(Err(PutError::Unknown(cause("Timeout"))))
}

fn mangled() -> Answer {
    Answer::Put(Err(PutError::Mangled(cause("ChecksumMismatch"))))
}

fn look(remote: Remote) -> Answer {
    Answer::Look(Some(remote))
}

/// Feeds answers, and names what came next each time.
fn walk(write: Write, answers: Vec<Answer>) -> Vec<&'static str> {
    let (mut write, next) = write.begin();
    let mut names = vec![name(&next)];
    for answer in answers {
        let next;
        (write, next) = write.next(answer);
        names.push(name(&next));
    }
    names
}

fn name(next: &Next) -> &'static str {
    match next {
        Next::Send { .. } => "send",
        Next::Look { .. } => "look",
        Next::Search => "search",
        Next::End(End::Done(done)) if done.settled => "done, settled",
        Next::End(End::Done(_)) => "done",
        Next::End(End::Lost { there: Some(_), .. }) => "lost to somebody",
        Next::End(End::Lost { there: None, .. }) => "lost",
        Next::End(End::SourceChanged(_)) => "source-changed",
        Next::End(End::Failed(_)) => "failed",
        Next::End(End::Stop(_)) => "stop",
        Next::End(End::Unknown(_)) => "unknown",
    }
}

#[test]
fn the_settle_table_holds_row_by_row() {
    let ours = || look(present("new", Some(OURS)));
    let other = || look(present("else", Some("run-2")));
    let absent = || look(Remote::Absent);
    let planned = || look(present("old", None));
    let unseen = || look(Remote::Unseen);
    let mute = || Answer::Look(None);
    let found = || Answer::Search(Found::Ours { etag: None, version: Some(VersionId("v".into())) });
    let nothing = || Answer::Search(Found::Nothing);
    let table: Vec<(&str, Write, Vec<Answer>, &[&str])> = vec![
        ("200", create(), vec![written()], &["done"]),
        ("412: ours", create(), vec![lost(), ours()], &["look", "done, settled"]),
        ("412: somebody", create(), vec![lost(), other(), nothing()], &["look", "search", "lost to somebody"]),
        ("412, then deleted", create(), vec![lost(), absent(), nothing()], &["look", "search", "lost"]),
        ("412, not visible", create(), vec![lost(), unseen()], &["look", "lost"]),
        ("412, no look", create(), vec![lost(), mute(), mute()], &["look", "look", "unknown"]),
        ("404 on If-Match", replace(), vec![lost(), absent(), nothing()], &["look", "search", "lost"]),
        (
            "412 to a repeated request, and buried",
            create(),
            vec![lost(), other(), found()],
            &["look", "search", "done, settled"],
        ),
        (
            "412, no look, then somebody",
            create(),
            vec![lost(), mute(), other(), nothing()],
            &["look", "look", "search", "lost to somebody"],
        ),
        (
            "409",
            create(),
            vec![no(Refusal::Conflict), no(Refusal::Conflict), no(Refusal::Conflict)],
            &["send", "send", "failed"],
        ),
        ("409, then 200", create(), vec![no(Refusal::Conflict), written()], &["send", "done"]),
        (
            "503",
            create(),
            vec![no(Refusal::Throttled), no(Refusal::Throttled), no(Refusal::Throttled)],
            &["send", "send", "failed"],
        ),
        ("BadDigest", create(), vec![no(Refusal::SourceChanged)], &["source-changed"]),
        ("stored, but mangled", create(), vec![mangled()], &["unknown"]),
        (
            "doubt, then stored, but mangled",
            create(),
            vec![silence(), absent(), mangled()],
            &["look", "send", "unknown"],
        ),
        ("no file", create(), vec![no(Refusal::Source)], &["failed"]),
        ("403", create(), vec![no(Refusal::Failed)], &["failed"]),
        ("ExpiredToken", create(), vec![no(Refusal::Stop)], &["stop"]),
        ("doubt: ours", create(), vec![silence(), ours()], &["look", "done, settled"]),
        ("doubt: as planned", create(), vec![silence(), absent(), written()], &["look", "send", "done"]),
        ("doubt: as planned, replace", replace(), vec![silence(), planned(), written()], &["look", "send", "done"]),
        (
            "doubt, retried, our own 412",
            create(),
            vec![silence(), absent(), lost(), ours()],
            &["look", "send", "look", "done, settled"],
        ),
        (
            "doubt, retried, 412, somebody: never lost",
            create(),
            vec![silence(), absent(), lost(), other(), nothing()],
            &["look", "send", "look", "search", "unknown"],
        ),
        ("doubt, then buried", create(), vec![silence(), other(), found()], &["look", "search", "done, settled"]),
        ("doubt, somebody, no history", create(), vec![silence(), other(), nothing()], &["look", "search", "unknown"]),
        ("doubt, replace vanished", replace(), vec![silence(), absent(), nothing()], &["look", "search", "unknown"]),
        ("doubt, no look", create(), vec![silence(), mute(), mute()], &["look", "look", "unknown"]),
        ("doubt, create, not visible", create(), vec![silence(), unseen(), written()], &["look", "send", "done"]),
        ("doubt, replace, not visible", replace(), vec![silence(), unseen()], &["look", "unknown"]),
        (
            "doubt again and again",
            create(),
            vec![silence(), absent(), silence(), absent(), silence(), absent()],
            &["look", "send", "look", "send", "look", "unknown"],
        ),
        (
            "doubt, then the file changed",
            create(),
            vec![silence(), absent(), no(Refusal::SourceChanged), absent()],
            &["look", "send", "look", "unknown"],
        ),
        (
            "doubt, then refused, and yet stored",
            create(),
            vec![silence(), absent(), no(Refusal::Failed), ours()],
            &["look", "send", "look", "done, settled"],
        ),
        (
            "doubt, then no credentials",
            create(),
            vec![silence(), absent(), no(Refusal::Stop)],
            &["look", "send", "unknown"],
        ),
    ];
    for (title, write, answers, expected) in table {
        assert_eq!(walk(write, answers)[1..], *expected, "{title}");
    }
}

#[test]
fn the_settle_table_of_a_delete_holds_row_by_row() {
    let absent = || look(Remote::Absent);
    let planned = || look(present("old", None));
    let other = || look(present("else", Some("run-2")));
    // A delete has no write id: an object that bears one is an object like any other.
    let ours = || look(present("new", Some(OURS)));
    let unseen = || look(Remote::Unseen);
    let mute = || Answer::Look(None);
    let marker = || Answer::Search(Found::Ours { etag: None, version: Some(VersionId("m".into())) });
    let no_history = || Answer::Search(Found::Ours { etag: None, version: None });
    let nothing = || Answer::Search(Found::Nothing);
    let table: Vec<(&str, Vec<Answer>, &[&str])> = vec![
        ("204", vec![written()], &["done"]),
        ("412: another object", vec![lost(), other()], &["look", "lost to somebody"]),
        ("412: an object with our id", vec![lost(), ours()], &["look", "lost to somebody"]),
        ("404: nothing there", vec![lost(), absent()], &["look", "lost"]),
        ("412, and the planned one is back", vec![lost(), planned()], &["look", "lost to somebody"]),
        ("412, not visible", vec![lost(), unseen()], &["look", "lost"]),
        ("412, no look", vec![lost(), mute(), mute()], &["look", "look", "unknown"]),
        ("409, then 204", vec![no(Refusal::Conflict), written()], &["send", "done"]),
        ("403", vec![no(Refusal::Failed)], &["failed"]),
        ("ExpiredToken", vec![no(Refusal::Stop)], &["stop"]),
        ("doubt: as planned", vec![silence(), planned(), written()], &["look", "send", "done"]),
        ("doubt: a marker stands over it", vec![silence(), absent(), marker()], &["look", "search", "done, settled"]),
        ("doubt: no history", vec![silence(), absent(), no_history()], &["look", "search", "done, settled"]),
        ("doubt: a marker over another", vec![silence(), absent(), nothing()], &["look", "search", "unknown"]),
        ("doubt: another object", vec![silence(), other()], &["look", "unknown"]),
        ("doubt: an object with our id", vec![silence(), ours()], &["look", "unknown"]),
        ("doubt: not visible", vec![silence(), unseen()], &["look", "unknown"]),
        (
            "doubt, retried, 404, a marker: the late one was ours",
            vec![silence(), planned(), lost(), absent(), marker()],
            &["look", "send", "look", "search", "done, settled"],
        ),
        (
            "doubt, retried, 412, somebody: never lost",
            vec![silence(), planned(), lost(), other()],
            &["look", "send", "look", "unknown"],
        ),
        (
            "doubt, retried, 412, as planned again: never lost",
            vec![silence(), planned(), lost(), planned()],
            &["look", "send", "look", "unknown"],
        ),
        (
            "doubt again and again",
            vec![silence(), planned(), silence(), planned(), silence(), planned()],
            &["look", "send", "look", "send", "look", "unknown"],
        ),
    ];
    for (title, answers, expected) in table {
        assert_eq!(walk(delete(), answers)[1..], *expected, "{title}");
    }
}

#[test]
fn a_resumed_write_is_looked_for_before_it_is_sent() {
    let (write, next) = create().resumed();
    assert_eq!(name(&next), "look");
    let (write, next) = write.next(look(Remote::Absent));
    assert_eq!(name(&next), "send");
    let (write, next) = write.next(lost());
    assert_eq!(name(&next), "look");
    assert_eq!(name(&write.next(look(present("else", None))).1), "search");
}

#[test]
fn pauses_double_and_are_bounded() {
    let patience = Patience { pause: Duration::from_millis(200), pause_max: Duration::from_secs(1), ..patience() };
    let pauses: Vec<u128> = [1, 2, 3, 4, 40].map(|nth| patience.pause_before(nth).as_millis()).into();
    assert_eq!(pauses, [200, 400, 800, 1000, 1000]);
}

/// Every answer that can come to what was asked.
fn answers(next: &Next) -> Vec<Answer> {
    match next {
        Next::Send { .. } => {
            let refusals = [
                Refusal::Conflict,
                Refusal::Throttled,
                Refusal::SourceChanged,
                Refusal::Source,
                Refusal::Stop,
                Refusal::NoSuchUpload,
                Refusal::Failed,
            ];
            [written(), lost(), silence(), mangled()].into_iter().chain(refusals.map(no)).collect()
        }
        Next::Look { .. } => vec![
            Answer::Look(None),
            look(Remote::Absent),
            look(Remote::Unseen),
            look(present("old", None)),
            look(present("else", Some("run-2"))),
            look(present("new", Some(OURS))),
        ],
        Next::Search => vec![
            Answer::Search(Found::Nothing),
            Answer::Search(Found::Ours { etag: None, version: Some(VersionId("v".into())) }),
        ],
        Next::End(_) => vec![],
    }
}

/// Walks every history up to its end. `told` says whether a yes, or our own id, was among the answers.
fn explore(write: &Write, next: &Next, doubted: bool, told: bool, depth: u32, ends: &mut u64) {
    let is_delete = write.id.is_none();
    assert!(depth < 40, "a write must come to an end");
    if let Next::End(end) = next {
        *ends += 1;
        match end {
            End::Done(_) => assert!(told, "done without a yes"),
            End::Lost { .. } | End::Failed(_) | End::SourceChanged(_) | End::Stop(_) => {
                assert!(!doubted, "{end:?} though an attempt was in doubt");
                assert!(!told, "{end:?} though it was stored");
            }
            End::Unknown(_) => assert!(!told),
        }
        return;
    }
    for answer in answers(next) {
        let doubted = doubted || matches!(answer, Answer::Put(Err(PutError::Unknown(_))));
        let told = match &answer {
            Answer::Put(put) => put.is_ok(),
            Answer::Look(Some(Remote::Present(head))) => !is_delete && head.write_id.as_deref() == Some(OURS),
            Answer::Look(_) => false,
            Answer::Search(found) => matches!(found, Found::Ours { .. }),
        };
        let (write, next) = write.clone().next(answer);
        explore(&write, &next, doubted, told, depth + 1, ends);
    }
}

#[test]
fn no_history_ends_in_a_lie() {
    let small = Patience { conflicts: 1, throttles: 1, doubts: 1, looks: 2, ..patience() };
    for mut write in [create(), replace(), delete()] {
        write.patience = small;
        let mut ends = 0;
        let (fresh, next) = write.clone().begin();
        explore(&fresh, &next, false, false, 0, &mut ends);
        let (resumed, next) = write.resumed();
        explore(&resumed, &next, true, false, 0, &mut ends);
        assert!(ends > 1000, "only {ends} histories were walked");
    }
}
