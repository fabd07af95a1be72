//! The API: the same router answers over the socket, over TCP, and inside a command that reads the ledger itself.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    desk::{Desk, Live},
    events, listing, openapi,
    problem::ApiProblem,
    reload, snapshot,
    view::{DeliveriesView, DeliveryView, StatusView, WaitingListView},
    who::Caller,
};
use crate::{
    delivery::{
        Decision,
        operator::{self, OperatorError},
    },
    model::document::Destination,
};

/// The longest body of a request.
const LONGEST_BODY: usize = 16 * 1024;
/// The longest reason and the longest name, in characters: both have to fit a ledger row and a note.
const LONGEST_REASON: usize = 300;
const LONGEST_NAME: usize = 60;

type Answer<T> = Result<Json<T>, ApiProblem>;

/// Who asks whom.
type Asked = State<Arc<Desk>>;

/// `{ "by", "reason" }`, both optional.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionRequest {
    /// Who decides; over the socket it is the peer's user, whatever this says.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// What came of a decision.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecisionView {
    /// In words.
    pub message: String,
    /// The delivery as it is now.
    pub delivery: DeliveryView,
}

/// What came of pausing or resuming.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChannelAnswer {
    /// In words.
    pub message: String,
}

/// `/healthz` and `/readyz`.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HealthView {
    /// `ok` or `failing`.
    pub status: String,
    /// Why it is not `ok`.
    pub reasons: Vec<String>,
}

