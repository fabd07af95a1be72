//! The page: what goes out, what waits and what needs a person, for the front desk, IT and a phone.
//!
//! It shows the API's objects and decides through the API's own functions; it has no other source. Templates escape
//! everything, and the browser is told to run and show nothing that is not a file of this program.

mod act;
mod describe;
mod documents;
mod enter;
mod guard;
mod patients;
mod service;
mod shell;
mod today;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use super::{desk::Desk, login::Doors, problem::ApiProblem};
pub(super) use guard::Keys;
use guard::Visitor;
use shell::Shell;

const STYLE: &str = include_str!("page.css");
const ICON: &str = include_str!("icon.svg");
const SCRIPT: &str = include_str!("page.js");
/// Nothing but this program's own two files, forms and events; in no frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What every page needs.
pub(super) struct PageState {
    pub desk: Arc<Desk>,
    pub keys: Keys,
    /// Where people log in; without it nobody has to.
    pub doors: Option<Arc<Doors>>,
}

type Shared = State<Arc<PageState>>;

/// Every page. The API's routes are not among them.
pub(super) fn router(desk: Arc<Desk>, keys: Keys, doors: Option<Arc<Doors>>) -> Router {
    let state = Arc::new(PageState { desk, keys, doors });
    Router::new()
        .route("/", get(today::page))
        .route("/login", get(enter::page).post(enter::enter))
        .route("/logout", axum::routing::post(enter::leave))
        .route("/documents", get(documents::page))
        .route("/deliveries/{id}", get(documents::story))
        .route("/deliveries/{id}/{decision}", get(act::ask).post(act::decide))
        .route("/patients", get(patients::page).post(patients::make))
        .route("/describe", get(describe::page).post(describe::save))
        .route("/service", get(service::page))
        .route("/service/{destination}/{action}", axum::routing::post(service::act))
        .fallback(nowhere)
        .layer(middleware::from_fn_with_state(Arc::clone(&state), guard::visitor))
        .route("/assets/page.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/assets/page.js", get(|| asset("text/javascript; charset=utf-8", SCRIPT)))
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", ICON)))
        .with_state(state)
}

/// For everything that is answered over TCP: never kept, never framed, never guessed at.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not "no-referrer": a browser's forms would then say that they come from nowhere.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    shell: Shell,
    title: String,
    summary: String,
    remedy: String,
}

/// A problem, as a page.
async fn error_page(state: &PageState, visitor: &Visitor, problem: ApiProblem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = match status {
        StatusCode::NOT_FOUND => "There is nothing here.",
        StatusCode::CONFLICT => "That was not done.",
        _ => "That did not work.",
    };
    let page = ErrorPage {
        shell: Shell::of(state, visitor, "", title).await,
        title: title.into(),
        summary: problem.detail.into(),
        remedy: problem.remedy.map_or_else(|| "Nothing was changed. Go back and look again.".into(), Into::into),
    };
    (status, render(&page)).into_response()
}

/// Whether a browser asks, and not a program.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}

/// The word that a browser is known by.
pub(super) fn browser(headers: &HeaderMap) -> Option<String> {
    guard::cookie(headers, guard::BROWSER)
}

/// The way in, and where to go from there.
pub(super) fn login_path(next: &str) -> String {
    format!("/login?next={}", coded(next))
}

/// A text as part of an address.
fn coded(text: &str) -> String {
    let code = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(code).collect()
}

async fn nowhere(State(state): Shared, Extension(visitor): Extension<Visitor>, request: Request) -> Response {
    let problem = ApiProblem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing at this address.");
    match wants_page(request.headers()) {
        true => error_page(&state, &visitor, problem).await,
        false => problem.into_response(),
    }
}

/// A template filled in. It fails only where a value of it does, and none of ours can.
fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!("a page cannot be shown: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
