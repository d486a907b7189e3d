//! Whether the journal tells after a crash what was so before it.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const PLAN: &str = "sha256:aaaa";
const HEADER: &str = "format,run_id,plan_digest,entry\r\n";

fn line(run: &str, plan: &str, entry: u32) -> String {
    format!("1,{run},{plan},{entry}\r\n")
}

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Result<Opened, JournalError> {
        Journal::open(&self.at("r.csv"), PLAN, || "fresh".into())
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }
}

fn upload(n: u64) -> Upload {
    Upload { n, key: crate::model::entry::Key::new(format!("k\n{n}")), upload_id: format!("u{n}") }
}

#[test]
fn a_run_leaves_its_report_and_nothing_else() {
    let desk = Desk::new();
    let Opened { mut journal, run_id, is_resumed, report, partial, begun, begun_is_whole, uploads } =
        desk.open().unwrap();
    assert!(!is_resumed && begun.is_empty() && begun_is_whole);
    assert_eq!((run_id.as_str(), report.len(), partial.len(), uploads.len()), ("fresh", 0, 0, 0));
    assert!(desk.read("r.csv.journal").contains("\"run_id\":\"fresh\""), "the run id must be on disk by now");
    journal.append(HEADER.into()).unwrap();
    journal.append(line("fresh", PLAN, 2)).unwrap();
    assert_eq!(desk.read("r.csv.partial"), format!("{HEADER}{}", line("fresh", PLAN, 2)));
    let sorted = [HEADER.to_owned(), line("fresh", PLAN, 1), line("fresh", PLAN, 2)];
    journal.finish(sorted.clone()).unwrap();
    assert_eq!(desk.names(), ["r.csv"]);
    assert_eq!(desk.read("r.csv"), sorted.concat());
}

#[test]
fn a_run_that_was_cut_off_is_gone_on_with_under_its_own_id() {
    let desk = Desk::new();
    let Opened { mut journal, .. } = desk.open().unwrap();
    journal.append(HEADER.into()).unwrap();
    journal.append(line("fresh", PLAN, 1)).unwrap();
    journal.note_upload(&upload(1)).unwrap();
    journal.note_begun(7).unwrap();
    journal.note_upload(&upload(2)).unwrap();
    drop(journal);
    // A crash can tear the last line of either file, in the middle of a quoted line break too.
    for (name, torn) in [("r.csv.partial", "1,fresh,\"sha\r\n"), ("r.csv.journal", "{\"n\":3,\"key\":")] {
        let mut text = desk.read(name);
        text.push_str(torn);
        fs::write(desk.at(name), text).unwrap();
    }

    let opened = Journal::open(&desk.at("r.csv"), PLAN, || panic!("a resumed run keeps its id")).unwrap();
    assert_eq!(opened.run_id, "fresh");
    assert!(opened.is_resumed);
    assert_eq!(opened.uploads, [upload(1), upload(2)]);
    assert_eq!(opened.begun, [Begun { n: 7, lines: 2 }]);
    let whole = format!("{HEADER}{}", line("fresh", PLAN, 1));
    assert_eq!(String::from_utf8(opened.partial).unwrap(), whole);
    // What comes next starts on a line of its own.
    let mut journal = opened.journal;
    journal.append(line("fresh", PLAN, 2)).unwrap();
    journal.note_upload(&upload(4)).unwrap();
    journal.note_begun(8).unwrap();
    drop(journal);
    assert_eq!(desk.read("r.csv.partial"), whole + &line("fresh", PLAN, 2));
    let opened = desk.open().unwrap();
    assert_eq!(opened.uploads, [upload(1), upload(2), upload(4)]);
    assert_eq!(opened.begun, [Begun { n: 7, lines: 2 }, Begun { n: 8, lines: 3 }]);
}

