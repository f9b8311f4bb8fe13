//! Bursts, floods and turns, with a clock that stands still.

use super::*;
use crate::client::Client;

fn client(number: u8) -> Network {
    Client::at([127, 0, 0, number].into()).network()
}

type Waiter = tokio::task::JoinHandle<Result<Permit, Refusal>>;

/// Somebody who asks for a place, and has joined the queue when this returns.
async fn ask(admission: &Admission, from: u8) -> Waiter {
    let admission = admission.clone();
    let waiter = tokio::spawn(async move { admission.enter(client(from)).await });
    tokio::task::yield_now().await;
    waiter
}

async fn place(waiter: Waiter) -> Permit {
    waiter.await.expect("it ends").expect("a place")
}

async fn refused(admission: &Admission, from: u8) -> bool {
    let waiter = ask(admission, from).await;
    let is_refused = waiter.is_finished();
    waiter.abort();
    is_refused && waiter.await.is_ok_and(|result| result.err() == Some(Refusal::QueueFull))
}

/// One is let in, and `more` come.
async fn go_on(admission: &Admission, held: &mut Option<Permit>, queue: &mut VecDeque<Waiter>, more: usize) {
    drop(held.take());
    *held = Some(place(queue.pop_front().expect("somebody waits")).await);
    for _ in 0..more {
        queue.push_back(ask(admission, 1).await);
    }
}

/// As many as may wait come at once, and all are served.
async fn burst(admission: &Admission, length: usize) {
    let mut held = Some(admission.enter(client(1)).await.expect("a free place"));
    let mut queue = VecDeque::new();
    for _ in 0..length {
        queue.push_back(ask(admission, 1).await);
    }
    assert!(refused(admission, 1).await, "as many wait as may");
    while !queue.is_empty() {
        go_on(admission, &mut held, &mut queue, 0).await;
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_a_freed_place_admits() {
    let admission = Admission::new(1, 0);
    let first = admission.enter(client(1)).await.expect("a free place");
    assert_eq!(admission.enter(client(1)).await.err(), Some(Refusal::QueueFull));
    drop(first);
    assert!(admission.enter(client(1)).await.is_ok());
    assert!(admission.0.lock().clients.is_empty(), "who has gone is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_goes_on_growing_gets_short_and_is_long_again_a_second_after_the_flood() {
    let length = 10;
    let admission = Admission::new(1, length);
    let mut held = Some(admission.enter(client(1)).await.expect("a free place"));
    let mut queue = VecDeque::new();
    for _ in 0..3 {
        queue.push_back(ask(&admission, 1).await);
    }
    for _ in 0..=GROWN {
        go_on(&admission, &mut held, &mut queue, 2).await;
    }
    assert!(refused(&admission, 1).await, "it is longer than there are places");
    // Those that came when it stood were sent away.
    while let Some(waiter) = queue.pop_front() {
        drop(held.take());
        held = waiter.await.expect("it ends").ok();
    }
    drop(held.take());
    held = admission.enter(client(1)).await.ok();
    let one = ask(&admission, 1).await;
    assert!(refused(&admission, 1).await, "one runs, and one waits of ten that could");
    drop(held);
    drop(place(one).await);
    tokio::time::advance(CALM).await;
    burst(&admission, length).await;
}

#[tokio::test]
async fn a_burst_is_served_to_its_end_and_so_is_the_next() {
    let admission = Admission::new(1, 5);
    for _ in 0..3 {
        burst(&admission, 5).await;
    }
}

#[tokio::test]
async fn clients_that_wait_for_their_answers_are_served_however_many_they_are() {
    let admission = Admission::new(1, 5);
    let mut held = Some(admission.enter(client(1)).await.expect("a free place"));
    let mut queue = VecDeque::new();
    for _ in 0..5 {
        queue.push_back(ask(&admission, 1).await);
    }
    for _ in 0..100 {
        go_on(&admission, &mut held, &mut queue, 1).await;
    }
}

#[tokio::test]
async fn lines_take_turns() {
    let admission = Admission::new(1, 100);
    let first = admission.enter(client(1)).await.expect("a free place");
    let mut flood = VecDeque::new();
    for _ in 0..50 {
        flood.push_back(ask(&admission, 1).await);
    }
    let other = ask(&admission, 2).await;
    drop(first);
    drop(place(flood.pop_front().expect("one")).await);
    tokio::task::yield_now().await;
    assert!(other.is_finished(), "the second turn is the other's, though fifty came before");
    drop(place(other).await);
    drop(place(flood.pop_front().expect("one")).await);
}

#[tokio::test]
async fn who_holds_fewest_comes_first() {
    let admission = Admission::new(4, 100);
    let mut held = Vec::new();
    for client_number in [1, 1, 1, 2] {
        held.push(admission.enter(client(client_number)).await.expect("a free place"));
    }
    let mut waiting = Vec::new();
    for from in [1, 2, 3, 1, 3] {
        waiting.push((from, ask(&admission, from).await));
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        drop(held.remove(0));
        tokio::task::yield_now().await;
        let at = waiting.iter().position(|(_, waiter)| waiter.is_finished()).expect("one is let in");
        let (from, waiter) = waiting.remove(at);
        held.push(place(waiter).await);
        order.push(from);
    }
    // The third holds none. Then all hold one, as the first one's places come back, and take turns.
    assert_eq!(order, [3, 1, 2, 3, 1]);
}

#[tokio::test]
async fn a_flood_leaves_a_place_and_a_turn_for_others() {
    let admission = Admission::new(16, 4);
    let mut held = Vec::new();
    for _ in 0..14 {
        held.push(admission.enter(client(1)).await.expect("a free place"));
    }
    let mut flood = VecDeque::new();
    for _ in 0..4 {
        flood.push_back(ask(&admission, 1).await);
    }
    assert!(refused(&admission, 1).await, "its line fills the queue");
    let other = admission.enter(client(2)).await.expect("two places are left for those who hold none");
    let another = admission.enter(client(3)).await.expect("and the second of them");
    let fourth = ask(&admission, 4).await;
    assert!(!fourth.is_finished(), "it waits in a queue that was full");
    let last = flood.pop_back().expect("the last of the flood");
    assert_eq!(last.await.expect("it ends").err(), Some(Refusal::QueueFull), "and has taken its place");
    drop(other);
    drop(place(fourth).await);
    drop(another);
}

#[tokio::test]
async fn who_leaves_the_queue_is_forgotten() {
    let admission = Admission::new(1, 5);
    let held = admission.enter(client(1)).await.expect("a free place");
    let waiter = ask(&admission, 2).await;
    assert_eq!(admission.load(), (1, 1));
    waiter.abort();
    assert!(waiter.await.is_err());
    assert_eq!(admission.load(), (1, 0));
    drop(held);
    assert_eq!(admission.load(), (0, 0));
}

#[tokio::test]
async fn closing_sends_those_who_wait_away() {
    let admission = Admission::new(1, 1);
    let first = admission.enter(client(1)).await.expect("a free place");
    let second = ask(&admission, 1).await;
    admission.close();
    assert_eq!(second.await.expect("it ends").err(), Some(Refusal::Draining));
    assert_eq!(admission.enter(client(1)).await.err(), Some(Refusal::Draining));
    drop(first);
}
