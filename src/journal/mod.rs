//! What survives a crash: the run's identity and the rows so far.
