//! Puts the status together: from the board, the channels and the catalog.

use std::{path::Path, time::Instant};

use jiff::Timestamp;

use super::{
    desk::Desk,
    view::{AlarmView, ChannelView, InboxView, LedgerView, ProblemView, StatusView, WaitingListView, WaitingView},
};
use crate::delivery::{
    ChannelReport,
    board::{InboxState, WaitingDocument},
};

/// How `GET /api/v1/status` answers.
pub async fn status(desk: &Desk) -> StatusView {
    desk.catalog.loaded().await;
    let live = desk.live.as_ref();
    let channels = live.map(|live| live.engine.channels()).unwrap_or_default();
    let alarms = alarms(desk);
    let config = desk.config();
    let folder = config.ledger.clone();
    let size_bytes = tokio::task::spawn_blocking(move || size(&folder)).await.ok();
    StatusView {
        version: env!("CARGO_PKG_VERSION").into(),
        node: desk.node.clone(),
        started_at: live.map(|live| live.engine.board().started_at()),
        inboxes: inboxes(desk),
        channels: match live {
            Some(_) => channels.iter().map(channel).collect(),
            None => destinations(desk),
        },
        counts: desk.catalog.counts(),
        alarms,
        ledger: LedgerView { kind: "sled".into(), size_bytes },
    }
}

/// What a person should look at; nothing while nobody delivers.
pub fn alarms(desk: &Desk) -> Vec<AlarmView> {
    let Some(live) = &desk.live else { return Vec::new() };
    let mut alarms: Vec<_> = live.engine.board().alarms().into_iter().map(AlarmView::from).collect();
    alarms.extend(live.engine.channels().iter().filter_map(channel_alarm));
    alarms
}

fn inboxes(desk: &Desk) -> Vec<InboxView> {
    let config = desk.config();
    let states = desk.live.as_ref().map(|live| live.engine.board().inboxes());
    let zoned = Timestamp::now().to_zoned(config.status.time_zone.clone());
    let midnight = zoned.start_of_day().unwrap_or(zoned).timestamp();
    let view = |name: &String| {
        let state = states.as_ref().and_then(|states| states.get(name));
        let (accepted_today, rejected_today) = desk.catalog.ended_since(name, midnight);
        InboxView {
            name: name.clone(),
            state: state.map(|state| inbox_state(state).to_owned()),
            problem: state.and_then(|state| state.problem.as_ref()).map(ProblemView::from),
            waiting: state.map(|state| state.documents as u64),
            oldest_waiting_since: state.and_then(|state| state.oldest),
            accepted_today,
            rejected_today,
        }
    };
    config.inboxes.iter().map(|inbox| view(&inbox.name)).collect()
}

fn inbox_state(state: &InboxState) -> &'static str {
    match state {
        InboxState { problem: Some(_), .. } => "unreachable",
        InboxState { documents: 0, .. } => "ok",
        InboxState { .. } => "waiting",
    }
}

fn channel(report: &ChannelReport) -> ChannelView {
    let next_attempt_at = report.next_probe.map(|until| {
        let pause = until.saturating_duration_since(Instant::now());
        Timestamp::now().checked_add(pause).unwrap_or(Timestamp::MAX)
    });
    ChannelView {
        destination: report.destination.0.clone(),
        state: Some(report.state.as_str().into()),
        problem: report.trouble.as_ref().map(|trouble| ProblemView {
            code: trouble.code.clone(),
            summary: trouble.summary.clone(),
            remedy: trouble.remedy.clone(),
        }),
        next_attempt_at,
    }
}

/// What a person should look at: not a pause that a person made, nor one that is over by itself.
fn channel_alarm(report: &ChannelReport) -> Option<AlarmView> {
    let since = report.closed_since?;
    let trouble = report.trouble.as_ref().filter(|trouble| trouble.is_alarm())?;
    Some(AlarmView {
        code: trouble.code.clone(),
        summary: format!("Nothing can be sent to {}: {}", report.destination.0, trouble.summary),
        remedy: trouble.remedy.clone(),
        since,
        inbox: None,
    })
}

/// While nobody sends, all that is known of a destination is its name.
fn destinations(desk: &Desk) -> Vec<ChannelView> {
    let config = desk.config();
    let mut names: Vec<_> = config.inboxes.iter().map(|inbox| inbox.destination.0.clone()).collect();
    names.sort();
    names.dedup();
    let view = |destination| ChannelView { destination, state: None, problem: None, next_attempt_at: None };
    names.into_iter().map(view).collect()
}

/// Every document that has no delivery yet, by inbox and path.
pub fn waiting(desk: &Desk) -> WaitingListView {
    let Some(live) = &desk.live else { return WaitingListView { documents: Vec::new(), next: None } };
    let (mut documents, now) = (Vec::new(), Timestamp::now());
    for (inbox, state) in live.engine.board().inboxes() {
        let view = |document: WaitingDocument| WaitingView {
            inbox: inbox.clone(),
            path: document.path.to_string(),
            size: document.size,
            since: document.since,
            state: document.state_at(now).as_str().into(),
            problem: document.problem.as_ref().map(ProblemView::from),
            until: document.until,
        };
        documents.extend(state.waiting.into_iter().map(view));
    }
    documents.sort_by(|a, b| (&a.inbox, &a.path).cmp(&(&b.inbox, &b.path)));
    WaitingListView { documents, next: None }
}

/// Bytes of the files in a folder and the folders in it.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(of).sum()
}
