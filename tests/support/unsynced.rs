//! What a power cut may leave of a recorded run, by the rules and not by the habits of one filesystem (after Pillai et al.,
//! "All File Systems Are Not Created Equal", OSDI 2014): what was synced is there; of the rest, any part may be.
//!
//! The rules: a write is durable by a sync of its file; a name, made, moved or removed, by a sync of its folder, for a move
//! of either of its two folders; a move is never half done. A sync of a file says nothing of its name, a sync of a folder
//! nothing of its own, and `sync_file_range` nothing at all.

#![allow(dead_code, reason = "each test target uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

/// Stands for a file or a folder, whatever it is called.
type Node = usize;

const ROOT: Node = 0;

/// The calls that change something, or make it durable.
pub const CALLS: &str = "openat,openat2,open,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,truncate,\
                         ftruncate,fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,\
                         rmdir,mkdir,mkdirat,mknod,mknodat,fsync,fdatasync,sync,syncfs";

/// One change.
#[derive(Clone, Debug)]
enum Change {
    /// A name for a node, new or not.
    Name {
        folder: Node,
        name: String,
        node: Node,
        is_folder: bool,
    },
    Unname {
        folder: Node,
        name: String,
    },
    /// From folder and name to folder and name; replaces.
    Move {
        from: (Node, String),
        to: (Node, String),
        node: Node,
    },
    Write {
        node: Node,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        node: Node,
        length: usize,
    },
}

/// How a part of a run survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Whole,
    /// The first half of a write.
    Begun,
    /// The length of a write, with nothing in it.
    Empty,
    Not,
}

#[derive(Clone, Debug)]
struct Event {
    change: Change,
    /// The number of changes and syncs before the one that made it durable.
    durable: usize,
}

/// A run: what there was before, and what was done, in order.
pub struct Recording {
    before: Tree,
    /// By their number among changes and syncs; `None` is a sync.
    events: Vec<Option<Event>>,
    /// When each was done, in seconds.
    ended: Vec<f64>,
}

/// Files and folders as they may lie on a disk.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    folders: BTreeMap<Node, BTreeMap<String, Node>>,
    files: BTreeMap<Node, Vec<u8>>,
}

/// What one cut left.
#[derive(Clone, Debug)]
pub struct Cut {
    /// So many changes and syncs had been done.
    pub point: usize,
    /// What became of those changes that nothing had made durable.
    fate: Vec<(usize, Kept)>,
}

