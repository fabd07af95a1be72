//! One of the people who drop documents, with their habits: slowly, twice, into the wrong folder, and on second thoughts.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{
    books::{Books, UNSENT, body, hash, now},
    plan::{Plan, Rng},
};

pub const SYSTEM: &str = "urn:redox:health-one:MR";
/// Begins every name that staff give; no log may hold it.
pub const MARK: &str = "zz";

const SLOWLY: [&str; 3] =
    ["copied slowly", "copied slowly, opened for every piece", "copied slowly, with its size first"];

/// Nobody brings whole folders once they have given so many names: every scan looks into each of them.
const FOLDERS: usize = 5000;

/// Documents that one of them remembers.
const MEMORY: usize = 200;

/// A file of theirs in the inbox, unless it has been filed meanwhile.
#[derive(Clone)]
struct Live {
    id: usize,
    stay: usize,
    folder: String,
    name: String,
}

/// What staff go by.
#[derive(Default)]
pub struct Tally {
    /// Documents dropped by all of them.
    pub dropped: AtomicUsize,
    /// Documents that wait in the inbox, as last counted.
    pub backlog: AtomicUsize,
    /// How often the daemon was killed.
    pub kills: AtomicUsize,
    /// Nobody drops any more, whatever the plan says.
    pub is_called_off: AtomicBool,
}

pub struct Staff<'a> {
    pub plan: &'a Plan,
    pub root: &'a Path,
    pub books: &'a Books,
    pub tally: &'a Tally,
    me: usize,
    rng: Rng,
    names: usize,
    live: Vec<Live>,
    /// Folder and name of what may come back in failed.
    past: Vec<(String, String)>,
}

#[derive(Clone, Copy)]
enum Action {
    Drop,
    DropSlowly,
    DropHalf,
    DropWithSidecar,
    DropWithBadSidecar,
    DropWrongKind,
    DropAgain,
    DropFolder,
    DropIntoWrongFolder,
    Replace,
    Rename,
    Move,
    Delete,
    PutBack,
    RenameFolder,
    SaveSidecar,
}

/// The patient whose folder it is, by our way of naming folders.
pub fn patient_of(folder: &str) -> usize {
    folder.get(3..7).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{folder} is none of ours"))
}

pub fn identifier(patient: usize) -> String {
    format!("{patient:010}")
}

fn folder_of(patient: usize) -> String {
    format!("{MARK}p{patient:04}")
}

impl<'a> Staff<'a> {
    pub fn new(plan: &'a Plan, root: &'a Path, books: &'a Books, tally: &'a Tally, me: usize) -> Self {
        let rng = Rng::of(plan.seed, 10 + me as u64);
        Self { plan, root, books, tally, me, rng, names: 0, live: Vec::new(), past: Vec::new() }
    }

    /// Until all have dropped what there is to drop.
    pub fn work(mut self) {
        while !self.is_over() {
            if self.tally.backlog.load(Ordering::Relaxed) >= self.plan.backlog {
                sleep(Duration::from_millis(5));
                continue;
            }
            let rare = if self.plan.long { 1 } else { 3 };
            let action = self.rng.weighted(&[
                (if self.plan.long { 150 } else { 30 }, Action::Drop),
                (rare, Action::DropSlowly),
                (rare, Action::DropHalf),
                (6, Action::DropWithSidecar),
                (1, Action::DropWithBadSidecar),
                (1, Action::DropWrongKind),
                (3, Action::DropAgain),
                (if self.names < FOLDERS { 2 } else { 0 }, Action::DropFolder),
                (4, Action::DropIntoWrongFolder),
                (4, Action::Replace),
                (3, Action::Rename),
                (4, Action::Move),
                (3, Action::Delete),
                (8, Action::PutBack),
                (usize::from(!self.plan.long), Action::RenameFolder),
                (4, Action::SaveSidecar),
            ]);
            self.act(action);
            self.live.drain(..self.live.len().saturating_sub(MEMORY));
            self.past.drain(..self.past.len().saturating_sub(MEMORY));
            if !self.plan.long {
                sleep(self.rng.pause(80));
            }
        }
    }

