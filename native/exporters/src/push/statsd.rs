//! To a StatsD over UDP. Nobody answers there: what is refused by the machine itself is counted, what is lost on the way is not known.

use std::io::{self, ErrorKind};
use std::time::Duration;

use kantoku_core::metrics::Family;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::sleep;

use super::deltas::Deltas;
use super::lines::{Datagram, Dialect, datagrams};
use super::{Failure, Outcome};

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
    deltas: Deltas,
    socket: Option<UdpSocket>,
    // The lines of the datagram before: what comes back of it comes with the next one.
    before: u64,
}

// So many datagrams at once, then a pause: a receiver's buffer holds some hundreds.
const BURST: usize = 32;
const PAUSE: Duration = Duration::from_millis(2);

impl StatsD {
    pub fn new(options: Options, families: &[Family]) -> Self {
        Self {
            options,
            deltas: Deltas::begin(families),
            socket: None,
            before: 0,
        }
    }

    pub async fn export(&mut self, families: &[Family]) -> Outcome {
        let (datagrams, too_long) = datagrams(
            families,
            &mut self.deltas,
            self.options.dialect,
            &self.options.prefix,
        );
        let mut outcome = Outcome::default();
        outcome.drop_points(too_long, || "lines are longer than a datagram".to_owned());
        for burst in datagrams.chunks(BURST) {
            for datagram in burst {
                self.send(datagram, &mut outcome).await;
            }
            sleep(PAUSE).await;
        }
        outcome
    }

    async fn send(&mut self, datagram: &Datagram, outcome: &mut Outcome) {
        match self.try_send(datagram, outcome).await {
            Ok(()) => self.before = datagram.lines,
            Err(error) => {
                self.socket = None;
                self.before = 0;
                let to = (&self.options.host, self.options.port);
                outcome.drop_points(datagram.lines, || format!("{}:{}: {error}", to.0, to.1));
            }
        }
    }

    async fn try_send(&mut self, datagram: &Datagram, outcome: &mut Outcome) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => connect(&self.options).await?,
        };
        let socket = self.socket.insert(socket);
        match socket.send(datagram.text.as_bytes()).await {
            // Of the one before: nobody listened.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let to = (&self.options.host, self.options.port);
                outcome.drop_points(self.before, || format!("{}:{}: {error}", to.0, to.1));
                socket.send(datagram.text.as_bytes()).await.map(drop)
            }
            sent => sent.map(drop),
        }
    }
}

async fn connect(options: &Options) -> io::Result<UdpSocket> {
    let mut found = lookup_host((options.host.as_str(), options.port)).await?;
    let address = found
        .next()
        .ok_or_else(|| io::Error::new(ErrorKind::NotFound, Failure::NoAddress))?;
    let any: std::net::SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}
