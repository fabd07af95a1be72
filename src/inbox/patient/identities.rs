//! Which patient each folder says it is, by its `patient.toml`: two folders with the same number that do not agree on
//! the person stop each other's documents, since either could be the other's.
//!
//! What was read is kept by the file's stamp, so that a document costs a look at the folders and no reading. A look
//! comes before every document, and again before its message leaves; over many folders it is spared as often as it
//! is dear, and a folder that counts is always looked at itself.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{folder, names::difference};
use crate::{
    config::Inbox,
    inbox::{
        dir::InboxDir,
        pairing::{PATIENT_FILE, Role, role},
    },
    model::document::Patient,
    model::patient::{contradiction, shares},
    model::words::display_name,
    model::{
        file_state::FileState,
        problem::{Problem, catalogue as known},
    },
    platform::effect,
};

/// Looking at all folders may take this part of the time …
const SHARE: u32 = 20;
/// … and comes at least so often all the same.
const LOOK: Duration = Duration::from_secs(10);

/// The folders of all inboxes.
#[derive(Debug)]
pub struct FolderIdentities {
    inboxes: Vec<(Inbox, Mutex<Folders>)>,
}

/// What another folder's claim means for a document.
#[derive(Debug)]
pub enum Conflict {
    /// Somebody is just writing it: it may be settled by itself.
    Fresh,
    /// A person must settle it.
    Settled(Problem),
}

/// The folders of one inbox.
#[derive(Debug, Default)]
struct Folders {
    claims: HashMap<OsString, Claim>,
    looked: Option<Instant>,
    took: Duration,
}

#[derive(Debug)]
struct Claim {
    stamp: FileState,
    /// When we first saw it so.
    since: Instant,
    /// `None` when it cannot be understood: it claims nothing, and nothing of its own folder is sent.
    patient: Option<Patient>,
}

impl FolderIdentities {
    /// Nothing looked at yet.
    pub fn new(inboxes: &[Inbox]) -> Self {
        Self { inboxes: inboxes.iter().map(|inbox| (inbox.clone(), Mutex::default())).collect() }
    }

    /// Whether another folder, of this inbox or of another one with the same destination, claims to be this patient and
    /// does not agree.
    pub fn contest(&self, inbox: &Inbox, folder: &OsStr, patient: &Patient) -> Option<Conflict> {
        let mut fresh = None;
        for (other, folders) in self.inboxes.iter().filter(|(other, _)| other.destination == inbox.destination) {
            let mut folders = folders.lock().unwrap_or_else(PoisonError::into_inner);
            folders.look(&other.path);
            let is_itself = |name: &OsStr| other.name == inbox.name && name == folder;
            for name in folders.of(patient).into_iter().filter(|name| !is_itself(name)) {
                let Some(claim) = folders.look_at(&other.path, &name) else { continue };
                let shares = |claimed: &&Patient| shares(&claimed.identifier, &patient.identifier);
                let Some(claimed) = claim.patient.as_ref().filter(shares) else { continue };
                let Some(summary) = disagreement(claimed, patient) else { continue };
                if claim.since.elapsed() >= other.settle {
                    let elsewhere = (other.name != inbox.name).then_some(other.name.as_str());
                    return Some(Conflict::Settled(contested(&name, elsewhere, &summary)));
                }
                fresh = Some(Conflict::Fresh);
            }
        }
        fresh
    }
}

impl Folders {
    /// Looks at every folder, unless that was done a moment ago.
    fn look(&mut self, root: &Path) {
        if self.looked.is_some_and(|looked| looked.elapsed() < (SHARE * self.took).min(LOOK)) {
            return;
        }
        let began = Instant::now();
        // An inbox that cannot be read keeps its claims; it must not stop the others.
        let Ok(children) = effect::read_dir(root) else { return };
        let mut whole = true;
        let mut seen = HashMap::new();
        for child in children {
            let Ok(child) = child else {
                whole = false;
                continue;
            };
            let name = child.file_name();
            if !matches!(role(&name), Role::Litter | Role::Temporary | Role::Hidden)
                && let Some(claim) = examined(root, &name, self.claims.remove(&name))
            {
                seen.insert(name, claim);
            }
        }
        match whole {
            true => self.claims = seen,
            false => self.claims.extend(seen),
        }
        self.looked = Some(Instant::now());
        self.took = began.elapsed();
    }

    /// Looks at one folder.
    fn look_at(&mut self, root: &Path, folder: &OsStr) -> Option<&Claim> {
        let claim = examined(root, folder, self.claims.remove(folder))?;
        Some(self.claims.entry(folder.to_os_string()).or_insert(claim))
    }

    /// The folders that share an identifier with a patient.
    fn of(&self, patient: &Patient) -> Vec<OsString> {
        let shares = |claim: &Claim| {
            claim.patient.as_ref().is_some_and(|claimed| shares(&claimed.identifier, &patient.identifier))
        };
        self.claims.iter().filter(|(_, claim)| shares(claim)).map(|(name, _)| name.clone()).collect()
    }
}

