//! TIFFs in both byte orders, classic and big, with strips and tiles, half written in every way.

use super::files::Tiff;
use super::*;

pub(super) fn tiffs() -> Vec<Vec<u8>> {
    let shapes: [(Order, bool); 4] = [(little, false), (big, false), (little, true), (big, true)];
    shapes.into_iter().map(|(order, bigtiff)| two_strips(order, bigtiff, 1, &[7; 300]).0).collect()
}

/// The low bytes of a number in the order of the file.
type Order = fn(u64, usize) -> Vec<u8>;

fn little(number: u64, width: usize) -> Vec<u8> {
    number.to_le_bytes()[..width].to_vec()
}

fn big(number: u64, width: usize) -> Vec<u8> {
    number.to_be_bytes()[8 - width..].to_vec()
}

/// Header, one page with `entries` of (tag, type, count, value), then `data`.
fn tiff(order: Order, bigtiff: bool, entries: &[(u64, u64, u64, u64)], next: u64, data: &[u8]) -> Vec<u8> {
    let mark = if order(1, 2) == [1, 0] { b"II" } else { b"MM" };
    let (count_width, word) = if bigtiff { (8, 8) } else { (2, 4) };
    let mut out = mark.to_vec();
    out.extend(order(if bigtiff { 43 } else { 42 }, 2));
    if bigtiff {
        out.extend([order(8, 2), order(0, 2)].concat());
    }
    out.extend(order(if bigtiff { 16 } else { 8 }, word));
    out.extend(order(entries.len() as u64, count_width));
    for (tag, kind, count, value) in entries {
        let width = if *kind == 3 && *count == 1 { 2 } else { word };
        let mut value = order(*value, width);
        value.resize(word, 0);
        out.extend([order(*tag, 2), order(*kind, 2), order(*count, word), value].concat());
    }
    out.extend(order(next, word));
    out.extend(data);
    out
}

/// Two strips, whose offsets and lengths lie outside of the page's entries; `(file, where the strips are)`.
pub(super) fn two_strips(order: Order, bigtiff: bool, compression: u64, strips: &[u8]) -> (Vec<u8>, usize) {
    let start = if bigtiff { 16 + 8 + 3 * 20 + 8 } else { 8 + 2 + 3 * 12 + 4 };
    let (kind, width) = if bigtiff { (16, 8) } else { (4, 4) };
    let (at, half) = (start + 4 * width, strips.len() / 2);
    let tables = [at, at + half, half, strips.len() - half].map(|number| order(number as u64, width)).concat();
    let entries = [(259, 3, 1, compression), (273, kind, 2, start as u64), (279, kind, 2, (start + 2 * width) as u64)];
    (tiff(order, bigtiff, &entries, 0, &[&tables, strips].concat()), at)
}

#[test]
fn a_tiff_that_makes_no_sense_is_cut_off_and_soon() {
    let circle = tiff(little, false, &[(259, 3, 1, 1)], 8, &[]);
    let many = tiff(little, false, &[(273, 4, 0xffff_ffff, 8)], 0, &[]);
    let huge = tiff(little, true, &[(273, 16, u64::MAX / 4, 8)], 0, &[]);
    let beyond = tiff(big, false, &[(273, 4, 1, 8), (279, 4, 1, 4711)], 0, &[]);
    let far = tiff(big, true, &[(273, 16, 1, u64::MAX), (279, 16, 1, u64::MAX)], 0, &[]);
    let uneven = tiff(big, false, &[(273, 4, 1, 8), (279, 3, 2, 0)], 0, &[]);
    let next = tiff(big, false, &[(259, 3, 1, 1)], 4711, &[]);
    let none = tiff(big, false, &[], 0, &[]);
    for (index, content) in [circle, many, huge, beyond, far, uneven, next, none].iter().enumerate() {
        assert!(is_cut_off(&look(content, "a.tif")), "{index}");
    }
    // A million strips on each of many pages, all in one table.
    let mut content = vec![0; 4_000_000];
    let pages = 3000_u64;
    for page in 0..pages {
        let at = 8 + page * 18;
        let next = if page + 1 == pages { 0 } else { at + 18 };
        let bytes =
            [little(1, 2), little(273, 2), little(4, 2), little(990_000, 4), little(20_000, 4), little(next, 4)]
                .concat();
        content[at as usize..at as usize + 18].copy_from_slice(&bytes);
    }
    content[..8].copy_from_slice(b"II*\0\x08\0\0\0");
    assert!(is_cut_off(&look(&content, "a.tif")));
}

fn doubtful(inspection: &Inspection) -> bool {
    matches!(inspection, Inspection::Doubtful { .. })
}

