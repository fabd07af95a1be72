//! When documents have waited too long: one alarm an incident, one word when it grows, one when it is over.

use std::time::Duration;

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The oldest document has waited too long.
    Begins,
    /// Twice as many wait as when it was last said.
    Grows,
    /// No document has waited too long any more.
    Ends,
}

/// What was said last of one inbox.
#[derive(Debug, Default)]
pub struct Alarm {
    /// How many waited then; `None` while all is well.
    said: Option<usize>,
}

impl Alarm {
    /// Takes note of how many documents wait, and for how long the oldest has; returns what is to be said.
    pub fn observe(&mut self, waiting: usize, oldest: Duration, limit: Duration) -> Option<Word> {
        let late = waiting > 0 && oldest >= limit;
        let word = match self.said {
            None if late => Word::Begins,
            Some(said) if late && waiting >= said.saturating_mul(2) => Word::Grows,
            Some(_) if !late => Word::Ends,
            _ => return None,
        };
        self.said = late.then_some(waiting);
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alarm_an_incident() {
        let hour = Duration::from_secs(3600);
        let mut alarm = Alarm::default();
        let said: Vec<_> =
            [(0, 0), (9, 3599), (9, 3600), (10, 4000), (18, 5000), (19, 6000), (3, 10), (0, 0), (1, 3600)]
                .into_iter()
                .map(|(waiting, seconds)| alarm.observe(waiting, Duration::from_secs(seconds), hour))
                .collect();
        let (begins, grows, ends) = (Some(Word::Begins), Some(Word::Grows), Some(Word::Ends));
        assert_eq!(said, [None, None, begins, None, grows, None, ends, None, begins]);
    }
}