    /// In a long world they go on until the daemon was killed as often as planned: a kill needs work.
    fn is_over(&self) -> bool {
        let tally = self.tally;
        let is_dropped = tally.dropped.load(Ordering::Relaxed) >= self.plan.files;
        let is_killed = !self.plan.long || tally.kills.load(Ordering::Relaxed) >= self.plan.kills;
        (is_dropped && is_killed) || tally.is_called_off.load(Ordering::Relaxed)
    }

    fn act(&mut self, action: Action) {
        let patient = self.rng.below(self.plan.patients);
        match action {
            Action::Drop => drop(self.drop_new(patient, "dropped")),
            Action::DropSlowly => self.drop_slowly(patient),
            Action::DropHalf => self.drop_half(patient),
            Action::DropWithSidecar => self.drop_with_sidecar(patient, false),
            Action::DropWithBadSidecar => self.drop_with_sidecar(patient, true),
            Action::DropWrongKind => {
                let (id, bytes) = self.new_document(false);
                let name = format!("{}{UNSENT}", self.fresh_name());
                self.drop_whole(id, &bytes, patient, &name, "dropped, of a kind that is not sent");
            }
            Action::DropAgain => self.drop_again(patient),
            Action::DropFolder => self.drop_folder(patient),
            Action::DropIntoWrongFolder => {
                if let Some(live) = self.drop_new(patient, "dropped into the wrong folder") {
                    let settle = self.plan.settle.as_millis() as usize;
                    sleep(self.rng.pause(settle * 3 / 2));
                    self.move_to(&live, (patient + 1) % self.plan.patients);
                }
            }
            Action::Replace => self.replace(),
            Action::Rename => {
                if let Some(live) = self.take_live() {
                    let (name, folder) = (self.name_like(&live.name), live.folder.clone());
                    self.rename(live, folder, name, "renamed");
                }
            }
            Action::Move => {
                if let Some(live) = self.take_live() {
                    self.move_to(&live, patient);
                }
            }
            Action::Delete => self.delete(),
            Action::PutBack => self.put_back(),
            Action::RenameFolder => self.rename_folder(patient),
            Action::SaveSidecar => self.save_sidecar(),
        }
    }

    fn inbox(&self, folder: &str, name: &str) -> PathBuf {
        self.root.join("inbox").join(folder).join(name)
    }

    fn fresh_name(&mut self) -> String {
        self.names += 1;
        format!("{MARK}-{}-{}", self.me, self.names)
    }

    /// One name in four is a name that was there before.
    fn any_name(&mut self, is_text: bool) -> String {
        let ending = if is_text { "txt" } else { "pdf" };
        match self.rng.chance(25) {
            true => format!("{MARK}-{}-scan{}.{ending}", self.me, self.rng.below(4)),
            false => format!("{}.{ending}", self.fresh_name()),
        }
    }

    fn name_like(&mut self, name: &str) -> String {
        let ending = Path::new(name).extension().unwrap().to_str().unwrap();
        format!("{}.{ending}", self.fresh_name())
    }

    fn new_document(&mut self, is_text: bool) -> (usize, Vec<u8>) {
        let mut books = self.books.open();
        let bytes = body(self.plan.seed, books.documents.len(), is_text, !self.plan.long);
        (books.create(&bytes), bytes)
    }

    fn take_live(&mut self) -> Option<Live> {
        if self.live.is_empty() {
            return None;
        }
        // The youngest are those that are still under way.
        let at = self.live.len() - 1 - self.rng.below(self.live.len().min(8));
        Some(self.live.remove(at))
    }

    /// The patient's folder, with its patient.toml from its first moment on.
    fn make_folder(&self, patient: usize) -> String {
        let folder = folder_of(patient);
        let path = self.root.join("inbox").join(&folder);
        if !path.is_dir() {
            let staged = self.stage(patient, "folder");
            // Another one of us may have been quicker.
            if fs::rename(&staged, &path).is_err() {
                fs::remove_dir_all(&staged).unwrap();
            }
        }
        folder
    }

