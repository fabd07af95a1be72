//! The typed configuration: read once, checked once, and handed to the rooms as what they need.

pub mod alarms;
mod folders;
mod raw;
pub mod status;
pub mod strict;
#[cfg(test)]
mod tests;
pub mod units;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use regex::Regex;
use serde::Deserialize;

pub use status::{Log, LogFormat, LogLevel, Status, Tls};

use crate::{
    model::{
        document::{Coding, Destination},
        file_kind::FileTypes,
    },
    redox::Settings,
};

/// Where the configuration is when neither `--config` nor `$CHARTDROP_CONFIG` says so.
pub const DEFAULT_PATH: &str = "/etc/chartdrop/config.toml";

/// Everything that the operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// The watched roots, at least one.
    pub inboxes: Vec<Inbox>,
    /// Names that a sidecar may use for a type; `unspecified` is always among them.
    pub document_types: BTreeMap<String, Coding>,
    /// Kinds of file beyond the built-in ones.
    pub file_types: FileTypes,
    /// The type of documents in folders of that name, as [`folded`](crate::model::path::folded) writes it.
    pub type_folders: BTreeMap<Vec<u8>, Coding>,
    /// The account at Redox.
    pub redox: Settings,
    /// How documents are sent and retried.
    pub delivery: Delivery,
    /// The ledger's folder.
    pub ledger: PathBuf,
    /// How long filed deliveries are remembered.
    pub history: Duration,
    /// Where the daemon answers questions.
    pub status: Status,
    /// What is logged, and how.
    pub log: Log,
    /// Who is told of alarms.
    pub alarms: alarms::Alarms,
}

/// A watched root and where its files go.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Its name in logs and in the ledger.
    pub name: String,
    /// The root; its direct children are patient folders.
    pub path: PathBuf,
    /// Where accepted documents go.
    pub done: PathBuf,
    /// Where rejected documents go.
    pub failed: PathBuf,
    /// The group of what is filed, of its notes and of their folders; `None`: that of the inbox folder.
    pub group: Option<u32>,
    /// The permission bits of what is filed and of its notes.
    pub mode: u32,
    /// The destination's slug.
    pub slug: String,
    /// Environment and slug: part of every delivery's key.
    pub destination: Destination,
    /// How long a file must stay as it is before it is read.
    pub settle: Duration,
    /// How long a settled document still waits before it is sent, so that it can be taken back.
    pub hold: Duration,
    /// How long a document whose end is missing is waited for.
    pub incomplete_after: Duration,
    /// A sidecar that came this long before its document is not used without a person.
    pub orphan_after: Duration,
    /// A notice for staff is written into the inbox when something has waited in it for so long; zero: never.
    pub notice_after: Duration,
    /// Whether the words of a patient folder's name must agree with the patient's name.
    pub folder_name: FolderName,
    /// How changes are noticed.
    pub watch: Watch,
    /// Whether a document may come alone.
    pub sidecar: SidecarRule,
    /// The clinic's own list of patients: nobody else's documents are sent.
    pub roster: Option<PathBuf>,
    /// How a folder's name says whose it is.
    pub patient: Option<FolderPattern>,
    /// The type of a document whose sidecar names none.
    pub document_type: Coding,
    /// What becomes of plain text that is not in UTF-8.
    pub text: TextRule,
}

/// What becomes of plain text that is not in UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextRule {
    /// It is refused, with words that say how to save it.
    #[default]
    #[serde(rename = "utf-8-only")]
    Utf8Only,
    /// UTF-16 with a byte order mark and Windows-1252 are sent as UTF-8; the original is filed.
    Convert,
}

/// How changes in an inbox are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// Events on local filesystems, polling on others.
    #[default]
    Auto,
    /// Kernel events, and a full scan now and then.
    Events,
    /// Full scans only.
    Poll,
}

/// Whether a document may come without a sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SidecarRule {
    /// It may.
    #[default]
    Optional,
    /// It waits for one.
    Required,
}