/// Every endpoint, and an answer for every other address.
pub fn router(desk: Arc<Desk>) -> Router {
    routes(desk)
        .fallback(|| async { ApiProblem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing at this address.") })
}

/// Every endpoint.
pub(super) fn routes(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/waiting", get(waiting))
        .route("/api/v1/deliveries", get(deliveries))
        .route("/api/v1/deliveries/{id}", get(delivery))
        .route("/api/v1/deliveries/{id}/{decision}", post(decide))
        .route("/api/v1/channels/{destination}/{action}", post(channel))
        .route("/api/v1/reload", post(reload_config))
        .route("/api/v1/events", get(events::stream))
        .route("/api/v1/openapi.json", get(|| async { ([(CONTENT_TYPE, "application/json")], openapi::text()) }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .method_not_allowed_fallback(|| async {
            ApiProblem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This address does not take that method.",
            )
        })
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(desk)
}

/// How things are: inboxes, destinations, counts, alarms.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = StatusView)))]
pub(super) async fn status(State(desk): Asked) -> Json<StatusView> {
    Json(snapshot::status(&desk).await)
}

/// Documents that have no delivery yet.
#[utoipa::path(get, path = "/api/v1/waiting", params(listing::Request), responses((status = 200, body = WaitingListView), (status = "4XX", description = "A problem, RFC 9457.", body = ApiProblem, content_type = "application/problem+json")))]
pub(super) async fn waiting(
    State(desk): Asked,
    page: Result<Query<listing::Request>, QueryRejection>,
) -> Answer<WaitingListView> {
    let Query(request) = page.map_err(bad_query)?;
    listing::waiting(snapshot::waiting(&desk), &request).map(Json)
}

/// Deliveries, newest first; go on with `cursor` = the last page's `next`.
#[utoipa::path(get, path = "/api/v1/deliveries", params(listing::Request), responses((status = 200, body = DeliveriesView), (status = "4XX", description = "A problem, RFC 9457.", body = ApiProblem, content_type = "application/problem+json")))]
pub(super) async fn deliveries(
    State(desk): Asked,
    request: Result<Query<listing::Request>, QueryRejection>,
) -> Answer<DeliveriesView> {
    let Query(request) = request.map_err(bad_query)?;
    let filter = listing::Filter::new(&request, &desk.config().status.time_zone)?;
    desk.catalog.loaded().await;
    listing::page(&*desk.ledger, &desk.catalog, &filter).await.map(Json)
}

/// The whole story of one delivery.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", params(("id" = String, Path, description = "The delivery's id, or the first four or more characters of it.")), responses((status = 200, body = DeliveryView), (status = "4XX", description = "A problem, RFC 9457.", body = ApiProblem, content_type = "application/problem+json")))]
pub(super) async fn delivery(State(desk): Asked, Path(id): Path<String>) -> Answer<DeliveryView> {
    Ok(Json(DeliveryView::of(&listing::find(&*desk.ledger, &id).await?)))
}

/// A person decides; over the socket that is the peer's user, whatever `by` says.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/{decision}",
    params(
        ("id" = String, Path, description = "The delivery's id, or the first four or more characters of it."),
        ("decision" = String, Path, description = "`retry`, `hold`, `release`, `send-again` or `close`; `close` needs a reason."),
    ),
    request_body = DecisionRequest, responses((status = 200, body = DecisionView), (status = "4XX", description = "A problem, RFC 9457.", body = ApiProblem, content_type = "application/problem+json")))]
pub(super) async fn decide(
    State(desk): Asked,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path((id, decision)): Path<(String, String)>,
    body: Bytes,
) -> Answer<DecisionView> {
    let request: DecisionRequest = read(&body)?;
    let by = by(&caller, &request)?;
    decided(&desk, &id, &decision, &by, request.reason).await.map(Json)
}

/// Carries out a person's decision: the way of the API and of the page.
pub(super) async fn decided(
    desk: &Arc<Desk>,
    id: &str,
    decision: &str,
    by: &str,
    reason: Option<String>,
) -> Result<DecisionView, ApiProblem> {
    let (by, id, desk) = (one_line(by, LONGEST_NAME), id.to_owned(), Arc::clone(desk));
    let reason = reason.map(|reason| one_line(&reason, LONGEST_REASON)).filter(|reason| !reason.is_empty());
    let decision = match decision {
        "retry" => Decision::Retry,
        "hold" => Decision::Hold { reason },
        "release" => Decision::Release,
        "send-again" => Decision::SendAgain,
        "close" => match reason {
            Some(reason) => Decision::Close { reason },
            None => return Err(ApiProblem::bad("no-reason", "Say why it is not to be sent: \"reason\" is missing.")),
        },
        _ => return Err(ApiProblem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing at this address.")),
    };
    // Whoever asked may go away; what was begun is ended all the same.
    let decided = tokio::spawn(async move {
        let row = listing::find(&*desk.ledger, &id).await?;
        let decided = match &desk.live {
            Some(Live { engine, .. }) => engine.decide(row.id(), decision, &by).await,
            None => operator::decide(&desk.config(), &*desk.ledger, row.id(), decision, &by).await,
        };
        let (row, message) = decided.map_err(refused)?;
        Ok(DecisionView { message: message.to_owned(), delivery: DeliveryView::of(&row) })
    });
    decided.await.unwrap_or_else(|_| {
        Err(ApiProblem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "A part of chartdrop ended unexpectedly."))
    })
}

fn refused(error: OperatorError) -> ApiProblem {
    match error {
        OperatorError::Ledger(error) => error.into(),
        OperatorError::Filing(error) => ApiProblem::conflict("filing", error.to_string())
            .with_remedy("Nothing was changed. Try again when that is fixed."),
        OperatorError::Refused(words) => ApiProblem::conflict("refused", words),
        OperatorError::Busy => ApiProblem::conflict("busy", error.to_string()).with_remedy("Try again in a moment."),
        OperatorError::Gone => ApiProblem::new(StatusCode::NOT_FOUND, "unknown-delivery", error.to_string()),
    }
}

/// Keeps everything for a destination back, or lets it go on.
#[utoipa::path(post, path = "/api/v1/channels/{destination}/{action}",
    params(
        ("destination" = String, Path, description = "As in `status`, with the slash as %2F."),
        ("action" = String, Path, description = "`pause` or `resume`."),
    ),
    request_body = DecisionRequest, responses((status = 200, body = ChannelAnswer), (status = "4XX", description = "A problem, RFC 9457.", body = ApiProblem, content_type = "application/problem+json")))]
