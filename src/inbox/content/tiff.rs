//! Where a TIFF ends: behind everything that its pages refer to, which may be in any order.

use std::{collections::HashSet, io};

use super::{
    End,
    bytes::{Bytes, CHUNK, is_blank},
};

/// Pages of one file, smaller copies of them included.
const MAX_PAGES: usize = 4096;
/// Entries of one page; writers use about twenty. All of them fit into one chunk.
const MAX_ENTRIES: u64 = 1024;
/// Strips or tiles of the whole file, so that pages that share a table cannot make us read it for ever.
const MAX_PIECES: u64 = 1_000_000;
/// An uncompressed picture that ends in as many zeros may be black there, or not written yet.
const DOUBTFUL: u64 = 16;
/// As far back zeros are counted where it does not matter whether there are more.
const LOOK: u64 = 4096;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const COLOURS: u16 = 262;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES: u16 = 277;
const STRIP_ROWS: u16 = 278;
const STRIP_LENGTHS: u16 = 279;
const PLANES: u16 = 284;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_LENGTHS: u16 = 325;
const SMALLER_PAGES: u16 = 330;
const OLD_JPEG_OFFSET: u16 = 513;
const OLD_JPEG_LENGTH: u16 = 514;

/// Colours whose samples may be fewer than the picture's dots.
const YCBCR: u64 = 6;

/// Why the walk ended early: what [`End::Missing`] says, or a file that could not be read.
enum Stop {
    Missing(String),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn missing<T>(detail: &str) -> Result<T, Stop> {
    Err(Stop::Missing(detail.to_owned()))
}

pub(super) fn end(bytes: &Bytes<'_>) -> io::Result<End> {
    match Walk::new(bytes).and_then(Walk::pages) {
        Ok(walk) if walk.pieces == 0 => End::missing("its picture is missing"),
        // Nothing but its first tables is written.
        Ok(walk) if !walk.inked && bytes.size - bytes.blank_tail()? <= walk.first_piece => {
            End::missing("its picture is still blank")
        }
        Ok(walk) => match walk.doubtful {
            Some(blank) => Ok(End::Doubtful(format!("its picture ends with {blank} zeros or more"))),
            // What nothing refers to is what editors leave behind.
            None => Ok(End::Here),
        },
        Err(Stop::Missing(detail)) => End::missing(detail),
        Err(Stop::Io(error)) => Err(error),
    }
}

struct Walk<'a> {
    bytes: &'a Bytes<'a>,
    little: bool,
    /// BigTIFF: offsets and counts of eight bytes.
    big: bool,
    first_page: u64,
    /// Pages that are still to be looked at.
    next: Vec<u64>,
    /// The first byte of any picture.
    first_piece: u64,
    pieces: u64,
    /// Bytes in which zeros were looked for, so that pieces that share them cannot make us read them for ever.
    searched: u64,
    /// Whether any part of any picture is more than zeros.
    inked: bool,
    /// The zeros that an uncompressed picture ends with, when they are many.
    doubtful: Option<u64>,
}

/// A table of numbers somewhere in the file.
#[derive(Clone, Copy)]
struct Table {
    at: u64,
    width: u64,
    count: u64,
}

/// What a page says of how its picture is stored.
struct Layout {
    compression: u64,
    /// Bytes of each strip or tile when nothing is compressed; `None` when the page does not say.
    plain: Option<Plain>,
}

#[derive(Clone, Copy)]
struct Plain {
    row: u64,
    /// Rows of a whole strip or tile.
    rows: u64,
    /// Rows of the picture, when the last strip may have fewer.
    height: Option<u64>,
}

