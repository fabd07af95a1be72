//! The API's errors: RFC 9457 problem details, with what to do.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::ledger::LedgerError;

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ApiProblem {
    /// `urn:chartdrop:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: Box<str>,
    /// The same for every problem of this type.
    #[schema(value_type = String)]
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    #[schema(value_type = String)]
    pub detail: Box<str>,
    /// A fixed word for programs.
    #[schema(value_type = String)]
    pub code: Box<str>,
    /// What to do.
    #[schema(value_type = Option<String>)]
    pub remedy: Option<Box<str>>,
}

impl ApiProblem {
    /// All of it; the title is the status's own.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:chartdrop:problem:{code}").into(),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: detail.into().into(),
            code: code.into(),
            remedy: None,
        }
    }

    /// What to do about it.
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into().into()), ..self }
    }

    /// The request itself makes no sense.
    pub fn bad(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// It makes no sense now.
    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }
}

impl From<LedgerError> for ApiProblem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Conflict(_) => {
                Self::conflict("changed-meanwhile", error.to_string()).with_remedy("Try again.")
            }
            LedgerError::RowTooLong(_)
            | LedgerError::Damaged(_)
            | LedgerError::Newer(_)
            | LedgerError::InUse
            | LedgerError::Unsuitable(_)
            | LedgerError::Lost(_)
            | LedgerError::Io(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "ledger", error.to_string()),
        }
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
