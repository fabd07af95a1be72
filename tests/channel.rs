//! A destination in trouble: everybody waits when it concerns everybody, nobody waits for one document's sake, and what is
//! wrong is said once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{thread, time::Duration};

use jiff::{Timestamp, ToSpan};
use support::{
    Clinic, PATIENT,
    firewall::{Firewall, free_address},
    pdf,
};

const SECOND_INBOX: &str = "[[inbox]]\nname = \"second\"\npath = \"second/inbox\"\ndestination = \"another\"\nhold = \"0s\"\nsettle = \"20ms\"\n";

fn clinic(delivery: &str) -> Clinic {
    let mut clinic = Clinic::new(&["--destination", "redox-fhir-sandbox", "--destination", "another"]);
    clinic.inbox = "settle = \"20ms\"\nincomplete_after = \"1s\"\n".into();
    clinic.delivery = format!("retry_first = \"100ms\"\nretry_max = \"500ms\"\n{delivery}");
    clinic
}

/// When the log first said this.
fn said_at(clinic: &Clinic, words: &str) -> Timestamp {
    let log = clinic.log();
    let line = log.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("not said: {words}\n{log}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn in_done(clinic: &Clinic, folder: &str) -> usize {
    clinic.files(folder).iter().filter(|name| name.ends_with(".receipt.json")).count()
}

#[test]
fn too_many_requests_make_every_worker_and_every_destination_wait() {
    for fault in ["create:nth=3:status=429,retry_after=9", "binary:nth=3:status=429,retry_after=9"] {
        let mut clinic = clinic("concurrency = 8\n");
        clinic.inbox.push_str(SECOND_INBOX);
        clinic.fault(fault);
        clinic.drop_file("second/inbox/bixby/patient.toml", PATIENT);
        std::fs::create_dir(clinic.path("second/done")).unwrap();
        for i in 0..40 {
            clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(&i.to_string()));
            clinic.drop_file(format!("second/inbox/bixby/{i}.pdf"), pdf(&i.to_string()));
        }
        let _daemon = clinic.daemon();
        clinic.wait_for("all of them", || in_done(&clinic, "done") + in_done(&clinic, "second/done") == 80);
        let told = said_at(&clinic, "Redox takes no more requests for a while");
        // What was under way at that moment may still be answered.
        let (from, to) = (told + 3.seconds(), told + 8_800.milliseconds());
        let accepted = clinic.accepted_facts();
        assert_eq!(accepted.len(), 80, "{fault}");
        let mut after = 0;
        for message in &accepted {
            let at: Timestamp = message["at"].as_str().unwrap().parse().unwrap();
            assert!(at < from || at > to, "{fault}: told at {told}, and sent at {at}");
            after += usize::from(at > to);
        }
        assert!(after > 40, "{fault}: only {after} of 80 were left to wait");
        assert_eq!(clinic.log().matches("takes no more requests").count(), 1, "{fault}");
        for i in 0..40 {
            assert_eq!(clinic.counters(&format!("done/bixby/{i}.pdf.receipt.json")), (1, 0), "{fault}");
        }
    }
}

fn firewalled(delivery: &str) -> (Clinic, Firewall) {
    let mut clinic = clinic(delivery);
    let firewall = Firewall::new(&clinic.base_url);
    clinic.redox_url = Some(firewall.base_url());
    (clinic, firewall)
}