#[test]
fn an_uncompressed_picture_that_ends_in_zeros_is_doubtful() {
    let mut strips = vec![0; 40_000];
    strips[..100].fill(9);
    for (order, bigtiff) in [(little as Order, false), (big, false), (little, true), (big, true)] {
        assert!(doubtful(&look(&two_strips(order, bigtiff, 1, &strips).0, "a.tif")));
        for compression in [2, 3, 4, 5, 6, 7, 8, 32773, 32946, 50000] {
            let (content, _) = two_strips(order, bigtiff, compression, &strips);
            assert!(is_cut_off(&look(&content, "a.tif")), "no compression makes 40,000 zeros: {compression}");
        }
        assert!(is_cut_off(&look(&two_strips(order, bigtiff, 1, &[0; 40_000]).0, "a.tif")), "nothing but the header");
        let (mut content, _) = two_strips(order, bigtiff, 1, &[9; 200]);
        content.resize(40_000, 0);
        assert!(is_whole(&look(&content, "a.tif")), "padding behind the last strip");
    }
    let whole = Tiff { blank: 15, ..Tiff::default() }.build();
    assert!(is_whole(&look(&whole, "a.tif")), "a few black dots");
    assert!(doubtful(&look(&Tiff { blank: 16, ..Tiff::default() }.build(), "a.tif")));
    assert!(doubtful(&look(&Tiff { blank: 9000, zero_counts: true, ..Tiff::default() }.build(), "a.tif")));
}

#[test]
fn lengths_that_old_writers_leave_out_follow_from_the_picture() {
    let whole = Tiff { zero_counts: true, ..Tiff::default() }.build();
    assert!(is_whole(&look(&whole, "a.tif")));
    // The table first, then the strip, its length left out: it must be there to its last dot.
    let entries = |lengths: &[(u64, u64, u64, u64)]| {
        let all =
            [&[(256, 3, 1, 10), (257, 3, 1, 10), (258, 3, 1, 8), (259, 3, 1, 1), (273, 4, 1, 0)], lengths].concat();
        let at = 8 + 2 + all.len() as u64 * 12 + 4;
        all.into_iter()
            .map(|(tag, kind, count, value)| (tag, kind, count, if tag == 273 { at } else { value }))
            .collect::<Vec<_>>()
    };
    for lengths in [&[][..], &[(279, 4, 1, 0)]] {
        for (rows, expected) in [(100, true), (99, false), (200, true)] {
            let content = tiff(little, false, &entries(lengths), 0, &vec![7; rows]);
            assert_eq!(is_whole(&look(&content, "a.tif")), expected, "{lengths:?} {rows}");
        }
    }
    // One that is longer than the picture is: readers do not look.
    assert!(is_whole(&look(&tiff(big, false, &entries(&[(279, 4, 1, 4711)]), 0, &[7; 100]), "a.tif")));
}

#[test]
fn pages_and_tables_that_are_still_zeros() {
    let three = Tiff { pages: 3, compressed: true, ..Tiff::default() }.build();
    assert!(is_whole(&look(&three, "a.tif")));
    for blank in [17, 100, 9000, 16_000, 17_000] {
        for pages in [1, 2, 3] {
            let content = Tiff { pages, compressed: true, blank, ..Tiff::default() }.build();
            assert!(is_cut_off(&look(&content, "a.tif")), "{pages} {blank}");
        }
    }
    for length in 0..three.len() {
        if length % 97 == 0 || three.len() - length < 200 {
            assert!(!is_whole(&look(&three[..length], "a.tif")), "{length}");
            let mut blank = three.clone();
            blank[length..].fill(0);
            // The last four bytes are zeros anyway, and no reader can tell a number that is half written.
            let written = three.len() - 7;
            assert!(length >= written || !is_whole(&look(&blank, "a.tif")), "{length} within its full size");
        }
    }
    // Offsets that are still zeros, and tiles.
    assert!(is_cut_off(&look(&tiff(little, false, &[(273, 4, 1, 0), (279, 4, 1, 0)], 0, &[7; 100]), "a.tif")));
    let tiled =
        |offset, length| tiff(big, true, &[(259, 3, 1, 5), (324, 16, 1, offset), (325, 16, 1, length)], 0, &[7; 100]);
    assert!(is_whole(&look(&tiled(100, 60), "a.tif")));
    assert!(is_cut_off(&look(&tiled(100, 4000), "a.tif")));
    assert!(is_cut_off(&look(&tiled(0, 0), "a.tif")));
    // A smaller copy of the page.
    let smaller = |at| tiff(little, false, &[(273, 4, 1, 8), (279, 4, 1, 4), (330, 4, 1, at)], 0, &[0; 30]);
    assert!(is_cut_off(&look(&smaller(4711), "a.tif")) && is_cut_off(&look(&smaller(60), "a.tif")));
}
