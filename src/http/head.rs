//! The head of an HTTP/1 request, checked to the letter before hyper sees it.
//!
//! Runs in the supervisor; pure. hyper is lenient where RFC 9112 lets it be (bare LF, repeated Content-Length, both
//! framings at once), and every leniency is a way for two servers to disagree about where a request ends. Here each
//! of those is a 400, with words. It must never accept what hyper would read differently.

use super::framing::Framing;
use crate::errors::Refused;
use hyper::Uri;

/// The most header lines in a request: as many as hyper reads without allocating.
pub(super) const MAX_FIELDS: usize = 100;

/// Looks for the end of a head in `bytes`: its length, once it is complete. `line` is where the line begins that was
/// not yet complete at the last look; start with 0.
pub(super) fn find_end(bytes: &[u8], line: &mut usize) -> Result<Option<usize>, Refused> {
    while let Some(length) = bytes[*line..].iter().position(|byte| *byte == b'\n') {
        let end = *line + length;
        if length == 0 || bytes[end - 1] != b'\r' {
            return Err(Refused::BareLineEnd);
        }
        if length == 1 {
            return Ok(Some(end + 1));
        }
        *line = end + 1;
    }
    Ok(None)
}

/// What the header lines say of themselves that decides where the request ends.
#[derive(Default)]
struct Seen<'a> {
    fields: usize,
    hosts: usize,
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
}

/// Checks a complete head, its empty last line included, and says what body follows.
pub(super) fn check(head: &[u8]) -> Result<Framing, Refused> {
    let lines = head.strip_suffix(b"\r\n").unwrap_or(head);
    // Exactly the line's end goes: a second CR before it is a control character like any other.
    let mut lines = lines.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r\n").unwrap_or(line));
    let is_1_1 = check_request_line(lines.next().unwrap_or_default())?;
    let mut seen = Seen::default();
    for line in lines {
        check_field(line, &mut seen)?;
    }
    if is_1_1 && seen.hosts == 0 {
        return Err(Refused::NoHost);
    }
    framing(&seen, is_1_1)
}

/// Whether the version is 1.1, not 1.0.
fn check_request_line(line: &[u8]) -> Result<bool, Refused> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refused::RequestLine);
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(Refused::BadMethod);
    }
    if target.is_empty() || !target.iter().copied().all(is_target_byte) || !is_target(target) {
        return Err(Refused::BadTarget);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(Refused::HttpVersion)
        }
        _ => Err(Refused::BadVersion),
    }
}

/// A character of a target, which has no fragment (RFC 9112 §3.2): whoever strips one asks for something else.
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// A character of a host and port (RFC 3986 §3.2.2), which may be empty.
fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(&byte)
}

/// Whether hyper will read the target. The usual ones are told without building anything.
fn is_target(target: &[u8]) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
    (target[0] == b'/' && target.iter().copied().all(is_plain)) || Uri::try_from(target).is_ok()
}

fn check_field<'a>(line: &'a [u8], seen: &mut Seen<'a>) -> Result<(), Refused> {
    seen.fields += 1;
    if seen.fields > MAX_FIELDS {
        return Err(Refused::HeadTooLarge);
    }
    if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        return Err(Refused::Folded);
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refused::NoColon)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(Refused::BadName);
    }
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Refused::ControlCharacter);
    }
    let value = value.trim_ascii();
    let only_once = |first: &mut Option<&'a [u8]>, fault| match first.replace(value) {
        None => Ok(()),
        Some(_) => Err(fault),
    };
    if name.eq_ignore_ascii_case(b"content-length") {
        only_once(&mut seen.length, Refused::LengthTwice)
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        only_once(&mut seen.coding, Refused::CodingTwice)
    } else if name.eq_ignore_ascii_case(b"host") {
        seen.hosts += 1;
        if !value.iter().copied().all(is_host) {
            return Err(Refused::NoSuchHost);
        }
        if seen.hosts == 1 { Ok(()) } else { Err(Refused::HostTwice) }
    } else {
        Ok(())
    }
}

