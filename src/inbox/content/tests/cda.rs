//! Clinical documents: their encoding, and their root's closing tag.

use super::*;

#[test]
fn only_a_clinical_document_is_an_xml_that_is_sent() {
    for content in [
        &b"<order/>"[..],
        b"<?xml version='1.0'?><order></order>",
        b"<MyClinicalDocument></MyClinicalDocument>",
        b"<!DOCTYPE ClinicalDocument><ClinicalDocument></ClinicalDocument>",
        b"<?xml version='1.0'?><!-- <ClinicalDocument> --><html></html>",
        b"<svg></svg>",
        b"hello",
        PDF,
    ] {
        assert!(matches!(look(content, "a.xml"), Inspection::Foreign { .. }), "{}", content.escape_ascii());
    }
    for content in [
        &b"<ClinicalDocument><a/>"[..],
        b"<ClinicalDocument></ClinicalDocument",
        b"<ClinicalDocument></n:ClinicalDocument>",
        b"<ClinicalDocument>\0\0</ClinicalDocument>",
        b"<ClinicalDocument></ClinicalDocument><a>",
    ] {
        assert!(is_cut_off(&look(content, "a.xml")), "{}", content.escape_ascii());
    }
}

#[test]
fn the_declared_encoding_is_the_one_it_has() {
    let latin = |declared| encoding_rs::WINDOWS_1252.encode(&files::cda(declared, "Befund \u{e4}")).0.into_owned();
    let utf8 = |declared| files::cda(declared, "Befund \u{e4}").into_bytes();
    let utf16 = |declared| files::utf16(&files::cda(declared, "Befund \u{e4}"));
    for content in
        [utf8("UTF-8"), utf8("utf-8"), latin("ISO-8859-1"), latin("windows-1252"), utf16("UTF-16"), utf16("utf-16le")]
    {
        assert!(is_whole(&look(&content, "a.xml")), "{}", content.escape_ascii());
        assert!(is_whole(&look(&content, "a.ccda")));
    }
    let long = files::cda("UTF-8", &"\u{e4}".repeat(2 * CHUNK));
    assert!(is_whole(&look(long.as_bytes(), "a.xml")));
    for (content, words) in [
        (latin("UTF-8"), "says it is UTF-8 and is not"),
        (utf16("UTF-8"), "says it is UTF-8 and is UTF-16"),
        (utf8("UTF-16"), "says it is UTF-16 and is not"),
        (utf8("klingon"), "not known (klingon)"),
        ([b"\xef\xbb\xbf".to_vec(), utf8("ISO-8859-1")].concat(), "is UTF-8"),
    ] {
        let Inspection::Foreign { found, .. } = look(&content, "a.xml") else { panic!("{}", content.escape_ascii()) };
        assert!(found.contains(words), "{found}");
    }
    let half = [files::cda("UTF-8", "\u{e4}").split('\u{e4}').next().unwrap().as_bytes(), b"\xc3"].concat();
    assert!(is_cut_off(&look(&half, "a.xml")));
    let whole = utf16("UTF-16");
    for length in 1..whole.len() - 3 {
        assert!(!is_whole(&look(&whole[..length], "a.xml")), "{length}");
    }
}

#[test]
fn an_end_tag_in_a_comment_or_cdata_is_none() {
    for inside in [
        "<!-- </ClinicalDocument>",
        "<!-- </ClinicalDocument> --",
        "<![CDATA[</ClinicalDocument>",
        "<![CDATA[</ClinicalDocument>]]",
        "<a b='</ClinicalDocument>",
        "<?x </ClinicalDocument>",
        "<ClinicalDocument></ClinicalDocument>",
    ] {
        let half = format!("<ClinicalDocument>{inside}");
        assert!(is_cut_off(&look(half.as_bytes(), "a.xml")), "{half}");
    }
    for rest in ["<!-- a --->", "<![CDATA[ ]]]>", "<a b='>'/>", "<?x ??>", "<a/>", "<a/ ></a>", "text"] {
        let whole = format!("<ClinicalDocument>{rest}</ClinicalDocument\n>\n<!-- end --><?x?>\n");
        assert!(is_whole(&look(whole.as_bytes(), "a.xml")) || rest == "<a/ ></a>", "{whole}");
    }
    assert!(is_whole(&look(b"<ClinicalDocument/>", "a.xml")));
    for after in ["<!-- end", "<a/>", "x", "\0\0", "</a>", "<![CDATA["] {
        let content = format!("<ClinicalDocument></ClinicalDocument>{after}");
        assert!(!is_whole(&look(content.as_bytes(), "a.xml")), "{content}");
    }
}
