//! What a note says to do helps: each remedy is followed to the letter while the daemon runs, and the document is accepted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test target uses a part")]
#[path = "support/files.rs"]
mod files;
mod support;

use std::{fs, os::unix::fs::symlink, thread};

use support::{Clinic, PATIENT, pdf};

const BY_NAME: &str =
    "[inbox.patient]\nidentifier_system = \"urn:redox:health-one:MR\"\nfolder_pattern = '^(?<identifier>[0-9]+)'\n";

/// A problem, and a person who reads its note.
struct Case {
    code: &'static str,
    /// Lines for `[[inbox]]` and `[delivery]`.
    settings: (&'static str, &'static str),
    /// What goes wrong.
    dropped: fn(&Clinic),
    /// The document that is refused.
    document: &'static str,
    /// Words of the note that the person follows.
    says: &'static [&'static str],
    /// What the person does then.
    follow: fn(&Clinic),
    /// The document that is accepted after that.
    done: &'static str,
}

/// From failed back into the inbox, as a person does it who leaves the old note where it is.
fn back(clinic: &Clinic, names: &[&str]) {
    for name in names {
        fs::rename(clinic.path(format!("failed/{name}")), clinic.path(format!("inbox/{name}"))).unwrap();
    }
}

fn rename(clinic: &Clinic, from: &str, to: &str) {
    fs::rename(clinic.path(from), clinic.path(to)).unwrap();
}

