//! The write state machine: what an answer means, and what comes next. Pure.
