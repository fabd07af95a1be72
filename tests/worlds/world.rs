//! One world from its beginning to its end: staff, a server with faults, and a daemon that is killed, stopped, started
//! twice and given a wrong clock; then peace, and the judgement.

use std::{
    fs,
    path::PathBuf,
    process::{Child, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    books::Books,
    clock::{Clock, TOKENS},
    oracle::{self, Figures},
    plan::{ClockKind, Plan, Rng},
    staff::{MARK, Staff, Tally},
    support::{Clinic, chartdrop},
};

/// A daemon that needs longer for its start or its end hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing in these worlds pauses for so long while a document could be sent.
const STILL: Duration = Duration::from_secs(20);
/// What the log says when the channel is stopped; only a restart opens it soon.
const STOPPED: &str = "nothing is sent for now";

/// Lives through a world. An error is what the oracle, or the daemon's behaviour on the way, found wrong.
pub fn live(plan: &Plan) -> Result<Figures, String> {
    let clinic = clinic(plan);
    let world = World {
        plan,
        books: Books::default(),
        clock: Clock::new(clinic.path("clock")),
        config: clinic.config(),
        tally: Tally::default(),
        clinic: &clinic,
    };
    let began = Instant::now();
    let mut daemon = Daemon::new(&world);
    let over = AtomicBool::new(false);
    let root = clinic.path("");
    let found = scope(|threads| {
        let staff: Vec<_> = (0..plan.staff)
            .map(|me| Staff::new(plan, &root, &world.books, &world.tally, me))
            .map(|staff| threads.spawn(|| staff.work()))
            .collect();
        threads.spawn(|| world.watch_backlog(&over));
        threads.spawn(|| world.make_faults(&over));
        let result = daemon.suffer(|| staff.iter().all(|thread| thread.is_finished()));
        world.tally.is_called_off.store(true, Ordering::Relaxed);
        over.store(true, Ordering::Relaxed);
        result
    });
    let found = found.and_then(|()| daemon.come_to_rest());
    let judged = found.and_then(|()| oracle::judge(&world, daemon.figures()));
    match judged {
        Ok(figures) => Ok(Figures { seconds: began.elapsed().as_secs_f64(), ..figures }),
        Err(what) => Err(format!("{plan}\n{what}\n\nthe last log:\n{}", daemon.last_words())),
    }
}

fn clinic(plan: &Plan) -> Clinic {
    // The clock may be far off only while a token lasts.
    let mut clinic = Clinic::new(&["--token-life", "1h"]);
    clinic.inbox = format!("settle = \"{}ms\"\nincomplete_after = \"3s\"\n", plan.settle.as_millis());
    clinic.delivery = format!(
        "retry_first = \"20ms\"\nretry_max = \"300ms\"\nrequest_timeout = \"1500ms\"\non_unknown = \"{}\"\nmethod = \"{}\"\n\
         embed_limit = \"20KB\"\nconcurrency = {}\n",
        plan.on_unknown, plan.method, plan.concurrency
    );
    clinic.redox = format!("upload_body = \"{}\"\n", plan.upload_body);
    fs::create_dir(clinic.path("staging")).unwrap();
    clinic
}

pub struct World<'a> {
    pub plan: &'a Plan,
    pub clinic: &'a Clinic,
    pub books: Books,
    pub clock: Clock,
    config: PathBuf,
    tally: Tally,
}

