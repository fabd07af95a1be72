//! What must never be sent: nothing of it is lost, nothing of it is sent, and a note says what to do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

use support::{Clinic, PATIENT, pdf, sample};

const BY_NAME: &str =
    "[inbox.patient]\nidentifier_system = \"urn:redox:health-one:MR\"\nfolder_pattern = '^(?<identifier>[0-9]+)'\n";

/// Runs once over what was dropped, and expects `name` in failed with a reason that holds all `words`.
fn is_refused(clinic: &Clinic, name: &str, words: &[&str]) {
    assert_eq!(clinic.run_once(), 1);
    assert_refused(clinic, name, words);
    assert_eq!(clinic.accepted().len(), 0);
    let uploads = clinic.record()["uploads"].clone();
    assert_eq!(uploads, 0, "not even uploaded");
}

fn assert_refused(clinic: &Clinic, name: &str, words: &[&str]) {
    assert!(clinic.has(format!("failed/{name}")), "{name}: {:?}", clinic.files("failed"));
    let reason = clinic.reason(&format!("failed/{name}.reason.txt"));
    let flowed = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in ["NOT SENT", "Is anything lost? No.", "What to do"].iter().chain(words) {
        assert!(flowed.contains(word), "{word:?} is not in:\n{reason}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_line_column_and_the_nearest_key() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/a.toml", "description = \"x\"\ntitel = \"Referral\"\n");
    is_refused(&clinic, "bixby/a.pdf", &["line 2", "column 1", "\"titel\"", "\"title\""]);
    assert!(clinic.has("failed/bixby/a.toml"), "the sidecar follows");
}

#[test]
fn sidecars_that_cannot_be_read() {
    for (name, text) in
        [("a.toml", "title = \"open"), ("a.pdf.json", "{\"title\": }"), ("a.json", "[1]"), ("a.toml", "\u{1}")]
    {
        let clinic = Clinic::new(&[]);
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        clinic.drop_file(format!("inbox/bixby/{name}"), text);
        is_refused(&clinic, "bixby/a.pdf", &["sidecar", "line 1"]);
    }
}

#[test]
fn a_sidecar_for_two_documents_is_refused() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/a.jpg", sample("wound-photo.jpg"));
    clinic.drop_file("inbox/bixby/a.toml", "title = \"Which?\"\n");
    assert_eq!(clinic.run_once(), 1);
    assert_eq!(clinic.record()["uploads"], 0);
    for name in ["bixby/a.pdf", "bixby/a.jpg"] {
        assert_refused(&clinic, name, &["scan.pdf.toml"]);
    }
}

#[test]
fn statements_that_disagree() {
    for statement in ["identifier = \"0000000002\"", "birth_date = 2008-01-07"] {
        let clinic = Clinic::new(&[]);
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        clinic.drop_file("inbox/bixby/a.pdf.toml", format!("[patient]\n{statement}\n"));
        is_refused(&clinic, "bixby/a.pdf", &["disagree"]);
    }
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str(
        "[inbox.patient]\nidentifier_system = \"urn:redox:health-one:MR\"\nfolder_pattern = '^(?<identifier>[0-9]+)'\n",
    );
    clinic.drop_file("inbox/0000000009 Bixby/patient.toml", PATIENT);
    clinic.drop_file("inbox/0000000009 Bixby/a.pdf", pdf("a"));
    is_refused(&clinic, "0000000009 Bixby/a.pdf", &["different patients"]);
}

#[test]
fn no_patient_no_upload() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/nobody/a.pdf", pdf("a"));
    is_refused(&clinic, "nobody/a.pdf", &["whose folder"]);

    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/a.pdf", pdf("a"));
    is_refused(&clinic, "a.pdf", &["folder of its patient"]);

    for text in [
        "family = \"Bixby\"\n",
        "identifier = []\n",
        "identifier = \"1\"\n",
        "identifier = [{ system = \"urn:x\", value = 1 }]",
        "\u{fffd}",
    ] {
        let clinic = Clinic::new(&[]);
        clinic.drop_file("inbox/bixby/patient.toml", text);
        clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
        is_refused(&clinic, "bixby/a.pdf", &["patient.toml"]);
    }
}

