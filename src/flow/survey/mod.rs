//! Looks at files and bucket, and draws the plan.
