//! The syntax of the agent's files: HCL as Nomad's agents read it (its first version), and JSON.
//!
//! Keys may be quoted and hold dots, `block = {}` and `block {}` are the same, and nothing is
//! evaluated: `${...}` in a string is just text. JSON is the same with colons and commas.
//!
//! Invariants
//! - an object is always a block, however it was written;
//! - nesting is bounded by `DEPTH_MAX`.
use crate::jobspec::diagnostic::{Diagnostic, Place, Source};
use crate::jobspec::tree::{Attribute, Block, Label};
use crate::jobspec::value::Value;

/// Deeper than any configuration goes.
const DEPTH_MAX: usize = 32;

/// What stands behind a key.
enum Item {
    Value(Value),
    Block(Block),
    Blocks(Vec<Block>),
}

struct Parser<'a> {
    source: &'a Source,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Box<Diagnostic>>;

/// All of `source` as one block without a name.
pub(super) fn parse(source: &Source) -> Parsed<Block> {
    let mut parser = Parser { source, at: 0, depth: 0 };
    let mut root = Block::empty(String::new(), 0..0);
    parser.skip();
    let braced = parser.eat('{');
    parser.body(&mut root, if braced { Some('}') } else { None })?;
    parser.skip();
    if parser.at < source.text.len() {
        return parser.wrong("nothing may follow the closing brace");
    }
    Ok(root)
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.source.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn wrong<T>(&self, message: &str) -> Parsed<T> {
        self.wrong_at(self.at..self.at + 1, message)
    }

    fn wrong_at<T>(&self, place: Place, message: &str) -> Parsed<T> {
        Err(Box::new(self.source.find(place, message.to_owned(), String::new())))
    }

    /// Past white space and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let comment = match &rest[blank..] {
                text if text.starts_with('#') || text.starts_with("//") => {
                    text.find('\n').unwrap_or(text.len())
                }
                text if text.starts_with("/*") => text.find("*/").map_or(text.len(), |end| end + 2),
                _ => 0,
            };
            self.at += blank + comment;
            if comment == 0 {
                return;
            }
        }
    }

    fn body(&mut self, block: &mut Block, end: Option<char>) -> Parsed<()> {
        loop {
            self.skip();
            match (self.peek(), end) {
                (None, None) => return Ok(()),
                (None, Some(_)) => {
                    return self.wrong_at(
                        block.place.clone(),
                        "this brace is not closed before the file ends",
                    );
                }
                (Some(c), Some(end)) if c == end => {
                    self.at += 1;
                    return Ok(());
                }
                (Some(',' | ';'), _) => self.at += 1,
                (Some(_), _) => self.item(block)?,
            }
        }
    }

    fn item(&mut self, block: &mut Block) -> Parsed<()> {
        let (name, place) = self.key()?;
        let mut labels = Vec::new();
        self.skip();
        while self.peek().is_some_and(|c| c == '"' || is_word(c)) {
            let (text, place) = self.key()?;
            labels.push(Label { text, place });
            self.skip();
        }
        let assigned = self.eat('=') || self.eat(':');
        self.skip();
        let start = self.at;
        if !assigned && self.peek() != Some('{') {
            return self.wrong(&format!("after `{name}`, `= VALUE` or `{{ ... }}` is wanted"));
        }
        match self.value(&name, &place)? {
            Item::Value(_) if !labels.is_empty() => {
                return self
                    .wrong_at(place, &format!("`{name}` has labels, so `{{ ... }}` is wanted"));
            }
            Item::Value(value) => {
                let value_place = start..self.at;
                block.attributes.push(Attribute { name, place, value, value_place });
            }
            Item::Block(inner) => block.blocks.push(Block { labels, ..inner }),
            Item::Blocks(all) => {
                block
                    .blocks
                    .extend(all.into_iter().map(|inner| Block { labels: labels.clone(), ..inner }));
            }
        }
        Ok(())
    }

    fn key(&mut self) -> Parsed<(String, Place)> {
        let start = self.at;
        if self.peek() == Some('"') {
            let text = self.string()?;
            return Ok((text, start..self.at));
        }
        let length = self.rest().find(|c| !is_word(c)).unwrap_or(self.rest().len());
        if length == 0 {
            return self.wrong("a key is wanted here");
        }
        self.at += length;
        Ok((self.source.text[start..self.at].to_owned(), start..self.at))
    }

    fn value(&mut self, name: &str, place: &Place) -> Parsed<Item> {
        match self.peek() {
            Some('{') => {
                self.at += 1;
                self.depth += 1;
                if DEPTH_MAX < self.depth {
                    return self.wrong("this is nested too deeply");
                }
                let mut block = Block::empty(name.to_owned(), place.clone());
                self.body(&mut block, Some('}'))?;
                self.depth -= 1;
                Ok(Item::Block(block))
            }
            Some('[') => self.list(name, place),
            Some('"') => self.string().map(|text| Item::Value(Value::Text(text))),
            Some('<') => self.heredoc().map(|text| Item::Value(Value::Text(text))),
            _ => self.plain().map(Item::Value),
        }
    }

    /// A list of plain values, or of objects, which are as many blocks.
    fn list(&mut self, name: &str, place: &Place) -> Parsed<Item> {
        let start = self.at;
        self.at += 1;
        self.depth += 1;
        if DEPTH_MAX < self.depth {
            return self.wrong("this is nested too deeply");
        }
        let (mut values, mut blocks) = (Vec::new(), Vec::new());
        loop {
            self.skip();
            match self.peek() {
                None => {
                    return self.wrong_at(
                        start..start + 1,
                        "this bracket is not closed before the file ends",
                    );
                }
                Some(']') => break,
                Some(',') => self.at += 1,
                Some(_) => match self.value(name, place)? {
                    Item::Value(value) => values.push(value),
                    Item::Block(block) => blocks.push(block),
                    Item::Blocks(inner) => {
                        values.push(Value::List(inner.iter().map(Block::to_value).collect()));
                    }
                },
            }
        }
        self.at += 1;
        self.depth -= 1;
        if blocks.is_empty() {
            return Ok(Item::Value(Value::List(values)));
        }
        if !values.is_empty() {
            return self.wrong_at(start..self.at, "a list holds either objects or plain values");
        }
        Ok(Item::Blocks(blocks))
    }

    fn string(&mut self) -> Parsed<String> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(text),
                '\n' => break,
                '\\' => text.push(self.escape()?),
                '$' if self.peek() == Some('{') => {
                    // An interpolation may hold quotes of its own.
                    let Some(end) = self.rest().find('}') else { break };
                    text.push('$');
                    text.push_str(&self.source.text[self.at..=self.at + end]);
                    self.at += end + 1;
                }
                other => text.push(other),
            }
        }
        self.wrong_at(start..start + 1, "this string is not closed on its line")
    }

    fn escape(&mut self) -> Parsed<char> {
        let Some(c) = self.peek() else { return self.wrong("the string ends here") };
        self.at += c.len_utf8();
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            '"' | '\\' | '/' => c,
            'u' | 'U' => {
                let digits = if c == 'u' { 4 } else { 8 };
                let code =
                    self.rest().get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                let Some(c) = code.and_then(char::from_u32) else {
                    return self.wrong("this is no character's code in hexadecimal");
                };
                self.at += digits;
                c
            }
            _ => return self.wrong_at(self.at - c.len_utf8()..self.at, "there is no such escape"),
        })
    }

    fn heredoc(&mut self) -> Parsed<String> {
        let start = self.at;
        let Some(rest) = self.rest().strip_prefix("<<") else {
            return self.wrong("a value is wanted here");
        };
        let (dedent, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let Some((word, body)) = rest.split_once('\n') else {
            return self.wrong("the heredoc has no text");
        };
        let word = word.trim();
        let mut lines = Vec::new();
        let mut used = self.source.text.len() - body.len();
        for line in body.split_inclusive('\n') {
            if line.trim() == word {
                // The line break behind the closing word stays: it ends the item.
                used += line.trim_end().len();
                self.at = used;
                let margin = |line: &&str| line.len() - line.trim_start().len();
                let filled = lines.iter().filter(|line: &&&str| !line.trim().is_empty());
                let cut = if dedent { filled.map(margin).min().unwrap_or(0) } else { 0 };
                return Ok(lines.iter().map(|line| line.get(cut..).unwrap_or("\n")).collect());
            }
            used += line.len();
            lines.push(line);
        }
        self.wrong_at(start..start + 2, "this heredoc is not closed before the file ends")
    }

    fn plain(&mut self) -> Parsed<Value> {
        let start = self.at;
        let length = self.rest().find(|c| !is_word(c) && c != '+').unwrap_or(self.rest().len());
        let word = self.rest()[..length].to_owned();
        self.at += length;
        match word.as_str() {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            "null" => return Ok(Value::Null),
            _ => {}
        }
        if let Ok(whole) = word.parse() {
            return Ok(Value::Int(whole));
        }
        if let Some(hex) = word.strip_prefix("0x").and_then(|hex| i64::from_str_radix(hex, 16).ok())
        {
            return Ok(Value::Int(hex));
        }
        match word.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::number(number)),
            _ if word.is_empty() => self.wrong("a value is wanted here"),
            _ => {
                self.wrong_at(start..self.at, &format!("`{word}` is no value: put text in quotes"))
            }
        }
    }
}
