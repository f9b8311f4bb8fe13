//! The answer of `POST /execute` while the script runs: the events of a run as server-sent events or as lines of JSON.
//!
//! Runs in the supervisor. What is wrong before the script starts is an ordinary answer with its own status; from the first event on
//! the status is 200, and the last event, `done`, has the status and the body that the plain answer would have had. The script must
//! never wait for the client: there is room for so much that it has not taken, and what does not fit is lost and said to be.

mod accept;
mod text;

use self::accept::Form;
pub(super) use self::accept::asked_for;
use self::text::{Text, in_ascii, parts};
use super::Api;
use super::execute::{self, Ran};
use crate::events::{Event, Listener};
use crate::http::{Answer, Ending, Exchange, Full, Pieces, Room, write_text};
use crate::job::{Include, Job};
use crate::outcome::{Refusal, Report};
use crate::service::Service;
use crate::size::ByteSize;
use std::future::poll_fn;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How much of an answer the client may not have taken yet.
const LAG: ByteSize = ByteSize(512 * 1024);

/// After so long a silence the client gets a comment, so that nobody in between takes the connection for dead.
const SILENCE: Duration = Duration::from_secs(10);

/// Runs a job and answers with its events. `room` is what the job counts for.
pub(super) async fn answer<S: Service>(
    api: &Api<S>,
    exchange: &mut Exchange,
    job: Job,
    room: Room,
    form: Form,
) -> Answer {
    let (include, cap) = (job.include(), job.limits().output.as_usize());
    let outbox = Arc::new(Outbox::new(form, cap));
    let (service, client, mut heard) = (Arc::clone(&api.service), exchange.client(), Heard(Arc::clone(&outbox)));
    let mut run: Running = Box::pin(async move {
        let _room = room;
        service.run(job, client, &mut heard).await
    });
    // Up to its start the run may be refused, and is then answered like any other.
    let early = poll_fn(|cx| match run.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if outbox.has_started() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    let rest: Running = match early {
        Some(Err(refusal)) if !outbox.has_started() => return execute::refused(&refusal),
        Some(result) => Box::pin(std::future::ready(result)),
        None => run,
    };
    let api = api.clone();
    exchange.stream(form.media_type(), LAG, |pieces| {
        outbox.open(pieces);
        tokio::spawn(to_the_end(api, outbox, rest, include)).abort_handle()
    })
}

type Running = Pin<Box<dyn Future<Output = Result<Report, Refusal>> + Send>>;

/// Sees a run to its end, which is the end of the answer.
async fn to_the_end<S: Service>(api: Api<S>, outbox: Arc<Outbox>, mut run: Running, include: Include) {
    let result = loop {
        let silent_until = outbox.last_word() + SILENCE;
        tokio::select! {
            biased;
            result = &mut run => break result,
            () = sleep_until(silent_until) => outbox.beat(),
        }
    };
    let ran = match result {
        Ok(report) => execute::ran(&api, report, include).await,
        Err(refusal) => execute::not_run(&refusal),
    };
    outbox.end(&ran);
}

/// Hears the run.
struct Heard(Arc<Outbox>);

impl Listener for Heard {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Started => self.0.start(),
            Event::Stdout(bytes) => self.0.wrote(Stream::Stdout, bytes),
            Event::Stderr(bytes) => self.0.wrote(Stream::Stderr, bytes),
        }
    }

    fn is_there(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    const BOTH: [Self; 2] = [Self::Stdout, Self::Stderr];

    fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Events on their way to the client.
struct Outbox {
    form: Form,
    /// How much of each stream is sent, in bytes.
    cap: usize,
    state: Mutex<State>,
}

struct State {
    way: Way,
    has_started: bool,
    last_word: Instant,
    /// By [`Stream`].
    texts: [Text; 2],
}

/// Where events go.
enum Way {
    /// The answer has not begun: they are kept, as far as there will be room.
    Kept(Vec<u8>),
    Open(Pieces),
    Closed,
}

impl Way {
    fn put(&mut self, piece: Vec<u8>) -> Result<(), Full> {
        match self {
            Self::Kept(kept) if piece.len() <= LAG.as_usize().saturating_sub(kept.len()) => {
                kept.extend_from_slice(&piece);
                Ok(())
            }
            Self::Kept(_) => Err(Full),
            Self::Open(pieces) => pieces.put(piece),
            Self::Closed => Ok(()),
        }
    }
}

impl Outbox {
    fn new(form: Form, cap: usize) -> Self {
        let state = State {
            way: Way::Kept(Vec::new()),
            has_started: false,
            last_word: Instant::now(),
            texts: [Text::default(), Text::default()],
        };
        Self { form, cap, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_started(&self) -> bool {
        self.lock().has_started
    }

    fn last_word(&self) -> Instant {
        self.lock().last_word
    }

    fn start(&self) {
        let mut state = self.lock();
        state.has_started = true;
        let _ = state.way.put(self.form.event("start", br#"{"type":"start"}"#));
    }

    /// The answer begins: what was kept goes first.
    fn open(&self, pieces: Pieces) {
        let mut state = self.lock();
        if let Way::Kept(kept) = std::mem::replace(&mut state.way, Way::Closed) {
            // It is empty, and so has room for what was kept within the same bound.
            let _ = pieces.put(kept);
        }
        state.way = Way::Open(pieces);
        state.last_word = Instant::now();
    }

    fn wrote(&self, stream: Stream, bytes: &[u8]) {
        let mut state = self.lock();
        let State { way, texts, last_word, .. } = &mut *state;
        let text = &mut texts[stream as usize];
        let said = text.hear(bytes, self.cap);
        *last_word = Instant::now();
        for part in parts(&said) {
            if way.put(self.text_event(stream, part)).is_err() {
                // What is missing in the middle would be missed by nobody who reads on.
                text.lose(said.len() - (part.as_ptr().addr() - said.as_ptr().addr()));
                return;
            }
        }
    }

    fn text_event(&self, stream: Stream, text: &str) -> Vec<u8> {
        let mut object = Vec::with_capacity(text.len() + 40);
        let _ = write!(object, "{{\"type\":\"{}\",\"text\":", stream.as_str());
        write_text(&mut object, text);
        object.push(b'}');
        self.form.event(stream.as_str(), &in_ascii(&object))
    }

    fn beat(&self) {
        let mut state = self.lock();
        state.last_word = Instant::now();
        if let Some(heartbeat) = self.form.heartbeat() {
            // Where there is no room the client has enough to take.
            let _ = state.way.put(heartbeat.to_vec());
        }
    }

    /// The last words, for which there is always room.
    fn end(&self, ran: &Ran) {
        let mut last = Vec::new();
        let mut state = self.lock();
        for stream in Stream::BOTH {
            if let Some(rest) = state.texts[stream as usize].rest() {
                last.extend(self.text_event(stream, &rest));
            }
        }
        if let Some(object) = truncated(&state.texts) {
            last.extend(self.form.event("truncated", object.as_bytes()));
        }
        let mut done = format!("{{\"type\":\"done\",\"status\":{},\"body\":", ran.status.as_u16()).into_bytes();
        done.extend(in_ascii(&ran.body));
        done.push(b'}');
        last.extend(self.form.event("done", &done));
        if let Way::Open(pieces) = std::mem::replace(&mut state.way, Way::Closed) {
            pieces.end_with(last, Ending { status: ran.status.as_u16(), code: ran.code, spent: ran.spent });
        }
    }
}

/// Which streams were not sent to their end, as a plain answer says it.
fn truncated(texts: &[Text; 2]) -> Option<String> {
    let cut: Vec<String> = Stream::BOTH
        .map(|stream| (stream.as_str(), &texts[stream as usize]))
        .into_iter()
        .filter(|(_, text)| text.is_cut)
        .map(|(name, text)| format!("\"{name}\":{{\"kept\":{},\"total\":{}}}", text.kept, text.total))
        .collect();
    (!cut.is_empty()).then(|| format!("{{\"type\":\"truncated\",{}}}", cut.join(",")))
}