#[test]
fn a_patient_s_folder_inside_another_s() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/alvarez/patient.toml", PATIENT.replace("0000000001", "0000000002"));
    clinic.drop_file("inbox/bixby/alvarez/a.pdf", pdf("a"));
    is_refused(&clinic, "bixby/alvarez/a.pdf", &["inside another patient"]);
}

#[test]
fn an_unknown_document_type_names_the_nearest() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/a.toml", "type = \"referal\"\n");
    is_refused(&clinic, "bixby/a.pdf", &["\"referal\"", "\"referral\""]);
}

#[test]
fn contents_that_are_not_what_the_name_says_or_must_not_be_sent() {
    for (name, bytes, words) in [
        ("a.pdf", sample("wound-photo.jpg"), "JPEG"),
        ("a.jpg", pdf("a"), "PDF"),
        ("a.txt", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(), ""),
        ("a.exe", b"MZ\x90\0".to_vec(), "not sent"),
        ("a.zip", b"PK\x03\x04rest".to_vec(), "not sent"),
        ("a.xyz", b"whatever".to_vec(), "known kinds"),
        ("a", b"whatever".to_vec(), "known kinds"),
    ] {
        let clinic = Clinic::new(&[]);
        clinic.drop_file(format!("inbox/bixby/{name}"), bytes);
        is_refused(&clinic, &format!("bixby/{name}"), &[words]);
    }
}

#[test]
fn half_a_document_and_an_empty_one() {
    for name in ["referral.pdf", "wound-photo.jpg", "xray.tif", "insurance-card.png"] {
        let clinic = Clinic::new(&[]);
        let whole = sample(name);
        clinic.drop_file(format!("inbox/bixby/{name}"), &whole[..whole.len() * 2 / 3]);
        is_refused(&clinic, &format!("bixby/{name}"), &["cut off"]);
    }
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/a.pdf", "");
    is_refused(&clinic, "bixby/a.pdf", &["empty"]);
}

#[test]
fn too_big_is_said_before_sending() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery.push_str("size_limit = \"50KB\"\n");
    clinic.drop_file("inbox/bixby/a.pdf", pdf(&"x".repeat(60_000)));
    is_refused(&clinic, "bixby/a.pdf", &["50.0 KB"]);
}

#[test]
fn links_pipes_and_other_things_that_are_not_files() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("secret.pdf", pdf("not in the inbox"));
    std::os::unix::fs::symlink(clinic.path("secret.pdf"), clinic.path("inbox/bixby/link.pdf")).unwrap();
    fs::create_dir(clinic.path("elsewhere")).unwrap();
    clinic.drop_file("elsewhere/patient.toml", PATIENT);
    clinic.drop_file("elsewhere/a.pdf", pdf("behind a link"));
    std::os::unix::fs::symlink(clinic.path("elsewhere"), clinic.path("inbox/folder")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(clinic.path("inbox/bixby/pipe.pdf")).status().unwrap();
    assert!(made.success());
    assert_eq!(clinic.run_once(), 1);
    assert_refused(&clinic, "bixby/link.pdf", &["link"]);
    assert_refused(&clinic, "folder", &["link"]);
    assert_refused(&clinic, "bixby/pipe.pdf", &["special file"]);
    assert_eq!(clinic.record()["uploads"], 0);
    assert!(clinic.has("secret.pdf") && clinic.has("elsewhere/a.pdf"), "what a link leads to stays");
}

#[test]
fn a_linked_patient_file_is_not_followed() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("elsewhere.toml", PATIENT);
    clinic.drop_file("inbox/other/a.pdf", pdf("a"));
    std::os::unix::fs::symlink(clinic.path("elsewhere.toml"), clinic.path("inbox/other/patient.toml")).unwrap();
    is_refused(&clinic, "other/a.pdf", &["patient.toml"]);
}

