//! YAML text -> a tree of nodes with positions.
//!
//! Only what a configuration needs: one document of mappings, lists and scalars. Anchors, aliases and tags are
//! refused (written out, a file says what it means), so no small file grows into a large tree. Size and depth
//! are bounded and the tree is built without recursion; no text makes this panic.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};
use serde_json::Value;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// How deep mappings and lists may nest. The contract needs eight.
pub const MAX_DEPTH: usize = 32;

const NO_ANCHORS: &str = "anchors (`&name`) and aliases (`*name`) are not supported";
const WRITE_OUT: &str = "write the value out; a text that begins with `*` or `&` needs quotes";

/// A place in a file: line and column from 1, the column in characters. Line 0 stands for the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pos {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub pos: Pos,
    /// Where it ends (exclusive).
    pub end: Pos,
    /// What it is.
    pub kind: Kind,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Nothing was written (`key:`), or `null` or `~`.
    Null,
    /// A scalar; whether it was quoted tells `"0"` from `0`.
    Scalar {
        /// Its characters, without quotes and escapes.
        text: String,
        /// Whether it was written in quotes or as a block.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file, each key once.
    Map(Vec<(Key, Node)>),
    /// Something that was refused; the problem is reported already.
    Bad,
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// Where it stands.
    pub pos: Pos,
}

/// What a plain (unquoted) scalar means in YAML 1.2's core schema.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plain {
    /// `true` or `false`.
    Bool(bool),
    /// A number, whole or not.
    Number(f64),
    /// Anything else.
    Text,
}

/// What is wrong with a text as YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub pos: Pos,
    /// What.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

/// A tree, and what was wrong on the way to it. The tree is `None` where the text is not YAML at all.
pub type Parsed = (Option<Node>, Vec<Problem>);

/// Reads a text.
pub fn parse(text: &str) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(problem) = refused_text(text) {
        return (None, vec![problem]);
    }
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = next_event(&mut parser) {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(syntax(error.marker(), error.info())),
        };
        if let Err(problem) = step {
            builder.problems.push(problem);
            return (None, builder.problems);
        }
    }
    let nothing = Node { pos: Pos { line: 1, column: 1 }, end: Pos { line: 1, column: 1 }, kind: Kind::Null };
    (Some(builder.root.unwrap_or(nothing)), builder.problems)
}

fn next_event<'a>(
    parser: &mut Parser<'a, StrInput<'a>>,
) -> Option<Result<(Event<'a>, Span), saphyr_parser::ScanError>> {
    parser.next_event()
}

fn pos(mark: &Marker) -> Pos {
    Pos { line: mark.line().max(1), column: mark.col() + 1 }
}

fn syntax(mark: &Marker, info: &str) -> Problem {
    if info.contains("anchor") {
        return Problem { pos: pos(mark), message: NO_ANCHORS.into(), help: WRITE_OUT.into() };
    }
    let help = "quote texts that hold `{`, `[`, `*`, `: ` or ` #`, and check the indentation";
    Problem { pos: pos(mark), message: format!("this is not YAML: {info}"), help: help.into() }
}

/// Refuses what no configuration holds before a parser sees it: too many bytes, control characters.
fn refused_text(text: &str) -> Option<Problem> {
    if text.len() > MAX_BYTES {
        let message = format!("the file is larger than {} MiB", MAX_BYTES >> 20);
        return Some(Problem { pos: Pos::default(), message, help: "is this the right file?".into() });
    }
    for (number, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let bad =
            |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}');
        if let Some((column, c)) = line.chars().enumerate().find(|(_, c)| bad(*c)) {
            return Some(Problem {
                pos: Pos { line: number + 1, column: column + 1 },
                message: format!("a control character (U+{:04X})", u32::from(c)),
                help: "remove it; in a quoted text write it as an escape".into(),
            });
        }
    }
    None
}

enum Frame {
    List { pos: Pos, items: Vec<Node> },
    Map { pos: Pos, entries: Vec<(Key, Node)>, seen: HashMap<String, Pos>, key: Option<Pending> },
}