fn framing(seen: &Seen<'_>, is_1_1: bool) -> Result<Framing, Refused> {
    match (seen.length, seen.coding) {
        (None, None) => Ok(Framing::length(0)),
        (Some(_), Some(_)) => Err(Refused::BothFramings),
        // 18 digits fit an u64, and what hyper can count.
        (Some(digits), None) if (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            Ok(Framing::length(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))))
        }
        (Some(_), None) => Err(Refused::NoLength),
        (None, Some(_)) if !is_1_1 => Err(Refused::CodingInOld),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::chunked()),
        (None, Some(coding)) if coding.to_ascii_lowercase().windows(7).any(|word| word == b"chunked") => {
            Err(Refused::ChunkedNotAlone)
        }
        (None, Some(_)) => Err(Refused::UnknownCoding),
    }
}

/// A character of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds and checks, as the gate does.
    fn read(text: &str) -> Result<Framing, u16> {
        let end = find_end(text.as_bytes(), &mut 0).map_err(Refused::status)?.expect("a complete head");
        check(&text.as_bytes()[..end]).map_err(Refused::status)
    }

    #[test]
    fn ordinary_heads_pass() {
        let cases = [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Framing::length(0)),
            ("GET /a?b=%20c HTTP/1.0\r\n\r\n", Framing::length(0)),
            ("POST /execute HTTP/1.1\r\nhost:x\r\ncontent-length: 12 \r\n\r\nrest", Framing::length(12)),
            ("POST http://x/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::chunked()),
            ("OPTIONS * HTTP/1.1\r\nHost:\r\nX-Empty:\r\nX-Text: caf\u{e9}\t!\r\n\r\n", Framing::length(0)),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn shapes_that_two_servers_could_read_differently_are_refused() {
        let with = |fields: &str| format!("POST /execute HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        let heads = [
            with("Content-Length: 5\r\nTransfer-Encoding: chunked"),
            with("Transfer-Encoding: chunked\r\nContent-Length: 5"),
            with("Content-Length: 5\r\nContent-Length: 5"),
            with("Content-Length: 5, 5"),
            with("Content-Length: +5"),
            with("Content-Length: -5"),
            with("Content-Length: 0x5"),
            with("Content-Length:"),
            with("Content-Length: 1234567890123456789"),
            with("Content-Length : 5"),
            with("Content-Length\r\n : 5"),
            with("Transfer-Encoding: chunked, identity"),
            with("Transfer-Encoding: xchunked"),
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            with("Transfer-Encoding: \u{b}chunked"),
            with("X: a\r\n folded"),
            with("X: a\rb"),
            with("X: a\r"),
            with("X: a\r\r\nY: b"),
            with("X: a\0b"),
            with(": empty"),
            with("no colon"),
            with("Host: y"),
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: caf\u{e9}\r\n\r\n".to_owned(),
            "GET /#b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\nHost: x\n\n".to_owned(),
            "POST / HTTP/1.1\r\nHost: x\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "GET  / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            " GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "GET / http/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "GET /\r\nHost: x\r\n\r\n".to_owned(),
            "GET /\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ];
        for head in heads {
            assert_eq!(read(&head), Err(400), "{head:?}");
        }
    }

    #[test]
    fn other_refusals_have_their_own_status() {
        assert_eq!(read("GET / HTTP/2.0\r\nHost: x\r\n\r\n"), Err(505));
        assert_eq!(read("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"), Err(501));
        let many = "X: y\r\n".repeat(MAX_FIELDS);
        assert_eq!(read(&format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n")), Err(431));
    }

    #[test]
    fn a_head_in_pieces_is_found_once() {
        let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nmore\n";
        let mut line = 0;
        let found = (0..text.len()).find_map(|end| find_end(&text[..end], &mut line).expect("well-formed"));
        assert_eq!(found, Some(text.len() - b"more\n".len()));
    }
}