#[test]
fn names_that_cannot_stand_in_a_message() {
    let clinic = Clinic::new(&[]);
    let long = format!("{}.pdf", "x".repeat(251));
    let names = [b"bad\xff\xfe.pdf".as_slice(), "\u{202e}\u{200b}".as_bytes(), long.as_bytes()];
    for name in names {
        clinic.drop_file(Path::new("inbox/bixby").join(OsStr::from_bytes(name)), pdf("a"));
    }
    assert_eq!(clinic.run_once(), 1);
    assert_eq!(clinic.record()["uploads"], 0);
    for name in names {
        assert!(clinic.has(Path::new("failed/bixby").join(OsStr::from_bytes(name))), "{name:?}");
    }
    let notes: Vec<_> = clinic.files("failed").into_iter().filter(|name| name.ends_with(".reason.txt")).collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
}

#[test]
fn what_systems_leave_behind_is_left_alone() {
    let clinic = Clinic::new(&[]);
    let litter = ["Thumbs.db", "desktop.ini", ".DS_Store", "._a.pdf", "~$a.pdf", "Icon\r", "@eaDir/a.pdf"];
    for name in litter {
        clinic.drop_file(format!("inbox/bixby/{name}"), pdf("a"));
    }
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.files("inbox").len(), litter.len() + 1);
    assert_eq!(clinic.record()["uploads"], 0);
}

#[test]
fn recycle_bins_are_not_documents() {
    let clinic = Clinic::new(&[]);
    let bins = [
        "#recycle",
        "@Recycle",
        "$RECYCLE.BIN",
        "#snapshot",
        "~snapshot",
        ".snapshot",
        ".Trashes",
        ".Trash-1000",
        "__MACOSX",
        "System Volume Information",
        "@eaDir",
        "lost+found",
        ".stfolder",
    ];
    for bin in bins {
        clinic.drop_file(format!("inbox/bixby/{bin}/old.pdf"), pdf("old"));
        clinic.drop_file(format!("inbox/{bin}/bixby/old.pdf"), pdf("old"));
        clinic.drop_file(format!("inbox/{bin}/bixby/patient.toml"), PATIENT.replace("Bixby", "Somebody"));
    }
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("new"));
    assert_eq!(clinic.run_once(), 0, "nothing of them waits");
    assert_eq!(clinic.accepted().len(), 1);
    assert_eq!(clinic.files("failed"), [] as [&str; 0]);
}

#[test]
fn what_is_no_document_and_no_litter_is_said() {
    for name in [
        "bixby/scan.pdf~",
        "bixby/scan.pdf.part",
        "bixby/.scan.pdf",
        "1001 Bixby.tmp/scan.pdf",
        "Alvarez~/scan.pdf",
        ".1004/scan.pdf",
        "bixby/Befund.reason.txt",
        "bixby/scan.receipt.json",
        "patient.toml",
    ] {
        let mut clinic = Clinic::new(&[]);
        clinic.inbox = "settle = \"100ms\"\nincomplete_after = \"200ms\"\nwatch = \"poll\"\n".into();
        clinic.delivery.push_str("alarm_after = \"100ms\"\n");
        clinic.drop_file(format!("inbox/{name}"), pdf("whatever"));
        let output = clinic.command(&["run", "--once"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("1 waiting") || said.contains("waiting=1") || said.contains("1 still"), "{name}: {said}");
        let daemon = clinic.daemon();
        let log = || fs::read_to_string(clinic.path("daemon.log")).unwrap();
        clinic.wait_for("the alarm", || log().contains("ALARM"));
        clinic.wait_for("its reason", || log().contains("not sent yet: "));
        daemon.kill();
        let named = name.trim_start_matches(".1004/").contains("scan") && log().contains("scan");
        assert!(!named && !log().contains("Befund"), "a log holds no file names: {}", log());
        assert!(clinic.has(format!("inbox/{name}")) && clinic.accepted().is_empty());
    }
}

#[test]
fn an_orphan_sidecar_is_reported() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/gone.pdf.toml", "title = \"Referral\"\n");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    assert_eq!(clinic.run_once(), 1, "it waits for its document");
    assert_eq!(clinic.accepted().len(), 1);
    let output = clinic.command(&["verify", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let days = report["days"].as_object().unwrap();
    let waiting: u64 = days.values().map(|day| day["front-desk/bixby"]["waiting"].as_u64().unwrap()).sum();
    assert_eq!(waiting, 1, "{report}");
    // With its document it is used.
    clinic.drop_file("inbox/bixby/gone.pdf", pdf("gone"));
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().last().unwrap()["title"], "Referral");
}

