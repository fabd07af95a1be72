//! Holds a patient against what is outside the folder: the clinic's list of patients, and other folders that say they
//! are the same patient.

use std::{collections::HashMap, time::Instant};

use super::{
    identities::{Conflict, FolderIdentities},
    roster::RosterFile,
};
use crate::{
    config::Inbox,
    model::document::Patient,
    model::path::RelPath,
    model::problem::{Problem, catalogue as known},
};

/// What is known of patients, over all inboxes.
#[derive(Debug)]
pub struct PatientChecks {
    claims: FolderIdentities,
    /// By the names of the inboxes that have one.
    rosters: HashMap<String, RosterFile>,
}

/// Why a document must not be sent for a patient.
#[derive(Debug)]
pub enum PatientObjection {
    /// It may pass by itself.
    NotYet(Problem),
    /// A person must settle it.
    Refused(Problem),
}

impl PatientChecks {
    /// Nothing looked at yet.
    pub fn new(inboxes: &[Inbox]) -> Self {
        let rosters = inboxes.iter().filter_map(|inbox| Some((inbox.name.clone(), RosterFile::new(inbox)?)));
        Self { claims: FolderIdentities::new(inboxes), rosters: rosters.collect() }
    }

    /// Takes note of a list's present state, so that it settles while documents do.
    pub fn look(&self, inbox: &Inbox) {
        if let Some(roster) = self.rosters.get(&inbox.name) {
            // Whether it can be used is said when a document asks for it.
            roster.current(Instant::now()).ok();
        }
    }

    /// The inbox's list of patients, if it has one.
    pub fn roster(&self, inbox: &Inbox) -> Option<&RosterFile> {
        self.rosters.get(&inbox.name)
    }

    /// What the folder says of the patient and what the list says, where the two agree. Blocking.
    pub fn complete(&self, inbox: &Inbox, patient: Patient) -> Result<Patient, PatientObjection> {
        match self.roster(inbox) {
            None => Ok(patient),
            Some(roster) => {
                roster.complete(&patient).map_err(PatientObjection::NotYet)?.map_err(PatientObjection::Refused)
            }
        }
    }

    /// Whether nothing speaks against the patient of a document. Blocking.
    pub fn check(&self, inbox: &Inbox, document: &RelPath, patient: &Patient) -> Result<(), PatientObjection> {
        if let Some(roster) = self.roster(inbox) {
            roster.complete(patient).map_err(PatientObjection::NotYet)?.map_err(PatientObjection::Refused)?;
        }
        match document.first_folder().and_then(|folder| self.claims.contest(inbox, folder, patient)) {
            Some(Conflict::Settled(refusal)) => Err(PatientObjection::Refused(refusal)),
            Some(Conflict::Fresh) => Err(PatientObjection::NotYet(known::PATIENT_JUST_CONTESTED.problem())),
            None => Ok(()),
        }
    }
}