const WHOSE: &[Case] = &[
    Case {
        code: "no-patient-folder",
        settings: ("", ""),
        dropped: |clinic| drop(clinic.drop_file("inbox/scan.pdf", pdf("a"))),
        document: "scan.pdf",
        says: &["Move the document into the folder of its patient in the inbox"],
        follow: |clinic| rename(clinic, "failed/scan.pdf", "inbox/bixby/scan.pdf"),
        done: "bixby/scan.pdf",
    },
    Case {
        code: "no-patient",
        settings: ("", ""),
        dropped: |clinic| drop(clinic.drop_file("inbox/nobody/scan.pdf", pdf("a"))),
        document: "nobody/scan.pdf",
        says: &[
            "Put a patient.toml with the patient's number, name and birth date",
            "Then move the document back there",
        ],
        follow: |clinic| {
            clinic.drop_file("inbox/nobody/patient.toml", PATIENT);
            back(clinic, &["nobody/scan.pdf"]);
        },
        done: "nobody/scan.pdf",
    },
    Case {
        code: "patient-misnamed",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/chen/patient.toml.txt", PATIENT);
            clinic.drop_file("inbox/chen/scan.pdf", pdf("a"));
        },
        document: "chen/scan.pdf",
        says: &["\"patient.toml.txt\"", "rename it to patient.toml", "Then move the document back there"],
        follow: |clinic| {
            rename(clinic, "inbox/chen/patient.toml.txt", "inbox/chen/patient.toml");
            back(clinic, &["chen/scan.pdf"]);
        },
        done: "chen/scan.pdf",
    },
    Case {
        code: "patient-misnamed",
        settings: (BY_NAME, ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/0000000001/patient - Copy.toml", PATIENT);
            clinic.drop_file("inbox/0000000001/scan.pdf", pdf("a"));
        },
        document: "0000000001/scan.pdf",
        says: &["If it is a copy, delete it"],
        follow: |clinic| {
            fs::remove_file(clinic.path("inbox/0000000001/patient - Copy.toml")).unwrap();
            back(clinic, &["0000000001/scan.pdf"]);
        },
        done: "0000000001/scan.pdf",
    },
    Case {
        code: "patient-unreadable",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/chen/patient.toml", PATIENT.replace("family", "famly"));
            clinic.drop_file("inbox/chen/scan.pdf", pdf("a"));
        },
        document: "chen/scan.pdf",
        says: &["line 3, column 1", "did you mean \"family\"?", "Correct patient.toml"],
        follow: |clinic| {
            clinic.drop_file("inbox/chen/patient.toml", PATIENT);
            back(clinic, &["chen/scan.pdf"]);
        },
        done: "chen/scan.pdf",
    },
    Case {
        code: "patient-empty",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/chen/patient.toml", "");
            clinic.drop_file("inbox/chen/scan.pdf", pdf("a"));
        },
        document: "chen/scan.pdf",
        says: &["Write the patient's number, name and birth date into the patient.toml"],
        follow: |clinic| {
            clinic.drop_file("inbox/chen/patient.toml", PATIENT);
            back(clinic, &["chen/scan.pdf"]);
        },
        done: "chen/scan.pdf",
    },
    Case {
        code: "patient-name-unclear",
        settings: (BY_NAME, ""),
        dropped: |clinic| drop(clinic.drop_file("inbox/0000000001Bixby/scan.pdf", pdf("a"))),
        document: "0000000001Bixby/scan.pdf",
        says: &["Write the number by itself, with a space before the patient's name", "0000000001 Bixby"],
        follow: |clinic| {
            rename(clinic, "inbox/0000000001Bixby", "inbox/0000000001 Bixby");
            rename(clinic, "failed/0000000001Bixby/scan.pdf", "inbox/0000000001 Bixby/scan.pdf");
        },
        done: "0000000001 Bixby/scan.pdf",
    },
    Case {
        code: "patient-mismatch",
        settings: (BY_NAME, ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/0000000009 Bixby/patient.toml", PATIENT);
            clinic.drop_file("inbox/0000000009 Bixby/scan.pdf", pdf("a"));
        },
        document: "0000000009 Bixby/scan.pdf",
        says: &["\"0000000009", "\"0000000001", "correct its name or its patient.toml"],
        follow: |clinic| {
            rename(clinic, "inbox/0000000009 Bixby", "inbox/0000000001 Bixby");
            rename(clinic, "failed/0000000009 Bixby/scan.pdf", "inbox/0000000001 Bixby/scan.pdf");
        },
        done: "0000000001 Bixby/scan.pdf",
    },
    Case {
        code: "patient-mismatch",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/bixby/scan.pdf.toml", "[patient]\nbirth_date = 2008-01-07\n");
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        },
        document: "bixby/scan.pdf",
        says: &["\"2008-01-06\"", "\"2008-01-07\"", "correct the sidecar and move both back"],
        follow: |clinic| {
            clinic.drop_file("failed/bixby/scan.pdf.toml", "[patient]\nbirth_date = 2008-01-06\n");
            back(clinic, &["bixby/scan.pdf.toml", "bixby/scan.pdf"]);
        },
        done: "bixby/scan.pdf",
    },
    Case {
        code: "folder-name-mismatch",
        settings: (BY_NAME, ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/0000000001 Alvarez/patient.toml", PATIENT);
            clinic.drop_file("inbox/0000000001 Alvarez/scan.pdf", pdf("a"));
        },
        document: "0000000001 Alvarez/scan.pdf",
        says: &["\"Alvarez\"", "\"Timothy Paul Bixby\"", "Correct the number or the name in the folder's name"],
        follow: |clinic| {
            rename(clinic, "inbox/0000000001 Alvarez", "inbox/0000000001 Bixby");
            rename(clinic, "failed/0000000001 Alvarez/scan.pdf", "inbox/0000000001 Bixby/scan.pdf");
        },
        done: "0000000001 Bixby/scan.pdf",
    },
    Case {
        code: "patient-inside-patient",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/bixby/alvarez/patient.toml", PATIENT.replace("0000000001", "0000000002"));
            clinic.drop_file("inbox/bixby/alvarez/scan.pdf", pdf("a"));
        },
        document: "bixby/alvarez/scan.pdf",
        says: &["Move the inner patient's folder up", "Then move the document back into the right one"],
        follow: |clinic| {
            rename(clinic, "inbox/bixby/alvarez", "inbox/alvarez");
            rename(clinic, "failed/bixby/alvarez/scan.pdf", "inbox/alvarez/scan.pdf");
        },
        done: "alvarez/scan.pdf",
    },
    Case {
        code: "patient-contested",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/chen/patient.toml", PATIENT.replace("2008-01-06", "2008-01-07"));
            clinic.drop_file("inbox/chen/scan.pdf", pdf("a"));
        },
        document: "chen/scan.pdf",
        says: &["\"2008-01-07\" here and \"2008-01-06\" there", "\"bixby\"", "correct the patient.toml that is wrong"],
        follow: |clinic| {
            clinic.drop_file("inbox/chen/patient.toml", PATIENT.replace("0000000001", "0000000003"));
            back(clinic, &["chen/scan.pdf"]);
        },
        done: "chen/scan.pdf",
    },
];

const ROSTER: (&str, &str) = ("roster = \"patients.csv\"\n", "");

