//! When old deliveries leave the history: not by a clock that jumped, since what is forgotten may be sent a second time.
//!
//! A clock is believed once it has run steadily, compared with the machine's own counting of seconds, for as long as the
//! history reaches (a month at most). A jump, in a run or between two, starts that over.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{ledger::Ledger, platform::effect};

/// How often the clock is compared, and old deliveries are looked for.
const TICK: Duration = Duration::from_secs(600);
/// A machine may be off, or asleep, for this long without its clock being doubted.
const LONGEST_BREAK: Duration = Duration::from_secs(31 * 86_400);
/// A clock may be set back by this much.
const SET_BACK: Duration = Duration::from_secs(3600);

/// How a clock has run, over all runs of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Clock {
    /// What it said last.
    wall: Timestamp,
    /// Seconds for which it has run steadily since it was set or jumped.
    steady: u64,
}

impl Clock {
    /// `passed`: what the machine counted since `self.wall` was noted; `None` for the time between two runs.
    fn observe(self, wall: Timestamp, passed: Option<Duration>, history: Duration) -> Self {
        let longest_break = LONGEST_BREAK.min(history / 2).max(Duration::from_secs(1));
        let counted = passed.unwrap_or_default();
        let drift = wall.duration_since(self.wall).as_nanos() - i128::try_from(counted.as_nanos()).unwrap_or(i128::MAX);
        let is_steady = drift <= i128::try_from(longest_break.as_nanos()).unwrap_or(i128::MAX)
            && drift >= -i128::try_from(SET_BACK.min(longest_break).as_nanos()).unwrap_or(i128::MAX);
        let steady = if is_steady { self.steady.saturating_add(counted.as_secs()) } else { 0 };
        Self { wall, steady }
    }

    /// Whether it may decide what is old.
    fn is_believed(self, history: Duration) -> bool {
        Duration::from_secs(self.steady) >= LONGEST_BREAK.min(history)
    }
}

/// Forgets, for as long as the program runs, deliveries that were filed longer ago than the history reaches.
pub async fn forget_old(ledger: Arc<dyn Ledger>, path: PathBuf, history: Duration, shutdown: CancellationToken) {
    let file = path.with_extension("clock.json");
    let now = Timestamp::now();
    let mut clock = read(&file).map_or(Clock { wall: now, steady: 0 }, |clock| clock.observe(now, None, history));
    let mut noted = Instant::now();
    let mut ticks = tokio::time::interval(TICK.min(history / 2).max(Duration::from_secs(1)));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        clock = clock.observe(Timestamp::now(), Some(noted.elapsed()), history);
        noted = Instant::now();
        note(&file, clock);
        if clock.is_believed(history)
            && let Ok(before) = clock.wall.checked_sub(history)
            // A ledger that cannot do this says so at the next delivery as well, and that ends the program.
            && let Ok(forgotten @ 1..) = ledger.forget(before).await
        {
            info!(forgotten, "old deliveries have left the history");
        }
    }
    note(&file, clock.observe(Timestamp::now(), Some(noted.elapsed()), history));
}

fn read(file: &Path) -> Option<Clock> {
    serde_json::from_slice(&effect::read(file).ok()?).ok()
}

/// Not durable: a clock whose steadiness is not known forgets later, which harms nobody.
fn note(file: &Path, clock: Clock) {
    let write = || -> io::Result<()> {
        let bytes = serde_json::to_vec(&clock)?;
        let mut file = effect::open_with(File::options().write(true).create(true).truncate(true), file)?;
        effect::write_all(&mut file, &bytes)
    };
    if let Err(error) = write() {
        warn!("how the clock runs cannot be noted ({}); old deliveries stay in the history", error.kind());
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    const DAY: u64 = 86_400;
    const YEAR: Duration = Duration::from_secs(365 * DAY);

    fn at(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + (days * 24).hours()
    }

    fn days(days: u64) -> Option<Duration> {
        Some(Duration::from_secs(days * DAY))
    }

    #[test]
    fn a_clock_is_believed_after_a_month_of_running_steadily() {
        let mut clock = Clock { wall: at(0), steady: 0 };
        for day in 1..=30 {
            clock = clock.observe(at(day), days(1), YEAR);
            assert!(!clock.is_believed(YEAR), "{day}");
        }
        // Off over a weekend, which does not count and does no harm.
        clock = clock.observe(at(33), None, YEAR);
        assert!(clock.observe(at(34), days(1), YEAR).is_believed(YEAR));
    }

    #[test]
    fn a_jump_starts_over_in_a_run_and_between_two() {
        let steady = Clock { wall: at(0), steady: 100 * DAY };
        for (wall, passed) in [(at(700), days(1)), (at(700), None), (at(-700), days(1)), (at(-1), None)] {
            assert_eq!(steady.observe(wall, passed, YEAR).steady, 0, "{wall} {passed:?}");
        }
        // Summer time and a little drift are no jumps.
        let drifted = at(1).checked_add(20.minutes()).unwrap();
        assert!(steady.observe(drifted, days(1), YEAR).is_believed(YEAR));
    }

    #[test]
    fn a_short_history_needs_a_short_time() {
        let hour = Duration::from_secs(3600);
        let clock = Clock { wall: at(0), steady: 0 };
        let later = |seconds: i64| Timestamp::UNIX_EPOCH + seconds.seconds();
        assert!(clock.observe(later(3601), Some(Duration::from_secs(3601)), hour).is_believed(hour));
        assert!(!clock.observe(later(7200), None, hour).is_believed(hour));
    }
}
