//! Decides when a file has stopped changing, by our own clock: no event and no timestamp of the file proves it.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    io,
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    pairing::{PATIENT_FILE, Pairing, StrayKind, document_of_reason, sidecar_names},
    scan::{Contents, Kind, Listing, Stray},
    stray::{self, Waiting},
};
use crate::model::file_state::FileState;
use crate::{config::Inbox, model::path::RelPath, platform::effect};

/// How soon a folder that could not be read whole is looked at again.
const UNREAD_AGAIN: Duration = Duration::from_secs(1);

/// So many waiting documents are listed after a look.
pub const MOST_LISTED: usize = 10_000;

/// A document that has stopped changing, together with what is said of it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where it is beneath the inbox.
    pub path: RelPath,
    /// What the filesystem says it is.
    pub kind: Kind,
    /// The device of the folder that it is in: gone when the share is.
    pub device: u64,
    /// Its sidecar.
    pub pairing: Pairing,
    /// Since when document, sidecar and `patient.toml` have all been as they are.
    pub since: Instant,
    /// Exactly which states of them: the document first.
    pub members: Vec<(RelPath, FileState)>,
    /// Names beside it at which nothing lay: a `patient.toml` or a sidecar there would say something else of it.
    pub absent: Vec<RelPath>,
    /// A file that looks as if it says something of it, and is not called so.
    pub stray: Option<(RelPath, StrayKind)>,
    /// Its sidecar was there long enough before it that it may be another document's.
    pub has_old_sidecar: bool,
    /// The reason of an earlier refusal, which came back from failed together with it.
    pub note: Option<RelPath>,
}

impl Candidate {
    /// The document's own state.
    pub fn stamp(&self) -> FileState {
        self.members[0].1
    }

    /// The state of a file that counts for it.
    pub fn stamp_of(&self, member: &RelPath) -> Option<FileState> {
        self.members.iter().find(|(name, _)| name == member).map(|(_, stamp)| *stamp)
    }

    /// The names still lead to the same files in the same state: nobody renamed, replaced or edited anything since, and
    /// nothing came that says more. What cannot be told counts as changed.
    pub fn still_stands(&self, root: &Path) -> bool {
        self.members.iter().all(|(rel, stamp)| {
            effect::symlink_metadata(&root.join(rel.as_path())).is_ok_and(|metadata| FileState::of(&metadata) == *stamp)
        }) && self.absent.iter().all(|rel| match effect::symlink_metadata(&root.join(rel.as_path())) {
            Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
            // On a filesystem that does not tell capitals, a sidecar is found by its other names as well.
            Ok(metadata) => self.members.iter().any(|(_, stamp)| *stamp == FileState::of(&metadata)),
        })
    }
}

/// What was seen of each file, over the scans.
#[derive(Debug)]
pub struct Settler {
    /// How long everything must have been as it is before a document is handed out.
    rest: Duration,
    timing: Timing,
    /// Nothing has been looked at yet: what is found came before we did.
    is_first: bool,
    seen: HashMap<RelPath, Seen>,
    /// Which other files count for each document, and since when.
    sets: HashMap<RelPath, Set>,
    /// Documents that were handed out.
    out: HashMap<RelPath, Out>,
}

#[derive(Clone, Copy, Debug)]
struct Out {
    /// The age of the state that was handed out.
    since: Instant,
    /// When it may be handed out again; `None` while it is out.
    until: Option<Instant>,
}

/// How long to wait for what; each as in [`Inbox`].
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Until a file counts as finished.
    pub settle: Duration,
    /// After that, so that it can be taken back.
    pub hold: Duration,
    /// Until what is not right is said.
    pub incomplete_after: Duration,
    /// The longest time by which a sidecar may be older than its document.
    pub orphan_after: Duration,
}

impl Timing {
    /// An inbox's own.
    pub fn of(inbox: &Inbox) -> Self {
        let Inbox { settle, hold, incomplete_after, orphan_after, .. } = *inbox;
        Self { settle, hold, incomplete_after, orphan_after }
    }
}

/// A moment by our clock; `earlier`: how long before that it was, by the file's own times, for what was there before us.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    earlier: Duration,
}

