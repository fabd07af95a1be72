//! The share as docs/samba/smb.conf sets it up: encrypted, with a login, a recycle bin and vetoed litter.

use std::os::unix::fs::PermissionsExt;

use super::*;

const PASSWORD: &str = "invented for this test";

/// The example with its folder, its user and its group of staff replaced by the test's own; nothing else.
fn example(clinic: &Clinic) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samba/smb.conf")).unwrap();
    let replacements = [
        ("path = /srv/chartdrop\n", format!("path = {}\n", clinic.path("").display())),
        ("valid users = @clinic-staff\n", format!("valid users = {}\n", user())),
        ("force user = chartdrop\n", format!("force user = {}\n", user())),
        ("force group = chartdrop\n", String::new()),
    ];
    replacements.iter().fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

fn share(clinic: &Clinic) -> Share<'_> {
    let user = user();
    let login = vec!["--user".into(), format!("{user}%{PASSWORD}"), "--client-protection=encrypt".into()];
    Share::start(clinic, &example(clinic), login, |config| {
        let mut pdbedit = Command::new("pdbedit")
            .args(["--create", "--password-from-stdin", "--user", &user, "--configfile"])
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("pdbedit (Debian package: samba)");
        write!(pdbedit.stdin.take().unwrap(), "{PASSWORD}\n{PASSWORD}\n").unwrap();
        assert!(pdbedit.wait().unwrap().success());
    })
}

#[test]
fn the_example_share_says_nothing_that_samba_does_not_know() {
    let output = Command::new("testparm")
        .arg("--suppress-prompt")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samba/smb.conf"))
        .output()
        .expect("testparm (Debian package: samba-common-bin)");
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(output.status.success(), "{said}");
    for complaint in ["unknown", "ignoring", "error", "warning", "invalid"] {
        assert!(!said.contains(complaint), "{said}");
    }
}

#[test]
fn a_scan_that_is_dropped_through_the_example_share_is_accepted() {
    let clinic = clinic();
    let share = share(&clinic);
    let _daemon = clinic.daemon();
    share.commands("mkdir inbox/alvarez");
    share.put("inbox/alvarez/patient.toml", PATIENT.replace("0000000001", "0000000002").as_bytes());
    let scan = pdf("through the example");
    share.put("inbox/alvarez/scan.pdf", &scan);
    clinic.wait_for_file("done/alvarez/scan.pdf.receipt.json");
    accepted_exactly(&clinic, [("0000000002", scan.as_slice())]);
    let receipt = share.commands("get done/alvarez/scan.pdf.receipt.json -");
    assert!(receipt.contains("\"accepted\""), "staff can read it: {receipt}");
    let mode = |path: &str| clinic.path(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(format!("{:o}", mode("done/alvarez/scan.pdf")), "640", "for the share's group, not for the world");
    assert_eq!(format!("{:o}", mode("inbox/alvarez")), "2750", "its group is handed on");
}

#[test]
fn a_scan_that_is_deleted_from_the_example_share_is_in_its_recycle_bin_and_is_not_sent() {
    let clinic = clinic();
    let share = share(&clinic);
    let mistake = pdf("of somebody else");
    share.put("inbox/bixby/mistake.pdf", &mistake);
    share.commands("del inbox/bixby/mistake.pdf");
    let in_bin = format!(".recycle/{}/inbox/bixby/mistake.pdf", user());
    assert_eq!(fs::read(clinic.path(&in_bin)).unwrap(), mistake);
    let _daemon = clinic.daemon();
    let other = let_one_pass(&clinic, &share, "other");
    accepted_exactly(&clinic, [("0000000001", other.as_slice())]);
    assert!(clinic.has(&in_bin));
}

#[test]
fn litter_of_macs_and_windows_does_not_get_into_the_example_share() {
    let clinic = clinic();
    let share = share(&clinic);
    clinic.drop_file("to-put", "litter");
    for litter in [".DS_Store", "._scan.pdf", "Thumbs.db", "desktop.ini"] {
        assert!(share.try_commands(&format!("put to-put inbox/bixby/{litter}")).is_err(), "{litter}");
    }
    assert_eq!(clinic.files("inbox"), ["bixby/patient.toml"]);
}
