//! Where deciding and doing meet.

pub mod apply;
pub mod survey;
