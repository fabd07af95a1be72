//! The message: a FHIR Bundle that follows from the document and what the ledger fixed, byte for byte, every time.
//!
//! Invariant: nothing in here looks at the clock, at randomness, or at the file.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    model::document::{Author, DeliveryId, DocStatus, Document, Gender, Metadata, Patient},
    model::message::Message,
    model::written_time::WrittenTime,
};

const EVENT: &str = "https://fhir.redoxengine.com/EventDefinition/DocumentReferenceCreate";
const URI_SYSTEM: &str = "urn:ietf:rfc:3986";
const CATEGORY_SYSTEM: &str = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category";
const IDENTIFIER_TYPE_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
const NPI_SYSTEM: &str = "http://hl7.org/fhir/sid/us-npi";
const ENCOUNTER_CLASS_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// In the place of an embedded file's bytes. As a member's value it cannot be mistaken for text that somebody typed:
/// inside a JSON string the quotes around it would be escaped.
const MARKER: &str = "FILE";

/// A Bundle of type `message`, ready to be written.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    resource_type: &'static str,
    id: Uuid,
    identifier: FhirIdentifier,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    entry: Vec<Entry>,
}

/// A Bundle's bytes, with a place for the file when that is embedded.
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
    /// What comes before and after the file in base64.
    Around { prefix: Bytes, suffix: Bytes },
}

impl Bundle {
    /// The bytes to send.
    pub(super) fn body(&self) -> serde_json::Result<Body> {
        let bytes = Bytes::from(serde_json::to_vec(self)?);
        let hole = format!("\"data\":\"{MARKER}\"");
        let Some(at) = bytes.windows(hole.len()).position(|window| window == hole.as_bytes()) else {
            return Ok(Body::Whole(bytes));
        };
        let end = at + hole.len() - 1;
        Ok(Body::Around { prefix: bytes.slice(..end - MARKER.len()), suffix: bytes.slice(end..) })
    }
}

/// Builds the message of a delivery. The same arguments give the same bytes; a retry is therefore byte-identical.
pub fn build(document: &Document, id: DeliveryId, first_seen: Timestamp, message: &Message) -> Bundle {
    let names = Names { delivery: id, bundle: message.bundle };
    let reference = names.of("DocumentReference");
    let patient = names.of("Patient");
    let author = document.metadata.author.as_ref().and_then(Practitioner::new);
    let visit = document.metadata.visit.as_deref().and_then(text);

    let described = document_reference(document, id, first_seen, message, &names);
    let mut entries = vec![
        entry("MessageHeader", message.header, Resource::MessageHeader(MessageHeader::new(message, reference))),
        entry("DocumentReference", reference, Resource::DocumentReference(Box::new(described))),
        entry("Patient", patient, Resource::Patient(FhirPatient::new(&document.patient))),
    ];
    entries.extend(author.map(|it| entry("Practitioner", names.of("Practitioner"), Resource::Practitioner(it))));
    let encounter = visit.map(|number| Encounter::new(number, patient));
    entries.extend(encounter.map(|it| entry("Encounter", names.of("Encounter"), Resource::Encounter(it))));
    Bundle {
        resource_type: "Bundle",
        id: message.bundle,
        identifier: FhirIdentifier::urn(message.bundle),
        kind: "message",
        timestamp: instant(message.timestamp),
        entry: entries,
    }
}

fn document_reference(
    document: &Document,
    id: DeliveryId,
    first_seen: Timestamp,
    message: &Message,
    names: &Names,
) -> DocumentReference {
    let metadata: &Metadata = &document.metadata;
    let display = metadata.kind.display.as_deref().and_then(text);
    let kind = FhirCoding::new(&metadata.kind.system, &metadata.kind.code, display.clone());
    let encounter = metadata.visit.as_deref().and_then(text).map(|_| Reference::to(names.of("Encounter")));
    let title = metadata.title.as_deref().and_then(text).or_else(|| text(&document.file_name));
    DocumentReference {
        master_identifier: FhirIdentifier::urn(id.0),
        identifier: [FhirIdentifier::urn(id.0)],
        status: "current",
        doc_status: metadata.status,
        kind: kind.map(|kind| Concept { text: display.or_else(|| kind.code.clone()), coding: [kind] }),
        category: FhirCoding::new(CATEGORY_SYSTEM, &metadata.category, None).map(|code| [Concept::of(code)]),
        subject: Reference::to(names.of("Patient")),
        date: metadata.date.unwrap_or(WrittenTime::utc(first_seen)).instant(),
        author: metadata.author.as_ref().and_then(Practitioner::new).map(|_| [Reference::to(names.of("Practitioner"))]),
        description: metadata.description.as_deref().and_then(text),
        content: [Content {
            attachment: Attachment {
                content_type: text(&document.content.mime),
                data: message.upload.is_none().then_some(MARKER),
                url: message.upload.as_ref().map(|upload| upload.location.clone()),
                size: document.content.size,
                hash: STANDARD.encode(document.content.sha1.0),
                title,
            },
        }],
        context: encounter.map(|encounter| Context { encounter: [encounter] }),
    }
}

