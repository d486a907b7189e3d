//! The disk: finding, statting and hashing files.
