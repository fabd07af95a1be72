//! The notice in an inbox: a text file for the front desk while something waits for too long, removed when nothing does.
//!
//! The scanner takes it for litter, whatever it says (`inbox/pairing.rs`).

mod text;

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

use self::text::{BYTE_ORDER_MARK, HEADING, Late};
use super::{
    catalog::Wanted,
    desk::{Desk, Live},
    view::{DeliveryView, State},
};
use crate::{
    config::Inbox,
    delivery::{
        ChannelReport,
        board::{WaitingDocument, WaitingState},
    },
    inbox::pairing::NOTICE_FILE,
    ledger::Delivery,
    model::{document::DeliveryId, path::RelPath},
    platform::{
        dir::{Access, Dir, Kind, absent},
        durable, effect,
    },
};

/// How often an inbox is looked at, unless `notice_after` is short.
const LOOK: Duration = Duration::from_secs(5);
/// A notice that only says something else is written at most this often: each write wakes the scanner.
const REWRITE: Duration = Duration::from_secs(30);
/// At most so many documents of an inbox are told apart; a notice does not count further.
const MOST: usize = 1000;
/// No notice is longer.
const LONGEST: u64 = 256 * 1024;

/// Deliveries that are not in done or failed yet.
const OPEN: [State; 5] = [State::Queued, State::Sending, State::Unknown, State::Held, State::Filing];

/// Keeps the notice of each inbox right until the end. A share that hangs holds up its own inbox's notice only.
pub async fn keep_notices(desk: Arc<Desk>) {
    let Some(live) = &desk.live else { return };
    let shutdown = live.shutdown.clone();
    let inboxes = desk.config().inboxes.clone();
    let keepers = inboxes
        .into_iter()
        .map(|inbox| Keeper { desk: Arc::clone(&desk), inbox, written: None, complained: false }.keep());
    tokio::select! {
        _ = futures_util::future::join_all(keepers) => {}
        () = shutdown.cancelled() => {}
    }
}

/// The notice of one inbox.
struct Keeper {
    desk: Arc<Desk>,
    inbox: Inbox,
    /// When it was last written, and what it said; `None` before the first look and while there is none.
    written: Option<(Instant, String)>,
    /// It could not be written or removed, and that has been said.
    complained: bool,
}

impl Keeper {
    async fn keep(mut self) {
        let pause = LOOK.min(self.inbox.notice_after / 2).max(Duration::from_millis(100));
        let mut is_first = true;
        self.desk.catalog.loaded().await;
        loop {
            let Some(waiting) = self.waiting().await else {
                // It cannot be worked on, or has not been looked into yet: nobody knows what waits.
                sleep(pause).await;
                continue;
            };
            if !waiting.is_empty() || self.written.is_some() || is_first {
                is_first = !self.update(waiting).await;
            }
            // What an earlier configuration wanted is gone, and there will be no other.
            if self.inbox.notice_after.is_zero() && !is_first {
                return;
            }
            sleep(pause).await;
        }
    }

