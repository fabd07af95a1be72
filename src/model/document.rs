//! The nouns that all rooms share: which bytes, whose chart, and what is said of them.

use std::fmt;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use super::{fhir, written_time::WrittenTime};

/// The namespace of every delivery id (a random UUID, fixed for good).
const DELIVERY_NAMESPACE: Uuid = Uuid::from_u128(0x6f4b_1f5a_3c0e_4d7e_9a53_0c1d_8f2b_7e64);

/// A SHA-256 digest; text form: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

/// A SHA-1 digest, as FHIR's `Attachment.hash` wants it; text form: 40 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha1(pub [u8; 20]);

macro_rules! hex_digest {
    ($name:ident, $bytes:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let mut bytes = [0; $bytes];
                if text.len() != 2 * $bytes || !text.is_ascii() {
                    return Err(de::Error::custom("a digest of the wrong length"));
                }
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16)
                        .map_err(|_| de::Error::custom("a digest with a digit that is not hex"))?;
                }
                Ok(Self(bytes))
            }
        }
    };
}
hex_digest!(Sha256, 32);
hex_digest!(Sha1, 20);

/// Where a document goes: environment and slug, e.g. `Staging/redox-fhir-sandbox`.
/// The environment is part of it, so that going live sends what was only tried before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Destination(pub String);

/// What makes two deliveries the same one: content, patient and destination, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Where to.
    pub destination: Destination,
    /// `system|value` of the patient's first identifier; empty for a file that was refused before its patient was known.
    pub patient: String,
    /// The document's bytes; for a file that was refused unread, a fingerprint of its place, size and time.
    pub sha256: Sha256,
}

impl Key {
    /// The key of a document: its patient is named by the smallest identifier, so that their order means nothing.
    pub fn of(destination: &Destination, document: &Document) -> Self {
        let identifiers = &document.patient.identifier;
        let first = identifiers.iter().min_by_key(|identifier| (&identifier.system, &identifier.value));
        Self {
            destination: destination.clone(),
            patient: first.map(Identifier::key).unwrap_or_default(),
            sha256: document.content.sha256,
        }
    }

    /// UUIDv5 over the key's parts, each preceded by its length so that no two keys spell the same name.
    pub fn id(&self) -> DeliveryId {
        let mut name = Vec::new();
        for part in [self.destination.0.as_bytes(), self.patient.as_bytes(), &self.sha256.0] {
            name.extend_from_slice(&(part.len() as u64).to_be_bytes());
            name.extend_from_slice(part);
        }
        DeliveryId(Uuid::new_v5(&DELIVERY_NAMESPACE, &name))
    }
}

/// The name of a delivery, derived from its [`Key`]; as `urn:uuid:` it is the document's `masterIdentifier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub Uuid);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What the bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Digest of all that is sent.
    pub sha256: Sha256,
    /// The same bytes as FHIR wants them hashed.
    pub sha1: Sha1,
    /// Bytes.
    pub size: u64,
    /// MIME type, e.g. `application/pdf`.
    pub mime: String,
    /// The file's own digest, when what is sent was converted from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_sha256: Option<Sha256>,
}

impl Content {
    /// The digest of the file in the inbox, in done or in failed.
    pub fn file_sha256(&self) -> Sha256 {
        self.original_sha256.unwrap_or(self.sha256)
    }
}

/// FHIR's `Coding`, less what nobody sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coding {
    /// URI of the code system.
    pub system: String,
    /// The code.
    pub code: String,
    /// Its words for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

impl Coding {
    /// True for a URI without spaces, a code as FHIR has them, and words if there are any; each short.
    pub fn is_usable(&self) -> bool {
        let plain =
            |text: &str, most: usize| !text.trim().is_empty() && text.len() <= most && !text.contains(char::is_control);
        plain(&self.system, 200)
            && self.system.contains(':')
            && !self.system.contains(char::is_whitespace)
            && plain(&self.code, 64)
            && fhir::is_code(&self.code)
            && self.display.as_deref().is_none_or(|display| plain(display, 200))
    }
}

/// A patient's identifier. Always strings: leading zeros count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identifier {
    /// URI or URN of whoever gives the numbers.
    pub system: String,
    /// The number.
    pub value: String,
    /// A code of `http://terminology.hl7.org/CodeSystem/v2-0203`, such as `MR`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl Identifier {
    /// `system|value`, as keys name it; a `|` or `%` inside is escaped, so that no two identifiers are spelled alike.
    pub fn key(&self) -> String {
        let escaped = |text: &str| text.replace('%', "%25").replace('|', "%7C");
        format!("{}|{}", escaped(&self.system), escaped(&self.value))
    }

    /// What [`Identifier::key`] wrote, or a key of an earlier version, which did not escape.
    pub fn from_key(key: &str) -> Option<Self> {
        let plain = |text: &str| text.replace("%7C", "|").replace("%25", "%");
        let (system, value) = key.rsplit_once('|')?;
        Some(Self { system: plain(system), value: plain(value), kind: None })
    }
}

/// FHIR's `administrative-gender`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Gender {
    Male,
    Female,
    Other,
    Unknown,
}

/// Whose chart: what a patient folder says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patient {
    /// At least one; the first is part of the delivery's [`Key`].
    pub identifier: Vec<Identifier>,
    /// Surname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Given names in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<String>,
    /// Date of birth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<Date>,
    /// Administrative gender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gender: Option<Gender>,
}

/// FHIR's `composition-status`, as `DocumentReference.docStatus` uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum DocStatus {
    Preliminary,
    #[default]
    Final,
    Amended,
    EnteredInError,
}

/// Who wrote the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// US National Provider Identifier, ten digits.
    pub npi: String,
    /// Surname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Given names in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<String>,
}

/// What is said of the document, after the sidecar and the inbox's defaults have been put together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// `attachment.title`; the file's name when nobody gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `DocumentReference.description`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `DocumentReference.date`; the moment we first saw the file when nobody gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<WrittenTime>,
    /// `DocumentReference.type`.
    #[serde(rename = "type")]
    pub kind: Coding,
    /// A code of US Core's document reference categories.
    pub category: String,
    /// `DocumentReference.docStatus`.
    pub status: DocStatus,
    /// `DocumentReference.author`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// The visit number of `DocumentReference.context.encounter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<String>,
}

/// A document that is safe to send: everything that its message says, and that decides which delivery it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The file's own name, without folders.
    pub file_name: String,
    /// Whose chart.
    pub patient: Patient,
    /// What is said of it.
    pub metadata: Metadata,
    /// Its bytes.
    pub content: Content,
}
