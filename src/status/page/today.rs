//! *Today*: is everything going out, and what needs me?

use std::{path::PathBuf, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use jiff::{Timestamp, tz::TimeZone};

use super::{
    PageState, Shared, act,
    act::Action,
    error_page,
    guard::Visitor,
    render,
    shell::{Shell, moment},
    words,
};
use crate::{
    config::{Config, SidecarRule},
    delivery::board::WaitingState,
    status::{
        desk::Desk,
        listing::{self, Filter, Request},
        problem::ApiProblem,
        snapshot,
        view::{AlarmView, ChannelView, DeliveryView, State as DeliveryState, StatusView, WaitingView},
    },
};

/// Cards and rows of each list; more are behind a link.
const SHOWN: usize = 8;
/// Documents that need somebody, at most.
const MOST_CARDS: usize = 50;
/// Open deliveries that waiting documents are compared with, so that none is shown twice.
const MOST_OPEN: usize = 200;
/// Failed deliveries that are looked at: most were put right long ago.
const MOST_FAILED: usize = 200;
/// A share that does not answer must not keep the page waiting.
const LOOK: Duration = Duration::from_secs(1);

/// The sentence at the top.
pub struct Verdict {
    /// `ok`, `quiet`, `wait` or `bad`: how loud it is.
    pub tone: &'static str,
    /// Always one of a few kinds.
    pub sentence: String,
    /// More of it.
    pub detail: String,
}

/// A document that needs somebody.
pub struct Card {
    pub tone: &'static str,
    pub file: String,
    pub folder: String,
    pub since: String,
    pub what: String,
    pub todo: String,
    pub actions: Vec<Action>,
    pub href: String,
}

/// A line of a list.
pub struct Row {
    /// Where it can be described; empty when it cannot.
    pub describe: String,
    pub file: String,
    pub why: String,
    pub tag: String,
    pub tag_class: &'static str,
    pub href: String,
}

/// Something that IT should look at.
pub struct AlarmCard {
    pub summary: String,
    pub remedy: String,
    pub since: String,
    pub place: String,
}

#[derive(Template)]
#[template(path = "today.html")]
struct Today {
    shell: Shell,
    is_described: bool,
    verdict: Verdict,
    accepted_today: u64,
    alarms: Vec<AlarmCard>,
    cards: Vec<Card>,
    more_cards: bool,
    moving: Vec<Row>,
    moving_count: u64,
    accepted: Vec<Row>,
    /// The inboxes' folders, to copy.
    folders: Vec<String>,
}

/// What was just done.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Done {
    done: String,
}

/// `GET /`.
pub async fn page(
    State(state): Shared,
    Extension(visitor): Extension<Visitor>,
    Query(Done { done }): Query<Done>,
) -> Response {
    match today(&state, &visitor, done == "described").await {
        Ok(page) => render(&page),
        Err(problem) => error_page(&state, &visitor, problem).await.into_response(),
    }
}

