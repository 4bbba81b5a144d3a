//! Who is asked, in which order, how often and until when: one deadline over all endpoints and rounds of a call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::Zeroizing;

use super::circuit::Circuit;
use super::transport::{Call, Transport};
use super::wire::Failure;
use crate::KeyError;

/// Times that a call goes around all endpoints.
const ROUNDS: u32 = 3;
/// Pause before the second round; it doubles, and a random part is taken off so that callers spread.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Failover {
    endpoints: Vec<Endpoint>,
    transport: Transport,
    /// Calls so far: each begins at the next endpoint, so that they share the load.
    turn: AtomicUsize,
}

struct Endpoint {
    base: String,
    circuit: Mutex<Circuit>,
}

/// A place taken at an endpoint's circuit; dropped without a verdict, it is given back.
struct Ticket<'a> {
    circuit: &'a Mutex<Circuit>,
    told: bool,
}

impl Endpoint {
    fn admit(&self) -> Option<Ticket<'_>> {
        let admitted = self.circuit.lock().admit(Instant::now());
        // Made only if admitted: dropping a ticket takes the lock again, and gives a place back.
        if admitted { Some(Ticket { circuit: &self.circuit, told: false }) } else { None }
    }
}

impl Ticket<'_> {
    fn tell(mut self, answered: bool) {
        self.told = true;
        let mut circuit = self.circuit.lock();
        if answered { circuit.succeeded() } else { circuit.failed(Instant::now()) }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.circuit.lock().abandoned();
        }
    }
}

impl Failover {
    pub(super) fn new(bases: Vec<String>, transport: Transport) -> Self {
        let endpoints = bases.into_iter().map(|base| Endpoint { base, circuit: Mutex::default() }).collect();
        Self { endpoints, transport, turn: AtomicUsize::new(0) }
    }

    pub(super) fn bases(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(|e| e.base.as_str())
    }

    /// One try at one endpoint, whatever its circuit says.
    pub(super) async fn once(
        &self,
        base: &str,
        call: &Call<'_>,
        timeout: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.attempt(base, call, Instant::now() + timeout).await.map_err(Failure::into_error)
    }

    async fn attempt(
        &self,
        base: &str,
        call: &Call<'_>,
        until: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        timeout_at(until, self.transport.send(base, call)).await.unwrap_or_else(|_| {
            Err(Failure::Away {
                error: KeyError::unavailable(format!("{base}: no answer in time")),
                unsent: false,
            })
        })
    }

    /// The endpoints from the next one on; those that failed or were contradicted a moment ago come last.
    fn order(&self) -> Vec<usize> {
        let (first, count, now) =
            (self.turn.fetch_add(1, Ordering::Relaxed), self.endpoints.len(), Instant::now());
        let all = (0..count).map(|step| (first % count + step) % count);
        let (mut order, late): (Vec<_>, Vec<_>) =
            all.partition(|index| !self.endpoints[*index].circuit.lock().comes_last(now));
        order.extend(late);
        order
    }

    /// The answer of the first endpoint that has one, within `timeout`. That a key is missing or refused is told only
    /// after every endpoint was asked, where the call allows asking them.
    pub(super) async fn call(
        &self,
        call: &Call<'_>,
        timeout: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let deadline = Instant::now() + timeout;
        let count = self.endpoints.len();
        // What each has said that was no good.
        let mut said: Vec<Option<KeyError>> = vec![None; count];
        for round in 0..ROUNDS {
            if round > 0 {
                sleep(pause(round)).await;
                if Instant::now() >= deadline {
                    break;
                }
            }
            let mut again = false;
            for (step, index) in self.order().into_iter().enumerate() {
                if is_no(&said[index]) {
                    continue;
                }
                let endpoint = &self.endpoints[index];
                let Some(ticket) = endpoint.admit() else { continue };
                // One that hangs may take its share of what is left, and no more.
                let left = deadline.saturating_duration_since(Instant::now());
                let until = Instant::now() + left / u32::try_from(count - step).unwrap_or(u32::MAX);
                match self.attempt(&endpoint.base, call, until).await {
                    Ok(body) => {
                        ticket.tell(true);
                        self.contradict(&said);
                        return Ok(body);
                    }
                    Err(Failure::Final(error)) => {
                        ticket.tell(true);
                        return Err(error);
                    }
                    Err(Failure::Doubtful(error)) => {
                        ticket.tell(true);
                        if !call.may_ask_all() {
                            return Err(error);
                        }
                        said[index] = Some(error);
                    }
                    Err(Failure::Next(error)) => {
                        ticket.tell(true);
                        said[index] = Some(error);
                    }
                    Err(Failure::Store(error)) => {
                        ticket.tell(true);
                        again = true;
                        if !call.repeatable {
                            return Err(error);
                        }
                        said[index] = Some(error);
                    }
                    Err(Failure::Away { error, unsent }) => {
                        ticket.tell(false);
                        again = true;
                        if !call.repeatable && !unsent {
                            return Err(error);
                        }
                        said[index] = Some(error);
                    }
                }
            }
            if !again {
                break;
            }
        }
        Err(most_telling(said))
    }

    /// Another endpoint had what these lacked or refused: they are asked last for a while.
    fn contradict(&self, said: &[Option<KeyError>]) {
        for (endpoint, error) in self.endpoints.iter().zip(said).filter(|(_, error)| is_no(error)) {
            if let (Some(error), true) = (error, endpoint.circuit.lock().contradicted(Instant::now())) {
                tracing::warn!(endpoint = endpoint.base, %error, "another endpoint has this key: look at the store and the policies of this one");
            }
        }
    }
}

fn is_no(said: &Option<KeyError>) -> bool {
    matches!(said, Some(KeyError::NotFound | KeyError::Denied))
}

/// What to tell when no endpoint had a good answer. A refusal holds even if others are away, as revoking must not wait
/// for them. A key is missing only if all say so: whoever is away may have it; but whoever reads the reason is told that
/// others lack it, since an endpoint that is gone for good hides an erased key.
fn most_telling(said: Vec<Option<KeyError>>) -> KeyError {
    let rank = |error: &Option<KeyError>| match error {
        Some(KeyError::Denied) => 0,
        Some(KeyError::Unavailable { .. }) => 1,
        None => 2,
        Some(KeyError::NotFound) => 4,
        Some(_) => 3,
    };
    let lacking = said.contains(&Some(KeyError::NotFound));
    let told = said.into_iter().min_by_key(rank).flatten().unwrap_or_else(|| {
        KeyError::unavailable("an endpoint failed a moment ago and was not asked; a next try is due soon")
    });
    match told {
        KeyError::Unavailable { reason } if lacking => KeyError::unavailable(format!(
            "{reason}; of the endpoints that answer, one says that the key does not exist, which is believed once all of them do"
        )),
        told => told,
    }
}

/// 50 to 100 % of a doubling pause.
fn pause(round: u32) -> Duration {
    let full = PAUSE * (1 << (round - 1).min(5));
    let mut byte = [0];
    // Without randomness the pause is whole, which harms nobody.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    full - full.mul_f64(f64::from(byte[0]) / 512.0)
}
