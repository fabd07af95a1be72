//! When an alarm is worth a message: one when an incident begins, one when it is over, however often it flaps.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::status::view::AlarmView;

/// What comes back within this time belongs to the same incident.
const FLAPPING: SignedDuration = SignedDuration::from_secs(60);

/// What is to be told of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It begins.
    Begins,
    /// It has been over for a minute.
    Ends,
}

/// The incidents that were told and are not over.
#[derive(Debug, Default)]
pub struct Incidents {
    /// By code and inbox: the alarm, and since when it has not been seen.
    known: BTreeMap<(String, Option<String>), (AlarmView, Option<Timestamp>)>,
}

impl Incidents {
    /// Takes note of the alarms that are on; returns what is to be told.
    pub fn observe(&mut self, now: Timestamp, alarms: &[AlarmView]) -> Vec<(Word, AlarmView)> {
        let mut told = Vec::new();
        for alarm in alarms {
            let key = (alarm.code.clone(), alarm.inbox.clone());
            if self.known.insert(key, (alarm.clone(), None)).is_none() {
                told.push((Word::Begins, alarm.clone()));
            }
        }
        self.known.retain(|key, (alarm, gone)| {
            if alarms.iter().any(|on| (&on.code, &on.inbox) == (&key.0, &key.1)) {
                return true;
            }
            let since = *gone.get_or_insert(now);
            let is_over = now.duration_since(since) >= FLAPPING;
            if is_over {
                told.push((Word::Ends, alarm.clone()));
            }
            !is_over
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(code: &str, inbox: Option<&str>) -> AlarmView {
        AlarmView {
            code: code.into(),
            summary: "It is so.".into(),
            remedy: "Look.".into(),
            since: Timestamp::UNIX_EPOCH,
            inbox: inbox.map(str::to_owned),
        }
    }

    #[test]
    fn one_message_an_incident_and_one_when_it_is_over() {
        let mut incidents = Incidents::default();
        let mut told = Vec::new();
        // On, flapping for half a minute, away for 59 s, on again, and then away for good.
        for second in 0..400 {
            let is_on = matches!(second, 10..20 | 79..200) || (20..50).contains(&second) && second % 2 == 0;
            let alarms = if is_on { vec![alarm("a", None)] } else { Vec::new() };
            for (word, _) in incidents.observe(Timestamp::from_second(second).unwrap(), &alarms) {
                told.push((second, word));
            }
        }
        assert_eq!(told, [(10, Word::Begins), (260, Word::Ends)]);
    }

    #[test]
    fn the_same_alarm_of_two_inboxes_is_two_incidents() {
        let mut incidents = Incidents::default();
        let both = [alarm("a", Some("x")), alarm("a", Some("y"))];
        assert_eq!(incidents.observe(Timestamp::UNIX_EPOCH, &both).len(), 2);
        assert_eq!(incidents.observe(Timestamp::UNIX_EPOCH, &both), []);
    }
}
