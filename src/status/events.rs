//! Server-sent events: the status when it changes, every delivery that does, and alarms as they begin and end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::Stream;
use serde::Serialize;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    api::Never,
    desk::Desk,
    problem::ApiProblem,
    snapshot,
    view::{AlarmView, StatusView},
};

/// Events that wait for a slow reader; then it waits, and may miss deliveries, but never the latest status.
const WAITING: usize = 64;
const ALIVE: Duration = Duration::from_secs(15);

/// An alarm that begins or ends.
#[derive(Serialize)]
struct AlarmEvent<'a> {
    #[serde(flatten)]
    alarm: &'a AlarmView,
    over: bool,
}

/// Server-sent events: `status` (as `GET /api/v1/status`), `delivery` (a delivery), `alarm` (an alarm, and whether it is `over`).
#[utoipa::path(get, path = "/api/v1/events", responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(super) async fn stream(
    State(desk): State<Arc<Desk>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Never>>>, ApiProblem> {
    let unavailable =
        |code: &str, words: &str| ApiProblem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, code, words);
    let Some(live) = &desk.live else {
        return Err(unavailable("not-running", "chartdrop is not running: nothing happens."));
    };
    let Ok(place) = Arc::clone(&live.streams).try_acquire_owned() else {
        return Err(unavailable("too-many-streams", "Too many watch already. Try again in a minute."));
    };
    let (events, waiting) = mpsc::channel(WAITING);
    let shutdown = live.shutdown.clone();
    let desk = Arc::clone(&desk);
    tokio::spawn(async move {
        let _place = place;
        tokio::select! {
            () = pump(&desk, &events) => {}
            () = events.closed() => {}
            () = shutdown.cancelled() => {}
        }
    });
    Ok(Sse::new(ReceiverStream::new(waiting)).keep_alive(KeepAlive::new().interval(ALIVE)))
}

/// Ends when nobody listens any more.
async fn pump(desk: &Desk, to: &mpsc::Sender<Result<Event, Never>>) {
    let Some(live) = &desk.live else { return };
    let (mut changes, mut watched) = (live.observed.changes(), live.watched.subscribe());
    let mut known = BTreeMap::new();
    let first = snapshot::status(desk).await;
    if tell_status(to, &first, &mut known).await.is_none() {
        return;
    }
    loop {
        let told = tokio::select! {
            changed = changes.recv() => match changed {
                Ok(delivery) => tell(to, "delivery", &*delivery).await,
                // Some were missed: the status says how many there are.
                Err(RecvError::Lagged(_)) => Some(()),
                Err(RecvError::Closed) => None,
            },
            changed = watched.changed() => {
                let status = Arc::clone(&watched.borrow_and_update());
                if changed.is_err() { None } else { tell_status(to, &status, &mut known).await }
            }
        };
        if told.is_none() {
            return;
        }
    }
}

async fn tell_status(
    to: &mpsc::Sender<Result<Event, Never>>,
    status: &StatusView,
    known: &mut BTreeMap<(String, Option<String>), AlarmView>,
) -> Option<()> {
    tell(to, "status", status).await?;
    let now: BTreeMap<_, _> =
        status.alarms.iter().map(|alarm| ((alarm.code.clone(), alarm.inbox.clone()), alarm.clone())).collect();
    for (key, alarm) in &now {
        if known.get(key) != Some(alarm) {
            tell(to, "alarm", &AlarmEvent { alarm, over: false }).await?;
        }
    }
    for (_, alarm) in known.iter().filter(|(key, _)| !now.contains_key(key)) {
        tell(to, "alarm", &AlarmEvent { alarm, over: true }).await?;
    }
    *known = now;
    Some(())
}

async fn tell(to: &mpsc::Sender<Result<Event, Never>>, name: &str, data: &impl Serialize) -> Option<()> {
    let event = Event::default().event(name).json_data(data).ok()?;
    to.send(Ok(event)).await.ok()
}
