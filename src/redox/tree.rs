//! An answer's body as a tree, whatever it was written in: JSON with every repeated key kept, or XML in the same shape.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Elements of XML inside one another; serde_json has a limit of its own, which is the same.
const DEPTH_LIMIT: usize = 128;

/// A value. Members of an object keep their order, and a name that is there twice is kept twice: the second may say what the
/// first does not.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The members of an object.
    pub(super) fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => &[],
        }
    }

    /// Every value under this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.members().iter().filter(move |(key, _)| key == name).map(|(_, value)| value)
    }

    /// The value under a name that is there once.
    pub(super) fn only<'a>(&'a self, name: &'a str) -> Option<&'a Self> {
        let mut found = self.all(name);
        found.next().filter(|_| found.next().is_none())
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The items of a list, or the one value that is none.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            other => std::slice::from_ref(other),
        }
    }
}

/// What a body is written in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Written {
    /// There is nothing but blanks.
    Nothing,
    /// JSON.
    Json(Node),
    /// XML; the root element is the only member.
    Xml(Node),
    /// HTML.
    Page,
    /// Text of no known form, or JSON or XML that is damaged.
    Other,
    /// Not even text.
    Binary,
}

/// Reads a body, whatever its Content-Type says.
pub(super) fn read(body: &[u8]) -> Written {
    match text(body) {
        Some(text) => of_text(&text),
        None => Written::Binary,
    }
}

/// The same for text that is at hand.
pub(super) fn of_text(text: &str) -> Written {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Written::Nothing;
    }
    if let Ok(node) = serde_json::from_str(text) {
        return Written::Json(node);
    }
    let begin = text.get(..14).unwrap_or(text).to_ascii_lowercase();
    if begin.starts_with("<!doctype html") || begin.starts_with("<html") {
        return Written::Page;
    }
    match xml(text) {
        Some((root, _)) if root.eq_ignore_ascii_case("html") => Written::Page,
        Some((root, node)) => Written::Xml(Node::Object(vec![(root, node)])),
        None => Written::Other,
    }
}

/// UTF-8 or UTF-16, by byte order mark or by where the zeros are.
pub(super) fn text(body: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| read(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    let text = match body {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0, first, ..] if *first != 0 => wide(body, u16::from_be_bytes),
        [first, 0, ..] if *first != 0 => wide(body, u16::from_le_bytes),
        _ => str::from_utf8(body).ok().map(str::to_owned),
    };
    text.filter(|text| !text.contains('\0'))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Number(value as f64))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Number(value as f64))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Number(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Text(value.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
                let mut object = Vec::new();
                while let Some(member) = members.next_entry()? {
                    object.push(member);
                }
                Ok(Node::Object(object))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// An element that has not ended.
struct Element {
    name: String,
    members: Vec<(String, Node)>,
    text: String,
}

impl Element {
    /// `<a value="b"/>`, as FHIR writes values, and `<a>b</a>` are the text; anything with more in it is an object.
    fn finish(mut self) -> (String, Node) {
        let text = self.text.trim();
        let node = match self.members.as_mut_slice() {
            [] if text.is_empty() => Node::Null,
            [] => Node::Text(text.to_owned()),
            [(key, value)] if key == "value" && text.is_empty() => std::mem::replace(value, Node::Null),
            _ => {
                if !text.is_empty() {
                    self.members.push(("text".into(), Node::Text(text.to_owned())));
                }
                Node::Object(self.members)
            }
        };
        (self.name, node)
    }
}

/// The root element's name and content; `None` for what is not well-formed, or has a document type.
fn xml(text: &str) -> Option<(String, Node)> {
    let (mut rest, mut open, mut root) = (text, Vec::<Element>::new(), None);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("<?") {
            rest = after.split_once("?>")?.1;
        } else if let Some(after) = rest.strip_prefix("<!--") {
            rest = after.split_once("-->")?.1;
        } else if let Some(after) = rest.strip_prefix("<![CDATA[") {
            let (data, after) = after.split_once("]]>")?;
            open.last_mut()?.text.push_str(data);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("</") {
            let (name, after) = after.split_once('>')?;
            let element = open.pop().filter(|element| element.name == local(name.trim_end()))?;
            close(element, &mut open, &mut root)?;
            rest = after;
        } else if let Some(after) = rest.strip_prefix('<') {
            let (element, is_empty, after) = start_tag(after)?;
            if is_empty {
                close(element, &mut open, &mut root)?;
            } else {
                open.push(element);
            }
            if open.len() > DEPTH_LIMIT {
                return None;
            }
            rest = after;
        } else {
            let (data, after) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
            match open.last_mut() {
                Some(element) => element.text.push_str(&unescaped(data)?),
                None if data.trim().is_empty() => {}
                None => return None,
            }
            rest = after;
        }
    }
    root.filter(|_| open.is_empty())
}

fn close(element: Element, open: &mut [Element], root: &mut Option<(String, Node)>) -> Option<()> {
    let finished = element.finish();
    match open.last_mut() {
        Some(parent) => parent.members.push(finished),
        None if root.is_none() => *root = Some(finished),
        None => return None,
    }
    Some(())
}

/// After the `<`: the element, whether it ends at once, and what follows.
fn start_tag(text: &str) -> Option<(Element, bool, &str)> {
    let end = text.find(|c: char| c.is_whitespace() || c == '>' || c == '/')?;
    let (name, mut rest) = text.split_at(end);
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return None;
    }
    let mut element = Element { name: local(name), members: Vec::new(), text: String::new() };
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>") {
            return Some((element, true, after));
        }
        if let Some(after) = rest.strip_prefix('>') {
            return Some((element, false, after));
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_end();
        let after = after.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, after) = after[1..].split_once(quote)?;
        if name != "xmlns" && !name.starts_with("xmlns:") {
            element.members.push((local(name), Node::Text(unescaped(value)?)));
        }
        rest = after;
    }
}

