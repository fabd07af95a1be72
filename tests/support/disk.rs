//! Bad disks: small, full and read-only ones by mounts that nobody else sees, failing and slow ones by strace.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use super::support::{Clinic, chartdrop};

/// A service that should end and does not is ended after so long, with another code than its own.
const TIMEOUT: [&str; 3] = ["-s", "KILL", "300"];

/// `chartdrop ARGUMENTS --config …`.
fn program(arguments: &[&str], config: &Path) -> Vec<OsString> {
    let mut words = vec![chartdrop().get_program().to_owned()];
    words.extend(arguments.iter().map(OsString::from));
    words.extend(["--config".into(), config.into()]);
    words
}

/// The service, to the end that it is expected to come to by itself.
pub fn service(clinic: &Clinic) -> Output {
    Command::new("timeout").args(TIMEOUT).args(program(&["run"], &clinic.config())).output().unwrap()
}

/// Mounts that exist for this test alone: in a namespace of their own where the kernel has them. Root makes one, or
/// anybody where the kernel lets users do so (as Debian's does). Where it has none (a container or a chroot), root mounts
/// directly.
pub enum Mounts {
    /// The process that keeps the namespace.
    Namespace(Child),
    /// What is unmounted at the end.
    Direct(Vec<PathBuf>),
}

impl Drop for Mounts {
    fn drop(&mut self) {
        match self {
            Self::Namespace(holder) => {
                holder.kill().ok();
                holder.wait().ok();
            }
            Self::Direct(folders) => {
                for folder in folders {
                    // Lazily: a program that was killed may not have let go of it yet.
                    Command::new("umount").arg("-l").arg(folder).status().ok();
                }
            }
        }
    }
}

impl Mounts {
    /// One tmpfs of `size` (such as `3m`) at each of the folders.
    pub fn tmpfs(size: &str, folders: &[&Path]) -> Self {
        let root = rustix::process::geteuid().is_root();
        let mut script = "set -e; ".to_owned();
        for folder in folders {
            fs::create_dir_all(folder).unwrap();
            script.push_str(&format!("mount -t tmpfs -o size={size},mode=0700 tmpfs '{}'; ", folder.display()));
        }
        let mut holder = Command::new("unshare")
            .arg(if root { "-m" } else { "-Urm" })
            .args(["sh", "-c", &format!("{script} echo ready; exec cat")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("unshare (Debian package util-linux): {error}"));
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line == "ready\n" {
            return Self::Namespace(holder);
        }
        holder.wait().ok();
        assert!(root, "this test mounts small disks: it needs root, or a kernel that lets users make namespaces");
        let mut mounts = Vec::new();
        for folder in folders {
            let options = format!("size={size},mode=0700");
            let status =
                Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).status().unwrap();
            assert!(status.success(), "this test mounts small disks: root must be allowed to mount (CAP_SYS_ADMIN)");
            mounts.push(folder.to_path_buf());
        }
        Self::Direct(mounts)
    }

    /// Runs a program where the mounts are.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let Self::Namespace(holder) = self else { return Command::new(program.as_ref()) };
        let mut command = Command::new("nsenter");
        command.args(["-t", &holder.id().to_string(), "-m"]);
        if !rustix::process::geteuid().is_root() {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.arg(program.as_ref());
        command
    }

    /// A shell's line, which must succeed.
    pub fn sh(&self, line: &str) {
        let output = self.command("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }

    /// Fills the disk at `folder` until `free` bytes are left.
    pub fn fill(&self, folder: &Path, free: usize) {
        let folder = folder.display();
        self.sh(&format!(
            "dd if=/dev/zero of='{folder}/filler' bs=4k 2>/dev/null; truncate -s -{free} '{folder}/filler'; true"
        ));
    }

    /// Undoes [`Mounts::fill`].
    pub fn make_room(&self, folder: &Path) {
        self.sh(&format!("rm -f '{}/filler'", folder.display()));
    }

    /// A path as it is where the mounts are.
    pub fn inside(&self, path: &Path) -> PathBuf {
        match self {
            Self::Namespace(holder) => {
                Path::new(&format!("/proc/{}/root", holder.id())).join(path.strip_prefix("/").unwrap())
            }
            Self::Direct(_) => path.to_path_buf(),
        }
    }

    /// `chartdrop ARGUMENTS --config …`, to the end that the disk makes.
    pub fn chartdrop(&self, config: &Path, arguments: &[&str]) -> Output {
        self.command("timeout").args(TIMEOUT).args(program(arguments, config)).output().unwrap()
    }
}

/// `chartdrop ARGUMENTS --config …` to its end, with system calls on these files tampered with as strace's `inject=` says.
/// Gives back what the program said, and whether a call was hit.
pub fn tampered(clinic: &Clinic, inject: &str, files: &[PathBuf], arguments: &[&str]) -> (Output, bool) {
    let trace = clinic.path("strace.txt");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace).args(["-e", &format!("inject={inject}")]);
    for file in files {
        command.arg("-P").arg(file);
    }
    command.arg("timeout").args(TIMEOUT).args(program(arguments, &clinic.config()));
    let output = command.output().unwrap_or_else(|error| panic!("strace (Debian package strace): {error}"));
    let trace = fs::read_to_string(&trace).unwrap();
    (output, trace.contains("(INJECTED)") || trace.contains("(DELAYED)"))
}

/// The clinic's configuration with its ledger in a folder of its own, so that this and the stamp beside it can be put on
/// a disk of their own.
pub fn ledger_in_state(clinic: &Clinic) -> PathBuf {
    let path = clinic.config();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("path = \"ledger\"", "path = \"state/ledger\"")).unwrap();
    path
}

/// What a program said, on both its outputs.
pub fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Removes a file or a folder, if there is one.
pub fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}
