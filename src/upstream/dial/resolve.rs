//! Which addresses a name has, remembered for the whole process, without ever stopping a worker.
//!
//! The system's resolver blocks, for ten seconds and more when a name server is silent. It runs on threads of its own
//! (not on the workers' blocking pools, which a stopping worker would wait for), one look-up per name at a time. A slow
//! name delays only the calls that need it, and those only up to their connect timeout.
//!
//! An answer counts for 30 s. After that it still serves, for 5 min at most, while a new one is fetched: a name server
//! that is away does not take the upstream away. The names are those of the configuration, so the memory is bounded.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bursar_actors::Clock;
use dashmap::DashMap;
use tokio::sync::watch;

use super::descriptors::has_none_left;
use super::in_words;

/// How long an answer counts.
const FRESH_FOR: Duration = Duration::from_secs(30);
/// How long it serves while it cannot be renewed.
const STALE_FOR: Duration = Duration::from_secs(300);
/// How long a failure counts.
const FAILED_FOR: Duration = Duration::from_secs(2);
/// Look-ups at once; each has a thread while it runs.
const LOOKUPS_MAX: usize = 32;

/// Where answers come from. It may block: it is called on a thread of its own.
pub trait Lookup: Send + Sync {
    /// Returns the addresses of `name`, best first.
    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

impl<F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync> Lookup for F {
    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self(name)
    }
}

/// The system's resolver, with its hosts file and search domains.
struct System;

impl Lookup for System {
    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// Addresses, or why there are none, in words.
type Outcome = Result<Arc<[IpAddr]>, Arc<str>>;

/// What is known of one name.
#[derive(Default)]
struct Known {
    answer: Option<(Arc<[IpAddr]>, Instant)>,
    failure: Option<(Arc<str>, Instant)>,
    running: Option<watch::Receiver<Option<Outcome>>>,
}

/// A look-up that was asked for.
struct Job {
    name: String,
    done: watch::Sender<Option<Outcome>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    threads: usize,
}

/// The process's memory of names.
pub struct Resolver {
    lookup: Box<dyn Lookup>,
    clock: Clock,
    names: DashMap<String, Known>,
    queue: Mutex<Queue>,
}

impl Resolver {
    /// Returns a resolver that asks `lookup`.
    pub fn new(lookup: impl Lookup + 'static, clock: Clock) -> Arc<Self> {
        Arc::new(Self { lookup: Box::new(lookup), clock, names: DashMap::new(), queue: Mutex::default() })
    }

    /// Returns the one that all workers share and that asks the system.
    pub fn system() -> Arc<Self> {
        static SYSTEM: OnceLock<Arc<Resolver>> = OnceLock::new();
        SYSTEM.get_or_init(|| Self::new(System, Clock::system())).clone()
    }

    /// Returns the addresses of `name`, at once where they are known. The caller sets the time limit; a look-up that
    /// nobody waits for any more still fills the memory.
    pub async fn resolve(self: &Arc<Self>, name: &str) -> Outcome {
        let mut done = match self.ask(name) {
            Ask::Known(outcome) => return outcome,
            Ask::Wait(done) => done,
        };
        let outcome = done.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err("the look-up broke off".into()))
    }

    fn ask(self: &Arc<Self>, name: &str) -> Ask {
        let now = self.clock.now();
        let within = |since: &Instant, bound| now.saturating_duration_since(*since) < bound;
        // The guard is dropped before a job is handed over: a thread that cannot be had reports back right here.
        let mut known = self.names.entry(name.to_owned()).or_default();
        let stale = match &known.answer {
            Some((addresses, since)) if within(since, FRESH_FOR) => return Ask::Known(Ok(addresses.clone())),
            Some((addresses, since)) if within(since, STALE_FOR) => Some(addresses.clone()),
            _ => None,
        };
        let failed = known.failure.as_ref().filter(|(_, since)| within(since, FAILED_FOR));
        if let Some((why, _)) = failed {
            return Ask::Known(stale.ok_or_else(|| why.clone()));
        }
        let (job, done) = match &known.running {
            Some(running) => (None, running.clone()),
            None => {
                let (done, running) = watch::channel(None);
                known.running = Some(running.clone());
                (Some(Job { name: name.to_owned(), done }), running)
            }
        };
        drop(known);
        if let Some(job) = job {
            self.submit(job);
        }
        stale.map_or(Ask::Wait(done), |addresses| Ask::Known(Ok(addresses)))
    }