#[test]
fn a_finished_report_is_gone_on_with_and_stays_until_the_new_one_is_whole() {
    let desk = Desk::new();
    let first = [HEADER.to_owned(), line("first", PLAN, 1)];
    desk.open().unwrap().journal.finish(first.clone()).unwrap();
    let opened = desk.open().unwrap();
    assert_eq!((opened.run_id.as_str(), opened.report), ("first", first.concat().into_bytes()));
    assert!(opened.is_resumed);
    let mut journal = opened.journal;
    journal.append(HEADER.into()).unwrap();
    drop(journal);
    assert_eq!(desk.read("r.csv"), first.concat());
    assert_eq!(desk.open().unwrap().run_id, "first");
}

#[test]
fn a_run_whose_identity_was_torn_begins_anew() {
    let desk = Desk::new();
    fs::write(desk.at("r.csv.journal"), "{\"noclobber_journal\":1,\"run_id\":\"ha").unwrap();
    assert_eq!(desk.open().unwrap().run_id, "fresh");
    // But rows tell the id, too: writes were sent under it.
    let desk = Desk::new();
    fs::write(desk.at("r.csv.journal"), "{\"noclobber_jou").unwrap();
    fs::write(desk.at("r.csv.partial"), format!("{HEADER}{}", line("from-rows", PLAN, 1))).unwrap();
    assert_eq!(desk.open().unwrap().run_id, "from-rows");
    assert!(desk.read("r.csv.journal").contains("from-rows"));
}

#[test]
fn another_plans_files_are_refused_and_left_as_they_are() {
    let other = "sha256:bbbb";
    let journal = format!(
        "{{\"noclobber_journal\":1,\"run_id\":\"r\",\"plan_digest\":\"{other}\",\"started_at\":\"2026-07-01T00:00:00Z\"}}\n"
    );
    let rows = format!("{HEADER}{}", line("r", other, 1));
    for (name, text) in [("r.csv", &rows), ("r.csv.partial", &rows), ("r.csv.journal", &journal)] {
        let desk = Desk::new();
        fs::write(desk.at(name), text).unwrap();
        match desk.open() {
            Err(JournalError::OtherPlan { path, digest }) => {
                assert_eq!((path, digest.as_str()), (desk.at(name), other));
            }
            result => panic!("{name}: {result:?}"),
        }
        assert_eq!(desk.names(), [name]);
        assert_eq!(&desk.read(name), text);
    }
}

#[test]
fn a_file_that_is_no_report_is_never_overwritten() {
    let mixed = format!("{HEADER}{}{}", line("r", PLAN, 1), line("r", "sha256:bbbb", 2));
    for text in ["dear diary\n", "a,b\r\n1,2\r\n", "\u{0}\u{1}", mixed.as_str()] {
        let desk = Desk::new();
        fs::write(desk.at("r.csv"), text).unwrap();
        assert!(matches!(desk.open(), Err(JournalError::NotAReport { .. })), "{text:?}");
        assert_eq!((desk.names(), desk.read("r.csv")), (vec!["r.csv".to_owned()], text.to_owned()));
    }
    // A journal that cannot be understood may hold a run id under which writes were sent.
    let desk = Desk::new();
    fs::write(desk.at("r.csv.journal"), "{\"noclobber_journal\":2}\n").unwrap();
    assert!(matches!(desk.open(), Err(JournalError::Io { .. })));
}

#[test]
fn two_runs_never_share_a_report() {
    let desk = Desk::new();
    let first = desk.open().unwrap();
    let message = desk.open().unwrap_err().to_string();
    let holder = format!("r.csv.lock: in use by process {}; ", std::process::id());
    assert!(message.contains(&holder), "{message}");
    first.journal.discard().unwrap();
    assert_eq!(desk.names(), [""; 0]);
    drop(desk.open().unwrap());
    // What a killed process leaves locks nobody out.
    fs::write(desk.at("r.csv.lock"), "noclobber process 1\n").unwrap();
    drop(desk.open().unwrap());
    // But somebody's own file of that name is theirs.
    fs::write(desk.at("r.csv.lock"), "theirs").unwrap();
    assert!(matches!(desk.open(), Err(JournalError::NotAReport { .. })));
    assert_eq!(desk.read("r.csv.lock"), "theirs");
}