    /// A folder that nobody watches, with the patient's patient.toml.
    fn stage(&self, patient: usize, name: &str) -> PathBuf {
        let staged = self.root.join("staging").join(format!("{}-{name}", self.me));
        fs::create_dir_all(&staged).unwrap();
        let value = identifier(patient);
        let text = format!("identifier = [{{ system = \"{SYSTEM}\", value = \"{value}\", type = \"MR\" }}]\n");
        fs::write(staged.join("patient.toml"), text).unwrap();
        staged
    }

    fn drop_new(&mut self, patient: usize, what: &str) -> Option<Live> {
        let is_text = self.rng.chance(30);
        let (id, bytes) = self.new_document(is_text);
        let name = self.any_name(is_text);
        self.drop_whole(id, &bytes, patient, &name, what)
    }

    /// Drops a whole document in one of the ways in which programs do.
    fn drop_whole(&mut self, id: usize, bytes: &[u8], patient: usize, name: &str, what: &str) -> Option<Live> {
        let folder = self.make_folder(patient);
        let (path, hidden) = (self.inbox(&folder, name), self.inbox(&folder, &format!(".{MARK}{}.tmp", self.me)));
        let way = self.rng.below(3);
        let from = now();
        let done = match way {
            0 => File::create_new(&path).and_then(|mut file| file.write_all(bytes)),
            _ => fs::write(&hidden, bytes).and_then(|()| {
                if way == 1 {
                    return Ok(renameat_with(CWD, &hidden, CWD, &path, RenameFlags::NOREPLACE)?);
                }
                fs::hard_link(&hidden, &path)
            }),
        };
        fs::remove_file(&hidden).ok();
        match done {
            Ok(()) => {
                let stay = {
                    let mut books = self.books.open();
                    books.documents[id].copies += 1;
                    self.tally.dropped.fetch_add(1, Ordering::Relaxed);
                    books.dropped(id, patient, from, (what, format!("{folder}/{name}")))
                };
                let live = Live { id, stay, folder: folder.clone(), name: name.to_owned() };
                self.live.push(live.clone());
                self.past.push((folder, name.to_owned()));
                Some(live)
            }
            // The name is taken, or the folder was renamed under our hands: it was not dropped.
            Err(_) => None,
        }
    }

    /// Bit by bit, as scanners and slow connections do: with the file held open, or opened again for every piece, or
    /// with its full size from the beginning.
    fn drop_slowly(&mut self, patient: usize) {
        let way = self.rng.below(3);
        // Of plain text no program can tell that its end is missing, only that it is still being written.
        let is_text = way == 0 && self.rng.chance(50);
        let (id, bytes) = self.new_document(is_text);
        let (folder, name) = (self.make_folder(patient), self.any_name(is_text));
        let path = self.inbox(&folder, &name);
        let Ok(mut file) = File::create_new(&path) else { return };
        if way == 2 {
            file.set_len(bytes.len() as u64).unwrap();
        }
        let pieces = 2 + self.rng.below(8);
        let size = bytes.len().div_ceil(pieces);
        let mut from = now();
        let mut written = 0;
        for (index, piece) in bytes.chunks(size).enumerate() {
            if index > 0 {
                let most = if self.rng.chance(20) { 2 * self.plan.settle.as_millis() as usize } else { 40 };
                sleep(self.rng.pause(most));
            }
            if way == 1 {
                match File::options().append(true).open(&path) {
                    Ok(again) => file = again,
                    Err(_) => break,
                }
            }
            from = now();
            file.write_all_at_or_append(piece, written as u64, way == 1).unwrap();
            written += piece.len();
        }
        let mut books = self.books.open();
        if written < bytes.len() {
            // It took so long that it was refused as cut off, or its folder was renamed.
            *books.halves.entry(hash(&bytes[..written])).or_default() += 1;
            return;
        }
        books.documents[id].copies += 1;
        self.tally.dropped.fetch_add(1, Ordering::Relaxed);
        let stay = books.dropped(id, patient, from, (SLOWLY[way], format!("{folder}/{name}")));
        drop(books);
        self.live.push(Live { id, stay, folder: folder.clone(), name: name.clone() });
        self.past.push((folder, name));
    }

