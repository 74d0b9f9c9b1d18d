//! File descriptors: as many as the system allows, and never all of them for clients.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that no connection gets: listeners, event queues, logs, files of the configuration and of the data. A gateway
/// at rest has 50 open, with two workers.
const OWN: u64 = 80;
/// Most connections of one worker, as actix has it.
const PER_WORKER_MAX: u64 = 25_600;

/// Raises the soft limit on open files to the hard one, as servers do, and returns what holds now.
///
/// The soft limit is low (1,024) for the sake of programs that use `select`; this one does not.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Some systems allow less than they say; then the old limit stays.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns how many client connections one of `workers` may hold. Further ones wait in the listener's queue.
///
/// Each may need a second descriptor for its upstream. If clients could take all, idle ones would leave none for those
/// who have a request.
pub fn connections_per_worker(workers: usize) -> usize {
    per_worker(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), workers)
}

fn per_worker(limit: u64, workers: usize) -> usize {
    let connections = limit.saturating_sub(OWN) / 2 / (workers.max(1) as u64);
    connections.clamp(1, PER_WORKER_MAX) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_left_is_for_clients() {
        assert_eq!(per_worker(1_024, 2), 236);
        assert_eq!(per_worker(128, 2), 12);
        assert_eq!(per_worker(8, 4), 1);
        assert_eq!(per_worker(u64::MAX, 1), 25_600);
    }
}
