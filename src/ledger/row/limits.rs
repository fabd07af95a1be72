//! What a row gives up so that it fits: final rows keep what duplicates and the history need, long words are cut.

use super::{Accepted, Delivery, HistoryEntry, LedgerError, Stage, Then};
use crate::model::document::Patient;

/// Lines of the story that an open delivery keeps; the oldest and the newest stay.
const HISTORY_LIMIT: usize = 24;
/// Lines of the story that a final row keeps.
const FINAL_HISTORY_LIMIT: usize = 12;
/// Characters of a line's words.
const DETAIL_LIMIT: usize = 120;
/// Characters of any other words when there is no room for more.
const WORDS_LIMIT: usize = 200;

impl Delivery {
    /// Adds a line to the story.
    pub fn note(&mut self, event: &str, by: Option<&str>, detail: &str) {
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(DETAIL_LIMIT).collect::<String>();
        let (by, detail) = (by.map(cut), cut(detail));
        self.history.push(HistoryEntry { at: self.updated, event: event.to_owned(), by, detail });
        self.cut_history(HISTORY_LIMIT);
    }

    /// Drops lines from the middle of the story: how it began and how it ended says most.
    fn cut_history(&mut self, limit: usize) {
        let begin = limit.div_ceil(4);
        while self.history.len() > limit {
            self.history.remove(begin);
        }
    }

    /// Drops from an ended delivery what neither a duplicate's comparison nor the history asks for: the message, the
    /// answer's headers, and of the patient all but the identifiers. What is said of the document stays whole.
    /// A rejected file's upload stays too, for the file may be put back. An open delivery needs everything.
    pub fn redact_final(&mut self) {
        match &mut self.stage {
            Stage::Accepted(accepted) => {
                accepted.message = None;
                accepted.answer.headers = Vec::new();
            }
            Stage::Rejected(_) => {}
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) => return,
        }
        self.cut_history(FINAL_HISTORY_LIMIT);
        if let Some(document) = &mut self.document {
            let identifier = std::mem::take(&mut document.patient.identifier);
            document.patient = Patient { identifier, family: None, given: Vec::new(), birth_date: None, gender: None };
        }
    }

    /// Gives up, in this order, what can be spared until the row fits: the middle of the story, the answer's headers and
    /// ids, the upload, the end of long words, all of the story. What decides the message and the filing is never touched.
    pub fn truncate_to_limit(&mut self) {
        let steps: [fn(&mut Self); 6] = [
            |row| row.cut_history(8),
            Self::spare_answer,
            Self::spare_upload,
            Self::spare_words,
            |row| row.cut_history(2),
            |row| row.history.clear(),
        ];
        for spare in steps {
            if !matches!(self.encode(), Err(LedgerError::RowTooLong(_))) {
                return;
            }
            spare(self);
        }
    }

    fn spare_answer(&mut self) {
        if let Stage::Accepted(accepted) = &mut self.stage {
            accepted.answer.headers = Vec::new();
            accepted.answer.ids = Vec::new();
        }
    }

    fn spare_upload(&mut self) {
        match &mut self.stage {
            Stage::Rejected(rejected) => rejected.upload = None,
            // The message is through: only its ids are still asked for.
            Stage::Accepted(Accepted { message: Some(message), .. }) => message.upload = None,
            Stage::Accepted(_) | Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) => {}
        }
    }

    fn spare_words(&mut self) {
        let words = match &mut self.stage {
            Stage::Rejected(rejected) => &mut rejected.reason.summary,
            Stage::Queued(queued) => &mut queued.why,
            Stage::Unknown(unknown) => &mut unknown.why,
            Stage::Held(held) => {
                let why = match &mut held.then {
                    Then::Queued(queued) => &mut queued.why,
                    Then::Unknown(unknown) => &mut unknown.why,
                };
                *why = String::new();
                &mut held.detail
            }
            Stage::Sending(_) | Stage::Accepted(_) => return,
        };
        *words = words.chars().take(WORDS_LIMIT).collect();
    }
}
