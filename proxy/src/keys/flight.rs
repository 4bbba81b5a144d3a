//! Single flight: callers that want the same thing share one fetch. It runs in a task of its own with its own deadline,
//! so that a caller that goes away cancels nothing. What is fetched, and how long results live, is not known here.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use kms_client::KeyError;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::refusal::Refusal;

/// A failure that may pass is handed to whoever comes within this time.
const SHARED: Duration = Duration::from_secs(1);

type Outcome<V> = Option<Result<V, Refusal>>;

pub(super) struct Flights<K, V>(Arc<Mutex<HashMap<K, watch::Receiver<Outcome<V>>>>>);

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The result of the flight under `key`, which is begun with `fetch` if there is none.
    pub(super) async fn join<F>(
        &self,
        key: K,
        deadline: Duration,
        fetch: impl FnOnce() -> F,
    ) -> Result<V, Refusal>
    where
        F: Future<Output = Result<V, Refusal>> + Send + 'static,
    {
        let mut flight = self.begin(key, deadline, fetch);
        let landed = flight.wait_for(Option::is_some).await;
        match landed.as_deref() {
            Ok(Some(result)) => result.clone(),
            // The task died without a result.
            _ => {
                Err(Refusal::Key(KeyError::Unavailable { reason: "the fetch of a key broke off".to_owned() }))
            }
        }
    }

    /// Begins a flight if there is none, and does not wait for it.
    pub(super) fn begin<F>(
        &self,
        key: K,
        deadline: Duration,
        fetch: impl FnOnce() -> F,
    ) -> watch::Receiver<Outcome<V>>
    where
        F: Future<Output = Result<V, Refusal>> + Send + 'static,
    {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&key) {
            let died = flight.borrow().is_none() && flight.has_changed().is_err();
            if !died {
                return flight.clone();
            }
        }
        let (land, flight) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        let (all, fetch) = (Arc::clone(&self.0), fetch());
        tokio::spawn(async move {
            let result = timeout(deadline, fetch).await.unwrap_or_else(|_| {
                Err(Refusal::Key(KeyError::Unavailable { reason: "no answer in time".to_owned() }))
            });
            let lingers = result.as_ref().err().is_some_and(Refusal::may_pass);
            if !lingers {
                all.lock().remove(&key);
            }
            let _ = land.send(Some(result));
            if lingers {
                sleep(SHARED).await;
                all.lock().remove(&key);
            }
        });
        flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const DEADLINE: Duration = Duration::from_secs(10);

    fn away() -> Refusal {
        Refusal::Key(KeyError::Unavailable { reason: "x".to_owned() })
    }

    async fn fetch(count: Arc<AtomicUsize>, result: Result<u8, Refusal>) -> Result<u8, Refusal> {
        count.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_secs(1)).await;
        result
    }

    #[tokio::test(start_paused = true)]
    async fn one_fetch_serves_all_who_wait() {
        let (flights, count) = (Flights::<u8, u8>::default(), Arc::new(AtomicUsize::new(0)));
        let mut waiting = tokio::task::JoinSet::new();
        let flights = Arc::new(flights);
        for _ in 0..100 {
            let (flights, count) = (Arc::clone(&flights), Arc::clone(&count));
            waiting.spawn(async move { flights.join(1, DEADLINE, || fetch(count, Ok(7))).await });
        }
        assert!(waiting.join_all().await.into_iter().all(|r| r == Ok(7)));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        flights.join(1, DEADLINE, || fetch(Arc::clone(&count), Ok(7))).await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2, "results are not kept here");
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_cancels_nothing() {
        let (flights, count) = (Flights::<u8, u8>::default(), Arc::new(AtomicUsize::new(0)));
        let landed = Arc::new(AtomicUsize::new(0));
        let inside = Arc::clone(&landed);
        let gone = timeout(
            Duration::from_millis(1),
            flights.join(1, DEADLINE, || async move {
                sleep(Duration::from_secs(1)).await;
                inside.fetch_add(1, Ordering::SeqCst);
                Ok(1)
            }),
        )
        .await;
        assert!(gone.is_err());
        assert_eq!(flights.join(1, DEADLINE, || fetch(Arc::clone(&count), Ok(9))).await, Ok(1));
        assert_eq!((landed.load(Ordering::SeqCst), count.load(Ordering::SeqCst)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn passing_failures_are_shared_for_a_second_and_final_ones_not() {
        let (flights, count) = (Flights::<u8, u8>::default(), Arc::new(AtomicUsize::new(0)));
        let go = async |error| flights.join(1, DEADLINE, || fetch(Arc::clone(&count), Err(error))).await;
        assert_eq!(go(away()).await, Err(away()));
        sleep(Duration::from_millis(900)).await;
        assert_eq!(go(away()).await, Err(away()));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        sleep(Duration::from_millis(101)).await;
        assert_eq!(go(Refusal::Key(KeyError::NotFound)).await, Err(Refusal::Key(KeyError::NotFound)));
        assert_eq!(go(Refusal::Key(KeyError::NotFound)).await, Err(Refusal::Key(KeyError::NotFound)));
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_and_panic_end_a_flight() {
        let flights = Flights::<u8, u8>::default();
        let hung = flights.join(1, DEADLINE, std::future::pending).await;
        assert!(matches!(hung, Err(Refusal::Key(KeyError::Unavailable { .. }))));
        let broken = flights.join(2, DEADLINE, || async { panic!("on purpose") }).await;
        assert!(matches!(broken, Err(Refusal::Key(KeyError::Unavailable { .. }))));
        assert_eq!(flights.join(2, DEADLINE, || async { Ok(3) }).await, Ok(3), "a dead flight is replaced");
    }
}