async fn today(state: &Arc<PageState>, visitor: &Visitor, is_described: bool) -> Result<Today, ApiProblem> {
    let desk = &state.desk;
    let config = desk.config();
    let (now, zone) = moment(desk);
    let status = snapshot::status(desk).await;
    let waiting = snapshot::waiting(desk).documents;
    let held = page_of(desk, &[DeliveryState::Held], MOST_CARDS + 1).await?;
    let failed = still_failed(desk, page_of(desk, &[DeliveryState::Rejected], MOST_FAILED).await?).await;
    let open = [DeliveryState::Sending, DeliveryState::Unknown, DeliveryState::Queued, DeliveryState::Filing];
    let open = page_of(desk, &open, MOST_OPEN).await?;
    // Between two looks the board still lists what has become a delivery, and so it does while a destination is closed.
    let is_new = |document: &&WaitingView| {
        !open.iter().chain(&held).any(|view| view.inbox == document.inbox && view.path == document.path)
    };
    let accepted = page_of(desk, &[DeliveryState::Accepted], SHOWN).await?;

    let (stuck, moving): (Vec<_>, Vec<_>) =
        waiting.iter().filter(is_new).partition(|document| needs_somebody(document));
    let needed = held.len() + failed.len() + stuck.len();
    let mut cards: Vec<_> = stuck.iter().map(|document| waiting_card(document, &config, &zone, now)).collect();
    cards.extend(held.iter().chain(&failed).map(|view| card(view, visitor, &zone, now)));
    cards.truncate(MOST_CARDS);
    let rows = moving.iter().map(|document| waiting_row(document, &config, now));
    let rows = open.iter().map(|view| row(view, &zone, now)).chain(rows).take(SHOWN);
    let counts = &status.counts;
    let under_way = counts.queued + counts.sending + counts.unknown + counts.filing;
    let last = accepted.iter().filter_map(|view| view.accepted_at).max();
    Ok(Today {
        is_described,
        verdict: verdict(&status, needed, under_way + moving.len() as u64, last, &zone, now),
        shell: Shell::of(state, visitor, "today", "Today").await,
        accepted_today: status.inboxes.iter().map(|inbox| inbox.accepted_today).sum(),
        alarms: status.alarms.iter().map(|alarm| alarm_card(alarm, &zone, now)).collect(),
        more_cards: needed > cards.len(),
        cards,
        moving: rows.collect(),
        moving_count: under_way + moving.len() as u64,
        accepted: accepted.iter().map(|view| row(view, &zone, now)).collect(),
        folders: desk.config().inboxes.iter().map(|inbox| inbox.path.to_string_lossy().into_owned()).collect(),
    })
}

/// The newest deliveries in these states.
pub async fn page_of(desk: &Desk, states: &[DeliveryState], limit: usize) -> Result<Vec<DeliveryView>, ApiProblem> {
    let states: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    let request = Request { state: Some(states.join(",")), limit: Some(limit), ..Request::default() };
    let filter = Filter::new(&request, &desk.config().status.time_zone)?;
    desk.catalog.loaded().await;
    Ok(listing::page(&*desk.ledger, &desk.catalog, &filter).await?.deliveries)
}

/// Those whose document is still in the failed folder, and that nobody has closed: the others need nobody any more.
pub async fn still_failed(desk: &Desk, failed: Vec<DeliveryView>) -> Vec<DeliveryView> {
    let config = desk.config();
    let of = |view: &DeliveryView| -> Option<PathBuf> {
        let folder = &config.inbox(&view.inbox)?.failed;
        Some(folder.join(act::rel_path(view.filed_as.as_deref()?)?.as_path()))
    };
    let failed: Vec<_> = failed
        .into_iter()
        .filter(|view| view.problem.as_ref().is_none_or(|problem| problem.code != "closed"))
        .map(|view| (of(&view), view))
        .collect();
    let paths: Vec<_> = failed.iter().map(|(path, _)| path.clone()).collect();
    let is_there = |path: Option<PathBuf>| path.is_none_or(|path| path.symlink_metadata().is_ok());
    let look = tokio::task::spawn_blocking(move || paths.into_iter().map(is_there).collect::<Vec<_>>());
    // Shown rather than hidden when nobody can tell.
    let there = match tokio::time::timeout(LOOK, look).await {
        Ok(Ok(there)) => there,
        Ok(Err(_)) | Err(_) => vec![true; failed.len()],
    };
    failed.into_iter().zip(there).filter(|(_, there)| *there).map(|((_, view), _)| view).collect()
}

/// Whether a document without a delivery goes on only when somebody does something.
fn needs_somebody(document: &WaitingView) -> bool {
    document.problem.is_some() && document.until.is_none() && document.state == WaitingState::Incomplete.as_str()
}

fn waiting_card(document: &WaitingView, config: &Config, zone: &TimeZone, now: Timestamp) -> Card {
    let (file, folder) = words::split(&document.path);
    let problem = document.problem.as_ref();
    Card {
        tone: "wait",
        file,
        folder,
        since: words::clock(document.since, zone, now),
        what: problem.map(|problem| problem.summary.clone()).unwrap_or_default(),
        todo: problem.map(|problem| problem.remedy.clone()).unwrap_or_default(),
        actions: describe(document, config).into_iter().collect(),
        href: String::new(),
    }
}

