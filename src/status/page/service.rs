//! *Service*: for IT. Inboxes, destinations with the whole chain of causes, alarms, versions.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    Shared, error_page,
    guard::Visitor,
    render,
    shell::{Shell, moment},
    today::{AlarmCard, alarm_card},
    words,
};
use crate::{
    model::{document::Destination, problem::size_words},
    status::{problem::ApiProblem, snapshot, view::ChannelView},
};

struct InboxLine {
    name: String,
    path: String,
    state: &'static str,
    tone: &'static str,
    problem: String,
    waiting: String,
    today: String,
}

struct ChannelLine {
    destination: String,
    state: &'static str,
    tone: &'static str,
    problem: String,
    remedy: String,
    next: String,
    is_paused: bool,
}

#[derive(Template)]
#[template(path = "service.html")]
struct Service {
    shell: Shell,
    alarms: Vec<AlarmCard>,
    inboxes: Vec<InboxLine>,
    channels: Vec<ChannelLine>,
    facts: Vec<(&'static str, String)>,
}

/// `GET /service`.
pub async fn page(State(state): Shared, Extension(visitor): Extension<Visitor>) -> Response {
    let (now, zone) = moment(&state.desk);
    let status = snapshot::status(&state.desk).await;
    let config = state.desk.config();
    let inboxes = status.inboxes.iter().map(|inbox| {
        let (word, tone) = match inbox.state.as_deref() {
            Some("ok") => ("empty", "ok"),
            Some("waiting") => ("in work", "ok"),
            _ => ("cannot be worked on", "bad"),
        };
        InboxLine {
            name: inbox.name.clone(),
            path: config.inbox(&inbox.name).map(|inbox| inbox.path.to_string_lossy().into_owned()).unwrap_or_default(),
            state: word,
            tone,
            problem: inbox
                .problem
                .as_ref()
                .map(|problem| format!("{} {}", problem.summary, problem.remedy))
                .unwrap_or_default(),
            waiting: match (inbox.waiting, inbox.oldest_waiting_since) {
                (Some(n), Some(since)) if n > 0 => {
                    format!("{} in it, the oldest since {}", words::documents(n), words::clock(since, &zone, now))
                }
                _ => "nothing waits".into(),
            },
            today: format!("today {} accepted, {} not sent", inbox.accepted_today, inbox.rejected_today),
        }
    });
    let channel = |channel: &ChannelView| {
        let (word, tone) = match channel.state.as_deref() {
            Some("open") => ("open", "ok"),
            Some("backing-off") => ("cannot be reached", "quiet"),
            Some("paused") => ("paused", "wait"),
            Some("stopped") => ("stopped", "bad"),
            _ => ("not known", "quiet"),
        };
        ChannelLine {
            destination: channel.destination.clone(),
            state: word,
            tone,
            problem: channel.problem.as_ref().map(|problem| problem.summary.clone()).unwrap_or_default(),
            remedy: channel.problem.as_ref().map(|problem| problem.remedy.clone()).unwrap_or_default(),
            next: channel.next_attempt_at.map(|at| words::clock(at, &zone, now)).unwrap_or_default(),
            is_paused: channel.state.as_deref() == Some("paused"),
        }
    };
    let mut facts = vec![("Version", status.version.clone()), ("Machine", status.node.clone())];
    facts.extend(status.started_at.map(|at| ("Running since", words::clock(at, &zone, now))));
    let size = status.ledger.size_bytes.map(|size| format!(", {}", size_words(size))).unwrap_or_default();
    facts.push(("Ledger", format!("{}{size}", status.ledger.kind)));
    let page = Service {
        shell: Shell::of(&state, &visitor, "service", "Service").await,
        alarms: status.alarms.iter().map(|alarm| alarm_card(alarm, &zone, now)).collect(),
        inboxes: inboxes.collect(),
        channels: status.channels.iter().map(channel).collect(),
        facts,
    };
    render(&page)
}

/// A filled-in form.
#[derive(Deserialize)]
pub struct Answer {
    token: String,
    #[serde(default)]
    by: String,
}

/// `POST /service/{destination}/{action}`: pause or resume.
pub async fn act(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Path((destination, action)): Path<(String, String)>,
    Form(answer): Form<Answer>,
) -> Response {
    if let Err(problem) = visitor.check(&state.keys, &answer.token) {
        return error_page(&state, &visitor, problem).await;
    }
    let typed = Some(answer.by.trim().to_owned()).filter(|name| !name.is_empty());
    let by = visitor.user.clone().or(typed).or_else(|| visitor.name.clone());
    let done = match (&state.desk.live, by) {
        (_, None) => Err(ApiProblem::bad("nobody", "Say who decides: the field for your name is empty.")),
        (None, _) => Err(ApiProblem::conflict("not-running", "chartdrop is not running.")),
        (Some(live), Some(by)) => {
            let destination = Destination(destination);
            let done = match action.as_str() {
                "pause" => live.engine.pause_channel(&destination, &by, None),
                "resume" => live.engine.resume_channel(&destination, &by),
                _ => None,
            };
            done.map(|_| by)
                .ok_or_else(|| ApiProblem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing at this address."))
        }
    };
    match done {
        Ok(by) => {
            let mut response = Redirect::to("/service").into_response();
            if visitor.user.is_none()
                && let Some(cookie) = state.keys.name_cookie(&by)
            {
                response.headers_mut().append(axum::http::header::SET_COOKIE, cookie);
            }
            response
        }
        Err(problem) => error_page(&state, &visitor, problem).await,
    }
}