fn with_a_roster(clinic: &Clinic) {
    // As Excel writes it in half of the world.
    let list = "identifier;family;given;birth_date\n0000000001;Bixby;Timothy Paul;2008-01-06\n";
    clinic.drop_file("new.csv", list);
    rename(clinic, "new.csv", "patients.csv");
}

const LISTED: &[Case] = &[
    Case {
        code: "roster-mismatch",
        settings: ROSTER,
        dropped: |clinic| {
            with_a_roster(clinic);
            clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("2008-01-06", "2008-01-07"));
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        },
        document: "bixby/scan.pdf",
        says: &["the folder says \"2008-01-07\"", "the list says \"2008-01-06\"", "the patient.toml of the folder"],
        follow: |clinic| {
            clinic.drop_file("inbox/bixby/patient.toml", PATIENT);
            back(clinic, &["bixby/scan.pdf"]);
        },
        done: "bixby/scan.pdf",
    },
    Case {
        code: "not-on-roster",
        settings: ROSTER,
        dropped: |clinic| {
            with_a_roster(clinic);
            clinic.drop_file("inbox/bixby/patient.toml", PATIENT.replace("0000000001", "0000000009"));
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        },
        document: "bixby/scan.pdf",
        says: &["(0000000009) is not on the clinic's list", "If it is wrong, correct it in the inbox"],
        follow: |clinic| {
            clinic.drop_file("inbox/bixby/patient.toml", PATIENT);
            back(clinic, &["bixby/scan.pdf"]);
        },
        done: "bixby/scan.pdf",
    },
];

const SIDECARS: &[Case] = &[
    Case {
        code: "sidecar-misnamed",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/bixby/scan.pdf.toml.txt", "title = \"Letter\"\n");
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        },
        document: "bixby/scan.pdf",
        says: &["\"scan.pdf.toml.txt\"", "for example scan.pdf.toml for scan.pdf", "Then move the document back"],
        follow: |clinic| {
            rename(clinic, "inbox/bixby/scan.pdf.toml.txt", "inbox/bixby/scan.pdf.toml");
            back(clinic, &["bixby/scan.pdf"]);
        },
        done: "bixby/scan.pdf",
    },
    Case {
        code: "sidecar-unreadable",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/bixby/scan.pdf.toml", "titel = \"Letter\"\n");
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        },
        document: "bixby/scan.pdf",
        says: &["line 1, column 1", "did you mean \"title\"?", "Correct the sidecar"],
        follow: |clinic| {
            clinic.drop_file("failed/bixby/scan.pdf.toml", "title = \"Letter\"\n");
            back(clinic, &["bixby/scan.pdf.toml", "bixby/scan.pdf"]);
        },
        done: "bixby/scan.pdf",
    },
    Case {
        code: "unknown-type",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/bixby/scan.pdf.toml", "type = \"referal\"\n");
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        },
        document: "bixby/scan.pdf",
        says: &["\"referal\"", "did you mean \"referral\"?", "Correct the type in the sidecar"],
        follow: |clinic| {
            clinic.drop_file("failed/bixby/scan.pdf.toml", "type = \"referral\"\n");
            back(clinic, &["bixby/scan.pdf.toml", "bixby/scan.pdf"]);
        },
        done: "bixby/scan.pdf",
    },
    Case {
        code: "sidecar-empty",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/bixby/scan.pdf.toml", "\n");
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        },
        document: "bixby/scan.pdf",
        says: &["\"scan.pdf.toml\"", "or delete it if the document needs none"],
        follow: |clinic| {
            fs::remove_file(clinic.path("failed/bixby/scan.pdf.toml")).unwrap();
            back(clinic, &["bixby/scan.pdf"]);
        },
        done: "bixby/scan.pdf",
    },
    Case {
        code: "sidecar-missing",
        settings: ("sidecar = \"required\"\n", ""),
        dropped: |clinic| drop(clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"))),
        document: "bixby/scan.pdf",
        says: &["Write one, named after the whole document (for example scan.pdf.toml for scan.pdf)"],
        follow: |clinic| {
            clinic.drop_file("inbox/bixby/scan.pdf.toml", "title = \"Letter\"\n");
            back(clinic, &["bixby/scan.pdf"]);
        },
        done: "bixby/scan.pdf",
    },
    Case {
        code: "sidecar-ambiguous",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/bixby/scan.toml", "title = \"Letter\"\n");
            clinic.drop_file("inbox/bixby/scan.json", "{\"title\": \"Other\"}");
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        },
        document: "bixby/scan.pdf",
        says: &["Keep one sidecar for each document and name it after the whole document"],
        follow: |clinic| {
            fs::remove_file(clinic.path("inbox/bixby/scan.json")).unwrap();
            rename(clinic, "inbox/bixby/scan.toml", "inbox/bixby/scan.pdf.toml");
            back(clinic, &["bixby/scan.pdf"]);
        },
        done: "bixby/scan.pdf",
    },
    Case {
        code: "other-metadata",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("inbox/bixby/scan.pdf.toml", "title = \"Letter\"\n");
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
            clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
            clinic.drop_file("inbox/bixby/scan.pdf.toml", "title = \"Leter\"\n");
            clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
        },
        document: "bixby/scan.pdf",
        says: &["the title was \"Letter\" and is now \"Leter\"", "correct it and move the document back"],
        follow: |clinic| {
            clinic.drop_file("failed/bixby/scan.pdf.toml", "title = \"Letter\"\n");
            back(clinic, &["bixby/scan.pdf.toml", "bixby/scan.pdf"]);
        },
        done: "bixby/scan (2).pdf",
    },
];

