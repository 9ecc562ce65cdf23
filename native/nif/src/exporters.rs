//! What Elixir has exported: decodes, makes one call, encodes. `lib/kantoku/exporters/native.ex` says what comes in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kantoku_exporters::events::Event;
use kantoku_exporters::http::{Limits, Options, Token, TokenError};
use kantoku_exporters::pulse::Beat;
use kantoku_exporters::push::{
    Address, Dialect, Identity, Plan, Secret, StatsDOptions, Target, Tls, otlp, traces,
};
use kantoku_exporters::questions;
use kantoku_exporters::service::{ExporterStatus, Status};
use rustler::{Binary, Decoder, Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, Pid, atom};
use crate::exporting::{self, Failed};
use crate::guard::{Answer, Refusal};
use crate::trace::Spans;

// Nobody waits longer than this for the end of anything.
const MOST_BOUND: u64 = 10_000;
// What no option allows, so that no sum of times is too large.
const MOST_MS: u64 = 1 << 40;

pub(crate) fn decoded<'a, T: Decoder<'a>>(term: Term<'a>) -> Result<T, Refusal> {
    term.decode().map_err(|_| Refusal::BadArgument)
}

fn ms(term: Term<'_>) -> Result<Duration, Refusal> {
    let ms: u64 = decoded(term)?;
    if ms > MOST_MS {
        return Err(Refusal::BadArgument);
    }
    Ok(Duration::from_millis(ms))
}

fn bound(term: Term<'_>) -> Result<Duration, Refusal> {
    decoded(term).map(|ms: u64| Duration::from_millis(ms.min(MOST_BOUND)))
}

pub(crate) fn ok(env: Env<'_>) -> Answer<'_> {
    Ok(atom(env, atoms::ok()))
}

/// `exporters_start(patience)`: for the caller.
pub fn start<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let patience = ms(args[0])?;
    let owner = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    if exporting::start(env.as_c_arg(), owner, patience) {
        ok(env)
    } else {
        Err(Refusal::BadArgument)
    }
}

/// `exporters_stop(bound)`
pub fn stop<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    exporting::stop(bound(args[0])?);
    ok(env)
}

/// `exporters_beat(ready, started)`
pub fn beat<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let beat = Beat {
        ready: decoded(args[0])?,
        started: decoded(args[1])?,
    };
    if let Some(exports) = exporting::running() {
        exports.beat(beat);
    }
    ok(env)
}

/// `exporters_answer(id, status, kind, body)`
pub fn answer<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let id: u64 = decoded(args[0])?;
    let body: Binary<'_> = decoded(args[3])?;
    let answer = questions::Answer {
        status: decoded(args[1])?,
        kind: decoded(args[2])?,
        body: body.to_vec(),
    };
    if let Some(exports) = exporting::running() {
        exports.answer(id, answer);
    }
    ok(env)
}

/// `exporters_attach()`: for who answers, when it begins to.
pub fn attach<'a>(env: Env<'a>, _args: &[Term<'a>]) -> Answer<'a> {
    if let Some(exports) = exporting::running() {
        exports.attach();
    }
    ok(env)
}

/// `exporters_event(instance, name, data)`: whether anybody reads.
pub fn event<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let event = Event {
        instance: decoded(args[0])?,
        name: decoded(args[1])?,
        data: decoded(args[2])?,
    };
    let read = exporting::running().is_some_and(|exports| exports.publish(event));
    Ok(read.encode(env))
}

/// `exporters_events_dropped(count)`: whether anybody reads.
pub fn events_dropped<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let count = decoded(args[0])?;
    let read = exporting::running().is_some_and(|exports| exports.publish_dropped(count));
    Ok(read.encode(env))
}

