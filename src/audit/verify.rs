//! Whether everything adds up: what lies in the folders, against what the ledger says. Changes neither.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    config::{Config, Inbox},
    filing::{
        self,
        archive::{Archive, Contents},
        reason,
        receipt::{self, Status},
    },
    inbox::{Role, role, scan},
    ledger::{Delivery, Ledger, LedgerError, Query, Stage},
    model::document::DeliveryId,
    model::path::RelPath,
    model::words::display_name,
    platform::effect,
};

/// Rows read at once.
const PAGE: usize = 500;

/// What was counted, and what does not add up.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// By the day on which documents were put in (of this machine's time zone), inbox and patient folder.
    pub days: BTreeMap<Date, BTreeMap<String, Count>>,
    /// Documents that somebody has moved out of done or failed since, with their notes.
    pub moved_on: u64,
    /// Documents that somebody took out of an inbox before they were sent.
    pub taken_out: u64,
    /// Documents in done whose bytes were compared with their receipts.
    pub rehashed: u64,
    /// What does not add up.
    pub findings: Vec<Finding>,
}

/// What became of the documents of one day and folder; the first is counted apart from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Documents that were put in.
    pub put_in: u64,
    /// Accepted by Redox.
    pub accepted: u64,
    /// Not sent, because the same had been accepted before.
    pub duplicates: u64,
    /// In an inbox.
    pub waiting: u64,
    /// Refused.
    pub failed: u64,
}

impl Count {
    /// Nothing of what was put in is unaccounted for.
    pub fn adds_up(&self) -> bool {
        self.put_in == self.accepted + self.duplicates + self.waiting + self.failed
    }
}

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file that it is about.
    pub file: PathBuf,
    /// What is wrong, in whole sentences.
    #[serde(rename = "what")]
    pub summary: String,
}

/// A row, as far as it is compared.
struct Row {
    inbox: String,
    place: RelPath,
    first_seen: Timestamp,
    stage: End,
}

enum End {
    Open { maybe_sent: bool },
    Accepted { to: Option<RelPath>, filed: bool },
    Rejected { to: Option<RelPath>, filed: bool },
}

/// Compares everything; with `rehash` every byte in done as well.
///
/// # Errors
/// A ledger that cannot be read. Folders that cannot be read are findings.
pub async fn verify(config: &Config, ledger: &dyn Ledger, rehash: bool) -> Result<Report, LedgerError> {
    let mut rows = HashMap::new();
    let mut from = DeliveryId(Uuid::nil());
    loop {
        let page = ledger.list(Query::ById { from, limit: PAGE }).await?;
        let Some(last) = page.last().map(Delivery::id) else { break };
        rows.extend(page.into_iter().map(|row| (row.id(), Row::of(row))));
        let Some(next) = last.0.as_u128().checked_add(1) else { break };
        from = DeliveryId(Uuid::from_u128(next));
    }
    let mut audit = Audit { rows: &rows, rehash, report: Report::default() };
    let mut seen = HashSet::new();
    for inbox in &config.inboxes {
        audit.inbox(inbox);
        // Inboxes may share these.
        if seen.insert(inbox.done.clone()) {
            audit.done(inbox, config.history);
        }
        if seen.insert(inbox.failed.clone()) {
            audit.failed(inbox);
        }
    }
    Ok(audit.report)
}

impl Row {
    fn of(row: Delivery) -> Self {
        let maybe_sent = row.sends > 0;
        let stage = match row.stage {
            Stage::Queued(_) | Stage::Sending(_) | Stage::Unknown(_) | Stage::Held(_) => End::Open { maybe_sent },
            Stage::Accepted(accepted) => {
                End::Accepted { to: accepted.filing.to.map(|to| to.path), filed: accepted.filing.filed.is_some() }
            }
            Stage::Rejected(rejected) => {
                End::Rejected { to: rejected.filing.to.map(|to| to.path), filed: rejected.filing.filed.is_some() }
            }
        };
        Self { inbox: row.place.inbox, place: row.place.path, first_seen: row.first_seen, stage }
    }
}