    /// Writes or removes the notice. Returns false when that failed.
    async fn update(&mut self, waiting: Waiting) -> bool {
        let (inbox, written) = (self.inbox.clone(), self.written.clone());
        let config = self.desk.config();
        let (contact, zone) = (config.status.contact.clone(), config.status.time_zone.clone());
        let task = move || {
            let folder = Dir::open(&inbox.path)?;
            let late = present(&folder, waiting);
            if late.is_empty() {
                remove(&folder)?;
                return Ok(None);
            }
            let text = text::text(&late, contact.as_deref(), &zone);
            let rewrite = REWRITE.min(inbox.notice_after);
            match written {
                Some((at, said)) if said == text || at.elapsed() < rewrite => Ok(Some((at, said))),
                Some(_) | None => {
                    write(&inbox, &folder, &text)?;
                    Ok(Some((Instant::now(), text)))
                }
            }
        };
        let result = spawn_blocking(task).await.unwrap_or_else(|_| Err(io::Error::other("it was interrupted")));
        let inbox = &self.inbox.name;
        match result {
            Ok(now) => {
                match (&self.written, &now) {
                    (None, Some(_)) => {
                        info!(%inbox, "documents have waited for a while: a notice in the inbox tells staff which and why")
                    }
                    (Some(_), None) => {
                        info!(%inbox, "no document waits for long any more; the notice in the inbox is removed")
                    }
                    (None, None) | (Some(_), Some(_)) => {}
                }
                (self.written, self.complained) = (now, false);
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    warn!(%inbox, "the notice for staff in the inbox cannot be written or removed ({error}); deliveries go on, and it is tried again");
                }
                false
            }
        }
    }

    /// What has waited for longer than `notice_after`; `None` when nobody knows.
    async fn waiting(&self) -> Option<Waiting> {
        let live = self.desk.live.as_ref()?;
        live.engine.board().waiting_since(&self.inbox.name, Timestamp::MIN)?;
        if self.inbox.notice_after.is_zero() {
            return Some(Waiting { unsent: Vec::new(), deliveries: Vec::new() });
        }
        let before = Timestamp::now().checked_sub(self.inbox.notice_after).ok()?;
        let unsent = live.engine.board().waiting_since(&self.inbox.name, before)?;
        Some(Waiting { unsent, deliveries: self.deliveries(live, before).await })
    }

    /// Deliveries that are not filed, oldest first, each with its reason.
    async fn deliveries(&self, live: &Live, before: Timestamp) -> Vec<(RelPath, Late)> {
        let inbox = Some(self.inbox.name.clone());
        let wanted = Wanted { states: OPEN.to_vec(), inbox, since: None, until: Some(before) };
        let entries = self.desk.catalog.page(None, &wanted, usize::MAX);
        if entries.is_empty() {
            return Vec::new();
        }
        let channel = live.engine.channels().into_iter().find(|report| report.destination == self.inbox.destination);
        let mut deliveries = Vec::new();
        for entry in entries.iter().rev().take(MOST) {
            // An error of the ledger ends the program with words of its own.
            if let Ok(Some(row)) = self.desk.ledger.look_up(DeliveryId(entry.id)).await {
                deliveries.push((row.place.path.clone(), late(&row, channel.as_ref())));
            }
        }
        deliveries
    }
}

/// What may wait in an inbox, before anybody has looked whether it is still there.
struct Waiting {
    unsent: Vec<WaitingDocument>,
    deliveries: Vec<(RelPath, Late)>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.unsent.is_empty() && self.deliveries.is_empty()
    }
}

/// Those that are still there, oldest first, each once.
fn present(folder: &Dir, waiting: Waiting) -> Vec<Late> {
    let unsent = waiting.unsent.into_iter().map(|document| (document.path.clone(), late_unsent(document)));
    let mut by_path = BTreeMap::new();
    for (path, late) in unsent.chain(waiting.deliveries).take(2 * MOST) {
        if folder.stat(&path).is_ok_and(|found| found.is_some()) {
            by_path.insert(path.to_string(), late);
        }
    }
    let mut late: Vec<_> = by_path.into_values().collect();
    late.sort_by_key(|late| late.since);
    late
}

const BY_ITSELF: &str = "Nothing: it goes on by itself.";

fn late_unsent(document: WaitingDocument) -> Late {
    let (summary, remedy) = match document.problem {
        Some(words) => (words.summary, words.remedy),
        None => match document.state_at(Timestamp::now()) {
            WaitingState::OnHold => {
                ("It is kept for a while first, so that you can still take it back.".into(), BY_ITSELF.into())
            }
            WaitingState::Settling | WaitingState::Ready | WaitingState::Incomplete => {
                ("chartdrop has not come to it yet.".into(), BY_ITSELF.into())
            }
        },
    };
    Late { path: document.path.to_string(), since: document.since, summary, remedy }
}