/// `exporters_readers()`: how many read events.
pub fn readers<'a>(env: Env<'a>, _args: &[Term<'a>]) -> Answer<'a> {
    let readers = exporting::running().map_or(0, |exports| exports.readers());
    Ok(readers.encode(env))
}

/// `exporters_listen(address, token, admin, hosts, limits)`: the last of those is how long the VM may say nothing.
pub fn listen<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let address: &str = decoded(args[0])?;
    let address: SocketAddr = address.parse().map_err(|_| Refusal::BadArgument)?;
    let (hosts, (limits, patience)) = (decoded(args[3])?, limits(args[4])?);
    let (token, admin) = match tokens(args[1], args[2])? {
        Ok(tokens) => tokens,
        Err(error) => return failed(env, &("token".to_owned(), error.to_string())),
    };
    let options = Options {
        address,
        token,
        admin,
        hosts,
        limits,
    };
    match exporting::running() {
        None => failed(env, &not_started()),
        Some(exports) => {
            exports.have_patience(patience);
            match exports.listen(options) {
                Ok(address) => Ok((atoms::ok(), address.to_string()).encode(env)),
                Err(why) => failed(env, &why),
            }
        }
    }
}

// Who may read, and who may do more: `nil` is nobody.
fn tokens(read: Term<'_>, admin: Term<'_>) -> Result<Result<(Token, Option<Token>), TokenError>, Refusal> {
    let read = match token(read)? {
        Ok(read) => read,
        Err(error) => return Ok(Err(error)),
    };
    if beam::is_atom(admin) {
        return Ok(Ok((read, None)));
    }
    Ok(token(admin)?.and_then(|admin| match admin.is_that(&read) {
        true => Err(TokenError::Same),
        false => Ok((read, Some(admin))),
    }))
}

// `{:token, text}` or `{:file, path, fresh}`
fn token(term: Term<'_>) -> Result<Result<Token, TokenError>, Refusal> {
    if let Ok((kind, text)) = term.decode::<(rustler::Atom, &str)>() {
        return (kind == atoms::token())
            .then(|| Token::new(text))
            .ok_or(Refusal::BadArgument);
    }
    let (kind, path, fresh): (rustler::Atom, &str, &str) = decoded(term)?;
    (kind == atoms::file())
        .then(|| Token::of_file(Path::new(path), fresh))
        .ok_or(Refusal::BadArgument)
}

// `{connections, header_bytes, header_time, request_time, life, patience}`
fn limits(term: Term<'_>) -> Result<(Limits, Duration), Refusal> {
    let (connections, header_bytes, header_time, request_time, life, patience): (
        u32,
        u32,
        Term<'_>,
        Term<'_>,
        Term<'_>,
        Term<'_>,
    ) = decoded(term)?;
    let limits = Limits {
        connections: connections as usize,
        header_bytes: header_bytes as usize,
        header_time: ms(header_time)?,
        request_time: ms(request_time)?,
        life: ms(life)?,
    };
    Ok((limits, ms(patience)?))
}

/// `exporters_hang_up(bound)`
pub fn hang_up<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let bound = bound(args[0])?;
    if let Some(exports) = exporting::running() {
        exports.hang_up(bound);
    }
    ok(env)
}

/// `exporters_push(name, interval, target)`
pub fn push<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (name, interval) = (decoded(args[0])?, ms(args[1])?.max(LEAST_INTERVAL));
    let Some(target) = target(args[2])? else {
        return failed(env, &not_kept());
    };
    let plan = Plan {
        name,
        interval,
        target,
    };
    match exporting::running() {
        None => failed(env, &not_started()),
        Some(exports) => match exports.push(plan) {
            Ok(id) => Ok((atoms::ok(), id).encode(env)),
            Err(why) => failed(env, &why),
        },
    }
}

const LEAST_INTERVAL: Duration = Duration::from_millis(10);

// `None` where the spans of an instance are not kept here.
fn target(term: Term<'_>) -> Result<Option<Target>, Refusal> {
    match term.decode::<(rustler::Atom, String, u16, String)>() {
        Ok((kind, host, port, prefix)) => Ok(Some(Target::StatsD(StatsDOptions {
            host,
            port,
            dialect: dialect(kind)?,
            prefix,
        }))),
        Err(_) => otlp_target(term),
    }
}

fn dialect(kind: rustler::Atom) -> Result<Dialect, Refusal> {
    match kind {
        kind if kind == atoms::statsd() => Ok(Dialect::StatsD),
        kind if kind == atoms::dogstatsd() => Ok(Dialect::DogStatsD),
        _ => Err(Refusal::BadArgument),
    }
}

