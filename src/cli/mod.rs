//! The door: arguments, environment, printing, exit codes.