/// A name without its namespace's prefix.
fn local(name: &str) -> String {
    name.rsplit(':').next().unwrap_or(name).to_owned()
}

fn unescaped(text: &str) -> Option<String> {
    let mut clear = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        clear.push_str(before);
        let (name, after) = after.split_once(';')?;
        clear.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(code.ok()?)?
            }
        });
        rest = after;
    }
    clear.push_str(rest);
    Some(clear)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Node {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn json_and_xml_become_the_same_tree() {
        let expected = Written::Xml(json(
            r#"{"Bundle":{"id":"b","entry":{"response":{"status":"201 Created","outcome":{"a":"<&A"}}},"entry":null}}"#,
        ));
        let text = "<?xml version='1.0'?><!-- a < b --><f:Bundle xmlns:f=\"http://hl7.org/fhir\"><f:id value=\"b\"/>\n\
                    <entry><response><status value = '201 Created'/><outcome><a>&lt;<![CDATA[&]]>&#x41;</a></outcome></response></entry>\
                    <entry/></f:Bundle>\n";
        assert_eq!(of_text(text), expected);
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(read(&wide), expected);
        assert_eq!(read(&[b"\xfe\xff", &wide[..]].concat()), expected);
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&[b"\xff\xfe", &wide[..]].concat()), expected);
    }

    #[test]
    fn a_repeated_key_is_kept_twice() {
        let node = json(r#"{"a":1,"a":"x"}"#);
        assert_eq!(node.all("a").count(), 2);
        assert_eq!(node.only("a"), None);
    }

    #[test]
    fn what_is_neither_json_nor_xml() {
        for (text, expected) in [
            ("", Written::Nothing),
            ("\u{feff} \r\n", Written::Nothing),
            (" <!DOCTYPE html><p>", Written::Page),
            ("<HTML>", Written::Page),
            ("<x:html></x:html>", Written::Page),
            ("OK", Written::Other),
            ("{\"a\":", Written::Other),
            ("{} {}", Written::Other),
            ("<a>", Written::Other),
            ("<a></b>", Written::Other),
            ("<a/><b/>", Written::Other),
            ("<!DOCTYPE x [<!ENTITY e 'f'>]><a>&e;</a>", Written::Other),
            ("<a>&e;</a>", Written::Other),
            ("<a b=c/>", Written::Other),
            ("x<a/>", Written::Other),
        ] {
            assert_eq!(of_text(text), expected, "{text}");
        }
        for bytes in [&b"\x1f\x8b\x08\0"[..], b"\xff\xff", b"ab\0", b"\xff\xfea"] {
            assert_eq!(read(bytes), Written::Binary, "{bytes:?}");
        }
        assert_eq!(of_text(&"<a>".repeat(100_000)), Written::Other);
        assert_eq!(of_text(&"[".repeat(100_000)), Written::Other);
    }
}
