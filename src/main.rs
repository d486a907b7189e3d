//! The door's hinge: everything is in the library.

fn main() {}
