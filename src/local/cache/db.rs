//! The cache's file: one SQLite table of rows by number. It knows nothing of what the rows say.

use std::cmp::Ordering;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, TransactionBehavior, ffi};
use rustix::fs::OFlags;

/// What every SQLite database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// "nocl", so that no other program's database is written to.
const APPLICATION: i64 = 0x6e6f_636c;
/// The form of the tables and of the rows in them.
const VERSION: i64 = 1;
/// Another process's batch takes a few milliseconds.
const BUSY: Duration = Duration::from_millis(200);
/// At about 90 bytes a row, some twenty million files.
const SIZE_MAX_BYTES: i64 = 2 << 30;
/// Rows that no run asked for in so many days are dropped.
const UNSEEN_DAYS: i64 = 90;
/// The same, when the file has grown to three quarters of what it may be. More than `SEEN_EVERY_DAYS`, or rows in use would go.
const UNSEEN_DAYS_CROWDED: i64 = SEEN_EVERY_DAYS + 1;
/// How often a row in use is marked as such: each mark is a write.
pub(super) const SEEN_EVERY_DAYS: i64 = 14;
/// Looking for unseen rows reads the whole table.
const PRUNE_EVERY_DAYS: i64 = 7;
/// Rows that nobody asked for are read over, up to so many, before the next one is sought from the root.
const READ_OVER: usize = 12;

/// Why the file could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Somebody else holds it.
    Busy,
    /// It is no sound database.
    Damaged(String),
    /// It is sound, but not ours to use.
    Foreign(String),
    /// The disk or its owner refuses.
    Refused(String),
}

/// One row as it is kept.
#[derive(Debug)]
pub(super) struct Row {
    pub id: i64,
    pub bytes: Vec<u8>,
}

pub(super) struct Db {
    path: PathBuf,
    writer: Mutex<Connection>,
    /// Connections that no thread reads from just now.
    idle: Mutex<Vec<Connection>>,
}

impl Db {
    /// Opens the file or begins it, and drops rows that were long unseen. `today` is in days since the Unix epoch.
    pub fn open(path: &Path, today: i64) -> Result<Self, Trouble> {
        create(path)?;
        let mut writer = connect(path)?;
        // Nothing is lost with an empty file.
        writer.pragma_update(None, "synchronous", "off")?;
        begin(&mut writer, today)?;
        writer.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        // The file survives a power cut; the last batches may not, which costs their hashing alone.
        writer.pragma_update(None, "synchronous", "normal")?;
        // A checkpoint syncs twice: fewer, larger ones.
        writer.pragma_update(None, "wal_autocheckpoint", 4096)?;
        let page_bytes: i64 = writer.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages_max = SIZE_MAX_BYTES / page_bytes.max(1);
        writer.pragma_update_and_check(None, "max_page_count", pages_max, |_| Ok(()))?;
        prune(&mut writer, today, pages_max)?;
        Ok(Self { path: path.to_owned(), writer: Mutex::new(writer), idle: Mutex::new(Vec::new()) })
    }

    /// Tells `take` the place in `ids`, the day last seen and the bytes of each row that is there. `ids` ascend.
    pub fn read(&self, ids: &[i64], take: &mut dyn FnMut(usize, i64, &[u8])) -> Result<(), Trouble> {
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        // One transaction for all: each takes locks.
        connection.execute_batch("BEGIN")?;
        let found = read_rows(&connection, ids, take);
        connection.execute_batch("COMMIT")?;
        found?;
        lock(&self.idle).push(connection);
        Ok(())
    }

    /// Writes a batch whole or not at all, and marks rows as seen today. Both ascend.
    pub fn write(&self, rows: &[Row], seen: &[i64], today: i64) -> Result<(), Trouble> {
        let mut writer = lock(&self.writer);
        let batch = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut replace =
                batch.prepare_cached("INSERT OR REPLACE INTO file (id, seen, row) VALUES (?1, ?2, ?3)")?;
            for Row { id, bytes } in rows {
                replace.execute((id, today, bytes))?;
            }
            let mut touch = batch.prepare_cached("UPDATE file SET seen = ?2 WHERE id = ?1")?;
            for id in seen {
                touch.execute((id, today))?;
            }
        }
        Ok(batch.commit()?)
    }

    /// Takes no more pages than so many, or than there are.
    #[cfg(test)]
    pub fn limit_to(&self, pages: i64) -> Result<(), Trouble> {
        Ok(lock(&self.writer).pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?)
    }
}

