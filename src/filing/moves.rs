//! Moves a file without ever replacing another, and without ever having it in neither place.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use rustix::fs::{Timespec, Timestamps};

use super::names::numbered;
use crate::{
    model::file_state::FileState,
    platform::{
        dir::{Access, Dir, Info, Kind, Spot, absent, cannot_rename, is_another_filesystem},
        durable::{self, TEMPORARY},
        effect,
    },
};

/// So many files are put back under one name, and then that is an error.
const MOST_PUT_BACK: u32 = 1000;

/// How the name of an original begins whose copy is durable and that is about to be removed; its own name follows.
/// Not removed at the next start like other temporary files: see `filing/leftovers.rs`.
const LEAVING: &str = ".chartdrop-leaving-";

/// What became of a file that was to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is at its new place, now or since an earlier try.
    Moved,
    /// Nothing has its name any more.
    Gone,
    /// Its name leads to another file, or to another state of it. That one stays.
    Changed,
}

/// Moves `from` to `to` and makes that durable. `AlreadyExists` when `to` is taken; `from` then stays.
pub fn take(from: &Spot, to: &Spot, expected: Option<&FileState>, access: &Access) -> io::Result<Fate> {
    let Some(found) = from.stat()? else { return arrived(to, expected, access) };
    if let Some(expected) = expected
        && !is_expected(expected, &found.state, from)?
        // A second name that an ended try has given it moved its change time.
        && !(expected.same_after_rename(&found.state) && has_name(to, &found.state)?)
    {
        return Ok(Fate::Changed);
    }
    match found.kind {
        Kind::File => take_file(from, to, expected, access),
        Kind::Link | Kind::Folder | Kind::Other => take_other(from, to, &found),
    }
}

/// Whether a file is the one that was identified, in the state in which it was sent.
///
/// On shares inode numbers are not kept, and a share that was mounted again has another device.
fn is_expected(expected: &FileState, found: &FileState, spot: &Spot) -> io::Result<bool> {
    if expected.same_content_state(found) {
        return Ok(true);
    }
    Ok(expected.same_on_share(found) && (expected.dev != found.dev || spot.folder().network_filesystem()?.is_some()))
}

/// Whether a name leads to this very file.
fn has_name(spot: &Spot, state: &FileState) -> io::Result<bool> {
    Ok(spot.stat()?.is_some_and(|there| there.state.is_same_file(state)))
}

/// Nothing has the name: whether an earlier try has moved it.
pub fn arrived(to: &Spot, expected: Option<&FileState>, access: &Access) -> io::Result<Fate> {
    let (Some(expected), Some(there)) = (expected, to.stat()?) else { return Ok(Fate::Gone) };
    if there.kind != Kind::File || !expected.same_size_and_mtime(&there.state) {
        return Ok(Fate::Gone);
    }
    access.apply(&to.open()?, access.mode)?;
    Ok(Fate::Moved)
}

fn take_file(from: &Spot, to: &Spot, expected: Option<&FileState>, access: &Access) -> io::Result<Fate> {
    // Held open: whatever happens to the name, this is the file that was looked at.
    let Some(file) = absent(from.open())? else { return Ok(Fate::Gone) };
    let original = Info::of_file(&file)?;
    if let Some(expected) = expected
        && !is_expected(expected, &original.state, from)?
        && !(expected.same_after_rename(&original.state) && has_name(to, &original.state)?)
    {
        return Ok(Fate::Changed);
    }
    let moving = Moving { from, to, file: &file, original: original.state, access };
    if original.names > 1 {
        // Of a try that was ended before the first name went.
        if to.stat()?.is_some_and(|there| there.state.is_same_file(&original.state)) {
            return moving.let_original_go();
        }
        tracing::warn!(
            "a document has another name elsewhere (a hard link): it is copied into the archive, so that nobody changes the archive through that name"
        );
        return moving.copy();
    }
    match from.rename_to(to) {
        Ok(()) if moving.is_original(to)? => {
            access.apply(&file, access.mode)?;
            moving.sync()?;
            Ok(Fate::Moved)
        }
        // Replaced between the look and the move: the new file is looked at on its own.
        Ok(()) => {
            put_back(to, from)?;
            moving.sync()?;
            Ok(Fate::Changed)
        }
        Err(error) if is_another_filesystem(&error) => moving.copy(),
        Err(error) if cannot_rename(&error) => moving.link(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Fate::Gone),
        Err(error) => Err(error),
    }
}

