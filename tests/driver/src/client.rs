//! A client that speaks HTTP/1.1 as plainly as can be, so that a test can also send what no client should.
//!
//! Runs in the test process. It never corrects what it sends and never retries.

use crate::server::PATIENCE;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// One connection, kept alive.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// A connection that comes from this address, any in 127.0.0.0/8.
    pub fn open_from(source: Ipv4Addr, address: SocketAddrV4) -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
        connect(socket.as_raw_fd(), &SockaddrIn::from(address))?;
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// One request and its answer.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("a string");
        }
        if !body.is_empty() || method == "POST" {
            write!(head, "Content-Length: {}\r\n", body.len()).expect("a string");
        }
        head.push_str("\r\n");
        let sent = self.send(&[head.as_bytes(), body].concat());
        // A server may answer and close before it has read all; then sending fails, and the answer still counts.
        self.answer_to(method).unwrap_or_else(|error| panic!("{method} {path}: no answer: {error} (sent: {sent:?})"))
    }

    #[track_caller]
    pub fn execute(&mut self, request: &Value) -> Answer {
        let body = serde_json::to_vec(request).expect("JSON");
        self.request("POST", "/execute", &[("Content-Type", "application/json")], &body)
    }

    /// Reads the next answer that is not an interim one.
    pub fn answer(&mut self) -> io::Result<Answer> {
        self.answer_to("GET")
    }

    fn answer_to(&mut self, method: &str) -> io::Result<Answer> {
        loop {
            let answer = Answer::read(&mut self.0, method == "HEAD")?;
            if answer.status >= 200 {
                return Ok(answer);
            }
        }
    }

    /// Reads the head of an answer that comes in chunks, and leaves these to [`Self::chunk`].
    pub fn head(&mut self) -> io::Result<Answer> {
        Answer::read(&mut self.0, true)
    }

    /// Reads one chunk as soon as it is there; an empty one is the answer's end.
    pub fn chunk(&mut self) -> io::Result<Vec<u8>> {
        chunk(&mut self.0)
    }

    /// Reads one answer, interim ones included.
    pub fn interim(&mut self) -> io::Result<Answer> {
        Answer::read(&mut self.0, false)
    }

    /// Whether the server ends the connection, without another byte, before the patience does.
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        self.stream().set_read_timeout(Some(patience)).expect("a socket");
        let closed = match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        self.stream().set_read_timeout(Some(PATIENCE)).expect("a socket");
        closed
    }

    /// Whether an answer begins before the patience ends; it is still to be read.
    pub fn answers_within(&mut self, patience: Duration) -> bool {
        self.stream().set_read_timeout(Some(patience)).expect("a socket");
        let begins = self.0.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        self.stream().set_read_timeout(Some(PATIENCE)).expect("a socket");
        begins
    }

    /// Tells the server that nothing more comes.
    pub fn half_close(&self) {
        self.stream().shutdown(Shutdown::Write).expect("a socket");
    }
}

/// The next chunk of a body that comes in chunks; an empty one is its end.
fn chunk(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut size = String::new();
    from.read_line(&mut size)?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, format!("{size:?} is no size of a chunk"));
    let mut bytes = vec![0; usize::from_str_radix(size.trim_end(), 16).map_err(|_| malformed())? + 2];
    from.read_exact(&mut bytes)?;
    if !bytes.ends_with(b"\r\n") {
        return Err(malformed());
    }
    bytes.truncate(bytes.len() - 2);
    Ok(bytes)
}

fn all_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        match chunk(from)? {
            bytes if bytes.is_empty() => return Ok(body),
            bytes => body.extend(bytes),
        }
    }
}

/// What the server sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(from: &mut impl BufRead, head_only: bool) -> io::Result<Self> {
        let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut line = || -> io::Result<String> {
            let mut line = String::new();
            match from.read_line(&mut line)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(line.trim_end_matches("\r\n").to_owned()),
            }
        };
        let first = line()?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| malformed(&first))?;
        let mut headers = Vec::new();
        loop {
            let field = line()?;
            if field.is_empty() {
                break;
            }
            let (name, value) = field.split_once(':').ok_or_else(|| malformed(&field))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Self { status, headers, body: Vec::new() };
        if !head_only && status >= 200 {
            if answer.header("transfer-encoding") == Some("chunked") {
                answer.body = all_chunks(from)?;
            } else {
                let length = answer.header("content-length").and_then(|length| length.parse().ok());
                answer.body = vec![0; length.ok_or_else(|| malformed("no Content-Length"))?];
                from.read_exact(&mut answer.body)?;
            }
        }
        Ok(answer)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// `{"error": …}` alone, with this sentence.
    #[track_caller]
    pub fn is_error(&self, status: u16, sentence: &str) {
        assert_eq!((self.status, self.json()), (status, json!({ "error": sentence })));
    }
}
