//! `mayfly healthcheck`: whether the server on this machine is ready, for a container's HEALTHCHECK.

use super::exit;
use crate::config::Config;
use crate::log;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any healthy answer takes.
const PATIENCE: Duration = Duration::from_secs(2);

pub fn run(config: &Config) -> i32 {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    match ask(address) {
        Ok(status) if status.contains(" 200 ") => exit::OK,
        Ok(status) => {
            log::fatal(&format!("http://{address}/readyz answers {status:?}"));
            exit::FAILED
        }
        Err(error) => {
            log::fatal(&format!("http://{address}/readyz does not answer: {error}"));
            exit::FAILED
        }
    }
}

/// The status line of the answer.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    write!(connection, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 256];
    let length = connection.read(&mut answer)?;
    let text = String::from_utf8_lossy(&answer[..length]);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