    /// A copy that dies half-way; sometimes somebody notices, and copies once more.
    fn drop_half(&mut self, patient: usize) {
        let (id, bytes) = self.new_document(false);
        let (folder, name) = (self.make_folder(patient), format!("{}.pdf", self.fresh_name()));
        let path = self.inbox(&folder, &name);
        let half = &bytes[..bytes.len() * (20 + self.rng.below(70)) / 100];
        if File::create_new(&path).and_then(|mut file| file.write_all(half)).is_err() {
            return;
        }
        *self.books.open().halves.entry(hash(half)).or_default() += 1;
        sleep(self.rng.pause(2 * self.plan.settle.as_millis() as usize));
        if self.rng.chance(70) {
            self.put_over(id, &bytes, patient, folder, name);
        }
    }

    /// Puts a document in the place of whatever lies there under its name.
    fn put_over(&mut self, id: usize, bytes: &[u8], patient: usize, folder: String, name: String) {
        let (path, hidden) = (self.inbox(&folder, &name), self.inbox(&folder, &format!(".{MARK}{}.tmp", self.me)));
        if fs::write(&hidden, bytes).is_err() {
            return;
        }
        let from = now();
        // An exchange, so that we know what it was that we replaced.
        let replaced = match renameat_with(CWD, &hidden, CWD, &path, RenameFlags::EXCHANGE) {
            Ok(()) => fs::read(&hidden).ok(),
            Err(Errno::NOENT) => match renameat_with(CWD, &hidden, CWD, &path, RenameFlags::NOREPLACE) {
                Ok(()) => None,
                Err(_) => return,
            },
            Err(error) => panic!("{error}"),
        };
        fs::remove_file(&hidden).ok();
        let mut books = self.books.open();
        if let Some(old) = replaced.map(|old| hash(&old)) {
            match books.by_hash.get(&old).copied() {
                Some(old) => {
                    books.documents[old].copies -= 1;
                    let stay =
                        self.live.iter().find(|live| live.id == old && live.name == name && live.folder == folder);
                    match stay.map(|live| live.stay) {
                        Some(stay) => books.left(old, stay, "replaced by another"),
                        None => books.documents[old].touched = true,
                    }
                }
                None => *books.halves.get_mut(&old).expect("a document or a half of one") -= 1,
            }
        }
        books.documents[id].copies += 1;
        self.tally.dropped.fetch_add(1, Ordering::Relaxed);
        let stay = books.dropped(id, patient, from, ("put in another's place", format!("{folder}/{name}")));
        drop(books);
        self.live.retain(|live| live.name != name || live.folder != folder);
        self.live.push(Live { id, stay, folder: folder.clone(), name: name.clone() });
        self.past.push((folder, name));
    }

    fn replace(&mut self) {
        let Some(live) = self.take_live() else { return };
        let Live { folder, name, .. } = live.clone();
        if name.ends_with(UNSENT) || !self.inbox(&folder, &name).exists() {
            return;
        }
        self.live.push(live);
        let (id, bytes) = self.new_document(name.ends_with(".txt"));
        self.put_over(id, &bytes, patient_of(&folder), folder, name);
    }

    fn drop_with_sidecar(&mut self, patient: usize, is_bad: bool) {
        let (id, bytes) = self.new_document(false);
        let (folder, name) = (self.make_folder(patient), format!("{}.pdf", self.fresh_name()));
        let states = self.rng.chance(50).then_some(patient);
        let text = if is_bad { format!("titel = \"{MARK}\"\n") } else { sidecar(&title(id), states) };
        let beside = self.inbox(&folder, &format!("{name}.toml"));
        if fs::write(&beside, text).is_err() {
            return;
        }
        if !is_bad {
            self.books.open().entitled(id, title(id));
        }
        let what = if is_bad { "dropped with a bad sidecar" } else { "dropped with a sidecar" };
        if self.drop_whole(id, &bytes, patient, &name, what).is_none() {
            fs::remove_file(&beside).ok();
        }
    }

