//! What a person can do with a delivery: which buttons there are, the question before, and the doing of it.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{Shared, error_page, guard::Visitor, render, shell::Shell, words};
use crate::{
    model::path::RelPath,
    status::{
        api, listing,
        problem::ApiProblem,
        view::{DeliveryView, State as DeliveryState},
    },
};

/// Held because nobody can tell whether it arrived.
const MAY_HAVE_ARRIVED: [&str; 4] = ["outcome-unknown", "unclear-answer", "ledger-lost", "patient-changed"];

/// A button.
pub struct Action {
    pub label: &'static str,
    /// `go`, `plain` or `quiet`.
    pub class: &'static str,
    pub href: String,
    /// Done at once; else a page asks first.
    pub is_direct: bool,
}

/// What can be done with a delivery, the safest first.
pub fn actions(view: &DeliveryView, visitor: &Visitor) -> Vec<Action> {
    let is_known = visitor.name.is_some();
    let action = |decision: &str, label, class, is_safe: bool| Action {
        label,
        class,
        href: format!("/deliveries/{}/{decision}", view.id),
        is_direct: is_safe && is_known,
    };
    let code = view.problem.as_ref().map(|problem| problem.code.as_str()).unwrap_or_default();
    match view.state {
        DeliveryState::Held if MAY_HAVE_ARRIVED.contains(&code) => vec![
            action("close", "It is in the chart", "go", false),
            action("release", "It is not there: send again", "plain", false),
        ],
        DeliveryState::Held => {
            vec![action("release", "Let it go on", "go", true), action("close", "Do not send it", "plain", false)]
        }
        DeliveryState::Rejected if code == "closed" => vec![action("retry", "Try again", "plain", false)],
        DeliveryState::Rejected => vec![action("retry", "Try again", "go", view.unconfirmed == 0)],
        DeliveryState::Queued | DeliveryState::Unknown => vec![
            action("retry", "Try now", "plain", view.state == DeliveryState::Queued),
            action("hold", "Hold it", "plain", true),
            action("close", "Do not send it", "plain", false),
        ],
        DeliveryState::Accepted => vec![action("send-again", "Send again", "plain", false)],
        DeliveryState::Sending | DeliveryState::Filing => Vec::new(),
    }
}

/// The words of a question.
struct Question {
    title: &'static str,
    text: String,
    button: &'static str,
    is_dangerous: bool,
    /// `None`: no reason is asked for.
    reason: Option<&'static str>,
}

fn question(decision: &str, view: &DeliveryView) -> Option<Question> {
    let may_have_arrived = view.unconfirmed > 0;
    let twice = "If the first one did arrive, it will be in the chart twice.";
    let ask = |title, text: &str, button, is_dangerous| {
        Some(Question { title, text: text.into(), button, is_dangerous, reason: None })
    };
    match decision {
        "retry" if may_have_arrived => ask("Try again?", &format!("Look into the chart first. {twice}"), "Try again", true),
        "retry" => ask("Try again?", "It is looked at from the start and sent when nothing is wrong with it any more.", "Try again", false),
        "release" if may_have_arrived => ask("Send again?", &format!("Look into the chart first. {twice}"), "Send again", true),
        "release" => ask("Let it go on?", "It is sent when it is its turn.", "Let it go on", false),
        "send-again" => ask(
            "Send again?",
            "It was accepted. Sent again it is a new message: the document will be in the chart twice, unless the first one was removed there.",
            "Send again",
            true,
        ),
        "hold" => Some(Question {
            title: "Hold it?",
            text: "Nothing more of it is sent until somebody lets it go on.".into(),
            button: "Hold it",
            is_dangerous: false,
            reason: Some(""),
        }),
        "close" => Some(Question {
            title: if may_have_arrived { "Close it?" } else { "Do not send it?" },
            text: "It goes to the failed folder, with a note that holds your name and your reason. It is not sent any more.".into(),
            button: if may_have_arrived { "Close it" } else { "Do not send it" },
            is_dangerous: !may_have_arrived,
            reason: Some(if may_have_arrived { "It is in the chart." } else { "" }),
        }),
        _ => None,
    }
}

