//! What every endpoint last said of itself, readable from any thread without a message.
//!
//! The endpoint actor writes its view after each change; routing, metrics and lists read it. The board also takes in what
//! leases report, so that a lease outlives a restart of its endpoint, and counts leases for the books.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix::Addr;
use dashmap::DashMap;

use crate::endpoint::Endpoint;
use crate::endpoint::breaker::BreakerState;
use crate::endpoint::lease::Told;
use crate::ids::EndpointId;
use crate::routing::Pulse;

/// One endpoint as routing sees it.
#[derive(Debug, Clone, Copy)]
pub struct EndpointView {
    /// State of its circuit breaker.
    pub breaker: BreakerState,
    /// Restarted too often; gets nothing until it is released.
    pub quarantined: bool,
    /// Taken out by the operator until then.
    pub paused_until: Option<Instant>,
    /// Most calls in flight.
    pub in_flight_max: u32,
    /// Calls in flight, latency, error rate.
    pub pulse: Pulse,
}

impl EndpointView {
    /// Returns whether a call may be sent there now, as far as the board knows.
    pub fn admits(&self, now: Instant) -> bool {
        !self.quarantined
            && self.paused_until.is_none_or(|until| now >= until)
            && self.breaker.admits(now)
            && self.pulse.in_flight < self.in_flight_max
    }
}

struct Place {
    view: EndpointView,
    /// Of the actor that may write here: one that is on its way out must not.
    incarnation: u64,
    address: Option<Addr<Endpoint>>,
    /// What leases have told and the endpoint has not yet collected.
    inbox: Vec<Told>,
}

/// The board. Its guards are never held across an await.
#[derive(Default)]
pub struct EndpointBoard {
    places: DashMap<EndpointId, Place>,
    granted: AtomicU64,
    reported: AtomicU64,
    restarts: AtomicU64,
}

impl EndpointBoard {
    /// Returns the last view of `endpoint`.
    pub fn view(&self, endpoint: &EndpointId) -> Option<EndpointView> {
        self.places.get(endpoint).map(|place| place.view)
    }

    /// Returns the view of every endpoint, sorted by id.
    pub fn views(&self) -> Vec<(EndpointId, EndpointView)> {
        let mut views: Vec<_> = self.places.iter().map(|place| (place.key().clone(), place.view)).collect();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        views
    }

    /// Returns how many leases were granted since start.
    pub fn leases_granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Returns how many leases were reported since start; equals the granted ones when nothing is in flight.
    pub fn leases_reported(&self) -> u64 {
        self.reported.load(Ordering::Relaxed)
    }

    /// Returns how often an endpoint's actor was restarted after it died.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn address(&self, endpoint: &EndpointId) -> Option<Addr<Endpoint>> {
        self.places.get(endpoint).and_then(|place| place.address.clone())
    }

    /// Makes room for an endpoint whose actor is still to come.
    pub(crate) fn announce(&self, endpoint: EndpointId, view: EndpointView) {
        self.places.insert(endpoint, Place { view, incarnation: 0, address: None, inbox: vec![] });
    }

    /// What was told to an earlier incarnation is of no use to the next.
    pub(crate) fn place(&self, endpoint: EndpointId, incarnation: u64, view: EndpointView, address: Addr<Endpoint>) {
        self.places.insert(endpoint, Place { view, incarnation, address: Some(address), inbox: vec![] });
    }

    /// Leaves word for the endpoint without waking it: it collects before each of its decisions, and the supervisor sees
    /// to it that none waits for longer than [`crate::supervisor::COLLECT_EVERY`].
    pub(crate) fn tell(&self, endpoint: &EndpointId, told: Told) {
        if let Some(mut place) = self.places.get_mut(endpoint) {
            place.inbox.push(told);
        }
    }

    /// Swaps the endpoint's inbox for the empty `into`.
    pub(crate) fn collect(&self, endpoint: &EndpointId, into: &mut Vec<Told>) {
        if let Some(mut place) = self.places.get_mut(endpoint) {
            std::mem::swap(&mut place.inbox, into);
        }
    }

    /// Returns whether word waits for the endpoint.
    pub(crate) fn has_word(&self, endpoint: &EndpointId) -> bool {
        self.places.get(endpoint).is_some_and(|place| !place.inbox.is_empty())
    }

    pub(crate) fn update(&self, endpoint: &EndpointId, incarnation: u64, change: impl FnOnce(&mut EndpointView)) {
        if let Some(mut place) = self.places.get_mut(endpoint)
            && place.incarnation == incarnation
        {
            change(&mut place.view);
        }
    }

    /// Forgets an endpoint. Leases that are out still count as reported; nobody else asks how they ended.
    pub(crate) fn remove(&self, endpoint: &EndpointId) {
        self.places.remove(endpoint);
    }

    pub(crate) fn count_granted(&self) {
        self.granted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_reported(&self) {
        self.reported.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}