/// A folder's claim as it is now; what cannot be looked at just now keeps the one that it had.
fn examined(root: &Path, folder: &OsStr, before: Option<Claim>) -> Option<Claim> {
    let stamp = match effect::symlink_metadata(&root.join(folder).join(PATIENT_FILE)) {
        Ok(metadata) => FileState::of(&metadata),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return None,
        Err(_) => return before,
    };
    if before.as_ref().is_some_and(|before| before.stamp == stamp) {
        return before;
    }
    let Ok(root) = InboxDir::open(root) else { return before };
    let patient = match folder::from_file(&root, folder) {
        Ok(patient) => patient,
        Err(folder::Failure::Refused(_) | folder::Failure::Empty) => None,
        Err(folder::Failure::Busy(_) | folder::Failure::NotYet(_)) => return before,
    };
    Some(Claim { stamp, since: Instant::now(), patient })
}

/// What two folders that share a number do not agree on, with both values.
fn disagreement(claimed: &Patient, patient: &Patient) -> Option<String> {
    let words = |what: &str, ours: &str, theirs: &str| {
        format!("{what} (\"{}\" here and \"{}\" there)", display_name(ours), display_name(theirs))
    };
    if let Some(difference) = difference(patient, claimed) {
        return Some(words(difference.what, &difference.one, &difference.other));
    }
    contradiction(&patient.identifier, &claimed.identifier)
        .map(|(ours, theirs)| words("another number of the patient", &ours.value, &theirs.value))
}

fn contested(folder: &OsStr, inbox: Option<&str>, summary: &str) -> Problem {
    let name = display_name(folder);
    let place = inbox.map(|inbox| format!(" of the inbox {inbox}")).unwrap_or_default();
    known::PATIENT_CONTESTED.because(format!(
        "Two folders say that they are the patient with this number, and they disagree on {summary}: the folder that the document was dropped into, and the folder \"{name}\"{place}. The document may be another patient's. It was not sent to anybody."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, folder: &str, text: &str) {
        std::fs::create_dir_all(root.join(folder)).unwrap();
        std::fs::write(root.join(folder).join(PATIENT_FILE), text).unwrap();
    }

    fn toml(value: &str, family: &str) -> String {
        format!("identifier = [{{ system = \"urn:x\", value = \"{value}\" }}]\nfamily = \"{family}\"\n")
    }

    #[test]
    fn a_claim_follows_its_file() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let mut folders = Folders::default();
        let families = |folders: &mut Folders| {
            folders.took = Duration::ZERO;
            folders.look(root);
            let family = |claim: &Claim| claim.patient.as_ref().map(|patient| patient.family.clone().unwrap());
            let mut found: Vec<_> =
                folders.claims.iter().map(|(name, claim)| (name.to_str().unwrap().to_owned(), family(claim))).collect();
            found.sort();
            found
        };
        write(root, "a", &toml("1", "Bixby"));
        write(root, "b", "not a patient");
        std::fs::create_dir(root.join("c")).unwrap();
        std::fs::write(root.join("d.pdf"), "no folder").unwrap();
        assert_eq!(families(&mut folders), [("a".into(), Some("Bixby".into())), ("b".into(), None)]);
        let since = folders.claims[OsStr::new("a")].since;
        write(root, "b", &toml("1", "Alvarez"));
        assert_eq!(families(&mut folders), [("a".into(), Some("Bixby".into())), ("b".into(), Some("Alvarez".into()))]);
        assert_eq!(folders.claims[OsStr::new("a")].since, since, "it was not read again");
        std::fs::rename(root.join("a"), root.join("e")).unwrap();
        std::fs::remove_file(root.join("b/patient.toml")).unwrap();
        assert_eq!(families(&mut folders), [("e".into(), Some("Bixby".into()))]);
        let there = root.join("e");
        std::fs::rename(root, root.with_extension("unmounted")).unwrap();
        assert!(!there.exists());
        assert_eq!(families(&mut folders), [("e".into(), Some("Bixby".into()))], "an unmounted share forgets nothing");
        std::fs::rename(root.with_extension("unmounted"), root).unwrap();
    }

    #[test]
    fn ten_thousand_folders_are_not_read_again_for_every_document() {
        let root = tempfile::tempdir().unwrap();
        for i in 0..10_000 {
            write(root.path(), &format!("{i:05}"), &toml(&i.to_string(), "Bixby"));
        }
        let mut folders = Folders::default();
        let began = Instant::now();
        folders.look(root.path());
        let first = began.elapsed();
        let document = Patient { identifier: vec![], family: None, given: vec![], birth_date: None, gender: None };
        let began = Instant::now();
        let documents = 1000;
        for _ in 0..documents {
            folders.look(root.path());
            assert!(folders.of(&document).is_empty());
        }
        let each = began.elapsed() / documents;
        println!("first look {first:?}, then {each:?} a document");
        assert!(each < first / 20, "first look {first:?}, then {each:?} a document");
    }
}
