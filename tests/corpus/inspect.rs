//! Reads names of files, one a line, and says what becomes of each: whole, cut, and cut within its full size.
//!
//! Prints a line for each file: its name, then the words for it whole, cut at 50 % and 99 %, and with zeros from 50 % and 99 %
//! on, separated by tabs.

#![allow(clippy::unwrap_used, reason = "a tool of the tests")]

use std::{fs::File, io::Write, os::unix::fs::FileExt, path::Path};

use chartdrop::inbox::{Inspection, inspect};

fn words(file: &File, size: u64, name: &Path) -> String {
    let types = [("heic".to_owned(), "image/heic".to_owned())].into();
    match inspect(file, size, name.file_name().unwrap_or_default(), &types) {
        Ok(Inspection::Whole(_)) => "accepted".to_owned(),
        Ok(Inspection::Doubtful { .. }) => "accepted later".to_owned(),
        Ok(Inspection::CutOff { detail, .. }) => format!("waits: {detail}"),
        Ok(Inspection::Locked(detail)) => format!("locked: {detail}"),
        Ok(other) => format!("refused: {other:?}"),
        Err(error) => format!("error: {error}"),
    }
}

fn main() {
    for name in std::io::stdin().lines() {
        let name = name.unwrap();
        let path = Path::new(&name);
        let bytes = std::fs::read(path).unwrap();
        let size = bytes.len() as u64;
        let mut copy = File::from(rustix::fs::memfd_create("copy", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        copy.write_all(&bytes).unwrap();
        let mut said =
            vec![words(&copy, size, path), words(&copy, size / 2, path), words(&copy, size * 99 / 100, path)];
        let mut blanked = Vec::new();
        for percent in [99, 50] {
            let from = bytes.len() * percent / 100;
            copy.write_all_at(&vec![0; bytes.len() - from], from as u64).unwrap();
            blanked.push(words(&copy, size, path));
        }
        said.extend(blanked.into_iter().rev());
        println!("{name}\t{}", said.join("\t"));
    }
}
