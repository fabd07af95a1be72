use super::*;

fn sorted<'a>(names: &[&'a str]) -> Sorted<'a> {
    sort(names.iter().map(|name| OsStr::new(*name)), |name| RelPath::new(Path::new(name)).unwrap())
}

fn pairs(names: &[&str]) -> Vec<(String, Pairing)> {
    sorted(names).documents.into_iter().map(|(name, pairing)| (name.to_str().unwrap().to_owned(), pairing)).collect()
}

fn with(name: &str) -> Pairing {
    Pairing::With(RelPath::new(Path::new(name)).unwrap())
}

fn strays(names: &[&str]) -> Vec<(String, StrayKind, Vec<String>)> {
    let concerned = |concerns: &Concerns<'_>| match concerns {
        Concerns::Nothing => vec![],
        Concerns::Folder => vec!["folder".to_owned()],
        Concerns::Documents(names) => names.iter().map(|name| name.to_str().unwrap().to_owned()).collect(),
    };
    let strays = sorted(names).strays;
    strays
        .iter()
        .map(|stray| (stray.name.to_str().unwrap().to_owned(), stray.kind, concerned(&stray.concerns)))
        .collect()
}

#[test]
fn a_sidecar_belongs_to_the_document_it_names() {
    assert_eq!(pairs(&["s.pdf", "s.pdf.toml"]), [("s.pdf".into(), with("s.pdf.toml"))]);
    assert_eq!(pairs(&["s.pdf", "s.json"]), [("s.pdf".into(), with("s.json"))]);
    assert_eq!(pairs(&["s.pdf", "t.json"]), [("s.pdf".into(), Pairing::Alone)]);
    let found = pairs(&["s.pdf", "s.jpg", "s.pdf.toml", "s.json"]);
    assert_eq!(found, [("s.pdf".into(), with("s.pdf.toml")), ("s.jpg".into(), Pairing::Ambiguous)]);
}

#[test]
fn a_sidecar_for_two_is_for_nobody() {
    let found = pairs(&["s.jpg", "s.pdf", "s.toml"]);
    assert_eq!(found, [("s.jpg".into(), Pairing::Ambiguous), ("s.pdf".into(), Pairing::Ambiguous)]);
    assert_eq!(pairs(&["s.pdf", "s.toml", "s.pdf.json"]), [("s.pdf".into(), Pairing::Ambiguous)]);
    assert_eq!(pairs(&["s.pdf", "s.pdf.toml", "s.pdf.json"]), [("s.pdf".into(), Pairing::Ambiguous)]);
    let twins = pairs(&["Scan.pdf", "scan.pdf", "scan.pdf.toml"]);
    assert!(twins.iter().all(|(_, pairing)| *pairing == Pairing::Ambiguous), "{twins:?}");
    let found = pairs(&["scan", "scan.pdf", "scan.toml"]);
    assert!(found.iter().all(|(_, pairing)| *pairing == Pairing::Ambiguous), "{found:?}");
}

#[test]
fn capitals_unicode_forms_and_trailing_blanks_do_not_part_a_sidecar_from_its_document() {
    assert_eq!(pairs(&["Scan.pdf", "scan.toml"]), [("Scan.pdf".into(), with("scan.toml"))]);
    assert_eq!(pairs(&["Scan.PDF", "Scan.PDF.Toml"]), [("Scan.PDF".into(), with("Scan.PDF.Toml"))]);
    assert_eq!(pairs(&["scan", "Scan.toml"]), [("scan".into(), with("Scan.toml"))]);
    for (one, two) in [("M\u{fc}ller.pdf", "Mu\u{308}ller.pdf.toml"), ("mu\u{308}ller.pdf", "M\u{dc}LLER.toml")] {
        assert_eq!(pairs(&[one, two]), [(one.into(), with(two))]);
    }
    assert_eq!(pairs(&["scan.pdf ", "scan.pdf.toml"]), [("scan.pdf ".into(), with("scan.pdf.toml"))]);
    assert_eq!(pairs(&["scan.pdf", "scan.pdf. .toml"]), [("scan.pdf".into(), with("scan.pdf. .toml"))]);
}

