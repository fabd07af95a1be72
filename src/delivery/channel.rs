//! The channel: what concerns a whole destination stops all its deliveries, and one of them probes when it is time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::model::{
    document::DeliveryId,
    problem::{Problem, catalogue as known},
};

/// The pauses between probes of a channel that a person must fix: the first, and the longest.
const STOPPED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(300));
/// The pauses between probes of a server that cannot be reached.
const UNREACHABLE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// How soon to ask again while another delivery is probing.
const WHILE_PROBING: Duration = Duration::from_millis(500);
/// How long the delivery that probed last leaves the next probe to others.
const OTHERS_FIRST: Duration = Duration::from_secs(2);

/// A destination with its credentials.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    closed: Option<Closed>,
    /// Who keeps it from sending, and why.
    paused: Option<String>,
    /// The last refusal that may concern one document only, and whether another delivery got through since.
    suspect: Option<Suspect>,
}

#[derive(Clone, Debug)]
struct Closed {
    trouble: Trouble,
    since: Timestamp,
    until: Instant,
    times: u32,
    probing: bool,
    last_probe: Option<DeliveryId>,
}

#[derive(Clone, Debug)]
struct Suspect {
    delivery: DeliveryId,
    status: u16,
    others_pass: bool,
}

/// How a channel is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelState {
    /// It is not.
    Open,
    /// It opens by itself: too many requests, or a server that cannot be reached.
    BackingOff,
    /// A person must fix something: credentials, address.
    Stopped,
    /// A person paused it.
    Paused,
}

impl ChannelState {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::BackingOff => "backing-off",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
        }
    }
}

/// Why a channel is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A fixed word for programs.
    pub code: String,
    /// How it is closed.
    pub state: ChannelState,
    /// Another delivery has had the same refusal, or there is none that could have another.
    pub is_confirmed: bool,
    /// What happened.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

impl Trouble {
    /// Trouble that is certain to concern the whole channel.
    fn of(problem: Problem, state: ChannelState) -> Self {
        let Problem { code, summary, remedy } = problem;
        Self { code: code.into(), state, is_confirmed: true, summary, remedy }
    }

    /// Whether somebody should look: not at a pause that a person made, nor at Redox's own limit.
    pub fn is_alarm(&self) -> bool {
        self.state != ChannelState::Paused && self.code != known::TOO_MANY_REQUESTS.code
    }

    /// Whether a person must fix something first, for all that is known.
    pub fn is_stopped(&self) -> bool {
        self.state == ChannelState::Stopped
    }
}

/// Whether anything may be sent.
#[derive(Debug)]
pub enum Admission {
    /// Yes, while the pass lives.
    Pass(Pass),
    /// Not before then.
    Closed(Instant),
}

/// Leave to send one delivery's requests; while the channel is closed only one is out.
#[derive(Debug)]
pub struct Pass {
    channel: Channel,
    is_probe: bool,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_probe {
            self.channel.with(|state| {
                if let Some(closed) = &mut state.closed {
                    closed.probing = false;
                }
            });
        }
    }
}

/// Whom a refusal concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Everybody: the channel is closed. `news`: it is the first to be said of this trouble.
    Channel {
        /// Whether it was not known yet.
        news: bool,
    },
    /// This document only: others get through.
    Document,
}

impl Channel {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leave to send, or when to ask again.
    pub fn admit(&self, now: Instant, delivery: DeliveryId) -> Admission {
        let admitted = self.with(|state| {
            if state.paused.is_some() {
                return Err(now + UNREACHABLE.1);
            }
            let may_only_concern = state.suspect.as_ref().map(|suspect| suspect.delivery);
            let Some(closed) = &mut state.closed else { return Ok(false) };
            // Another document shows at once whether a refusal concerns the channel or the one document.
            let is_other = !closed.trouble.is_confirmed && may_only_concern.is_some_and(|suspect| suspect != delivery);
            if now < closed.until && !is_other {
                return Err(closed.until);
            }
            if closed.probing {
                return Err(now + WHILE_PROBING);
            }
            if closed.last_probe == Some(delivery) && now < closed.until + OTHERS_FIRST {
                return Err(closed.until + OTHERS_FIRST);
            }
            closed.probing = true;
            closed.last_probe = Some(delivery);
            Ok(true)
        });
        match admitted {
            Ok(is_probe) => Admission::Pass(Pass { channel: self.clone(), is_probe }),
            Err(until) => Admission::Closed(until),
        }
    }

