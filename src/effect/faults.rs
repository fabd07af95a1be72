//! Faults by number: `CHARTDROP_FAULT="17 kill-before"` hits the 17th effect of this process; `CHARTDROP_FAULT_LOG=FILE`
//! gets a line for every effect, `NUMBER file:line`, and `hit NUMBER file:line` for each fault.
//!
//! `CHARTDROP_FLUSH_ONLY` takes the sync out of the ledger's durable step: what sled alone would be worth in a power cut.

use std::{
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

struct Plan {
    number: u64,
    fault: Fault,
    state: Mutex<State>,
}

struct State {
    effects: u64,
    /// The line that fails for good.
    failing: Option<String>,
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

fn reached(at: &Location<'_>) -> Option<Fault> {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    let plan = PLAN.get_or_init(Plan::of_environment);
    let mut state = plan.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.effects += 1;
    let number = state.effects;
    let place = format!("{}:{}", at.file(), at.line());
    state.log(format_args!("{number} {place}"));
    let again = state.failing.as_ref() == Some(&place);
    if number != plan.number && !again {
        return None;
    }
    if plan.fault == Fault::FailAlways {
        state.failing = Some(place.clone());
    }
    state.log(format_args!("hit {number} {place}"));
    Some(plan.fault)
}

impl Plan {
    fn of_environment() -> Self {
        let log = std::env::var_os("CHARTDROP_FAULT_LOG")
            .map(|path| OpenOptions::new().create(true).append(true).open(path))
            .transpose();
        let state = Mutex::new(State { effects: 0, failing: None, log: log.ok().flatten() });
        let words = std::env::var("CHARTDROP_FAULT").unwrap_or_default();
        let (number, fault) = words.split_once(' ').unwrap_or_default();
        let fault = match fault {
            "fail-always" => Fault::FailAlways,
            "done-and-fail" => Fault::DoneAndFail,
            "kill-before" => Fault::KillBefore,
            "kill-after" => Fault::KillAfter,
            _ => Fault::FailOnce,
        };
        Self { number: number.parse().unwrap_or(0), fault, state }
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
