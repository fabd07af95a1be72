//! Judges a message: a pure function of the Bundle, with every rule that Redox, FHIR R4 and this operation state.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use serde_json::Value;

use super::create::hex;

const EVENT: &str = "https://fhir.redoxengine.com/EventDefinition/DocumentReferenceCreate";
const NPI: &str = "http://hl7.org/fhir/sid/us-npi";

/// What a good message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// `Bundle.id`.
    pub bundle_id: String,
    /// `MessageHeader.id`.
    pub header_id: String,
    /// `masterIdentifier.value`.
    pub master_identifier: String,
    /// The patient's identifiers.
    pub patient_identifiers: Vec<PatientIdentifier>,
    /// The patient's birth date, if it is said.
    pub patient_birth_date: Option<String>,
    /// The code of the document's type.
    pub type_code: String,
    /// `attachment.title`.
    pub title: String,
    /// `attachment.contentType`.
    pub content_type: String,
    /// `attachment.size`.
    pub size: u64,
    /// `attachment.hash`, base64.
    pub sha1: String,
    /// Of the bytes, in hex; filled in from the upload when the file is not in the message.
    pub sha256: String,
    /// Where the bytes are.
    #[serde(rename = "method")]
    pub attachment: Attachment,
}

/// System and value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatientIdentifier {
    /// Who gives the numbers.
    pub system: String,
    /// The number.
    pub value: String,
}

/// Where the bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// At the URL that an upload gave.
    Upload(String),
    /// In the message.
    Embed,
}

/// The method's name; the URL stays a secret between the client and us.
impl Serialize for Attachment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Upload(_) => "upload",
            Self::Embed => "embed",
        })
    }
}

/// The first resource of a type; null when there is none.
pub(super) fn resource(bundle: &Value, kind: &str) -> Value {
    resources(bundle).find(|resource| resource["resourceType"] == kind).cloned().unwrap_or_default()
}

fn resources(bundle: &Value) -> impl Iterator<Item = &Value> {
    bundle["entry"].as_array().into_iter().flatten().map(|entry| &entry["resource"])
}

/// What the message says, or all that is wrong with it.
pub fn judge(bundle: &Value) -> Result<Facts, Vec<String>> {
    let mut judge = Judge { bundle, problems: Vec::new() };
    judge.nothing_is_empty(bundle, "Bundle");
    judge.envelope();
    judge.entries();
    judge.header();
    judge.document();
    judge.patient();
    judge.others();
    let facts = judge.facts();
    match facts {
        Some(facts) if judge.problems.is_empty() => Ok(facts),
        _ => {
            judge.problems.dedup();
            Err(judge.problems)
        }
    }
}

struct Judge<'a> {
    bundle: &'a Value,
    problems: Vec<String>,
}

