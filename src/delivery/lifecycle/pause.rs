//! How long to wait before the next try: exponential with full jitter, a pure function.

use std::time::Duration;

/// A pause before try number `attempt` (0 is the first retry): `unit` (0 to 1) of `first` doubled `attempt` times, `max` at most.
///
/// Full jitter (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>): after an outage the
/// deliveries that failed together do not come back together.
pub(super) fn pause(attempt: u32, first: Duration, max: Duration, unit: f64) -> Duration {
    let ceiling = first.saturating_mul(2_u32.saturating_pow(attempt)).min(max);
    ceiling.mul_f64(unit.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(5);
    const MAX: Duration = Duration::from_secs(3600);

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds: Vec<_> = (0..12).map(|attempt| pause(attempt, FIRST, MAX, 1.0).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!(pause(u32::MAX, FIRST, MAX, 1.0), MAX);
    }

    #[test]
    fn jitter_takes_any_part_of_a_pause() {
        assert_eq!(pause(3, FIRST, MAX, 0.0), Duration::ZERO);
        assert_eq!(pause(3, FIRST, MAX, 0.5), Duration::from_secs(20));
    }
}
