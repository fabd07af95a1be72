//! Holds against each other what the sandbox accepted, what lies on disk, and what the ledger says.
//!
//! What is asked of a world at rest:
//!
//! - Every accepted message carries the bytes of one whole document, for a patient in whose folder that document had lain
//!   whole and at rest for as long as files settle, and neither before that nor long after staff had taken it away.
//! - Of one document for one patient so many messages were accepted as the ledger knows of: one if its row says
//!   accepted (or that one is out), and one more for each that it counts as uncertain. Sent again means the same bytes,
//!   unless a person asked for it.
//! - Every file that staff dropped and did not delete or replace lies in exactly one place with its bytes, in done with a
//!   receipt that is true, or in failed with a reason; its sidecar lies beside it. None lies in the inbox any more.
//! - The ledger has a row for all that was accepted, says accepted of nothing else, and has nothing left to do, but for
//!   documents that staff took out of its hands.
//!
//! What staff themselves make ambiguous, and is therefore allowed:
//!
//! - A document that lay at rest in two patients' folders, one after the other, may be sent for either, or for both.
//! - A request that was under way when staff took the document away may still be accepted, for [`UNDER_WAY`].
//! - Of a document that staff took away, a note may lie where it would have been filed, and its row may stay open.
//! - What was put back from failed, or deleted after it was sent, may have been accepted all the same.
//! - The message need not have the sidecar's title when staff renamed, moved or mended the sidecar by itself.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use chartdrop::model::document::{Destination, Key, Sha256};
use serde::Deserialize;
use serde_json::Value;

use super::{
    books::{Hash, Inner, hash},
    plan::ClockKind,
    staff::{SYSTEM, identifier, patient_of},
    world::World,
};

/// How long a request may still be under way, a frozen daemon and a busy machine included.
const UNDER_WAY: i64 = 10_000_000;

/// So many findings are shown.
const SHOWN: usize = 10;

/// How a world went.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub files: usize,
    pub kills: usize,
    pub restarts: usize,
    /// Decisions of a person about deliveries that were held or left open.
    pub operator: usize,
    pub accepted: usize,
    /// Messages accepted more than once, each announced as an uncertain one.
    pub declared: usize,
    pub in_done: usize,
    pub in_failed: usize,
    pub seconds: f64,
}

/// What went wrong, by what it means.
#[derive(Default)]
struct Findings {
    lost: Vec<String>,
    wrong_patient: Vec<String>,
    truncated: Vec<String>,
    undeclared: Vec<String>,
    other: Vec<String>,
}

#[derive(Deserialize)]
struct Record {
    accepted: Vec<Message>,
    refused: Vec<Value>,
}

#[derive(Deserialize)]
struct Message {
    at: jiff::Timestamp,
    sha256: String,
    size: u64,
    bundle_id: String,
    bundle_sha256: String,
    master_identifier: String,
    title: String,
    patient_identifiers: Vec<Identifier>,
}

#[derive(Deserialize)]
struct Identifier {
    system: String,
    value: String,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(rename = "state")]
    stage: String,
    #[serde(rename = "sent")]
    sends: usize,
    #[serde(rename = "unconfirmed")]
    uncertain: usize,
    path: String,
}

/// A file in inbox, done or failed.
struct Found {
    folder: &'static str,
    /// Beneath it.
    path: PathBuf,
    id: usize,
}

struct Judge<'a> {
    books: &'a Inner,
    settle: i64,
    findings: Findings,
}

/// Compares all three, of a world whose daemon has been stopped.
pub fn judge(world: &World<'_>, figures: Figures) -> Result<Figures, String> {
    let record: Record = serde_json::from_str(&world.clinic.http("GET", "/sandbox/record", "")).unwrap();
    let open: Vec<Row> = rows(world.rows("status"));
    let filed: Vec<Row> = rows(world.rows("history"));
    let books = world.books.open();
    let settle = world.plan.settle.as_micros() as i64;
    let mut judge = Judge { books: &books, settle, findings: Findings::default() };
    judge.messages(&record);
    let files = judge.disk(world);
    let declared = judge.ledger(&record, &open, &filed);
    judge.notes(world, &files, &filed);
    let in_folder = |folder| files.iter().filter(|file| file.folder == folder).count();
    let figures = Figures {
        accepted: record.accepted.len(),
        declared,
        in_done: in_folder("done"),
        in_failed: in_folder("failed"),
        ..figures
    };
    judge.findings.verdict(&books).map(|()| figures)
}

fn rows(values: Vec<Value>) -> Vec<Row> {
    values.into_iter().map(|value| serde_json::from_value(value).unwrap()).collect()
}

