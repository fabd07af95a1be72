//! Holds a patient against what lies outside the folder: other folders that say they are the same patient.

use super::{
    claims::{Claims, Contest},
    refusal::Refusal,
};
use crate::{config::Inbox, document::Patient, place::RelPath};

/// What is known of patients, over all inboxes.
#[derive(Debug)]
pub struct Vetting {
    claims: Claims,
}

/// Why a document must not be sent for a patient.
#[derive(Debug)]
pub enum Doubt {
    /// It may be settled by itself; in fixed words.
    NotYet(&'static str),
    /// A person must settle it.
    Refused(Refusal),
}

impl Vetting {
    /// Nothing looked at yet.
    pub fn new(inboxes: &[Inbox]) -> Self {
        Self { claims: Claims::new(inboxes) }
    }

    /// Whether nothing speaks against the patient of a document. Blocking.
    pub fn vet(&self, inbox: &Inbox, document: &RelPath, patient: &Patient) -> Result<(), Doubt> {
        match document.first_folder().and_then(|folder| self.claims.contest(inbox, folder, patient)) {
            Some(Contest::Settled(refusal)) => Err(Doubt::Refused(refusal)),
            Some(Contest::Fresh) => Err(Doubt::NotYet("another folder has just claimed to be the same patient")),
            None => Ok(()),
        }
    }
}