/// Walks the table beside `ids`: where they lie dense, the next row is a step and not a search.
fn read_rows(connection: &Connection, ids: &[i64], take: &mut dyn FnMut(usize, i64, &[u8])) -> Result<(), Error> {
    let mut from = connection.prepare_cached("SELECT id, seen, row FROM file WHERE id >= ?1 ORDER BY id")?;
    let mut at = 0;
    let mut patience = READ_OVER;
    while at < ids.len() {
        let sought = at;
        let mut rows = from.query([ids[at]])?;
        let mut read_over = 0;
        loop {
            let Some(row) = rows.next()? else { return Ok(()) };
            let (ValueRef::Integer(id), seen, bytes) = (row.get_ref(0)?, row.get_ref(1)?, row.get_ref(2)?) else {
                break;
            };
            at += ids[at..].iter().take_while(|wanted| **wanted < id).count();
            read_over += 1;
            while ids.get(at) == Some(&id) {
                // Damage can change a value's type.
                if let (ValueRef::Integer(seen), ValueRef::Blob(bytes)) = (seen, bytes) {
                    take(at, seen, bytes);
                }
                at += 1;
                patience = if read_over <= 1 && at > sought + 1 { READ_OVER } else { patience };
                read_over = 0;
            }
            if at == ids.len() || read_over > patience {
                // Sparse: reading over is not worth it until two neighbours are wanted again.
                patience = 0;
                break;
            }
        }
        // Rows out of order must not keep us here for ever.
        at = at.max(sought + 1);
    }
    Ok(())
}

/// Makes the folder and the file for their owner alone: names of files say something, and digests too.
fn create(path: &Path) -> Result<(), Trouble> {
    let refused = |error: io::Error| Trouble::Refused(error.to_string());
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)?;
    }
    // A FIFO must neither hang us nor pass.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path).map_err(refused)?;
    if !file.metadata().map_err(refused)?.is_file() {
        return Err(Trouble::Refused("it is not a file".to_owned()));
    }
    // SQLite takes some files that are none of its own for empty, and would write over them.
    let mut begins = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut begins).map_err(refused)?;
    if begins.is_empty() || begins == MAGIC { Ok(()) } else { Err(Trouble::Damaged("it is not a database".to_owned())) }
}

fn connect(path: &Path) -> Result<Connection, Trouble> {
    // No CREATE: `create` did, with its mode. No mutex: each connection is one thread's at a time. No mmap: a file that
    // another process truncates would kill this one.
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Looks whether the file is ours, and makes the tables of one that is empty.
fn begin(connection: &mut Connection, today: i64) -> Result<(), Trouble> {
    if !is_empty(connection)? {
        return Ok(());
    }
    let batch = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Somebody else may have been faster.
    if is_empty(&batch)? {
        batch.execute_batch(
            "CREATE TABLE file (id INTEGER PRIMARY KEY, seen INTEGER NOT NULL, row BLOB NOT NULL);
             CREATE TABLE pruned (day INTEGER NOT NULL);",
        )?;
        batch.execute("INSERT INTO pruned VALUES (?1)", [today])?;
        batch.pragma_update(None, "application_id", APPLICATION)?;
        batch.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(batch.commit()?)
}

/// Whether nothing was made yet; what is there must be ours.
fn is_empty(connection: &Connection) -> Result<bool, Trouble> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if (application, version, tables) == (0, 0, 0) {
        return Ok(true);
    }
    if application != APPLICATION {
        return Err(Trouble::Foreign("it is another program's database".to_owned()));
    }
    match version.cmp(&VERSION) {
        Ordering::Equal => Ok(false),
        Ordering::Greater => Err(Trouble::Foreign("a newer noclobber wrote it".to_owned())),
        Ordering::Less => Err(Trouble::Damaged(format!("it is of version {version}, which never was"))),
    }
}

fn prune(connection: &mut Connection, today: i64, pages_max: i64) -> Result<(), Trouble> {
    let last: i64 = connection.query_row("SELECT day FROM pruned", (), |row| row.get(0))?;
    // A day in the future is a clock that was wrong.
    if (last..last.saturating_add(PRUNE_EVERY_DAYS)).contains(&today) {
        return Ok(());
    }
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    let crowded = pages - free > pages_max / 4 * 3;
    let keep_days = if crowded { UNSEEN_DAYS_CROWDED } else { UNSEEN_DAYS };
    let batch = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    batch.execute("DELETE FROM file WHERE seen < ?1", [today.saturating_sub(keep_days)])?;
    batch.execute("UPDATE pruned SET day = ?1", [today])?;
    Ok(batch.commit()?)
}

/// Moves a damaged file out of the way and returns its new name. Nothing is deleted that may be somebody's: the path
/// may have been given by mistake.
pub(super) fn put_aside(path: &Path) -> Option<PathBuf> {
    let named = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let aside = (1..10).map(|n| named(&format!(".damaged-{n}"))).find(|name| name.symlink_metadata().is_err())?;
    std::fs::rename(path, &aside).ok()?;
    // They belong to the file that left; SQLite would read them into the new one.
    for ending in ["-wal", "-shm", "-journal"] {
        let mut name = aside.as_os_str().to_owned();
        name.push(ending);
        // Mostly they are not there.
        let _ = std::fs::rename(named(ending), name);
    }
    Some(aside)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        // The file is shorter than it says.
        let cut_short = |failure: &ffi::Error| failure.extended_code == ffi::SQLITE_IOERR_SHORT_READ;
        match error {
            Error::SqliteFailure(failure, _) if cut_short(&failure) => Self::Damaged(text),
            Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                    Self::Busy
                }
                ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::NoLargeFileSupport => Self::Refused(text),
                _ => Self::Damaged(text),
            },
            // Tables that are missing or of another shape.
            _ => Self::Damaged(text),
        }
    }
}
