//! An OTLP collector by http/protobuf: a new connection for each request, three tries, each with a bound. Knows no message but the answer.
//!
//! O1. A request costs three tries and what is waited between them, none of which takes longer than the time of one try; so also where a
//!     collector asks for more by `retry-after`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Failure;
use super::attributes::{PartialSuccess, Response};
use super::lookup::Lookup;
#[cfg(feature = "tls")]
use super::tls::{Connector, is_mistrust};

/// Where it is, and what is said with each request.
#[derive(Clone, Debug)]
pub struct Address {
    /// `http://host:port` or `https://host:port`, or with a path.
    pub endpoint: String,
    pub headers: Vec<(String, Secret)>,
    /// For one try.
    pub timeout: Duration,
    /// Over `https://`.
    pub tls: Tls,
}

/// Whom to trust, and who one is. Files are PEM.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificate authorities, in place of those that the system trusts.
    pub authorities: Option<PathBuf>,
    pub identity: Option<Identity>,
}

/// What to show to who asks.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A header's value: mostly a key.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[derive(Debug)]
pub struct Collector {
    lookup: Lookup,
    authority: String,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    #[cfg(feature = "tls")]
    secured: Option<Connector>,
}

// OTLP's own; over TLS collectors stand behind what listens where the web does.
const PORT: u16 = 4318;
const TLS_PORT: u16 = 443;
const TRIES: u32 = 3;
// Before the second try; twice as long before the third.
const BACK_OFF: Duration = Duration::from_millis(500);
const MOST_ANSWER: usize = 64 * 1024;

// Why a try failed, and whether another may do better: as OTLP 1.x says of statuses.
#[derive(Debug)]
struct Miss {
    why: String,
    again: bool,
    // How long it asked to be left alone.
    after: Option<Duration>,
}

impl Collector {
    /// One at this address, at `path` if that has none.
    pub fn new(address: &Address, path: &str) -> Result<Self, Failure> {
        let no_endpoint = || Failure::Endpoint(without_query(&address.endpoint));
        let uri: Uri = address.endpoint.parse().map_err(|_| no_endpoint())?;
        let (secure, port) = match uri.scheme_str() {
            Some("http") => (false, PORT),
            Some("https") => (true, TLS_PORT),
            _ => return Err(no_endpoint()),
        };
        if secure && !cfg!(feature = "tls") {
            return Err(Failure::NoTls(without_query(&address.endpoint)));
        }
        let authority = uri.authority().ok_or_else(no_endpoint)?;
        let path = match uri.path() {
            "" | "/" => path,
            path => path,
        };
        let query = uri.query().map(|query| format!("?{query}"));
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        Ok(Self {
            #[cfg(feature = "tls")]
            secured: secure.then(|| Connector::new(&host, &address.tls)).transpose()?,
            // Some of a try is left for an address of before.
            lookup: Lookup::new(host, authority.port_u16().unwrap_or(port), address.timeout / 2),
            authority: without_user(authority.as_str()).to_owned(),
            path: path.to_owned() + &query.unwrap_or_default(),
            headers: headers(address)?,
            timeout: address.timeout,
        })
    }

    /// Has it take a request; what it would not take of it, or why it took none.
    pub async fn send(&mut self, message: &impl Message) -> Result<PartialSuccess, String> {
        let taken = self.persist(Bytes::from(message.encode_to_vec())).await;
        taken.map_err(|why| format!("{}: {why}", self.authority))
    }

    async fn persist(&mut self, body: Bytes) -> Result<PartialSuccess, String> {
        let mut back_off = BACK_OFF;
        let mut tries = TRIES;
        loop {
            let answer = timeout(self.timeout, self.post(body.clone())).await;
            let miss = match answer {
                Ok(Ok(accepted)) => return Ok(accepted),
                Ok(Err(miss)) => miss,
                Err(_) => Miss {
                    why: format!("no answer within {} ms", self.timeout.as_millis()),
                    again: true,
                    after: None,
                },
            };
            tries -= 1;
            if tries == 0 || !miss.again {
                return Err(miss.why);
            }
            // O1
            sleep(miss.after.unwrap_or(back_off).min(self.timeout)).await;
            back_off *= 2;
        }
    }

    async fn post(&mut self, body: Bytes) -> Result<PartialSuccess, Miss> {
        let addresses = self.lookup.addresses().await.map_err(again)?;
        // Until it is there, and so also where that takes too long.
        self.lookup.doubt();
        let stream = TcpStream::connect(&addresses[..]).await.map_err(again)?;
        self.lookup.trust();
        #[cfg(feature = "tls")]
        if let Some(connector) = &self.secured {
            let secured = connector.connect(stream).await.map_err(|error| Miss {
                why: error.to_string(),
                again: !is_mistrust(&error),
                after: None,
            })?;
            return self.exchange(secured, body).await;
        }
        self.exchange(stream, body).await
    }

    async fn exchange<S>(&self, stream: S, body: Bytes) -> Result<PartialSuccess, Miss>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(again)?;
        // It ends with the sender, at the end of this function.
        tokio::spawn(connection);
        let response = sender.send_request(self.request(body)?).await.map_err(again)?;
        let (status, after) = (response.status(), retry_after(response.headers()));
        let answer = Limited::new(response.into_body(), MOST_ANSWER).collect().await;
        if status.is_success() {
            let answer = answer.map(|answer| answer.to_bytes()).unwrap_or_default();
            return Ok(accepted(answer));
        }
        Err(Miss {
            why: format!("it answered {status}"),
            again: may_try_again(status),
            after,
        })
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Miss> {
        let mut request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, concat!("kantoku/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|error| Miss {
            why: error.to_string(),
            again: false,
            after: None,
        })
    }
}

fn headers(address: &Address) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let header = |(name, value): &(String, Secret)| {
        let bad = || Failure::Header(name.clone());
        let mut value = HeaderValue::from_str(&value.0).map_err(|_| bad())?;
        value.set_sensitive(true);
        Ok((name.parse().map_err(|_| bad())?, value))
    };
    address.headers.iter().map(header).collect()
}

// What is asked may be a key, and this is said.
fn without_query(endpoint: &str) -> String {
    endpoint.split('?').next().unwrap_or_default().to_owned()
}

fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn again(error: impl Error) -> Miss {
    Miss {
        why: with_causes(&error),
        again: true,
        after: None,
    }
}

// What hyper says by itself is that there was an error.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn may_try_again(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

// In seconds; the other form, a date, would be that of another clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse();
    seconds.ok().map(Duration::from_secs)
}

// An answer that cannot be read was a yes all the same.
fn accepted(answer: Bytes) -> PartialSuccess {
    let answer = Response::decode(answer).unwrap_or_default();
    answer.partial_success.unwrap_or_default()
}