impl Judge<'_> {
    fn name(&self, id: usize) -> String {
        format!("document {id}")
    }

    /// What was accepted was whole, and the right patient's.
    fn messages(&mut self, record: &Record) {
        let mut bundles: HashMap<&str, &str> = HashMap::new();
        for message in &record.accepted {
            let same = bundles.entry(&message.bundle_id).or_insert(&message.bundle_sha256);
            if *same != message.bundle_sha256 {
                self.findings.other.push(format!("bundle {} was sent again with other bytes", message.bundle_id));
            }
            let Some(id) = self.books.by_hash.get(&unhex(&message.sha256)).copied() else {
                let what =
                    format!("{} bytes were accepted that are no whole document ({})", message.size, message.sha256);
                self.findings.truncated.push(what);
                continue;
            };
            let document = &self.books.documents[id];
            let at = message.at.as_microsecond();
            let patients: Vec<_> =
                message.patient_identifiers.iter().map(|id| (id.system.as_str(), id.value.clone())).collect();
            let is_stay = |stay: &&super::books::Stay| patients == [(SYSTEM, identifier(stay.patient))];
            let mut stays = document.stays.iter().filter(is_stay).peekable();
            if stays.peek().is_none() {
                self.findings.wrong_patient.push(format!("{} was accepted for {patients:?}", self.name(id)));
            } else if !stays.any(|stay| self.was_ripe(stay, at)) {
                let what = format!(
                    "{} was accepted for {patients:?} at {}, when it did not lie there at rest",
                    self.name(id),
                    message.at
                );
                self.findings.wrong_patient.push(what);
            }
            if !document.titles.is_empty() && !document.titles.contains(&message.title) && !self.books.is_touched(id) {
                self.findings.other.push(format!("{} was sent as {:?}", self.name(id), message.title));
            }
        }
        // The sandbox judges every message; a planned fault is not among these.
        for refused in &record.refused {
            let (endpoint, why) = (refused["endpoint"].as_str().unwrap(), refused["why"].as_str().unwrap());
            if matches!(endpoint, "create" | "binary" | "search") {
                self.findings.other.push(format!("the sandbox refused a {endpoint}: {why}"));
            }
        }
    }

    fn was_ripe(&self, stay: &super::books::Stay, at: i64) -> bool {
        let ripe = stay.from + self.settle;
        ripe <= at && stay.to.is_none_or(|to| ripe <= to && at <= to + UNDER_WAY)
    }

    /// Every file lies in exactly one place. Gives back all that lie in done and failed.
    fn disk(&mut self, world: &World<'_>) -> Vec<Found> {
        let mut files = Vec::new();
        let mut halves = self.books.halves.clone();
        for folder in ["inbox", "done", "failed"] {
            let root = world.clinic.path(folder);
            for path in documents(&root) {
                let hash = hash(&fs::read(root.join(&path)).unwrap());
                match self.books.by_hash.get(&hash) {
                    Some(id) => files.push(Found { folder, path, id: *id }),
                    None => match halves.get_mut(&hash) {
                        Some(count) if folder != "done" => *count -= 1,
                        _ => self.findings.truncated.push(format!("{folder}/{} is no document", path.display())),
                    },
                }
            }
        }
        if halves.values().any(|count| *count != 0) {
            self.findings.lost.push("what a copy that died had left is gone, or is there twice".into());
        }
        let mut places: Vec<Vec<String>> = vec![Vec::new(); self.books.documents.len()];
        for file in &files {
            places[file.id].push(format!("{}/{}", file.folder, file.path.display()));
        }
        for (id, document) in self.books.documents.iter().enumerate() {
            if usize::try_from(document.copies).unwrap() != places[id].len() {
                let what =
                    format!("{} was dropped {} times and lies at {:?}", self.name(id), document.copies, places[id]);
                self.findings.lost.push(what);
            }
        }
        if let Some(file) = files.iter().find(|file| file.folder == "inbox") {
            self.findings.other.push(format!("{} lies in the inbox still", file.path.display()));
        }
        files
    }

    /// The ledger knows of all that was accepted, and of nothing else. Gives back the duplicates that it announced.
    fn ledger(&mut self, record: &Record, open: &[Row], filed: &[Row]) -> usize {
        let mut accepted: HashMap<&str, usize> = HashMap::new();
        for message in &record.accepted {
            *accepted.entry(message.master_identifier.trim_start_matches("urn:uuid:")).or_default() += 1;
        }
        let touched = self.keys();
        let mut declared = 0;
        let mut known = HashMap::new();
        for row in open.iter().chain(filed) {
            let times = accepted.get(row.id.as_str()).copied().unwrap_or(0);
            if known.insert(row.id.as_str(), row).is_some() {
                self.findings.other.push(format!("the ledger lists {} twice", row.id));
            }
            let sure = usize::from(matches!(row.stage.as_str(), "accepted" | "sending"));
            if times > sure + row.uncertain || times > row.sends {
                let what = format!(
                    "delivery {} ({}) was accepted {times} times; its row is {}, sent {}, uncertain {}",
                    row.id, row.path, row.stage, row.sends, row.uncertain
                );
                self.findings.undeclared.push(what);
            }
            if row.stage == "accepted" && times == 0 {
                self.findings
                    .lost
                    .push(format!("the ledger says accepted of {} ({}), and it was not", row.id, row.path));
            }
            declared += times.saturating_sub(1);
        }
        for row in open {
            if !touched.get(&row.id).copied().unwrap_or(false) {
                self.findings.other.push(format!("{} ({}) is {} at rest", row.id, row.path, row.stage));
            }
        }
        for id in accepted.keys() {
            if !known.contains_key(id) {
                self.findings.undeclared.push(format!("{id} was accepted, and the ledger does not know it"));
            }
        }
        declared
    }

    /// The id of every delivery that can be, and whether staff took its document out of the ledger's hands.
    fn keys(&self) -> HashMap<String, bool> {
        let mut keys = HashMap::new();
        for (hash, id) in &self.books.by_hash {
            for stay in &self.books.documents[*id].stays {
                keys.insert(delivery_id(*hash, stay.patient), self.books.is_touched(*id));
            }
        }
        keys
    }

    /// Beside each file lies what belongs there, and it is true.
    fn notes(&mut self, world: &World<'_>, files: &[Found], filed: &[Row]) {
        let stages: HashMap<&str, &Row> = filed.iter().map(|row| (row.id.as_str(), row)).collect();
        let hashes: HashMap<usize, Hash> = self.books.by_hash.iter().map(|(hash, id)| (*id, *hash)).collect();
        for file in files {
            let lies = world.clinic.path(file.folder).join(&file.path);
            let beside = |ending: &str| PathBuf::from(format!("{}{ending}", lies.display()));
            let place = format!("{}/{} ({})", file.folder, file.path.display(), self.name(file.id));
            let folder = file.path.iter().next().unwrap().to_str().unwrap();
            match file.folder {
                "done" => {
                    let receipt = fs::read(beside(".receipt.json")).ok();
                    let receipt: Value =
                        receipt.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
                    let id = delivery_id(hashes[&file.id], patient_of(folder));
                    let row = stages.get(id.as_str());
                    if receipt["delivery"] != id.as_str() {
                        self.findings.other.push(format!("{place} has no receipt of its own: {receipt}"));
                    } else if row.is_none_or(|row| row.stage != "accepted") {
                        self.findings.other.push(format!("{place} is done, and its row is not"));
                    }
                }
                "failed" => {
                    let reason = fs::read_to_string(beside(".reason.txt")).unwrap_or_default();
                    if !reason.contains("What to do") {
                        self.findings.other.push(format!("{place} has no reason"));
                    }
                    // Nothing was tried for days, unless the clock says so.
                    let days = world.plan.clock == ClockKind::JumpsFar && world.clock.furthest() > 80_000;
                    if reason.contains("gave-up /") && !days {
                        self.findings.other.push(format!("{place} was given up: {reason}"));
                    }
                }
                _ => {}
            }
            let document = &self.books.documents[file.id];
            if document.keeps_sidecar && !self.books.is_touched(file.id) && !beside(".toml").exists() {
                self.findings.lost.push(format!("the sidecar of {place} is not beside it"));
            }
        }
    }
}

