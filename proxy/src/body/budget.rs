//! One budget for all request bodies that are held whole in memory. An upload that finds no room streams instead.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit; a semaphore counts in u32 steps.
const UNIT: u64 = 1024;

/// The budget `limits.buffers`.
#[derive(Clone, Debug)]
pub struct BufferBudget(Arc<Semaphore>);

/// Room for one buffer; given back on drop.
#[derive(Debug)]
pub struct BufferRoom {
    _permit: OwnedSemaphorePermit,
}

impl BufferBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(units)))
    }

    /// Room for `bytes`, if there is any now.
    pub fn try_take(&self, bytes: u64) -> Option<BufferRoom> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        self.0.clone().try_acquire_many_owned(units).ok().map(|permit| BufferRoom { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_and_comes_back() {
        let budget = BufferBudget::new(4096);
        let first = budget.try_take(3000).unwrap();
        assert!(budget.try_take(2048).is_none());
        assert!(budget.try_take(1024).is_some());
        drop(first);
        assert!(budget.try_take(4096).is_some());
        assert!(budget.try_take(4097).is_none());
    }
}