/// A document that lacks the description which its inbox asks for can be given one here.
fn describe(document: &WaitingView, config: &Config) -> Option<Action> {
    let is_missing = document.problem.is_some()
        && document.state == WaitingState::Incomplete.as_str()
        && config.inbox(&document.inbox).is_some_and(|inbox| inbox.sidecar == SidecarRule::Required);
    is_missing.then(|| Action {
        label: "Describe it",
        class: "go",
        href: format!("/describe?inbox={}&path={}", super::coded(&document.inbox), super::coded(&document.path)),
        is_direct: false,
    })
}

/// A held or failed delivery.
fn card(view: &DeliveryView, visitor: &Visitor, zone: &TimeZone, now: Timestamp) -> Card {
    let (file, folder) = words::split(&view.path);
    let problem = view.problem.as_ref();
    Card {
        tone: if view.state == DeliveryState::Rejected { "bad" } else { "wait" },
        file,
        folder,
        since: words::clock(view.since, zone, now),
        what: problem.map(|problem| problem.summary.clone()).unwrap_or_default(),
        todo: problem.map(|problem| problem.remedy.clone()).unwrap_or_default(),
        actions: act::actions(view, visitor),
        href: format!("/deliveries/{}", view.id),
    }
}

/// A delivery in a list.
pub fn row(view: &DeliveryView, zone: &TimeZone, now: Timestamp) -> Row {
    let (file, folder) = words::split(&view.path);
    let why = match view.state {
        DeliveryState::Accepted | DeliveryState::Sending | DeliveryState::Filing => words::sends(view),
        DeliveryState::Queued | DeliveryState::Unknown | DeliveryState::Held | DeliveryState::Rejected => {
            view.problem.as_ref().map(|problem| problem.summary.clone())
        }
    };
    let tag_class = match view.state {
        DeliveryState::Accepted => "ok",
        DeliveryState::Held => "wait",
        DeliveryState::Rejected => "bad",
        DeliveryState::Queued | DeliveryState::Sending | DeliveryState::Unknown | DeliveryState::Filing => "quiet",
    };
    Row {
        describe: String::new(),
        file,
        why: [Some(folder), why].into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "),
        tag: words::label(view, zone, now),
        tag_class,
        href: format!("/deliveries/{}", view.id),
    }
}

fn waiting_row(document: &WaitingView, config: &Config, now: Timestamp) -> Row {
    let (file, folder) = words::split(&document.path);
    let why = document.problem.as_ref().map(|problem| problem.summary.clone());
    Row {
        describe: describe(document, config).map(|action| action.href).unwrap_or_default(),
        file,
        why: [Some(folder), why].into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "),
        tag: words::waiting_label(document, now),
        tag_class: "quiet",
        href: String::new(),
    }
}

/// For *Today* and *Service*.
pub fn alarm_card(alarm: &AlarmView, zone: &TimeZone, now: Timestamp) -> AlarmCard {
    AlarmCard {
        summary: alarm.summary.clone(),
        remedy: alarm.remedy.clone(),
        since: words::clock(alarm.since, zone, now),
        place: alarm.inbox.clone().unwrap_or_default(),
    }
}

/// Since when a channel is closed: its alarm says it.
fn since(status: &StatusView, channel: &ChannelView, zone: &TimeZone, now: Timestamp) -> String {
    let code = channel.problem.as_ref().map(|problem| problem.code.as_str());
    let alarm = status.alarms.iter().find(|alarm| alarm.inbox.is_none() && Some(alarm.code.as_str()) == code);
    alarm.map(|alarm| format!(" since {}", words::clock(alarm.since, zone, now))).unwrap_or_default()
}