impl Recording {
    /// Reads traces (`strace -f -y -ttt -T -xx`) of what was done beneath `home`, which was `before`.
    pub fn read(traces: &[PathBuf], home: &Path, before: Tree) -> Self {
        let mut calls: Vec<_> = traces.iter().flat_map(|trace| calls(&fs::read_to_string(trace).unwrap())).collect();
        calls.sort_by(|a, b| a.ended.total_cmp(&b.ended));
        let mut recorder = Recorder { home: home.into(), now: before.clone(), events: Vec::new(), times: Vec::new() };
        calls.iter().for_each(|call| recorder.take(call));
        Self { before, events: recorder.events, ended: recorder.times.into_iter().map(|(_, ended)| ended).collect() }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// How the disk looked when all was done.
    pub fn after(&self) -> Tree {
        let mut tree = self.before.clone();
        self.events.iter().flatten().for_each(|event| tree.apply(&event.change, Kept::Whole));
        tree
    }

    /// Whether a file had been moved to a folder (`done`, say) by then, durably or not.
    pub fn has_arrived(&self, point: usize, name: &str, folder: &str) -> bool {
        let mut tree = self.before.clone();
        self.events[..point].iter().flatten().for_each(|event| tree.apply(&event.change, Kept::Whole));
        tree.paths().iter().any(|(path, _)| path.starts_with(folder) && path.ends_with(name))
    }

    /// Everything that a cut after the first `point` changes and syncs may leave: of what was not synced nothing, all,
    /// all but one, one alone, one torn among all and alone, and so many parts by chance.
    pub fn cuts(&self, point: usize, chances: usize, mut below: impl FnMut(u64) -> u64) -> Vec<Cut> {
        let open: Vec<usize> = (0..point)
            .filter(|number| self.events[*number].as_ref().is_some_and(|event| event.durable >= point))
            .collect();
        let all = vec![Kept::Whole; open.len()];
        let none = vec![Kept::Not; open.len()];
        let mut wanted = vec![all.clone(), none.clone()];
        for (place, number) in open.iter().enumerate() {
            let is_write = matches!(self.events[*number].as_ref().unwrap().change, Change::Write { .. });
            for (others, kept) in [
                (&all, Kept::Not),
                (&none, Kept::Whole),
                (&all, Kept::Begun),
                (&none, Kept::Begun),
                (&all, Kept::Empty),
                (&none, Kept::Empty),
            ] {
                if is_write || matches!(kept, Kept::Not | Kept::Whole) {
                    let mut one = others.clone();
                    one[place] = kept;
                    wanted.push(one);
                }
            }
        }
        if open.len() > 2 {
            let kinds = [Kept::Whole, Kept::Not, Kept::Whole, Kept::Not, Kept::Begun, Kept::Empty];
            let mut any = || kinds[usize::try_from(below(kinds.len() as u64)).unwrap()];
            wanted.extend((0..chances).map(|_| open.iter().map(|_| any()).collect()));
        }
        let cut = |kept: Vec<Kept>| Cut { point, fate: open.iter().copied().zip(kept).collect() };
        wanted.into_iter().map(cut).collect()
    }

    /// The disk after a cut.
    pub fn tree(&self, cut: &Cut) -> Tree {
        let fate: HashMap<usize, Kept> = cut.fate.iter().copied().collect();
        let mut tree = self.before.clone();
        for (number, event) in self.events[..cut.point].iter().enumerate() {
            if let Some(event) = event {
                tree.apply(&event.change, fate.get(&number).copied().unwrap_or(Kept::Whole));
            }
        }
        tree
    }

    /// The moment before a cut, and the one after it, in seconds.
    pub fn moments(&self, cut: &Cut) -> (f64, f64) {
        let before = self.ended[cut.point.saturating_sub(1)];
        (before, self.ended.get(cut.point).copied().unwrap_or(f64::MAX))
    }

    /// What a cut lost, for people.
    pub fn lost(&self, cut: &Cut) -> String {
        let lost = cut.fate.iter().filter(|(_, kept)| *kept != Kept::Whole);
        let words = |number: usize| self.events[number].as_ref().map(|event| event.change.words()).unwrap_or_default();
        lost.map(|(number, kept)| format!("{number} {kept:?}: {}\n", words(*number))).collect()
    }

    /// All of the run, a line each, for people.
    pub fn words(&self) -> String {
        let line = |event: &Option<Event>| match event {
            Some(event) => format!("{} (durable from {})", event.change.words(), event.durable),
            None => "sync".into(),
        };
        self.events.iter().enumerate().map(|(number, event)| format!("{number} {}\n", line(event))).collect()
    }
}

impl Tree {
    /// A folder of this machine, all of it.
    pub fn read(home: &Path) -> Self {
        let mut tree = Self::default();
        tree.folders.insert(ROOT, BTreeMap::new());
        tree.read_into(ROOT, home);
        tree
    }

    fn read_into(&mut self, folder: Node, path: &Path) {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let node = self.fresh();
            if entry.file_type().unwrap().is_dir() {
                self.folders.insert(node, BTreeMap::new());
                self.read_into(node, &entry.path());
            } else if entry.file_type().unwrap().is_file() {
                self.files.insert(node, fs::read(entry.path()).unwrap());
            } else {
                continue;
            }
            self.folders.get_mut(&folder).unwrap().insert(entry.file_name().into_string().unwrap(), node);
        }
    }

    fn fresh(&self) -> Node {
        let last = |nodes: Option<&Node>| nodes.copied().unwrap_or(ROOT);
        1 + last(self.folders.keys().next_back()).max(last(self.files.keys().next_back()))
    }

    /// Puts all of it into an empty folder.
    pub fn write(&self, home: &Path) {
        for (path, node) in self.paths() {
            match self.files.get(&node) {
                Some(bytes) => fs::write(home.join(path), bytes).unwrap(),
                None => fs::create_dir(home.join(path)).unwrap(),
            }
        }
    }

    /// Folders before what lies in them.
    pub fn paths(&self) -> Vec<(PathBuf, Node)> {
        let mut found = Vec::new();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((path, folder)) = folders.pop() {
            for (name, node) in &self.folders[&folder] {
                let path = path.join(name);
                if self.folders.contains_key(node) {
                    folders.push((path.clone(), *node));
                }
                found.push((path, *node));
            }
        }
        found
    }

    /// The same for trees that a program cannot tell apart.
    pub fn fingerprint(&self) -> Vec<u8> {
        let mut paths = self.paths();
        paths.sort();
        let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for (path, node) in paths {
            let bytes = self.files.get(&node);
            digest.update(format!("{path:?} {:?} ", bytes.map(Vec::len)).as_bytes());
            digest.update(bytes.map_or(&[], Vec::as_slice));
        }
        digest.finish().as_ref().to_vec()
    }