impl Judge<'_> {
    fn need(&mut self, holds: bool, problem: &str) {
        if !holds {
            self.problems.push(problem.to_owned());
        }
    }

    /// FHIR: no element is empty, and nothing is null.
    fn nothing_is_empty(&mut self, value: &Value, place: &str) {
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        self.need(!empty, &format!("{place} is empty"));
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.nothing_is_empty(item, place)),
            Value::Object(fields) => {
                fields.iter().for_each(|(name, field)| self.nothing_is_empty(field, &format!("{place}.{name}")));
            }
            _ => {}
        }
    }

    fn envelope(&mut self) {
        let bundle = self.bundle;
        self.need(bundle["resourceType"] == "Bundle", "resourceType is not Bundle");
        self.need(bundle["type"] == "message", "Bundle.type is not message");
        self.need(is_id(&bundle["id"]), "Bundle.id is not an id");
        let identifier = &bundle["identifier"]["value"];
        let id = bundle["id"].as_str().unwrap_or_default();
        self.need(
            *identifier == format!("urn:uuid:{id}").as_str() || *identifier == id,
            "Bundle.identifier is not Bundle.id",
        );
        self.need(is_instant(&bundle["timestamp"]), "Bundle.timestamp is not an instant");
        self.only(bundle, &["resourceType", "id", "identifier", "type", "timestamp", "entry", "meta"], "Bundle");
    }

    fn only(&mut self, value: &Value, known: &[&str], place: &str) {
        let unknown: Vec<_> = value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .filter(|name| !known.contains(&name.as_str()))
            .collect();
        self.need(unknown.is_empty(), &format!("{place} has elements that do not belong there"));
    }

    fn entries(&mut self) {
        let entries = self.bundle["entry"].as_array().cloned().unwrap_or_default();
        let mut names = HashSet::new();
        for entry in &entries {
            let full_url = entry["fullUrl"].as_str().unwrap_or_default();
            let resource = &entry["resource"];
            let uuid = full_url.strip_prefix("urn:uuid:").unwrap_or_default();
            self.need(is_uuid(uuid), "fullUrl is not urn:uuid: and a lower-case uuid");
            self.need(resource["id"] == uuid, "resource.id is not the uuid of its fullUrl");
            self.need(names.insert(full_url.to_owned()), "two entries have the same fullUrl");
            names.insert(format!("{}/{uuid}", resource["resourceType"].as_str().unwrap_or_default()));
        }
        let mut references = Vec::new();
        references_in(self.bundle, &mut references);
        for reference in references {
            self.need(names.contains(reference), "a reference leads to nothing in the Bundle");
        }
        let kinds: Vec<_> =
            resources(self.bundle).map(|resource| resource["resourceType"].as_str().unwrap_or_default()).collect();
        let count = |kind: &str| kinds.iter().filter(|found| **found == kind).count();
        self.need(kinds.first() == Some(&"MessageHeader"), "entry[0] is not the MessageHeader");
        self.need(count("MessageHeader") == 1, "there is not exactly one MessageHeader");
        self.need(count("DocumentReference") == 1, "there is not exactly one DocumentReference");
        self.need(count("Patient") == 1, "there is not exactly one Patient");
        self.need(
            count("Practitioner") <= 1 && count("Encounter") <= 1,
            "there are too many Practitioners or Encounters",
        );
        let known = ["MessageHeader", "DocumentReference", "Patient", "Practitioner", "Encounter"];
        self.need(kinds.iter().all(|kind| known.contains(kind)), "there is a resource that does not belong there");
    }

    fn header(&mut self) {
        let header = &resource(self.bundle, "MessageHeader");
        self.need(header["eventUri"] == EVENT, "MessageHeader.eventUri is not DocumentReferenceCreate");
        self.need(header["source"]["name"].is_string(), "MessageHeader.source.name is missing");
        let endpoint = header["source"]["endpoint"].as_str().unwrap_or_default();
        self.need(endpoint.contains(':'), "MessageHeader.source.endpoint is not a URL");
        let document = self.leads_to(&header["focus"][0], "DocumentReference");
        self.need(
            document && header["focus"].as_array().is_some_and(|focus| focus.len() == 1),
            "MessageHeader.focus is not the document",
        );
        self.only(header, &["resourceType", "id", "eventUri", "source", "focus"], "MessageHeader");
    }

    fn leads_to(&self, reference: &Value, kind: &str) -> bool {
        let reference = reference["reference"].as_str().unwrap_or_default();
        self.bundle["entry"].as_array().into_iter().flatten().any(|entry| {
            let id = entry["resource"]["id"].as_str().unwrap_or_default();
            entry["resource"]["resourceType"] == kind
                && (entry["fullUrl"] == reference || format!("{kind}/{id}") == reference)
        })
    }

    fn document(&mut self) {
        let document = &resource(self.bundle, "DocumentReference");
        let master = &document["masterIdentifier"];
        self.need(master["system"] == "urn:ietf:rfc:3986", "masterIdentifier.system is not urn:ietf:rfc:3986");
        let uuid = master["value"].as_str().and_then(|value| value.strip_prefix("urn:uuid:")).unwrap_or_default();
        self.need(is_uuid(uuid), "masterIdentifier.value is not urn:uuid: and a uuid");
        self.need(document["identifier"][0]["value"] == master["value"], "identifier[0] is not the masterIdentifier");
        self.need(document["status"] == "current", "status is not current");
        let status = document["docStatus"].as_str().unwrap_or_default();
        self.need(
            ["preliminary", "final", "amended", "entered-in-error"].contains(&status),
            "docStatus is no such code",
        );
        self.need(
            is_concept(&document["type"]) && document["type"]["text"].is_string(),
            "type needs a coding and a text",
        );
        let categories = document["category"].as_array().cloned().unwrap_or_default();
        self.need(!categories.is_empty() && categories.iter().all(is_concept), "category needs a coding");
        self.need(self.leads_to(&document["subject"], "Patient"), "subject is not the Patient");
        self.need(is_instant(&document["date"]), "date is not an instant");
        if let Some(authors) = document["author"].as_array() {
            let all = authors.iter().all(|author| self.leads_to(author, "Practitioner"));
            self.need(all, "author is not the Practitioner");
        }
        if document["context"].is_object() {
            let encounter = self.leads_to(&document["context"]["encounter"][0], "Encounter");
            self.need(encounter, "context.encounter is not the Encounter");
        }
        self.need(
            document["content"].as_array().is_some_and(|content| content.len() == 1),
            "there is not exactly one content",
        );
        self.attachment(&document["content"][0]["attachment"]);
        let known = [
            "resourceType",
            "id",
            "masterIdentifier",
            "identifier",
            "status",
            "docStatus",
            "type",
            "category",
            "subject",
            "date",
            "author",
            "description",
            "content",
            "context",
        ];
        self.only(document, &known, "DocumentReference");
    }

    fn attachment(&mut self, attachment: &Value) {
        self.need(
            attachment["contentType"].as_str().is_some_and(|mime| mime.contains('/')),
            "contentType is not a MIME type",
        );
        self.need(attachment["title"].is_string(), "title is missing");
        let hash = attachment["hash"].as_str().and_then(|hash| STANDARD.decode(hash).ok());
        self.need(hash.as_ref().is_some_and(|hash| hash.len() == 20), "hash is not base64 of 20 bytes");
        self.need(attachment["size"].as_u64().is_some_and(|size| size <= 2_147_483_647), "size is not an unsignedInt");
        self.need(attachment["url"].is_string() != attachment["data"].is_string(), "there must be either url or data");
        if let Some(data) = attachment["data"].as_str() {
            match STANDARD.decode(data) {
                Ok(bytes) => {
                    self.need(attachment["size"] == bytes.len(), "size is not the data's");
                    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes);
                    self.need(hash.as_deref() == Some(sha1.as_ref()), "hash is not the data's");
                }
                Err(_) => self.need(false, "data is not base64"),
            }
        }
        self.only(attachment, &["contentType", "url", "data", "title", "size", "hash", "creation"], "attachment");
    }

    fn patient(&mut self) {
        let patient = &resource(self.bundle, "Patient");
        let identifiers = patient["identifier"].as_array().cloned().unwrap_or_default();
        self.need(!identifiers.is_empty(), "the Patient has no identifier");
        for identifier in &identifiers {
            self.need(identifier["value"].is_string(), "an identifier's value is not a string");
            let system = identifier["system"].as_str().unwrap_or_default();
            self.need(
                system.contains(':') && !system.contains(char::is_whitespace),
                "an identifier's system is not a URI",
            );
        }
        let date = |value: &Value| value.as_str().is_some_and(|text| text.len() == 10 && text.parse::<Date>().is_ok());
        self.need(patient.get("birthDate").is_none_or(date), "birthDate is not a date");
        let gender = |value: &Value| ["male", "female", "other", "unknown"].iter().any(|code| value == code);
        self.need(patient.get("gender").is_none_or(gender), "gender is no such code");
        if let Some(names) = patient.get("name") {
            let named = |name: &Value| name["family"].is_string() || name["given"].is_array();
            self.need(names.as_array().is_some_and(|names| names.iter().all(named)), "a name has no part");
        }
        self.only(patient, &["resourceType", "id", "identifier", "name", "birthDate", "gender"], "Patient");
    }

    fn others(&mut self) {
        let practitioner = &resource(self.bundle, "Practitioner");
        if practitioner.is_object() {
            let npi = practitioner["identifier"][0]["value"].as_str().unwrap_or_default();
            let good = npi.len() == 10 && npi.bytes().all(|byte| byte.is_ascii_digit());
            self.need(good && practitioner["identifier"][0]["system"] == NPI, "the Practitioner has no NPI");
        }
        let encounter = &resource(self.bundle, "Encounter");
        if encounter.is_object() {
            self.need(encounter["identifier"][0]["value"].is_string(), "the Encounter has no visit number");
            self.need(
                encounter["status"].is_string() && encounter["class"]["code"].is_string(),
                "the Encounter needs status and class",
            );
        }
    }

    fn facts(&self) -> Option<Facts> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let document = resource(self.bundle, "DocumentReference");
        let patient = resource(self.bundle, "Patient");
        let attachment = &document["content"][0]["attachment"];
        let identifier =
            |value: &Value| Some(PatientIdentifier { system: text(&value["system"])?, value: text(&value["value"])? });
        let data = attachment["data"].as_str().and_then(|data| STANDARD.decode(data).ok());
        Some(Facts {
            bundle_id: text(&self.bundle["id"])?,
            header_id: text(&resource(self.bundle, "MessageHeader")["id"])?,
            master_identifier: text(&document["masterIdentifier"]["value"])?,
            patient_identifiers: patient["identifier"].as_array()?.iter().map(identifier).collect::<Option<_>>()?,
            patient_birth_date: text(&patient["birthDate"]),
            type_code: text(&document["type"]["coding"][0]["code"])?,
            title: text(&attachment["title"])?,
            content_type: text(&attachment["contentType"])?,
            size: attachment["size"].as_u64()?,
            sha1: text(&attachment["hash"])?,
            sha256: data.as_ref().map(|data| hex(digest(&SHA256, data).as_ref())).unwrap_or_default(),
            attachment: match text(&attachment["url"]) {
                Some(url) => Attachment::Upload(url),
                None => Attachment::Embed,
            },
        })
    }
}

