//! What must not leave: finds personal data and secrets in text, replaces them, and puts them back into the answer.
//!
//! Everything here is pure: text and rules in, findings and new text out. Which rules hold for whom is configuration, and
//! what is written down of it the pipeline's business.

pub mod entity;
pub mod events;
pub mod finding;
pub mod injection;
pub mod json;
pub mod judge;
pub mod names;
pub mod placeholder;
pub mod policy;
pub mod redact;
pub mod scan;
pub mod screen;
pub mod texts;

pub use entity::{Entity, EntitySet};
pub use finding::Finding;
pub use judge::Judge;
pub use names::Names;
pub use placeholder::Placeholders;
pub use policy::{Action, Layer, Policy, Voice};
pub use redact::{Redactor, Report};
pub use scan::Scanner;
pub use screen::Screening;