    fn submit(self: &Arc<Self>, job: Job) {
        let mut queue = self.queue();
        queue.waiting.push_back(job);
        if queue.threads == LOOKUPS_MAX {
            return;
        }
        queue.threads += 1;
        drop(queue);
        let resolver = self.clone();
        let spawned = std::thread::Builder::new().name("dns".to_owned()).spawn(move || resolver.work());
        if spawned.is_err() {
            let mut queue = self.queue();
            queue.threads -= 1;
            // Others may still be at work, but nobody knows for how long.
            let stranded = std::mem::take(&mut queue.waiting);
            drop(queue);
            stranded.into_iter().for_each(|job| self.settle(job, Err("the system grants no thread for it".into())));
        }
    }

    /// Runs on a thread of its own until nothing waits.
    fn work(&self) {
        loop {
            let mut queue = self.queue();
            let Some(job) = queue.waiting.pop_front() else {
                queue.threads -= 1;
                return;
            };
            drop(queue);
            let answer = catch_unwind(AssertUnwindSafe(|| self.lookup.addresses(&job.name)));
            let outcome = match answer {
                Ok(Ok(addresses)) if addresses.is_empty() => Err("it has no address".into()),
                Ok(Ok(addresses)) => Ok(addresses.into()),
                Ok(Err(error)) => Err(in_words(&error).into()),
                Err(_) => Err("the look-up broke off".into()),
            };
            self.settle(job, outcome);
        }
    }

