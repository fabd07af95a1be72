//! PDFs with revisions, cross-reference streams and encryption: the last revision counts.

use super::{
    files::{pdf, pdf_with_stream, revised, startxref},
    *,
};

fn whole(content: &[u8]) -> bool {
    is_whole(&look(content, "a.pdf"))
}

fn cut_off(content: &[u8]) -> bool {
    is_cut_off(&look(content, "a.pdf"))
}

#[test]
fn what_scanners_put_around_a_document_is_tolerated() {
    let junk = b"\r\n\x1b%-12345X@PJL EOJ\r\n".repeat(1500);
    for base in [PDF.to_vec(), pdf(1, "", &[]), pdf_with_stream(1, "", &[]), revised(&pdf(1, "", &[]), 1, 300)] {
        assert!(whole(&base));
        for tail in
            [&junk[..], &[0; 20_000], &[b' '; 20_000], &[0xff; 900], b"\n17 0 obj\n", b"\nxref\n", b"\n9", b"%%EOF"]
        {
            assert!(whole(&[&base[..], tail].concat()), "{}", tail[..tail.len().min(40)].escape_ascii());
        }
        assert!(whole(&[&base[..], &pdf(2, "", &[])].concat()), "another document behind it");
        assert!(whole(&[&[b' '; 1024], &base[..]].concat()));
        assert!(matches!(look(&[&[b' '; 1025], &base[..]].concat(), "a.pdf"), Inspection::Foreign { .. }));
    }
}

#[test]
fn a_pdf_cut_in_its_last_revision_is_refused() {
    for base in [pdf(1, "", &[]), pdf_with_stream(1, "", &[])] {
        let twice = revised(&revised(&base, 1, 2000), 2, 3000);
        let first = base.len();
        let begun = |at: usize| twice[..at].windows(6).any(|window| window == b" obj\n<") && at > first + 9;
        for content in [revised(&base, 1, 600), twice.clone()] {
            assert!(whole(&content));
            let complete = bytes::find_last(&content, b"%%EOF").unwrap() + 5;
            for at in (first + 10..complete).filter(|at| begun(*at)) {
                // Not where the revision before the last one ends.
                let earlier = bytes::find_last(&content[..complete - 5], b"%%EOF").unwrap() + 5;
                if (earlier..earlier + 10).contains(&at) {
                    continue;
                }
                if at % 11 == 0 || complete - at < 250 {
                    assert!(cut_off(&content[..at]), "{at} of {complete}");
                    let mut blank = content.clone();
                    blank[at..].fill(0);
                    assert!(cut_off(&blank), "{at} of {complete} within its full size");
                }
            }
        }
    }
}

#[test]
fn a_later_version_that_began_is_told_from_a_leftover() {
    for rest in [
        &b"\n9 0 obj\n<< >>"[..],
        b"\n9 0 obj\n<",
        b"\n9 0 obj [",
        b"\nxref\n0 1",
        b"\r\n%x\n9 0 obj <<>> stream",
        b"\n%x\nstartxref\n9",
        b"\ntrailer\n<<",
    ] {
        for base in [PDF.to_vec(), pdf(1, "", &[])] {
            assert!(cut_off(&[&base[..], rest].concat()), "{}", rest.escape_ascii());
            assert!(cut_off(&[&base[..], rest, &[0; 90_000]].concat()), "{}", rest.escape_ascii());
            assert!(cut_off(&[&base[..], &[b' '; 2 * CHUNK - 3], rest].concat()), "{}", rest.escape_ascii());
        }
    }
}

#[test]
fn the_table_of_contents_is_where_the_closing_says() {
    let base = String::from_utf8_lossy(&pdf(1, "", &[])).into_owned();
    let at = format!("startxref\n{}", base.rsplit("startxref\n").next().unwrap().split('\n').next().unwrap());
    let with = |offset: &str| base.replace(&at, &format!("startxref\n{offset}")).into_bytes();
    for offset in ["999999", "4711", "0", "", "-1", "99999999999999999999999999"] {
        assert!(cut_off(&with(offset)), "{offset}");
    }
    assert!(whole(&with("17")), "a writer that miscounted: readers look for the table");
    assert!(cut_off(b"%PDF-1.4\nstartxref\n4711\n%%EOF\n"));
    let truncated = |content: &[u8]| content[..content.len() - 7].to_vec();
    assert!(cut_off(&truncated(&pdf(1, "", &[]))) && cut_off(&truncated(&pdf_with_stream(1, "", &[]))));
    // Hybrid files: the table names a stream besides, and a revision the one before.
    for key in ["XRefStm", "Prev"] {
        assert!(whole(&pdf(1, &format!("/{key} 9"), &[])), "{key}");
        assert!(cut_off(&pdf(1, &format!("/{key} 99999"), &[])), "{key}");
        assert!(cut_off(&pdf_with_stream(1, &format!("/{key} 99999"), &[])), "{key}");
    }
}

