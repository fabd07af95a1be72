//! Pages of deliveries, newest first: a cursor stays right while rows change, since an entry's place never does.

use jiff::{Timestamp, ToSpan, civil, tz::TimeZone};
use uuid::Uuid;

use super::{
    catalog::{Catalog, Position, Wanted},
    problem::ApiProblem,
    view::{DeliveriesView, DeliveryView, State, WaitingListView},
};
use crate::{
    config::units,
    ledger::{Delivery, Ledger, Query},
    model::document::DeliveryId,
};

/// Deliveries of a page when nobody says.
pub const DEFAULT_LIMIT: usize = 100;
/// The largest page.
pub const MOST: usize = 500;
/// Rows that are asked for at a time: a delivery's own step waits for no more than these.
const CHUNK: usize = 32;
/// Rows that one request looks through for a text; the next request goes on from there.
const MOST_LOOKED_AT: usize = 20_000;
/// The shortest beginning of an id.
const SHORTEST_PREFIX: usize = 4;

/// What is asked for, still in the words of the request.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Request {
    /// States, with commas between.
    pub state: Option<String>,
    /// An inbox's name.
    pub inbox: Option<String>,
    /// Part of the path, the title, the patient's number, the id or the reason.
    pub text: Option<String>,
    /// Created at or after: a time, a date, or how long ago.
    pub since: Option<String>,
    /// Created before.
    pub until: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    wanted: Wanted,
    text: Option<String>,
    limit: usize,
    before: Option<Position>,
}