impl Findings {
    fn verdict(self, books: &Inner) -> Result<(), String> {
        let all = [
            ("lost", self.lost),
            ("wrong patient", self.wrong_patient),
            ("truncated", self.truncated),
            ("undeclared duplicates", self.undeclared),
            ("other", self.other),
        ];
        if all.iter().all(|(_, found)| found.is_empty()) {
            return Ok(());
        }
        let mut text = String::new();
        for (kind, found) in all {
            text.push_str(&format!("{kind}: {}\n", found.len()));
            for what in found.iter().take(SHOWN) {
                text.push_str(&format!("  {what}\n"));
                let about = what.find("document ").map(|at| what[at + 9..].chars().take_while(char::is_ascii_digit));
                if let Some(id) = about.map(|digits| digits.collect::<String>()).filter(|id| !id.is_empty()) {
                    let lines = [format!("document {id}:"), format!("document {id},")];
                    let diary = lines.iter().flat_map(|line| books.diary(line));
                    diary.for_each(|line| text.push_str(&format!("      {line}\n")));
                }
            }
        }
        let events: Vec<_> = books.diary("").into_iter().filter(|line| !line.contains("document ")).collect();
        text.push_str(&format!("what else happened:\n{}\n", events[events.len().saturating_sub(80)..].join("\n")));
        Err(text)
    }
}

fn delivery_id(sha256: Hash, patient: usize) -> String {
    let destination = Destination("Staging/redox-fhir-sandbox".into());
    let patient = format!("{SYSTEM}|{}", identifier(patient));
    Key { destination, patient, sha256: Sha256(sha256) }.id().to_string()
}

fn unhex(text: &str) -> Hash {
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
    }
    bytes
}

/// All documents beneath a folder, whatever else lies there.
fn documents(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if !name.starts_with('.')
                && ![".toml", ".receipt.json", ".reason.txt"].iter().any(|ending| name.ends_with(ending))
            {
                found.push(entry.path().strip_prefix(root).unwrap().to_path_buf());
            }
        }
    }
    found
}
