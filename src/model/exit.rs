//! How a process ends: the exit codes, each with one meaning.

/// The end of a command. The numbers are public and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Could not run: credentials, network, disk.
    CouldNotRun,
    /// `plan --detailed-exitcode` alone: there are changes.
    Changes,
    /// Refused: refusals in the plan, a limit, another digest than `--expect`, a server that ignores conditions.
    Refused,
    /// The world moved since the plan; nothing was written.
    Stale,
    /// Rows are lost, failed or unknown.
    Incomplete,
    /// The command line is wrong.
    Usage,
    /// The manifest, plan or report file is wrong.
    BadInput,
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

impl Exit {
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::CouldNotRun => 1,
            Self::Changes => 2,
            Self::Refused => 3,
            Self::Stale => 4,
            Self::Incomplete => 5,
            Self::Usage => 64,
            Self::BadInput => 65,
            Self::Interrupted => 130,
        }
    }
}
