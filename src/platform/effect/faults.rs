//! Faults by place: `CHARTDROP_FAULT="src/filing/moves.rs:83 2 kill-before"` hits the effect that this line asks for when it
//! is reached for the second time; `CHARTDROP_FAULT_LOG=FILE` gets a line for every effect, `file:line TIME`, and
//! `hit file:line TIME` for each fault. One number for all effects of a process would not do: its threads take turns as
//! they like, and the same number is another effect in the next run.
//!
//! `CHARTDROP_WITHOUT="openat2 noreplace links"` takes system calls away, as older kernels and other filesystems do.
//!
//! `CHARTDROP_FLUSH_ONLY` takes the sync out of the ledger's durable step: what sled alone would be worth in a power cut.

use std::{
    collections::HashMap,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    panic::Location,
    sync::{Mutex, OnceLock, PoisonError},
};

/// What is to happen at an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is not done, and reported as failed.
    FailOnce,
    /// From then on this line fails whenever it is reached.
    FailAlways,
    /// It is done, and reported as failed.
    DoneAndFail,
    /// SIGKILL before it is done.
    KillBefore,
    /// SIGKILL when it is done.
    KillAfter,
}

/// What happens where: with the time at which the line is reached, from 1.
struct Plan {
    place: String,
    time: u64,
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How often each line was reached.
    reached: HashMap<String, u64>,
    log: Option<File>,
}

/// Does an effect, or what is planned instead.
pub fn around<T>(at: &Location<'_>, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let fault = reached(at);
    match fault {
        None => call(),
        Some(Fault::FailOnce | Fault::FailAlways) => Err(failure()),
        Some(Fault::DoneAndFail) => {
            call()?;
            Err(failure())
        }
        Some(Fault::KillBefore) => kill(),
        Some(Fault::KillAfter) => {
            call().ok();
            kill()
        }
    }
}

/// The same for a request: its errors are real ones, of connections that really fail.
pub async fn around_request(
    at: &'static Location<'static>,
    request: impl Future<Output = reqwest::Result<reqwest::Response>>,
) -> reqwest::Result<reqwest::Response> {
    match reached(at) {
        None => request.await,
        Some(Fault::FailOnce | Fault::FailAlways) => broken_connection(false).await,
        Some(Fault::DoneAndFail) => {
            request.await?;
            broken_connection(true).await
        }
        Some(Fault::KillBefore) => kill(),
        Some(Fault::KillAfter) => {
            request.await.ok();
            kill()
        }
    }
}

/// Whether the ledger's steps are to end with sled's flush, which hands them to the kernel and no further.
pub fn steps_are_only_flushed() -> bool {
    static ONLY: OnceLock<bool> = OnceLock::new();
    *ONLY.get_or_init(|| std::env::var_os("CHARTDROP_FLUSH_ONLY").is_some())
}

/// Fails with `errno` when this system call is taken away.
pub fn unless_taken_away(call: &str, errno: i32) -> io::Result<()> {
    static WITHOUT: OnceLock<String> = OnceLock::new();
    let without = WITHOUT.get_or_init(|| std::env::var("CHARTDROP_WITHOUT").unwrap_or_default());
    match without.split(' ').any(|word| word == call) {
        true => Err(io::Error::from_raw_os_error(errno)),
        false => Ok(()),
    }
}

fn reached(at: &Location<'_>) -> Option<Fault> {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    let plan = PLAN.get_or_init(Plan::of_environment);
    let mut state = plan.state.lock().unwrap_or_else(PoisonError::into_inner);
    let place = format!("{}:{}", at.file(), at.line());
    let time = state.reached.entry(place.clone()).or_default();
    *time += 1;
    let time = *time;
    state.log(format_args!("{place} {time}"));
    let is_due = time == plan.time || (time > plan.time && plan.fault == Fault::FailAlways);
    if place != plan.place || !is_due {
        return None;
    }
    state.log(format_args!("hit {place} {time}"));
    Some(plan.fault)
}

impl Plan {
    fn of_environment() -> Self {
        let log = std::env::var_os("CHARTDROP_FAULT_LOG")
            .map(|path| OpenOptions::new().create(true).append(true).open(path))
            .transpose();
        let words = std::env::var("CHARTDROP_FAULT").unwrap_or_default();
        let mut words = words.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (place, time) = (word().to_owned(), word().parse().unwrap_or(0));
        let fault = match word() {
            "fail-always" => Fault::FailAlways,
            "done-and-fail" => Fault::DoneAndFail,
            "kill-before" => Fault::KillBefore,
            "kill-after" => Fault::KillAfter,
            _ => Fault::FailOnce,
        };
        Self { place, time, fault, state: Mutex::new(State { log: log.ok().flatten(), ..State::default() }) }
    }
}

impl State {
    fn log(&mut self, line: fmt::Arguments<'_>) {
        if let Some(log) = &mut self.log {
            log.write_all(format!("{line}\n").as_bytes()).ok();
        }
    }
}

fn failure() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn kill() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
    std::process::abort()
}

/// A connection that nobody accepts, or one that breaks after the request has left.
async fn broken_connection(after: bool) -> reqwest::Result<reqwest::Response> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let url = match listener.as_ref().map(tokio::net::TcpListener::local_addr) {
        Ok(Ok(address)) => format!("http://{address}/"),
        _ => "http://127.0.0.1:1/".into(),
    };
    let request = reqwest::Client::builder().no_proxy().build()?.get(url);
    if after && let Ok(listener) = listener {
        let (response, _) = tokio::join!(request.send(), async { drop(listener.accept().await) });
        return response;
    }
    drop(listener);
    request.send().await
}
