//! Every problem that chartdrop can name: its code, what it means, an example, the remedy, and who can fix it.
//!
//! What is written into notes, logs and the status comes from here, and so does `docs/problems.md`. A code that is not here
//! cannot be used: a test looks through the sources. Past 400 lines because it is one table.

use super::Problem;

/// What a problem is about, and so where people meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// A document was refused: it is in failed, beside a note.
    Refused,
    /// A document waits in the inbox, mostly for a moment.
    Waits,
    /// A file in the inbox is not a document, and waits for a person.
    Stray,
    /// A delivery waits for a person's decision.
    Held,
    /// Nothing can be sent to a destination for now.
    Destination,
    /// Something is wrong with an inbox, or with many documents at once.
    Alarm,
}

/// Who can fix a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever drops documents.
    Staff,
    /// The person who looks after chartdrop.
    It,
    /// Nobody has to: it passes.
    Nobody,
}

/// One entry of the catalogue.
#[derive(Debug)]
pub struct Kind {
    /// The stable word for programs. Each `N` in it stands for a digit of a status.
    pub code: &'static str,
    /// Where people meet it.
    pub group: Group,
    /// Who can fix it.
    pub who: Who,
    /// One fixed sentence, without names: safe for logs.
    pub means: &'static str,
    /// What people read, or an example of it where the words name a file or two values.
    pub example: &'static str,
    /// What to do, or an example where that depends on the case.
    pub remedy: &'static str,
}

impl Kind {
    /// The problem in the catalogue's own words.
    pub fn problem(&self) -> Problem {
        Problem::new(self.code, self.example, self.remedy)
    }

    /// The problem with a summary that names what is at hand.
    pub fn because(&self, summary: impl Into<String>) -> Problem {
        Problem::new(self.code, summary, self.remedy)
    }

    /// The problem in words of its own.
    pub fn with(&self, summary: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem::new(self.code, summary, remedy)
    }
}

/// The entry of a code: its own, or the one of its family that says most of it, such as `redox-3NN` for `redox-302`.
pub fn find(code: &str) -> Option<&'static Kind> {
    let is_like = |(known, given): (u8, u8)| known == given || (known == b'N' && given.is_ascii_digit());
    let is_of = |kind: &&&Kind| kind.code.len() == code.len() && kind.code.bytes().zip(code.bytes()).all(is_like);
    ALL.iter().filter(is_of).min_by_key(|kind| kind.code.matches('N').count()).copied()
}

macro_rules! catalogue {
    ($($name:ident = $code:literal, $group:ident, $who:ident, $means:literal, $example:literal, $remedy:literal;)*) => {
        $(
            #[doc = $means]
            pub static $name: Kind = Kind {
                code: $code,
                group: Group::$group,
                who: Who::$who,
                means: $means,
                example: $example,
                remedy: $remedy,
            };
        )*
        /// The whole catalogue, in the order of the page.
        pub static ALL: &[&Kind] = &[$(&$name),*];
    };
}