/// The key whose value comes next; `None`: the key was refused and its value is dropped.
type Pending = Option<Key>;

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    stack: Vec<Frame>,
    documents: usize,
    problems: Vec<Problem>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let start = pos(&span.start);
        match event {
            Event::DocumentStart(_) => return self.document(start),
            Event::Alias(_) => {
                self.no_anchors(start);
                self.attach(Node { pos: start, end: pos(&span.end), kind: Kind::Bad });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.decorations(start, anchor, tag.is_some());
                self.attach(scalar(&text, style, &span));
            }
            Event::SequenceStart(anchor, tag) => {
                self.decorations(start, anchor, tag.is_some());
                return self.push(start, Frame::List { pos: start, items: Vec::new() });
            }
            Event::MappingStart(anchor, tag) => {
                self.decorations(start, anchor, tag.is_some());
                let frame = Frame::Map { pos: start, entries: Vec::new(), seen: HashMap::new(), key: None };
                return self.push(start, frame);
            }
            Event::SequenceEnd | Event::MappingEnd => self.pop(pos(&span.end)),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn document(&mut self, pos: Pos) -> Result<(), Problem> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let help = "a configuration is one document: remove the line `---`, or use another file";
        Err(Problem { pos, message: "a second document begins here".into(), help: help.into() })
    }

    fn decorations(&mut self, pos: Pos, anchor: usize, tag: bool) {
        if anchor != 0 {
            self.no_anchors(pos);
        }
        if tag {
            let help = "remove it; quotes make a text of what looks like a number";
            self.problem(pos, "a tag (`!…`) is not supported", help);
        }
    }

    fn no_anchors(&mut self, pos: Pos) {
        self.problem(pos, NO_ANCHORS, WRITE_OUT);
    }

    fn problem(&mut self, pos: Pos, message: &str, help: &str) {
        self.problems.push(Problem { pos, message: message.into(), help: help.into() });
    }

    fn push(&mut self, pos: Pos, frame: Frame) -> Result<(), Problem> {
        if self.stack.len() >= MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Problem { pos, message, help: "nothing in a configuration is that deep".into() });
        }
        self.stack.push(frame);
        Ok(())
    }

    fn pop(&mut self, end: Pos) {
        let (pos, kind) = match self.stack.pop() {
            Some(Frame::List { pos, items }) => (pos, Kind::List(items)),
            Some(Frame::Map { pos, entries, .. }) => (pos, Kind::Map(entries)),
            None => return,
        };
        self.attach(Node { pos, end, kind });
    }

    /// Puts a finished node where it belongs: into the list or mapping that is open, as a key or a value.
    fn attach(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, key: key @ Some(_), .. }) => {
                if let Some(Some(key)) = key.take() {
                    entries.push((key, node));
                }
            }
            Some(Frame::Map { seen, key, .. }) => {
                let (pending, problem) = read_key(node, seen);
                *key = Some(pending);
                self.problems.extend(problem);
            }
        }
    }
}

fn read_key(node: Node, seen: &mut HashMap<String, Pos>) -> (Pending, Option<Problem>) {
    let pos = node.pos;
    let name = match node.kind {
        Kind::Scalar { text, .. } if !text.is_empty() => text,
        Kind::Bad => return (None, None),
        _ => {
            let message = "a key must be a text".to_owned();
            let help = "write `key: value`; a text that begins with `{` or `[` needs quotes".to_owned();
            return (None, Some(Problem { pos, message, help }));
        }
    };
    match seen.entry(name) {
        Entry::Occupied(first) => {
            let message = format!("the key `{}` is written twice", first.key());
            let help = format!("it stands in line {} already: keep one of the two", first.get().line);
            (None, Some(Problem { pos, message, help }))
        }
        Entry::Vacant(new) => {
            let name = new.key().clone();
            new.insert(pos);
            (Some(Key { name, pos }), None)
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, span: &Span) -> Node {
    let quoted = style != ScalarStyle::Plain;
    let kind = if !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        Kind::Null
    } else {
        Kind::Scalar { text: text.to_owned(), quoted }
    };
    Node { pos: pos(&span.start), end: pos(&span.end), kind }
}

/// What a plain scalar means.
pub fn plain(text: &str) -> Plain {
    match text {
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+')).map(|n| n as f64)
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Plain::Number(number);
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Plain::Number(f64::NAN);
    }
    let numeric = unsigned.bytes().any(|b| b.is_ascii_digit())
        && unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if numeric => Plain::Number(number),
        _ => Plain::Text,
    }
}

impl Node {
    /// The node as JSON, for a JSON Schema. What was refused becomes `null`.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null | Kind::Bad => Value::Null,
            Kind::Scalar { text, quoted: true } => Value::String(text.clone()),
            Kind::Scalar { text, quoted: false } => match plain(text) {
                Plain::Bool(value) => Value::Bool(value),
                Plain::Number(number) => match text.parse::<i64>() {
                    Ok(whole) => Value::from(whole),
                    Err(_) => Value::from(number),
                },
                Plain::Text => Value::String(text.clone()),
            },
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect())
            }
        }
    }
}