    fn apply(&mut self, change: &Change, kept: Kept) {
        // What has lost its name may still be written to, and get another.
        match change {
            Change::Name { node, is_folder: true, .. } => drop(self.folders.entry(*node).or_default()),
            Change::Name { node, .. } => drop(self.files.entry(*node).or_default().len()),
            _ => {}
        }
        if kept == Kept::Not {
            return;
        }
        match change {
            Change::Name { folder, name, node, .. } => drop(self.names(*folder).insert(name.clone(), *node)),
            Change::Unname { folder, name } => drop(self.names(*folder).remove(name)),
            Change::Move { from, to, node } => {
                if self.names(from.0).get(&from.1) == Some(node) {
                    self.names(from.0).remove(&from.1);
                }
                self.names(to.0).insert(to.1.clone(), *node);
            }
            Change::Write { node, at, bytes } => {
                let file = self.files.get_mut(node).unwrap();
                let length = if kept == Kept::Begun { bytes.len() / 2 } else { bytes.len() };
                file.resize(file.len().max(at + length), 0);
                match kept {
                    Kept::Empty => file[*at..at + length].fill(0),
                    _ => file[*at..at + length].copy_from_slice(&bytes[..length]),
                }
            }
            Change::Truncate { node, length } => self.files.get_mut(node).unwrap().resize(*length, 0),
        }
    }

    fn names(&mut self, folder: Node) -> &mut BTreeMap<String, Node> {
        self.folders.get_mut(&folder).unwrap()
    }

    fn find(&self, path: &Path) -> Option<Node> {
        let mut node = ROOT;
        for name in path {
            node = *self.folders.get(&node)?.get(name.to_str()?)?;
        }
        Some(node)
    }

    /// The folder that a path leads into, and the name in it.
    fn place(&self, path: &Path) -> (Node, String) {
        let folder = self.find(path.parent().unwrap()).unwrap_or_else(|| panic!("no folder for {path:?}"));
        (folder, path.file_name().unwrap().to_str().unwrap().to_owned())
    }
}

impl Change {
    fn is_of(&self, node: Node) -> bool {
        match self {
            Self::Name { folder, .. } | Self::Unname { folder, .. } => *folder == node,
            Self::Move { from, to, .. } => from.0 == node || to.0 == node,
            Self::Write { node: written, .. } | Self::Truncate { node: written, .. } => *written == node,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Name { folder, name, node, .. } => format!("name {folder}/{name} for {node}"),
            Self::Unname { folder, name } => format!("remove {folder}/{name}"),
            Self::Move { from, to, node } => format!("move {node} from {}/{} to {}/{}", from.0, from.1, to.0, to.1),
            Self::Write { node, at, bytes } => format!("write {} bytes at {at} of {node}", bytes.len()),
            Self::Truncate { node, length } => format!("cut {node} to {length} bytes"),
        }
    }
}

/// One call that succeeded.
struct Call {
    name: String,
    arguments: String,
    result: String,
    began: f64,
    ended: f64,
}

/// Puts together what the trace tells in two pieces when threads take turns.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (f64, &str)> = HashMap::new();
    let mut found = Vec::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((time, rest)) = rest.trim_start().split_once(' ') else { continue };
        let Ok(time) = time.parse::<f64>() else { continue };
        if let Some(beginning) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (time, beginning));
            continue;
        }
        let (began, text) = match rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, rest)) => {
                let Some((began, beginning)) = begun.remove(thread) else { continue };
                (began, format!("{beginning}{rest}"))
            }
            None => (time, rest.to_owned()),
        };
        let Some((call, result)) = text.rsplit_once(" = ") else { continue };
        let (Some((name, arguments)), Some((result, took))) = (call.split_once('('), result.rsplit_once(" <")) else {
            continue;
        };
        if result.starts_with('-') {
            continue;
        }
        let took: f64 = took.trim_end_matches('>').parse().unwrap();
        let arguments = arguments.trim_end().trim_end_matches(')').to_owned();
        found.push(Call { name: name.into(), arguments, result: result.into(), began, ended: began + took });
    }
    found
}

/// Follows a run on a tree of its own.
struct Recorder {
    home: PathBuf,
    now: Tree,
    events: Vec<Option<Event>>,
    times: Vec<(f64, f64)>,
}

