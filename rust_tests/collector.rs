//! A collector of OTLP over real sockets of the loopback, for tests of who sends to one.
#![allow(clippy::unwrap_used, reason = "what fails here says where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kantoku_core::metrics::Source;
use kantoku_exporters::figures::{Note, Vm};
use kantoku_exporters::service::Service;

/// What a service had to say.
pub type Notes = Arc<Mutex<Vec<Note>>>;

/// Exporters of a VM that has these figures and nothing else, and answers no question.
pub fn service(source: Arc<dyn Source>, bound: Duration) -> (Service, Notes) {
    let notes = Notes::default();
    let heard = notes.clone();
    let vm = Vm {
        source,
        voice: Arc::new(move |note| heard.lock().unwrap().push(note)),
        ask: Arc::new(|_| false),
        heed: Arc::new(|_| ()),
        history: Arc::default(),
    };
    (Service::new(vm, bound), notes)
}

/// Waits until it is so.
pub fn eventually(condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "what was waited for did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A collector that answers each request with what it is told to, and hands on what it read.
pub fn collector(
    answers: impl Fn(usize) -> Vec<u8> + Send + 'static,
) -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let Some(request) = read(&mut stream) else {
                continue;
            };
            let _ = stream.write_all(&answers(number));
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (endpoint, receiver)
}

fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1)?.lines().next()?;
    let mut body = vec![0; length.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// An answer with its body, after which the connection ends.
pub fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}
