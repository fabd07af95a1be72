//! The channel's breaker: what stops one delivery for reasons that concern all stops all, and one probes when it is time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// The first pause after a stop; it doubles from there.
const FIRST_PROBE: Duration = Duration::from_secs(60);
/// The longest pause between probes.
const LAST_PROBE: Duration = Duration::from_secs(15 * 60);
/// How soon to ask again while another delivery is probing.
const WHILE_PROBING: Duration = Duration::from_secs(1);

/// How soon to ask again while a person keeps everything back; resuming looks at every document at once.
const WHILE_PAUSED: Duration = Duration::from_secs(60);

/// A destination with its credentials: open, backing off, or stopped.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    closed: Arc<Mutex<Option<Closed>>>,
    /// Who keeps it from sending, and why.
    paused: Arc<Mutex<Option<String>>>,
}

#[derive(Clone, Debug)]
struct Closed {
    trouble: Trouble,
    since: Timestamp,
    until: Instant,
    times: u32,
    probing: bool,
}

/// Why a channel is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether a person must mend it (credentials, address), or time alone does (too many requests).
    pub stopped: bool,
    /// What happened.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

/// Leave to send one delivery's requests; while the channel is closed only one is out.
#[derive(Debug)]
pub struct Pass {
    channel: Channel,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.channel.with(|closed| {
            if let Some(closed) = closed {
                closed.probing = false;
            }
        });
    }
}

impl Channel {
    fn with<T>(&self, f: impl FnOnce(&mut Option<Closed>) -> T) -> T {
        f(&mut self.closed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A person keeps everything back, in words; or not any more, and then it is tried at once whatever was wrong.
    pub fn pause(&self, why: Option<String>) {
        if why.is_none() {
            self.with(|closed| *closed = None);
        }
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Who keeps it from sending, and why, if anybody does.
    pub fn paused(&self) -> Option<String> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Since when it has been closed, and when the next probe is.
    pub fn closed(&self) -> Option<(Timestamp, Instant)> {
        self.with(|closed| closed.as_ref().map(|closed| (closed.since, closed.until)))
    }

    /// Leave to send, or when to ask again.
    pub fn admit(&self, now: Instant) -> Result<Pass, Instant> {
        if self.paused().is_some() {
            return Err(now + WHILE_PAUSED);
        }
        self.with(|closed| match closed {
            None => Ok(()),
            Some(closed) if now < closed.until => Err(closed.until),
            Some(closed) if closed.probing => Err(now + WHILE_PROBING),
            Some(closed) => {
                closed.probing = true;
                Ok(())
            }
        })
        .map(|()| Pass { channel: self.clone() })
    }

    /// An answer showed that the channel works. True if it was closed before.
    pub fn works(&self) -> bool {
        self.with(Option::take).is_some()
    }

    /// Everybody waits: Redox asked for it. Gives back until when, and whether this is news.
    pub fn back_off(&self, now: Instant, wait: Duration, summary: String) -> (Instant, bool) {
        let remedy = "Nothing: chartdrop goes on by itself when the time is over.".to_owned();
        self.close(now + wait, Trouble { stopped: false, summary, remedy })
    }

    /// A person must mend something. Gives back when the next probe is, and whether this is news.
    pub fn stop(&self, now: Instant, summary: String, remedy: String) -> (Instant, bool) {
        let times = self.with(|closed| closed.as_ref().map_or(0, |closed| closed.times));
        let wait = FIRST_PROBE.saturating_mul(2_u32.saturating_pow(times)).min(LAST_PROBE);
        self.close(now + wait, Trouble { stopped: true, summary, remedy })
    }

    fn close(&self, until: Instant, trouble: Trouble) -> (Instant, bool) {
        self.with(|closed| {
            let news = closed.as_ref().is_none_or(|closed| closed.trouble != trouble);
            let times = closed.as_ref().map_or(0, |closed| closed.times) + 1;
            let probing = closed.as_ref().is_some_and(|closed| closed.probing);
            let since = closed.as_ref().map_or_else(Timestamp::now, |closed| closed.since);
            *closed = Some(Closed { trouble, since, until, times, probing });
            (until, news)
        })
    }

    /// Why it is closed, if it is.
    pub fn trouble(&self) -> Option<Trouble> {
        self.with(|closed| closed.as_ref().map(|closed| closed.trouble.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_channel_is_probed_by_one_delivery_at_a_time() {
        let channel = Channel::default();
        let now = Instant::now();
        assert!(channel.admit(now).is_ok());
        let (until, news) = channel.stop(now, "no".into(), "mend".into());
        assert!(news);
        assert_eq!(channel.admit(now).unwrap_err(), until);
        let probe = channel.admit(until).unwrap();
        assert!(channel.admit(until).is_err(), "one probe is enough");
        let (later, news) = channel.stop(until, "no".into(), "mend".into());
        assert!(!news, "one alarm an incident");
        assert!(later - until > until - now, "the pause grows");
        drop(probe);
        let probe = channel.admit(later).unwrap();
        assert!(channel.works());
        drop(probe);
        let _all = [channel.admit(later).unwrap(), channel.admit(later).unwrap()];
        assert!(!channel.works());
    }

    #[test]
    fn a_probe_that_ends_without_an_answer_makes_room_for_the_next() {
        let channel = Channel::default();
        let now = Instant::now();
        let (until, _) = channel.back_off(now, Duration::from_secs(300), "slow".into());
        drop(channel.admit(until).unwrap());
        assert!(channel.admit(until).is_ok());
    }
}
