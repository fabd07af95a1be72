//! The way in: a name and a password.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    Shared, error_page,
    guard::{self, Visitor},
    render,
    shell::Shell,
};
use crate::status::{login::Refused, problem::ApiProblem};

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    shell: Shell,
    name: String,
    next: String,
    problem: String,
}

/// Where to go after that.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Next {
    next: String,
}

/// `GET /login`.
pub async fn page(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Query(Next { next }): Query<Next>,
) -> Response {
    if state.doors.is_none() {
        return Redirect::to("/").into_response();
    }
    let shell = Shell::of(&state, &visitor, "login", "Log in").await;
    render(&Login { shell, name: String::new(), next, problem: String::new() })
}

/// A filled-in form.
#[derive(Deserialize)]
pub struct Answer {
    token: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /login`.
pub async fn enter(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Form(answer): Form<Answer>,
) -> Response {
    if let Err(problem) = visitor.check(&state.keys, &answer.token) {
        return error_page(&state, &visitor, problem).await;
    }
    let (Some(doors), Some(word)) = (&state.doors, guard::random()) else {
        let problem = ApiProblem::conflict("no-login", "Nobody can log in here.");
        return error_page(&state, &visitor, problem).await;
    };
    let name = answer.name.trim();
    let (status, problem) = match doors.enter(name, answer.password, &word).await {
        Ok(()) => {
            let mut response = Redirect::to(local(&answer.next)).into_response();
            // A new word: whoever knew the old one does not come in with it.
            if let Some(cookie) = state.keys.cookie(guard::BROWSER, &word, None) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            return response;
        }
        Err(Refused::Wrong) => (StatusCode::UNPROCESSABLE_ENTITY, "The name or the password is not right.".to_owned()),
        Err(Refused::Wait(wait)) => (
            StatusCode::TOO_MANY_REQUESTS,
            format!("Too many tries. Wait {} seconds, then try again.", wait.as_secs().max(1)),
        ),
        Err(Refused::Closed(_)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Nobody can log in: the list of users cannot be read. Ask the person who looks after chartdrop.".into(),
        ),
    };
    let shell = Shell::of(&state, &visitor, "login", "Log in").await;
    let page = Login { shell, name: name.to_owned(), next: answer.next, problem };
    (status, render(&page)).into_response()
}

/// A filled-in form with nothing to fill in.
#[derive(Deserialize)]
pub struct Leave {
    token: String,
}

/// `POST /logout`.
pub async fn leave(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Form(answer): Form<Leave>,
) -> Response {
    if let Err(problem) = visitor.check(&state.keys, &answer.token) {
        return error_page(&state, &visitor, problem).await;
    }
    if let Some(doors) = &state.doors {
        doors.leave(visitor.browser());
    }
    let mut response = Redirect::to("/login").into_response();
    if let Some(cookie) = state.keys.cookie(guard::BROWSER, "", Some(0)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// A page of ours: never another site.
fn local(next: &str) -> &str {
    let is_ours = next.starts_with('/')
        && !next.starts_with("//")
        && !next.starts_with("/login")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_site() {
        for ours in ["/", "/documents?text=a", "/deliveries/1"] {
            assert_eq!(local(ours), ours);
        }
        for other in ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/login"] {
            assert_eq!(local(other), "/", "{other}");
        }
    }
}