struct Audit<'a> {
    rows: &'a HashMap<DeliveryId, Row>,
    rehash: bool,
    report: Report,
}

impl Audit<'_> {
    fn count(&mut self, at: Timestamp, inbox: &Inbox, path: &RelPath) -> &mut Count {
        let folder = path.first_folder().map(display_name).unwrap_or_default();
        let day = self.report.days.entry(at.to_zoned(TimeZone::system()).date()).or_default();
        day.entry(format!("{}/{folder}", inbox.name)).or_default()
    }

    fn find(&mut self, folder: &Path, path: &RelPath, summary: &str) {
        self.report.findings.push(Finding { file: folder.join(path.as_path()), summary: summary.into() });
    }

    /// What lies in an inbox, and the rows that came from it.
    fn inbox(&mut self, inbox: &Inbox) {
        let listing = scan(&inbox.path, || {});
        if !listing.as_ref().is_ok_and(|listing| listing.unread.is_empty()) {
            let summary = "It cannot be read, or not all of it: is it mounted, and may chartdrop read it?";
            self.report.findings.push(Finding { file: inbox.path.clone(), summary: summary.into() });
        }
        let listing = listing.unwrap_or_default();
        let mut lying: BTreeMap<RelPath, Timestamp> = BTreeMap::new();
        let contents = listing.contents();
        let strays = contents.strays.iter().filter(|stray| stray.is_reported()).map(|stray| stray.path);
        for path in contents.documents.iter().map(|(path, _)| *path).chain(strays) {
            let since = listing.entries.get(path).map(|entry| entry.stamp.ctime).unwrap_or_default();
            lying.insert(path.clone(), Timestamp::from_nanosecond(since).unwrap_or_default());
        }
        for row in self.rows.values().filter(|row| row.inbox == inbox.name) {
            let here = lying.contains_key(&row.place);
            match &row.stage {
                End::Open { .. } if here => {
                    lying.remove(&row.place);
                    let count = self.count(row.first_seen, inbox, &row.place);
                    count.put_in += 1;
                    count.waiting += 1;
                }
                End::Open { maybe_sent: false } => self.report.taken_out += 1,
                End::Open { maybe_sent: true } => {
                    self.count(row.first_seen, inbox, &row.place).put_in += 1;
                    self.find(
                        &inbox.path,
                        &row.place,
                        "It was sent, its answer never came, and it has been taken out of the inbox since. Look into the patient's chart; drop it again if it is not there.",
                    );
                }
                End::Accepted { to, filed } => {
                    let count = self.count(row.first_seen, inbox, &row.place);
                    count.put_in += 1;
                    count.accepted += 1;
                    self.ended(inbox, row, &inbox.done, to.as_ref(), receipt::ENDING, *filed);
                }
                End::Rejected { to, filed } => {
                    let count = self.count(row.first_seen, inbox, &row.place);
                    count.put_in += 1;
                    count.failed += 1;
                    self.ended(inbox, row, &inbox.failed, to.as_ref(), reason::ENDING, *filed);
                }
            }
            if here && matches!(row.stage, End::Accepted { filed: false, .. } | End::Rejected { filed: false, .. }) {
                lying.remove(&row.place);
            }
        }
        for (path, since) in lying {
            let count = self.count(since, inbox, &path);
            count.put_in += 1;
            count.waiting += 1;
        }
    }

    /// A row that is final: its document lies at its place, or has been moved on together with its note.
    fn ended(
        &mut self,
        inbox: &Inbox,
        row: &Row,
        folder: &Path,
        to: Option<&RelPath>,
        ending: &'static str,
        filed: bool,
    ) {
        let lies = |folder: &Path, path: &RelPath| effect::lies_at(&folder.join(path.as_path())).unwrap_or(true);
        if to.is_some_and(|to| lies(folder, to)) || (!filed && lies(&inbox.path, &row.place)) {
            return;
        }
        if !filed {
            self.find(
                &inbox.path,
                &row.place,
                "It is final, and was taken out of the inbox before it was filed. Its note is written as soon as chartdrop runs.",
            );
        } else if to.is_some_and(|to| !lies(folder, &filing::note_of(to, ending))) {
            self.report.moved_on += 1;
        }
    }

    /// Every document in done has a receipt that is true of it, and of which the ledger knows.
    fn done(&mut self, inbox: &Inbox, history: std::time::Duration) {
        let Some((archive, contents)) = self.contents(&inbox.done, receipt::ENDING) else { return };
        let forgotten = Timestamp::now().checked_sub(history).unwrap_or(Timestamp::MIN);
        for (document, size) in documents(&contents) {
            let note = filing::note_of(document, receipt::ENDING);
            let Some(written) = contents.notes.get(&note) else {
                self.find(&inbox.done, document, "There is no receipt beside it: nothing says that it was accepted.");
                continue;
            };
            let Some(receipt) = archive.receipt(&note) else {
                self.find(&inbox.done, &note, "This receipt cannot be read.");
                continue;
            };
            if receipt.status == Status::Duplicate {
                let written = Timestamp::try_from(*written).unwrap_or_default();
                let count = self.count(written, inbox, document);
                count.put_in += 1;
                count.duplicates += 1;
            }
            match self.rows.get(&receipt.delivery).map(|row| &row.stage) {
                Some(End::Accepted { .. }) => {}
                Some(_) => self.find(
                    &inbox.done,
                    document,
                    "Its receipt says that it was accepted, and the ledger says that it was not.",
                ),
                None if receipt.accepted_at < forgotten => {}
                None => self.find(
                    &inbox.done,
                    document,
                    "Its receipt says that it was accepted, and the ledger does not know of it.",
                ),
            }
            let content = &receipt.document.content;
            let same = if content.original_sha256.is_none() && *size != content.size {
                Ok(false)
            } else if self.rehash {
                self.report.rehashed += 1;
                filing::lies_at(&inbox.done, document, content.file_sha256())
            } else {
                Ok(true)
            };
            match same {
                Ok(true) => {}
                Ok(false) => self.find(
                    &inbox.done,
                    document,
                    "It is not what was accepted: it has been changed since. What Redox has is what it was.",
                ),
                Err(error) => self.find(&inbox.done, document, &format!("It cannot be read: {error}.")),
            }
        }
    }

    /// Every document in failed has its reason.
    fn failed(&mut self, inbox: &Inbox) {
        let Some((_, contents)) = self.contents(&inbox.failed, reason::ENDING) else { return };
        for (document, _) in documents(&contents) {
            if !contents.notes.contains_key(&filing::note_of(document, reason::ENDING)) {
                let summary = "There is no reason beside it. Move it back into the patient's folder in the inbox to try it again.";
                self.find(&inbox.failed, document, summary);
            }
        }
    }

    /// Lists a folder. Notes without their documents, and what an interrupted copy left, are found here.
    fn contents(&mut self, folder: &Path, ending: &'static str) -> Option<(Archive, Contents)> {
        let opened = Archive::open(folder).and_then(|archive| {
            // Made at the first start.
            let Some(archive) = archive else { return Ok(None) };
            archive.contents(ending).map(|contents| Some((archive, contents)))
        });
        let (archive, contents) = match opened {
            Ok(opened) => opened?,
            Err(error) => {
                let summary = format!("It cannot be read: {error}.");
                self.report.findings.push(Finding { file: folder.into(), summary });
                return None;
            }
        };
        let noted = |document: &RelPath| filing::note_of(document, ending);
        let documents = documents(&contents).map(|(document, _)| document);
        let claimed: BTreeSet<_> = documents.chain(&contents.others).map(noted).collect();
        for note in contents.notes.keys().filter(|note| !claimed.contains(*note)) {
            self.find(
                folder,
                note,
                "The document that this note is about is not beside it: somebody has taken it away.",
            );
        }
        for leftover in &contents.leftovers {
            self.find(folder, leftover, "An interrupted copy left this behind; it is removed when chartdrop starts.");
        }
        Some((archive, contents))
    }
}

/// The documents among the files, with their sizes.
fn documents(contents: &Contents) -> impl Iterator<Item = (&RelPath, &u64)> {
    contents.files.iter().filter(|(name, _)| role(name.file_name()) == Role::Document)
}
