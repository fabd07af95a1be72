//! What a world is like: all of it follows from its seed.

use std::{fmt, time::Duration};

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// One for each who chooses, so that nobody's choices depend on when others choose.
    pub fn of(seed: u64, who: u64) -> Self {
        Self(Self(seed ^ who.wrapping_mul(0xd6e8_feb8_6659_fd93)).next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// Up to so many milliseconds.
    pub fn pause(&mut self, most: usize) -> Duration {
        Duration::from_millis(self.below(most + 1) as u64)
    }

    /// One of the choices, each as often as its weight says.
    pub fn weighted<T: Clone>(&mut self, of: &[(usize, T)]) -> T {
        let mut at = self.below(of.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in of {
            match at.checked_sub(*weight) {
                Some(left) => at = left,
                None => return choice.clone(),
            }
        }
        unreachable!("the weights were added up")
    }
}

/// How the daemon's clock behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    Right,
    /// Seconds and minutes to and fro: Redox still gives tokens.
    Jumps,
    /// Hours and days to and fro.
    JumpsFar,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Documents that staff drop.
    pub files: usize,
    /// SIGKILLs while there is work.
    pub kills: usize,
    pub patients: usize,
    /// People who drop at once.
    pub staff: usize,
    /// Staff stop dropping while so many documents wait.
    pub backlog: usize,
    pub on_unknown: &'static str,
    pub method: &'static str,
    pub upload_body: &'static str,
    pub concurrency: usize,
    pub settle: Duration,
    /// `run --once` again and again, in place of the daemon.
    pub once: bool,
    pub clock: ClockKind,
    /// A long world: more of the ordinary, and what keeps it quick.
    pub long: bool,
}

impl Plan {
    /// A world of a few seconds.
    pub fn short(seed: u64) -> Self {
        let mut rng = Rng::of(seed, 0);
        Self {
            seed,
            files: 60 + rng.below(60),
            kills: 3 + rng.below(8),
            patients: 2 + rng.below(5),
            staff: 2 + rng.below(3),
            backlog: 60,
            on_unknown: rng.pick(&["resend", "search", "hold"]),
            method: rng.pick(&["upload", "embed", "auto"]),
            upload_body: rng.pick(&["raw", "raw", "multipart", "fhir-json"]),
            concurrency: rng.pick(&[1, 2, 4, 16]),
            settle: Duration::from_millis(rng.pick(&[50, 300, 700])),
            once: rng.chance(30),
            clock: rng.weighted(&[(2, ClockKind::Right), (1, ClockKind::Jumps), (1, ClockKind::JumpsFar)]),
            long: false,
        }
    }

    /// A world of any size.
    pub fn long(seed: u64, files: usize, kills: usize) -> Self {
        Self {
            files,
            kills,
            patients: (files / 50).clamp(5, 400),
            staff: 6,
            backlog: 300,
            on_unknown: "resend",
            method: "auto",
            upload_body: "raw",
            concurrency: 32,
            settle: Duration::from_millis(20),
            once: false,
            clock: ClockKind::Jumps,
            long: true,
            ..Self::short(seed)
        }
    }

    /// A fault for the sandbox's plan.
    ///
    /// Left out is what no client can cope with: a server that takes a message in and says that it did not (4xx, or 200
    /// with an error inside, together with `commit`), and one that says that it has a document that it does not have. A
    /// 429 always says for how long, since five minutes are not to be waited for here.
    pub fn fault(&self, rng: &mut Rng) -> String {
        let which = match (self.long, rng.chance(70)) {
            (false, true) => format!("nth={}", 1 + rng.below(6)),
            (false, false) => format!("first={}", 1 + rng.below(3)),
            (true, _) => format!("nth={}", 1 + rng.below(40)),
        };
        let body = rng.pick(&["", "", ",body=html", ",body=text", ",body=empty"]);
        let overload = rng.pick(&[500, 502, 503, 504]);
        let retry_after = rng.pick(&["", ",retry_after=1"]);
        let refusal = rng.pick(&[400, 409, 413, 415, 422]);
        // These stop the channel, and only a restart opens it soon.
        let shut = rng.pick(&[401, 403, 404, 405]);
        let cut = rng.pick(&["before", "mid", "after"]);
        let hang = rng.pick(&["hang", "hang=after"]);
        let delay = rng.below(900);
        let code = rng.pick(&["transient", "throttled", "login", "invalid"]);
        let (slow, stop) = if self.long { (1, 1) } else { (4, 3) };
        let create = rng.weighted(&[
            // A 503 with Retry-After says that it was not processed.
            (8, format!("status={overload},commit{body}{}", if overload == 503 { "" } else { retry_after })),
            (6, format!("status={overload}{body}{retry_after}")),
            (10, format!("cut={cut}")),
            (slow, hang.to_owned()),
            (slow, "slow".to_owned()),
            (4, format!("delay={delay}ms")),
            (3, format!("status={refusal}{body}")),
            (2, "ok-with-outcome".to_owned()),
            (2, format!("status=400,body=outcome:{code}")),
            (3, "status=408".to_owned()),
            (2, "status=429,retry_after=1".to_owned()),
            (stop, format!("status={shut}{body}")),
            (3, "revoke".to_owned()),
            (1, "redirect=http://127.0.0.1:9/".to_owned()),
        ]);
        let other = rng.weighted(&[
            (6, format!("status={overload}{body}{retry_after}")),
            (6, format!("cut={cut}")),
            (slow, hang.to_owned()),
            (slow, "slow".to_owned()),
            (3, format!("delay={delay}ms")),
            (1, format!("status={refusal}{body}")),
            (2, "status=429,retry_after=1".to_owned()),
            (stop, format!("status={shut}{body}")),
            (3, "revoke".to_owned()),
        ]);
        match rng.weighted(&[(12, "create"), (8, "binary"), (1, "token"), (2, "search")]) {
            "create" => format!("create:{which}:{create}"),
            "binary" if rng.chance(15) => format!("binary:{which}:no_location"),
            endpoint => format!("{endpoint}:{which}:{other}"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, files, kills, patients, staff, on_unknown, method, upload_body, concurrency, .. } = self;
        write!(
            f,
            "seed {seed}: {files} files, {kills} kills, {patients} patients, {staff} staff, {} {on_unknown}, {method}, \
             {upload_body}, {concurrency} at once, settle {:?}, clock {:?}",
            if self.once { "run --once," } else { "run," },
            self.settle,
            self.clock,
        )
    }
}