    /// Whether a delivery that was admitted may still send: 429 and a person's pause count for everybody at once.
    pub fn still_admits(&self, pass: &Pass) -> bool {
        self.with(|state| state.paused.is_none() && (pass.is_probe || state.closed.is_none()))
    }

    /// An answer about one delivery showed that the channel works. True if it was closed before.
    pub fn works(&self, delivery: DeliveryId) -> bool {
        self.with(|state| {
            if let Some(suspect) = &mut state.suspect
                && suspect.delivery != delivery
            {
                suspect.others_pass = true;
            }
            state.closed.take().is_some()
        })
    }

    /// Everybody waits: Redox asked for it. Returns until when, and whether this is news.
    pub fn back_off(&self, now: Instant, wait: Duration, summary: String) -> (Instant, bool) {
        let trouble = Trouble::of(known::TOO_MANY_REQUESTS.because(summary), ChannelState::BackingOff);
        self.with(|state| state.close(now + wait, trouble))
    }

    /// The server cannot be reached: everybody waits for one probe. Returns until when, and whether this is news.
    pub fn unreachable(&self, now: Instant, jitter: f64, problem: Problem) -> (Instant, bool) {
        let trouble = Trouble::of(problem, ChannelState::BackingOff);
        self.with(|state| {
            let until = now + state.pause(UNREACHABLE).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
            state.close_unless_late(now, until, trouble)
        })
    }

    /// A refusal that may concern everybody (401, 403, 404; status 0: no token is to be had). It does when a second
    /// document gets the same; what only one document gets is that document's problem.
    pub fn refuse(&self, now: Instant, delivery: DeliveryId, status: u16, trouble: Trouble) -> Refusal {
        self.with(|state| {
            let suspect = state.suspect.clone().filter(|suspect| suspect.status == status);
            let is_confirmed = status == 0 || suspect.as_ref().is_some_and(|suspect| suspect.delivery != delivery);
            if let Some(suspect) = &suspect
                && suspect.delivery == delivery
                && suspect.others_pass
            {
                state.suspect = None;
                return Refusal::Document;
            }
            if status != 0 && suspect.is_none() {
                state.suspect = Some(Suspect { delivery, status, others_pass: false });
            }
            let was_confirmed = state.closed.as_ref().is_some_and(|closed| closed.trouble.is_confirmed);
            let until = now + state.pause(STOPPED);
            let trouble = Trouble { is_confirmed: is_confirmed || was_confirmed, ..trouble };
            let (_, news) = state.close_unless_late(now, until, trouble);
            Refusal::Channel { news }
        })
    }

    /// A person keeps everything back, in words; or not any more, and then it is probed at once.
    pub fn pause(&self, why: Option<String>) {
        self.with(|state| {
            if why.is_none() {
                state.probe_at(Instant::now());
            }
            state.paused = why;
        });
    }

    /// Something was fixed, by hand or by a new configuration: it is probed at once, and its pauses start over.
    pub fn probe_now(&self) {
        self.with(|state| state.probe_at(Instant::now()));
    }

    /// Why it is closed, if it is.
    pub fn trouble(&self) -> Option<Trouble> {
        self.with(|state| match &state.paused {
            Some(why) => {
                let summary = format!(
                    "Nothing is sent to this destination: {why}. Documents wait in the inbox, and nothing is lost."
                );
                Some(Trouble::of(known::CHANNEL_PAUSED.because(summary), ChannelState::Paused))
            }
            None => state.closed.as_ref().map(|closed| closed.trouble.clone()),
        })
    }