impl World<'_> {
    /// Documents that lie in the inbox now.
    pub fn waiting(&self) -> usize {
        let is_document = |name: &str| !name.starts_with('.') && !name.ends_with(".toml");
        let folders = fs::read_dir(self.clinic.path("inbox")).unwrap();
        let inside = folders.filter_map(|folder| fs::read_dir(folder.ok()?.path()).ok()).flatten();
        inside.filter(|file| file.as_ref().is_ok_and(|file| is_document(&file.file_name().to_string_lossy()))).count()
    }

    fn watch_backlog(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let began = Instant::now();
            self.tally.backlog.store(self.waiting(), Ordering::Relaxed);
            sleep(Duration::from_millis(if self.plan.long { 40 } else { 100 }).max(4 * began.elapsed()));
        }
    }

    fn make_faults(&self, over: &AtomicBool) {
        let mut rng = Rng::of(self.plan.seed, 1);
        while !over.load(Ordering::Relaxed) {
            sleep(rng.pause(if self.plan.long { 200 } else { 700 }));
            let fault = self.plan.fault(&mut rng);
            self.clinic.fault(&fault);
            self.books.note(format!("fault {fault}"));
            // Rules that have hit stay in the plan and are asked at every request.
            if self.plan.long && rng.chance(5) {
                self.clinic.clear_faults();
            }
        }
        self.clinic.clear_faults();
    }

    /// A command for a stopped daemon.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let output = chartdrop().args(arguments).arg("--config").arg(&self.config).output().unwrap();
        // Killed before it had made its ledger.
        let is_new = output.stderr.starts_with(b"There is no ledger yet");
        assert!(output.status.success() || is_new, "{arguments:?}: {output:?}");
        output
    }

    /// What `status` or `history` lists.
    pub fn rows(&self, command: &str) -> Vec<Value> {
        let states: &[&str] = match command {
            "status" => &["queued", "sending", "unknown", "held", "filing"],
            _ => &["accepted", "rejected"],
        };
        let mut arguments = vec!["history", "--json", "--limit", "100000000"];
        arguments.extend(states.iter().flat_map(|state| ["--state", state]));
        let output = self.command(&arguments);
        if output.stdout.is_empty() {
            return Vec::new();
        }
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
        listed["deliveries"].as_array().unwrap().clone()
    }
}

/// The program under test, and all that is done to it.
struct Daemon<'a> {
    world: &'a World<'a>,
    rng: Rng,
    child: Option<Child>,
    /// Its log; a new one for each start.
    log: PathBuf,
    starts: usize,
    operator: usize,
}

#[derive(Clone, Copy)]
enum Event {
    Kill,
    Terminate,
    Freeze,
    Twin,
    Clock,
}

impl<'a> Daemon<'a> {
    fn new(world: &'a World<'a>) -> Self {
        let rng = Rng::of(world.plan.seed, 2);
        Self { world, rng, child: None, log: PathBuf::new(), starts: 0, operator: 0 }
    }

    fn figures(&self) -> Figures {
        Figures {
            files: self.world.tally.dropped.load(Ordering::Relaxed),
            kills: self.kills(),
            restarts: self.starts.saturating_sub(1),
            operator: self.operator,
            ..Figures::default()
        }
    }

