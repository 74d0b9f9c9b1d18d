//! The settings of limits.

use bursar_actors::limits::{Amount, Limits, Span};

use super::{List, dollars};
use crate::config::LimitTables;
use crate::config::layer::child;

impl List<'_> {
    pub(super) fn limit_tables(&mut self, tables: &LimitTables) {
        for (name, limits) in &tables.models {
            self.limits(&child("limits.models", name), limits);
        }
        for ((name, value), limits) in &tables.tags {
            self.limits(&child("limits.tags", &format!("{name}={value}")), limits);
        }
    }

    pub(super) fn limits(&mut self, path: &str, limits: &Limits) {
        for amount in Amount::ALL {
            for span in Span::ALL {
                self.optional(&child(path, amount.key(span)), limits.of(amount, span));
            }
        }
        self.optional(&child(path, "concurrency"), limits.concurrency);
        self.optional(&child(path, "cost_per_request"), limits.cost_per_request.map(dollars));
    }
}