#[test]
fn a_document_that_a_firewall_objects_to_does_not_stop_the_others_and_is_held() {
    let check = |is_first| {
        let (clinic, firewall) = firewalled("concurrency = 2\n");
        firewall.forbid("virus test");
        let bad = || clinic.drop_file("inbox/bixby/bad.pdf", pdf("virus test"));
        let daemon = clinic.daemon();
        if is_first {
            bad();
            clinic.wait_for("the alarm", || clinic.log().contains("nothing is sent for now"));
        }
        for i in 0..10 {
            clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(&i.to_string()));
            if i == 5 && !is_first {
                bad();
            }
        }
        // Whoever comes later shows that it is this document alone.
        clinic.wait_for("the alarm", || clinic.log().contains("nothing is sent for now"));
        clinic.drop_file("inbox/bixby/another.pdf", pdf("another"));
        clinic.wait_for("all others", || in_done(&clinic, "done") == 11);
        clinic.wait_for("the hold", || clinic.log().contains("held: a person must decide"));
        daemon.kill();
        assert!(clinic.log().contains("code=\"only-this-refused\"") || clinic.log().contains("code=only-this-refused"));
        let rows = clinic.open_deliveries();
        assert!(rows.len() == 1 && rows[0]["state"] == "held", "{rows:?}");
        // Held is held: the next run neither sends it nor waits for it with the others.
        let refused = firewall.refused(&[]).len();
        assert!(refused <= 3, "{refused} requests for one document");
        clinic.drop_file("inbox/bixby/later.pdf", pdf("later"));
        assert_eq!(clinic.run_once(), 1);
        assert!(clinic.has("done/bixby/later.pdf.receipt.json"));
        assert_eq!(firewall.refused(&[]).len(), refused);
        // The firewall was told better, and a person says so.
        firewall.forbid("");
        assert!(clinic.command(&["release", &clinic.open_id()]).status.success());
        assert_eq!(clinic.run_once(), 0);
        assert_eq!(clinic.counters("done/bixby/bad.pdf.receipt.json"), (1, 0));
    };
    // Each waits a minute, until the channel would be probed again.
    thread::scope(|scope| {
        for is_first in [true, false] {
            scope.spawn(move || check(is_first));
        }
    });
}

#[test]
fn what_every_document_gets_stops_the_channel_and_the_probes_rotate() {
    let (clinic, firewall) = firewalled("concurrency = 4\n");
    firewall.forbid("%PDF");
    let words: Vec<_> = (0..5).map(|i| format!("document number {i}")).collect();
    for (i, word) in words.iter().enumerate() {
        clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(word));
    }
    let _daemon = clinic.daemon();
    // The first pause of a stopped channel is a minute.
    clinic.wait_for("the third probe or more", || firewall.refused(&words).len() >= 3);
    let refused = firewall.refused(&words);
    let different: std::collections::BTreeSet<_> = refused.iter().collect();
    assert!(different.len() >= 3, "always the same ones: {refused:?}");
    // Those that were under way together, and one probe.
    assert!(refused.len() <= 5, "{refused:?}");
    assert!(clinic.files("done").is_empty() && clinic.files("failed").is_empty());
    assert_eq!(clinic.files("inbox").len(), 6, "nothing moved");
    assert!(!clinic.log().contains("held:"), "it is nobody's own problem:\n{}", clinic.log());
    let alarms = clinic.log().matches("nothing is sent for now").count();
    assert!((1..=2).contains(&alarms), "{alarms} alarms\n{}", clinic.log());
    // It is put right, and the next start probes at once.
    firewall.forbid("");
    drop(_daemon);
    assert_eq!(clinic.run_once(), 0);
    assert_eq!(clinic.accepted().len(), 5);
}

#[test]
fn a_server_that_cannot_be_reached_is_probed_by_one_and_said_once_and_all_arrive_when_it_is_back() {
    const DOCUMENTS: usize = 300;
    let mut clinic = clinic("concurrency = 8\n");
    let address = free_address();
    clinic.redox_url = Some(format!("http://{address}"));
    for i in 0..DOCUMENTS {
        clinic.drop_file(format!("inbox/bixby/{i}.pdf"), pdf(&i.to_string()));
    }
    let _daemon = clinic.daemon();
    clinic.wait_for("the alarm", || clinic.log().contains("Redox cannot be reached"));
    // Several times the pause that every document would have had for itself, and the first pause of the probes.
    thread::sleep(Duration::from_secs(7));
    let (log, lines) = (clinic.log(), clinic.log().lines().count());
    assert_eq!(log.matches("Redox cannot be reached").count(), 1, "{log}");
    assert!(lines < 15, "{lines} lines about {DOCUMENTS} documents that wait:\n{log}");
    assert_eq!(clinic.files("inbox").len(), DOCUMENTS + 1);
    let _firewall = Firewall::at(address, &clinic.base_url);
    clinic.wait_for("all of them", || in_done(&clinic, "done") == DOCUMENTS);
    assert_eq!(clinic.log().matches("deliveries go on").count(), 1, "{}", clinic.log());
    assert_eq!(clinic.accepted_facts().len(), DOCUMENTS);
    for i in 0..DOCUMENTS {
        assert_eq!(clinic.counters(&format!("done/bixby/{i}.pdf.receipt.json")), (1, 0), "never sent, never counted");
    }
}