    /// As editors save: for a moment there is no sidecar. The document must not be sent in that moment.
    fn save_sidecar(&mut self) {
        let books = self.books.open();
        let Some(live) = self.live.iter().rev().find(|live| books.documents[live.id].keeps_sidecar).cloned() else {
            return;
        };
        drop(books);
        let beside = self.inbox(&live.folder, &format!("{}.toml", live.name));
        let began = Instant::now();
        if fs::remove_file(&beside).is_err() {
            return;
        }
        sleep(self.rng.pause(self.plan.settle.as_millis() as usize * 3 / 4));
        self.names += 1;
        let title = format!("{} saved {}", title(live.id), self.names);
        self.books.open().documents[live.id].titles.push(title.clone());
        let saved = fs::write(&beside, sidecar(&title, Some(patient_of(&live.folder))));
        let mut books = self.books.open();
        books.documents[live.id].keeps_sidecar = false;
        if saved.is_err() || began.elapsed() >= self.plan.settle {
            books.untitled(live.id);
        }
    }

    /// The same bytes once more, for the same patient or another.
    fn drop_again(&mut self, patient: usize) {
        let Some(id) = self.live.last().map(|live| live.id) else { return };
        let known = ["txt", "pdf"].map(|ending| body(self.plan.seed, id, ending == "txt", !self.plan.long));
        let books = self.books.open();
        let Some(at) = known.iter().position(|bytes| books.by_hash.get(&hash(bytes)) == Some(&id)) else { return };
        drop(books);
        let name = format!("{}.{}", self.fresh_name(), ["txt", "pdf"][at]);
        // What is dropped again comes without a sidecar.
        self.books.open().untitled(id);
        self.drop_whole(id, &known[at], patient, &name, "dropped again");
    }

    /// A whole folder in one move.
    fn drop_folder(&mut self, patient: usize) {
        let folder = format!("{}-{}-{}", folder_of(patient), self.me, self.names);
        let staged = self.stage(patient, "whole");
        let mut inside = Vec::new();
        for _ in 0..1 + self.rng.below(5) {
            let (id, bytes) = self.new_document(false);
            let name = format!("{}.pdf", self.fresh_name());
            fs::write(staged.join(&name), &bytes).unwrap();
            if self.rng.chance(30) {
                fs::write(staged.join(format!("{name}.toml")), sidecar(&title(id), Some(patient))).unwrap();
                self.books.open().entitled(id, title(id));
            }
            inside.push((id, name));
        }
        let mut books = self.books.open();
        let from = now();
        fs::rename(&staged, self.root.join("inbox").join(&folder)).unwrap();
        for (id, name) in inside {
            books.documents[id].copies += 1;
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
            let stay = books.dropped(id, patient, from, ("came with its folder", format!("{folder}/{name}")));
            self.live.push(Live { id, stay, folder: folder.clone(), name: name.clone() });
            self.past.push((folder.clone(), name));
        }
    }

    fn move_to(&mut self, live: &Live, patient: usize) {
        if patient_of(&live.folder) != patient {
            let (folder, name) = (self.make_folder(patient), self.name_like(&live.name));
            self.rename(live.clone(), folder, name, "moved");
        }
    }