/// A file on its way, held open.
struct Moving<'a> {
    from: &'a Spot,
    to: &'a Spot,
    file: &'a File,
    original: FileState,
    access: &'a Access,
}

impl Moving<'_> {
    fn sync(&self) -> io::Result<()> {
        self.to.folder().sync()?;
        self.from.folder().sync()
    }

    /// Whether a name leads to the file that is held open. Its change time may have moved with its name; where its numbers
    /// have moved as well (shares, overlays), its bytes decide.
    fn is_original(&self, spot: &Spot) -> io::Result<bool> {
        let Some(found) = spot.stat()? else { return Ok(false) };
        if found.kind != Kind::File || !self.original.same_size_and_mtime(&found.state) {
            return Ok(false);
        }
        if self.original.is_same_file(&found.state) {
            return Ok(true);
        }
        match absent(spot.open())? {
            Some(other) => same_bytes(self.file, &other),
            None => Ok(false),
        }
    }

    /// Without `RENAME_NOREPLACE`: a hard link does not replace either. Tried under a temporary name first, for on some
    /// filesystems a link is a file of its own (sshfs, mergerfs, unionfs-fuse), and then only a copy can be told apart from
    /// somebody else's file.
    fn link(&self) -> io::Result<Fate> {
        let trial = durable::temporary(self.to);
        // The link moves the change time, and what a share remembers of it comes late.
        let copy = || self.copy_while(FileState::same_size_and_mtime);
        if self.from.link_to(&trial).is_err() {
            return copy();
        }
        let linked = trial.stat().map(|found| found.is_some_and(|found| found.state.is_same_file(&self.original)));
        let result = match linked {
            Ok(true) => trial.link_to(self.to).map(|()| true),
            Ok(false) => Ok(false),
            Err(error) => Err(error),
        };
        trial.unlink()?;
        match result? {
            true => {
                self.access.apply(self.file, self.access.mode)?;
                self.let_original_go()
            }
            false => copy(),
        }
    }

    /// The copy is whole and durable under its final name before the original goes.
    fn copy(&self) -> io::Result<Fate> {
        self.copy_while(FileState::same_on_share)
    }

    /// The same; `is_same` says whether two looks, before and after, saw the same bytes.
    fn copy_while(&self, is_same: fn(&FileState, &FileState) -> bool) -> io::Result<Fate> {
        let before = Info::of_file(self.file)?.state;
        if !before.same_after_rename(&self.original) {
            return Ok(Fate::Changed);
        }
        let copied = durable::create(self.to, self.access, |target| {
            copy_bytes(self.file, target)?;
            let Some(named) = self.from.stat()? else { return Err(io::ErrorKind::NotFound.into()) };
            let after = Info::of_file(self.file)?.state;
            // Written to, or replaced, while it was copied.
            if !is_same(&after, &before) || !is_same(&named.state, &after) {
                return Err(io::ErrorKind::NotFound.into());
            }
            effect::set_times(target, &times(&self.original))
        });
        match copied {
            Ok(()) => self.let_original_go(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(if self.from.stat()?.is_some() { Fate::Changed } else { Fate::Gone })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the original. Between a look at a name and its removal another file may take the name, and would be lost:
    /// so it gets a name that nobody else uses, is looked at there, and goes back when it is another.
    fn let_original_go(&self) -> io::Result<Fate> {
        self.to.folder().sync()?;
        let leaving = self.from.beside(&leaving_name(self.from.name()));
        if absent(self.from.rename_over(&leaving))?.is_some() {
            if self.is_original(&leaving)? {
                // What cannot be removed now is removed at the next start.
                leaving.unlink().ok();
            } else {
                put_back(&leaving, self.from)?;
            }
            self.from.folder().sync()?;
        }
        Ok(Fate::Moved)
    }
}

/// A link, a pipe or a folder that is too deep: its name moves, and nothing is read or followed.
fn take_other(from: &Spot, to: &Spot, found: &Info) -> io::Result<Fate> {
    match from.rename_to(to) {
        Ok(()) => {
            if to.stat()?.is_none_or(|there| there.kind != found.kind || there.state.size != found.state.size) {
                put_back(to, from)?;
                return Ok(Fate::Changed);
            }
        }
        Err(error) if found.kind == Kind::Link && (is_another_filesystem(&error) || cannot_rename(&error)) => {
            to.make_link(&from.read_link()?)?;
            to.folder().sync()?;
            from.unlink()?;
        }
        Err(error) if found.kind == Kind::Other && is_another_filesystem(&error) => {
            return Err(io::Error::other("only plain files can be moved to another filesystem"));
        }
        Err(error) if cannot_rename(&error) => match to.stat()? {
            Some(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => from.rename_over(to)?,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fate::Gone),
        Err(error) => return Err(error),
    }
    to.folder().sync()?;
    from.folder().sync()?;
    Ok(Fate::Moved)
}

/// Gives a file its own name again, or `name (2).ext` when that is taken by now. Never replaces.
pub fn put_back(from: &Spot, to: &Spot) -> io::Result<()> {
    for n in 1..=MOST_PUT_BACK {
        let free = to.beside(&numbered(to.name(), n));
        match rename_or_link(from, &free) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Taken away by its owner meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Renames without replacing, where the filesystem can in any way.
pub fn rename_or_link(from: &Spot, to: &Spot) -> io::Result<()> {
    match from.rename_to(to) {
        Err(error) if cannot_rename(&error) => match from.link_to(to) {
            Ok(()) => from.unlink(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            Err(_) => match to.stat()? {
                Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
                None => from.rename_over(to),
            },
        },
        result => result,
    }
}

/// The name of an original that is about to be removed. One that is too long for its own name in it loses its end.
fn leaving_name(name: &OsStr) -> OsString {
    let mark = uuid::Uuid::new_v4().simple().to_string();
    let start = format!("{LEAVING}{}-", &mark[..8]);
    let rest = &name.as_bytes()[..name.len().min(super::names::NAME_MAX - start.len())];
    OsString::from_vec([start.as_bytes(), rest].concat())
}

/// The name that an original had which was about to be removed.
pub fn name_of_leaving(name: &OsStr) -> Option<OsString> {
    let rest = name.as_bytes().strip_prefix(LEAVING.as_bytes())?;
    let own = rest.get(9..).filter(|own| !own.is_empty())?;
    Some(OsString::from_vec(own.to_vec()))
}

/// Whether a file of this name is one that was never finished.
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}

/// By position: the file is held open by more than one, and has one cursor.
fn copy_bytes(from: &File, to: &mut File) -> io::Result<()> {
    let (mut buffer, mut at) = (vec![0; 128 * 1024], 0);
    loop {
        match effect::read_at(from, &mut buffer, at)? {
            0 => return Ok(()),
            n => {
                effect::write_all(to, &buffer[..n])?;
                at += n as u64;
            }
        }
    }
}

/// Whether two open files hold the same bytes.
pub fn same_bytes(a: &File, b: &File) -> io::Result<bool> {
    let (mut left, mut right, mut at) = (vec![0; 128 * 1024], vec![0; 128 * 1024], 0);
    loop {
        let n = effect::read_at(a, &mut left, at)?;
        let mut read = 0;
        while read < n {
            match effect::read_at(b, &mut right[read..n], at + read as u64)? {
                0 => return Ok(false),
                more => read += more,
            }
        }
        if n == 0 {
            return Ok(effect::read_at(b, &mut right[..1], at)? == 0);
        }
        if left[..n] != right[..n] {
            return Ok(false);
        }
        at += n as u64;
    }
}

fn times(state: &FileState) -> Timestamps {
    const SECOND: i128 = 1_000_000_000;
    let time = Timespec {
        tv_sec: state.mtime.div_euclid(SECOND).try_into().unwrap_or_default(),
        tv_nsec: state.mtime.rem_euclid(SECOND).try_into().unwrap_or_default(),
    };
    Timestamps { last_access: time, last_modification: time }
}

/// Makes the folder `rel` beneath `root`. A link in the way is never followed: it gets another name.
pub fn make_folder(root: &Dir, rel: &std::path::Path, access: &Access) -> io::Result<Dir> {
    match root.make(rel, access) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            move_links_aside(root, rel)?;
            root.make(rel, access)
        }
        result => result,
    }
}

fn move_links_aside(root: &Dir, rel: &std::path::Path) -> io::Result<()> {
    let mut folder = root.clone();
    for name in rel.iter() {
        let spot = folder.name(name);
        match spot.stat()?.map(|found| found.kind) {
            Some(Kind::Folder) => folder = folder.sub(name.as_ref())?,
            Some(Kind::Link) => {
                let aside = [name.as_bytes(), b".link"].concat();
                return put_back(&spot, &spot.beside(OsStr::from_bytes(&aside)));
            }
            Some(Kind::File | Kind::Other) | None => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, path::Path};

    use super::*;

    const ACCESS: Access = Access { group: None, mode: 0o640 };

    struct Room {
        dir: tempfile::TempDir,
        from: Spot,
        to: Spot,
    }

    /// `from` holds a document; `to` is free.
    fn room() -> Room {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("from"), "ours").unwrap();
        let folder = Dir::open(dir.path()).unwrap();
        Room { dir, from: folder.name(OsStr::new("from")), to: folder.name(OsStr::new("to")) }
    }

    impl Room {
        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join(name)
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.path(name)).ok()
        }

        fn state(&self) -> FileState {
            self.from.stat().unwrap().unwrap().state
        }

        fn names(&self) -> Vec<OsString> {
            let mut names: Vec<_> = self.from.folder().entries().unwrap().into_iter().map(|(name, _)| name).collect();
            names.sort();
            names
        }

        fn replace(&self, bytes: &str) {
            fs::write(self.path("other"), bytes).unwrap();
            fs::rename(self.path("other"), self.path("from")).unwrap();
        }
    }

    #[test]
    fn a_move_never_replaces() {
        let room = room();
        fs::write(room.path("to"), "old").unwrap();
        let moved = take(&room.from, &room.to, None, &ACCESS);
        assert_eq!(moved.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((room.read("from"), room.read("to")), (Some("ours".into()), Some("old".into())));
        let made = durable::create(&room.to, &ACCESS, |file| file.write_all(b"newer"));
        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(room.names(), ["from", "to"], "no temporary file is left");
    }

    #[test]
    fn a_file_that_took_the_place_of_ours_is_left_alone() {
        for bytes in ["theirs", "your"] {
            let room = room();
            let ours = room.state();
            room.replace(bytes);
            assert_eq!(take(&room.from, &room.to, Some(&ours), &ACCESS).unwrap(), Fate::Changed);
            assert_eq!((room.read("from").as_deref(), room.read("to")), (Some(bytes), None));
        }
    }

    #[test]
    fn an_edit_of_the_same_size_that_keeps_the_time_is_noticed() {
        let room = room();
        let (sent, time) = (room.state(), fs::metadata(room.path("from")).unwrap().modified().unwrap());
        while room.state().ctime == sent.ctime {
            fs::write(room.path("from"), "your").unwrap();
            fs::File::options().append(true).open(room.path("from")).unwrap().set_modified(time).unwrap();
        }
        assert!(room.state().same_after_rename(&sent));
        assert_eq!(take(&room.from, &room.to, Some(&sent), &ACCESS).unwrap(), Fate::Changed);
        assert!(room.read("from").is_some() && room.read("to").is_none());
    }

    #[test]
    fn a_move_that_is_repeated_says_that_it_is_done() {
        let room = room();
        let ours = room.state();
        for _ in 0..2 {
            assert_eq!(take(&room.from, &room.to, Some(&ours), &ACCESS).unwrap(), Fate::Moved);
        }
        assert_eq!((room.read("from"), room.read("to")), (None, Some("ours".into())));
    }

    #[test]
    fn a_file_with_another_name_elsewhere_is_copied() {
        let room = room();
        fs::hard_link(room.path("from"), room.path("kept")).unwrap();
        let ours = room.state();
        assert_eq!(take(&room.from, &room.to, Some(&ours), &ACCESS).unwrap(), Fate::Moved);
        fs::write(room.path("kept"), "changed later").unwrap();
        assert_eq!((room.read("from"), room.read("to")), (None, Some("ours".into())));
        assert_eq!(room.names(), ["kept", "to"]);
    }

    #[test]
    fn a_file_that_was_linked_and_not_yet_unlinked_loses_its_first_name() {
        let room = room();
        fs::hard_link(room.path("from"), room.path("to")).unwrap();
        assert_eq!(take(&room.from, &room.to, None, &ACCESS).unwrap(), Fate::Moved);
        assert_eq!(room.names(), ["to"]);
    }

    /// Where a rename is not possible, by a link and by a copy.
    fn other_ways(test: impl Fn(Room, fn(&Moving<'_>) -> io::Result<Fate>)) {
        test(room(), |moving| moving.link());
        test(room(), |moving| moving.copy());
    }

    #[test]
    fn the_other_ways_move_as_well() {
        other_ways(|room, way| {
            let (file, original) = (room.from.open().unwrap(), room.state());
            let moving = Moving { from: &room.from, to: &room.to, file: &file, original, access: &ACCESS };
            assert_eq!(way(&moving).unwrap(), Fate::Moved);
            assert_eq!((room.read("to"), room.names()), (Some("ours".into()), vec!["to".into()]));
            let there = room.to.stat().unwrap().unwrap();
            assert_eq!((there.mode, there.state.mtime), (0o640, original.mtime));
        });
    }

    #[test]
    fn a_file_that_comes_while_ours_is_moved_in_another_way_stays() {
        other_ways(|room, way| {
            let (file, original) = (room.from.open().unwrap(), room.state());
            room.replace("theirs");
            let moving = Moving { from: &room.from, to: &room.to, file: &file, original, access: &ACCESS };
            assert_eq!(way(&moving).unwrap(), Fate::Changed);
            assert_eq!((room.read("from"), room.names()), (Some("theirs".into()), vec!["from".into()]));
        });
    }

    #[test]
    fn a_file_that_comes_before_the_original_goes_stays() {
        let room = room();
        let (file, original) = (room.from.open().unwrap(), room.state());
        fs::write(room.path("to"), "ours").unwrap();
        room.replace("theirs");
        let moving = Moving { from: &room.from, to: &room.to, file: &file, original, access: &ACCESS };
        assert_eq!(moving.let_original_go().unwrap(), Fate::Moved);
        assert_eq!((room.read("from"), room.read("to")), (Some("theirs".into()), Some("ours".into())));
        assert_eq!(room.names(), ["from", "to"]);
    }

    #[test]
    fn what_is_put_back_replaces_nothing() {
        let room = room();
        fs::write(room.path("to.pdf"), "came meanwhile").unwrap();
        put_back(&room.from, &room.from.beside(OsStr::new("to.pdf"))).unwrap();
        assert_eq!(room.read("to (2).pdf"), Some("ours".into()));
    }

    #[test]
    fn the_name_of_what_is_about_to_go_is_known_again() {
        for name in ["scan.pdf", "-", &"x".repeat(255)] {
            let leaving = leaving_name(OsStr::new(name));
            assert!(leaving.len() <= 255 && is_temporary(&leaving));
            let own = name_of_leaving(&leaving).unwrap();
            assert!(name.starts_with(own.to_str().unwrap()));
        }
        assert_eq!(name_of_leaving(OsStr::new(".chartdrop-abc.tmp")), None);
    }

    #[test]
    fn a_link_that_is_in_the_way_of_a_folder_is_moved_aside_and_a_file_is_not() {
        let room = room();
        std::os::unix::fs::symlink("1001", room.path("1001")).unwrap();
        make_folder(room.from.folder(), Path::new("1001/a"), &ACCESS).unwrap();
        assert!(room.path("1001/a").is_dir() && room.path("1001.link").is_symlink());
        let made = make_folder(room.from.folder(), Path::new("from/a"), &ACCESS);
        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