#[test]
fn a_path_that_no_report_can_have_is_refused_at_once() {
    let desk = Desk::new();
    fs::create_dir(desk.at("folder")).unwrap();
    fs::write(desk.at("file"), "x").unwrap();
    symlink("/dev/null", desk.at("device")).unwrap();
    let open = |path: PathBuf| Journal::open(&path, PLAN, String::new).unwrap_err();
    for name in ["folder", "device", "folder/.."] {
        assert!(matches!(open(desk.at(name)), JournalError::NotAFile { .. }), "{name}");
    }
    for name in ["missing/r.csv", "file/r.csv"] {
        assert!(matches!(open(desk.at(name)), JournalError::NoFolder { .. }), "{name}");
    }
    // Nobody, root neither, may make files here.
    assert!(matches!(open("/proc/r.csv".into()), JournalError::Io { .. }));
    assert_eq!(desk.names(), ["device", "file", "folder"]);
}

#[test]
fn a_row_that_cannot_be_written_is_handed_back_and_tears_nothing() {
    let desk = Desk::new();
    let mut journal = desk.open().unwrap().journal;
    journal.append(HEADER.into()).unwrap();
    let good = journal.rows.swap(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    for _ in 0..2 {
        match journal.append(line("fresh", PLAN, 1)) {
            Err(JournalError::NotWritten { line: held, path, .. }) => {
                assert_eq!((held, path), (line("fresh", PLAN, 1), desk.at("r.csv.partial")));
            }
            result => panic!("{result:?}"),
        }
    }
    journal.rows.swap(good);
    journal.append(line("fresh", PLAN, 2)).unwrap();
    assert_eq!(desk.read("r.csv.partial"), format!("{HEADER}{}", line("fresh", PLAN, 2)));
}

#[test]
fn a_piece_of_a_line_is_cut_off_before_the_next_one() {
    let desk = Desk::new();
    let mut journal = desk.open().unwrap().journal;
    journal.append(HEADER.into()).unwrap();
    // A pipe with room for a page takes a piece of a longer line, as a disk does that fills up under it.
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = File::from(std::os::fd::OwnedFd::from(writer));
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let good = journal.rows.swap(writer);
    let long = "x".repeat(1 << 22) + "\r\n";
    assert!(matches!(journal.append(long), Err(JournalError::NotWritten { .. })));
    drop(reader);
    // The piece, as it would lie on the disk.
    let mut good = good;
    std::io::Write::write_all(&mut good, b"xxx").unwrap();
    journal.rows.swap(good);
    journal.append(line("fresh", PLAN, 1)).unwrap();
    assert_eq!(desk.read("r.csv.partial"), format!("{HEADER}{}", line("fresh", PLAN, 1)));
}

#[test]
fn a_report_that_cannot_be_finished_leaves_the_rows_where_they_are() {
    let desk = Desk::new();
    let mut journal = desk.open().unwrap().journal;
    journal.append(HEADER.into()).unwrap();
    // Renaming a file over a folder that is not empty fails.
    fs::create_dir(desk.at("r.csv")).unwrap();
    fs::write(desk.at("r.csv/x"), "x").unwrap();
    assert!(matches!(journal.finish([HEADER.to_owned()]), Err(JournalError::Io { .. })));
    assert_eq!(desk.names(), ["r.csv", "r.csv.journal", "r.csv.partial"]);
    assert_eq!(desk.read("r.csv.partial"), HEADER);
}

#[test]
fn uploads_that_are_over_are_forgotten_and_the_others_outlive_the_run() {
    let desk = Desk::new();
    let mut journal = desk.open().unwrap().journal;
    for n in 1..=3 {
        journal.note_upload(&upload(n)).unwrap();
    }
    journal.note_over("u2").unwrap();
    drop(journal);
    let Opened { mut journal, uploads, .. } = desk.open().unwrap();
    assert_eq!(uploads, [upload(1), upload(3)]);
    journal.note_begun(3).unwrap();
    journal.note_over("u1").unwrap();
    journal.append(HEADER.into()).unwrap();
    journal.finish([HEADER.to_owned(), line("fresh", PLAN, 1)]).unwrap();
    assert_eq!(desk.names(), ["r.csv", "r.csv.journal"]);

    // The report is finished: what was begun then is in no doubt any more.
    let Opened { mut journal, run_id, begun, uploads, .. } = desk.open().unwrap();
    assert_eq!((run_id.as_str(), begun.len(), uploads), ("fresh", 0, vec![upload(3)]));
    journal.note_over("u3").unwrap();
    journal.finish([HEADER.to_owned(), line("fresh", PLAN, 1)]).unwrap();
    assert_eq!(desk.names(), ["r.csv"]);
}

#[test]
fn what_was_begun_is_known_for_certain_only_while_the_machine_stays_up() {
    let desk = Desk::new();
    drop(desk.open().unwrap());
    assert!(desk.open().unwrap().begun_is_whole, "the same boot");
    let notes = desk.read("r.csv.journal");
    let boot = notes.split("\"boot_id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    for other in [notes.replace(&boot, "another-boot"), notes.replace(&format!(",\"boot_id\":\"{boot}\""), "")] {
        assert_ne!(other, notes);
        fs::write(desk.at("r.csv.journal"), &other).unwrap();
        assert!(!desk.open().unwrap().begun_is_whole, "{other}");
    }
    // Rows, and no notes at all.
    fs::write(desk.at("r.csv.partial"), format!("{HEADER}{}", line("r", PLAN, 1))).unwrap();
    fs::write(desk.at("r.csv.journal"), "").unwrap();
    assert!(!desk.open().unwrap().begun_is_whole);
    // A finished report has every row.
    let desk = Desk::new();
    desk.open().unwrap().journal.finish([HEADER.to_owned(), line("r", PLAN, 1)]).unwrap();
    assert!(desk.open().unwrap().begun_is_whole);
}

