//! Files as scanners, phones, copy programs and people make them: every good one is accepted, every half one is not, and
//! what nobody could open is refused with words that say what it is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "support/files.rs"]
mod files;
mod support;

use files::{Tiff, cda, encryption, jpeg, noise, pdf, png, revised, segment, utf16};
use support::{Clinic, sample, sha256};

/// What has to become of a file: `Ok` it is accepted, `Err` it is refused with a note that holds this.
type Expected = Result<(), &'static str>;

const A: Expected = Ok(());
const CUT: Expected = Err("cut off");

/// Drops all files into one patient's folder, runs once, and expects each to end as it has to.
fn become_of(clinic: &Clinic, cases: Vec<(&str, Vec<u8>, Expected)>) {
    for (name, bytes, _) in &cases {
        clinic.drop_file(format!("inbox/bixby/{name}"), bytes);
    }
    clinic.run_once();
    let accepted: Vec<String> =
        clinic.accepted_facts().iter().map(|message| message["sha256"].as_str().unwrap().to_owned()).collect();
    for (name, bytes, expected) in &cases {
        let sent = accepted.contains(&sha256(bytes));
        match expected {
            Ok(()) => {
                let reason = clinic.path(format!("failed/bixby/{name}.reason.txt"));
                assert!(clinic.has(format!("done/bixby/{name}")), "{name}: {:?}", std::fs::read_to_string(reason));
                assert!(clinic.has(format!("done/bixby/{name}.receipt.json")), "{name}");
                assert!(sent, "{name}");
            }
            Err(words) => {
                assert!(clinic.has(format!("failed/bixby/{name}")), "{name}: {:?}", clinic.files("done"));
                let reason = clinic.reason(&format!("failed/bixby/{name}.reason.txt"));
                let flowed = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                for words in ["NOT SENT", "Is anything lost? No.", "What to do", words] {
                    assert!(flowed.contains(words), "{name}: {words:?} is not in:\n{reason}");
                }
                assert!(!sent, "{name}");
            }
        }
    }
    let expected = cases.iter().filter(|(_, _, expected)| expected.is_ok()).count();
    assert_eq!(accepted.len(), expected, "nothing else was sent");
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// All but the last bytes.
fn short(mut bytes: Vec<u8>, missing: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - missing);
    bytes
}

/// The same size, and its last bytes are zeros.
fn blank(mut bytes: Vec<u8>, missing: usize) -> Vec<u8> {
    let from = bytes.len() - missing;
    bytes[from..].fill(0);
    bytes
}

#[test]
fn a_phone_photo_with_a_tail_is_accepted() {
    become_of(
        &Clinic::new(&[]),
        vec![
            ("photo.jpg", jpeg(1, b""), A),
            ("motion photo.jpg", joined(&[&jpeg(2, b""), b"\0\0\0\x18ftypmp42", &noise(1, 40_000)]), A),
            ("padded.jpg", joined(&[&jpeg(3, b""), &[0; 20_000]]), A),
            ("padded with FF.jpg", joined(&[&jpeg(4, b""), &[0xff; 20_000]]), A),
            ("two images.jpg", joined(&[&jpeg(5, b""), &jpeg(6, b"").repeat(20)]), A),
            ("second image cut.jpg", joined(&[&jpeg(7, b""), &short(jpeg(8, b""), 100)]), A),
            ("web page behind.jpg", joined(&[&jpeg(9, b""), b"<html><body>Not found</body></html>"]), A),
            ("scan.jfif", jpeg(10, b""), A),
            ("scan.jpe", jpeg(11, b""), A),
            ("half.jpg", short(jpeg(12, b""), 120), CUT),
            ("thumbnail.jpg", short(jpeg(13, &segment(0xe1, &joined(&[b"Exif\0\0", &jpeg(14, b"")]))), 100), CUT),
            ("zeros.jpg", blank(jpeg(15, b""), 120), CUT),
            ("tail.png", joined(&[&png(16), &noise(2, 12_000)]), A),
            ("padded.png", joined(&[&png(17), &[0; 12_000]]), A),
            ("half.png", short(png(18), 40), CUT),
        ],
    );
}

