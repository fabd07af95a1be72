//! What can go wrong with Redox, grouped by what can be done about it.

use std::{fmt, path::PathBuf, time::Duration};

use super::Algorithm;

/// A call that did not end well. `Display` is fixed words and a status, safe for logs; what the server wrote is in
/// `what` alone, since it may repeat what we sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The file is no longer the one that was identified: start over with it.
    #[error("the file changed while it was being sent")]
    Changed,
    /// This delivery tries again later.
    #[error("{why}")]
    Later {
        /// Why, in fixed words.
        why: String,
        /// Whether the message had been sent, so that it may have arrived all the same.
        sent: bool,
        /// When the server asks to be called again.
        retry_after: Option<Duration>,
    },
    /// Everybody waits.
    #[error("{why}")]
    Throttled {
        /// Why, in fixed words.
        why: String,
        /// How long.
        wait: Duration,
    },
    /// The message was sent and no answer settles what became of it.
    #[error("{why}")]
    Unknown {
        /// How the answer was lost, in fixed words.
        why: String,
    },
    /// Final: a person must act on this document.
    #[error("Redox refused the document ({code})")]
    Rejected {
        /// A fixed word for programs.
        code: String,
        /// What happened, in whole sentences.
        summary: String,
        /// What to do next, in whole sentences.
        remedy: String,
    },
    /// The request is too large: an embedded document is to be uploaded instead.
    #[error("the request is too large for Redox (413)")]
    TooLarge,
    /// Nothing can be sent on this channel until a person has acted.
    #[error("the channel is stopped ({code})")]
    Stop {
        /// A fixed word for programs and logs.
        code: String,
        /// What happened, in whole sentences.
        summary: String,
        /// What to do next, in whole sentences.
        remedy: String,
    },
}

impl Failure {
    /// Try later; nothing was sent.
    pub(super) fn later(why: impl Into<String>) -> Self {
        Self::Later { why: why.into(), sent: false, retry_after: None }
    }

    pub(super) fn stop(code: impl Into<String>, summary: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Stop { code: code.into(), summary: summary.into(), remedy: remedy.into() }
    }

    /// Adds a sentence for whoever looks into a stopped channel.
    pub(super) fn with_note(mut self, note: Option<String>) -> Self {
        if let (Self::Stop { summary, .. }, Some(note)) = (&mut self, note) {
            summary.push(' ');
            summary.push_str(&note);
        }
        self
    }
}

/// Settings with which nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SetupError {
    #[error("base_url = \"{url}\" cannot be used: {why}")]
    BaseUrl { url: String, why: &'static str },
    #[error("{setting} holds a character that cannot be sent in a header")]
    Header { setting: &'static str },
    #[error("the private key {} cannot be read: {error}", path.display())]
    KeyUnreadable { path: PathBuf, error: std::io::Error },
    #[error("the private key {} can be read by others on this computer (mode {mode:04o}); mend it with: chmod 600 {}", path.display(), path.display())]
    KeyExposed { path: PathBuf, mode: u32 },
    #[error("the private key {} cannot be used: {fault}", path.display())]
    Key { path: PathBuf, fault: KeyFault },
    #[error("ca_file {} cannot be used: {why}", path.display())]
    CaFile { path: PathBuf, why: String },
    #[error(
        "no HTTP client could be made: {0} (are the system's certificates installed? Debian's package: ca-certificates)"
    )]
    Http(String),
}

/// Why a file is not the key we need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// Something else entirely.
    NotAKeyFile,
    /// PEM that cannot be decoded.
    Damaged,
    /// It is the public half.
    Public,
    /// It wants a passphrase.
    Encrypted,
    /// It is a certificate.
    Certificate,
    /// It is OpenSSH's own format.
    OpenSsh,
    /// RSA and EC mixed up, or another curve.
    WrongKind(Algorithm),
    /// RSA below 2048 bits.
    TooShort,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAKeyFile => "it is not a PEM file with a private key (-----BEGIN PRIVATE KEY-----)",
            Self::Damaged => "it is damaged; copy it here again",
            Self::Public => "it is the public key; the private one stays here, the public one goes to Redox",
            Self::Encrypted => "it is protected by a passphrase, and nobody is here to type it; remove it with: openssl pkey -in OLD -out NEW",
            Self::Certificate => "it is a certificate, not a private key",
            Self::OpenSsh => "it is in OpenSSH's own format; make a key with: chartdrop keygen",
            Self::WrongKind(Algorithm::RS384) => "algorithm = \"RS384\" needs an RSA key, and this is another kind",
            Self::WrongKind(Algorithm::ES384) => "algorithm = \"ES384\" needs an EC key on the curve P-384, and this is another kind",
            Self::TooShort => "its RSA modulus is shorter than 2048 bits; make a new key with: chartdrop keygen",
        })
    }
}
