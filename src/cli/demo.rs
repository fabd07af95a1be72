//! `chartdrop demo`: the real daemon on made-up patients, against the stand-in for Redox, all on this machine.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use secrecy::ExposeSecret;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::{
    DONE, NOT_ALL,
    keygen::{self, Algorithm},
};
use crate::{
    filing::{reason, receipt},
    sandbox::{Options, Sandbox},
};

/// What `demo` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End by itself when everything is filed.
    #[arg(long)]
    once: bool,
    /// Where to put the folders; a new one is made [default: in the temporary folder].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// How long the daemon may take for a handful of documents.
const ONCE: &str = "60s";
/// How often the folders are looked at for news.
const LOOK: Duration = Duration::from_millis(200);
/// How long a daemon that was told to end may take.
const GRACE: Duration = Duration::from_secs(12);

const BIXBY: &str = r#"identifier = [{ system = "urn:redox:health-one:MR", value = "0000000001", type = "MR" }]
family = "Bixby"
given = ["Timothy", "Paul"]
birth_date = 2008-01-06
gender = "male"
"#;

/// What is dropped: place and content. The last one is wrong on purpose: its sidecar names another patient.
const DROPPED: [(&str, &[u8]); 8] = [
    ("Timothy Bixby/patient.toml", BIXBY.as_bytes()),
    ("Timothy Bixby/referral.pdf", include_bytes!("../../assets/samples/referral.pdf")),
    (
        "Timothy Bixby/referral.toml",
        b"title = \"Referral letter\"\ntype = \"referral\"\n[patient]\nidentifier = \"0000000001\"\n",
    ),
    ("Timothy Bixby/wound-photo.jpg", include_bytes!("../../assets/samples/wound-photo.jpg")),
    ("0000000002 Alvarez/xray.tif", include_bytes!("../../assets/samples/xray.tif")),
    (
        "0000000002 Alvarez/xray.tif.json",
        b"{\"title\": \"X-ray of the hand\", \"patient\": {\"identifier\": \"0000000002\"}}\n",
    ),
    ("0000000002 Alvarez/insurance-card.png", include_bytes!("../../assets/samples/insurance-card.png")),
    ("0000000002 Alvarez/insurance-card.png.toml", b"[patient]\nidentifier = \"0000000001\"\n"),
];
const GOOD: usize = 3;
const BAD: usize = 1;

/// Runs the demo. Returns the exit code: 0 when everything came as it should.
pub async fn run(args: Args) -> anyhow::Result<u8> {
    let dir = args.dir.unwrap_or_else(|| std::env::temp_dir().join(format!("chartdrop-demo-{}", short_id())));
    fs::create_dir(&dir).with_context(|| format!("{} cannot be made (a new folder is needed)", dir.display()))?;
    let dir = dir.canonicalize()?;
    let shutdown = CancellationToken::new();
    let sandbox = Sandbox::bind(prepare(&dir)?).await?;
    let config = configure(&dir, &sandbox.addr().to_string())?;
    let record = sandbox.record();
    let serving = tokio::spawn(sandbox.serve(shutdown.clone().cancelled_owned()));

    println!("A stand-in for Redox runs on this machine; nothing leaves it. The folders of the demo:\n");
    for folder in ["inbox", "done", "failed"] {
        println!("  {:8}{}", folder, dir.join(folder).display());
    }
    println!("\nFour documents are dropped; one of them is wrong on purpose. What becomes of them:\n");
    let mut daemon = daemon(&dir, &config, args.once)?;
    let ended = follow(&dir, &mut daemon, args.once).await?;
    shutdown.cancel();
    serving.await?;
    let accepted = record.accepted().len();
    println!("\nRedox's stand-in accepted {accepted} documents. Everything is still in {}", dir.display());
    println!("(chartdrop's own log is daemon.log there). Remove it when you have seen enough.");
    let as_it_should = ended || !args.once;
    Ok(if as_it_should && (!args.once || accepted == GOOD) { DONE } else { NOT_ALL })
}

fn short_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..8].to_owned()
}

