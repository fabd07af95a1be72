//! *Describe*: what a document is, for people; the page writes the sidecar, and never over another one.

use std::{io, io::Write, sync::Arc};

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    PageState, Shared,
    act::rel_path,
    error_page,
    guard::Visitor,
    render,
    shell::{Shell, moment},
    words,
};
use crate::{
    config::{Config, Inbox},
    inbox::{check_sidecar, pairing::sidecar_names},
    model::path::RelPath,
    platform::{
        dir::{Access, Dir},
        durable,
    },
    status::{problem::ApiProblem, snapshot},
};

/// Which document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Which {
    inbox: String,
    path: String,
}

/// A filled-in form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    token: String,
    inbox: String,
    path: String,
    title: String,
    #[serde(rename = "type")]
    kind: String,
    date: String,
    npi: String,
    family: String,
    given: String,
    description: String,
}

struct Kind {
    name: String,
    label: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "describe.html")]
struct Describe {
    shell: Shell,
    file: String,
    folder: String,
    answer: Answer,
    kinds: Vec<Kind>,
    problem: String,
}

/// `GET /describe`.
pub async fn page(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Query(which): Query<Which>,
) -> Response {
    let (now, zone) = moment(&state.desk);
    let date = now.to_zoned(zone).date().to_string();
    let answer = Answer { inbox: which.inbox, path: which.path, date, ..Answer::default() };
    if let Err(problem) = waits(&state, &answer) {
        return error_page(&state, &visitor, problem).await;
    }
    form(&state, &visitor, answer, String::new()).await
}

async fn form(state: &PageState, visitor: &Visitor, answer: Answer, problem: String) -> Response {
    let (file, folder) = words::split(&answer.path);
    let kinds = state
        .desk
        .config()
        .document_types
        .iter()
        .map(|(name, coding)| Kind {
            name: name.clone(),
            label: coding.display.clone().unwrap_or_else(|| name.clone()),
            is_chosen: *name == answer.kind,
        })
        .collect();
    let status = if problem.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let shell = Shell::of(state, visitor, "today", "Describe").await;
    (status, render(&Describe { shell, file, folder, answer, kinds, problem })).into_response()
}

/// Only a document that waits is described, and its place is the one that the board has: nothing else is written to.
fn waits(state: &PageState, answer: &Answer) -> Result<(Inbox, RelPath), ApiProblem> {
    let gone = || {
        ApiProblem::conflict("not-waiting", "This document does not wait any more: it went out, or was taken away.")
            .with_remedy("Nothing was written. Find it by its name to see what became of it.")
    };
    let is_waiting = snapshot::waiting(&state.desk)
        .documents
        .iter()
        .any(|document| document.inbox == answer.inbox && document.path == answer.path);
    let inbox = state.desk.config().inbox(&answer.inbox).cloned().filter(|_| is_waiting).ok_or_else(gone)?;
    Ok((inbox, rel_path(&answer.path).ok_or_else(gone)?))
}

/// `POST /describe`: the sidecar is written.
pub async fn save(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Form(answer): Form<Answer>,
) -> Response {
    if let Err(problem) = visitor.check(&state.keys, &answer.token) {
        return error_page(&state, &visitor, problem).await;
    }
    let (inbox, document) = match waits(&state, &answer) {
        Ok(found) => found,
        Err(problem) => return error_page(&state, &visitor, problem).await,
    };
    let config = state.desk.config();
    let text = match sidecar(&answer, &config, &inbox) {
        Ok(text) => text,
        Err(why) => return form(&state, &visitor, answer, why).await,
    };
    let folder = inbox.path.clone();
    let written = tokio::task::spawn_blocking(move || write(&Dir::open(&folder)?, &document, &text)).await;
    match written {
        Ok(Ok(())) => Redirect::to("/?done=described").into_response(),
        Ok(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
            let problem = ApiProblem::conflict("has-sidecar", "This document has a description already.")
                .with_remedy("It was left as it is. Correct the file beside the document in the inbox.");
            error_page(&state, &visitor, problem).await
        }
        Ok(Err(error)) => {
            let why = format!("The description could not be written ({}). Nothing is lost; try again.", error.kind());
            form(&state, &visitor, answer, why).await
        }
        Err(_) => form(&state, &visitor, answer, "The description could not be written.".into()).await,
    }
}

/// The sidecar's text, read back the way that deliveries read it; the error is for the person at the form.
fn sidecar(answer: &Answer, config: &Arc<Config>, inbox: &Inbox) -> Result<String, String> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let mut table = toml::Table::new();
    for (key, value) in [("title", &answer.title), ("description", &answer.description), ("type", &answer.kind)] {
        if let Some(value) = given(value) {
            table.insert(key.into(), value.into());
        }
    }
    if let Some(date) = given(&answer.date) {
        // The beginning of that day, here; today's as well is never in the future.
        let day: jiff::civil::Date = date.parse().map_err(|_| "The date is not one.".to_owned())?;
        let begins = day.to_zoned(config.status.time_zone.clone()).map_err(|_| "The date is not one.".to_owned())?;
        if begins.timestamp() > Timestamp::now() {
            return Err("The date is in the future.".into());
        }
        table.insert("date".into(), begins.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().into());
    }
    match (given(&answer.npi), given(&answer.family), given(&answer.given)) {
        (None, None, None) => {}
        (None, _, _) => return Err("The author's NPI is missing: without it the author cannot be sent.".into()),
        (Some(npi), family, first) => {
            let mut author = toml::Table::from_iter([("npi".to_owned(), toml::Value::from(npi))]);
            author.extend(family.map(|family| ("family".to_owned(), family.into())));
            author.extend(first.map(|first| {
                let names: Vec<_> = first.split_whitespace().map(str::to_owned).collect();
                ("given".to_owned(), names.into())
            }));
            table.insert("author".into(), author.into());
        }
    }
    if table.is_empty() {
        return Err("Nothing is filled in.".into());
    }
    let text = table.to_string();
    check_sidecar(text.as_bytes(), &inbox.document_type, &config.document_types).map_err(|problem| {
        let why = problem.summary.split_once("cannot be used: ").map_or(problem.summary.as_str(), |(_, why)| why);
        format!("This cannot be used: {why}")
    })?;
    Ok(text)
}

/// Beside the document, when nothing describes it yet.
fn write(root: &Dir, document: &RelPath, text: &str) -> io::Result<()> {
    if root.stat(document)?.is_none() {
        return Err(io::ErrorKind::NotFound.into());
    }
    for name in sidecar_names(document) {
        if root.stat(&name)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
    }
    let spot = root.spot(document)?;
    let info = spot.folder().info()?;
    let access = Access { group: Some(info.group), mode: 0o600 | (info.mode & 0o066) };
    let mut name = document.file_name().to_owned();
    name.push(".toml");
    durable::create(&spot.beside(&name), &access, |file| file.write_all(text.as_bytes()))
}
