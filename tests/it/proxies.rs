//! Whom a request counts for: whoever connected, or whom a proxy of the setting names; never whom a client would like to be.

use driver::client::Connection;
use driver::server::{PATIENCE, Server};
use driver::tests;
use libtest_mimic::Trial;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub fn trials() -> Vec<Trial> {
    tests![
        a_made_up_address_is_no_place_in_the_queue,
        what_stands_before_a_proxys_word_is_no_place_in_the_queue,
        clients_of_a_proxy_have_lines_of_their_own,
        the_log_names_the_client_and_its_proxy,
    ]
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

/// One place, and a queue for four.
const QUEUE: usize = 4;

fn small() -> Server {
    Server::start(&[
        ("MAYFLY_PRELOAD", ""),
        ("MAYFLY_READY", "2"),
        ("MAYFLY_CONCURRENCY", "1"),
        ("MAYFLY_QUEUE", &QUEUE.to_string()),
        ("MAYFLY_PROXIES", "127.0.1.0/24"),
    ])
}

/// Sends a script, and waits for nothing.
fn send(server: &Server, from: Ipv4Addr, forwarded: &str, script: &str) -> Connection {
    let SocketAddr::V4(address) = server.address() else { panic!("{}", server.address()) };
    let mut connection = Connection::open_from(from, address).expect("a connection");
    let body = json!({ "script": script }).to_string();
    let head = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Forwarded-For: {forwarded}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(format!("{head}{body}").as_bytes()).expect("sent");
    connection
}

const SLEEP: &str = "import time\ndef main():\n    time.sleep(5)";
const HELLO: &str = "def main():\n    return 1";

/// Fills the place and the queue with requests that one client sends under as many names; how many of them lose their place in the
/// queue to two of another client.
fn displaced(server: &Server, flood: impl Fn(usize) -> (Ipv4Addr, String), other: &(Ipv4Addr, String)) -> usize {
    let send_one = |number: usize, script| {
        let (from, forwarded) = flood(number);
        send(server, from, &forwarded, script)
    };
    let mut flooding = vec![send_one(0, SLEEP)];
    // Who comes when the queue is full, and has no more right than the others, is sent away at once; who waits hears nothing.
    loop {
        assert!(flooding.len() < 20, "the queue never fills");
        let mut more = send_one(flooding.len(), HELLO);
        if more.answers_within(Duration::from_millis(200)) {
            let status = more.answer().expect("an answer").status;
            assert!([200, 503].contains(&status), "{status}");
            if status == 503 {
                break;
            }
        } else {
            flooding.push(more);
        }
    }
    let mut others: Vec<Connection> = (0..2).map(|_| send(server, other.0, &other.1, HELLO)).collect();
    let statuses = |all: &mut [Connection]| -> Vec<u16> {
        all.iter_mut().map(|one| one.answer().expect("an answer").status).collect()
    };
    let (let_in, waited) = (statuses(&mut others), statuses(&mut flooding));
    let count = |all: &[u16], status| all.iter().filter(|one| **one == status).count();
    let gave_way = count(&waited, 503);
    assert_eq!(count(&let_in, 200), gave_way, "{let_in:?} {waited:?}");
    gave_way
}

fn a_made_up_address_is_no_place_in_the_queue() {
    let server = small();
    let other = (OTHER, String::new());
    assert_eq!(displaced(&server, |number| (CLIENT, format!("192.0.2.{number}")), &other), 2);
    assert_eq!(displaced(&server, |number| (CLIENT, format!("192.0.2.{number}, {PROXY}")), &other), 2);
}

fn what_stands_before_a_proxys_word_is_no_place_in_the_queue() {
    let server = small();
    let other = (PROXY, OTHER.to_string());
    assert_eq!(displaced(&server, |number| (PROXY, format!("192.0.2.{number}, {CLIENT}")), &other), 2);
    // Nor is what nobody can read: all of that counts for the proxy.
    assert_eq!(displaced(&server, |number| (PROXY, format!("192.0.2.{number}, x")), &other), 2);
}

/// The counterpart: were every client of a proxy one, the tests above would pass as well.
fn clients_of_a_proxy_have_lines_of_their_own() {
    let server = small();
    let other = (PROXY, OTHER.to_string());
    assert_eq!(displaced(&server, |number| (PROXY, format!("192.0.2.{number}")), &other), 0);
}

fn the_log_names_the_client_and_its_proxy() {
    let server = Server::start(&[("MAYFLY_PRELOAD", ""), ("MAYFLY_PROXIES", &PROXY.to_string())]);
    for (from, forwarded, wanted) in [
        (PROXY, "192.0.2.1, 198.51.100.1", "client=198.51.100.1 proxy=127.0.1.1 "),
        (PROXY, "rubbish", "client=127.0.1.1 method"),
        (CLIENT, "198.51.100.2", "client=127.0.0.2 method"),
    ] {
        assert_eq!(send(&server, from, forwarded, HELLO).answer().expect("an answer").status, 200);
        let line = server.log().wait_for(|line| line.contains(wanted), PATIENCE);
        assert!(line.is_some(), "{wanted}: {:?}", server.log().lines());
    }
}
