//! What can go wrong with Redox, grouped by what can be done about it.

use std::{fmt, path::PathBuf, time::Duration};

use super::Algorithm;

/// A call that did not end well. Whether a message may have been sent follows from the variant: only after `Unknown` and
/// `Unclear` can it have arrived. `Display` is fixed words, a status and a host's name, safe for logs; what the server wrote is
/// in `summary` alone, since it may repeat what we sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The file is no longer the one that was identified. The request was broken off before its last piece: start over.
    #[error("the file changed while it was being sent")]
    Changed,
    /// Not processed: this delivery tries again. Not counted as a send.
    #[error("{why}")]
    Later {
        /// Why, in fixed words.
        why: String,
        /// When the server asks to be called again: between a second and an hour.
        retry_after: Option<Duration>,
    },
    /// Nothing could be sent, because the server cannot be reached.
    #[error("{why}")]
    Unreachable {
        /// What kind of trouble it is.
        kind: Unreachable,
        /// The whole chain of causes, with the host's name and without URLs.
        why: String,
    },
    /// The whole message was handed over, or that cannot be excluded, and no answer settles what became of it.
    #[error("{why}")]
    Unknown {
        /// How the answer was lost, in fixed words.
        why: String,
    },
    /// Redox answered the message with a 2xx that is neither clean nor an error. A person must look; it is never sent again
    /// without one.
    #[error("{why} ({status})")]
    Unclear {
        /// The HTTP status.
        status: u16,
        /// What is odd about the answer, in fixed words.
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
    /// The request is too large: upload the document instead of embedding it.
    #[error("the request is too large for Redox (413)")]
    TooLarge,
    /// Redox takes no more requests from anybody for a while (429).
    #[error("{why}")]
    Throttled {
        /// Why, in fixed words.
        why: String,
        /// How long: between a second and an hour.
        wait: Duration,
    },
    /// Nothing can be sent on this channel, or not this document, until a person has acted.
    #[error("the channel is stopped ({code})")]
    Stop {
        /// The HTTP status of the call; 0 when there is no token, or when the configuration is wrong.
        status: u16,
        /// A fixed word for programs and logs.
        code: String,
        /// What happened, in whole sentences.
        summary: String,
        /// What to do next, in whole sentences.
        remedy: String,
    },
}

/// Why a server cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Nobody listens there.
    Refused,
    /// Its name has no address.
    Dns,
    /// No encrypted connection: a certificate that is not trusted, expired, or another host's.
    Tls,
    /// It did not answer in time.
    Timeout,
    /// The proxy in between did not connect us.
    Proxy,
    /// Anything else, such as no route to the network.
    Other,
}

impl Failure {
    /// Try later; not processed.
    pub(super) fn later(why: impl Into<String>) -> Self {
        Self::Later { why: why.into(), retry_after: None }
    }

    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    pub(super) fn stop(
        status: u16,
        code: impl Into<String>,
        summary: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Stop { status, code: code.into(), summary: summary.into(), remedy: remedy.into() }
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
    #[error("the private key {} can be read by others on this computer (mode {mode:04o}); fix it with: chmod 600 {}", path.display(), path.display())]
    KeyExposed { path: PathBuf, mode: u32 },
    #[error("the private key {} cannot be used: {fault}", path.display())]
    Key { path: PathBuf, fault: KeyFault },
    #[error("proxy = \"{url}\" cannot be used: {why}")]
    Proxy { url: String, why: &'static str },
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