type Pairs = Vec<(String, String)>;

// `{:otlp, {endpoint, headers, timeout, {authorities, certificate, key}}, resource, since}` or `{:otlp_traces, {..}, resource, instance}`
fn otlp_target(term: Term<'_>) -> Result<Option<Target>, Refusal> {
    if let Ok((kind, address, resource, since)) = term.decode::<(rustler::Atom, Term<'_>, Pairs, u64)>() {
        if kind != atoms::otlp() {
            return Err(Refusal::BadArgument);
        }
        return Ok(Some(Target::Otlp(otlp::Options {
            address: self::address(address)?,
            resource,
            since,
        })));
    }
    traces_target(term)
}

fn traces_target(term: Term<'_>) -> Result<Option<Target>, Refusal> {
    let (kind, address, resource, instance): (rustler::Atom, Term<'_>, Pairs, Term<'_>) = decoded(term)?;
    if kind != atoms::otlp_traces() || !beam::is_atom(instance) {
        return Err(Refusal::BadArgument);
    }
    let Some(supply) = Spans::of(instance) else {
        return Ok(None);
    };
    Ok(Some(Target::Traces(traces::Options {
        address: self::address(address)?,
        resource,
        supply: Arc::new(supply),
    })))
}

fn address(term: Term<'_>) -> Result<Address, Refusal> {
    let (endpoint, headers, timeout, tls): (String, Pairs, Term<'_>, Term<'_>) = decoded(term)?;
    let headers = headers.into_iter().map(|(name, value)| (name, Secret(value)));
    Ok(Address {
        endpoint,
        headers: headers.collect(),
        timeout: ms(timeout)?,
        tls: self::tls(tls)?,
    })
}

// Paths, or `nil`.
fn tls(term: Term<'_>) -> Result<Tls, Refusal> {
    let (authorities, certificate, key): (Option<String>, Option<String>, Option<String>) = decoded(term)?;
    let identity = certificate.zip(key).map(|(certificate, key)| Identity {
        certificate: certificate.into(),
        key: key.into(),
    });
    Ok(Tls {
        authorities: authorities.map(PathBuf::from),
        identity,
    })
}

/// `exporters_end(exporter, bound)`
pub fn end<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (id, bound) = (decoded(args[0])?, bound(args[1])?);
    if let Some(exports) = exporting::running() {
        exports.end(id, bound);
    }
    ok(env)
}

/// `exporters_flush(bound)`
pub fn flush<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let bound = bound(args[0])?;
    if let Some(exports) = exporting::running() {
        exports.flush(bound);
    }
    ok(env)
}

/// `exporters_status()`: `{address, connections, refused, exporters}`, or `:none`.
pub fn status<'a>(env: Env<'a>, _args: &[Term<'a>]) -> Answer<'a> {
    let Some(exports) = exporting::running() else {
        return Ok(atom(env, atoms::none()));
    };
    let Status {
        address,
        connections,
        refused,
        exporters,
    } = exports.status();
    let address = match address {
        Some(address) => address.to_string().encode(env),
        None => atom(env, atoms::none()),
    };
    let exporters: Vec<Term<'a>> = exporters.iter().map(|exporter| shown(env, exporter)).collect();
    Ok((address, connections, refused, exporters).encode(env))
}

fn shown<'a>(env: Env<'a>, status: &ExporterStatus) -> Term<'a> {
    let ExporterStatus {
        id,
        name,
        exports,
        failures,
        points,
        dropped,
    } = status;
    (id, name, exports, failures, (points, dropped)).encode(env)
}

fn not_started() -> Failed {
    ("stopped".to_owned(), "the exporters are stopped".to_owned())
}

fn not_kept() -> Failed {
    (
        "engine".to_owned(),
        "the spans of this instance are not kept natively, as it began before the library served; start it again"
            .to_owned(),
    )
}

// `{:error, {kind, sentence}}`
fn failed<'a>(env: Env<'a>, (kind, sentence): &Failed) -> Answer<'a> {
    let kind = rustler::Atom::from_str(env, kind).map_err(|_| Refusal::BadArgument)?;
    Ok((atoms::error(), (kind, sentence)).encode(env))
}
