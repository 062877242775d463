//! Protobuf's text form: `key: value` and `key { … }` in any order, `#` comments, lists in brackets.
//!
//! A value is kept as it is written; what it means is asked for by name and type, so that an error can name
//! the line. Fields may be separated by commas and semicolons, texts be in either kind of quotes, and texts
//! that follow each other are one.

use crate::error::{FormatError, Result};

/// Messages within each other; Caffe's definitions take five.
const MAX_DEPTH: usize = 16;

/// A value, not yet understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A number, a truth value or a name of a list, as it is written.
    Word(&'a str),
    /// A text in quotes.
    Text(String),
    /// Fields in braces.
    Message(Message<'a>),
}

/// A field: name, value, and the line where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) value: Value<'a>,
    pub(super) line: usize,
}

/// Fields in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message<'a> {
    pub(super) fields: Vec<Field<'a>>,
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Message<'_>> {
    let mut parser = Parser { text, at: 0, line: 1 };
    parser.message(None, 0)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Parser<'a> {
    /// Fields up to the closing brace, or up to the end of the text for the outermost message.
    fn message(&mut self, close: Option<u8>, depth: usize) -> Result<Message<'a>> {
        if depth > MAX_DEPTH {
            return Err(self
                .error_of(FormatError::limit, &format!("more than {MAX_DEPTH} messages within each other")));
        }
        let mut message = Message::default();
        loop {
            self.skip_blank();
            match (self.peek(), close) {
                (None, None) => return Ok(message),
                (None, Some(_)) => {
                    return Err(self.error_of(FormatError::truncated, "the text ends within braces"));
                }
                (Some(byte), Some(close)) if byte == close => {
                    self.at += 1;
                    return Ok(message);
                }
                (Some(b',' | b';'), _) if !message.fields.is_empty() => self.at += 1,
                _ => self.field(&mut message, depth)?,
            }
        }
    }

    fn field(&mut self, message: &mut Message<'a>, depth: usize) -> Result<()> {
        let (name, line) = (self.word("the name of a field")?, self.line);
        self.skip_blank();
        let has_colon = self.peek() == Some(b':');
        if has_colon {
            self.at += 1;
            self.skip_blank();
        }
        if has_colon && self.peek() == Some(b'[') {
            self.at += 1;
            return self.list(name, message, depth);
        }
        let value = self.value(has_colon, depth)?;
        message.fields.push(Field { name, value, line });
        Ok(())
    }

    /// `[a, b]` means the same as the field twice.
    fn list(&mut self, name: &'a str, message: &mut Message<'a>, depth: usize) -> Result<()> {
        self.skip_blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_blank();
            let line = self.line;
            let value = self.value(true, depth)?;
            message.fields.push(Field { name, value, line });
            self.skip_blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.error("expected `,` or `]` in a list")),
            }
        }
    }

    fn value(&mut self, may_be_scalar: bool, depth: usize) -> Result<Value<'a>> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                self.message(Some(b'}'), depth + 1).map(Value::Message)
            }
            Some(b'<') => {
                self.at += 1;
                self.message(Some(b'>'), depth + 1).map(Value::Message)
            }
            Some(b'"' | b'\'') if may_be_scalar => self.texts().map(Value::Text),
            Some(_) if may_be_scalar => self.word("a value").map(Value::Word),
            Some(_) => Err(self.error("expected `:` or `{` after the name of a field")),
            None => Err(self.error_of(FormatError::truncated, "the text ends where a value is expected")),
        }
    }

    /// A name or a number: letters, digits and the signs that numbers have.
    fn word(&mut self, expected: &str) -> Result<&'a str> {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
        let len = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        if len == 0 {
            let found = rest.chars().next().map_or_else(|| "the end".into(), |c| format!("{c:?}"));
            return Err(self.error(&format!("expected {expected}, found {found}")));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn texts(&mut self) -> Result<String> {
        let mut text = String::new();
        while let Some(quote @ (b'"' | b'\'')) = self.peek() {
            self.at += 1;
            self.quoted(char::from(quote), &mut text)?;
            self.skip_blank();
        }
        Ok(text)
    }

    /// The rest of a text up to its closing quote. Of the escapes only those that a name may need are known.
    fn quoted(&mut self, quote: char, text: &mut String) -> Result<()> {
        let rest = &self.text[self.at..];
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, escaped @ ('\\' | '"' | '\''))) => text.push(escaped),
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    _ => {
                        return Err(
                            self.error("expected one of \\\\ \\\" \\' \\n \\t as an escape in a text")
                        );
                    }
                },
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(());
                }
                c => text.push(c),
            }
        }
        Err(self.error("a text without its closing quote"))
    }

    fn skip_blank(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\n' => self.line += 1,
                b'#' => {
                    let rest = &bytes[self.at..];
                    self.at += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c' => {}
                _ => return,
            }
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn error(&self, message: &str) -> FormatError {
        self.error_of(FormatError::malformed, message)
    }

    fn error_of(&self, kind: fn(String, String) -> FormatError, message: &str) -> FormatError {
        kind(format!("line {}", self.line), message.to_owned())
    }
}