#[test]
fn an_empty_sidecar_waits() {
    for empty in ["", "\n", "\u{feff}", "\0\0\0"] {
        for name in ["scan.pdf.toml", "scan.json", "patient.toml"] {
            let mut clinic = Clinic::new(&[]);
            clinic.inbox.push_str(BY_NAME);
            clinic.drop_file(format!("inbox/0000000001/{name}"), empty);
            clinic.drop_file("inbox/0000000001/scan.pdf", pdf("scan"));
            is_refused(
                &clinic,
                "0000000001/scan.pdf",
                &["empty", if name == "patient.toml" { name } else { "sidecar" }],
            );
        }
    }
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"100ms\"\nincomplete_after = \"60s\"\n".into();
    clinic.drop_file("inbox/bixby/scan.pdf.toml", "");
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    clinic.drop_file("inbox/alvarez/patient.toml", "");
    clinic.drop_file("inbox/alvarez/other.pdf", pdf("other"));
    let _daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/later.pdf", pdf("later"));
    clinic.wait_for_file("done/bixby/later.pdf.receipt.json");
    assert_eq!((clinic.accepted().len(), clinic.files("failed").len()), (1, 0), "they wait");
    clinic.drop_file("inbox/bixby/scan.pdf.toml", "title = \"Written at last\"\n");
    clinic.wait_for_file("done/bixby/scan.pdf.receipt.json");
    clinic.drop_file("inbox/alvarez/patient.toml", PATIENT.replace("0000000001", "0000000002"));
    clinic.wait_for_file("done/alvarez/other.pdf.receipt.json");
    assert_eq!(clinic.accepted()[1]["title"], "Written at last");
}

#[test]
fn names_with_direction_marks_are_shown_safely() {
    let clinic = Clinic::new(&[]);
    let names =
        ["scan\u{202e}fdp.exe.pdf", "line\nend.pdf", "a\u{200b}b.pdf", "50% \"off\" 'x'.pdf", "\u{1b}[31mred.pdf"];
    for name in names {
        clinic.drop_file(format!("inbox/bixby/{name}"), pdf(&format!("{name:?}")));
    }
    clinic.drop_file("inbox/bixby/refused\u{202e}.exe", "MZ");
    clinic.drop_file("inbox/\u{202e}folder\n/nobody's.pdf", pdf("nobody's"));
    assert_eq!(clinic.run_once(), 1);
    let mut titles: Vec<_> = clinic.accepted().iter().map(|sent| sent["title"].as_str().unwrap().to_owned()).collect();
    titles.sort();
    assert_eq!(titles, ["50% \"off\" 'x'.pdf", "[31mred.pdf", "ab.pdf", "line end.pdf", "scanfdp.exe.pdf"]);
    for arguments in [&["history"][..], &["history", "--json"], &["verify"], &["verify", "--json"], &["status"]] {
        let output = clinic.command(arguments);
        let said = String::from_utf8(output.stdout).unwrap();
        let is_bad = |c: char| "\u{202e}\u{200b}\u{1b}".contains(c);
        assert!(!said.contains(is_bad), "{arguments:?}: {said:?}");
        if arguments == ["history"] {
            assert!(said.contains("50% \"off\" 'x'.pdf") && said.contains("line\\nend.pdf"), "{said}");
        }
    }
    for note in clinic.files("failed").iter().filter(|name| name.ends_with(".reason.txt")) {
        let text = clinic.reason(&format!("failed/{note}"));
        assert!(!text.contains('\u{202e}'), "{text:?}");
    }
}

