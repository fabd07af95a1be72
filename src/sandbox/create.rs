//! The message endpoint, and the search that tells whether a message had arrived.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    State,
    answer::{Body, Cut, json as answer_json, read},
    bundle::{self, Attachment},
    oauth::form,
    record::{Message, fresh_id},
};

/// `POST /fhir/R4/{destination}/{environment}/DocumentReference/$documentreference-create`.
pub(super) async fn create(
    state: &State,
    destination: &str,
    environment: String,
    source_id: Option<String>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let refuse = |status, code, why: &str| Ok(state.refuse("create", status, code, why));
    let is_fhir = |value: &HeaderValue| value.to_str().is_ok_and(|mime| mime.starts_with("application/fhir+json"));
    if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_fhir) {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-supported",
            "Content-Type must be application/fhir+json",
        );
    }
    if !request.headers().get(header::ACCEPT).is_some_and(is_fhir) {
        return refuse(StatusCode::NOT_ACCEPTABLE, "not-supported", "Accept must be application/fhir+json");
    }
    let Some(body) = read(request, state.options.request_limit).await? else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "the request is too large");
    };
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "structure", "not JSON");
    };
    let facts = match bundle::judge(&message) {
        Ok(facts) => facts,
        Err(problems) => return refuse(StatusCode::BAD_REQUEST, "invalid", &problems.join("; ")),
    };
    if let Err(why) = file_is_right(state, &facts, &environment, source_id.as_deref()) {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid", why);
    }
    let mut facts = facts;
    if let Attachment::Upload(url) = &facts.attachment {
        facts.sha256 = state.record.upload(url).map(|upload| upload.sha256).unwrap_or_default();
    }
    let id = fresh_id();
    state.record.accept(Message {
        at: Timestamp::now(),
        destination: destination.into(),
        environment,
        source_id,
        bundle_sha256: hex(digest(&SHA256, &body).as_ref()),
        duplicate_of_bundle: false,
        facts,
        bundle: message,
    });
    // The form seen from Redox's own sandbox destination.
    let entry = json!([{ "response": { "status": "201 Created", "location": format!("DocumentReference/{id}") } }]);
    let mut response =
        answer_json(StatusCode::OK, &json!({ "resourceType": "Bundle", "type": "message", "entry": entry }));
    if let Ok(id) = fresh_id().parse() {
        response.headers_mut().insert("x-request-id", id);
    }
    Ok(response)
}

/// The attachment is what it says: an upload of this source, or data of this size and hash.
fn file_is_right(
    state: &State,
    facts: &bundle::Facts,
    environment: &str,
    source_id: Option<&str>,
) -> Result<(), &'static str> {
    match &facts.attachment {
        Attachment::Upload(url) => {
            let upload = state.record.upload(url).ok_or("attachment.url is not one that an upload gave")?;
            if upload.environment != environment || upload.source_id.as_deref() != source_id {
                return Err("the upload is another environment's or source's");
            }
            if upload.mime != facts.content_type {
                return Err("contentType is not the uploaded one");
            }
            if upload.size != facts.size || STANDARD.encode(&upload.sha1) != facts.sha1 {
                return Err("size or hash is not the uploaded file's");
            }
            Ok(())
        }
        Attachment::Embed => Ok(()),
    }
}

/// `POST /fhir/R4/{destination}/{environment}/DocumentReference/_search`, by `identifier=system|value`.
pub(super) async fn search(state: &State, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let form = form(&read(request, 64 * 1024).await?.unwrap_or_default());
    let Some((_, wanted)) = form.get("identifier").and_then(|identifier| identifier.split_once('|')) else {
        return Ok(state.refuse("search", StatusCode::BAD_REQUEST, "required", "identifier=system|value is needed"));
    };
    let found: Vec<Value> = state
        .record
        .find(wanted)
        .into_iter()
        .map(|message| json!({ "resource": bundle::resource(&message.bundle, "DocumentReference"), "search": { "mode": "match" } }))
        .collect();
    let mut answer = json!({ "resourceType": "Bundle", "type": "searchset", "total": found.len() });
    if !found.is_empty() {
        answer["entry"] = found.into();
    }
    Ok(answer_json(StatusCode::OK, &answer))
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