impl<'a> Message<'a> {
    /// Refuses every field whose name is not among these.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        match self.fields.iter().find(|field| !known.contains(&field.name)) {
            None => Ok(()),
            Some(field) => Err(field.error(FormatError::unsupported, "this field is not understood")),
        }
    }

    /// All fields of a name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(move |field| field.name == name)
    }

    /// The field of a name that may occur once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&Field<'a>>> {
        let mut all = self.all(name);
        let first = all.next();
        match all.next() {
            None => Ok(first),
            Some(second) => Err(second.error(FormatError::malformed, "expected once, found a second time")),
        }
    }

    /// The message of a name; an empty one where there is none.
    pub(super) fn message(&self, name: &str) -> Result<Message<'a>> {
        self.one(name)?.map_or_else(|| Ok(Message::default()), |field| field.message().cloned())
    }

    /// The text of a name; empty where there is none.
    pub(super) fn text(&self, name: &str) -> Result<String> {
        self.one(name)?.map_or_else(|| Ok(String::new()), Field::text)
    }

    /// All texts of a name.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>> {
        self.all(name).map(Field::text).collect()
    }

    /// The whole number of a name, at most `max`.
    pub(super) fn size(&self, name: &str, max: usize) -> Result<Option<usize>> {
        self.one(name)?.map(|field| field.size(max)).transpose()
    }

    /// All whole numbers of a name, each at most `max`.
    pub(super) fn sizes(&self, name: &str, max: usize) -> Result<Vec<usize>> {
        self.all(name).map(|field| field.size(max)).collect()
    }

    /// The truth value of a name.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(field) = self.one(name)? else { return Ok(default) };
        match field.value {
            Value::Word("true" | "True" | "t" | "1") => Ok(true),
            Value::Word("false" | "False" | "f" | "0") => Ok(false),
            _ => Err(field.unexpected("true or false")),
        }
    }

    /// The number of a name, finite.
    pub(super) fn number(&self, name: &str, default: f64) -> Result<f64> {
        self.one(name)?.map_or(Ok(default), Field::number)
    }

    /// The word of a name, such as one of a list of names.
    pub(super) fn word(&self, name: &str, default: &'a str) -> Result<&'a str> {
        let Some(field) = self.one(name)? else { return Ok(default) };
        match field.value {
            Value::Word(word) => Ok(word),
            _ => Err(field.unexpected("a name without quotes")),
        }
    }
}

impl<'a> Field<'a> {
    pub(super) fn message(&self) -> Result<&Message<'a>> {
        match &self.value {
            Value::Message(message) => Ok(message),
            _ => Err(self.unexpected("fields in braces")),
        }
    }

    pub(super) fn text(&self) -> Result<String> {
        match &self.value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.unexpected("a text in quotes")),
        }
    }

    pub(super) fn size(&self, max: usize) -> Result<usize> {
        let size = match self.value {
            Value::Word(word) => word.parse().ok().filter(|size| *size <= max),
            _ => None,
        };
        size.ok_or_else(|| self.unexpected(&format!("a whole number from 0 to {max}")))
    }

    pub(super) fn number(&self) -> Result<f64> {
        let number = match self.value {
            Value::Word(word) => word.strip_suffix(['f', 'F']).unwrap_or(word).parse().ok(),
            _ => None,
        };
        number.filter(|number: &f64| number.is_finite()).ok_or_else(|| self.unexpected("a number"))
    }

    pub(super) fn unexpected(&self, expected: &str) -> FormatError {
        let found = match &self.value {
            Value::Word(word) => format!("`{word}`"),
            Value::Text(text) => format!("{text:?}"),
            Value::Message(_) => "fields in braces".to_owned(),
        };
        self.error(FormatError::malformed, &format!("expected {expected}, found {found}"))
    }

    pub(super) fn error(&self, kind: fn(String, String) -> FormatError, message: &str) -> FormatError {
        kind(format!("line {}: `{}`", self.line, self.name), message.to_owned())
    }
}