/// FHIR's `instant`: seconds and zone, always.
fn instant(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// A string as FHIR allows it: no control characters, nothing around it, never empty.
fn text(raw: &str) -> Option<String> {
    let clean = raw.replace(char::is_control, " ");
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

fn texts(raw: &[String]) -> Vec<String> {
    raw.iter().filter_map(|raw| text(raw)).collect()
}

/// The ids of one message's resources: other ones for every message, the same for every try of it.
struct Names {
    delivery: DeliveryId,
    bundle: Uuid,
}

impl Names {
    fn of(&self, resource: &str) -> Uuid {
        Uuid::new_v5(&self.delivery.0, &[self.bundle.as_bytes(), resource.as_bytes()].concat())
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    full_url: String,
    resource: Identified,
}

fn entry(resource_type: &'static str, id: Uuid, resource: Resource) -> Entry {
    Entry { full_url: id.urn().to_string(), resource: Identified { resource_type, id, resource } }
}

/// `id` equals the uuid of `fullUrl`, so that references of either style resolve.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Identified {
    resource_type: &'static str,
    id: Uuid,
    #[serde(flatten)]
    resource: Resource,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Resource {
    MessageHeader(MessageHeader),
    DocumentReference(Box<DocumentReference>),
    Patient(FhirPatient),
    Practitioner(Practitioner),
    Encounter(Encounter),
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageHeader {
    event_uri: &'static str,
    source: Source,
    focus: [Reference; 1],
}

impl MessageHeader {
    fn new(message: &Message, focus: Uuid) -> Self {
        let source = Source { name: "chartdrop", endpoint: message.endpoint.clone() };
        Self { event_uri: EVENT, source, focus: [Reference::to(focus)] }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Source {
    name: &'static str,
    endpoint: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentReference {
    master_identifier: FhirIdentifier,
    identifier: [FhirIdentifier; 1],
    status: &'static str,
    doc_status: DocStatus,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Concept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<[Concept; 1]>,
    subject: Reference,
    date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<[Reference; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    content: [Content; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
}

#[derive(Clone, Debug, Serialize)]
struct Content {
    attachment: Attachment,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    size: u64,
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Context {
    encounter: [Reference; 1],
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FhirPatient {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    identifier: Vec<FhirIdentifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<[HumanName; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gender: Option<Gender>,
    #[serde(skip_serializing_if = "Option::is_none")]
    birth_date: Option<Date>,
}

impl FhirPatient {
    fn new(patient: &Patient) -> Self {
        let identifier = patient.identifier.iter().filter_map(|identifier| {
            let kind = identifier.kind.as_deref().and_then(|code| FhirCoding::new(IDENTIFIER_TYPE_SYSTEM, code, None));
            Some(FhirIdentifier {
                kind: kind.map(Concept::of),
                system: text(&identifier.system),
                value: text(&identifier.value)?,
            })
        });
        Self {
            identifier: identifier.collect(),
            name: HumanName::new(patient.family.as_deref(), &patient.given),
            gender: patient.gender,
            birth_date: patient.birth_date,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Practitioner {
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier: Option<[FhirIdentifier; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<[HumanName; 1]>,
}

impl Practitioner {
    /// `None` when nothing is said of the author.
    fn new(author: &Author) -> Option<Self> {
        let npi = text(&author.npi);
        let identifier = npi.map(|value| [FhirIdentifier { kind: None, system: Some(NPI_SYSTEM.into()), value }]);
        let name = HumanName::new(author.family.as_deref(), &author.given);
        (identifier.is_some() || name.is_some()).then_some(Self { identifier, name })
    }
}

/// R4 wants a status and a class, and all that is known is the visit's number. A status can be said to be unknown. The
/// class is `AMB` because clinics' visits are ambulatory and every receiver knows the code; the vocabulary's own
/// "unknown" is outside of the value set, and receivers refuse whole messages for less.
#[derive(Clone, Debug, Serialize)]
struct Encounter {
    identifier: [FhirIdentifier; 1],
    status: &'static str,
    class: FhirCoding,
    subject: Reference,
}

impl Encounter {
    fn new(visit: String, patient: Uuid) -> Self {
        let coding = |system: &str, code: &str, display: &str| FhirCoding {
            system: Some(system.into()),
            code: Some(code.into()),
            display: Some(display.into()),
        };
        let kind = Concept::of(coding(IDENTIFIER_TYPE_SYSTEM, "VN", "Visit number"));
        Self {
            identifier: [FhirIdentifier { kind: Some(kind), system: None, value: visit }],
            status: "unknown",
            class: coding(ENCOUNTER_CLASS_SYSTEM, "AMB", "ambulatory"),
            subject: Reference::to(patient),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct FhirIdentifier {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Concept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    value: String,
}

impl FhirIdentifier {
    fn urn(id: Uuid) -> Self {
        Self { kind: None, system: Some(URI_SYSTEM.into()), value: id.urn().to_string() }
    }
}

#[derive(Clone, Debug, Serialize)]
struct HumanName {
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    given: Vec<String>,
}

impl HumanName {
    fn new(family: Option<&str>, given: &[String]) -> Option<[Self; 1]> {
        let name = Self { family: family.and_then(text), given: texts(given) };
        (name.family.is_some() || !name.given.is_empty()).then_some([name])
    }
}

#[derive(Clone, Debug, Serialize)]
struct Concept {
    coding: [FhirCoding; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl Concept {
    fn of(coding: FhirCoding) -> Self {
        Self { coding: [coding], text: None }
    }
}

#[derive(Clone, Debug, Serialize)]
struct FhirCoding {
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<String>,
}

impl FhirCoding {
    /// `None` without a code: a system alone says nothing.
    fn new(system: &str, code: &str, display: Option<String>) -> Option<Self> {
        Some(Self { system: text(system), code: Some(text(code)?), display })
    }
}

#[derive(Clone, Debug, Serialize)]
struct Reference {
    reference: String,
}

impl Reference {
    fn to(id: Uuid) -> Self {
        Self { reference: id.urn().to_string() }
    }
}

#[cfg(test)]
pub(super) mod tests;