impl Filter {
    /// Reads a request.
    pub fn new(request: &Request, zone: &TimeZone) -> Result<Self, ApiProblem> {
        let state = |name: &str| {
            State::named(name.trim()).ok_or_else(|| {
                let known: Vec<_> = State::ALL.iter().map(|state| state.as_str()).collect();
                ApiProblem::bad("bad-state", format!("{name:?} is not a state. Known are {}.", known.join(", ")))
            })
        };
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let states = match given(&request.state) {
            Some(names) => names.split(',').map(state).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let moment = |text: Option<String>| text.map(|text| moment(&text, Timestamp::now(), zone)).transpose();
        Ok(Self {
            wanted: Wanted {
                states,
                inbox: given(&request.inbox),
                since: moment(given(&request.since))?,
                until: moment(given(&request.until))?,
            },
            text: given(&request.text).map(|text| text.to_lowercase()),
            limit: limit(request.limit)?,
            before: request.cursor.as_deref().map(read_cursor).transpose()?,
        })
    }
}

/// The size of a page.
pub fn limit(asked: Option<usize>) -> Result<usize, ApiProblem> {
    match asked {
        Some(0) => Err(ApiProblem::bad("bad-limit", format!("limit must be between 1 and {MOST}."))),
        asked => Ok(asked.unwrap_or(DEFAULT_LIMIT).min(MOST)),
    }
}

/// One page.
pub async fn page(ledger: &dyn Ledger, catalog: &Catalog, filter: &Filter) -> Result<DeliveriesView, ApiProblem> {
    let (mut found, mut before, mut looked_at) = (Vec::new(), filter.before, 0);
    loop {
        let entries = catalog.page(before, &filter.wanted, CHUNK);
        let rows = futures_util::future::try_join_all(entries.iter().map(|entry| ledger.look_up(DeliveryId(entry.id))))
            .await?;
        for (entry, row) in entries.iter().zip(rows) {
            if found.len() == filter.limit {
                return Ok(DeliveriesView { deliveries: found, next: before.map(cursor) });
            }
            before = Some(entry.position());
            if let Some(row) = row.filter(|row| contains(row, filter.text.as_deref())) {
                found.push(DeliveryView::of(&row));
            }
        }
        if entries.len() < CHUNK {
            return Ok(DeliveriesView { deliveries: found, next: None });
        }
        looked_at += entries.len();
        if looked_at >= MOST_LOOKED_AT {
            return Ok(DeliveriesView { deliveries: found, next: before.map(cursor) });
        }
        tokio::task::yield_now().await;
    }
}

fn contains(row: &Delivery, text: Option<&str>) -> bool {
    let Some(text) = text else { return true };
    let view = DeliveryView::of(row);
    let document = row.document.as_ref();
    let title = document.and_then(|document| document.metadata.title.as_deref());
    let family = document.and_then(|document| document.patient.family.as_deref());
    let problem = view.problem.as_ref();
    [
        Some(view.path.as_str()),
        title,
        family,
        view.patient.as_deref(),
        view.filed_as.as_deref(),
        problem.map(|problem| problem.code.as_str()),
        problem.map(|problem| problem.summary.as_str()),
    ]
    .into_iter()
    .flatten()
    .any(|part| part.to_lowercase().contains(text))
        || view.id.starts_with(text)
}

/// A page of the documents that wait, by inbox and path; the cursor is the last one's.
pub fn waiting(all: WaitingListView, request: &Request) -> Result<WaitingListView, ApiProblem> {
    let limit = request.limit.map_or(Ok(usize::MAX), |asked| limit(Some(asked)))?;
    let after = request.cursor.as_deref().map(|cursor| {
        cursor
            .split_once('/')
            .ok_or_else(|| ApiProblem::bad("bad-cursor", "This cursor is not one that chartdrop gave."))
    });
    let after = after.transpose()?;
    let inbox = request.inbox.as_deref().filter(|inbox| !inbox.is_empty());
    let mut rest = all.documents.into_iter().filter(|document| {
        inbox.is_none_or(|inbox| document.inbox == inbox)
            && after.is_none_or(|after| (document.inbox.as_str(), document.path.as_str()) > after)
    });
    let documents: Vec<_> = rest.by_ref().take(limit).collect();
    let next = rest.next().and(documents.last()).map(|last| format!("{}/{}", last.inbox, last.path));
    Ok(WaitingListView { documents, next })
}

/// The delivery whose id this is, or begins so.
pub async fn find(ledger: &dyn Ledger, id: &str) -> Result<Delivery, ApiProblem> {
    let id = id.trim().to_lowercase();
    if id.len() < SHORTEST_PREFIX {
        return Err(ApiProblem::bad("short-id", "Give at least four letters of the delivery's id."));
    }
    let unknown = || {
        ApiProblem::new(axum::http::StatusCode::NOT_FOUND, "unknown-delivery", format!("There is no delivery {id}."))
            .with_remedy("`chartdrop history` lists them.")
    };
    let digits = id.replace('-', "");
    if digits.len() > 32 {
        return Err(unknown());
    }
    let from = u128::from_str_radix(&format!("{digits:0<32}"), 16).map_err(|_| unknown())?;
    let mut found = ledger.list(Query::ById { from: DeliveryId(Uuid::from_u128(from)), limit: 100 }).await?;
    found.retain(|row| row.id().0.simple().to_string().starts_with(&digits));
    match found.len() {
        0 => Err(unknown()),
        1 => Ok(found.remove(0)),
        n => Err(ApiProblem::conflict(
            "ambiguous-id",
            format!("{n}{} deliveries begin with {id}. Give more of the id.", if n == 100 { " or more" } else { "" }),
        )),
    }
}

fn cursor((created, id): Position) -> String {
    format!("{created}.{}", id.simple())
}

fn read_cursor(text: &str) -> Result<Position, ApiProblem> {
    let read = text.split_once('.').and_then(|(created, id)| Some((created.parse().ok()?, id.parse().ok()?)));
    read.ok_or_else(|| ApiProblem::bad("bad-cursor", "This cursor is not one that chartdrop gave."))
}

/// `2026-11-20T09:30:00Z`, `2026-11-20` (its beginning), or `24h` (so long ago).
fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, ApiProblem> {
    let bad = || {
        let shown: String = text.chars().take(40).collect();
        ApiProblem::bad(
            "bad-time",
            format!("{shown:?} is not a time. Write 2026-11-20T09:30:00Z, 2026-11-20, or how long ago: 24h, 7d."),
        )
    };
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(date) = text.parse::<civil::Date>() {
        return date.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| bad());
    }
    let ago = text.parse::<units::Duration>().map_err(|_| bad())?;
    let ago = i64::try_from(ago.get().as_secs()).map_err(|_| bad())?;
    now.checked_sub(ago.seconds()).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Zurich").unwrap();
        for (text, expected) in [
            ("2026-11-20T09:30:00Z", "2026-11-20T09:30:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("24h", "2026-11-26T12:00:00Z"),
            ("7d", "2026-11-20T12:00:00Z"),
        ] {
            assert_eq!(moment(text, now, &zone).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "-1h"] {
            assert_eq!(moment(text, now, &zone).unwrap_err().code.as_ref(), "bad-time", "{text}");
        }
    }

    #[test]
    fn a_request_that_makes_no_sense_is_said_to() {
        let zone = TimeZone::UTC;
        let code = |request: Request| Filter::new(&request, &zone).unwrap_err().code.into_string();
        assert_eq!(code(Request { limit: Some(0), ..Request::default() }), "bad-limit");
        assert_eq!(code(Request { state: Some("sent".into()), ..Request::default() }), "bad-state");
        assert_eq!(code(Request { cursor: Some("x".into()), ..Request::default() }), "bad-cursor");
        assert!(Filter::new(&Request { state: Some("held,queued".into()), ..Request::default() }, &zone).is_ok());
        assert_eq!(read_cursor(&cursor((-7, Uuid::nil()))).unwrap(), (-7, Uuid::nil()));
    }
}
