//! Faults of processes: killed, stopped, beside others, cut off from power.

mod histories;
mod kill;
mod ledger;
mod linearizable;
mod load;
mod lost_files;
mod neighbours;
mod part;
mod power_cut;

pub use histories::{Histories, history};
pub use kill::{Kill, START_WITHIN};
pub(crate) use ledger::{event, open};
pub use linearizable::{Call, Operation, Said, Who, check};
pub use load::Acknowledge;
pub use lost_files::LostFiles;
pub use neighbours::{Neighbours, RESOLVE_WITHIN};
pub use part::{PART, play};
pub use power_cut::PowerCuts;