#[test]
fn a_document_s_type_is_that_of_the_folder_it_is_in() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/Referrals/a.pdf", pdf("a"));
    clinic.drop_file("inbox/bixby/referrals/2026/b.pdf", pdf("b"));
    clinic.drop_file("inbox/bixby/Other/c.pdf", pdf("c"));
    clinic.drop_file("inbox/bixby/Referrals/d.pdf", pdf("d"));
    clinic.drop_file(
        "inbox/bixby/Referrals/d.pdf.toml",
        "type = { system = \"http://loinc.org\", code = \"34133-9\" }\n",
    );
    clinic.drop_file("inbox/Referrals/patient.toml", PATIENT.replace("0000000001", "0000000002"));
    clinic.drop_file("inbox/Referrals/e.pdf", pdf("e"));
    assert_eq!(clinic.run_once(), 0);
    let kind = |name: &str| {
        let sent = clinic.accepted().into_iter().find(|sent| sent["title"] == name).unwrap();
        let text = sent.to_string();
        ["57133-1", "34133-9", "UNK"].into_iter().find(|code| text.contains(code)).unwrap()
    };
    assert_eq!(
        ["a.pdf", "b.pdf", "c.pdf", "d.pdf", "e.pdf"].map(kind),
        ["57133-1", "57133-1", "UNK", "34133-9", "UNK"]
    );
}

#[test]
fn stale_note_is_cleared_on_retry() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/scan.pdf", pdf("scan"));
    clinic.drop_file("inbox/bixby/scan.pdf.toml", "titel = \"Typo\"\n");
    assert_eq!(clinic.run_once(), 1);
    clinic.drop_file("failed/bixby/scan.pdf.toml", "title = \"Corrected\"\n");
    for name in ["scan.pdf", "scan.pdf.toml", "scan.pdf.reason.txt"] {
        fs::rename(clinic.path(format!("failed/bixby/{name}")), clinic.path(format!("inbox/bixby/{name}"))).unwrap();
    }
    assert_eq!(clinic.run_once(), 0, "the note does not wait either");
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"]);
    assert_eq!(clinic.files("done"), ["bixby/scan.pdf", "bixby/scan.pdf.receipt.json", "bixby/scan.pdf.toml"]);
    assert_eq!(clinic.files("failed"), [] as [&str; 0]);
    let verify = clinic.command(&["verify"]);
    assert_eq!(verify.status.code(), Some(0), "{verify:?}");
    // Somebody's own text of such a name is not a note, and is not removed.
    clinic.drop_file("inbox/bixby/other.pdf", pdf("other"));
    clinic.drop_file("inbox/bixby/other.pdf.reason.txt", "Why this was ordered.\n");
    assert_eq!(clinic.run_once(), 1);
    assert!(clinic.has("inbox/bixby/other.pdf.reason.txt"));
}

#[test]
fn one_bad_file_does_not_block_the_rest() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/bad.pdf", "not a pdf");
    for i in 0..10 {
        clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(&i.to_string()));
    }
    assert_eq!(clinic.run_once(), 1);
    assert_eq!(clinic.accepted().len(), 10);
    assert_refused(&clinic, "bixby/bad.pdf", &[]);
}

#[test]
fn a_required_sidecar_that_does_not_come() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox.push_str("sidecar = \"required\"\n");
    clinic.drop_file("inbox/bixby/alone.pdf", pdf("alone"));
    is_refused(&clinic, "bixby/alone.pdf", &["sidecar"]);
}

