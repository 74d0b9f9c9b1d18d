//! The state of the gateway, as actors.

mod ids;
mod outcome;
mod routing;

pub use ids::{EndpointId, KeyId, ModelName, Secret, TeamId};
pub use outcome::{ErrorClass, KeyEffect, Learned, LearnedLimits, Outcome, Retry};
pub use routing::Strategy;