    /// How it is.
    pub fn state(&self) -> ChannelState {
        self.trouble().map_or(ChannelState::Open, |trouble| trouble.state)
    }

    /// Since when it has been closed; `None` while it is open or only paused.
    pub fn closed_since(&self) -> Option<Timestamp> {
        self.with(|state| state.closed.as_ref().map(|closed| closed.since))
    }

    /// When it is probed next; `None` while it is open or paused.
    pub fn next_probe(&self) -> Option<Instant> {
        self.with(|state| state.closed.as_ref().filter(|_| state.paused.is_none()).map(|closed| closed.until))
    }
}

impl State {
    /// The pause before the next probe: the first one, doubled with each probe that failed, at most the longest.
    fn pause(&self, (first, longest): (Duration, Duration)) -> Duration {
        let times = self.closed.as_ref().map_or(0, |closed| closed.times);
        first.saturating_mul(2_u32.saturating_pow(times)).min(longest)
    }

    /// The failures of those that were under way together count as one: only a probe shows that it lasts.
    fn close_unless_late(&mut self, now: Instant, until: Instant, trouble: Trouble) -> (Instant, bool) {
        let late = self.closed.as_ref().filter(|closed| !closed.probing && now < closed.until);
        let Some((until, times)) = late.map(|closed| (closed.until, closed.times)) else {
            return self.close(until, trouble);
        };
        let told = self.close(until, trouble);
        if let Some(closed) = &mut self.closed {
            closed.times = times;
        }
        told
    }

    fn close(&mut self, until: Instant, trouble: Trouble) -> (Instant, bool) {
        let news = self.closed.as_ref().is_none_or(|closed| {
            (closed.trouble.code.as_str(), closed.trouble.is_confirmed) != (trouble.code.as_str(), trouble.is_confirmed)
        });
        let (times, probing, last_probe) =
            self.closed.as_ref().map_or((0, false, None), |closed| (closed.times, closed.probing, closed.last_probe));
        let since = self.closed.as_ref().map_or_else(Timestamp::now, |closed| closed.since);
        self.closed = Some(Closed { trouble, since, until, times: times.saturating_add(1), probing, last_probe });
        (until, news)
    }

