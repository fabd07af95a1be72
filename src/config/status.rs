//! `[status]` and `[log]`: where the daemon answers questions, and what it writes down.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};

use super::{
    raw::{Fault, fault},
    strict::refuse,
};

/// Where systemd lets the service keep its socket.
const RUNTIME_FOLDER: &str = "/run/chartdrop";
const SOCKET: &str = "control.sock";
/// Longer words do not fit a note's line.
const LONGEST_CONTACT: usize = 200;

/// Where the daemon answers questions.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The control socket of the commands.
    pub socket: PathBuf,
    /// The group whose members may use the commands as well.
    pub socket_group: Option<String>,
    /// Page and API over TCP.
    pub listen: Option<SocketAddr>,
    /// Certificate and key for `listen`.
    pub tls: Option<Tls>,
    /// Who may log in.
    pub users: Option<PathBuf>,
    /// Whom staff can ask: shown in notes and on the page.
    pub contact: Option<String>,
    /// How times are shown to people.
    pub time_zone: TimeZone,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The least important lines that are written.
    pub level: LogLevel,
    /// Their form.
    pub format: LogFormat,
}

/// How important a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The level as a filter spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `journal` under systemd, `text` elsewhere.
    #[default]
    Auto,
    /// Lines that begin with their priority, without the time: the journal adds it.
    Journal,
    /// Lines for a person.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStatus {
    socket: Option<PathBuf>,
    socket_group: Option<String>,
    #[serde(deserialize_with = "listen")]
    listen: Option<SocketAddr>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    users: Option<PathBuf>,
    contact: Option<String>,
    time_zone: String,
}

impl Default for RawStatus {
    fn default() -> Self {
        Self {
            socket: None,
            socket_group: None,
            listen: None,
            tls_certificate: None,
            tls_key: None,
            users: None,
            contact: None,
            time_zone: "system".into(),
        }
    }
}

impl RawStatus {
    /// Checks what the types cannot say; relative paths become absolute beneath `folder`. The error is for a person.
    pub(super) fn check(self, folder: &Path, ledger: &Path) -> Result<Status, Fault> {
        let tls = match (self.tls_certificate, self.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(Tls { certificate: folder.join(certificate), key: folder.join(key) })
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(fault(
                    ["status", "tls_key"],
                    "status.tls_certificate and status.tls_key belong together: set both or none",
                ));
            }
        };
        let is_open = self.listen.is_some_and(|address| !address.ip().is_loopback());
        if is_open && (tls.is_none() || self.users.is_none()) {
            return Err(fault(
                ["status", "listen"],
                "status.listen is an address that other machines reach: that needs tls_certificate, tls_key and \
                 users. Without them use a loopback address such as \"127.0.0.1:8780\"",
            ));
        }
        if self.contact.as_ref().is_some_and(|words| {
            words.trim().is_empty() || words.len() > LONGEST_CONTACT || words.chars().any(char::is_control)
        }) {
            return Err(fault(
                ["status", "contact"],
                format!("status.contact must be one line of 1 to {LONGEST_CONTACT} bytes"),
            ));
        }
        let time_zone = match self.time_zone.as_str() {
            "system" => TimeZone::system(),
            name => TimeZone::get(name).map_err(|_| {
                fault(
                    ["status", "time_zone"],
                    "status.time_zone must be \"system\" or a name such as \"America/Chicago\"",
                )
            })?,
        };
        Ok(Status {
            socket: self.socket.map_or_else(|| default_socket(ledger), |socket| folder.join(socket)),
            socket_group: self.socket_group,
            listen: self.listen,
            tls,
            users: self.users.map(|users| folder.join(users)),
            contact: self.contact,
            time_zone,
        })
    }
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|_| refuse("an address and a port, such as \"127.0.0.1:8780\""))
}

/// In systemd's runtime folder; without one, beside the ledger.
fn default_socket(ledger: &Path) -> PathBuf {
    let runtime = Path::new(RUNTIME_FOLDER);
    if runtime.is_dir() {
        return runtime.join(SOCKET);
    }
    let mut name = OsString::from(ledger);
    name.push(".sock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Status, String> {
        let raw: RawStatus = toml::from_str(text).unwrap();
        raw.check(Path::new("/etc/chartdrop"), Path::new("/var/lib/chartdrop/ledger")).map_err(|fault| fault.what)
    }

    #[test]
    fn only_this_machine_is_answered_without_a_login() {
        for listen in ["127.0.0.1:8780", "[::1]:8780"] {
            assert!(check(&format!("listen = {listen:?}")).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:8780", "192.0.2.7:8780", "[::]:8780"] {
            assert!(check(&format!("listen = {listen:?}")).unwrap_err().contains("tls_certificate"), "{listen}");
            let tls = format!("listen = {listen:?}\ntls_certificate = \"a\"\ntls_key = \"b\"\n");
            assert!(check(&tls).unwrap_err().contains("users"), "{listen}");
            assert!(check(&format!("{tls}users = \"users.toml\"")).is_ok(), "{listen}");
        }
        assert!(check("tls_key = \"b\"").unwrap_err().contains("belong together"));
    }

    #[test]
    fn what_people_see_is_checked() {
        assert!(check("contact = \"IT help desk, extension 4411\"\ntime_zone = \"America/Chicago\"").is_ok());
        assert!(check("contact = \" \"").is_err());
        assert!(check("contact = \"two\\nlines\"").is_err());
        assert!(check("time_zone = \"Mars/Olympus\"").unwrap_err().contains("America/Chicago"));
    }

    #[test]
    fn the_socket_is_relative_to_the_configuration() {
        assert_eq!(check("socket = \"c.sock\"").unwrap().socket, Path::new("/etc/chartdrop/c.sock"));
    }
}
