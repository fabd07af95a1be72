//! The upload endpoint: takes a file as it streams by, keeps its digests, and returns where it is.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    State,
    answer::{Body, Cut, json as answer_json},
    record::{Upload, fresh_id},
};

/// The MIME types that are taken, with how such a file begins; empty: anything.
const TAKEN: [(&str, &[&[u8]]); 9] = [
    ("application/pdf", &[b"%PDF-"]),
    ("image/tiff", &[b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]),
    ("image/jpeg", &[b"\xff\xd8\xff"]),
    ("image/png", &[b"\x89PNG\r\n\x1a\n"]),
    ("application/rtf", &[b"{\\rtf"]),
    ("text/rtf", &[b"{\\rtf"]),
    ("text/plain", &[]),
    ("text/xml", &[]),
    ("application/xml", &[]),
];

/// What is known of a file when all of it has come.
#[derive(Debug)]
struct Received {
    mime: String,
    size: u64,
    sha1: Vec<u8>,
    sha256: String,
    head: Vec<u8>,
}

/// `POST /fhir/R4/redox/{environment}/Binary`.
pub(super) async fn upload(
    state: &State,
    environment: String,
    source_id: Option<String>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let refuse = |status, code, why| Ok(state.refuse("binary", status, code, why));
    if state.options.free_account && environment == "Development" {
        return refuse(
            StatusCode::FORBIDDEN,
            "forbidden",
            "uploads are not available in a free development environment",
        );
    }
    let length = |value: &HeaderValue| value.to_str().ok()?.parse::<u64>().ok();
    let Some(length) = request.headers().get(header::CONTENT_LENGTH).and_then(length) else {
        return refuse(StatusCode::LENGTH_REQUIRED, "required", "Content-Length is needed");
    };
    let mime = request.headers().get(header::CONTENT_TYPE).and_then(|mime| mime.to_str().ok()).unwrap_or_default();
    let mime = mime.to_owned();
    // Wrapped bodies are larger than their file: base64 by a third.
    if length > state.options.upload_limit * if is_raw(&mime) { 1 } else { 2 } {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "the file is larger than 30 MB");
    }
    let received = match mime.as_str() {
        "application/fhir+json" => fhir_json(&whole(request).await?),
        boundary if boundary.starts_with("multipart/form-data") => multipart(boundary, &whole(request).await?),
        _ => Ok(raw(&mime, request).await?),
    };
    let received = match received {
        Ok(received) => received,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, "invalid", why),
    };
    if received.size == 0 {
        return refuse(StatusCode::BAD_REQUEST, "required", "the file is empty");
    }
    if received.size > state.options.upload_limit {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "the file is larger than 30 MB");
    }
    if !is_taken(&received) {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-supported",
            "the file is not of a type that is taken, or not of the type it says",
        );
    }
    let url = format!("{}/fhir/R4/redox/{environment}/Binary/{}?k={}", state.base_url, fresh_id(), fresh_id());
    let mut response = answer_json(StatusCode::CREATED, &json!({}));
    if let Ok(location) = url.parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    let Received { mime, size, sha1, sha256, .. } = received;
    state.record.uploaded(Upload { url, environment, source_id, mime, size, sha1, sha256 });
    Ok(response)
}

fn is_raw(mime: &str) -> bool {
    mime != "application/fhir+json" && !mime.starts_with("multipart/form-data")
}

fn is_taken(received: &Received) -> bool {
    let taken = TAKEN.iter().find(|(mime, _)| *mime == received.mime);
    // Scanners put up to a kilobyte before a PDF's header.
    let begins = |start: &&[u8]| {
        received.head.starts_with(start)
            || (received.mime == "application/pdf" && received.head.windows(start.len()).any(|window| window == *start))
    };
    taken.is_some_and(|(_, starts)| starts.is_empty() || starts.iter().any(begins))
}

/// The usual form: the file is the body. Memory does not grow with it.
async fn raw(mime: &str, request: Request<Incoming>) -> Result<Received, Cut> {
    let mut digests = Digests::new(mime);
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Cut)?.into_data() {
            digests.update(&data);
        }
    }
    Ok(digests.finish())
}

async fn whole(request: Request<Incoming>) -> Result<Bytes, Cut> {
    Ok(request.into_body().collect().await.map_err(|_| Cut)?.to_bytes())
}

fn fhir_json(body: &[u8]) -> Result<Received, &'static str> {
    let binary: Value = serde_json::from_slice(body).map_err(|_| "not JSON")?;
    if binary["resourceType"] != "Binary" {
        return Err("not a Binary");
    }
    let mime = binary["contentType"].as_str().ok_or("contentType is missing")?;
    let data = STANDARD.decode(binary["data"].as_str().ok_or("data is missing")?).map_err(|_| "data is not base64")?;
    Ok(Digests::of(mime, &data))
}

/// The part named `file` of a multipart body (RFC 7578).
fn multipart(mime: &str, body: &[u8]) -> Result<Received, &'static str> {
    let boundary = mime.split("boundary=").nth(1).ok_or("no boundary")?.trim_matches('"');
    let open = format!("--{boundary}\r\n");
    let close = format!("\r\n--{boundary}--");
    let part = body.strip_prefix(open.as_bytes()).ok_or("the body does not begin with its boundary")?;
    let end = find(part, close.as_bytes()).ok_or("the body does not end with its boundary")?;
    let split = find(part, b"\r\n\r\n").ok_or("the part has no headers")?;
    let head = String::from_utf8_lossy(&part[..split]).to_ascii_lowercase();
    if !head.contains("name=\"file\"") {
        return Err("there is no part named file");
    }
    let mime =
        head.lines().find_map(|line| line.strip_prefix("content-type:")).ok_or("the part has no Content-Type")?;
    Ok(Digests::of(mime.trim(), part.get(split + 4..end).ok_or("the part is broken")?))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

struct Digests {
    mime: String,
    size: u64,
    sha1: digest::Context,
    sha256: digest::Context,
    head: Vec<u8>,
}

impl Digests {
    fn new(mime: &str) -> Self {
        let sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        Self { mime: mime.into(), size: 0, sha1, sha256: digest::Context::new(&digest::SHA256), head: Vec::new() }
    }

    fn of(mime: &str, bytes: &[u8]) -> Received {
        let mut digests = Self::new(mime);
        digests.update(bytes);
        digests.finish()
    }

    fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha1.update(bytes);
        self.sha256.update(bytes);
        let missing = 1024_usize.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
    }

    fn finish(self) -> Received {
        let sha256 = super::create::hex(self.sha256.finish().as_ref());
        Received {
            mime: self.mime,
            size: self.size,
            sha1: self.sha1.finish().as_ref().to_vec(),
            sha256,
            head: self.head,
        }
    }
}