catalogue! {
    // Whose document is it?

    NO_PATIENT_FOLDER = "no-patient-folder", Refused, Staff,
        "The document is beside the patient folders, not in one.",
        "The document was dropped beside the patient folders, not into one, so nobody can tell whose it is.",
        "Move the document into the folder of its patient in the inbox.";
    NO_PATIENT = "no-patient", Refused, Staff,
        "Nothing says whose folder the document is in.",
        "Nothing says whose folder this is: there is no patient.toml in it, and its name does not say it.",
        "Put a patient.toml with the patient's number, name and birth date into the patient's folder in the inbox. Then move the document back there.";
    PATIENT_NAME_UNCLEAR = "patient-name-unclear", Refused, Staff,
        "The name of the patient's folder can be read in more than one way.",
        "It is not clear which part of the folder's name is the patient's number: letters or digits follow it directly, or there are two numbers.",
        "Write the number by itself, with a space before the patient's name (for example 0000000001 Bixby). Then move the document back into the folder in the inbox.";
    PATIENT_MISNAMED = "patient-misnamed", Refused, Staff,
        "A file in the patient's folder looks like a patient.toml and has another name.",
        "The file that says whose folder this is must be called patient.toml, in small letters and with nothing after it. Here a file is called \"patient.toml.txt\". It may say that the folder is another patient's, and it was not read.",
        "If it says whose folder this is, rename it to patient.toml in the patient's folder in the inbox. (Windows hides the end of a name unless you let it show file name extensions.) If it is a copy, delete it. If it describes a document, name it after the whole document, for example scan.pdf.toml for scan.pdf. Then move the document back there.";
    PATIENT_UNREADABLE = "patient-unreadable", Refused, Staff,
        "The patient.toml of the patient's folder cannot be understood.",
        "The patient.toml of this folder cannot be understood, so nobody can tell for certain whose folder it is: line 2, column 1: \"famly\" is not a key that is known here; did you mean \"family\"?",
        "Correct patient.toml in the patient's folder in the inbox. Then move the document back there.";
    PATIENT_EMPTY = "patient-empty", Refused, Staff,
        "The patient.toml of the patient's folder is empty.",
        "The patient.toml in the patient's folder is empty, so it does not say whose folder it is.",
        "Write the patient's number, name and birth date into the patient.toml in the inbox, or delete it if the folder's name says whose folder it is. Then move the document back there.";
    PATIENT_MISMATCH = "patient-mismatch", Refused, Staff,
        "Two statements about the patient disagree.",
        "The folder's name and the patient.toml in it name different patients: the patient's number is \"0000000002\" by the folder's name and \"0000000001\" by patient.toml. The document was not sent to either.",
        "Find out whose folder it is, and correct its name or its patient.toml in the inbox. Then move the document back there.";
    FOLDER_NAME_MISMATCH = "folder-name-mismatch", Refused, Staff,
        "The name of the folder and the name of the patient have nothing in common.",
        "The folder's name says \"Alvarez\", and the patient with this number is called \"Timothy Bixby\" (by patient.toml or by the clinic's list of patients). The two names have no word in common, so the document may be another patient's. It was not sent to anybody.",
        "Find out whose folder it is. Correct the number or the name in the folder's name, or the patient.toml. Then move the document back into the right patient's folder in the inbox.";
    PATIENT_INSIDE_PATIENT = "patient-inside-patient", Refused, Staff,
        "The document is in a patient's folder that is inside another patient's folder.",
        "The document is in the folder \"0000000002 Alvarez\", which has a patient.toml of its own and is inside another patient's folder, so it could belong to either patient.",
        "Move the inner patient's folder up, so that every patient's folder is directly in the inbox. Then move the document back into the right one.";
    PATIENT_CONTESTED = "patient-contested", Refused, Staff,
        "Two folders claim the same patient's number and disagree on the person.",
        "Two folders say that they are the patient with this number, and they disagree on the birth date (\"2008-01-06\" here and \"2008-01-07\" there): the folder that the document was dropped into, and the folder \"bixby\". The document may be another patient's. It was not sent to anybody.",
        "Find out whose number it is, and correct the patient.toml that is wrong, in the inbox. Until then nothing from either folder is sent. Then move the document back into the right patient's folder.";
    ROSTER_MISMATCH = "roster-mismatch", Refused, Staff,
        "The patient's folder and the clinic's list of patients disagree.",
        "The patient's folder (or the document's sidecar) and the clinic's list of patients disagree on the birth date: the folder says \"2008-01-07\", the list says \"2008-01-06\". So the document may be another patient's. It was not sent to anybody.",
        "Find out which of them is right. Correct the number or the patient.toml of the folder in the inbox, or correct the practice system and have the list exported again. Then move the document back into the right patient's folder in the inbox.";
    NOT_ON_ROSTER = "not-on-roster", Refused, Staff,
        "The patient is not on the clinic's list of patients.",
        "The patient's number (0000000009) is not on the clinic's list of patients, so the document was not sent to anybody.",
        "Compare the number in the folder's name or its patient.toml with the practice system. If it is wrong, correct it in the inbox. If it is right, have the list exported again. Then move the document back into the patient's folder in the inbox.";

    // What is said of the document.

    SIDECAR_MISNAMED = "sidecar-misnamed", Refused, Staff,
        "A file beside the document looks like its sidecar and has another name.",
        "The file \"scan.pdf.toml.txt\" looks like one that describes a document, but such a file must be called otherwise. It may say that the document is another patient's, and it was not read.",
        "If it belongs to the document, name it after the whole document with .toml or .json after it, with the same capital letters: for example scan.pdf.toml for scan.pdf. (Windows hides the end of a name unless you let it show file name extensions.) If it is a copy, delete it. Then move the document back into the patient's folder in the inbox.";
    SIDECAR_UNREADABLE = "sidecar-unreadable", Refused, Staff,
        "The document's sidecar cannot be understood.",
        "The document's sidecar (the small text file that describes it) cannot be used: line 1, column 1: \"titel\" is not a key that is known here; did you mean \"title\"?",
        "Correct the sidecar. Then move it and the document back into the patient's folder in the inbox.";
    SIDECAR_UNUSABLE = "sidecar-unusable", Refused, Staff,
        "The document's sidecar says something that cannot be sent.",
        "The document's sidecar (the small text file that describes it) cannot be used: the title is empty or longer than 200 letters.",
        "Correct the sidecar. Then move it and the document back into the patient's folder in the inbox.";
    UNKNOWN_TYPE = "unknown-type", Refused, Staff,
        "The document's sidecar names a document type that is not known here.",
        "The document's sidecar (the small text file that describes it) cannot be used: \"referal\" is not a document type that is known here; did you mean \"referral\"?",
        "Correct the type in the sidecar. Then move it and the document back into the patient's folder in the inbox.";
    SIDECAR_EMPTY = "sidecar-empty", Refused, Staff,
        "The document's sidecar is empty.",
        "The document's sidecar (\"scan.pdf.toml\") is empty: it says nothing about the document.",
        "Write into it what it should say, or delete it if the document needs none. Then move it and the document back into the patient's folder in the inbox.";
    SIDECAR_MISSING = "sidecar-missing", Refused, Staff,
        "The document came without a sidecar, and this inbox requires one.",
        "In this inbox every document needs a sidecar (a small text file that describes it), and none came.",
        "Write one, named after the whole document (for example scan.pdf.toml for scan.pdf). Then move both into the patient's folder in the inbox.";
    SIDECAR_AMBIGUOUS = "sidecar-ambiguous", Refused, Staff,
        "It is not clear which sidecar belongs to the document.",
        "It is not clear which sidecar belongs to this document: there are two for it, or one for two documents.",
        "Keep one sidecar for each document and name it after the whole document, for example scan.pdf.toml for scan.pdf. Then move both back into the patient's folder in the inbox.";
    SIDECAR_TOO_OLD = "sidecar-too-old", Refused, Staff,
        "The document's sidecar was there long before the document came.",
        "The file \"scan.toml\" that describes this document was in the folder long before the document came. It may have been meant for an earlier document of the same name, perhaps of another patient. Nothing was sent.",
        "Open the file, which is now beside this note, and read it. If it describes this document, save it again and move both back into the patient's folder in the inbox. If it does not, delete it and move the document back alone.";
    NOT_SENDABLE = "not-sendable", Refused, Staff,
        "Something that is said of the document or its patient cannot be sent.",
        "Something that is said of the document or its patient cannot be sent: the year of the birth date is 0000.",
        "Correct it in the sidecar, in patient.toml or in the file's name. Then move the document (and its sidecar) back into the patient's folder in the inbox.";
    TOO_MANY_WORDS = "too-many-words", Refused, Staff,
        "What is said of the document and its patient is too long.",
        "The names of the document and its folders, and what is said of the document and its patient, are too long together.",
        "Shorten the document's name, its title or its description. Then move the document (and its sidecar) back into the patient's folder in the inbox.";

    // What is in the file.

    EMPTY = "empty", Refused, Staff,
        "The document is empty.",
        "The document is empty: it has no content at all.",
        "Scan it again, or save it as PDF, and drop that into the patient's folder in the inbox.";
    CUT_OFF = "cut-off", Refused, Staff,
        "The end of the document is missing.",
        "The JPEG picture is cut off: its end is missing. The scan or the copy was probably interrupted.",
        "Scan it again, or save it as PDF, and drop that into the patient's folder in the inbox.";
    PASSWORD = "password", Refused, Staff,
        "The PDF document cannot be opened without a password.",
        "The PDF document cannot be opened by everybody: it needs a password. Whoever receives it could not read it.",
        "Open it with its password, print or save it as a new PDF without a password, and drop that into the patient's folder in the inbox.";
    TEXT_ENCODING = "text-encoding", Refused, Staff,
        "The text document is not saved as UTF-8.",
        "The text is saved as Windows-1252 (ANSI), not as UTF-8. Sent like this, accented letters and names could be garbled in the chart.",
        "Open it in Notepad, choose File > Save as, set Encoding to UTF-8, save it, and drop that into the patient's folder in the inbox. Or save it as PDF.";
    WRONG_CONTENT = "wrong-content", Refused, Staff,
        "The content of the file is not what its name says.",
        "By its name this is a PDF document, but the content is a JPEG picture.",
        "Save it as PDF (or TIFF, JPEG, PNG, RTF, plain text), and drop that into the patient's folder in the inbox.";
    FORBIDDEN_CONTENT = "forbidden-content", Refused, Staff,
        "Files of this kind are never sent.",
        "Files of this kind (a program) are not sent.",
        "Save it as PDF (or TIFF, JPEG, PNG, RTF, plain text), and drop that into the patient's folder in the inbox.";
    UNKNOWN_CONTENT = "unknown-content", Refused, Staff,
        "The end of the document's name is none of the known kinds.",
        "The document's name does not end in one of the known kinds (pdf, tif, jpg, png, rtf, txt, xml).",
        "Save it as PDF (or TIFF, JPEG, PNG, RTF, plain text), and drop that into the patient's folder in the inbox.";
    TOO_LARGE = "too-large", Refused, Staff,
        "The document is larger than what may be sent.",
        "The document has 41.2 MB, and at most 30.0 MB may be sent.",
        "Scan it with a lower resolution or in black and white, or split it into parts. Drop those into the patient's folder in the inbox.";
    BAD_NAME = "bad-name", Refused, Staff,
        "The document's name cannot be used.",
        "The document's name has characters that cannot be read.",
        "Give the document a plain, short name, and move it back into the patient's folder in the inbox.";
    NOT_A_FILE = "not-a-file", Refused, Staff,
        "This is not a document but a link, a special file, or a folder that is too deep.",
        "This is not a document but a link to one (a shortcut). Links are not followed, since they can lead to anything.",
        "Copy the document itself into the patient's folder in the inbox.";
    BAD_TYPE = "bad-type", Refused, It,
        "The kind of the document cannot be named in a request.",
        "The kind of this document cannot be sent: the setting for it has a character that is not allowed.",
        "Correct the kind of this file in [file_types] of the configuration. Then move the document back into the patient's folder in the inbox.";

    // What was sent before, and what Redox says.

    OTHER_METADATA = "other-metadata", Refused, Staff,
        "The same document was accepted before with another description.",
        "Redox accepted the same document for this patient on 2026-11-20 09:30 UTC (as 0000000001 Bixby/scan.pdf), and this time its description differs: the title was \"Referral\" and is now \"Referral letter\".",
        "If the chart is right as it is, delete this file. If the new description is a mistake, correct it and move the document back into the patient's folder in the inbox: then it is filed as a duplicate. If the description must be corrected in the chart, ask the person who looks after chartdrop to send it again on purpose.";
    GAVE_UP = "gave-up", Refused, It,
        "Redox could not be reached, or did not take the document, for a long time.",
        "Redox could not be reached, or did not take the document, for a long time. The last try: Redox cannot take it at the moment (503).",
        "Ask the person who looks after chartdrop whether the connection works again. Then move the document (and its sidecar) back into the patient's folder in the inbox.";
    CLOSED = "closed", Refused, Staff,
        "A person decided that the document is not to be sent.",
        "maria decided that this document is not to be sent: it is another patient's.",
        "Nothing, unless that was a mistake: then move the document (and its sidecar) back into the patient's folder in the inbox.";
    TAKEN_AWAY = "taken-away", Refused, Staff,
        "The document was taken out of the inbox before its delivery had ended.",
        "It was taken out of the inbox before it was known whether it had arrived.",
        "Look into the patient's chart before you drop it again.";
    SENT_TOO_LARGE = "redox-413", Refused, Staff,
        "The document is too large for Redox.",
        "The document is too large for Redox. Redox's answer (413): Payload too large",
        "Make the file smaller (fewer pages, or a lower resolution). Then move it back into the patient's folder in the inbox.";
    SENT_BAD_KIND = "redox-415", Refused, Staff,
        "Redox does not take this kind of file.",
        "Redox does not take this kind of file. The answer (415) gave no reason.",
        "Save the document as PDF, and drop that into the patient's folder in the inbox.";
    SENT_REFUSED = "redox-NNN", Refused, It,
        "Redox refused the document.",
        "Redox refused what was said of the document or of its patient. Redox's answer (422): Unknown document type",
        "Correct what Redox's answer names (often the patient's details, or the document's type), or show this note to the person who looks after chartdrop. Then move the document back into the patient's folder in the inbox.";
    SEARCH_REFUSED = "search-refused", Refused, It,
        "The destination does not answer searches for documents.",
        "This destination does not answer searches for documents. The answer (404) gave no reason.",
        "Set on_unknown = \"resend\" or \"hold\" in the configuration.";

    // Why a document waits.

    BEING_WRITTEN = "being-written", Waits, Nobody,
        "Somebody is still writing the document.",
        "The document waits in the inbox: somebody is still writing it.",
        "Nothing, if it is just being scanned or copied. If it stays like this, close the program that has it open.";
    JUST_CHANGED = "just-changed", Waits, Nobody,
        "The document, its sidecar or its patient.toml has just changed.",
        "The document waits in the inbox: it, its sidecar or its patient.toml has just changed.",
        "Nothing: chartdrop looks again in a moment.";
    JUST_GONE = "just-gone", Waits, Nobody,
        "The document has just been taken away.",
        "The document was in the inbox and has just been taken away. It was not sent.",
        "Nothing, if somebody moved it on purpose.";
    CHANGED_WHILE_SENT = "changed-while-sent", Waits, Nobody,
        "The document, its sidecar or its patient.toml changed before the message was sent.",
        "The document waits in the inbox: it, its sidecar or its patient.toml changed before its message was sent.",
        "Nothing: chartdrop starts over with what is there now.";
    UNREADABLE = "unreadable", Waits, It,
        "The document cannot be read at the moment.",
        "The document waits in the inbox: it cannot be read at the moment.",
        "Nothing, if it passes. If it stays like this, the person who looks after chartdrop should check the disk or the share that the inbox is on.";
    MAY_NOT_READ = "may-not-read", Waits, It,
        "chartdrop is not allowed to read the document.",
        "The document waits in the inbox: chartdrop is not allowed to read it.",
        "The person who looks after chartdrop should let its user read and change what is in the inbox (on a Windows share with the setting force user).";
    NOT_EXAMINED = "not-examined", Waits, It,
        "The document could not be examined: a fault in chartdrop.",
        "The document waits in the inbox: chartdrop could not examine it, which is a fault in chartdrop.",
        "Save the document in another way, for example as PDF, and drop that. Please report the fault to chartdrop's developers.";
    STILL_EMPTY = "still-empty", Waits, Nobody,
        "The document is still empty.",
        "The document waits in the inbox: it is still empty.",
        "Nothing, if it is just being scanned or copied. If it stays empty it is refused with a note.";
    END_MISSING = "end-missing", Waits, Nobody,
        "The end of the document has not come yet.",
        "The document waits in the inbox: its end has not come yet.",
        "Nothing, if it is just being scanned or copied. If the rest does not come it is refused with a note.";
    ENDS_IN_ZEROS = "ends-in-zeros", Waits, Nobody,
        "The document ends with zeros, and may not be complete yet.",
        "The document waits in the inbox for a while: it ends with zeros, and may not be complete yet.",
        "Nothing: it is sent when it has not changed for a while.";
    NO_VISIBLE_END = "no-visible-end", Waits, Nobody,
        "The text document has no end that would show that it is complete.",
        "The text document waits in the inbox for a while: it has no end that would show that it is complete, and chartdrop cannot see here who is still writing it.",
        "Nothing: it is sent when it has not changed for a while.";
    SIDECAR_AWAITED = "sidecar-awaited", Waits, Staff,
        "The document waits for its sidecar.",
        "The document waits in the inbox for its sidecar (a small text file that describes it): this inbox requires one.",
        "Drop the sidecar into the same folder, named after the whole document (for example scan.pdf.toml for scan.pdf).";
    SIDECAR_STILL_EMPTY = "sidecar-still-empty", Waits, Staff,
        "The document's sidecar is still empty.",
        "The document waits in the inbox: its sidecar is still empty.",
        "Write into the sidecar what it should say, or delete it if the document needs none.";
    PATIENT_STILL_EMPTY = "patient-still-empty", Waits, Staff,
        "The patient.toml of the document's folder is still empty.",
        "The document waits in the inbox: the patient.toml of its folder is still empty.",
        "Write the patient's number, name and birth date into the patient.toml, or delete it if the folder's name says whose folder it is.";
    PATIENT_NEAR_MISS = "patient-near-miss", Waits, Staff,
        "A file in the document's folder looks like a patient.toml and has another name.",
        "The document waits in the inbox: the file \"patient.toml.txt\" in its folder looks like a patient.toml and has another name.",
        "Rename it to patient.toml, in small letters and with nothing after it. If it is a copy, delete it.";
    SIDECAR_NEAR_MISS = "sidecar-near-miss", Waits, Staff,
        "A file beside the document looks like its sidecar and has another name.",
        "The document waits in the inbox: the file \"scan.pdf.toml.txt\" beside it looks like its sidecar and has another name.",
        "Name it after the whole document with .toml or .json after it, for example scan.pdf.toml for scan.pdf. If it is a copy, delete it.";
    PATIENT_JUST_CONTESTED = "patient-just-contested", Waits, Nobody,
        "Another folder has just claimed to be the same patient.",
        "The document waits in the inbox: another folder has just claimed to be the same patient.",
        "Nothing, if somebody is just writing that folder's patient.toml. If the two disagree, the document is refused with a note.";
    ROSTER_CHANGED = "roster-changed", Waits, Nobody,
        "The clinic's list of patients has just changed.",
        "The document waits in the inbox: the clinic's list of patients has just changed.",
        "Nothing: chartdrop reads the list as soon as it is complete.";

    // Files that are not documents.

    SIDECAR_ORPHAN = "sidecar-orphan", Stray, Staff,
        "A sidecar's document is not there.",
        "The file \"scan.pdf.toml\" describes a document, and there is no document of that name beside it. It stays where it is, and is not used.",
        "Drop its document into the same folder. If the document is there under another name, name the file after the whole document, for example scan.pdf.toml for scan.pdf. If it is not needed any more, delete it.";
    STRAY_NOTE = "stray-note", Stray, Staff,
        "A receipt or a note is in the inbox.",
        "The file \"scan.pdf.receipt.json\" is a receipt or a note that chartdrop wrote, or is called like one. It is not a document, so it stays where it is and is not sent.",
        "Move it back to where its document is, or delete it if its document is gone. If it is a document of your own, give it another name.";
    ODD_FOLDER = "odd-folder", Stray, Staff,
        "A folder is called like something temporary or hidden.",
        "The folder \"Bixby.tmp\" is called like something temporary or hidden, so nothing in it is looked at or sent. It stays where it is.",
        "If it is a patient's folder, rename it: without a dot at the beginning, and without .tmp, .part or ~ at the end. If it is not, move it out of the inbox.";
    LEFT_OVER = "left-over", Stray, Staff,
        "A copy program or an editor has left a file.",
        "The file \"scan.pdf.part\" is one that a copy program or an editor left: a copy that was interrupted, or a backup. It stays where it is, and is not sent.",
        "If the copy was interrupted, copy the document again and delete this file. If it is a document, rename it: without .tmp, .part or ~ at the end.";
    HIDDEN_FILE = "hidden-file", Stray, Staff,
        "A file is hidden.",
        "The name of the file \".scan.pdf\" begins with a dot, so it is hidden on most computers. It stays where it is, and is not sent.",
        "If it is a document, rename it without the dot. If it is not, delete it or move it out of the inbox.";
    PATIENT_HOMELESS = "patient-homeless", Stray, Staff,
        "A patient.toml is outside every patient folder.",
        "The file \"patient.toml\" says whose folder it is in, and it is not in a patient's folder. It stays where it is, and is not used.",
        "Move it into the folder of its patient, or delete it.";

    // What waits for a decision.

    HELD_BY_PERSON = "held-by-person", Held, It,
        "A person held the document.",
        "This document is held by maria: wrong page. It stays in the inbox, and nothing more of it is sent until somebody releases it.",
        "When it may go on, release it (`chartdrop release`): then it is sent. If it must not be sent, close it (`chartdrop close`): then it is filed in failed with your reason.";
    OUTCOME_UNKNOWN = "outcome-unknown", Held, It,
        "The document was sent and no answer came.",
        "The document was sent and no answer came, so nobody can tell whether it arrived. It stays in the inbox, and is not sent again by itself.",
        "Look into the patient's chart. If the document is there, close this delivery (`chartdrop close`). If it is not there, release it (`chartdrop release`): then the same message is sent once more. With `chartdrop send-again` it is sent as a new message. The chart may then show it twice if the first one arrived late.";
    PATIENT_CHANGED = "patient-changed", Held, It,
        "The document may have been sent, and the patient's data were changed after that.",
        "The document may have been sent already, and what the folder says of the patient was changed after that. It stays in the inbox, and is not sent again by itself.",
        "Look into the chart of the patient that it was sent for. If the document is wrong there, have it removed. Then release it (`chartdrop release`): a new message is sent for the patient whom the folder names now. If it must not be sent, close it (`chartdrop close`).";
    LEDGER_LOST = "ledger-lost", Held, It,
        "chartdrop's record was lost, and the document may have been sent before that.",
        "This document may have been sent before the ledger was lost (chartdrop's record of what was sent): it was in the inbox at that time. It stays in the inbox, and nothing more of it is sent by itself.",
        "Look into the patient's chart. If the document is there, close this delivery (`chartdrop close`). If it is not there, release it (`chartdrop release`): then it is sent.";
    UNCLEAR_ANSWER = "unclear-answer", Held, It,
        "Redox's answer was neither a yes nor a no.",
        "Redox's answer was neither a yes nor a no, so nobody can tell whether the document arrived. It stays in the inbox, and is not sent again by itself.",
        "Look into the patient's chart. Ask the person who looks after chartdrop whether a proxy or firewall answers in place of Redox. If the document is in the chart, close this delivery (`chartdrop close`). If it is not there, release it (`chartdrop release`): then the same message is sent once more. With `chartdrop send-again` it is sent as a new message.";
    ONLY_THIS_REFUSED = "only-this-refused", Held, It,
        "Redox, or a firewall before it, refuses this document and takes others.",
        "Redox, or a firewall before it, refuses this document and takes others. Nothing of it was accepted, and it stays in the inbox.",
        "Ask the person who looks after chartdrop: a firewall may object to something in this file. When that is fixed, release it (`chartdrop release`): then it is sent. If it must not be sent, close it (`chartdrop close`): then it is filed in failed with your reason.";

    // Why nothing goes to a destination.

    CHANNEL_PAUSED = "channel-paused", Destination, It,
        "A person paused the destination.",
        "Nothing is sent to this destination: paused by maria. Documents wait in the inbox, and nothing is lost.",
        "When deliveries may go on, resume the destination (`chartdrop resume`).";
    TOO_MANY_REQUESTS = "too-many-requests", Destination, Nobody,
        "Redox takes no more requests for a while.",
        "Redox asks everybody to slow down (429). Documents wait in the inbox.",
        "Nothing: chartdrop goes on by itself when the time is over.";
    UNREACHABLE_REFUSED = "unreachable-refused", Destination, It,
        "Nobody accepts connections at Redox's address.",
        "Nobody accepts connections at Redox's address: connection refused. Documents wait in the inbox.",
        "Check redox.base_url and the firewall: nobody accepts connections at that address, or something in between refuses them.";
    UNREACHABLE_DNS = "unreachable-dns", Destination, It,
        "The name of Redox's server has no address.",
        "The name of Redox's server cannot be resolved. Documents wait in the inbox.",
        "Check redox.base_url and this machine's name service (DNS): the server's name has no address.";
    UNREACHABLE_TLS = "unreachable-tls", Destination, It,
        "No encrypted connection to Redox can be made.",
        "No encrypted connection to Redox can be made: the certificate is not trusted. Documents wait in the inbox.",
        "If a proxy looks into encrypted connections, name its certificate in redox.ca_file. If a certificate is expired, check this machine's clock. Otherwise report it to Redox.";
    UNREACHABLE_TIMEOUT = "unreachable-timeout", Destination, It,
        "Redox's server does not answer.",
        "Redox's server does not answer in time. Documents wait in the inbox.",
        "Check this machine's network and firewall: the server does not answer.";
    UNREACHABLE_PROXY = "unreachable-proxy", Destination, It,
        "The proxy does not connect to Redox.",
        "The proxy does not connect to Redox. Documents wait in the inbox.",
        "Check redox.proxy (or HTTPS_PROXY) and the proxy itself.";
    UNREACHABLE = "unreachable", Destination, It,
        "Redox's server cannot be reached.",
        "Redox's server cannot be reached: no route to the network. Documents wait in the inbox.",
        "Check this machine's network.";
    REDOX_REDIRECT = "redox-3NN", Destination, It,
        "Redox's address answers with a redirect.",
        "Redox's address answered with a redirect (302), which is never followed with patient data. Documents wait in the inbox.",
        "Check base_url: it must be Redox's own address, and no proxy or login page may be in between.";
    REDOX_401 = "redox-401", Destination, It,
        "Redox refuses the access token.",
        "Redox refuses our access token, and a new one as well. The answer (401) gave no reason. Documents wait in the inbox.",
        "Check in Redox's dashboard that the key is active and belongs to the environment in the configuration.";
    REDOX_403 = "redox-403", Destination, It,
        "Redox does not allow this key to send to this destination.",
        "Redox does not allow this key to send to this destination. The answer (403) gave no reason. Documents wait in the inbox.",
        "Check in Redox's dashboard that the key belongs to this environment and may send to this destination, and check source_id when there are several sources.";
    REDOX_404 = "redox-404", Destination, It,
        "Redox does not know the address that everything is sent to.",
        "Redox does not know the address that everything is sent to. The answer (404) gave no reason. Documents wait in the inbox.",
        "Check destination, environment and base_url in the configuration against Redox's dashboard.";
    REDOX_405 = "redox-405", Destination, It,
        "Redox does not know the address that everything is sent to.",
        "Redox does not know the address that everything is sent to. The answer (405) gave no reason. Documents wait in the inbox.",
        "Check destination, environment and base_url in the configuration against Redox's dashboard.";
    REDOX_410 = "redox-410", Destination, It,
        "Redox does not know the address that everything is sent to any more.",
        "Redox does not know the address that everything is sent to. The answer (410) gave no reason. Documents wait in the inbox.",
        "Check destination, environment and base_url in the configuration against Redox's dashboard.";
    REDOX_407 = "redox-407", Destination, It,
        "The proxy in between wants a login.",
        "The proxy in between wants a login. The answer (407) gave no reason. Documents wait in the inbox.",
        "Ask whoever runs the network to let this computer reach Redox, or put the login into HTTPS_PROXY.";
    TOKEN_REFUSED = "token-NNN", Destination, It,
        "Redox gives no access token.",
        "Redox gives us no access token. Redox's answer (401): \"invalid_client\". Documents wait in the inbox.",
        "Check client_id, key_id, private_key and algorithm against the key in Redox's dashboard, and that the public key registered there belongs to this private key.";
    TOKEN_UNUSABLE = "token-unusable", Destination, It,
        "Redox's access token cannot be used.",
        "Redox gave an access token that cannot be sent back in a header. Documents wait in the inbox.",
        "Check that base_url leads to Redox and not to a proxy's page.";
    TOKEN_MISSING = "token-missing", Destination, It,
        "Redox's address for access tokens answers with something else.",
        "Redox's address for access tokens answered with something else than a token. Documents wait in the inbox.",
        "Check that base_url leads to Redox and not to a proxy's or a firewall's page.";
    KEY_UNUSABLE = "key-unusable", Destination, It,
        "The private key cannot sign.",
        "The private key could not sign. Documents wait in the inbox.",
        "Make a new key with `chartdrop keygen`, and register its public half in Redox's dashboard.";
    LOCATION_TOO_LONG = "location-too-long", Destination, It,
        "Redox's reference to an uploaded file is too long.",
        "Redox's reference to an uploaded file is 2000 characters long; at most 600 can be kept. Documents wait in the inbox.",
        "Report this to chartdrop's developers. Until then, embed small files with method = \"embed\".";

    // What is wrong with an inbox, or with many documents.

    WAITING_TOO_LONG = "waiting-too-long", Alarm, It,
        "Documents have waited in the inbox for too long.",
        "Documents have waited in the inbox for too long. Nothing is lost.",
        "Run `chartdrop status`: it says why they wait.";
    INBOX_UNREACHABLE = "inbox-unreachable", Alarm, It,
        "The inbox cannot be read.",
        "The inbox cannot be read. Nothing is lost: its documents stay where they are, and it is tried again all the time.",
        "Check that the share or disk is mounted, and that chartdrop's user may read the folder.";
    FOLDER_UNREADABLE = "folder-unreadable", Alarm, It,
        "A patient folder cannot be read, or not all of it.",
        "A patient folder cannot be read, or not all of it. Nothing is lost: nothing in it is sent, and it is tried again.",
        "Check that chartdrop's user may read every folder in the inbox.";
    INBOX_TAKEN = "inbox-taken", Alarm, It,
        "Another chartdrop delivers from this inbox.",
        "Another chartdrop delivers from this inbox, with another ledger. Nothing is lost: nothing is sent from it here.",
        "Stop one of the two.";
    ROSTER_UNUSABLE = "roster-unusable", Alarm, It,
        "The clinic's list of patients cannot be used.",
        "The clinic's list of patients cannot be used. Nothing is lost: all documents of this inbox wait until it can be used.",
        "Have the list exported again, and run `chartdrop check`: it says what is wrong with the list.";
    NOT_FILED = "not-filed", Alarm, It,
        "Finished documents cannot be moved to done or failed.",
        "Finished documents cannot be moved to done or failed. Nothing is lost: they stay in the inbox, and nothing is sent again.",
        "Run `chartdrop check`: it says which folder cannot be written, and why.";
    SENT_AND_GONE = "sent-and-gone", Alarm, It,
        "A document that may have arrived is not in its inbox any more.",
        "A document that may have arrived was taken out of its inbox, or belongs to another patient by now. Nothing of it is sent again.",
        "Look into the chart of the patient that `chartdrop show` names. Then end this delivery with `chartdrop release`.";
}