const CONTENTS: &[Case] = &[
    Case {
        code: "cut-off",
        settings: ("", ""),
        dropped: |clinic| {
            let whole = pdf("a");
            clinic.drop_file("inbox/bixby/scan.pdf", &whole[..whole.len() / 2]);
        },
        document: "bixby/scan.pdf",
        says: &["is cut off", "Scan it again", "drop that into the patient's folder in the inbox"],
        follow: |clinic| drop(clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"))),
        done: "bixby/scan.pdf",
    },
    Case {
        code: "empty",
        settings: ("", ""),
        dropped: |clinic| drop(clinic.drop_file("inbox/bixby/scan.pdf", "")),
        document: "bixby/scan.pdf",
        says: &["is empty", "Scan it again"],
        follow: |clinic| drop(clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"))),
        done: "bixby/scan.pdf",
    },
    Case {
        code: "password",
        settings: ("", ""),
        dropped: |clinic| {
            let (id, dictionary) = files::encryption(3, "secret", 7);
            clinic.drop_file("inbox/bixby/scan.pdf", files::pdf(7, &format!("{id}/Encrypt 6 0 R"), &[&dictionary]));
        },
        document: "bixby/scan.pdf",
        says: &["save it as a new PDF without a password"],
        follow: |clinic| drop(clinic.drop_file("inbox/bixby/scan (open).pdf", files::pdf(7, "", &[]))),
        done: "bixby/scan (open).pdf",
    },
    Case {
        code: "text-encoding",
        settings: ("", ""),
        dropped: |clinic| {
            let windows =
                encoding_rs::WINDOWS_1252.encode("Befund: M\u{fc}ller, Gr\u{f6}\u{df}e 180 cm\n").0.into_owned();
            clinic.drop_file("inbox/bixby/note.txt", windows);
        },
        document: "bixby/note.txt",
        says: &["not as UTF-8", "set Encoding to UTF-8, save it, and drop that"],
        follow: |clinic| {
            let written = fs::read(clinic.path("failed/bixby/note.txt")).unwrap();
            let text = encoding_rs::WINDOWS_1252.decode(&written).0.into_owned();
            // Notepad writes a mark before it.
            clinic.drop_file("inbox/bixby/note.txt", format!("\u{feff}{text}"));
        },
        done: "bixby/note.txt",
    },
    Case {
        code: "unknown-content",
        settings: ("", ""),
        dropped: |clinic| drop(clinic.drop_file("inbox/bixby/scan.xyz", pdf("a"))),
        document: "bixby/scan.xyz",
        says: &["Save it as PDF"],
        follow: |clinic| drop(clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"))),
        done: "bixby/scan.pdf",
    },
    Case {
        code: "wrong-content",
        settings: ("", ""),
        dropped: |clinic| drop(clinic.drop_file("inbox/bixby/scan.jpg", pdf("a"))),
        document: "bixby/scan.jpg",
        says: &["By its name this is a JPEG", "PDF", "Save it as PDF"],
        follow: |clinic| drop(clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"))),
        done: "bixby/scan.pdf",
    },
    Case {
        code: "too-large",
        settings: ("", "size_limit = \"100KB\"\n"),
        dropped: |clinic| drop(clinic.drop_file("inbox/bixby/scan.pdf", pdf(&"x".repeat(150_000)))),
        document: "bixby/scan.pdf",
        says: &["at most 100.0 KB", "lower resolution", "Drop those into the patient's folder in the inbox"],
        follow: |clinic| drop(clinic.drop_file("inbox/bixby/scan.pdf", pdf("smaller"))),
        done: "bixby/scan.pdf",
    },
    Case {
        code: "bad-name",
        settings: ("", ""),
        dropped: |clinic| drop(clinic.drop_file(format!("inbox/bixby/{}.pdf", "long ".repeat(48).trim()), pdf("a"))),
        document: "bixby/LONG",
        says: &["too long", "Give the document a plain, short name"],
        follow: |clinic| {
            let failed = clinic.files("failed");
            let name = failed.iter().find(|name| name.ends_with(".pdf")).unwrap();
            rename(clinic, &format!("failed/{name}"), "inbox/bixby/short.pdf");
        },
        done: "bixby/short.pdf",
    },
    Case {
        code: "not-a-file",
        settings: ("", ""),
        dropped: |clinic| {
            clinic.drop_file("elsewhere/scan.pdf", pdf("a"));
            symlink(clinic.path("elsewhere/scan.pdf"), clinic.path("inbox/bixby/scan.pdf")).unwrap();
        },
        document: "bixby/scan.pdf",
        says: &["Copy the document itself into the patient's folder"],
        follow: |clinic| {
            fs::copy(clinic.path("elsewhere/scan.pdf"), clinic.path("inbox/bixby/scan.pdf")).unwrap();
        },
        done: "bixby/scan.pdf",
    },
];

/// The note of the refused document: whichever there is.
fn note(clinic: &Clinic, case: &Case) -> String {
    let find = || clinic.files("failed").into_iter().find(|name| name.ends_with(".reason.txt"));
    clinic.wait_for(case.code, || find().is_some());
    let name = find().unwrap();
    if case.document != "bixby/LONG" {
        assert_eq!(name, format!("{}.reason.txt", case.document), "{}", case.code);
    }
    clinic.reason(&format!("failed/{name}"))
}

fn is_followed(case: &Case) {
    let mut clinic = Clinic::new(&[]);
    // The settings of a test's time come first, then the tables.
    clinic.inbox.push_str(case.settings.0);
    clinic.delivery.push_str(case.settings.1);
    let _daemon = clinic.daemon();
    (case.dropped)(&clinic);
    let text = note(&clinic, case);
    let flowed = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in case.says {
        assert!(flowed.contains(words), "{}: {words:?} is not in: {text}", case.code);
    }
    assert!(text.contains(&format!("{} / ", case.code)), "{}: {text}", case.code);
    let before = clinic.accepted().len();
    (case.follow)(&clinic);
    clinic.wait_for_file(&format!("done/{}.receipt.json", case.done));
    // What is filed as a duplicate is not sent a second time.
    assert_eq!(clinic.accepted().len(), before + usize::from(case.code != "other-metadata"), "{}", case.code);
}

fn are_followed(cases: &[Case]) {
    thread::scope(|scope| cases.iter().for_each(|case| drop(scope.spawn(|| is_followed(case)))));
}

#[test]
fn whoever_follows_a_note_about_the_patient_gets_the_document_accepted() {
    are_followed(WHOSE);
}

#[test]
fn whoever_follows_a_note_about_the_clinic_s_list_gets_the_document_accepted() {
    are_followed(LISTED);
}

#[test]
fn a_list_of_patients_that_is_not_there_makes_documents_wait_and_is_said() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str(ROSTER.0);
    let check = clinic.command(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(
        said.contains("patients.csv: there is no such file") && said.contains("documents of this inbox wait"),
        "{said}"
    );
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("a"));
    let _daemon = clinic.daemon();
    let log = || fs::read_to_string(clinic.path("daemon.log")).unwrap();
    clinic.wait_for("words about the list", || log().contains("there is no such file"));
    assert!(
        log().contains("documents of this inbox wait until it can") && log().contains("roster-unusable"),
        "{}",
        log()
    );
    assert!(clinic.has("inbox/bixby/scan.pdf") && clinic.accepted().is_empty());
    with_a_roster(&clinic);
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
}

#[test]
fn whoever_follows_a_note_about_a_sidecar_gets_the_document_accepted() {
    are_followed(SIDECARS);
}

#[test]
fn whoever_follows_a_note_about_the_content_gets_the_document_accepted() {
    are_followed(CONTENTS);
}