#[test]
fn jpeg_with_junk_between_segments_is_read() {
    let inside = |seed: u32, junk: &[u8]| jpeg(seed, &joined(&[&segment(0xfe, b"comment"), junk]));
    become_of(
        &Clinic::new(&[]),
        vec![
            ("junk.jpg", inside(1, b"\0\0\x17\x42"), A),
            ("fill bytes.jpg", inside(2, b"\xff\xff\xff"), A),
            ("stuffing.jpg", inside(3, b"\xff\0\xff\0"), A),
            ("empty segment.jpg", inside(4, b"\xff\xe5\0\0"), A),
            ("junk and half.jpg", short(inside(5, b"\0\0\x17\x42"), 100), CUT),
        ],
    );
}

#[test]
fn a_pdf_cut_in_its_last_revision_is_refused() {
    let base = |seed| pdf(seed, "", &[]);
    let linearized = |seed: u32, more: usize| {
        let document = base(seed);
        let dictionary =
            format!("9 0 obj\n<</L {}/Linearized 1/H[0 0]/O 3/E 0/N 1/T 0>>\nendobj\n", document.len() + more);
        joined(&[b"%PDF-1.4\n", dictionary.as_bytes(), &document[9..]])
    };
    become_of(
        &Clinic::new(&[]),
        vec![
            ("plain.pdf", base(1), A),
            ("padded.pdf", joined(&[&base(2), &[0; 16_000]]), A),
            ("next object.pdf", joined(&[&base(3), b"\n17 0 obj\n"]), A),
            ("xref after.pdf", joined(&[&base(4), b"\nxref\n"]), A),
            ("web page behind.pdf", joined(&[&base(5), b"<!DOCTYPE html><html></html>"]), A),
            ("job language before.pdf", joined(&[b"\x1b%-12345X@PJL JOB\r\n", &base(6)]), A),
            ("revised.pdf", revised(&base(7), 1, 3000), A),
            ("stream.pdf", files::pdf_with_stream(8, "", &[]), A),
            ("revision blank.pdf", blank(revised(&base(9), 2, 3000), 1500), CUT),
            ("revision cut.pdf", short(revised(&base(10), 3, 3000), 700), CUT),
            ("linearized.pdf", linearized(11, 0), A),
            ("linearized cut.pdf", linearized(12, 90_000), CUT),
            ("half.pdf", short(base(13), 30), CUT),
            ("stream cut.pdf", short(files::pdf_with_stream(14, "", &[]), 10), CUT),
        ],
    );
}

#[test]
fn a_tiff_with_blank_strips_waits_then_is_refused() {
    let compressed = Tiff { compressed: true, ..Tiff::default() };
    let whole = Tiff { seed: 8, ..Tiff::default() }.build();
    let table = u32::from_le_bytes(whole[4..8].try_into().unwrap()) as usize;
    become_of(
        &Clinic::new(&[]),
        vec![
            ("scan.tif", Tiff { seed: 1, ..Tiff::default() }.build(), A),
            ("three pages.tif", Tiff { pages: 3, seed: 2, ..compressed }.build(), A),
            ("strip blank.tif", Tiff { seed: 3, blank: 9_000, ..compressed }.build(), CUT),
            ("second page blank.tif", Tiff { pages: 2, seed: 4, blank: 17_000, ..compressed }.build(), CUT),
            ("counts zero.tif", Tiff { seed: 5, zero_counts: true, ..Tiff::default() }.build(), A),
            ("table after end.tif", whole[..table].to_vec(), CUT),
            ("half.tif", short(Tiff { pages: 2, seed: 6, ..compressed }.build(), 60), CUT),
        ],
    );
}

#[test]
fn a_plain_picture_that_ends_in_black_is_sent_after_a_while() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox = "settle = \"100ms\"\nincomplete_after = \"1h\"\n".into();
    let black = Tiff { seed: 1, blank: 9_000, ..Tiff::default() }.build();
    let white = Tiff { seed: 2, ..Tiff::default() }.build();
    let dropped = clinic.drop_file("inbox/bixby/black.tif", &black);
    clinic.drop_file("inbox/bixby/white.tif", &white);
    let daemon = clinic.daemon();
    clinic.wait_for_file("done/bixby/white.tif.receipt.json");
    assert!(dropped.exists(), "it waits");
    daemon.kill();
    clinic.inbox = "settle = \"100ms\"\nincomplete_after = \"1s\"\n".into();
    let _daemon = clinic.daemon();
    clinic.wait_for_file("done/bixby/black.tif.receipt.json");
    assert_eq!(clinic.accepted_facts().len(), 2);
}