#[test]
fn an_embedded_document_does_not_end_the_one_around_it() {
    let inner = pdf(2, "", &[]);
    let base = pdf(1, "", &[]);
    let table = startxref(&base);
    let object =
        [format!("6 0 obj\n<</Length {}>>stream\n", inner.len()).as_bytes(), &inner, b"\nendstream\nendobj\n"].concat();
    let at = table + object.len();
    let end =
        String::from_utf8_lossy(&base[table..]).replace(&format!("startxref\n{table}"), &format!("startxref\n{at}"));
    let outer = [&base[..table], &object, end.as_bytes()].concat();
    assert!(whole(&outer));
    for length in table + 40..outer.len() - 6 {
        assert!(cut_off(&outer[..length]), "{length} of {}", outer.len());
    }
}

#[test]
fn a_pdf_for_the_web_knows_its_length() {
    let base = pdf(1, "", &[]);
    let linearized = |dictionary: &str| {
        let head = format!("%PDF-1.4\n9 0 obj\n<<{dictionary}>>\nendobj\n");
        [head.as_bytes(), &base[9..]].concat()
    };
    for dictionary in ["/Linearized 1/L {}/H[0 0]/O 3", "/L {}/Linearized 1", "/O 3 /L {} /H [ 1 2 ] /Linearized 1.0"] {
        let with = |length: usize| linearized(&dictionary.replace("{}", &format!("{length:06}")));
        let length = with(0).len();
        assert!(whole(&with(length)) && whole(&with(length - 100)), "{dictionary}");
        assert!(cut_off(&with(length + 90_000)), "{dictionary}");
        assert!(cut_off(&with(length + 1)), "{dictionary}");
    }
    let most = linearized(&format!("/Linearized 1/L {}", u64::MAX));
    assert!(whole(&most) || cut_off(&most), "more than any file has");
}

#[test]
fn a_password_protected_pdf_is_refused_with_words() {
    for revision in [2, 3, 4] {
        for (user, opens) in [("", true), ("secret", false)] {
            let (id, dictionary) = files::encryption(revision, user, 7);
            let reference = format!("{id}/Encrypt 6 0 R");
            let direct = format!("{id}/Encrypt{dictionary}");
            let files = [
                pdf(7, &direct, &[]),
                pdf(7, &reference, &[&dictionary]),
                pdf_with_stream(7, &direct, &[]),
                pdf_with_stream(7, &reference, &[&dictionary]),
                [&[b' '; 100], &pdf(7, &direct, &[])[..]].concat(),
                // Its latest revision says nothing of the encryption.
                revised(&pdf(7, &direct, &[]), 8, 100),
            ];
            for (index, content) in files.iter().enumerate() {
                match look(content, "a.pdf") {
                    Inspection::Whole(_) if opens => {}
                    Inspection::Locked(words) if !opens => assert!(words.contains("password"), "{words}"),
                    other => panic!("{revision} {user:?} {index}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn the_newest_encryption_is_checked_as_well() {
    // Made with pypdf 7.1, with an empty password and with another one.
    for (revision, opens, user) in [
        (6, true, "96e46a13d19c27b9b09ec91e3a21acd834d3d9f3a95fdc737291fd9dba2d18340395b591a8b4172bd5d503929228479b"),
        (6, false, "03e88e5cf2ddf7e79a4f5f38d5ae3780e144e47bdd0b29b4b77b03eaf1018a35ad538b9f1e2c7b60e3f3f4d2daca73d8"),
        (5, true, "caa99a1d88516ef9409f4ad70c926ee8f983b10632957c71c9658c75e68d065ff2a4433e0034cc521eb8c55c61c41722"),
        (5, false, "745a41ba3e965fa0976d84f31a1f9177ecdbd63a6ad4ca1a5704f73c244d9b8bd06494861f603d2f325c6fe1a64fc425"),
    ] {
        let dictionary = format!("/Encrypt<</Filter/Standard/V 5/R {revision}/Length 256/P -44/O<00>/U<{user}>>>");
        let inspection = look(&pdf(1, &dictionary, &[]), "a.pdf");
        assert_eq!(is_whole(&inspection), opens, "{revision}: {inspection:?}");
    }
    for (dictionary, words) in [
        ("<</Filter/Adobe.PubSec/V 4/SubFilter/adbe.pkcs7.s5>>", "certificate"),
        ("<</Filter/Somebody.Else>>", "only some programs"),
        ("<</Filter/Standard/R 99>>", "not known"),
        ("<</Filter/Standard/R 3>>", "cannot be read"),
        ("77 0 R", "cannot be read"),
    ] {
        match look(&pdf(1, &format!("/Encrypt {dictionary}"), &[]), "a.pdf") {
            Inspection::Locked(said) => assert!(said.contains(words), "{said}"),
            other => panic!("{dictionary}: {other:?}"),
        }
    }
    assert!(whole(&pdf(1, "/Encrypt null", &[])));
}

#[test]
fn a_pdf_of_nothing_but_closings_is_soon_looked_through() {
    for piece in [&b"startxref\n9\n%%EOF\n"[..], b"xref\n0 0\nstartxref\n9\n%%EOF\n", b"%PDF-1.4 startxref\n0\n%%EOF\n"]
    {
        let content = [b"%PDF-1.4\nxref\n", &piece.repeat(50_000)[..]].concat();
        assert!(cut_off(&content));
    }
    let circle = pdf(1, "/Prev 9", &[]);
    let at = startxref(&circle);
    assert!(whole(&pdf(1, &format!("/Prev {at}"), &[])), "a circle of revisions ends");
}
