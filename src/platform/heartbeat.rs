//! A sign of life of something that may hang for ever, such as a look into a share whose server is gone.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Says until when silence is in order.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Mutex<Instant>>);

impl Default for Heartbeat {
    /// Expected now.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Heartbeat {
    /// Alive, and not expected to say so again before `until`.
    pub fn expect_next_by(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// For how long it has been silent beyond what it said.
    pub fn overdue(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_when_it_was_to_end() {
        let (pulse, now) = (Heartbeat::default(), Instant::now());
        pulse.expect_next_by(now + Duration::from_secs(60));
        assert_eq!(pulse.overdue(now + Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(pulse.overdue(now + Duration::from_secs(70)), Duration::from_secs(10));
    }
}