#[test]
fn half_written_on_a_share_is_never_sent() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"150ms\"\nincomplete_after = \"60s\"\n".into();
    let daemon = clinic.daemon();
    let whole = pdf("written in two halves, with a long pause between them");
    let (first, second) = whole.split_at(whole.len() / 2);
    for i in 0..20 {
        clinic.drop_file(format!("inbox/bixby/{i}.pdf"), first);
    }
    clinic.drop_file("inbox/bixby/other.pdf", pdf("other"));
    clinic.wait_for_file("done/bixby/other.pdf.receipt.json");
    assert_eq!(clinic.accepted().len(), 1);
    for i in 0..20 {
        let mut file = fs::File::options().append(true).open(clinic.path(format!("inbox/bixby/{i}.pdf"))).unwrap();
        let ending = format!("% {i}\n");
        let end = second.windows(5).rposition(|window| window == b"%%EOF").unwrap();
        let rest = [&second[..end], ending.as_bytes(), &second[end..]].concat();
        std::io::Write::write_all(&mut file, &rest).unwrap();
    }
    clinic.wait_for("all of them", || clinic.accepted().len() == 21);
    drop(daemon);
}

#[test]
fn words_and_paths_of_any_length_are_refused_in_good_order() {
    let clinic = Clinic::new(&[]);
    clinic.drop_file("inbox/bixby/words.pdf", pdf("words"));
    clinic.drop_file("inbox/bixby/words.toml", format!("{} = 1\n", "k".repeat(20_000)));
    clinic.drop_file("inbox/bixby/type.pdf", pdf("type"));
    clinic.drop_file("inbox/bixby/type.toml", format!("type = \"{}\"\n", "ü".repeat(20_000)));
    clinic.drop_file("inbox/bixby/description.pdf", pdf("description"));
    clinic.drop_file("inbox/bixby/description.toml", format!("description = \"{}\"\n", "d".repeat(5000)));
    let deep = format!("inbox/bixby/{}", format!("{}/", "folder".repeat(20)).repeat(10));
    clinic.drop_file(format!("{deep}deep.pdf"), pdf("deep"));
    clinic.drop_file("inbox/bixby/good.pdf", pdf("good"));
    assert_eq!(clinic.run_once(), 1);
    for name in ["bixby/words.pdf", "bixby/type.pdf", "bixby/description.pdf", "deep.pdf"] {
        assert_refused(&clinic, name, &[]);
    }
    assert_eq!(clinic.accepted().len(), 1);
}

#[test]
fn what_is_written_anew_before_it_can_be_filed_has_one_note() {
    let mut clinic = Clinic::new(&[]);
    clinic.delivery = "retry_first = \"100ms\"\nretry_max = \"300ms\"\n".into();
    let daemon = clinic.daemon();
    clinic.drop_file("inbox/bixby/first.exe", "MZ first");
    clinic.wait_for_file("failed/bixby/first.exe.reason.txt");
    // A file where the folder was: not even which names are free can be told.
    fs::remove_dir_all(clinic.path("failed")).unwrap();
    clinic.drop_file("failed", "in the way");
    clinic.drop_file("inbox/bixby/setup.exe", "MZ one");
    let tries = || fs::read_to_string(clinic.path("daemon.log")).unwrap().matches("refused; its reason").count();
    clinic.wait_for("a move that fails", || tries() > 1);
    clinic.drop_file("inbox/bixby/setup.exe", "MZ another");
    clinic.wait_for("a look at the new one", || {
        let rows: std::collections::BTreeSet<_> = fs::read_to_string(clinic.path("daemon.log"))
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once("delivery=").map(|(_, rest)| rest.split(' ').next().unwrap().to_owned()))
            .collect();
        rows.len() == 3
    });
    fs::remove_file(clinic.path("failed")).unwrap();
    fs::create_dir(clinic.path("failed")).unwrap();
    clinic.wait_for_file("failed/bixby/setup.exe.reason.txt");
    drop(daemon);
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.files("failed"), ["bixby/setup.exe", "bixby/setup.exe.reason.txt"]);
}
