//! A set of slot indexes: a sorted list while small, else a part for each chunk, itself a list or a bitmap.

use std::ops::ControlFlow;

use super::cells::{Level, SHIFT, SPAN, WORDS};
use super::ledger::Ledger;

/// A bitmap of one chunk.
pub(super) type Words = [u64; WORDS];

/// Up to here members are listed; lists come back at half of it, so that no set swings between two forms.
const LISTED: usize = 64;

#[derive(Debug)]
pub(super) enum Set {
    Few(Vec<u32>),
    Many { len: usize, parts: Vec<Part> },
}

#[derive(Debug)]
pub(super) struct Part {
    chunk: u32,
    form: Form,
}

#[derive(Debug)]
enum Form {
    List(Vec<u16>),
    Bits { len: u32, words: Box<Words> },
}

impl Default for Set {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

const fn split(index: u32) -> (u32, u16) {
    (index >> SHIFT, (index % SPAN as u32) as u16)
}

const fn join(chunk: u32, at: u16) -> u32 {
    chunk << SHIFT | at as u32
}

impl Set {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many { len, .. } => *len,
        }
    }

    #[inline]
    pub(super) fn contains(&self, index: u32) -> bool {
        match self {
            Self::Few(list) => list.binary_search(&index).is_ok(),
            Self::Many { parts, .. } => {
                let (chunk, at) = split(index);
                part_of(parts, chunk).is_ok_and(|found| parts[found].form.contains(at))
            }
        }
    }

    /// Adds an index that is not in the set.
    pub(super) fn insert(&mut self, index: u32, ledger: &mut Ledger) {
        match self {
            Self::Few(list) if list.len() < LISTED => {
                let at = list.partition_point(|&other| other < index);
                ledger.track(list, |list| list.insert(at, index));
            }
            Self::Few(_) => {
                self.spread(ledger);
                self.insert(index, ledger);
            }
            Self::Many { len, parts } => {
                *len += 1;
                let (chunk, at) = split(index);
                part_to_grow(parts, chunk, ledger).form.insert(at, ledger);
            }
        }
    }

    /// Takes out an index that is in the set.
    pub(super) fn remove(&mut self, index: u32, ledger: &mut Ledger) {
        match self {
            Self::Few(list) => {
                let at = list
                    .binary_search(&index)
                    .expect("an entry is in the sets of its facets");
                list.remove(at);
                shrink(list, ledger);
            }
            Self::Many { len, parts } => {
                *len -= 1;
                remove_from(parts, index, ledger);
                if *len <= LISTED / 2 {
                    self.gather(ledger);
                }
            }
        }
    }

    fn spread(&mut self, ledger: &mut Ledger) {
        let Self::Few(list) = std::mem::take(self) else {
            return;
        };
        let mut parts = Vec::new();
        for &index in &list {
            let (chunk, at) = split(index);
            part_to_grow(&mut parts, chunk, ledger).form.insert(at, ledger);
        }
        ledger.sub(list.capacity() * size_of::<u32>());
        *self = Self::Many {
            len: list.len(),
            parts,
        };
    }

    fn gather(&mut self, ledger: &mut Ledger) {
        let mut list = Vec::with_capacity(LISTED);
        self.for_each(|index| list.push(index));
        ledger.add(list.capacity() * size_of::<u32>());
        if let Self::Many { parts, .. } = std::mem::replace(self, Self::Few(list)) {
            ledger.sub(parts.capacity() * size_of::<Part>());
            parts.iter().for_each(|part| ledger.sub(part.form.bytes()));
        }
    }

    /// The members of a chunk.
    #[inline]
    pub(super) fn with_words<R>(&self, chunk: usize, then: impl FnOnce(&Words) -> R) -> R {
        if let Some(Form::Bits { words, .. }) = self.form(chunk) {
            return then(words);
        }
        let mut words = [0; WORDS];
        self.put(chunk, &mut words);
        then(&words)
    }

    /// Adds the members of a chunk to bits. Which words have some.
    #[inline]
    pub(super) fn put(&self, chunk: usize, into: &mut Words) -> u64 {
        match (self, self.form(chunk)) {
            (Self::Few(list), _) => put_all(few(list, chunk as u32), into),
            (_, Some(Form::List(list))) => put_all(list.iter().copied(), into),
            (_, Some(Form::Bits { words, .. })) => {
                into.iter_mut()
                    .zip(&**words)
                    .for_each(|(into, &word)| *into |= word);
                filled(words)
            }
            (_, None) => 0,
        }
    }

    fn form(&self, chunk: usize) -> Option<&Form> {
        let Self::Many { parts, .. } = self else {
            return None;
        };
        part_of(parts, chunk as u32).ok().map(|found| &parts[found].form)
    }

    /// The members that are on a level, given for each chunk, until `each` breaks.
    pub(super) fn try_each_on<'l>(
        &self,
        level: impl Fn(usize) -> Level<'l>,
        each: &mut impl FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Few(list) => list
                .iter()
                .filter(|&&index| level(split(index).0 as usize).has(split(index).1))
                .try_for_each(|&index| each(index)),
            Self::Many { parts, .. } => parts
                .iter()
                .try_for_each(|part| part.try_each_on(level(part.chunk as usize), each)),
        }
    }

    /// All members, ascending.
    #[inline]
    pub(super) fn for_each(&self, mut each: impl FnMut(u32)) {
        match self {
            Self::Few(list) => list.iter().for_each(|&index| each(index)),
            Self::Many { parts, .. } => parts.iter().for_each(|part| part.for_each(&mut each)),
        }
    }
}