pub(super) async fn channel(
    State(desk): Asked,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path((destination, action)): Path<(String, String)>,
    body: Bytes,
) -> Answer<ChannelAnswer> {
    let request: DecisionRequest = read(&body)?;
    let by = by(&caller, &request)?;
    let Some(live) = &desk.live else { return Err(not_running()) };
    let reason = request.reason.map(|reason| one_line(&reason, LONGEST_REASON)).filter(|reason| !reason.is_empty());
    let known = Destination(destination.clone());
    let done = match action.as_str() {
        "pause" => live.engine.pause_channel(&known, &by, reason.as_deref()),
        "resume" => live.engine.resume_channel(&known, &by),
        _ => return Err(ApiProblem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing at this address.")),
    };
    match done {
        Some(message) => Ok(Json(ChannelAnswer { message })),
        None => {
            let names: Vec<_> = live.engine.channels().into_iter().map(|channel| channel.destination.0).collect();
            Err(ApiProblem::new(
                StatusCode::NOT_FOUND,
                "unknown-destination",
                format!("There is no destination {destination:?}. Known are: {}.", names.join(", ")),
            ))
        }
    }
}

/// Reads the configuration again; a bad one changes nothing.
#[utoipa::path(post, path = "/api/v1/reload", request_body = DecisionRequest, responses((status = 200, body = reload::ReloadView), (status = "4XX", description = "A problem, RFC 9457.", body = ApiProblem, content_type = "application/problem+json")))]
pub(super) async fn reload_config(
    State(desk): Asked,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: Bytes,
) -> Answer<reload::ReloadView> {
    let request: DecisionRequest = read(&body)?;
    let by = by(&caller, &request)?;
    if desk.live.is_none() {
        return Err(not_running());
    }
    reload::reload(&desk, &by).await.map(Json)
}

/// For Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(desk): Asked) -> Response {
    let Some(live) = &desk.live else { return not_running().into_response() };
    desk.metrics.board(live.engine.board());
    desk.metrics.tokens(live.engine.token_renewals());
    let text =
        desk.metrics.text(&snapshot::status(&desk).await, &snapshot::waiting(&desk), &desk.catalog.open_by_inbox());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Alive: this answers.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = HealthView)))]
pub(super) async fn healthz() -> Json<HealthView> {
    Json(HealthView { status: "ok".into(), reasons: Vec::new() })
}

/// Whether documents that are dropped now are sent; 503 with the reasons when not.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = HealthView), (status = 503, body = HealthView)))]
pub(super) async fn readyz(State(desk): Asked) -> Response {
    let status = snapshot::status(&desk).await;
    let mut reasons = Vec::new();
    for inbox in &status.inboxes {
        if let Some(problem) = inbox.problem.as_ref() {
            reasons.push(format!("inbox {}: {}", inbox.name, problem.summary));
        }
    }
    for channel in &status.channels {
        if let Some(problem) = &channel.problem {
            reasons.push(format!("{}: {}", channel.destination, problem.summary));
        }
    }
    let (code, word) = match reasons.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    (code, Json(HealthView { status: word.into(), reasons })).into_response()
}

fn not_running() -> ApiProblem {
    ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "not-running", "chartdrop is not running: nothing is being sent.")
        .with_remedy("Start it: systemctl start chartdrop")
}

fn bad_query(rejection: QueryRejection) -> ApiProblem {
    ApiProblem::bad("bad-query", rejection.body_text())
}

/// A body of JSON; an empty one says nothing.
fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiProblem> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiProblem::bad("bad-body", format!("The body is not what it should be: {error}.")))
}

fn by(caller: &Caller, request: &DecisionRequest) -> Result<String, ApiProblem> {
    let name = caller.acts_as(request.by.as_deref()).map(|name| one_line(&name, LONGEST_NAME));
    name.ok_or_else(|| ApiProblem::bad("nobody", "Say who decides: \"by\" is missing."))
}

/// Without what would break a line of a note or of the log.
fn one_line(text: &str, longest: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(longest).collect()
}

/// For axum's signature of a stream.
pub(super) type Never = Infallible;