impl Moment {
    /// How long this moment was before another one; nothing if it came later.
    fn lead_over(self, other: Self) -> Duration {
        let between = other.at.saturating_duration_since(self.at) + self.earlier;
        between.saturating_sub(other.earlier + self.at.saturating_duration_since(other.at))
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: FileState,
    /// When it came to be as it is.
    since: Moment,
    /// When it came, as this file and under this name.
    arrived: Moment,
}

/// What is beside a document and counts for it.
#[derive(Clone, Debug)]
struct Set {
    pairing: Pairing,
    patient_file: Option<RelPath>,
    stray: Option<(RelPath, StrayKind)>,
    since: Instant,
}

/// What a scan found to do.
#[derive(Debug, Default)]
pub struct Observation {
    /// Documents that are ready, those that have waited longest first.
    pub ready: Vec<Candidate>,
    /// When the next of the others may be ready, if nothing changes.
    pub next: Option<Instant>,
    /// How many documents are in the inbox, ready or not, those handed out included.
    pub documents: usize,
    /// The change time of the one that has been there longest, nanoseconds since 1970; what waits for a person included.
    pub oldest: Option<i128>,
    /// Documents that were not handed out, and when they may be; `None` while their folder cannot be read. At most
    /// 10,000.
    pub waiting: Vec<(RelPath, Option<Instant>)>,
    /// What is not a document, and has waited long enough that a person should look at it.
    pub strays: Vec<Waiting>,
}

impl Observation {
    fn list(&mut self, path: &RelPath, due: Option<Instant>) {
        if self.waiting.len() < MOST_LISTED {
            self.waiting.push((path.clone(), due));
        }
    }
}

impl Settler {
    /// Nothing seen yet. A document is handed out when it has been settled for as long as `hold` says.
    pub fn new(timing: Timing) -> Self {
        Self {
            rest: timing.settle + timing.hold,
            timing,
            is_first: true,
            seen: HashMap::new(),
            sets: HashMap::new(),
            out: HashMap::new(),
        }
    }

    /// Takes a scan's listing in. At most `limit` documents are handed out; each stays out until [`Settler::put_back`].
    pub fn observe(&mut self, listing: &Listing, now: Instant, limit: usize) -> Observation {
        self.see(listing, now);
        self.out.retain(|path, out| out.until.is_none() || self.seen.contains_key(path));

        let mut found = Observation::default();
        let mut ready = BTreeMap::new();
        let mut sets = std::mem::take(&mut self.sets);
        let contents = listing.contents();
        self.report(listing, &contents, now, &mut found);
        let strays = Strays::of(&contents);
        for (path, pairing) in &contents.documents {
            found.documents += 1;
            let since = listing.entries.get(*path).map(|entry| entry.stamp.ctime);
            found.oldest = found.oldest.into_iter().chain(since).min();
            let known = sets.remove(*path);
            if listing.unread.contains(&path.first_folder().map(OsStr::to_os_string)) {
                self.sets.extend(known.map(|set| ((*path).clone(), set)));
                found.list(path, None);
                continue;
            }
            let set = self.set(path, pairing.clone(), strays.of_document(path), known, now);
            let candidate = self.candidate(listing, path, &set);
            self.sets.insert((*path).clone(), set);
            let Some(candidate) = candidate else { continue };
            let due = match self.out.get(*path) {
                Some(Out { until: None, .. }) => continue,
                Some(Out { until: Some(until), since }) if *since == candidate.since => *until,
                _ => candidate.since + self.rest,
            };
            if due <= now {
                ready.insert((due, candidate.path.clone()), candidate);
                if ready.len() > limit {
                    if let Some(((due, later), _)) = ready.pop_last() {
                        found.list(&later, Some(due));
                    }
                    found.next = Some(now);
                }
            } else {
                found.list(path, Some(due));
                found.next = Some(found.next.map_or(due, |next| next.min(due)));
            }
        }
        if !listing.unread.is_empty() {
            let again = now + self.rest.max(UNREAD_AGAIN);
            found.next = Some(found.next.map_or(again, |next| next.min(again)));
        }
        found.ready = ready.into_values().collect();
        for candidate in &mut found.ready {
            candidate.note = strays.notes.get(&candidate.path).map(|note| (*note).clone());
            let mut absent = names_that_count(&candidate.path);
            absent.retain(|name| !listing.entries.contains_key(name));
            candidate.absent = absent;
        }
        for candidate in &found.ready {
            self.out.insert(candidate.path.clone(), Out { since: candidate.since, until: None });
        }
        found
    }

