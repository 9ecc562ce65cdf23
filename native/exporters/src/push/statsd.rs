//! To a StatsD over UDP. Nobody answers there: what is refused by the machine itself is counted, what is lost on the way is not known.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kantoku_core::metrics::Family;
use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::Outcome;
use super::deltas::Deltas;
use super::lines::{Datagram, Dialect, datagrams};
use super::lookup::{BOUND, Lookup};
use super::under_way::UnderWay;
use crate::figures::Account;

/// Where it is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    pub host: String,
    pub port: u16,
    pub dialect: Dialect,
    pub prefix: String,
}

#[derive(Debug)]
pub struct StatsD {
    options: Options,
    account: Arc<Account>,
    deltas: Deltas,
    lookup: Lookup,
    socket: Option<(SocketAddr, UdpSocket)>,
    // The lines of the datagram before: what comes back of it comes with the next one.
    before: u64,
}

// So many datagrams at once, then a pause: a receiver's buffer holds some hundreds.
const BURST: usize = 32;
const PAUSE: Duration = Duration::from_millis(2);

impl StatsD {
    pub fn new(options: Options, families: &[Family], account: Arc<Account>) -> Self {
        let deltas = Deltas::begin(families);
        account.hold(deltas.bytes());
        Self {
            lookup: Lookup::new(options.host.clone(), options.port, BOUND),
            options,
            account,
            deltas,
            socket: None,
            before: 0,
        }
    }

    /// Sends what rose, up to where nobody can be found to send it to.
    pub async fn export(&mut self, families: &[Family]) -> Outcome {
        let (datagrams, too_long) = datagrams(
            families,
            &mut self.deltas,
            self.options.dialect,
            &self.options.prefix,
        );
        let account = self.account.clone();
        account.hold(self.deltas.bytes());
        let _lines = account.hold_for_now(datagrams.iter().map(|datagram| datagram.text.capacity()).sum());
        let lines: u64 = datagrams.iter().map(|datagram| datagram.lines).sum();
        let mut under_way = UnderWay::new(&account, lines + too_long);
        let mut outcome = Outcome::default();
        if too_long > 0 {
            outcome.fail(|| "lines are longer than a datagram".to_owned());
        }
        for burst in datagrams.chunks(BURST) {
            for datagram in burst {
                if let Err(error) = self.connect().await {
                    outcome.fail(|| self.complaint(&error));
                    return outcome;
                }
                self.send(datagram, &mut under_way, &mut outcome).await;
            }
            sleep(PAUSE).await;
        }
        self.look_back(&mut outcome);
        outcome
    }

    async fn connect(&mut self) -> io::Result<()> {
        let address = self.lookup.addresses().await?[0];
        if !matches!(&self.socket, Some((connected, _)) if *connected == address) {
            self.before = 0;
            self.socket = Some((address, connected(address).await?));
        }
        Ok(())
    }

    async fn send(&mut self, datagram: &Datagram, under_way: &mut UnderWay<'_>, outcome: &mut Outcome) {
        match self.try_send(datagram, outcome).await {
            Ok(()) => {
                self.before = datagram.lines;
                under_way.sent(datagram.lines);
            }
            Err(error) => {
                self.socket = None;
                self.lookup.doubt();
                outcome.fail(|| self.complaint(&error));
            }
        }
    }

    async fn try_send(&mut self, datagram: &Datagram, outcome: &mut Outcome) -> io::Result<()> {
        let Some((_, socket)) = &self.socket else {
            return Err(ErrorKind::NotConnected.into());
        };
        match socket.send(datagram.text.as_bytes()).await {
            // Of the one before: nobody listened.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let again = socket.send(datagram.text.as_bytes()).await;
                self.drop_before(&error, outcome);
                again.map(drop)
            }
            sent => sent.map(drop),
        }
    }

    // What came back of the last one; of a receiver on this machine that is there by now.
    fn look_back(&mut self, outcome: &mut Outcome) {
        let back = self.socket.as_ref().map(|(_, socket)| socket.take_error());
        if let Some(Ok(Some(error))) = back {
            self.drop_before(&error, outcome);
        }
    }

    fn drop_before(&mut self, error: &io::Error, outcome: &mut Outcome) {
        let before = std::mem::take(&mut self.before);
        self.account.dropped.fetch_add(before, Ordering::Relaxed);
        outcome.fail(|| self.complaint(error));
    }

    fn complaint(&self, error: &io::Error) -> String {
        format!("{}:{}: {error}", self.options.host, self.options.port)
    }
}

async fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}