#[test]
fn a_password_protected_pdf_is_refused_with_words() {
    let encrypted = |seed: u32, revision: u8, user: &str| {
        let (id, dictionary) = encryption(revision, user, seed);
        pdf(seed, &format!("{id}/Encrypt 6 0 R"), &[&dictionary])
    };
    become_of(
        &Clinic::new(&[]),
        vec![
            ("password 2.pdf", encrypted(1, 2, "secret"), Err("does not open without its password")),
            ("password 3.pdf", encrypted(2, 3, "secret"), Err("does not open without its password")),
            ("password 4.pdf", encrypted(3, 4, "secret"), Err("without a password")),
            ("restricted 2.pdf", encrypted(4, 2, ""), A),
            ("restricted 3.pdf", encrypted(5, 3, ""), A),
            ("restricted 4.pdf", encrypted(6, 4, ""), A),
            ("certificate.pdf", pdf(7, "/Encrypt<</Filter/Adobe.PubSec/V 4>>", &[]), Err("certificate")),
        ],
    );
}

#[test]
fn windows_text_is_told_apart() {
    become_of(
        &Clinic::new(&[]),
        vec![
            ("windows.txt", b"Befund unauff\xe4llig \x96 Kontrolle in 2 Wochen\r\n".to_vec(), Err("Windows-1252")),
            ("notepad.txt", utf16("Findings normal\r\n"), Err("UTF-16")),
            ("how to.txt", utf16("Findings are normal\r\n"), Err("Save as, set Encoding to UTF-8")),
            ("no mark.txt", utf16("Findings were normal\r\n")[2..].to_vec(), Err("UTF-16")),
            ("dos.txt", b"Befund unauff\x84llig, M\x81ller\r\n".to_vec(), Err("MS-DOS")),
            ("bom.txt", "\u{feff}Findings normal\r\n".into(), A),
            ("accents.txt", "Befund unauff\u{e4}llig\r\n".into(), A),
            ("visit.xml", cda("UTF-8", "Visit 1").into_bytes(), A),
            ("visit.ccda", cda("UTF-8", "Visit 2").into_bytes(), A),
            ("utf-16.xml", utf16(&cda("UTF-16", "Visit 3")), A),
            (
                "latin.xml",
                b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><ClinicalDocument>\xe4</ClinicalDocument>".to_vec(),
                Err("says it is UTF-8 and is not"),
            ),
            ("comment.xml", b"<ClinicalDocument><!-- </ClinicalDocument>".to_vec(), CUT),
        ],
    );
}

