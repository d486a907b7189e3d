//! Rows of evidence, as CSV and as pages. Pure.
