//! Reads what a person wrote into checked entries. Pure.