#[test]
fn somebody_else_reads_the_notes_by_journal_or_report_and_changes_nothing() {
    let desk = Desk::new();
    let mut journal = desk.open().unwrap().journal;
    journal.note_upload(&upload(1)).unwrap();
    journal.note_upload(&upload(2)).unwrap();
    let read = |name: &str, hold| noted(&desk.at(name), hold);
    // Alive: it may be looked at, and nothing of it may be taken away.
    assert_eq!(read("r.csv", Hold::Nothing).unwrap().unwrap().uploads, [upload(1), upload(2)]);
    assert!(matches!(read("r.csv.journal", Hold::Run), Err(JournalError::Locked { .. })));
    drop(journal);
    let torn = desk.read("r.csv.journal") + "{\"upload\":{\"n\":3,";
    fs::write(desk.at("r.csv.journal"), &torn).unwrap();
    for name in ["r.csv", "r.csv.journal"] {
        let held = read(name, Hold::Run).unwrap().unwrap();
        assert_eq!((held.run_id.as_str(), &*held.uploads), ("fresh", &[upload(1), upload(2)][..]), "{name}");
        assert!(matches!(desk.open(), Err(JournalError::Locked { .. })), "{name}: the run was taken up meanwhile");
    }
    assert_eq!(desk.read("r.csv.journal"), torn);
    assert_eq!(desk.names(), ["r.csv.journal", "r.csv.partial"]);
}

#[test]
fn a_finished_run_has_no_notes_and_a_slip_of_the_pen_is_told() {
    let desk = Desk::new();
    desk.open().unwrap().journal.finish([HEADER.to_owned(), line("fresh", PLAN, 1)]).unwrap();
    assert!(noted(&desk.at("r.csv"), Hold::Run).unwrap().is_none());
    assert!(noted(&desk.at("r.csv.journal"), Hold::Nothing).unwrap().is_none());
    assert!(matches!(noted(&desk.at("s.csv"), Hold::Nothing), Err(JournalError::NoJournal { .. })));
    fs::write(desk.at("plan.jsonl"), "{}\n").unwrap();
    assert!(matches!(noted(&desk.at("plan.jsonl"), Hold::Nothing), Err(JournalError::NotAReport { .. })));
    assert_eq!(desk.names(), ["plan.jsonl", "r.csv"]);
}
