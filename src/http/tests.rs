//! The front over real sockets, with a handler whose answers a test makes: what is sent in pieces, and what a client leaves untaken.
//!
//! Runs in the test process, on one thread, so that the log of a test is its own.

use super::budget::{Budget, STREAM};
use super::{Answer, Ending, Exchange, Front, Full, Handler, Pieces, Settings, listen};
use crate::hosts::Hosts;
use crate::proxies::Proxies;
use crate::size::ByteSize;
use hyper::StatusCode;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(60);

/// An answer in pieces: the test puts them, while a task that does nothing stands for whoever makes them.
struct Stream {
    pieces: Pieces,
    /// Ends when the task does.
    task: oneshot::Receiver<()>,
}

/// `/stream` is answered by the test, anything else by two words.
struct Scripted(mpsc::UnboundedSender<Stream>);

/// How far a client of `/stream` may lag behind.
const MOST: ByteSize = ByteSize(256 * 1024);

impl Handler for Scripted {
    async fn handle(&self, exchange: &mut Exchange) -> Answer {
        if exchange.path() != "/stream" {
            return Answer::new(StatusCode::OK, "ok", b"two words".to_vec());
        }
        assert!(exchange.begin());
        exchange.stream("text/plain", MOST, |pieces| {
            let (alive, task) = oneshot::channel();
            assert!(self.0.send(Stream { pieces, task }).is_ok());
            let waits = async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            };
            tokio::spawn(waits).abort_handle()
        })
    }

    fn route(&self, path: &str) -> &'static str {
        if path == "/stream" { "/stream" } else { "-" }
    }

    fn is_health_check(&self, _path: &str) -> bool {
        false
    }

    fn isolation(&self) -> &'static str {
        "none"
    }
}

/// What the log says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
}

const BOTH: [Speaks; 2] = [Speaks::Http1, Speaks::Http2];

struct Server {
    address: SocketAddr,
    budget: Arc<Budget>,
    streams: mpsc::UnboundedReceiver<Stream>,
    log: Log,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// A client, and all that it has read.
struct Client {
    speaks: Speaks,
    socket: TcpStream,
    read: Vec<u8>,
}

fn usual() -> Settings {
    Settings {
        hosts: Hosts::default(),
        proxies: Proxies::default(),
        held_size: ByteSize::mebibytes(64),
        streams: 8,
        connections: 8,
        header_time: LONG,
        body_time: LONG,
        idle_time: LONG,
        drain_time: LONG,
    }
}

impl Server {
    async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, streams) = mpsc::unbounded_channel();
        let (drain, draining) = watch::channel(false);
        let budget = Arc::new(Budget::new(settings.held_size));
        let front = Arc::new(Front {
            handler: Arc::new(Scripted(sender)),
            settings: Arc::new(settings),
            budget: Arc::clone(&budget),
            ids: super::RequestIds::new(),
            draining,
        });
        let (shutdown, ends) = oneshot::channel::<()>();
        let task = tokio::spawn(listen::run(listener, front, drain, async {
            let _ = ends.await;
        }));
        Self { address, budget, streams, log: Log::default(), shutdown: Some(shutdown), task }
    }

    async fn connect(&self, speaks: Speaks) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let socket = socket.connect(self.address).await.expect("a connection");
        Client { speaks, socket, read: Vec::new() }
    }

    /// A client that asked for `/stream`, and the answer's other end.
    async fn stream(&mut self, speaks: Speaks) -> (Client, Stream) {
        let mut client = self.connect(speaks).await;
        client.ask("/stream", "").await;
        let stream = timeout(PATIENCE, self.streams.recv()).await.expect("in time").expect("a stream");
        (client, stream)
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(PATIENCE, wait).await.is_ok(), "{what}: {}", self.log.text());
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field without compression, of up to 126 bytes each.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