    fn kills(&self) -> usize {
        self.world.tally.kills.load(Ordering::Relaxed)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn said(&self, words: &str) -> bool {
        fs::read_to_string(&self.log).unwrap_or_default().contains(words)
    }

    fn command(&self, log: &PathBuf) -> std::process::Command {
        let mut command = chartdrop();
        command.arg("run").arg("--config").arg(&self.world.config).stdout(Stdio::null());
        command.stderr(fs::File::create(log).unwrap());
        if self.world.plan.once {
            command.args(["--once", "--for", "10s"]);
        }
        if self.world.plan.clock != ClockKind::Right {
            self.world.clock.lend(&mut command);
        }
        command
    }

    fn start(&mut self) {
        assert!(self.child.is_none());
        self.starts += 1;
        self.log = self.world.clinic.path(format!("log-{}", self.starts));
        self.child = Some(self.command(&self.log).spawn().unwrap());
    }

    /// Whether it runs. One that ended by itself without a reason is an error.
    fn is_running(&mut self) -> Result<bool, String> {
        let Some(child) = &mut self.child else { return Ok(false) };
        let Some(status) = child.try_wait().unwrap() else { return Ok(true) };
        self.child = None;
        self.check_log()?;
        match (self.world.plan.once, status.code()) {
            (true, Some(0..=2)) => Ok(false),
            _ => Err(format!("the daemon ended by itself: {status}\n{}", self.last_words())),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
    }

    /// What every log must not hold.
    fn check_log(&self) -> Result<(), String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        for (words, wrong) in [(MARK, "names a file, a folder or a title"), ("panicked", "tells of a panic")] {
            if log.contains(words) {
                return Err(format!("the log {wrong}:\n{}", self.last_words()));
            }
        }
        Ok(())
    }

    fn wait_for_end(&mut self) -> Result<ExitStatus, String> {
        let mut child = self.child.take().unwrap();
        let status = wait(&mut child).ok_or("the daemon does not end")?;
        self.check_log()?;
        if self.world.plan.long {
            fs::remove_file(&self.log).ok();
        }
        Ok(status)
    }

    fn terminate(&mut self) -> Result<(), String> {
        if !self.is_running()? {
            return Ok(());
        }
        self.signal(Signal::TERM);
        let status = self.wait_for_end()?;
        // Told to end before it listened: the signal's own effect.
        match status.code() {
            Some(0) | None => Ok(()),
            Some(1..=2) if self.world.plan.once => Ok(()),
            Some(_) => Err(format!("told to end, it ended with {status}\n{}", self.last_words())),
        }
    }

    fn kill(&mut self) -> Result<(), String> {
        if self.is_running()? {
            self.signal(Signal::KILL);
            self.wait_for_end()?;
        }
        Ok(())
    }

    /// Everything that happens to it while staff are at work, and until it was killed as often as planned.
    fn suffer(&mut self, is_over: impl Fn() -> bool) -> Result<(), String> {
        let plan = self.world.plan;
        self.start();
        while !is_over() || (self.kills() < plan.kills && self.world.waiting() > 0) {
            if !self.is_running()? {
                self.start();
            }
            let event = self.rng.weighted(&[
                (if plan.long { 400 } else { 10 }, Event::Kill),
                (3, Event::Terminate),
                (3, Event::Freeze),
                (2, Event::Twin),
                (if plan.clock == ClockKind::Right { 0 } else { 6 }, Event::Clock),
            ]);
            match event {
                Event::Kill => self.kill_at_work(&is_over)?,
                Event::Terminate => {
                    sleep(self.rng.pause(500));
                    self.terminate()?;
                }
                Event::Freeze => {
                    sleep(self.rng.pause(300));
                    self.signal(Signal::STOP);
                    sleep(self.rng.pause(500));
                    self.signal(Signal::CONT);
                }
                Event::Twin => self.twin()?,
                Event::Clock => self.jump()?,
            }
            if self.said(STOPPED) {
                self.world.books.note("the channel is stopped; restart".into());
                sleep(self.rng.pause(200));
                self.terminate()?;
            }
        }
        Ok(())
    }

    /// Kills it while documents are on their way; in a long world no sooner than the plan's even pace.
    fn kill_at_work(&mut self, is_over: impl Fn() -> bool) -> Result<(), String> {
        let (world, plan) = (self.world, self.world.plan);
        let pace = plan.files * (self.kills() + 1) / (plan.kills + 1);
        let late = Instant::now() + Duration::from_secs(if plan.long { 30 } else { 2 });
        loop {
            let due = !plan.long || world.tally.dropped.load(Ordering::Relaxed) >= pace;
            if due && self.kills() < plan.kills && self.said("chartdrop 0") {
                sleep(self.rng.pause(if plan.long { 150 } else { 600 }));
                if world.waiting() > 0 && self.is_running()? {
                    break;
                }
            }
            if is_over() && (self.kills() >= plan.kills || world.waiting() == 0) {
                return Ok(());
            }
            if !self.is_running()? || self.said(STOPPED) || Instant::now() > late {
                return Ok(());
            }
            sleep(Duration::from_millis(5));
        }
        self.kill()?;
        world.tally.kills.fetch_add(1, Ordering::Relaxed);
        world.books.note("killed".into());
        if self.rng.chance(5) {
            world.command(&["retry", "--all"]);
            world.books.note("retry --all".into());
            self.operator += 1;
        }
        sleep(self.rng.pause(if plan.long { 10 } else { 150 }));
        self.start();
        Ok(())
    }

    /// A second daemon on the same configuration must refuse, and soon.
    fn twin(&mut self) -> Result<(), String> {
        let began = Instant::now();
        while !self.said("deliveries begin") {
            if !self.is_running()? || began.elapsed() > PATIENCE {
                return Ok(());
            }
            sleep(Duration::from_millis(5));
        }
        let log = self.world.clinic.path("log-twin");
        let mut twin = self.command(&log).spawn().unwrap();
        let status = wait(&mut twin).ok_or("a second daemon does not end")?;
        // One that is run again and again may have ended meanwhile, and left its place to the second.
        if self.is_running()? && status.success() {
            return Err(format!("a second daemon ran beside the first: {status}"));
        }
        let words = fs::read_to_string(log).unwrap();
        if self.child.is_some() && !words.contains("another chartdrop") && !words.contains("in use") {
            return Err(format!("a second daemon does not say what is wrong: {words}"));
        }
        Ok(())
    }

    /// The clock jumps; once it is far off, until the next restart or a while later.
    fn jump(&mut self) -> Result<(), String> {
        let clock = &self.world.clock;
        let far = [-90_000, -7200, -3600, 600, 3600, 7200, 90_000];
        let seconds = match self.world.plan.clock {
            ClockKind::JumpsFar if self.rng.chance(50) => self.rng.pick(&far),
            _ => TOKENS.start() + self.rng.below(usize::try_from(TOKENS.end() - TOKENS.start()).unwrap()) as i64,
        };
        clock.set(seconds);
        self.world.books.note(format!("the clock is {seconds} seconds off"));
        sleep(self.rng.pause(700));
        if !TOKENS.contains(&clock.seconds()) {
            // Sometimes it is still so at the next start, which then gets no token.
            if self.rng.chance(30) {
                self.terminate()?;
                self.start();
                sleep(self.rng.pause(500));
            }
            clock.set(0);
            self.world.books.note("the clock is set right".into());
        }
        Ok(())
    }

    /// No more faults, a right clock: whatever is not held for a person must now come to its end by itself.
    fn come_to_rest(&mut self) -> Result<(), String> {
        self.world.clock.set(0);
        self.world.clinic.clear_faults();
        self.world.books.note("peace".into());
        let mut before = usize::MAX;
        loop {
            self.terminate()?;
            let (rows, waiting) = (self.world.rows("status"), self.world.waiting());
            let held: Vec<_> = rows.iter().filter(|row| row["state"] == "held").collect();
            if held.is_empty() && waiting >= before {
                return Err(format!("nothing moves any more: {rows:#?}\n{}", self.last_words()));
            }
            before = waiting;
            for row in held {
                let verb = self.rng.pick(&["retry", "release"]);
                self.world.command(&[verb, row["id"].as_str().unwrap()]);
                self.operator += 1;
            }
            self.start();
            if self.drains()? {
                break;
            }
        }
        self.terminate()
    }

    /// True once the inbox holds no document; false when nothing has moved for long, or only held ones are left.
    fn drains(&mut self) -> Result<bool, String> {
        let (mut waiting, mut since) = (self.world.waiting(), Instant::now());
        while waiting > 0 {
            let still =
                if self.said(": held: ") || self.said("held: whether") { Duration::from_secs(2) } else { STILL };
            if since.elapsed() > still {
                return Ok(false);
            }
            if !self.is_running()? {
                // `run --once` ends when only what is held is left.
                return Ok(self.world.waiting() == 0);
            }
            sleep(Duration::from_millis(20));
            let now = self.world.waiting();
            if now != waiting {
                (waiting, since) = (now, Instant::now());
            }
        }
        Ok(true)
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return Some(status),
            None if Instant::now() > end => {
                child.kill().ok();
                child.wait().ok();
                return None;
            }
            None => sleep(Duration::from_millis(5)),
        }
    }
}