/// Mostly every chunk has a part, and the place is the chunk's number.
fn part_of(parts: &[Part], chunk: u32) -> Result<usize, usize> {
    match parts.get(chunk as usize) {
        Some(part) if part.chunk == chunk => Ok(chunk as usize),
        _ => parts.binary_search_by_key(&chunk, |part| part.chunk),
    }
}

fn part_to_grow<'a>(parts: &'a mut Vec<Part>, chunk: u32, ledger: &mut Ledger) -> &'a mut Part {
    let at = part_of(parts, chunk).unwrap_or_else(|at| {
        ledger.track(parts, |parts| {
            parts.insert(
                at,
                Part {
                    chunk,
                    form: Form::List(Vec::new()),
                },
            )
        });
        at
    });
    &mut parts[at]
}

fn remove_from(parts: &mut Vec<Part>, index: u32, ledger: &mut Ledger) {
    let (chunk, at) = split(index);
    let place = part_of(parts, chunk).expect("an entry is in the sets of its facets");
    parts[place].form.remove(at, ledger);
    if parts[place].form.len() == 0 {
        parts.remove(place);
        shrink(parts, ledger);
    }
}

/// Gives memory back once a quarter is in use, and all of it from the last member.
fn shrink<T>(vec: &mut Vec<T>, ledger: &mut Ledger) {
    if vec.is_empty() || vec.len() < vec.capacity() / 4 {
        let room = vec.len() * 2;
        ledger.track(vec, |vec| vec.shrink_to(room));
    }
}

fn put_all(members: impl Iterator<Item = u16>, into: &mut Words) -> u64 {
    members.fold(0, |filled, at| {
        into[at as usize / 64] |= 1 << (at % 64);
        filled | 1 << (at / 64)
    })
}

/// Which words are not empty.
pub(super) fn filled(words: &Words) -> u64 {
    let bit = |(at, &word): (usize, &u64)| u64::from(word != 0) << at;
    words.iter().enumerate().map(bit).fold(0, |all, bit| all | bit)
}

fn few(list: &[u32], chunk: u32) -> impl Iterator<Item = u16> {
    let from = list.partition_point(|&index| split(index).0 < chunk);
    list[from..]
        .iter()
        .map(|&index| split(index))
        .take_while(move |of| of.0 == chunk)
        .map(|of| of.1)
}

/// The places of the bits that are set, ascending.
#[inline]
pub(super) fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let at = word.trailing_zeros();
        (word != 0).then(|| {
            word &= word - 1;
            at
        })
    })
}

impl Part {
    #[inline]
    fn for_each(&self, mut each: impl FnMut(u32)) {
        match &self.form {
            Form::List(list) => list.iter().for_each(|&at| each(join(self.chunk, at))),
            Form::Bits { words, .. } => places(words).for_each(|at| each(join(self.chunk, at))),
        }
    }

    #[inline]
    fn try_each_on(
        &self,
        level: Level<'_>,
        each: &mut impl FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match &self.form {
            Form::List(list) => list
                .iter()
                .filter(|&&at| level.has(at))
                .try_for_each(|&at| each(join(self.chunk, at))),
            Form::Bits { words, .. } => ones(level.filled).try_for_each(|word| {
                ones(words[word as usize] & level.word(word as usize))
                    .try_for_each(|bit| each(join(self.chunk, (word * 64 + bit) as u16)))
            }),
        }
    }
}

impl Form {
    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Bits { len, .. } => *len as usize,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::List(list) => list.capacity() * size_of::<u16>(),
            Self::Bits { .. } => size_of::<Words>(),
        }
    }

    #[inline]
    fn contains(&self, at: u16) -> bool {
        match self {
            Self::List(list) => list.binary_search(&at).is_ok(),
            Self::Bits { words, .. } => words[at as usize / 64] >> (at % 64) & 1 == 1,
        }
    }

    fn insert(&mut self, at: u16, ledger: &mut Ledger) {
        match self {
            Self::List(list) if list.len() < LISTED => {
                let place = list.partition_point(|&other| other < at);
                ledger.track(list, |list| list.insert(place, at));
            }
            Self::List(list) => {
                let mut words = Box::new([0; WORDS]);
                put_all(list.iter().copied(), &mut words);
                let len = list.len() as u32;
                self.become_form(Self::Bits { len, words }, ledger);
                self.insert(at, ledger);
            }
            Self::Bits { len, words } => {
                *len += 1;
                words[at as usize / 64] |= 1 << (at % 64);
            }
        }
    }

    fn remove(&mut self, at: u16, ledger: &mut Ledger) {
        match self {
            Self::List(list) => {
                let place = list
                    .binary_search(&at)
                    .expect("an entry is in the sets of its facets");
                list.remove(place);
                shrink(list, ledger);
            }
            Self::Bits { len, words } => {
                *len -= 1;
                words[at as usize / 64] &= !(1 << (at % 64));
                if *len as usize <= LISTED / 2 {
                    let list = places(words).collect();
                    self.become_form(Self::List(list), ledger);
                }
            }
        }
    }

    fn become_form(&mut self, form: Self, ledger: &mut Ledger) {
        ledger.add(form.bytes());
        ledger.sub(std::mem::replace(self, form).bytes());
    }
}

fn places(words: &Words) -> impl Iterator<Item = u16> {
    let of_word = |(word, &bits): (usize, &u64)| ones(bits).map(move |bit| (word * 64) as u16 + bit as u16);
    words.iter().enumerate().flat_map(of_word)
}