impl Plain {
    fn size_of(self, index: u64) -> Option<u64> {
        let rows = match self.height {
            Some(height) => {
                let strips = height.div_ceil(self.rows).max(1);
                self.rows.min(height.saturating_sub((index % strips).checked_mul(self.rows)?))
            }
            None => self.rows,
        };
        self.row.checked_mul(rows)
    }
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a Bytes<'a>) -> Result<Self, Stop> {
        let mark = bytes.read(0, 4)?;
        let (little, big) = (mark.starts_with(b"II"), mark.contains(&b'+'));
        let mut walk = Self {
            bytes,
            little,
            big,
            first_page: 0,
            next: Vec::new(),
            first_piece: u64::MAX,
            pieces: 0,
            searched: 0,
            inked: false,
            doubtful: None,
        };
        walk.first_page = if big { walk.number(8, 8)? } else { walk.number(4, 4)? };
        Ok(walk)
    }

    /// A number of 1, 2, 4 or 8 bytes.
    fn number(&self, at: u64, width: u64) -> Result<u64, Stop> {
        let raw = self.bytes.read(at, width as usize)?;
        if (raw.len() as u64) < width {
            return missing("it ends within its list of pages");
        }
        Ok(self.decode(&raw))
    }

    fn decode(&self, raw: &[u8]) -> u64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.little { raw.iter().rev().fold(0, add) } else { raw.iter().fold(0, add) }
    }

    /// Something that the file must hold.
    fn needs(&self, at: u64, length: u64, what: &str) -> Result<(), Stop> {
        match at.checked_add(length) {
            Some(end) if end <= self.bytes.size => Ok(()),
            _ => Err(Stop::Missing(format!("{what} is beyond its end"))),
        }
    }

    fn pages(mut self) -> Result<Self, Stop> {
        if self.first_page == 0 {
            return missing("its list of pages is missing");
        }
        let mut seen = HashSet::new();
        self.next.push(self.first_page);
        while let Some(page) = self.next.pop() {
            if !seen.insert(page) {
                return missing("its list of pages runs in a circle");
            }
            if seen.len() + self.next.len() > MAX_PAGES {
                return missing("it has too many pages");
            }
            let following = self.page(page)?;
            self.next.extend((following != 0).then_some(following));
        }
        Ok(self)
    }

    /// Returns where the next page is; 0 after the last one.
    fn page(&mut self, at: u64) -> Result<u64, Stop> {
        let (count_width, entry_width, word) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.number(at, count_width)?;
        if count == 0 || count > MAX_ENTRIES {
            return missing("its list of pages makes no sense");
        }
        let start = at + count_width;
        self.needs(at, count_width + count * entry_width + word, "one of its pages")?;
        let entries = self.bytes.read(start, (count * entry_width) as usize)?;
        let mut tables = Vec::new();
        for (index, entry) in entries.chunks_exact(entry_width as usize).enumerate() {
            let table = self.values(entry, start + index as u64 * entry_width)?;
            let tag = self.decode(&entry[..2]) as u16;
            if is_blank(&entry[2..4]) || (table.count == 0 && (WIDTH..=TILE_LENGTHS).contains(&tag)) {
                return missing("one of its pages is still blank");
            }
            tables.push((tag, table));
        }
        self.pictures(&tables)?;
        self.number(start + count * entry_width, word)
    }

    /// The values of the entry at `at`: within it when they fit, else elsewhere.
    fn values(&self, entry: &[u8], at: u64) -> Result<Table, Stop> {
        let word = if self.big { 8 } else { 4 };
        let width = match self.decode(&entry[2..4]) {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 1,
        };
        let (count, inline) = entry[4..].split_at(word);
        let count = self.decode(count);
        let Some(length) = count.checked_mul(width) else { return missing("one of its tables makes no sense") };
        if length <= word as u64 {
            return Ok(Table { at: at + 4 + word as u64, width, count });
        }
        let elsewhere = self.decode(inline);
        self.needs(elsewhere, length, "one of its tables")?;
        Ok(Table { at: elsewhere, width, count })
    }

    fn pictures(&mut self, tables: &[(u16, Table)]) -> Result<(), Stop> {
        let find = |wanted: u16| tables.iter().find(|(tag, table)| *tag == wanted && table.count > 0).map(|(_, t)| *t);
        let first = |walk: &Self, tag: u16| find(tag).map(|table| walk.number(table.at, table.width)).transpose();
        if let Some(smaller) = find(SMALLER_PAGES) {
            let pages = self.numbers(smaller, 0, MAX_PAGES as u64)?;
            self.next.extend(pages.into_iter().filter(|page| *page != 0));
        }
        let compression = first(self, COMPRESSION)?.unwrap_or(1);
        let bits = first(self, BITS)?.unwrap_or(1);
        let separate = first(self, PLANES)? == Some(2);
        let samples = if separate { 1 } else { first(self, SAMPLES)?.unwrap_or(1) };
        let subsampled = first(self, COLOURS)? == Some(YCBCR);
        let plain = |width: Option<u64>, rows: Option<u64>, height: Option<u64>| {
            let row = width?.checked_mul(bits)?.checked_mul(samples)?.div_ceil(8);
            let rows = rows?;
            (compression == 1 && !subsampled && rows > 0).then_some(Plain { row, rows, height })
        };
        let height = first(self, HEIGHT)?;
        let strip_rows = match (first(self, STRIP_ROWS)?, height) {
            (Some(rows), Some(height)) => Some(rows.min(height)),
            (None, height) => height,
            (rows, None) => rows,
        };
        let strips = plain(first(self, WIDTH)?, strip_rows, height);
        let tiles = plain(first(self, TILE_WIDTH)?, first(self, TILE_HEIGHT)?, None);
        for (offsets, lengths, plain) in [
            (STRIP_OFFSETS, STRIP_LENGTHS, strips),
            (TILE_OFFSETS, TILE_LENGTHS, tiles),
            (OLD_JPEG_OFFSET, OLD_JPEG_LENGTH, None),
        ] {
            if let Some(offsets) = find(offsets) {
                self.picture(offsets, find(lengths), &Layout { compression, plain })?;
            }
        }
        Ok(())
    }

    /// Every strip or tile must be within the file, and be written. Old writers leave the lengths out.
    fn picture(&mut self, offsets: Table, lengths: Option<Table>, layout: &Layout) -> Result<(), Stop> {
        self.pieces = self.pieces.saturating_add(offsets.count);
        if self.pieces > MAX_PIECES || lengths.is_some_and(|lengths| lengths.count != offsets.count) {
            return missing("its table of pictures makes no sense");
        }
        // 8,192 numbers of at most eight bytes are one chunk.
        let step = CHUNK as u64 / 8;
        let (mut done, mut last) = (0, None);
        while done < offsets.count {
            let starts = self.numbers(offsets, done, step)?;
            let sizes = lengths.map(|lengths| self.numbers(lengths, done, step)).transpose()?;
            for (index, start) in starts.iter().enumerate() {
                let stated = sizes.as_ref().and_then(|sizes| sizes.get(index)).copied();
                let blank = self.piece(*start, stated, done + index as u64, layout)?;
                if last.is_none_or(|(at, _)| at <= *start) {
                    last = Some((*start, blank));
                }
            }
            done += step;
        }
        if let Some((_, blank)) = last.filter(|(_, blank)| layout.compression == 1 && *blank >= DOUBTFUL) {
            self.doubtful = Some(self.doubtful.unwrap_or(0).max(blank));
        }
        Ok(())
    }

    /// Looks at a strip or tile; returns how many zeros it ends with.
    fn piece(&mut self, start: u64, stated: Option<u64>, index: u64, layout: &Layout) -> Result<u64, Stop> {
        if start == 0 {
            return missing("its table of pictures is still blank");
        }
        let size = match (stated, layout.plain.and_then(|plain| plain.size_of(index))) {
            (None | Some(0), Some(size)) => size,
            // Some writers state more than there is to a plain picture, and readers do not look.
            (Some(stated), Some(size)) => stated.min(size),
            // Nobody says where it ends: at the end of the file at the latest.
            (None, None) => self.bytes.size.saturating_sub(start).max(1),
            (Some(0), None) => return missing("its table of pictures is still blank"),
            (Some(stated), None) => stated,
        };
        self.needs(start, size, "a part of its picture")?;
        self.first_piece = self.first_piece.min(start);
        let most = most_zeros(layout.compression).min(size.saturating_sub(1));
        let look = match (layout.compression, self.inked) {
            (1, false) => size,
            (1, true) => size.min(LOOK),
            _ => most + 1,
        };
        self.searched = self.searched.saturating_add(look);
        if look > LOOK && self.searched > self.bytes.size.saturating_mul(2) {
            return missing("its table of pictures makes no sense");
        }
        let end = start + size;
        let blank = self.bytes.blank_before(end - look, end)?;
        self.inked |= blank < look;
        if layout.compression != 1 && blank > most {
            return missing("a part of its picture is still blank");
        }
        Ok(blank)
    }

    fn numbers(&self, table: Table, skip: u64, most: u64) -> Result<Vec<u64>, Stop> {
        let count = most.min(table.count - skip);
        let raw = self.bytes.read(table.at + skip * table.width, (count * table.width) as usize)?;
        if (raw.len() as u64) < count * table.width {
            return missing("it ends within one of its tables");
        }
        Ok(raw.chunks_exact(table.width as usize).map(|number| self.decode(number)).collect())
    }
}

/// The zeros that compressed data can end with, padding included; more were never written.
fn most_zeros(compression: u64) -> u64 {
    match compression {
        // PackBits: a literal run has at most 128 bytes, and simple writers use no other.
        32773 => 128 + 16,
        // CCITT: no code has more than eleven zeros in a row; what follows the last one is padding.
        2..=4 => 16,
        // LZW: more than two equal bytes become one code. Deflate: a checksum ends it. JPEG: an end mark does.
        5..=8 | 32946 => 16,
        // Others end with arithmetic codes or checksums.
        _ => 64,
    }
}
