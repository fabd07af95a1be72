//! What is told of an alarm, without patient data: the words of the status, as JSON and as a mail.

use jiff::Timestamp;
use serde::Serialize;

use super::incident::Word;
use crate::status::view::{AlarmView, StatusView};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An alarm has begun.
    Begins,
    /// An alarm is over.
    Ends,
    /// The daily summary.
    Summary,
    /// Somebody tries whether messages arrive.
    Test,
}

impl From<Word> for Kind {
    fn from(word: Word) -> Self {
        match word {
            Word::Begins => Self::Begins,
            Word::Ends => Self::Ends,
        }
    }
}

/// One message; its JSON is what a webhook and a command get.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// What it is about.
    pub event: Kind,
    /// The machine.
    pub node: String,
    /// When it was written.
    pub at: Timestamp,
    /// The alarm's fixed word.
    pub code: String,
    /// What happened.
    pub summary: String,
    /// What to do.
    pub remedy: String,
    /// In which inbox; null when it concerns all.
    pub inbox: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl Message {
    /// Of an alarm.
    pub fn of(word: Word, alarm: AlarmView, node: &str) -> Self {
        Self {
            event: word.into(),
            node: node.to_owned(),
            at: Timestamp::now(),
            code: alarm.code,
            summary: alarm.summary,
            remedy: alarm.remedy,
            inbox: alarm.inbox,
            since: alarm.since,
        }
    }

    /// That somebody tries whether messages arrive.
    pub fn test(node: &str) -> Self {
        let now = Timestamp::now();
        Self {
            event: Kind::Test,
            node: node.to_owned(),
            at: now,
            code: "test".into(),
            summary: "This is a test: `chartdrop check --alarm` sent it.".into(),
            remedy: "Nothing: nothing is wrong.".into(),
            inbox: None,
            since: now,
        }
    }

    /// How things are, once a day.
    pub fn summary(status: &StatusView) -> Self {
        let now = Timestamp::now();
        let mut summary = String::new();
        for inbox in &status.inboxes {
            let (name, waiting) = (&inbox.name, inbox.waiting.unwrap_or_default());
            let (accepted, rejected) = (inbox.accepted_today, inbox.rejected_today);
            summary.push_str(&format!(
                "{name}: {waiting} waiting, {accepted} accepted and {rejected} rejected in the last 24 hours.\n"
            ));
        }
        summary.push_str(&format!("Held for a decision: {}.\n", status.counts.held));
        for alarm in &status.alarms {
            summary.push_str(&format!("ALARM {}: {}\n", alarm.code, alarm.summary));
        }
        let remedy = match status.alarms.is_empty() && status.counts.held == 0 {
            true => "Nothing: all is well.",
            false => "`chartdrop status` says what to do.",
        };
        Self {
            event: Kind::Summary,
            node: status.node.clone(),
            at: now,
            code: "summary".into(),
            summary,
            remedy: remedy.into(),
            inbox: None,
            since: now,
        }
    }

    /// A mail's subject: one line.
    pub fn subject(&self) -> String {
        let place = self.inbox.as_deref().unwrap_or(&self.node);
        match self.event {
            Kind::Begins => format!("chartdrop ALARM: {} ({place})", self.code),
            Kind::Ends => format!("chartdrop: over: {} ({place})", self.code),
            Kind::Summary => format!("chartdrop: daily summary ({place})"),
            Kind::Test => format!("chartdrop: test message ({place})"),
        }
    }

    /// A mail's text.
    pub fn body(&self) -> String {
        let over = match self.event {
            Kind::Ends => "This is over:\n\n",
            Kind::Begins | Kind::Summary | Kind::Test => "",
        };
        let inbox = self.inbox.as_ref().map(|inbox| format!("Inbox: {inbox}\n")).unwrap_or_default();
        format!(
            "{over}{}\n\nWhat to do: {}\n\n{inbox}Machine: {}\nSince: {}\nCode: {}\n",
            self.summary.trim_end(),
            self.remedy,
            self.node,
            self.since.strftime("%Y-%m-%d %H:%M:%S UTC"),
            self.code
        )
    }
}
