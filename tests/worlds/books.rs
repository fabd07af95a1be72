//! What staff did, so far as the outcome is to be held against it: every document, where it lay whole, and when.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::plan::Rng;

pub type Hash = [u8; 32];

/// How the names end of what must not be sent, whatever it holds.
pub const UNSENT: &str = ".exe";

/// Microseconds since 1970, by the clock that the sandbox goes by.
pub fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
}

pub fn hash(bytes: &[u8]) -> Hash {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

/// A time in which a document lay whole in a patient's folder, under one name.
#[derive(Clone, Debug)]
pub struct Stay {
    pub patient: usize,
    pub from: i64,
    /// When staff had taken it away; what the daemon takes away ends nothing.
    pub to: Option<i64>,
}

/// One document: bytes that no other has.
#[derive(Clone, Debug)]
pub struct Document {
    /// How many files with these bytes there must be.
    pub copies: i32,
    pub stays: Vec<Stay>,
    /// Staff deleted, moved, renamed or replaced it: there may be notes of a file that is gone, and rows left open.
    pub touched: bool,
    /// What its message may call it, while it has always had a sidecar; empty when anything may be.
    pub titles: Vec<String>,
    /// Its sidecar must lie beside it in the end.
    pub keeps_sidecar: bool,
}

#[derive(Default)]
pub struct Books {
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub struct Inner {
    pub documents: Vec<Document>,
    pub by_hash: HashMap<Hash, usize>,
    /// Patients whose folder was renamed with all that was in it: the same as if each had been touched.
    pub renamed: HashSet<usize>,
    /// What copies that died half-way left behind: never to be sent.
    pub halves: HashMap<Hash, i32>,
    /// What happened, for whoever looks for a fault.
    diary: Vec<(i64, String)>,
}

impl Books {
    pub fn open(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, what: String) {
        self.open().diary.push((now(), what));
    }
}

impl Inner {
    /// A new document; its copies and stays are entered when it is dropped.
    pub fn create(&mut self, bytes: &[u8]) -> usize {
        let id = self.documents.len();
        let (stays, titles) = (Vec::new(), Vec::new());
        self.documents.push(Document { copies: 0, stays, touched: false, titles, keeps_sidecar: false });
        assert!(self.by_hash.insert(hash(bytes), id).is_none(), "no two documents are alike");
        id
    }

    /// It lies whole in a patient's folder. Gives back the stay.
    pub fn dropped(&mut self, id: usize, patient: usize, from: i64, (what, path): (&str, String)) -> usize {
        self.diary.push((now(), format!("document {id}, patient {patient}: {what} as {path}")));
        let document = &mut self.documents[id];
        if !path.ends_with(UNSENT) {
            document.stays.push(Stay { patient, from, to: None });
        } else {
            document.stays.push(Stay { patient, from: i64::MAX / 2, to: None });
        }
        document.stays.len() - 1
    }

    /// It has a sidecar from the beginning.
    pub fn entitled(&mut self, id: usize, title: String) {
        self.documents[id].titles.push(title);
        self.documents[id].keeps_sidecar = true;
    }

    /// It may be sent with its sidecar or without it from now on.
    pub fn untitled(&mut self, id: usize) {
        self.documents[id].titles.clear();
        self.documents[id].keeps_sidecar = false;
    }

    /// Whether staff took it, or a file with its bytes, from where it lay.
    pub fn is_touched(&self, id: usize) -> bool {
        let document = &self.documents[id];
        document.touched || document.stays.iter().any(|stay| self.renamed.contains(&stay.patient))
    }

    /// It was taken away again.
    pub fn left(&mut self, id: usize, stay: usize, what: &str) {
        let at = now();
        self.diary.push((at, format!("document {id}: {what}")));
        let document = &mut self.documents[id];
        document.touched = true;
        document.stays[stay].to = Some(at);
    }

    pub fn diary(&self, about: &str) -> Vec<String> {
        let began = self.diary.first().map_or(0, |(at, _)| *at);
        let about = self.diary.iter().filter(|(_, what)| what.contains(about));
        about
            .map(|(at, what)| format!("{:>9.3} s  {what}", Duration::from_micros((at - began) as u64).as_secs_f64()))
            .collect()
    }
}

/// The bytes of a document. Each line of them says whose they are, so that no part of one is a part of another.
pub fn body(seed: u64, id: usize, is_text: bool, large: bool) -> Vec<u8> {
    let mut rng = Rng::of(seed, 1_000_000 + id as u64);
    let lines = match (large, rng.below(10)) {
        (false, _) => 4 + rng.below(30),
        (true, 0..7) => 4 + rng.below(60),
        (true, 7..9) => 1000,
        (true, _) => 2000 + rng.below(4000),
    };
    let mut text = String::new();
    if !is_text {
        text.push_str("%PDF-1.4\n");
    }
    for line in 0..lines {
        text.push_str(&format!("% invented {seed:016x} {id} line {line} of {lines} {:016x}\n", rng.next()));
    }
    if !is_text {
        text.push_str("%%EOF\n");
    }
    text.into_bytes()
}