#[derive(Template)]
#[template(path = "ask.html")]
struct Ask {
    shell: Shell,
    question: Question,
    file: String,
    folder: String,
    id: String,
    decision: String,
    reason: String,
    is_reason_needed: bool,
    name: String,
    name_problem: String,
    reason_problem: String,
}

/// `GET /deliveries/{id}/{decision}`: the question.
pub async fn ask(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Path((id, decision)): Path<(String, String)>,
) -> Response {
    asked(&state, &visitor, &id, &decision, None, ["", ""]).await
}

/// The question, with what was typed and what is wrong with it.
async fn asked(
    state: &super::PageState,
    visitor: &Visitor,
    id: &str,
    decision: &str,
    typed: Option<&Answer>,
    problems: [&str; 2],
) -> Response {
    let view = match listing::find(&*state.desk.ledger, id).await {
        Ok(row) => DeliveryView::of(&row),
        Err(problem) => return error_page(state, visitor, problem).await,
    };
    let Some(question) = question(decision, &view) else {
        let problem = ApiProblem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing at this address.");
        return error_page(state, visitor, problem).await;
    };
    let (file, folder) = words::split(&view.path);
    let page = Ask {
        shell: Shell::of(state, visitor, "documents", question.title).await,
        file,
        folder,
        id: view.id,
        decision: decision.to_owned(),
        reason: typed.map_or_else(|| question.reason.unwrap_or_default().into(), |typed| typed.reason.clone()),
        is_reason_needed: decision == "close",
        name: typed.map_or_else(|| visitor.name.clone().unwrap_or_default(), |typed| typed.by.clone()),
        question,
        name_problem: problems[0].into(),
        reason_problem: problems[1].into(),
    };
    let status = if problems == ["", ""] { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    (status, render(&page)).into_response()
}

/// A filled-in form.
#[derive(Deserialize)]
pub struct Answer {
    token: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

/// `POST /deliveries/{id}/{decision}`: it is done, and the story says so.
pub async fn decide(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Path((id, decision)): Path<(String, String)>,
    Form(answer): Form<Answer>,
) -> Response {
    if let Err(problem) = visitor.check(&state.keys, &answer.token) {
        return error_page(&state, &visitor, problem).await;
    }
    // Whoever has logged in is who it is; elsewhere the typed name, or the one that this browser remembers.
    let typed = Some(answer.by.trim()).filter(|name| !name.is_empty()).map(str::to_owned);
    let Some(by) = visitor.user.clone().or(typed).or_else(|| visitor.name.clone()) else {
        let problems = ["Say who decides: your name goes into the document's story.", ""];
        return asked(&state, &visitor, &id, &decision, Some(&answer), problems).await;
    };
    if decision == "close" && answer.reason.trim().is_empty() {
        let problems = ["", "Say why: it goes into the note beside the document."];
        return asked(&state, &visitor, &id, &decision, Some(&answer), problems).await;
    }
    match api::decided(&state.desk, &id, &decision, &by, Some(answer.reason.clone())).await {
        Ok(done) => {
            let mut response =
                Redirect::to(&format!("/deliveries/{}?done={decision}", done.delivery.id)).into_response();
            if visitor.user.is_none()
                && let Some(cookie) = state.keys.name_cookie(&by)
            {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(problem) => error_page(&state, &visitor, problem).await,
    }
}

/// What was just done, in words; for `?done=`.
pub fn done(decision: &str) -> &'static str {
    match decision {
        "retry" => "Taken. It is tried again from the start; what follows appears here.",
        "hold" => "Taken. Nothing more of it is sent until somebody lets it go on.",
        "release" => "Taken. It goes on; what follows appears here.",
        "send-again" => "Taken. It is sent as a new message; what follows appears here.",
        "close" => "Taken. It is closed and goes to the failed folder with your reason.",
        _ => "",
    }
}

/// A path as the API shows it.
pub fn rel_path(shown: &str) -> Option<RelPath> {
    serde_json::from_value(serde_json::Value::String(shown.to_owned())).ok()
}
