//! Where deciding and doing meet.

pub mod apply;
pub mod cancel;
mod list;
pub mod probe;
pub mod survey;
pub mod time;
pub mod uploads;
