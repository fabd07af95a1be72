//! The typed configuration: read once, checked once, and handed to the rooms as what they need.

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

pub use status::{Log, LogFormat, LogLevel, Status};

use crate::{
    model::document::{Coding, Destination},
    redox::Settings,
};

/// Where the configuration lies when neither `--config` nor `$CHARTDROP_CONFIG` says so.
pub const DEFAULT_PATH: &str = "/etc/chartdrop/config.toml";

/// Everything that the operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// The watched roots, at least one.
    pub inboxes: Vec<Inbox>,
    /// Names that a sidecar may use for a type; `unspecified` is always among them.
    pub document_types: BTreeMap<String, Coding>,
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
    /// The destination's slug.
    pub slug: String,
    /// Environment and slug: part of every delivery's key.
    pub destination: Destination,
    /// How long a file must stay as it is before it is read.
    pub settle: Duration,
    /// How long a settled document still lies before it is sent, so that it can be taken back.
    pub hold: Duration,
    /// How long a document whose end is missing is waited for.
    pub incomplete_after: Duration,
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

/// Reads a patient's identifier out of a folder's name.
#[derive(Clone, Debug)]
pub struct FolderPattern {
    /// The system of the identifier.
    pub identifier_system: String,
    /// With a group named `identifier`.
    pub pattern: Regex,
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
    /// After so long of tries a delivery is filed as failed.
    pub give_up_after: Duration,
    /// A document that has waited in its inbox for so long raises an alarm in the log.
    pub alarm_after: Duration,
    /// An upload older than this is not referenced any more but made again.
    pub upload_max_age: Duration,
    /// What to do when an answer was lost.
    pub on_unknown: OnUnknown,
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
    /// Send the same bytes again, three times at most, then hold.
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
        /// Key and mend, in words.
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
        raw::check(raw, folder).map_err(|what| ConfigError::Check { path: path.into(), what })
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