/// Key, folders and documents; returns what the sandbox needs.
fn prepare(dir: &Path) -> anyhow::Result<Options> {
    for folder in ["done", "failed"] {
        fs::create_dir(dir.join(folder))?;
    }
    for (place, bytes) in DROPPED {
        let path = dir.join("inbox").join(place);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(path, bytes)?;
    }
    let pair = keygen::generate(Algorithm::Es384)?;
    let mut key = File::options().write(true).create_new(true).mode(0o600).open(dir.join("key.pem"))?;
    key.write_all(pair.pem.expose_secret().as_bytes())?;
    fs::write(dir.join("jwk.json"), pair.jwk.to_string())?;
    Ok(Options { client_id: "demo".into(), jwks: Some(dir.join("jwk.json")), ..Options::default() })
}

fn configure(dir: &Path, address: &str) -> anyhow::Result<PathBuf> {
    let jwk: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("jwk.json"))?)?;
    let kid = jwk["kid"].as_str().context("the key has no name")?;
    let path = dir.join("config.toml");
    fs::write(
        &path,
        format!(
            r#"# The demo's configuration. A real one: config.example.toml
[[inbox]]
name = "demo"
path = "inbox"
destination = "redox-fhir-sandbox"
settle = "1s"
hold = "0s"
incomplete_after = "20s"
[inbox.patient]
identifier_system = "urn:redox:health-one:MR"
folder_pattern = '^(?<identifier>[0-9]+)'
[document_types]
referral = {{ system = "http://loinc.org", code = "57133-1", display = "Referral note" }}
[redox]
base_url = "http://{address}"
environment = "Staging"
client_id = "demo"
key_id = "{kid}"
private_key = "key.pem"
algorithm = "ES384"
[ledger]
path = "ledger"
[status]
socket = "control.sock"
"#
        ),
    )?;
    Ok(path)
}

/// The real daemon, as a process of its own.
fn daemon(dir: &Path, config: &Path, once: bool) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg("--config").arg(config);
    if once {
        command.args(["--once", "--for", ONCE]);
    }
    // A group of its own: Ctrl-C reaches us, and we end it in good order.
    command.process_group(0).kill_on_drop(true).stdout(Stdio::null()).stderr(File::create(dir.join("daemon.log"))?);
    Ok(command.spawn()?)
}

/// Tells what appears in done and failed, until the daemon has ended. True when it all came as it should.
async fn follow(dir: &Path, daemon: &mut Child, once: bool) -> anyhow::Result<bool> {
    let mut seen = BTreeSet::new();
    let mut invited = once;
    let mut end = std::pin::pin!(super::interrupted());
    loop {
        news(dir, &mut seen)?;
        if !invited && seen.len() == GOOD + BAD {
            invited = true;
            println!("\nNow you: copy a PDF into {}", dir.join("inbox/Timothy Bixby").display());
            println!("Ctrl-C ends the demo.\n");
        }
        tokio::select! {
            status = daemon.wait() => {
                news(dir, &mut seen)?;
                // 1: something was rejected, as it should be.
                let as_it_should = status?.code() == Some(i32::from(NOT_ALL)) && seen.len() == GOOD + BAD;
                if !as_it_should {
                    println!("The daemon ended in another way than it should; daemon.log in the demo's folder says why.");
                }
                return Ok(as_it_should);
            }
            () = &mut end => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    if let Some(pid) = daemon.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    tokio::time::timeout(GRACE, daemon.wait()).await.context("the daemon did not end in time")??;
    news(dir, &mut seen)?;
    Ok(true)
}

/// Prints a line for every receipt and reason that was not there before.
fn news(dir: &Path, seen: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for (folder, ending) in [("done", receipt::ENDING), ("failed", reason::ENDING)] {
        for note in notes(&dir.join(folder), ending)? {
            let place = note.strip_prefix(dir).unwrap_or(&note).display().to_string();
            let document = place.strip_suffix(ending).unwrap_or(&place).to_owned();
            if seen.insert(note.clone()) {
                println!("  {document}\n      {}", words(&note, folder)?);
            }
        }
    }
    Ok(())
}

fn words(note: &Path, folder: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(note)?.read_to_string(&mut text)?;
    if folder == "done" {
        let receipt: receipt::Receipt = serde_json::from_str(&text)?;
        return Ok(receipt.note);
    }
    let summary =
        text.lines().skip_while(|line| *line != "What happened").skip(1).take_while(|line| line.starts_with(' '));
    let summary: Vec<_> = summary.flat_map(str::split_whitespace).collect();
    Ok(format!("{}\n      The note beside it says what to do.", summary.join(" ")))
}

fn notes(folder: &Path, ending: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(notes(&entry.path(), ending)?);
        } else if entry.file_name().to_string_lossy().ends_with(ending) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