/// Loudest first: what stops everything, then what a person must do, then what takes its time.
fn verdict(
    status: &StatusView,
    needed: usize,
    moving: u64,
    last: Option<Timestamp>,
    zone: &TimeZone,
    now: Timestamp,
) -> Verdict {
    let need = |verb: [&str; 2]| {
        let needed = needed as u64;
        format!("{} {} somebody.", words::documents(needed), verb[usize::from(needed != 1)])
    };
    let also = if needed == 0 { String::new() } else { format!(" {}", need(["also needs", "also need"])) };
    let wait = |n: u64| match n {
        0 => "Nothing waits".to_owned(),
        1 => "1 document waits".into(),
        n => format!("{n} documents wait"),
    };
    let in_state = |state: &str| status.channels.iter().find(|channel| channel.state.as_deref() == Some(state));
    let problem = |channel: &ChannelView| {
        channel.problem.as_ref().map(|problem| format!("{} {}", problem.summary, problem.remedy)).unwrap_or_default()
    };
    if let Some(channel) = in_state("stopped") {
        return Verdict {
            tone: "bad",
            sentence: format!(
                "Nothing goes out to {}{}. IT has to act; nothing is lost.",
                channel.destination,
                since(status, channel, zone, now)
            ),
            detail: format!("{}{also}", problem(channel)),
        };
    }
    let unreachable = status.inboxes.iter().find_map(|inbox| {
        inbox.problem.as_ref().filter(|problem| problem.code != "not-looked-at").map(|problem| (inbox, problem))
    });
    if let Some((inbox, problem)) = unreachable {
        return Verdict {
            tone: "bad",
            sentence: format!("The inbox {} cannot be worked on. IT has to act; nothing is lost.", inbox.name),
            detail: format!("{} {}{also}", problem.summary, problem.remedy),
        };
    }
    if let Some(channel) = in_state("paused") {
        return Verdict {
            tone: "wait",
            sentence: format!("Sending to {} is paused. {}; nothing is lost.", channel.destination, wait(moving)),
            detail: format!("{}{also}", problem(channel)),
        };
    }
    if let Some(channel) = in_state("backing-off") {
        return Verdict {
            tone: if needed == 0 { "quiet" } else { "wait" },
            sentence: format!(
                "{} cannot be reached{}. {}; nothing is lost.",
                channel.destination,
                since(status, channel, zone, now),
                wait(moving)
            ),
            detail: format!("It goes on by itself.{also}"),
        };
    }
    let last = match last {
        Some(at) => format!("Last accepted {}.", words::ago(at, zone, now)),
        None => "Nothing has been accepted yet.".into(),
    };
    if needed > 0 {
        return Verdict {
            tone: "wait",
            sentence: format!("{} Everything else is going out.", need(["needs", "need"])),
            detail: format!("Nothing is lost. {last}"),
        };
    }
    if !status.alarms.is_empty() {
        return Verdict { tone: "wait", sentence: "Something needs a look. Nothing is lost.".into(), detail: last };
    }
    let moving = match moving {
        0 => String::new(),
        1 => "1 document is on its way. ".into(),
        n => format!("{n} documents are on their way. "),
    };
    Verdict { tone: "ok", sentence: "Everything is going out.".into(), detail: format!("{moving}{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::view::ProblemView;

    fn channel(state: &str) -> ChannelView {
        let problem = (state != "open").then(|| ProblemView {
            code: "key-refused".into(),
            summary: "Redox refuses the key.".into(),
            remedy: "Have IT look at it.".into(),
        });
        ChannelView { destination: "Redox".into(), state: Some(state.into()), problem, next_attempt_at: None }
    }

    #[test]
    fn the_top_line_is_one_sentence_of_a_few_kinds() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let say = |state: &str, needed: usize, moving: u64| {
            let status = StatusView { channels: vec![channel(state)], ..StatusView::default() };
            let verdict = verdict(&status, needed, moving, Some(now), &TimeZone::UTC, now);
            (verdict.tone, verdict.sentence)
        };
        for (state, needed, moving, tone, sentence) in [
            ("open", 0, 0, "ok", "Everything is going out."),
            ("open", 1, 0, "wait", "1 document needs somebody. Everything else is going out."),
            ("open", 2, 3, "wait", "2 documents need somebody. Everything else is going out."),
            ("backing-off", 0, 41, "quiet", "Redox cannot be reached. 41 documents wait; nothing is lost."),
            ("stopped", 0, 41, "bad", "Nothing goes out to Redox. IT has to act; nothing is lost."),
            ("paused", 0, 1, "wait", "Sending to Redox is paused. 1 document waits; nothing is lost."),
        ] {
            assert_eq!(say(state, needed, moving), (tone, sentence.to_owned()));
        }
    }
}