    /// A document that was handed out may be handed out again, not before `until`.
    ///
    /// The pause falls away as soon as the document, its sidecar or its `patient.toml` changes: somebody fixed something.
    pub fn put_back(&mut self, path: &RelPath, until: Instant) {
        if let Some(out) = self.out.get_mut(path) {
            out.until = Some(until);
        }
    }

    /// A document that was put back may be handed out again now, whatever it was to wait for.
    pub fn hurry(&mut self, path: Option<&RelPath>, now: Instant) {
        let hurry = |out: &mut Out| out.until = out.until.map(|until| until.min(now));
        match path {
            Some(path) => self.out.get_mut(path).into_iter().for_each(hurry),
            None => self.out.values_mut().for_each(hurry),
        }
    }

    /// A sidecar that goes away is as much of a change as one that comes: somebody may be just replacing it.
    fn set(
        &self,
        path: &RelPath,
        pairing: Pairing,
        stray: Option<&Stray<'_>>,
        known: Option<Set>,
        now: Instant,
    ) -> Set {
        let patient_file = path.first_folder().and_then(|folder| RelPath::new(&Path::new(folder).join(PATIENT_FILE)));
        let patient_file = patient_file.filter(|name| self.seen.contains_key(name));
        let stray = stray.map(|stray| (stray.path.clone(), stray.kind));
        match known {
            Some(set) if set.pairing == pairing && set.patient_file == patient_file && set.stray == stray => set,
            _ => Set { pairing, patient_file, stray, since: now },
        }
    }

    fn candidate(&self, listing: &Listing, path: &RelPath, set: &Set) -> Option<Candidate> {
        let sidecar = match &set.pairing {
            Pairing::With(sidecar) => Some(sidecar),
            Pairing::Alone | Pairing::Ambiguous => None,
        };
        let names = [Some(path), sidecar, set.patient_file.as_ref()].into_iter().flatten();
        let members: Vec<_> = names.filter_map(|name| self.seen.get(name).map(|seen| (name.clone(), *seen))).collect();
        let entry = listing.entries.get(path)?;
        let arrived = self.seen.get(path)?.arrived;
        let is_old = |sidecar: &RelPath| {
            self.seen.get(sidecar).is_some_and(|seen| seen.since.lead_over(arrived) > self.timing.orphan_after)
        };
        Some(Candidate {
            path: path.clone(),
            kind: entry.kind,
            device: entry.device,
            pairing: set.pairing.clone(),
            since: members.iter().map(|(_, seen)| seen.since.at).max()?.max(set.since),
            members: members.into_iter().map(|(name, seen)| (name, seen.stamp)).collect(),
            absent: Vec::new(),
            stray: set.stray.clone(),
            has_old_sidecar: sidecar.is_some_and(is_old),
            note: None,
        })
    }

    /// Takes note of every file's state.
    fn see(&mut self, listing: &Listing, now: Instant) {
        let mut before = std::mem::take(&mut self.seen);
        let is_first = std::mem::replace(&mut self.is_first, false);
        let wall = if is_first { Timestamp::now().as_nanosecond() } else { 0 };
        for (path, entry) in &listing.entries {
            let earlier = match is_first {
                true => {
                    u64::try_from((wall - entry.stamp.ctime).max(0)).map_or(Duration::MAX / 4, Duration::from_nanos)
                }
                false => Duration::ZERO,
            };
            let came = Moment { at: now, earlier };
            let seen = match before.remove(path) {
                Some(seen) if seen.stamp == entry.stamp => seen,
                Some(seen) if (seen.stamp.dev, seen.stamp.ino) == (entry.stamp.dev, entry.stamp.ino) => {
                    Seen { stamp: entry.stamp, since: came, arrived: seen.arrived }
                }
                _ => Seen { stamp: entry.stamp, since: came, arrived: came },
            };
            self.seen.insert(path.clone(), seen);
        }
        // What could not be read this time has not gone.
        let unread = |path: &RelPath| listing.unread.contains(&path.first_folder().map(OsStr::to_os_string));
        if !listing.unread.is_empty() {
            self.seen.extend(before.into_iter().filter(|(path, _)| unread(path)));
        }
    }

