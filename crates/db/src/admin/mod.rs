//! An operator's work on the file as a whole.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod integrity;
pub(crate) mod progress;
