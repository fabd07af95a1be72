//! Where a TIFF ends: behind everything that its pages refer to, which may lie in any order.

use std::{collections::HashSet, io};

use super::{
    End, TRAILING,
    bytes::{Bytes, CHUNK},
};

/// Pages of one file.
const MAX_PAGES: usize = 4096;
/// Entries of one page; writers use about twenty. All of them fit into one chunk.
const MAX_ENTRIES: u64 = 1024;
/// Strips or tiles of the whole file, so that pages that share a table cannot make us read it for ever.
const MAX_PIECES: u64 = 1_000_000;

const COMPRESSION: u16 = 259;
const STRIP_OFFSETS: u16 = 273;
const STRIP_LENGTHS: u16 = 279;
const TILE_OFFSETS: u16 = 324;
const TILE_LENGTHS: u16 = 325;
const OLD_JPEG_OFFSET: u16 = 513;
const OLD_JPEG_LENGTH: u16 = 514;

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

pub(super) fn end(bytes: &Bytes<'_>, blank_tail: u64) -> io::Result<End> {
    match Walk::new(bytes).and_then(Walk::pages) {
        Ok(walk) => {
            // Black is zero: only an uncompressed picture may end so, and not be nothing else.
            let written = bytes.size - blank_tail;
            let too_blank = walk.compressed || written <= walk.first_piece || bytes.size - walk.end > TRAILING;
            if blank_tail > TRAILING && too_blank {
                return End::missing(format!("its last {blank_tail} bytes are still blank"));
            }
            // What nothing refers to is what editors leave behind.
            Ok(End::At(bytes.size))
        }
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
    /// Behind everything seen so far.
    end: u64,
    /// The first byte of any picture.
    first_piece: u64,
    pieces: u64,
    compressed: bool,
}

/// A table of numbers somewhere in the file.
#[derive(Clone, Copy)]
struct Table {
    at: u64,
    width: u64,
    count: u64,
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
            end: if big { 16 } else { 8 },
            first_piece: u64::MAX,
            pieces: 0,
            compressed: false,
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

    /// Takes note that something lies at `at`.
    fn extend(&mut self, at: u64, length: u64, summary: &str) -> Result<(), Stop> {
        match at.checked_add(length) {
            Some(end) if end <= self.bytes.size => {
                self.end = self.end.max(end);
                Ok(())
            }
            _ => Err(Stop::Missing(format!("{summary} lies beyond its end"))),
        }
    }

    fn pages(mut self) -> Result<Self, Stop> {
        let mut seen = HashSet::new();
        let mut page = self.first_page;
        while page != 0 {
            if !seen.insert(page) {
                return missing("its list of pages runs in a circle");
            }
            if seen.len() > MAX_PAGES {
                return missing("it has too many pages");
            }
            page = self.page(page)?;
        }
        if seen.is_empty() { missing("its list of pages is missing") } else { Ok(self) }
    }

    /// Follows one page's entries; returns where the next page is, 0 after the last.
    fn page(&mut self, at: u64) -> Result<u64, Stop> {
        let (count_width, entry_width, word) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.number(at, count_width)?;
        if count == 0 || count > MAX_ENTRIES {
            return missing("its list of pages makes no sense");
        }
        let start = at + count_width;
        self.extend(at, count_width + count * entry_width + word, "one of its pages")?;
        let entries = self.bytes.read(start, (count * entry_width) as usize)?;
        let mut tables = Vec::new();
        for (index, entry) in entries.chunks_exact(entry_width as usize).enumerate() {
            let table = self.values(entry, start + index as u64 * entry_width)?;
            tables.push((self.decode(&entry[..2]) as u16, table));
        }
        self.pictures(&tables)?;
        self.number(start + count * entry_width, word)
    }

    /// The values of the entry at `at`: within it when they fit, else elsewhere.
    fn values(&mut self, entry: &[u8], at: u64) -> Result<Table, Stop> {
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
        self.extend(elsewhere, length, "one of its tables")?;
        Ok(Table { at: elsewhere, width, count })
    }

    fn pictures(&mut self, tables: &[(u16, Table)]) -> Result<(), Stop> {
        let find = |wanted: u16| tables.iter().find(|(tag, table)| *tag == wanted && table.count > 0).map(|(_, t)| *t);
        if let Some(compression) = find(COMPRESSION) {
            self.compressed |= self.number(compression.at, compression.width)? != 1;
        }
        for (offsets, lengths) in
            [(STRIP_OFFSETS, STRIP_LENGTHS), (TILE_OFFSETS, TILE_LENGTHS), (OLD_JPEG_OFFSET, OLD_JPEG_LENGTH)]
        {
            if let Some(offsets) = find(offsets) {
                self.picture(offsets, find(lengths))?;
            }
        }
        Ok(())
    }

    /// Every strip or tile must lie within the file. Old writers leave the lengths out.
    fn picture(&mut self, offsets: Table, lengths: Option<Table>) -> Result<(), Stop> {
        self.pieces = self.pieces.saturating_add(offsets.count);
        if self.pieces > MAX_PIECES || lengths.is_some_and(|lengths| lengths.count != offsets.count) {
            return missing("its table of pictures makes no sense");
        }
        // 8,192 numbers of at most eight bytes are one chunk.
        let step = CHUNK as u64 / 8;
        let mut done = 0;
        while done < offsets.count {
            let starts = self.numbers(offsets, done, step)?;
            let sizes = lengths.map(|lengths| self.numbers(lengths, done, step)).transpose()?;
            for (index, start) in starts.iter().enumerate() {
                let size = sizes.as_ref().and_then(|sizes| sizes.get(index)).copied().unwrap_or(1);
                // A sparse file's missing tiles are written as nothing at nowhere.
                if size > 0 {
                    self.extend(*start, size, "a part of its picture")?;
                    self.first_piece = self.first_piece.min(*start);
                }
            }
            done += step;
        }
        Ok(())
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
