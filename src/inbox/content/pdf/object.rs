//! PDF's objects (ISO 32000-1, 7.3), as far as trailers and encryption dictionaries need them.

/// Objects inside objects: no dictionary that matters here goes deeper.
const MAX_DEPTH: usize = 16;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    Name(Vec<u8>),
    /// A string's bytes, written in either way.
    Text(Vec<u8>),
    Number(i64),
    Reference(u32, u32),
    Array(Vec<Object>),
    Dictionary(Dictionary),
    /// A real number, `true`, `false` or `null`, as written.
    Word(Vec<u8>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dictionary(Vec<(Vec<u8>, Object)>);

impl Dictionary {
    pub fn get(&self, key: &str) -> Option<&Object> {
        self.0.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value)
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Object::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn text(&self, key: &str) -> Option<&[u8]> {
        match self.get(key)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn name(&self, key: &str) -> Option<&[u8]> {
        match self.get(key)? {
            Object::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// White space, which includes zero (7.2.2).
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

fn is_delimiter(byte: u8) -> bool {
    b"()<>[]{}/%".contains(&byte)
}

/// Reads objects from text that may end anywhere.
pub(super) struct Parser<'a> {
    text: &'a [u8],
    pub at: usize,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips white space and comments.
    pub fn skip_space(&mut self) {
        while self.skip_blanks() || self.skip_comment() {}
    }

    /// Skips white space; true when there was some.
    pub fn skip_blanks(&mut self) -> bool {
        let length = self.rest().iter().take_while(|byte| is_space(**byte)).count();
        self.at += length;
        length > 0
    }

    /// Skips a comment; true when there was one.
    pub fn skip_comment(&mut self) -> bool {
        if self.peek() != Some(b'%') {
            return false;
        }
        let line = self.rest().iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        self.at = line.map_or(self.text.len(), |length| self.at + length);
        true
    }

    /// Takes `word` when it comes next.
    pub fn take(&mut self, word: &[u8]) -> bool {
        let here = self.rest().starts_with(word);
        self.at += if here { word.len() } else { 0 };
        here
    }

    /// Digits that come right here.
    pub fn number(&mut self) -> Option<u64> {
        let length = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = str::from_utf8(&self.rest()[..length]).ok()?.parse().ok()?;
        self.at += length;
        Some(number)
    }

    pub fn dictionary(&mut self) -> Option<Dictionary> {
        match self.object(0)? {
            Object::Dictionary(dictionary) => Some(dictionary),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<Object> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.skip_space();
        match self.peek()? {
            b'/' => Some(Object::Name(self.name())),
            b'(' => self.literal().map(Object::Text),
            b'<' if self.rest().starts_with(b"<<") => {
                self.at += 2;
                let mut entries = Vec::new();
                loop {
                    self.skip_space();
                    if self.take(b">>") {
                        return Some(Object::Dictionary(Dictionary(entries)));
                    }
                    if self.peek()? != b'/' {
                        return None;
                    }
                    let name = self.name();
                    entries.push((name, self.object(depth + 1)?));
                }
            }
            b'<' => self.hexadecimal().map(Object::Text),
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.skip_space();
                    if self.take(b"]") {
                        return Some(Object::Array(items));
                    }
                    items.push(self.object(depth + 1)?);
                }
            }
            _ => self.word(),
        }
    }

    fn regular(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| !is_space(**byte) && !is_delimiter(**byte)).count();
        self.at += length;
        &rest[..length]
    }

    fn name(&mut self) -> Vec<u8> {
        self.at += 1;
        let written = self.regular();
        let mut name = Vec::new();
        let mut at = 0;
        while let Some(byte) = written.get(at) {
            let code =
                written.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
            match code {
                Some(code) if *byte == b'#' => {
                    name.push(code);
                    at += 3;
                }
                _ => {
                    name.push(*byte);
                    at += 1;
                }
            }
        }
        name
    }

    /// A number, a reference (`12 0 R`) or a word.
    fn word(&mut self) -> Option<Object> {
        let word = self.regular();
        if word.is_empty() {
            return None;
        }
        let Some(number) = str::from_utf8(word).ok().and_then(|word| word.parse::<i64>().ok()) else {
            return Some(Object::Word(word.to_vec()));
        };
        let after = self.at;
        self.skip_space();
        if let (Ok(object), Some(generation)) =
            (u32::try_from(number), self.number().and_then(|n| u32::try_from(n).ok()))
        {
            self.skip_space();
            if self.regular() == b"R" {
                return Some(Object::Reference(object, generation));
            }
        }
        self.at = after;
        Some(Object::Number(number))
    }

    fn hexadecimal(&mut self) -> Option<Vec<u8>> {
        self.at += 1;
        let length = self.rest().iter().position(|byte| *byte == b'>')?;
        let digits: Vec<u8> = self.rest()[..length]
            .iter()
            .filter(|byte| !is_space(**byte))
            .map(|byte| (*byte as char).to_digit(16).map(|digit| digit as u8))
            .collect::<Option<_>>()?;
        self.at += length + 1;
        Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect())
    }

    fn literal(&mut self) -> Option<Vec<u8>> {
        self.at += 1;
        let (mut text, mut depth) = (Vec::new(), 1_u32);
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(text);
                    }
                }
                b'\\' => {
                    text.extend(self.escape()?);
                    continue;
                }
                // Every line end in a string is one line feed.
                b'\r' => {
                    self.take(b"\n");
                    text.push(b'\n');
                    continue;
                }
                _ => {}
            }
            text.push(byte);
        }
    }

    fn escape(&mut self) -> Option<Option<u8>> {
        let byte = self.peek()?;
        self.at += 1;
        Some(Some(match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'\n' => return Some(None),
            b'\r' => {
                self.take(b"\n");
                return Some(None);
            }
            b'0'..=b'7' => {
                let mut code = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.peek() else { break };
                    code = code << 3 | u32::from(digit - b'0');
                    self.at += 1;
                }
                code as u8
            }
            other => other,
        }))
    }
}