#[test]
fn converted_text_is_sent_as_utf8_and_its_original_is_filed() {
    let mut clinic = Clinic::new(&[]);
    clinic.inbox += "[inbox.document]\ntext = \"convert\"\n";
    let windows = b"M\xfcller: Befund unauff\xe4llig \x96 Kontrolle in 2 Wochen\r\n";
    let cases = [
        ("windows.txt", windows.to_vec(), "M\u{fc}ller: Befund unauff\u{e4}llig \u{2013} Kontrolle in 2 Wochen\r\n"),
        ("notepad.txt", utf16("Findings normal\r\n"), "Findings normal\r\n"),
        ("plain.txt", b"Findings plain\r\n".to_vec(), "Findings plain\r\n"),
    ];
    for (name, bytes, _) in &cases {
        clinic.drop_file(format!("inbox/bixby/{name}"), bytes);
    }
    clinic.drop_file("inbox/bixby/dos.txt", b"unauff\x84llig");
    assert_eq!(clinic.run_once(), 1);
    let accepted = clinic.accepted_facts();
    assert_eq!(accepted.len(), 3);
    for (name, bytes, text) in &cases {
        let sent = sha256(text.as_bytes());
        assert!(accepted.iter().any(|message| message["sha256"] == sent), "{name}");
        assert_eq!(&std::fs::read(clinic.path(format!("done/bixby/{name}"))).unwrap(), bytes, "{name}");
        let content = clinic.receipt(&format!("done/bixby/{name}.receipt.json"))["document"]["content"].clone();
        assert_eq!(content["sha256"], sent, "{name}");
        let original = (text.as_bytes() != bytes).then(|| sha256(bytes));
        assert_eq!(content["original_sha256"].as_str(), original.as_deref(), "{name}");
    }
    assert!(clinic.reason("failed/bixby/dos.txt.reason.txt").contains("MS-DOS"), "nobody guesses");
    let verified = clinic.command(&["verify", "--rehash"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    // The same text again is a duplicate.
    clinic.drop_file("inbox/bixby/again.txt", windows);
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted_facts().len(), 3);
    assert_eq!(clinic.receipt("done/bixby/again.txt.receipt.json")["status"], "duplicate");
    // So is the same text in another encoding, the first one's or not.
    clinic.drop_file("inbox/bixby/same.txt", "Findings normal\r\n");
    clinic.drop_file("inbox/bixby/wide.txt", utf16("Findings plain\r\n"));
    assert_eq!(clinic.run_once(), 0);
    for (name, original) in [("same.txt", None), ("wide.txt", Some(sha256(&utf16("Findings plain\r\n"))))] {
        let receipt = clinic.receipt(&format!("done/bixby/{name}.receipt.json"));
        assert_eq!(receipt["status"], "duplicate", "{name}");
        assert_eq!(receipt["document"]["content"]["original_sha256"].as_str(), original.as_deref(), "{name}");
    }
    let verified = clinic.command(&["verify", "--rehash"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn what_is_not_what_its_name_says_is_named() {
    let zip = |entry: &str| {
        joined(&[
            b"PK\x03\x04\x14\0\0\0\0\0",
            &[0; 16],
            &[entry.len() as u8, 0, 0, 0],
            entry.as_bytes(),
            &noise(5, 500),
        ])
    };
    become_of(
        &Clinic::new(&[]),
        vec![
            ("zip.pdf", zip("scan.tif"), Err("ZIP archive")),
            ("word.pdf", zip("word/document.xml"), Err("Word document (docx)")),
            ("excel.jpg", zip("xl/workbook.xml"), Err("Excel workbook (xlsx)")),
            (
                "old office.pdf",
                joined(&[b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", &noise(6, 2000)]),
                Err("old Office document"),
            ),
            ("rar.pdf", joined(&[b"Rar!\x1a\x07\x01\0", &noise(7, 100)]), Err("RAR archive")),
            ("7z.pdf", joined(&[b"7z\xbc\xaf\x27\x1c\0\x04", &noise(8, 100)]), Err("7-Zip archive")),
            ("gzip.pdf", joined(&[b"\x1f\x8b\x08\0", &noise(9, 100)]), Err("gzip archive")),
            ("program.pdf", joined(&[b"MZ\x90\0\x03\0\0\0", &noise(10, 100)]), Err("Windows program")),
            ("page.pdf", b"<!DOCTYPE html>\n<html><title>Log in</title></html>".to_vec(), Err("web page")),
            ("picture.pdf", sample("wound-photo.jpg"), Err("JPEG picture")),
        ],
    );
}

#[test]
fn kinds_of_file_types_are_sent_and_checked() {
    let mut clinic = Clinic::new(&[]);
    clinic.redox += "[file_types]\njif = \"image/jpeg\"\nheic = \"image/heic\"\ndocx = \"application/vnd.openxmlformats-officedocument.wordprocessingml.document\"\n";
    become_of(
        &clinic,
        vec![
            ("photo.jif", jpeg(1, b""), A),
            ("half.jif", short(jpeg(2, b""), 100), CUT),
            ("picture.docx", png(3), Err("PNG picture")),
            ("text.heic", b"no picture at all".to_vec(), Err("plain text")),
            ("half.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\xff\xffmeta".to_vec(), CUT),
        ],
    );
}