fn references_in<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references_in(item, found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().filter(|_| name == "reference") {
                    Some(reference) => found.push(reference),
                    None => references_in(field, found),
                }
            }
        }
        _ => {}
    }
}

/// FHIR: `[A-Za-z0-9\-\.]{1,64}`.
fn is_id(value: &Value) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    value.as_str().is_some_and(|id| (1..=64).contains(&id.len()) && id.bytes().all(good))
}

fn is_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok_and(|uuid| uuid.hyphenated().to_string() == text)
}

/// FHIR's `instant`: to the second at least, and with a zone.
fn is_instant(value: &Value) -> bool {
    let shape = |text: &str| text.len() >= 20 && text.as_bytes()[10] == b'T' && text.as_bytes()[16] == b':';
    value.as_str().is_some_and(|text| shape(text) && text.parse::<Timestamp>().is_ok())
}

fn is_concept(value: &Value) -> bool {
    let coding = &value["coding"][0];
    coding["system"].as_str().is_some_and(|system| system.contains(':')) && coding["code"].is_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn uuid(n: u32) -> String {
        format!("00000000-0000-4000-8000-{n:012}")
    }

    fn entry(n: u32, mut resource: Value) -> Value {
        resource["id"] = uuid(n).into();
        json!({ "fullUrl": format!("urn:uuid:{}", uuid(n)), "resource": resource })
    }

    fn reference(n: u32) -> Value {
        json!({ "reference": format!("urn:uuid:{}", uuid(n)) })
    }

    fn good() -> Value {
        let master = json!({ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", uuid(9)) });
        let concept =
            json!({ "coding": [{ "system": "http://loinc.org", "code": "57133-1" }], "text": "Referral note" });
        let data = b"hello";
        let hash = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, data).as_ref());
        let attachment = json!({ "contentType": "text/plain", "data": STANDARD.encode(data), "title": "a.txt", "size": 5, "hash": hash });
        json!({
            "resourceType": "Bundle", "id": uuid(1), "type": "message", "timestamp": "2026-11-24T10:00:00Z",
            "identifier": { "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", uuid(1)) },
            "entry": [
                entry(2, json!({ "resourceType": "MessageHeader", "eventUri": EVENT, "focus": [reference(3)],
                    "source": { "name": "chartdrop", "endpoint": format!("urn:uuid:{}", uuid(8)) } })),
                entry(3, json!({ "resourceType": "DocumentReference", "masterIdentifier": master, "identifier": [master],
                    "status": "current", "docStatus": "final", "type": concept, "category": [concept], "subject": reference(4),
                    "date": "2026-11-20T15:30:00.5-06:00", "author": [reference(5)], "content": [{ "attachment": attachment }],
                    "context": { "encounter": [reference(6)] } })),
                entry(4, json!({ "resourceType": "Patient", "identifier": [{ "system": "urn:x", "value": "0000000001" }],
                    "name": [{ "family": "Bixby" }], "birthDate": "2008-01-06", "gender": "male" })),
                entry(5, json!({ "resourceType": "Practitioner", "identifier": [{ "system": NPI, "value": "1234567893" }] })),
                entry(6, json!({ "resourceType": "Encounter", "identifier": [{ "value": "V-1" }], "status": "unknown",
                    "class": { "code": "AMB" } })),
            ],
        })
    }

    #[test]
    fn a_good_message_is_taken() {
        let facts = judge(&good()).unwrap();
        assert_eq!((facts.size, facts.attachment, facts.type_code.as_str()), (5, Attachment::Embed, "57133-1"));
    }

    #[test]
    fn every_planted_fault_is_found() {
        let planted: [(&str, Value); 34] = [
            ("/type", json!("batch")),
            ("/id", json!("under_score")),
            ("/timestamp", json!("2026-11-24")),
            ("/timestamp", json!("2026-11-24T10:00:00")),
            ("/identifier/value", json!("urn:uuid:other")),
            ("/entry/0/fullUrl", json!("urn:uuid:00000000-0000-4000-8000-00000000000A")),
            ("/entry/0/resource/id", json!(uuid(7))),
            (
                "/entry/0/resource/eventUri",
                json!("https://fhir.redoxengine.com/EventDefinition/DocumentReferenceCreated"),
            ),
            ("/entry/0/resource/eventCoding", json!({ "code": "x" })),
            ("/entry/0/resource/destination", json!([{ "endpoint": "x" }])),
            ("/entry/0/resource/focus/0", reference(4)),
            ("/entry/0/resource/source", json!({ "name": "x" })),
            ("/entry/1/resource/status", json!("final")),
            ("/entry/1/resource/docStatus", json!("finished")),
            ("/entry/1/resource/masterIdentifier/value", json!("9")),
            ("/entry/1/resource/identifier/0/value", json!("9")),
            ("/entry/1/resource/type", json!("letter")),
            ("/entry/1/resource/category", json!([])),
            ("/entry/1/resource/subject", reference(5)),
            ("/entry/1/resource/subject", reference(77)),
            ("/entry/1/resource/date", json!("2026-11-20T15:30Z")),
            ("/entry/1/resource/author", json!([reference(4)])),
            ("/entry/1/resource/description", json!("")),
            ("/entry/1/resource/content", json!([])),
            ("/entry/1/resource/content/0/attachment/size", json!(6)),
            ("/entry/1/resource/content/0/attachment/size", json!("5")),
            ("/entry/1/resource/content/0/attachment/hash", json!("aGVsbG8=")),
            ("/entry/1/resource/content/0/attachment/data", json!("%%")),
            ("/entry/1/resource/content/0/attachment/url", json!("http://x")),
            ("/entry/2/resource/identifier/0/value", json!(1)),
            ("/entry/2/resource/birthDate", json!("2008-13-06")),
            ("/entry/2/resource/gender", json!("m")),
            ("/entry/3/resource/identifier/0/value", json!("123")),
            ("/entry/4/resource/status", json!(null)),
        ];
        for (pointer, value) in planted {
            let mut bundle = good();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            match bundle.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
                fields => fields[name] = value.clone(),
            }
            assert!(judge(&bundle).is_err(), "{pointer} = {value}");
        }
    }

    #[test]
    fn resources_that_do_not_belong_are_found() {
        let mut twice = good();
        let patient = twice["entry"][2].clone();
        twice["entry"].as_array_mut().unwrap().push(patient);
        assert!(judge(&twice).is_err());
        let mut moved = good();
        moved["entry"].as_array_mut().unwrap().swap(0, 1);
        assert!(judge(&moved).is_err());
    }
}
