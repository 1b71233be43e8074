//! The fast form of each fault, and the proof that each check finds what it is there for.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod full;
#[cfg(test)]
mod power;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod replay;
