//! The program, as an operator starts it.

mod compare;
mod gate;
mod report;
mod run;
mod soak;
#[cfg(test)]
mod support;