#[test]
fn a_patient_file_and_a_leftover_are_nobody_s_sidecar_and_nobody_s_twin() {
    assert_eq!(pairs(&["patient.pdf", "patient.toml"]), [("patient.pdf".into(), Pairing::Alone)]);
    assert_eq!(strays(&["patient.pdf", "patient.toml"]), []);
    assert_eq!(pairs(&["patient.pdf", "patient.pdf.toml"]), [("patient.pdf".into(), with("patient.pdf.toml"))]);
    assert_eq!(pairs(&["scan.pdf", "scan.tmp", "scan.toml"]), [("scan.pdf".into(), with("scan.toml"))]);
}

#[test]
fn what_looks_like_a_patient_file_concerns_the_whole_folder() {
    for name in [
        "patient.json",
        "patient.toml.txt",
        "patients.toml",
        "patient (1).toml",
        "patient - Copy.toml",
        "patient - Kopie (2).toml",
        "patient copy.toml",
        "patient.toml (1)",
        "patient .toml",
        "Patient.tml",
        "Patient.toml",
        "PATIENT.TOML",
        "patient.txt",
        "patient",
        "pateint.toml",
        "pati\u{200b}ent.toml",
        "patient.tom",
        "patient.toml.bak",
        "patient.yaml",
        "patient_1.json",
        "patient new.toml",
        "1001 patient.json",
        "paciente.toml",
    ] {
        let found = strays(&["scan.pdf", name]);
        assert_eq!(found, [(name.to_owned(), StrayKind::PatientLike, vec!["folder".to_owned()])]);
        assert_eq!(pairs(&["scan.pdf", name]), [("scan.pdf".into(), Pairing::Alone)], "{name}");
    }
    for name in ["patient.pdf", "patient letter.txt", "patient.jpg", "patient.xml", "Patienteninfo.pdf", "scan.txt"] {
        assert_eq!((role(OsStr::new(name)), strays(&[name])), (Role::Document, vec![]), "{name}");
    }
    // Named after a document that is there, they are its sidecars.
    for (document, name) in [("patient letter.pdf", "patient letter.toml"), ("payment.pdf", "payment.toml")] {
        assert_eq!(
            (pairs(&[document, name]), strays(&[document, name])),
            (vec![(document.into(), with(name))], vec![])
        );
    }
    // A copy that an editor keeps says nothing beside the real one.
    for name in ["patient.toml~", "patient.toml.tmp"] {
        assert_eq!(strays(&["patient.toml", name])[0].2, [] as [&str; 0], "{name}");
        assert_eq!(strays(&["scan.pdf", name])[0].2, ["folder"], "{name}");
    }
}

#[test]
fn what_looks_like_a_sidecar_concerns_its_document() {
    for name in [
        "scan.pdf.toml.txt",
        "scan.pdf (1).toml",
        "scan.pdf - Copy.json",
        "scan.pdf.json.txt",
        "Scan.PDF.TOML",
        "scan.toml.txt",
        "scan (1).toml",
        "scan - Copy.toml",
        "scan.pdf.tml",
        "scan.pdf.jsn",
        "scan.pdf.toml - Copy",
        "scan.pdf.toml.toml",
        "scna.pdf.toml",
        "scan_.pdf.toml",
        "sc\u{e0}n.pdf.toml",
        "scan.pdf.toml.tmp",
        "scan.pdf.toml.bak",
        "scan.pfd.toml",
    ] {
        let found = strays(&["scan.pdf", "other.pdf", name]);
        assert_eq!(found, [(name.to_owned(), StrayKind::SidecarLike, vec!["scan.pdf".to_owned()])]);
    }
    let found = strays(&["scan.pdf", "scan.pdf.toml", "scan.pdf (1).toml"]);
    assert_eq!(found[0].2, ["scan.pdf"], "even beside the real one");
    for name in ["scan 2.pdf.toml", "scan b.pdf.toml", "scan2.toml", "gone.pdf.toml", "gone.toml", "scan.jpg.toml"] {
        for there in ["scan 1.pdf", "scan a.pdf", "scan1.pdf", "scan.pdf"] {
            let found = strays(&[there, name]);
            assert_eq!(found, [(name.to_owned(), StrayKind::Orphan, vec![])], "{there} {name}");
        }
    }
    assert_eq!(strays(&["gone.pdf.toml.txt"]), [("gone.pdf.toml.txt".into(), StrayKind::SidecarLike, vec![])]);
}