    fn settle(&self, job: Job, outcome: Outcome) {
        let now = self.clock.now();
        if let Some(mut known) = self.names.get_mut(&job.name) {
            known.running = None;
            match &outcome {
                Ok(addresses) => {
                    known.answer = Some((addresses.clone(), now));
                    known.failure = None;
                }
                // What was never asked of a name server is not held against the name.
                Err(_) if has_none_left() => {}
                Err(why) => known.failure = Some((why.clone(), now)),
            }
        }
        job.done.send_replace(Some(outcome));
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Ask {
    Known(Outcome),
    Wait(watch::Receiver<Option<Outcome>>),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Answers what the test sends, one message per look-up, and counts the look-ups.
    fn scripted(clock: &Clock) -> (Arc<Resolver>, mpsc::Sender<io::Result<Vec<IpAddr>>>, Arc<AtomicUsize>) {
        let (answers, answered) = mpsc::channel();
        let answered = Mutex::new(answered);
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let lookup = move |_: &str| {
            counter.fetch_add(1, Ordering::SeqCst);
            answered.lock().unwrap().recv().unwrap()
        };
        (Resolver::new(lookup, clock.clone()), answers, count)
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([1, 0, 0, last])
    }

    /// Returns once no look-up runs.
    async fn settled(resolver: &Resolver, name: &str) {
        let running = resolver.names.get(name).and_then(|known| known.running.clone());
        if let Some(mut running) = running {
            running.wait_for(Option::is_some).await.unwrap();
        }
    }

    async fn is_pending(mut future: Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn one_look_up_serves_all_who_ask_meanwhile_and_half_a_minute_after() {
        let clock = Clock::manual();
        let (resolver, answers, count) = scripted(&clock);

        let both = async { tokio::join!(resolver.resolve("a"), resolver.resolve("a")) };
        let (asked, ()) = tokio::join!(both, async { answers.send(Ok(vec![ip(1)])).unwrap() });
        clock.advance(FRESH_FOR - SECOND);
        let later = resolver.resolve("a").await;

        assert_eq!((asked.0.unwrap()[0], asked.1.unwrap()[0], later.unwrap()[0]), (ip(1), ip(1), ip(1)));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_old_answer_serves_while_a_new_one_is_fetched() {
        let clock = Clock::manual();
        let (resolver, answers, _) = scripted(&clock);
        answers.send(Ok(vec![ip(1)])).unwrap();
        resolver.resolve("a").await.unwrap();
        clock.advance(FRESH_FOR + SECOND);

        let stale = resolver.resolve("a").await.unwrap();
        answers.send(Ok(vec![ip(2)])).unwrap();
        settled(&resolver, "a").await;
        let fresh = resolver.resolve("a").await.unwrap();

        assert_eq!((stale[0], fresh[0]), (ip(1), ip(2)));
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_renewed_serves_five_minutes() {
        let clock = Clock::manual();
        let (resolver, answers, _) = scripted(&clock);
        answers.send(Ok(vec![ip(1)])).unwrap();
        resolver.resolve("a").await.unwrap();

        clock.advance(STALE_FOR - SECOND);
        answers.send(Err(io::Error::other("away"))).unwrap();
        let stale = resolver.resolve("a").await;
        settled(&resolver, "a").await;
        clock.advance(FAILED_FOR);
        answers.send(Err(io::Error::other("still away"))).unwrap();
        let too_old = resolver.resolve("a").await;

        assert_eq!(stale.unwrap()[0], ip(1));
        assert_eq!(too_old.unwrap_err().as_ref(), "still away");
    }

    #[tokio::test]
    async fn a_failure_counts_two_seconds_and_an_empty_answer_is_one() {
        let clock = Clock::manual();
        let (resolver, answers, count) = scripted(&clock);
        answers.send(Ok(vec![])).unwrap();

        let first = resolver.resolve("a").await;
        clock.advance(FAILED_FOR - SECOND);
        let second = resolver.resolve("a").await;
        clock.advance(SECOND);
        answers.send(Ok(vec![ip(1)])).unwrap();
        let third = resolver.resolve("a").await;

        assert_eq!(first.unwrap_err().as_ref(), "it has no address");
        assert_eq!(second.unwrap_err().as_ref(), "it has no address");
        assert_eq!(third.unwrap()[0], ip(1));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_silent_name_server_delays_no_other_name() {
        let (_never, silent) = mpsc::channel::<()>();
        let silent = Mutex::new(silent);
        let lookup = move |name: &str| {
            if name == "slow" {
                // Ends when the test drops the sender.
                let _ = silent.lock().unwrap().recv();
            }
            Ok(vec![ip(1)])
        };
        let resolver = Resolver::new(lookup, Clock::system());
        let mut slow = std::pin::pin!(resolver.resolve("slow"));

        assert!(is_pending(slow.as_mut()).await);
        assert_eq!(resolver.resolve("quick").await.unwrap()[0], ip(1));
        assert!(is_pending(slow.as_mut()).await);
    }

    #[tokio::test]
    async fn more_names_than_threads_are_all_looked_up() {
        let resolver = Resolver::new(|_: &str| Ok(vec![ip(1)]), Clock::system());
        let names: Vec<String> = (0..LOOKUPS_MAX * 3).map(|index| format!("n{index}")).collect();

        let all = futures_util::future::join_all(names.iter().map(|name| resolver.resolve(name))).await;

        assert!(all.iter().all(Result::is_ok));
        assert!(resolver.queue().threads <= LOOKUPS_MAX);
    }

    #[tokio::test]
    async fn a_look_up_that_panics_is_a_failure() {
        let lookup = |_: &str| -> io::Result<Vec<IpAddr>> { panic!("a test's own panic") };
        let resolver = Resolver::new(lookup, Clock::system());

        assert_eq!(resolver.resolve("a").await.unwrap_err().as_ref(), "the look-up broke off");
    }
}