fn late(row: &Delivery, channel: Option<&ChannelReport>) -> Late {
    let state = State::of(row);
    let trouble = channel.and_then(|channel| channel.trouble.as_ref());
    let (summary, remedy) = match (state, trouble, DeliveryView::of(row).problem) {
        (State::Filing, _, _) => (
            "chartdrop is done with it, and cannot move it out of this folder.".to_owned(),
            "Close it if you have it open. If it stays, tell the person named below.".to_owned(),
        ),
        (State::Queued | State::Unknown | State::Sending, Some(trouble), _) => (
            format!("Nothing can be sent at the moment. {}", trouble.summary),
            format!(
                "Nothing, unless you look after chartdrop: it goes on by itself when this is over. If it lasts, tell the person named below. {}",
                trouble.remedy
            ),
        ),
        (_, _, Some(problem)) => (problem.summary, problem.remedy),
        (_, _, None) => ("Its turn has not come yet.".to_owned(), BY_ITSELF.to_owned()),
    };
    Late { path: row.place.path.to_string(), since: row.first_seen, summary, remedy }
}

fn write(inbox: &Inbox, folder: &Dir, text: &str) -> io::Result<()> {
    let spot = folder.name(NOTICE_FILE.as_ref());
    if spot.stat()?.is_some() {
        if !is_ours(folder)? {
            return Err(io::Error::other("something else has its name"));
        }
        if effect::read_up_to(spot.open()?, LONGEST)? == text.as_bytes() {
            return Ok(());
        }
    }
    let group = inbox.group.or(Some(folder.info()?.group));
    durable::replace(&spot, &Access { group, mode: inbox.mode }, text.as_bytes())
}

/// Removes the notice. What only has its name stays.
fn remove(folder: &Dir) -> io::Result<()> {
    match is_ours(folder)? {
        true => absent(folder.name(NOTICE_FILE.as_ref()).unlink()).map(drop),
        false => Ok(()),
    }
}

/// Whether chartdrop has written what has the notice's name: a document that somebody gave this name must not be lost.
fn is_ours(folder: &Dir) -> io::Result<bool> {
    let spot = folder.name(NOTICE_FILE.as_ref());
    match spot.stat()? {
        Some(found) if found.kind == Kind::File => {}
        Some(_) | None => return Ok(false),
    }
    let Some(file) = absent(spot.open())? else { return Ok(false) };
    let bytes = effect::read_up_to(file, LONGEST)?;
    Ok(bytes.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(&bytes).starts_with(HEADING.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn room() -> (tempfile::TempDir, Dir, Inbox) {
        let room = tempfile::tempdir().unwrap();
        let text = include_str!("../../../config.example.toml");
        let config = crate::config::Config::parse(text.as_bytes(), &room.path().join("config.toml")).unwrap();
        let inbox = Inbox { path: room.path().into(), ..config.inboxes[0].clone() };
        let folder = Dir::open(room.path()).unwrap();
        (room, folder, inbox)
    }

    #[test]
    fn a_notice_replaces_only_notices_and_leaves_no_other_file() {
        let (room, folder, inbox) = room();
        let notice = room.path().join(NOTICE_FILE);
        for words in ["one", "two"] {
            write(&inbox, &folder, &format!("{BYTE_ORDER_MARK}{HEADING}\r\n{words}")).unwrap();
            assert!(fs::read_to_string(&notice).unwrap().ends_with(words));
        }
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 1);
        remove(&folder).unwrap();
        assert!(!notice.exists());
        remove(&folder).unwrap();

        fs::write(&notice, "%PDF-1.4 somebody's only copy").unwrap();
        assert!(write(&inbox, &folder, HEADING).is_err());
        remove(&folder).unwrap();
        assert!(fs::read_to_string(&notice).unwrap().starts_with("%PDF"));
    }

    #[test]
    fn a_link_of_that_name_is_neither_followed_nor_removed() {
        let (room, folder, inbox) = room();
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("target");
        fs::write(&target, format!("{HEADING} and more")).unwrap();
        symlink(&target, room.path().join(NOTICE_FILE)).unwrap();
        assert!(write(&inbox, &folder, HEADING).is_err());
        remove(&folder).unwrap();
        assert!(room.path().join(NOTICE_FILE).symlink_metadata().unwrap().is_symlink());
        assert!(fs::read_to_string(&target).unwrap().ends_with("and more"));
    }
}
