//! Where deciding and doing meet.

pub mod apply;
pub mod cancel;
pub mod survey;
pub mod time;