/// Whether the words of a patient folder's name that `folder_pattern` leaves over are a statement of who the patient is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FolderName {
    /// At least one of them must be part of the patient's name, where that is known.
    #[default]
    MustAgree,
    /// They may say anything.
    Ignore,
}

/// Reads what a patient folder's name says of the patient.
#[derive(Clone, Debug)]
pub struct FolderPattern {
    /// The system of the number; `None` when `patient.toml` or the roster must say it.
    pub identifier_system: Option<String>,
    /// With some of the groups [`GROUPS`](Self::GROUPS).
    pub pattern: Regex,
}

impl FolderPattern {
    /// What a pattern's groups may be called.
    pub const GROUPS: [&'static str; 4] = ["identifier", "family", "given", "birth_date"];
}

/// How documents are sent and retried.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Upload and reference, embed, or by size.
    pub method: Method,
    /// The largest file that is embedded, in bytes.
    pub embed_limit: u64,
    /// The largest file that is sent at all, in bytes.
    pub size_limit: u64,
    /// Deliveries under way at once.
    pub concurrency: usize,
    /// The first pause of a retry; it doubles from there.
    pub retry_first: Duration,
    /// The longest pause of a retry.
    pub retry_max: Duration,
    /// After this time of tries a delivery is filed as failed.
    pub give_up_after: Duration,
    /// A document that has waited in its inbox for this time raises an alarm in the log.
    pub alarm_after: Duration,
    /// An upload older than this is not referenced any more but made again.
    pub upload_max_age: Duration,
    /// What to do when an answer was lost.
    pub on_unknown: OnUnknown,
    /// The pauses before each resend of a message whose answer was lost: as many resends as pauses, then it is held.
    pub resend_after: Vec<Duration>,
}

/// Which of Redox's two ways a document takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Upload to `Binary`, then reference it.
    #[default]
    Upload,
    /// Base64 in `attachment.data`.
    Embed,
    /// Embed up to `embed_limit`, else upload.
    Auto,
}

/// What to do when a message was sent and its answer was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    /// Ask the destination whether it has the document.
    Search,
    /// Send the same bytes again, after each pause of `resend_after`, then hold.
    #[default]
    Resend,
    /// Leave it to a person.
    Hold,
}

/// Why a configuration cannot be used. Nothing is sent with it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not there, or not readable.
    #[error("cannot read {}: {error}. Copy config.example.toml there, or name another file with --config", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// It does not parse.
    #[error("{}: {error}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        error: strict::ParseError,
    },
    /// It parses and makes no sense.
    #[error("{}: {what}", path.display())]
    Check {
        /// Which file.
        path: PathBuf,
        /// Where it is, what is wrong and what to do.
        what: String,
    },
}

impl Config {
    /// Reads and checks a configuration; relative paths in it are relative to its file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = std::fs::read(path).map_err(|error| ConfigError::Read { path: path.into(), error })?;
        Self::parse(&bytes, path)
    }

    /// Checks what was read from `path`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, ConfigError> {
        let absolute = std::path::absolute(path).map_err(|error| ConfigError::Read { path: path.into(), error })?;
        let folder = absolute.parent().unwrap_or(&absolute);
        let raw = strict::toml(bytes).map_err(|error| ConfigError::Parse { path: path.into(), error })?;
        raw::check(raw, folder).map_err(|fault| ConfigError::Check { path: path.into(), what: fault.located(bytes) })
    }

    /// Compares the folders by what they are on this machine; [`Config::parse`] compares them only as they are written.
    /// The error says which of them are inside each other. What cannot be told at the moment is not an error.
    pub fn check_folders(&self) -> Result<(), String> {
        folders::apart(self)
    }

    /// The inbox of that name.
    pub fn inbox(&self, name: &str) -> Option<&Inbox> {
        self.inboxes.iter().find(|inbox| inbox.name == name)
    }
}

impl Delivery {
    /// Whether a file of this size goes inside its message.
    pub fn embeds(&self, size: u64) -> bool {
        match self.method {
            Method::Upload => false,
            Method::Embed => true,
            Method::Auto => size <= self.embed_limit,
        }
    }
}
