//! The startup manager from the outside: scenarios here, rules that hold for any graph in
//! [`properties`]. The clock is paused throughout, so that times are exact and nothing waits.

mod failure;
mod properties;
mod start;
mod stop;
mod support;
