//! Where a name leads.
//!
//! N1. A name is waited for no longer than a bound, however long the resolver takes, and where it fails an address of before will do.
//! N2. It is looked up once in a while, not for each that is sent: the threads that resolvers hold up are few.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use super::Failure;

/// For how long an address is taken for right.
pub const FRESH: Duration = Duration::from_secs(60);
/// How long a resolver is waited for at most.
pub const BOUND: Duration = Duration::from_secs(2);

/// A name, and what it led to.
#[derive(Debug)]
pub struct Lookup {
    host: String,
    port: u16,
    bound: Duration,
    found: Vec<SocketAddr>,
    until: Option<Instant>,
    doubted: bool,
}

impl Lookup {
    /// One that is waited for so long, and no longer than `BOUND`.
    pub fn new(host: String, port: u16, bound: Duration) -> Self {
        Self {
            host,
            port,
            bound: bound.min(BOUND),
            found: Vec::new(),
            until: None,
            doubted: false,
        }
    }

    /// Its addresses, the best first; there is one at least.
    pub async fn addresses(&mut self) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = (self.host.clone(), self.port);
        let ask = async move { lookup_host((host, port)).await.map(Iterator::collect) };
        self.find(ask).await
    }

    /// As `addresses`, of a resolver that is given, and polled only where there is no address that is fresh.
    pub async fn find(
        &mut self,
        ask: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    ) -> io::Result<Vec<SocketAddr>> {
        if !self.doubted && self.until.is_some_and(|until| Instant::now() < until) {
            return Ok(self.found.clone());
        }
        match asked(ask, self.bound).await {
            Ok(found) => {
                self.until = Some(Instant::now() + FRESH);
                self.doubted = false;
                self.found = found;
            }
            Err(error) if self.found.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(self.found.clone())
    }

    /// Whether somebody is there is not known: until it is, the name is looked up again before it is used.
    pub fn doubt(&mut self) {
        self.doubted = true;
    }

    pub fn trust(&mut self) {
        self.doubted = false;
    }
}

async fn asked(
    ask: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    bound: Duration,
) -> io::Result<Vec<SocketAddr>> {
    let late = |_| {
        let why = format!("its name was not looked up within {} ms", bound.as_millis());
        io::Error::new(ErrorKind::TimedOut, why)
    };
    let found = timeout(bound, ask).await.map_err(late)??;
    if found.is_empty() {
        return Err(io::Error::new(ErrorKind::NotFound, Failure::NoAddress));
    }
    Ok(found)
}
