//! A finished span as data, in OTLP's terms. Says how many bytes it is; knows nobody who makes or reads one.

/// The 128 bits of a trace's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

/// OTLP's `SpanKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Unspecified = 0,
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Unspecified,
        Kind::Internal,
        Kind::Server,
        Kind::Client,
        Kind::Producer,
        Kind::Consumer,
    ];
}

/// OTLP's `Status.StatusCode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Unset = 0,
    Ok = 1,
    Error = 2,
}

impl Status {
    pub const ALL: [Status; 3] = [Status::Unset, Status::Ok, Status::Error];
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub name: String,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub at: i64,
    pub name: String,
    pub attributes: Vec<Pair>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub trace: TraceId,
    pub span: u64,
    pub flags: u8,
    pub state: String,
}

/// How many of a span's were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub attributes: u32,
    pub events: u32,
    pub links: u32,
}

/// Times are nanoseconds since 1970; a `parent` of 0 is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace: TraceId,
    pub span: u64,
    pub parent: u64,
    pub flags: u8,
    pub state: String,
    pub name: String,
    pub kind: Kind,
    pub began: i64,
    pub ended: i64,
    pub status: Status,
    pub attributes: Vec<Pair>,
    pub events: Vec<Event>,
    pub links: Vec<Link>,
    pub left_out: LeftOut,
}

impl Span {
    /// What it takes, with all that it points to.
    pub fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(Event::heap).sum();
        let links: usize = self.links.iter().map(|link| link.state.capacity()).sum();
        size_of::<Self>()
            + self.state.capacity()
            + self.name.capacity()
            + heap(&self.attributes)
            + self.events.capacity() * size_of::<Event>()
            + events
            + self.links.capacity() * size_of::<Link>()
            + links
    }
}

impl Event {
    fn heap(&self) -> usize {
        self.name.capacity() + heap(&self.attributes)
    }
}

fn heap(pairs: &Vec<Pair>) -> usize {
    let texts = pairs.iter().map(|pair| {
        let value = match &pair.value {
            Value::Text(text) => text.capacity(),
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) => 0,
        };
        pair.name.capacity() + value
    });
    pairs.capacity() * size_of::<Pair>() + texts.sum::<usize>()
}
