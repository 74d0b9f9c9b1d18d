//! Walls: what a request holds decides who may see it, whoever asks and whatever else is chosen by.

use std::sync::Arc;

use super::route::{Route, Routes};
use super::structured::Wanted;
use crate::call::Call;
use crate::config::privacy::StructuredCheck;
use crate::upstream::Destination;

impl Route {
    /// Returns the candidates, by index, that may not see what `call` holds.
    pub fn walled(&self, call: &Call) -> Vec<usize> {
        let outside = |(index, to): (usize, &Arc<Destination>)| (!to.self_hosted).then_some(index);
        let walls = call.confined.is_some();
        self.destinations.iter().enumerate().filter(|_| walls).filter_map(outside).collect()
    }

    /// Returns whether anything may see what `call` holds, that its caller may use.
    pub fn may_see(&self, call: &Call) -> bool {
        let (walled, barred) = (self.walled(call), self.barred(&call.caller));
        self.candidates.is_empty()
            || (0..self.candidates.len()).any(|at| !walled.contains(&at) && !barred.contains(&at))
    }
}

impl Routes {
    /// Returns what the answer to `call` has to be like, where somebody looks.
    pub fn wanted(&self, call: &Call) -> Option<Wanted> {
        let settings = &self.guards.structured;
        if settings.check == StructuredCheck::Off {
            return None;
        }
        let route = self.resolve(call.head.model.as_deref(), call.head.operation)?;
        Wanted::of(settings, call, &route.label)
    }

    /// Returns whether anything behind `route`, or behind a fallback of it, may see what `call` holds.
    pub fn may_see(&self, route: &Route, call: &Call) -> bool {
        let fallbacks: &[String] = if call.wishes.no_fallback { &[] } else { &route.fallback };
        let mut fallbacks = fallbacks.iter().filter(|name| call.caller.may_use(name));
        route.may_see(call) || fallbacks.any(|name| self.alias(name).is_some_and(|route| route.may_see(call)))
    }
}