impl Recorder {
    fn take(&mut self, call: &Call) {
        let arguments: Vec<&str> = call.arguments.split(", ").collect();
        let at = |folder: usize, name: usize| {
            let path = text(arguments[name]);
            let folder = opened(arguments[folder]).unwrap_or_default();
            self.home_relative(&folder.join(path))
        };
        let by_handle = || opened(arguments[0]).and_then(|path| self.home_relative(&path));
        let number = |argument: usize| arguments[argument].parse::<usize>().unwrap();
        match call.name.as_str() {
            "openat" if arguments[2].contains("O_CREAT") || arguments[2].contains("O_TRUNC") => {
                let Some(path) = at(0, 1) else { return };
                match self.now.find(&path) {
                    Some(node) if arguments[2].contains("O_TRUNC") => {
                        self.change(call, Change::Truncate { node, length: 0 })
                    }
                    Some(_) => {}
                    None => self.name(call, &path, false),
                }
            }
            "openat" | "openat2" | "open"
                if !["O_CREAT", "O_TRUNC"].iter().any(|flag| call.arguments.contains(flag)) => {}
            "mkdir" | "mkdirat" => {
                let path = if call.name == "mkdir" { self.home_relative(&text(arguments[0])) } else { at(0, 1) };
                let Some(path) = path else { return };
                self.name(call, &path, true);
            }
            "write" | "pwrite64" => {
                let Some(path) = by_handle() else { return };
                let node = self.node(&path);
                let (_, bytes) = (number(2), unescaped(arguments[1]));
                assert_eq!(
                    bytes.len().to_string(),
                    call.result,
                    "a write that was cut short, or shortened by the trace"
                );
                let at = if call.name == "write" { self.now.files[&node].len() } else { number(3) };
                self.change(call, Change::Write { node, at, bytes });
            }
            "ftruncate" => {
                let Some(path) = by_handle() else { return };
                self.change(call, Change::Truncate { node: self.node(&path), length: number(1) });
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = match call.name.as_str() {
                    "rename" => (self.home_relative(&text(arguments[0])), self.home_relative(&text(arguments[1]))),
                    _ => (at(0, 1), at(2, 3)),
                };
                let (Some(from), Some(to)) = (from, to) else { return };
                let node = self.node(&from);
                self.change(call, Change::Move { from: self.now.place(&from), to: self.now.place(&to), node });
            }
            "unlink" | "rmdir" | "unlinkat" => {
                let path = if call.name == "unlinkat" { at(0, 1) } else { self.home_relative(&text(arguments[0])) };
                let Some(path) = path else { return };
                let (folder, name) = self.now.place(&path);
                self.change(call, Change::Unname { folder, name });
            }
            "fsync" | "fdatasync" => {
                let Some(path) = by_handle() else { return };
                self.sync(call, self.node(&path));
            }
            other => {
                let here = call.arguments.contains(&escaped(&self.home));
                assert!(!here, "{other}: the recorder does not know what this does to a disk");
            }
        }
    }

    fn home_relative(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.home).ok().map(Path::to_path_buf)
    }

    fn node(&self, path: &Path) -> Node {
        self.now.find(path).unwrap_or_else(|| panic!("{path:?} came from nowhere"))
    }

    fn name(&mut self, call: &Call, path: &Path, is_folder: bool) {
        let (folder, name) = self.now.place(path);
        let node = self.now.fresh();
        self.change(call, Change::Name { folder, name, node, is_folder });
    }

    fn change(&mut self, call: &Call, change: Change) {
        self.now.apply(&change, Kept::Whole);
        self.events.push(Some(Event { change, durable: usize::MAX }));
        self.times.push((call.began, call.ended));
    }

    /// Only what had ended when the sync began is made durable by it.
    fn sync(&mut self, call: &Call, node: Node) {
        let number = self.events.len();
        for (event, (_, ended)) in self.events.iter_mut().zip(&self.times) {
            if let Some(event) = event
                && *ended <= call.began
                && event.change.is_of(node)
            {
                event.durable = event.durable.min(number);
            }
        }
        self.events.push(None);
        self.times.push((call.began, call.ended));
    }
}

/// `3<\x2f…>`: what a number stands for.
fn opened(argument: &str) -> Option<PathBuf> {
    let (_, rest) = argument.split_once('<')?;
    let path = rest.split_once('>')?.0;
    path.starts_with("\\x").then(|| PathBuf::from(String::from_utf8(unescaped(path)).unwrap()))
}

fn text(argument: &str) -> PathBuf {
    String::from_utf8(unescaped(argument)).unwrap().into()
}

/// `"\x41\x42"`
fn unescaped(argument: &str) -> Vec<u8> {
    let hex = argument.trim_matches('"');
    hex.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn escaped(path: &Path) -> String {
    path.as_os_str().as_encoded_bytes().iter().map(|byte| format!("\\x{byte:02x}")).collect()
}
