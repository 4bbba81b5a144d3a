//! What happens without being asked: keys in use are checked, idle ones are removed so that they are wiped in time (but
//! not in an outage of their service, where nobody could open them again), and keys whose trouble outlasted its grace
//! are dropped.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Inner, ResolvedKey};
use crate::config::BucketKeyPolicy;

/// Longest pause between looks.
const TICK: Duration = Duration::from_secs(2);
const SHORTEST: Duration = Duration::from_millis(10);

/// Runs until the keyring is gone.
pub(super) async fn run(keyring: Weak<Inner>, policy: BucketKeyPolicy) {
    let mut ticks = interval(TICK.min(policy.recheck).min(policy.idle).max(SHORTEST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(keyring) = keyring.upgrade() else { return };
        tick(&keyring).await;
    }
}

async fn tick(keyring: &Arc<Inner>) {
    let now = Instant::now();
    let policy = &keyring.policy;
    let away: HashSet<ResolvedKey> = keyring
        .externals
        .lock()
        .iter()
        .filter(|(_, known)| known.is_away())
        .map(|(key, _)| key.clone())
        .collect();
    let live = keyring.cache.sweep(now, &away).await;
    keyring.gates.sweep(now);
    keyring.writers.lock().retain(|id, writer| {
        away.contains(&id.0) || now.saturating_duration_since(writer.used) <= policy.idle
    });

    let (mut due, mut lost): (Vec<ResolvedKey>, Vec<ResolvedKey>) = (Vec::new(), Vec::new());
    for (external, known) in keyring.externals.lock().iter() {
        let in_use = live.contains(external) || *external == keyring.default;
        if live.contains(external) && known.outlasted(now, policy) {
            lost.push(external.clone());
        }
        if in_use && known.check_due(now, policy) {
            due.push(external.clone());
        }
    }
    for external in lost {
        tracing::error!(alert = true, key = %external, "grace is over: dropped every data key of this key");
        keyring.drop_keys(&external).await;
    }
    for external in due {
        // Not awaited: one service that hangs must not hold up the checks of another.
        keyring.begin_check(&external);
    }
}
