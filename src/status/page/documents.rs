//! *All documents*: where is that one? And the story of one.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    Shared, act,
    act::Action,
    error_page,
    guard::Visitor,
    render,
    shell::{Shell, moment},
    today::{Row, row, still_failed},
    words,
};
use crate::{
    model::problem::size_words,
    status::{
        listing::{self, Filter, Request},
        view::{DeliveryView, State as DeliveryState},
    },
};

/// Rows of a page.
const PAGE: usize = 50;

/// What is looked for. Everything may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    text: String,
    state: String,
    inbox: String,
    day: String,
    cursor: String,
}

struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "documents.html")]
struct Documents {
    shell: Shell,
    wanted: Wanted,
    states: Vec<Choice>,
    inboxes: Vec<Choice>,
    rows: Vec<Row>,
    next: Option<String>,
    is_filtered: bool,
    problem: String,
}

/// `GET /documents`.
pub async fn page(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let desk = &state.desk;
    let (now, zone) = moment(desk);
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    // A day is from its midnight to the next one.
    let day = wanted.day.parse::<jiff::civil::Date>().ok();
    let request = Request {
        state: given(&wanted.state),
        inbox: given(&wanted.inbox),
        text: given(&wanted.text),
        since: day.map(|day| day.to_string()),
        until: day.and_then(|day| day.tomorrow().ok()).map(|day| day.to_string()),
        limit: Some(PAGE),
        cursor: given(&wanted.cursor),
    };
    desk.catalog.loaded().await;
    let found = match Filter::new(&request, &zone) {
        Ok(filter) => listing::page(&*desk.ledger, &desk.catalog, &filter).await,
        Err(problem) => Err(problem),
    };
    let (found, problem) = match found {
        Ok(found) => (Some(found), String::new()),
        Err(problem) => (None, problem.detail.into()),
    };
    let config = desk.config();
    let choice = |value: &str, label: &str, chosen: &str| Choice {
        value: value.into(),
        label: label.into(),
        is_chosen: value == chosen,
    };
    let mut shell = Shell::of(&state, &visitor, "documents", "All documents").await;
    shell.text.clone_from(&wanted.text);
    let page = Documents {
        shell,
        states: DeliveryState::ALL
            .iter()
            .map(|state| choice(state.as_str(), words::state_name(*state), &wanted.state))
            .collect(),
        inboxes: config.inboxes.iter().map(|inbox| choice(&inbox.name, &inbox.name, &wanted.inbox)).collect(),
        rows: found.iter().flat_map(|found| &found.deliveries).map(|view| dated(view, &zone, now)).collect(),
        next: found.and_then(|found| found.next),
        is_filtered: [&wanted.text, &wanted.state, &wanted.inbox, &wanted.day].iter().any(|text| !text.is_empty()),
        wanted,
        problem,
    };
    render(&page)
}

/// A row whose label says the state and since when.
fn dated(view: &DeliveryView, zone: &jiff::tz::TimeZone, now: jiff::Timestamp) -> Row {
    let mut row = row(view, zone, now);
    row.tag = match view.state {
        DeliveryState::Accepted => format!("accepted {}", row.tag),
        DeliveryState::Rejected => format!("not sent {}", words::clock(view.since, zone, now)),
        DeliveryState::Queued
        | DeliveryState::Sending
        | DeliveryState::Unknown
        | DeliveryState::Held
        | DeliveryState::Filing => row.tag,
    };
    row
}

struct Step {
    at: String,
    what: String,
    by: String,
    detail: String,
    tone: &'static str,
}

#[derive(Template)]
#[template(path = "story.html")]
struct Story {
    shell: Shell,
    file: String,
    folder: String,
    done: &'static str,
    tone: &'static str,
    state: String,
    /// It failed, and was put back or taken away since.
    is_over: bool,
    what: String,
    todo: String,
    actions: Vec<Action>,
    steps: Vec<Step>,
    /// Some times say their day as well.
    has_days: bool,
    next: String,
    details: Vec<(&'static str, String)>,
}

/// What a story is asked with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StoryRequest {
    done: String,
}

