//! What every test of a crash asks in the end: is each document where it belongs, and does the sandbox's record agree?

#![allow(dead_code, reason = "each test target uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use serde_json::Value;

use super::Clinic;

/// A document that was dropped into an inbox, with the sidecar `<name>.toml`.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// The patient's folder.
    pub folder: String,
    /// Begins as no other document of its clinic does.
    pub name: String,
    pub bytes: Vec<u8>,
    /// The identifier of the one patient whose chart it may reach.
    pub patient: String,
    /// It is of a kind that is not sent.
    pub refused: bool,
    /// Another document of its patient has the same bytes, so that one of the two is a duplicate.
    pub twin: bool,
}

/// Where a document lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    Inbox,
    Done,
    Failed,
}

impl Dropped {
    pub fn path(&self, folder: &str) -> String {
        format!("{folder}/{}/{}", self.folder, self.name)
    }

    /// What the sandbox accepted of it.
    pub fn among<'a>(&self, accepted: &'a [Value]) -> Vec<&'a Value> {
        let sha256 = sha256(&self.bytes);
        accepted.iter().filter(|message| message["sha256"] == sha256.as_str()).collect()
    }

    /// The one place where it lies, with its bytes as they were; at any moment, however it came about.
    pub fn lies(&self, clinic: &Clinic) -> Result<Lies, String> {
        // It may be moved under the eyes of the first glance, and is moved once.
        self.glance(clinic).or_else(|_| self.glance(clinic))
    }

    fn glance(&self, clinic: &Clinic) -> Result<Lies, String> {
        let places = [("inbox", Lies::Inbox), ("done", Lies::Done), ("failed", Lies::Failed)];
        let found: Vec<_> = places.into_iter().filter(|(folder, _)| clinic.has(self.path(folder))).collect();
        let [(folder, lies)] = found[..] else { return Err(format!("{} lies in {found:?}", self.name)) };
        let bytes = fs::read(clinic.path(self.path(folder)));
        let bytes = bytes.map_err(|error| format!("{} cannot be read in {folder}: {error}", self.name))?;
        require(bytes == self.bytes, || format!("the bytes of {} have changed", self.name))?;
        Ok(lies)
    }

    /// Where it belongs when nothing is left to do: filed with its sidecar and its note, and accepted once, or more
    /// often when its receipt says so.
    pub fn is_at_rest(&self, clinic: &Clinic, accepted: &[Value]) -> Result<(), String> {
        let (name, stem) = (&self.name, self.name.split('.').next().unwrap());
        let accepted = self.among(accepted);
        for message in &accepted {
            let patient = &message["patient_identifiers"][0]["value"];
            require(*patient == *self.patient, || format!("{name} was sent for another patient"))?;
            let same = message["bundle_sha256"] == accepted[0]["bundle_sha256"];
            require(same, || format!("{name} was sent again with other bytes"))?;
        }
        let (folder, note) = if self.refused { ("failed", "reason.txt") } else { ("done", "receipt.json") };
        let of_this_document = |folder| {
            let files = clinic.files(folder);
            let begins = format!("{}/{stem}", self.folder);
            files.into_iter().filter(|file| file.starts_with(&begins)).collect::<Vec<_>>()
        };
        let expected = ["", &format!(".{note}"), ".toml"].map(|ending| format!("{}/{name}{ending}", self.folder));
        let found = of_this_document(folder);
        require(found == expected, || format!("in {folder} lies {found:?}, where {expected:?} should"))?;
        for other in ["inbox", "done", "failed"].into_iter().filter(|other| *other != folder) {
            let found = of_this_document(other);
            require(found.is_empty(), || format!("in {other} lies {found:?}"))?;
        }
        let bytes = fs::read(clinic.path(self.path(folder))).unwrap();
        require(bytes == self.bytes, || format!("the bytes of {name} have changed"))?;
        if self.refused {
            return require(accepted.is_empty(), || format!("{name} was refused, and sent"));
        }
        let receipt = clinic.receipt(&format!("{}.receipt.json", self.path("done")));
        let (status, said) = (&receipt["status"], &receipt["note"]);
        let right = *status == "accepted" || (self.twin && *status == "duplicate");
        require(right, || format!("the receipt of {name} says {said}"))?;
        let (times, uncertain) = (accepted.len() as u64, receipt["uncertain"].as_u64().unwrap());
        require(times >= 1, || format!("{name} has a receipt, and was not accepted"))?;
        require(times <= 1 + uncertain, || format!("{name} was accepted {times} times, and its receipt says {said}"))
    }
}

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
