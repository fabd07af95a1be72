//! JPEGs as cameras and phones make them: their own end mark counts, and nothing behind it.

use super::*;

#[test]
fn a_phone_photo_with_a_tail_is_accepted() {
    let photo = files::jpeg(1, b"");
    let tails: [Vec<u8>; 8] = [
        [b"\0\0\0\x18ftypmp42".to_vec(), files::noise(1, 40_000)].concat(),
        vec![0; 20_000],
        vec![0xff; 20_000],
        vec![b' '; 20_000],
        files::jpeg(2, b"").repeat(20),
        files::jpeg(2, b"")[..200].to_vec(),
        b"<!DOCTYPE html><p>Not found".to_vec(),
        files::noise(2, 100_000),
    ];
    for (index, tail) in tails.iter().enumerate() {
        assert!(is_whole(&look(&[&photo[..], tail].concat(), "a.jpg")), "{index}");
        assert!(is_whole(&look(&[PNG, tail].concat(), "a.png")), "{index}");
        assert!(is_whole(&look(&[PDF, tail].concat(), "a.pdf")), "{index}");
        let mut half = photo[..photo.len() - 100].to_vec();
        // Not behind another picture's end.
        if !(4..6).contains(&index) && index != 2 {
            half.extend(tail.iter().map(|byte| if *byte == 0xff { 0 } else { *byte }));
            assert!(is_cut_off(&look(&half, "a.jpg")), "{index}");
        }
    }
}

#[test]
fn jpeg_with_junk_between_segments_is_read() {
    let inside = |junk: &[u8]| [&JPEG[..2], &files::segment(0xfe, b"a"), junk, &JPEG[2..]].concat();
    for junk in
        [&b"\0\0\x17\x42"[..], b"\xff\xff\xff", b"\0", b"\xff\0\xff\0", b"\xff\x01", b"\xff\xe0\0\0", b"\xff\xd0"]
    {
        assert!(is_whole(&look(&inside(junk), "a.jpg")), "{}", junk.escape_ascii());
        assert!(is_cut_off(&look(&inside(junk)[..JPEG.len() - 30], "a.jpg")), "{}", junk.escape_ascii());
    }
    let before = [&JPEG[..2], &[0, 0], &JPEG[2..]].concat();
    assert!(is_whole(&look(&before, "a.jpg")), "right behind the start mark");
}

/// Frame, scan, and what a scan may hold.
fn made_of(frame: u8, scans: &[&[u8]]) -> Vec<u8> {
    let mut out = [&b"\xff\xd8"[..], &files::segment(frame, b"\x08\0\x08\0\x08\x01\x01\x11\0")].concat();
    for scan in scans {
        out.extend(files::segment(0xda, b"\x01\x01\0\0\x3f\0"));
        out.extend(*scan);
        out.extend(files::segment(0xc4, b"a table between scans, with an end mark \xff\xd9"));
    }
    [&out[..], b"\xff\xd9"].concat()
}

#[test]
fn every_way_to_code_a_picture_is_followed() {
    let scans: [&[u8]; 3] = [b"abc\xff\xd0def\xff\xd7", b"\xff\0\xff\0", b"x"];
    for frame in [0xc0, 0xc1, 0xc2, 0xc3, 0xc9, 0xca, 0xf7] {
        let whole = made_of(frame, &scans);
        assert!(is_whole(&look(&whole, "a.jpg")), "{frame:x}");
        for length in 1..whole.len() {
            assert!(is_cut_off(&look(&whole[..length], "a.jpg")), "{frame:x} {length}");
        }
    }
}

#[test]
fn a_previews_end_is_not_the_pictures() {
    let whole = files::jpeg(3, &files::segment(0xe1, &[b"Exif\0\0", JPEG].concat()));
    for missing in [1, 2, 100, 200] {
        assert!(is_cut_off(&look(&whole[..whole.len() - missing], "a.jpg")), "{missing}");
    }
}

#[test]
fn a_jpeg_without_a_picture_is_cut_off() {
    for content in
        [&b"\xff\xd8\xff\xd9"[..], b"\xff\xd8\xff\xe0\0\x01\xff\xd9", b"\xff\xd8\xff\xe0\0\x04ab\0\0\xff\xd9"]
    {
        assert!(is_cut_off(&look(content, "a.jpg")), "{}", content.escape_ascii());
    }
}
