//! What must be known to talk to Redox: where it is, who we are, and how uploads are dressed.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use reqwest::Url;
use serde::Deserialize;
use uuid::Uuid;

use super::SetupError;

/// The namespace of endpoints made from a client id (a random UUID, fixed for good).
const ENDPOINT_NAMESPACE: Uuid = Uuid::from_u128(0x2d0c_7f86_51b9_4c1b_8a5e_97f3_64d0_be12);

/// Where Redox is and who we are there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://api.redoxengine.com`; plain http only to this computer itself.
    pub base_url: String,
    /// Which of Redox's environments the credentials belong to.
    pub environment: Environment,
    /// The OAuth API key's client id.
    pub client_id: String,
    /// The `kid` under which the public key is registered.
    pub key_id: String,
    /// A PEM file, or the bare name of a systemd credential.
    pub private_key: PathBuf,
    /// How assertions are signed.
    pub algorithm: Algorithm,
    /// Needed when the environment has several sources.
    pub source_id: Option<String>,
    /// An OAuth scope, for servers that want one.
    pub scope: Option<String>,
    /// What an upload's body looks like.
    pub upload_body: UploadBody,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy to go through; without it `HTTPS_PROXY` and `NO_PROXY` decide. Never to this computer itself.
    pub proxy: Option<String>,
    /// The longest silence in a request: no piece of it taken, no piece of its answer come.
    pub request_timeout: Duration,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
        pub enum $name {
            $($(#[$item_doc])* #[serde(rename = $word)] $item,)*
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$item => $word,)* })
            }
        }
    };
}

words! {
    /// Redox's environments, as its URLs spell them.
    Environment {
        /// For trying things out.
        Development = "Development",
        /// For the last rehearsal.
        Staging = "Staging",
        /// Real patients.
        Production = "Production",
    }
}

words! {
    /// The signatures that Redox takes.
    Algorithm {
        /// RSA with SHA-384.
        RS384 = "RS384",
        /// ECDSA on P-384 with SHA-384.
        ES384 = "ES384",
    }
}

words! {
    /// The forms of an upload's body; Redox's pages leave open which one it wants.
    UploadBody {
        /// The file's bytes as they are.
        Raw = "raw",
        /// A form with one part named `file`.
        Multipart = "multipart",
        /// A FHIR `Binary` resource in JSON.
        FhirJson = "fhir-json",
    }
}

impl Settings {
    /// `MessageHeader.source.endpoint`: the source when its id is a UUID, else a UUID made from the client id.
    pub fn endpoint(&self) -> String {
        let source = self.source_id.as_deref().and_then(|id| Uuid::try_parse(id).ok());
        let uuid = source.unwrap_or_else(|| Uuid::new_v5(&ENDPOINT_NAMESPACE, self.client_id.as_bytes()));
        uuid.urn().to_string()
    }

    /// The base URL, if a token may be sent there.
    pub(super) fn base(&self) -> Result<Url, SetupError> {
        let refuse = |why: &'static str| SetupError::BaseUrl { url: self.base_url.clone(), why };
        let url = Url::parse(&self.base_url).map_err(|_| refuse("it is not a URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            // Not repeated in the message: it may hold a password.
            return Err(SetupError::BaseUrl { url: "…".into(), why: "it must not hold a user name or a password" });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it must end before any ? or #"));
        }
        match url.scheme() {
            "https" if url.has_host() => Ok(url),
            "http" if is_loopback(&url) => Ok(url),
            "http" => Err(refuse("it must begin with https:// (plain http only reaches this computer itself)")),
            _ => Err(refuse("it must begin with https://")),
        }
    }
}

/// Whether a URL leads to this computer itself.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
pub(super) fn for_tests(base_url: &str) -> Settings {
    Settings {
        base_url: base_url.into(),
        environment: Environment::Staging,
        client_id: "client-1".into(),
        key_id: "key-1".into(),
        private_key: "/nonexistent".into(),
        algorithm: Algorithm::ES384,
        source_id: None,
        scope: None,
        upload_body: UploadBody::Raw,
        ca_file: None,
        proxy: None,
        request_timeout: Duration::from_secs(20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_only_leaves_over_https_or_stays_on_this_computer() {
        for (url, allowed) in [
            ("https://api.redoxengine.com", true),
            ("https://api.redoxengine.com/", true),
            ("http://127.0.0.1:8700", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8700", true),
            ("http://localhost:8700", true),
            ("http://api.redoxengine.com", false),
            ("http://127.0.0.1.example.org", false),
            ("http://localhost.example.org", false),
            ("http://0.0.0.0", false),
            ("ftp://127.0.0.1", false),
            ("https://user:secret@example.org", false),
            ("http://localhost@example.org", false),
            ("https://example.org/?a=b", false),
            ("https://example.org/#a", false),
            ("api.redoxengine.com", false),
            ("", false),
        ] {
            assert_eq!(for_tests(url).base().is_ok(), allowed, "{url}");
        }
        let error = for_tests("https://user:secret@example.org").base().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn words_are_spelled_exactly_so() {
        let read = |word: &str| serde_json::from_value::<UploadBody>(word.into());
        for word in ["raw", "multipart", "fhir-json"] {
            assert_eq!(read(word).unwrap().to_string(), word);
        }
        assert!(read("Raw").is_err());
        assert!(serde_json::from_value::<Environment>("staging".into()).is_err());
        assert_eq!(serde_json::from_value::<Environment>("Staging".into()).unwrap(), Environment::Staging);
        assert_eq!(serde_json::from_value::<Algorithm>("ES384".into()).unwrap(), Algorithm::ES384);
    }

    #[test]
    fn the_endpoint_is_the_source_or_follows_from_the_client() {
        let mut settings = for_tests("https://example.org");
        let from_client = settings.endpoint();
        assert!(from_client.starts_with("urn:uuid:"));
        settings.source_id = Some("front desk".into());
        assert_eq!(settings.endpoint(), from_client);
        settings.source_id = Some("7CE6F387-C33C-417D-8682-81E83628CBD9".into());
        assert_eq!(settings.endpoint(), "urn:uuid:7ce6f387-c33c-417d-8682-81e83628cbd9");
        settings.source_id = None;
        settings.client_id = "client-2".into();
        assert_ne!(settings.endpoint(), from_client);
    }
}
