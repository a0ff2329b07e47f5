//! YAML as a tree in which every node knows its line and column and scalars are kept as typed, so that a schema error
//! can point at its cause and `+49` or `off` never turns into a number or a boolean (docs/adr/0003).

use saphyr_parser::{Event, Parser, Span, StrInput};

/// Files above this are refused unread: no config of a person is larger.
pub const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 200_000;

/// 1-based position in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which of the files that are read as one: 0 is the first, the others are presets that it names.
    pub file: usize,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

impl Node {
    /// True for a mapping with this key.
    pub fn has_key(&self, key: &str) -> bool {
        matches!(&self.value, Value::Mapping(entries) if entries.iter().any(|(k, _)| k.is(key)))
    }

    /// The value of this key, in a mapping that has it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Value::Mapping(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|(k, _)| k.is(key)).map(|(_, value)| value)
    }

    /// The scalar's text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    fn is(&self, word: &str) -> bool {
        self.text() == Some(word)
    }
}

/// YAML's three kinds.
#[derive(Clone, Debug)]
pub enum Value {
    /// As typed, quotes and escapes undone. `quoted` tells `""` and `"null"` from nothing and `null`.
    Scalar {
        /// The text.
        text: String,
        /// It was in quotes.
        quoted: bool,
    },
    /// `[a, b]` or dashes.
    Sequence(Vec<Node>),
    /// Keys in the order of the file; keys are scalars.
    Mapping(Vec<(Node, Node)>),
}

/// Not YAML, or more of it than we read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Invalid {
    /// Where.
    pub at: Position,
    /// What is wrong, in YAML's words.
    pub reason: String,
}

/// Reads the one document of a file, as the `file`-th of those that are read as one. Aliases, tags and several documents are
/// refused: a config needs none, and an alias bomb none too.
pub fn parse(text: &str, file: usize) -> Result<Node, Invalid> {
    let mut reader = Reader { parser: Parser::new_from_str(text), file, nodes: 0 };
    if text.len() > MAX_BYTES {
        return Err(invalid(reader.position(1, 0), "the file is larger than 1 MiB"));
    }
    reader.document()
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    file: usize,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Invalid> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(e)) => Err(invalid(self.position(e.marker().line(), e.marker().col()), e.info())),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, Invalid> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event if root.is_none() => root = Some(self.node(event, span, 0)?),
                _ => return Err(invalid(self.start(span), "a second document in one file")),
            }
        }
        Ok(root.unwrap_or(Node {
            at: self.position(1, 0),
            value: Value::Scalar { text: String::new(), quoted: false },
        }))
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Invalid> {
        let at = self.start(span);
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(invalid(at, "nested too deeply, or too many values"));
        }
        let value = match event {
            Event::Scalar(text, style, _, None) => {
                Value::Scalar { text: text.into_owned(), quoted: style != saphyr_parser::ScalarStyle::Plain }
            }
            Event::SequenceStart(_, None) => self.sequence(depth)?,
            Event::MappingStart(_, None) => self.mapping(depth)?,
            Event::Alias(_) => {
                return Err(invalid(at, "aliases (*name) are not read here; write the value out"));
            }
            _ => return Err(invalid(at, "tags (!name) are not read here")),
        };
        Ok(Node { at, value })
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Invalid> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Sequence(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Invalid> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Mapping(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let Value::Scalar { text, .. } = &key.value else {
                return Err(invalid(key.at, "a key must be a plain word"));
            };
            if entries.iter().any(|(k, _)| k.is(text)) {
                return Err(invalid(key.at, &format!("`{text}` stands here twice")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((key, value));
        }
    }

    fn start(&self, span: Span) -> Position {
        self.position(span.start.line(), span.start.col())
    }

    /// saphyr counts lines from 1 and columns from 0.
    fn position(&self, line: usize, column: usize) -> Position {
        Position { file: self.file, line, column: column + 1 }
    }
}

fn invalid(at: Position, reason: &str) -> Invalid {
    Invalid { at, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stay_as_typed_and_know_their_place() {
        let root = parse("srtp: off\nto: [+49, \"0\"]\n", 0).unwrap();
        let Value::Mapping(entries) = root.value else { panic!() };
        assert!(matches!(&entries[0].1.value, Value::Scalar { text, quoted: false } if text == "off"));
        assert_eq!(entries[0].1.at, Position { file: 0, line: 1, column: 7 });
        let Value::Sequence(items) = &entries[1].1.value else { panic!() };
        assert!(matches!(&items[0].value, Value::Scalar { text, .. } if text == "+49"));
        assert_eq!(items[1].at, Position { file: 0, line: 2, column: 11 });
    }

    #[test]
    fn refuses_what_no_config_needs() {
        for bad in ["a: &x [1]\nb: *x\n", "a: !!str 1\n", "a: 1\na: 2\n", "a: [1\n", "---\na: 1\n---\nb: 2\n"]
        {
            assert!(parse(bad, 0).is_err(), "{bad:?}");
        }
        assert!(parse(&"[".repeat(50_000), 0).is_err());
    }
}