    /// What is not a document and has been there for long enough to be said.
    fn report(&self, listing: &Listing, contents: &Contents<'_>, now: Instant, found: &mut Observation) {
        let wall = Timestamp::now().as_nanosecond();
        let patience = self.timing.incomplete_after;
        for stray in &contents.strays {
            let (Some(seen), Some(entry)) = (self.seen.get(stray.path), listing.entries.get(stray.path)) else {
                continue;
            };
            let is_old = now.saturating_duration_since(seen.since.at) >= patience
                || wall - entry.stamp.ctime >= i128::try_from(patience.as_nanos()).unwrap_or(i128::MAX);
            if !stray.is_reported() {
                continue;
            }
            if !is_old {
                let due = seen.since.at + patience;
                found.next = Some(found.next.map_or(due, |next| next.min(due)));
                continue;
            }
            found.oldest = found.oldest.into_iter().chain([entry.stamp.ctime]).min();
            let spoils = stray.concerns_folder || !stray.documents.is_empty();
            found.strays.push(Waiting {
                path: stray.path.clone(),
                since: seen.since.at,
                problem: stray::problem(stray, entry.kind),
                until: spoils.then(|| seen.since.at + patience),
            });
        }
    }
}

/// Which files look as if they said something of which documents.
struct Strays<'a> {
    folders: HashMap<&'a OsStr, &'a Stray<'a>>,
    documents: HashMap<&'a RelPath, &'a Stray<'a>>,
    /// Reasons that came back with their documents.
    notes: HashMap<RelPath, &'a RelPath>,
}

impl<'a> Strays<'a> {
    fn of(contents: &'a Contents<'a>) -> Self {
        let mut strays = Self { folders: HashMap::new(), documents: HashMap::new(), notes: HashMap::new() };
        for stray in &contents.strays {
            if stray.kind == StrayKind::Note {
                let document = document_of_reason(stray.path.file_name()).map(|name| stray.path.with_file_name(name));
                strays.notes.extend(document.filter(|_| !stray.documents.is_empty()).map(|name| (name, stray.path)));
                continue;
            }
            if stray.concerns_folder {
                strays.folders.insert(stray.path.folder(), stray);
            }
            strays.documents.extend(stray.documents.iter().map(|document| (*document, stray)));
        }
        strays
    }

    /// One that may say whose the document is counts before one that may describe it.
    fn of_document(&self, document: &RelPath) -> Option<&'a Stray<'a>> {
        let mut folders =
            (!self.folders.is_empty()).then(|| document.as_path().ancestors().skip(1)).into_iter().flatten();
        let above = folders.find_map(|folder| self.folders.get(folder.as_os_str()).copied());
        above.or_else(|| self.documents.get(document).copied())
    }
}

