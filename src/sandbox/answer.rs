//! How the sandbox answers, and how it reads a body.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};

/// A body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The connection is to be cut without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
pub(super) struct Cut;

/// A whole body.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// Drips a byte at a time, a hundred a second.
pub(super) fn slow(bytes: Bytes) -> Body {
    let drops = stream::unfold(bytes, |mut rest: Bytes| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let drop = rest.split_to(1);
        Some((Ok(Frame::data(drop)), rest))
    });
    StreamBody::new(drops).boxed_unsync()
}

/// Ends before its announced length, a little later, so that the reset of the connection does not overtake it.
pub(super) fn cut_short(bytes: Bytes) -> Body {
    let pieces = stream::unfold(Some(bytes), |bytes| async move {
        match bytes {
            Some(bytes) => Some((Ok(Frame::data(bytes)), None)),
            None => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                None
            }
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    typed(status, "application/fhir+json", value.to_string())
}

/// An answer of some type.
pub(super) fn typed(status: StatusCode, mime: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(mime));
    response
}

/// An OperationOutcome with one error.
pub(super) fn outcome(status: StatusCode, code: &str, why: &str) -> Response<Body> {
    let issue = json!([{ "severity": "error", "code": code, "diagnostics": why }]);
    json(status, &json!({ "resourceType": "OperationOutcome", "issue": issue }))
}

/// Reads a body to its end and forgets it.
pub(super) async fn drain(request: Request<Incoming>) -> Result<(), Cut> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|_| Cut)?;
    }
    Ok(())
}

/// Reads a body whole; `None` past `limit` bytes.
pub(super) async fn read(request: Request<Incoming>, limit: u64) -> Result<Option<Bytes>, Cut> {
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Cut)?.into_data() {
            if (bytes.len() + data.len()) as u64 > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Some(bytes.into()))
}
