//! Where deciding and doing meet.

pub mod apply;
pub mod audit;
pub mod bucket;
pub mod cancel;
pub mod history;
mod list;
pub mod probe;
pub mod reported;
pub mod restore;
pub mod survey;
pub mod time;
pub mod uploads;
