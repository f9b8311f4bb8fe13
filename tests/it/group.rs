//! Cases that share one server, and what must hold of it when the last of them is done.

use driver::process::Process;
use driver::server::{PATIENCE, Server, Setup, eventually};
use driver::trial::{Needs, lone_trial, trial, trial_after, trial_after_lone};
use libtest_mimic::Trial;
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// One server, started by the first case that needs it.
#[derive(Debug)]
pub struct Group {
    name: String,
    needs: Needs,
    setup: Setup,
    started: OnceLock<Started>,
    /// Whether a case needs the machine for itself.
    has_lone: AtomicBool,
}

#[derive(Debug)]
struct Started {
    server: Server,
    /// Descriptors and memory (KiB) after the server had served a few requests.
    descriptors: usize,
    resident: u64,
}

/// What the server's memory may grow by over a whole group: buffers that the allocator keeps, no leak per request.
const GROWTH: u64 = 64 * 1024;

impl Group {
    /// `needs`: what its server asks of whoever runs the tests.
    pub fn new(name: impl Into<String>, needs: Needs, setup: Setup) -> Arc<Self> {
        Arc::new(Self { name: name.into(), needs, setup, started: OnceLock::new(), has_lone: AtomicBool::new(false) })
    }

    fn started(&self) -> &Started {
        self.started.get_or_init(|| {
            let server = self.setup.start();
            for _ in 0..8 {
                server.check(CANARY, &CANARY_ANSWER.into());
            }
            // Such a script waits for the second zygote, whose ready children have descriptors too.
            server.check("import numpy\ndef main():\n    return 1", &1.into());
            let descriptors = settled_descriptors(&server);
            Started { descriptors, resident: server.resident(), server }
        })
    }

    pub fn server(&self) -> &Server {
        &self.started().server
    }

    /// A case.
    pub fn trial(self: &Arc<Self>, name: &str, test: impl FnOnce(&Server) + Send + 'static) -> Trial {
        let group = Arc::clone(self);
        self.needs.allow(trial(format!("{}::{name}", self.name), move || test(group.server())))
    }

    /// A case that needs the machine for itself.
    pub fn lone_trial(self: &Arc<Self>, name: &str, test: impl FnOnce(&Server) + Send + 'static) -> Trial {
        let group = Arc::clone(self);
        self.has_lone.store(true, Ordering::Relaxed);
        self.needs.allow(lone_trial(format!("{}::{name}", self.name), move || test(group.server())))
    }

    /// The last trial of a group: waits until all others are done, and examines the server.
    pub fn last(self: Arc<Self>) -> Trial {
        let name = format!("{}::leaves-nothing-behind", self.name);
        let (needs, has_lone) = (self.needs, self.has_lone.load(Ordering::Relaxed));
        let (watched, examined) = (Arc::downgrade(&self), self);
        let wait = move || {
            let deadline = Instant::now() + Duration::from_secs(600);
            while watched.strong_count() > 1 {
                assert!(Instant::now() < deadline, "cases of this group are still running");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let examine = move || {
            if let Some(started) = examined.started.get() {
                started.examine();
            }
        };
        needs.allow(if has_lone { trial_after_lone(name, wait, examine) } else { trial_after(name, wait, examine) })
    }
}

/// A script that any healthy server answers.
pub const CANARY: &str = "def main():\n    return 'alive ' + str(sum(range(10)))";
pub const CANARY_ANSWER: &str = "alive 45";

impl Started {
    fn examine(&self) {
        let server = &self.server;
        server.check(CANARY, &CANARY_ANSWER.into());
        let zombies = || server.processes().into_iter().filter(|process| process.state == 'Z').count();
        eventually("no zombie is left", || zombies() == 0);
        let descriptors = settled_descriptors(server);
        // A refill may be under way: three descriptors for each child on its way, for both zygotes.
        assert!(
            descriptors <= self.descriptors + 12,
            "{} descriptors at first, {descriptors} at the end",
            self.descriptors
        );
        let resident = server.resident();
        assert!(resident <= self.resident + GROWTH, "{} KiB resident at first, {resident} at the end", self.resident);
        let known: Vec<i32> = server.processes().iter().map(|process| process.pid).collect();
        let pid = server.pid().as_raw();
        let strays = Process::all().into_iter().filter(|process| known.contains(&process.parent) && process.pid != pid);
        assert_eq!(strays.map(|process| Pid::from_raw(process.pid)).collect::<Vec<_>>(), [], "processes of children");
    }
}

/// The number of descriptors once it no longer changes.
fn settled_descriptors(server: &Server) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut last = server.descriptors();
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = server.descriptors();
        if now == last || Instant::now() > deadline {
            return now;
        }
        last = now;
    }
}