/// `GET /deliveries/{id}`.
pub async fn story(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Query(request): Query<StoryRequest>,
) -> Response {
    let view = match listing::find(&*state.desk.ledger, &id).await {
        Ok(row) => DeliveryView::of(&row),
        Err(problem) => return error_page(&state, &visitor, problem).await.into_response(),
    };
    let (now, zone) = moment(&state.desk);
    let (file, folder) = words::split(&view.path);
    let is_closed = view.problem.as_ref().is_some_and(|problem| problem.code == "closed");
    let is_over = view.state == DeliveryState::Rejected
        && !is_closed
        && still_failed(&state.desk, vec![view.clone()]).await.is_empty();
    let problem = view.problem.clone().filter(|_| !is_over);
    let steps = view.history.iter().map(|event| Step {
        at: words::clock(event.at, &zone, now),
        what: words::event(&event.event),
        by: event.by.clone().unwrap_or_default(),
        // Of an end it is a code, which is for support.
        detail: event
            .detail
            .clone()
            .filter(|_| event.event != "rejected" && event.event != "accepted")
            .unwrap_or_default(),
        tone: match event.event.as_str() {
            "accepted" => "ok",
            "rejected" | "closed" => "bad",
            "held" | "unknown" => "wait",
            _ => "quiet",
        },
    });
    let steps: Vec<_> = steps.collect();
    let page = Story {
        shell: Shell::of(&state, &visitor, "documents", &file).await,
        done: act::done(&request.done),
        tone: match view.state {
            DeliveryState::Accepted => "ok",
            DeliveryState::Held => "wait",
            DeliveryState::Rejected if !is_over && !is_closed => "bad",
            DeliveryState::Rejected
            | DeliveryState::Queued
            | DeliveryState::Sending
            | DeliveryState::Unknown
            | DeliveryState::Filing => "quiet",
        },
        state: if is_over {
            "It was not sent then, and is not in the failed folder any more.".into()
        } else {
            headline(&view, &zone, now)
        },
        is_over,
        what: problem.as_ref().map(|problem| problem.summary.clone()).unwrap_or_default(),
        todo: problem.map(|problem| problem.remedy).unwrap_or_default(),
        actions: if is_over { Vec::new() } else { act::actions(&view, &visitor) },
        has_days: steps.iter().any(|step| step.at.contains(' ')),
        steps,
        next: view.next_attempt_at.filter(|at| *at > now).map(|at| words::clock(at, &zone, now)).unwrap_or_default(),
        details: details(&view),
        file,
        folder,
    };
    render(&page)
}

/// The state as a sentence.
fn headline(view: &DeliveryView, zone: &jiff::tz::TimeZone, now: jiff::Timestamp) -> String {
    let since = words::clock(view.since, zone, now);
    match view.state {
        DeliveryState::Queued => "It waits for its turn.".into(),
        DeliveryState::Sending => "It is being sent.".into(),
        DeliveryState::Unknown => "It was sent, and the answer was lost. chartdrop finds out.".into(),
        DeliveryState::Held => format!("It waits for a decision since {since}."),
        DeliveryState::Accepted => {
            format!("Redox accepted it: {}.", words::clock(view.accepted_at.unwrap_or(view.since), zone, now))
        }
        DeliveryState::Rejected => format!("It was not sent. It is in the failed folder since {since}."),
        DeliveryState::Filing => "It is being filed.".into(),
    }
}

/// For support: what nobody at a desk needs.
fn details(view: &DeliveryView) -> Vec<(&'static str, String)> {
    let code = view.problem.as_ref().map(|problem| problem.code.clone());
    let filed = view
        .filed_as
        .as_ref()
        .map(|filed| format!("{}/{filed}", if view.state == DeliveryState::Accepted { "done" } else { "failed" }));
    let sent = match view.unconfirmed {
        0 => view.sent.to_string(),
        lost => format!("{} ({lost} without a certain answer)", view.sent),
    };
    let all = [
        ("Delivery", Some(view.id.clone())),
        ("Problem", code),
        ("Inbox", Some(view.inbox.clone())),
        ("To", Some(view.destination.clone())),
        ("Patient", view.patient.clone()),
        ("Size", view.size.map(size_words)),
        ("Messages sent", Some(sent)),
        ("Filed as", filed),
        ("Master identifier", view.ids.master_identifier.clone()),
        ("Bundle", view.ids.bundle.map(|id| id.to_string())),
        ("Message", view.ids.message.map(|id| id.to_string())),
        ("At Redox", Some(view.ids.answer.join(", ")).filter(|ids| !ids.is_empty())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