    /// Document and sidecar to another name or folder, in either order.
    fn rename(&mut self, live: Live, folder: String, name: String, what: &str) {
        let sidecar_first = self.rng.chance(50);
        let side = |folder: &str, name: &str| self.inbox(folder, &format!("{name}.toml"));
        let (from_side, to_side) = (side(&live.folder, &live.name), side(&folder, &name));
        let had_sidecar = from_side.exists();
        if had_sidecar {
            self.books.open().untitled(live.id);
            if sidecar_first {
                fs::rename(&from_side, &to_side).ok();
            }
        }
        let from = now();
        let (old, new) = (self.inbox(&live.folder, &live.name), self.inbox(&folder, &name));
        if renameat_with(CWD, &old, CWD, &new, RenameFlags::NOREPLACE).is_ok() {
            let mut books = self.books.open();
            books.left(live.id, live.stay, what);
            let stay = books.dropped(live.id, patient_of(&folder), from, (what, format!("{folder}/{name}")));
            drop(books);
            self.live.retain(|other| (&other.folder, &other.name) != (&live.folder, &live.name));
            self.live.push(Live { id: live.id, stay, folder: folder.clone(), name: name.clone() });
            self.past.push((folder, name));
        }
        if had_sidecar && !sidecar_first {
            fs::rename(&from_side, &to_side).ok();
        }
    }

    fn delete(&mut self) {
        let Some(live) = self.take_live() else { return };
        if fs::remove_file(self.inbox(&live.folder, &live.name)).is_ok() {
            let mut books = self.books.open();
            books.documents[live.id].copies -= 1;
            books.left(live.id, live.stay, "deleted");
            drop(books);
            fs::remove_file(self.inbox(&live.folder, &format!("{}.toml", live.name))).ok();
        }
    }

    /// From failed back to the inbox, with a mended sidecar before it.
    fn put_back(&mut self) {
        if self.past.is_empty() {
            return;
        }
        let (folder, name) = self.rng.pick(&self.past);
        let failed = |name: &str| self.root.join("failed").join(&folder).join(name);
        let (lies, reason) = (failed(&name), failed(&format!("{name}.reason.txt")));
        // Nobody acts before there is a reason to read.
        if !reason.exists() || self.inbox(&folder, &name).exists() || !self.inbox(&folder, "patient.toml").exists() {
            return;
        }
        let Ok(bytes) = fs::read(&lies) else { return };
        let Some(id) = self.books.open().by_hash.get(&hash(&bytes)).copied() else { return };
        let beside = failed(&format!("{name}.toml"));
        if beside.exists() {
            fs::write(&beside, sidecar(&title(id), Some(patient_of(&folder)))).unwrap();
            self.books.open().untitled(id);
            fs::rename(&beside, self.inbox(&folder, &format!("{name}.toml"))).ok();
        }
        let from = now();
        if renameat_with(CWD, &lies, CWD, self.inbox(&folder, &name), RenameFlags::NOREPLACE).is_err() {
            return;
        }
        let mut books = self.books.open();
        books.documents[id].touched = true;
        let stay = books.dropped(id, patient_of(&folder), from, ("put back", format!("{folder}/{name}")));
        drop(books);
        if self.rng.chance(70) {
            fs::remove_file(reason).ok();
        }
        self.live.push(Live { id, stay, folder, name });
    }

    fn rename_folder(&mut self, patient: usize) {
        let from = folder_of(patient);
        let to = format!("{from}-r{}-{}", self.me, self.names);
        let inbox = self.root.join("inbox");
        self.names += 1;
        if renameat_with(CWD, inbox.join(&from), CWD, inbox.join(&to), RenameFlags::NOREPLACE).is_ok() {
            self.books.open().renamed.insert(patient);
            self.books.note(format!("folder {from} was renamed to {to}"));
        }
    }
}

fn title(id: usize) -> String {
    format!("{MARK} title {id}")
}

fn sidecar(title: &str, patient: Option<usize>) -> String {
    let statement = patient.map(|patient| format!("[patient]\nidentifier = \"{}\"\n", identifier(patient)));
    format!("title = \"{title}\"\n{}", statement.unwrap_or_default())
}

trait Pieces {
    fn write_all_at_or_append(&mut self, piece: &[u8], at: u64, append: bool) -> std::io::Result<()>;
}

impl Pieces for File {
    fn write_all_at_or_append(&mut self, piece: &[u8], at: u64, append: bool) -> std::io::Result<()> {
        if append { self.write_all(piece) } else { self.write_all_at(piece, at) }
    }
}
