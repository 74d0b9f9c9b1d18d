//! What the gateway tells its operator: log lines and Prometheus metrics. Never a prompt, never a key.

pub mod audit;
pub mod budgets;
pub mod logs;
pub mod metrics;