impl Client {
    /// Asks for `path`; over HTTP/2 with `settings` as the client's, with this filler in the head.
    async fn ask(&mut self, path: &str, filler: &str) {
        let bytes = match self.speaks {
            Speaks::Http1 => {
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Filler: {filler}\r\n\r\n").into_bytes()
            }
            Speaks::Http2 => {
                let mut head = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
                    .map(|(name, value)| field(name, value))
                    .concat();
                for piece in filler.as_bytes().chunks(100) {
                    head.extend(field("x-filler", &String::from_utf8_lossy(piece)));
                }
                [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, b""), frame(1, 5, 1, &head)].concat()
            }
        };
        self.socket.write_all(&bytes).await.expect("sent");
    }

    /// Reads until `what` has come, which is in one frame or chunk.
    async fn reads(&mut self, what: &str) {
        let find = async {
            while !self.read.windows(what.len()).any(|window| window == what.as_bytes()) {
                assert!(self.socket.read_buf(&mut self.read).await.expect("bytes") > 0, "closed before {what}");
            }
        };
        let found = timeout(PATIENCE, find).await;
        assert!(found.is_ok(), "{what} did not come, but {:?}", String::from_utf8_lossy(&self.read));
    }

    /// Reads until the server closes the connection.
    async fn is_closed(&mut self) {
        let closes = async {
            loop {
                match self.socket.read_buf(&mut self.read).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                }
            }
        };
        assert!(timeout(PATIENCE, closes).await.is_ok(), "the connection stays open");
    }
}

fn run<T: Future<Output = ()>>(settings: Settings, test: impl FnOnce(Server) -> T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let mut server = Server::start(settings).await;
            server.log = log;
            test(server).await;
        });
    });
}

const DONE: Ending = Ending { status: 422, code: "cut_short", spent: None };

#[test]
fn the_line_of_pieces_comes_at_their_end() {
    for speaks in BOTH {
        run(usual(), |mut server| async move {
            let (mut client, stream) = server.stream(speaks).await;
            assert_eq!(stream.pieces.put(b"first".to_vec()), Ok(()));
            client.reads("first").await;
            assert_eq!(server.log.text(), "", "{speaks:?}: the answer goes on");
            assert_eq!(stream.pieces.put(b"second".to_vec()), Ok(()));
            stream.pieces.end_with(Vec::new(), DONE);
            client.reads("second").await;
            server.eventually("a line", |server| server.log.text().contains("request")).await;
            let line = server.log.text();
            for part in ["status=422", "code=\"cut_short\"", "bytes_out=11", "route=\"/stream\""] {
                assert!(line.contains(part), "{speaks:?}: {part} is not in {line}");
            }
            assert_eq!(line.lines().count(), 1, "{line}");
            server.eventually("nothing is held", |server| !server.budget.holds_anything()).await;
        });
    }
}

#[test]
fn an_answer_in_pieces_is_not_idle_and_the_next_request_follows_it() {
    let idle_time = Duration::from_millis(300);
    for speaks in BOTH {
        run(Settings { idle_time, ..usual() }, |mut server| async move {
            let (mut client, stream) = server.stream(speaks).await;
            assert_eq!(stream.pieces.put(b"first".to_vec()), Ok(()));
            client.reads("first").await;
            // Longer than an idle connection is kept, and over HTTP/2 than from one look at it to the next.
            sleep(Duration::from_millis(1600)).await;
            assert_eq!(stream.pieces.put(b"second".to_vec()), Ok(()));
            client.reads("second").await;
            stream.pieces.end_with(Vec::new(), DONE);
            if speaks == Speaks::Http1 {
                client.reads("0\r\n\r\n").await;
                client.ask("/other", "").await;
                client.reads("two words").await;
            }
            client.is_closed().await;
        });
    }
}