/// Every name at which something may be that says whose a document is, or what is said of it.
fn names_that_count(document: &RelPath) -> Vec<RelPath> {
    let mut names = sidecar_names(document);
    let mut folder = document.parent();
    while let Some(inner) = folder {
        names.extend(RelPath::new(&inner.as_path().join(PATIENT_FILE)));
        folder = inner.parent();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::scan::Entry;

    const SETTLE: Duration = Duration::from_secs(2);
    const PATIENCE: Duration = Duration::from_secs(120);
    const HOUR: Duration = Duration::from_secs(3600);

    fn settler() -> Settler {
        Settler::new(Timing { settle: SETTLE, hold: Duration::ZERO, incomplete_after: PATIENCE, orphan_after: HOUR })
    }

    fn rel(name: &str) -> RelPath {
        RelPath::new(Path::new(name)).unwrap()
    }

    fn listing(files: &[(&str, u64)]) -> Listing {
        let entry = |size| Entry {
            kind: Kind::Regular,
            stamp: FileState { dev: 1, ino: 1, size, mtime: 7, ctime: 7 },
            device: 1,
        };
        let entries = files.iter().map(|(name, size)| (rel(name), entry(*size))).collect();
        Listing { entries, ..Listing::default() }
    }

    fn names(found: &Observation) -> Vec<String> {
        found.ready.iter().map(|candidate| candidate.path.to_string()).collect()
    }

    #[test]
    fn age_counts_from_when_we_first_saw_this_state() {
        let start = Instant::now();
        let mut settler = settler();
        let growing = settler.observe(&listing(&[("a/s.pdf", 10)]), start, 9);
        assert!(growing.ready.is_empty());
        assert_eq!(growing.next, Some(start + SETTLE));
        let grown = settler.observe(&listing(&[("a/s.pdf", 20)]), start + SETTLE, 9);
        assert!(grown.ready.is_empty(), "it grew: its age starts over");
        assert_eq!(names(&settler.observe(&listing(&[("a/s.pdf", 20)]), start + 2 * SETTLE, 9)), ["a/s.pdf"]);
    }

    #[test]
    fn a_document_waits_for_its_sidecar_and_its_patient_file() {
        let start = Instant::now();
        for other in ["a/s.pdf.toml", "a/s.json", "a/patient.toml"] {
            let mut settler = settler();
            settler.observe(&listing(&[("a/s.pdf", 10), (other, 1)]), start, 9);
            let found = settler.observe(&listing(&[("a/s.pdf", 10), (other, 2)]), start + SETTLE, 9);
            assert!(found.ready.is_empty(), "{other}");
            let found = settler.observe(&listing(&[("a/s.pdf", 10), (other, 2)]), start + 2 * SETTLE, 9);
            assert_eq!(found.ready[0].members.len(), 2, "{other}");
        }
    }

    #[test]
    fn a_document_whose_sidecar_or_patient_file_is_gone_waits_for_another() {
        let start = Instant::now();
        for other in ["a/s.pdf.toml", "a/s.json", "a/patient.toml"] {
            let mut settler = settler();
            settler.observe(&listing(&[("a/s.pdf", 10), (other, 1)]), start, 9);
            let alone = settler.observe(&listing(&[("a/s.pdf", 10)]), start + 2 * SETTLE, 9);
            assert!(alone.ready.is_empty(), "{other} is perhaps just being saved");
            assert_eq!(alone.next, Some(start + 3 * SETTLE));
            let replaced = settler.observe(&listing(&[("a/s.pdf", 10), (other, 2)]), start + 3 * SETTLE, 9);
            assert!(replaced.ready.is_empty());
            let found = settler.observe(&listing(&[("a/s.pdf", 10), (other, 2)]), start + 4 * SETTLE, 9);
            assert_eq!(found.ready[0].members.len(), 2, "{other}");
        }
    }

    #[test]
    fn a_document_is_handed_out_once_until_it_is_put_back() {
        let start = Instant::now();
        let later = start + SETTLE;
        let mut settler = settler();
        let one = listing(&[("a/s.pdf", 10)]);
        settler.observe(&one, start, 9);
        assert_eq!(settler.observe(&one, later, 9).ready.len(), 1);
        assert_eq!(settler.observe(&one, later, 9).ready.len(), 0);
        settler.put_back(&rel("a/s.pdf"), later + SETTLE);
        assert_eq!(settler.observe(&one, later, 9).next, Some(later + SETTLE));
        assert_eq!(settler.observe(&one, later + SETTLE, 9).ready.len(), 1);
    }

    #[test]
    fn nothing_of_a_folder_that_was_not_read_whole_is_handed_out() {
        let start = Instant::now();
        let mut settler = settler();
        let mut two = listing(&[("a/s.pdf", 10), ("b/s.pdf", 10)]);
        settler.observe(&two, start, 9);
        two.unread.insert(Some("a".into()));
        let found = settler.observe(&two, start + SETTLE, 9);
        assert_eq!(
            (names(&found), found.documents),
            (vec!["b/s.pdf".to_owned()], 2),
            "its sidecar may be what was not read"
        );
        assert_eq!(found.next, Some(start + 2 * SETTLE));
        two.unread.clear();
        assert_eq!(names(&settler.observe(&two, start + 2 * SETTLE, 9)), ["a/s.pdf"]);
    }

    #[test]
    fn a_pause_ends_when_somebody_mends_something() {
        let start = Instant::now();
        let mut settler = settler();
        settler.observe(&listing(&[("a/s.pdf", 10), ("a/s.toml", 5)]), start, 9);
        settler.observe(&listing(&[("a/s.pdf", 10), ("a/s.toml", 5)]), start + SETTLE, 9);
        settler.put_back(&rel("a/s.pdf"), start + 1000 * SETTLE);
        let fixed = listing(&[("a/s.pdf", 10), ("a/s.toml", 6)]);
        settler.observe(&fixed, start + 2 * SETTLE, 9);
        assert_eq!(settler.observe(&fixed, start + 3 * SETTLE, 9).ready.len(), 1);
    }

    #[test]
    fn what_could_come_and_say_more_is_known_by_name() {
        let start = Instant::now();
        let mut settler = settler();
        let one = listing(&[("a/b/s.pdf", 1), ("a/patient.toml", 1), ("a/b/s.toml", 1)]);
        settler.observe(&one, start, 9);
        let absent: Vec<_> =
            settler.observe(&one, start + SETTLE, 9).ready[0].absent.iter().map(ToString::to_string).collect();
        for name in ["a/b/patient.toml", "a/b/s.pdf.toml", "a/b/s.pdf.json", "a/b/s.json"] {
            assert!(absent.iter().any(|absent| absent == name), "{name}: {absent:?}");
        }
        for name in ["a/patient.toml", "a/b/s.toml"] {
            assert!(absent.iter().all(|absent| absent != name), "{name} is there");
        }
    }

    #[test]
    fn a_name_that_must_stay_free_may_be_another_name_of_the_sidecar() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("a")).unwrap();
        let put = |name: &str| std::fs::write(root.path().join(name), name).unwrap();
        put("a/s.pdf");
        put("a/s.pdf.toml");
        // What a filesystem without capitals gives for free.
        std::fs::hard_link(root.path().join("a/s.pdf.toml"), root.path().join("a/s.pdf.TOML")).unwrap();
        let member = |name: &str| {
            let metadata = std::fs::metadata(root.path().join(name)).unwrap();
            (rel(name), FileState::of(&metadata))
        };
        let candidate = Candidate {
            path: rel("a/s.pdf"),
            kind: Kind::Regular,
            device: 0,
            pairing: Pairing::With(rel("a/s.pdf.toml")),
            since: Instant::now(),
            members: vec![member("a/s.pdf"), member("a/s.pdf.toml")],
            absent: vec![rel("a/s.pdf.TOML"), rel("a/s.json")],
            stray: None,
            has_old_sidecar: false,
            note: None,
        };
        assert!(candidate.still_stands(root.path()));
        put("a/s.json");
        assert!(!candidate.still_stands(root.path()), "another file says more");
    }

    /// What came at which moment, in seconds; a moment before 0 is one before we began to look.
    fn is_old(files: &[(&str, i64, u64)], at: u64) -> bool {
        let start = Instant::now();
        let wall = Timestamp::now().as_nanosecond();
        let mut settler = settler();
        let mut moments: Vec<_> = files.iter().map(|(_, came, _)| (*came).max(0).unsigned_abs()).collect();
        moments.extend([0, at - 10, at]);
        moments.sort_unstable();
        let mut last = None;
        for moment in moments {
            let here = files.iter().filter(|(_, came, _)| *came <= i64::try_from(moment).unwrap());
            let entry = |(name, came, ino): &(&str, i64, u64)| {
                let time = wall + i128::from(*came) * 1_000_000_000;
                let stamp = FileState { dev: 1, ino: *ino, size: 1, mtime: time, ctime: time };
                (rel(name), Entry { kind: Kind::Regular, stamp, device: 1 })
            };
            let listing = Listing { entries: here.map(entry).collect(), ..Listing::default() };
            let found = settler.observe(&listing, start + Duration::from_secs(moment), 9);
            last = found.ready.into_iter().next().or(last);
        }
        last.unwrap().has_old_sidecar
    }

    #[test]
    fn a_sidecar_that_came_long_before_its_document_is_noticed() {
        let (document, sidecar) = ("a/s.pdf", "a/s.pdf.toml");
        for (files, at, old) in [
            (&[(sidecar, 10, 1), (document, 20, 2)][..], 9000, false),
            (&[(sidecar, 10, 1), (document, 3600, 2)], 9000, false),
            (&[(sidecar, 10, 1), (document, 3611, 2)], 9000, true),
            (&[(document, 10, 2), (sidecar, 8000, 1)], 9000, false),
            // It was there when we began.
            (&[(sidecar, -9000, 1), (document, 20, 2)], 9000, true),
            (&[(sidecar, -3000, 1), (document, 500, 2)], 9000, false),
            (&[(sidecar, -3000, 1), (document, 700, 2)], 9000, true),
            (&[(sidecar, -9000, 1), (document, -8000, 2)], 9000, false),
            (&[(sidecar, -9000, 1), (document, -100, 2)], 9000, true),
            // Saved again, it is confirmed.
            (&[(sidecar, 10, 1), (document, 8000, 2), (sidecar, 8100, 1)], 9000, false),
            // A document that is written for a long time came when it began.
            (&[(sidecar, 10, 1), (document, 20, 2), (document, 8000, 2)], 9000, false),
        ] {
            assert_eq!(is_old(files, at), old, "{files:?}");
        }
    }

    #[test]
    fn what_is_no_document_is_said_after_a_while() {
        let start = Instant::now();
        let mut settler = settler();
        let now = Timestamp::now().as_nanosecond();
        let mut inbox =
            listing(&[("a/gone.pdf.toml", 1), ("a/s.tmp", 1), ("a/x.reason.txt", 1), ("b/patient.toml", 1)]);
        inbox.entries.values_mut().for_each(|entry| entry.stamp.ctime = now);
        assert_eq!(settler.observe(&inbox, start, 9).strays.len(), 0);
        let found = settler.observe(&inbox, start + PATIENCE, 9);
        let mut codes: Vec<_> = found.strays.iter().map(|waiting| waiting.problem.code).collect();
        codes.sort_unstable();
        assert_eq!((codes, found.documents), (vec!["left-over", "sidecar-orphan", "stray-note"], 0));
        assert_eq!(found.oldest, Some(now));
    }

    #[test]
    fn a_file_that_is_nearly_called_as_it_should_counts_for_its_documents() {
        let start = Instant::now();
        for (beside, document, kind) in [
            ("a/patient (1).toml", "a/s.pdf", StrayKind::PatientLike),
            ("a/patient (1).toml", "a/b/s.pdf", StrayKind::PatientLike),
            ("a/s.pdf (1).toml", "a/s.pdf", StrayKind::SidecarLike),
        ] {
            let mut settler = settler();
            settler.observe(&listing(&[(document, 1)]), start, 9);
            let both = listing(&[(document, 1), (beside, 1)]);
            let found = settler.observe(&both, start + SETTLE, 9);
            assert!(found.ready.is_empty(), "{beside}: somebody may be just renaming it");
            let found = settler.observe(&both, start + 2 * SETTLE, 9);
            assert_eq!(found.ready[0].stray, Some((rel(beside), kind)));
        }
    }

    #[test]
    fn no_more_than_the_limit_is_handed_out_and_none_is_forgotten() {
        let start = Instant::now();
        let mut settler = settler();
        let three = listing(&[("a/1.pdf", 1), ("a/2.pdf", 1), ("a/3.pdf", 1)]);
        settler.observe(&three, start, 2);
        let first = settler.observe(&three, start + SETTLE, 2);
        assert_eq!((names(&first), first.next), (vec!["a/1.pdf".into(), "a/2.pdf".into()], Some(start + SETTLE)));
        assert_eq!(names(&settler.observe(&three, start + SETTLE, 2)), ["a/3.pdf"]);
    }
}
