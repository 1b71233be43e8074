//! Thresholds that a build has to keep, as expressions.

mod evaluate;
mod expression;

pub use evaluate::{Figures, Verdict, evaluate};
pub use expression::{Expression, InvalidExpression, Metric, Operator, Subject};

use crate::compare::EngineSpec;

/// What is promised, of this engine: an order of magnitude fewer lock errors than the baseline,
/// half as much throughput again, and a latency and a success rate that a bot can live with.
#[must_use]
pub fn default_expressions(engine: &EngineSpec) -> Vec<String> {
    vec![
        format!("ratio({engine},baseline).lock_errors<=0.1"),
        format!("ratio({engine},baseline).ops_per_s>=1.5"),
        "p99<=100ms".to_owned(),
        "success_rate>=99%".to_owned(),
        "ops_per_s>=1000".to_owned(),
    ]
}