    fn probe_at(&mut self, at: Instant) {
        if let Some(closed) = &mut self.closed {
            closed.until = at;
            closed.times = 0;
            closed.last_probe = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(n: u128) -> DeliveryId {
        DeliveryId(Uuid::from_u128(n))
    }

    fn forbidden() -> Trouble {
        let words = || "x".to_owned();
        Trouble {
            code: "redox-403".into(),
            state: ChannelState::Stopped,
            is_confirmed: false,
            summary: words(),
            remedy: words(),
        }
    }

    fn pass(channel: &Channel, now: Instant, delivery: DeliveryId) -> Option<Pass> {
        match channel.admit(now, delivery) {
            Admission::Pass(pass) => Some(pass),
            Admission::Closed(_) => None,
        }
    }

    #[test]
    fn a_second_document_with_the_same_refusal_stops_the_channel() {
        let (channel, now) = (Channel::default(), Instant::now());
        assert_eq!(channel.refuse(now, id(1), 403, forbidden()), Refusal::Channel { news: true });
        assert!(!channel.trouble().unwrap().is_confirmed);
        assert!(pass(&channel, now, id(1)).is_none(), "the one that was refused waits");
        let probe = pass(&channel, now, id(2)).expect("another one probes at once");
        assert_eq!(channel.refuse(now, id(2), 403, forbidden()), Refusal::Channel { news: true });
        drop(probe);
        assert!(channel.trouble().unwrap().is_confirmed);
        assert!(pass(&channel, now, id(3)).is_none(), "now everybody waits");
    }

    #[test]
    fn what_only_one_document_gets_is_that_documents_problem() {
        let (channel, now) = (Channel::default(), Instant::now());
        channel.refuse(now, id(1), 403, forbidden());
        let probe = pass(&channel, now, id(2)).unwrap();
        assert!(channel.works(id(2)));
        drop(probe);
        assert_eq!(channel.trouble(), None);
        assert!(pass(&channel, now, id(1)).is_some());
        assert_eq!(channel.refuse(now, id(1), 403, forbidden()), Refusal::Document);
        assert_eq!(channel.trouble(), None, "nobody else waits");
    }

    #[test]
    fn probes_rotate_and_their_pauses_grow() {
        let (channel, now) = (Channel::default(), Instant::now());
        channel.refuse(now, id(1), 403, forbidden());
        drop(pass(&channel, now, id(2)).unwrap());
        channel.refuse(now, id(2), 403, forbidden());
        let due = channel.next_probe().unwrap();
        assert!(pass(&channel, due, id(2)).is_none(), "the last prober leaves it to others");
        let probe = pass(&channel, due, id(1)).unwrap();
        assert!(pass(&channel, due, id(3)).is_none(), "one probe is enough");
        channel.refuse(due, id(1), 403, forbidden());
        drop(probe);
        assert!(channel.next_probe().unwrap() - due > due - now, "the pause grows");
        assert!(pass(&channel, channel.next_probe().unwrap() + OTHERS_FIRST, id(1)).is_some(), "nobody else came");
    }

    #[test]
    fn an_unreachable_server_is_said_once_and_probed_within_five_minutes() {
        let (channel, mut now) = (Channel::default(), Instant::now());
        for round in 0..20 {
            let (until, news) = channel.unreachable(now, 1.0, known::UNREACHABLE_REFUSED.problem());
            assert_eq!(news, round == 0);
            assert!(until - now <= Duration::from_secs(300), "{round}");
            now = until;
        }
        channel.probe_now();
        assert!(pass(&channel, Instant::now(), id(1)).is_some(), "at once after something was fixed");
    }

    #[test]
    fn failures_of_those_that_were_under_way_together_count_as_one() {
        let (channel, now) = (Channel::default(), Instant::now());
        let admitted: Vec<_> = (0..8).map(|n| pass(&channel, now, id(n)).unwrap()).collect();
        let untils = admitted.iter().map(|_| channel.unreachable(now, 1.0, known::UNREACHABLE_REFUSED.problem()));
        let untils: Vec<_> = untils.collect();
        assert!(untils.iter().all(|(until, _)| *until - now == UNREACHABLE.0), "{untils:?}");
        assert_eq!(untils.iter().filter(|(_, is_news)| *is_news).count(), 1);
        drop(admitted);
        let due = channel.next_probe().unwrap();
        let probe = pass(&channel, due, id(9)).unwrap();
        let (until, _) = channel.unreachable(due, 1.0, known::UNREACHABLE_REFUSED.problem());
        drop(probe);
        assert_eq!(until - due, UNREACHABLE.0 * 2, "a probe shows that it lasts");
    }

    #[test]
    fn too_many_requests_and_a_pause_stop_whoever_was_admitted() {
        let (channel, now) = (Channel::default(), Instant::now());
        let admitted = pass(&channel, now, id(1)).unwrap();
        channel.back_off(now, Duration::from_secs(300), "slow".into());
        assert!(!channel.still_admits(&admitted));
        channel.works(id(2));
        channel.pause(Some("paused by anna".into()));
        assert_eq!(channel.trouble().unwrap().state, ChannelState::Paused);
        assert!(pass(&channel, now + Duration::from_secs(3600), id(1)).is_none());
        channel.pause(None);
        assert!(pass(&channel, now, id(1)).is_some());
    }

    #[test]
    fn a_probe_that_ends_without_an_answer_makes_room_for_the_next() {
        let (channel, now) = (Channel::default(), Instant::now());
        let (until, _) = channel.back_off(now, Duration::from_secs(300), "slow".into());
        drop(pass(&channel, until, id(1)).unwrap());
        assert!(pass(&channel, until, id(2)).is_some());
    }
}