#[test]
fn a_client_that_takes_no_pieces_is_bounded_and_closed() {
    let body_time = Duration::from_millis(500);
    for speaks in BOTH {
        run(Settings { body_time, ..usual() }, |mut server| async move {
            let (client, stream) = server.stream(speaks).await;
            let mut put = 0;
            let mut refused = 0;
            while refused < 20 {
                match stream.pieces.put(vec![b'x'; 32 * 1024]) {
                    Ok(()) => (put, refused) = (put + 32, 0),
                    Err(Full) => refused += 1,
                }
                sleep(Duration::from_millis(2)).await;
                assert!(put < 32 * 1024, "{speaks:?}: so many KiB were taken for nobody");
            }
            assert!(timeout(PATIENCE, stream.task).await.expect("in time").is_err(), "{speaks:?}: the task ended");
            assert_eq!(stream.pieces.put(vec![b'x'; 1024 * 1024]), Ok(()), "nobody is there to be too slow");
            server.eventually("a line", |server| server.log.text().contains("status=499")).await;
            server.eventually("nothing is held", |server| !server.budget.holds_anything()).await;
            drop(client);
        });
    }
}

#[test]
fn the_task_ends_when_the_client_leaves() {
    for speaks in BOTH {
        run(usual(), |mut server| async move {
            let (mut client, stream) = server.stream(speaks).await;
            assert_eq!(stream.pieces.put(b"first".to_vec()), Ok(()));
            client.reads("first").await;
            if speaks == Speaks::Http2 {
                // One stream of many is given up; the connection stays.
                client.socket.write_all(&frame(3, 0, 1, &8u32.to_be_bytes())).await.expect("sent");
            } else {
                drop(client);
            }
            assert!(timeout(PATIENCE, stream.task).await.expect("in time").is_err(), "{speaks:?}: the task ended");
            server.eventually("a line", |server| server.log.text().contains("status=499")).await;
            assert!(server.log.text().contains("bytes_out=5"), "{}", server.log.text());
        });
    }
}

#[test]
fn a_drain_waits_for_the_last_piece() {
    for speaks in BOTH {
        run(usual(), |mut server| async move {
            let (mut client, stream) = server.stream(speaks).await;
            assert_eq!(stream.pieces.put(b"first".to_vec()), Ok(()));
            client.reads("first").await;
            drop(server.shutdown.take());
            sleep(Duration::from_millis(600)).await;
            assert!(!server.task.is_finished(), "{speaks:?}: it is cut off");
            assert_eq!(stream.pieces.put(b"second".to_vec()), Ok(()));
            stream.pieces.end_with(Vec::new(), DONE);
            client.reads("second").await;
            client.is_closed().await;
            assert!(timeout(PATIENCE, &mut server.task).await.is_ok(), "{speaks:?}: the drain does not end");
            assert!(server.log.text().contains("status=422"), "{}", server.log.text());
        });
    }
}

/// `SETTINGS_INITIAL_WINDOW_SIZE = 0`: answers have a head and no room for a body.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

#[test]
fn a_small_answer_over_http2_is_counted_until_it_is_taken_and_has_a_deadline() {
    let body_time = Duration::from_millis(1500);
    run(Settings { body_time, ..usual() }, |server| async move {
        let mut client = server.connect(Speaks::Http2).await;
        client.ask("/other", "").await;
        client.reads("two words").await;
        server.eventually("nothing is held", |server| !server.budget.holds_anything()).await;
        // The next two are asked for without room for their bodies.
        let head = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/")];
        let head = head.map(|(name, value)| field(name, value)).concat();
        let bytes = [frame(4, 0, 0, &NO_WINDOW), frame(1, 5, 3, &head), frame(1, 5, 5, &head)].concat();
        client.socket.write_all(&bytes).await.expect("sent");
        server.eventually("both are counted", |server| server.budget.held() >= 2 * STREAM).await;
        client.is_closed().await;
        server.eventually("nothing is held", |server| !server.budget.holds_anything()).await;
    });
}

#[test]
fn a_large_head_over_http2_needs_room() {
    run(Settings { held_size: ByteSize(1), ..usual() }, |server| async move {
        let mut client = server.connect(Speaks::Http2).await;
        client.ask("/other", "").await;
        client.reads("two words").await;
        let mut client = server.connect(Speaks::Http2).await;
        client.ask("/other", &"x".repeat(4000)).await;
        client.reads("too many large requests and answers are in memory").await;
    });
}
