//! What exporters tell, and what they are told: figures and their history. Decodes, makes one call, encodes.

use kantoku_core::metrics::{Family, join};
use kantoku_exporters::exposition::{negotiate, render};
use kantoku_exporters::history::{Key, now};
use kantoku_exporters::http;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::exporters::{decoded, ok};
use crate::exporting;
use crate::guard::{Answer, Refusal};
use crate::metrics_giving;
use crate::metrics_reading::all_families;
use crate::state::state;

/// `exporters_history(which, query)`: of `:names` or `:courses` the JSON that the listener serves, or what was expected.
pub fn history<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (which, query): (rustler::Atom, &str) = (decoded(args[0])?, decoded(args[1])?);
    let told = if which == atoms::names() {
        http::names_of(&state().history, Some(query))
    } else {
        http::courses_of(&state().history, Some(query))
    };
    Ok(match told {
        Ok(body) => (atoms::ok(), body).encode(env),
        Err(expected) => (atoms::error(), expected).encode(env),
    })
}

/// `exporters_metrics(accept, given)`: the type and the page that the listener serves, or would, if it were given these.
pub fn metrics<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let format = negotiate(Some(decoded(args[0])?));
    let page = render(&told(args[1])?, format);
    Ok((format.content_type(), page).encode(env))
}

/// `exporters_look(given)`: has the history look as a listener would have it.
pub fn look<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let families = told(args[0])?;
    state().watch.lock().look(families, &state().history);
    ok(env)
}

// What an exporter tells, or, where there is none, would tell.
fn told(given: Term<'_>) -> Result<Vec<Family>, Refusal> {
    let given = metrics_giving::families(given)?;
    if let Some(families) = exporting::running().and_then(|exports| exports.families()) {
        return Ok(families);
    }
    let mut families = all_families();
    for family in given {
        join(&mut families, family);
    }
    Ok(families)
}

/// `exporters_note(instance, name, value)`: for the history.
pub fn note<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (instance, name): (&str, &str) = (decoded(args[0])?, decoded(args[1])?);
    let key = Key::of(instance, name, None);
    state().history.record(now(), [(key, decoded::<f64>(args[2])?)]);
    ok(env)
}

/// `exporters_give(families)`: what is told besides, until the next are given. `{:limit, bytes}` if that is too much: then those before go too.
pub fn give<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let families = metrics_giving::families(args[0])?;
    match exporting::running().map(|exports| exports.give(families)) {
        Some(Err(limit)) => Ok((atoms::limit(), limit).encode(env)),
        Some(Ok(())) | None => ok(env),
    }
}