#[test]
fn everything_is_something() {
    for name in [
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "._s.pdf",
        "~$s.docx",
        "Icon\r",
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
        ".chartdrop-x.tmp",
        "READ ME - documents are waiting.txt",
        ".nfs000001",
    ] {
        assert_eq!(role(OsStr::new(name)), Role::Litter, "{name:?}");
    }
    for name in ["s.tmp", "s.pdf.part", "s.crdownload", "scan.pdf~", "1001 Bixby.tmp", "Alvarez~", "S.PARTIAL"] {
        assert_eq!(role(OsStr::new(name)), Role::Temporary, "{name}");
    }
    for name in [".1004", ".scan.pdf", ".scan.pdf.Xy12ab"] {
        assert_eq!(role(OsStr::new(name)), Role::Hidden, "{name}");
    }
    for name in ["s.pdf.reason.txt", "s.pdf.receipt.json", "Befund.reason.txt"] {
        assert_eq!(role(OsStr::new(name)), Role::Note, "{name}");
    }
    for name in ["reason.txt", "scan.pdf", "a", "a.exe", "recycle.pdf", "scan.pdf.txt", "copy.pdf", "Copy of scan.pdf"]
    {
        assert_eq!(role(OsStr::new(name)), Role::Document, "{name}");
    }
    assert_eq!(strays(&["scan.pdf", "scan.pdf.reason.txt"])[0].2, ["scan.pdf"], "it came back with its document");
    assert_eq!(strays(&["scan.pdf", "Befund.reason.txt"])[0].2, [] as [&str; 0]);
}

#[test]
fn a_sidecar_follows_the_name_of_its_document() {
    for (sidecar, old, new, renamed) in [
        ("scan.toml", "Scan.pdf", "Scan (2).pdf", "Scan (2).toml"),
        ("scan.pdf.toml", "scan.pdf", "scan (2).pdf", "scan (2).pdf.toml"),
        ("Scan.PDF.Toml", "Scan.PDF", "Scan (2).PDF", "Scan (2).PDF.Toml"),
        ("scan.JSON", "scan.pdf", "scan (3).pdf", "scan (3).JSON"),
        ("SCAN.Toml", "scan.pdf", "scan.pdf", "SCAN.Toml"),
        ("mu\u{308}ller.toml", "M\u{fc}ller.pdf", "M\u{fc}ller (2).pdf", "M\u{fc}ller (2).toml"),
    ] {
        assert_eq!(renamed_sidecar(sidecar.as_ref(), old.as_ref(), new.as_ref()), renamed, "{sidecar} {old}");
    }
}

#[test]
fn a_hundred_thousand_names_are_sorted_in_no_time() {
    let names: Vec<_> = (0..50_000).flat_map(|n| [format!("{n:06}.pdf"), format!("{n:06}.pdf.toml")]).collect();
    let began = std::time::Instant::now();
    let sorted = sort(names.iter().map(OsStr::new), |name| RelPath::new(Path::new(name)).unwrap());
    let paired = sorted.documents.iter().filter(|(_, pairing)| matches!(pairing, Pairing::With(_))).count();
    assert_eq!((paired, sorted.strays.len()), (50_000, 0));
    // Every sidecar has come, and no document of theirs.
    let names: Vec<_> = (0..50_000).flat_map(|n| [format!("{n:06}.pdf"), format!("9{n:06}.pdf.toml")]).collect();
    let sorted = sort(names.iter().map(OsStr::new), |name| RelPath::new(Path::new(name)).unwrap());
    assert_eq!(sorted.strays.len(), 50_000);
    println!("twice a hundred thousand names: {:?}", began.elapsed());
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}
