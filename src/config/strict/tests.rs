//! What people get wrong, and what they are told.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sidecar {
    title: String,
    copies: Option<u32>,
    #[serde(default)]
    given: Vec<String>,
    mode: Option<Mode>,
    patient: Option<Patient>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Patient {
    identifier: String,
    birth_date: Option<jiff::civil::Date>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Search,
    Resend,
    Scaled { by: i64 },
}

fn toml_error(text: &str) -> ParseError {
    toml::<Sidecar>(text.as_bytes()).unwrap_err()
}

fn json_error(text: &str) -> ParseError {
    json::<Sidecar>(text.as_bytes()).unwrap_err()
}

#[test]
fn both_formats_say_the_same() {
    let expected = Sidecar {
        title: "Referral \u{fc}".into(),
        copies: Some(2),
        given: vec!["Timothy".into(), "Paul".into()],
        mode: Some(Mode::Scaled { by: -3 }),
        patient: Some(Patient { identifier: "007".into(), birth_date: Some(jiff::civil::date(2008, 1, 6)) }),
    };
    let toml_text = "\u{feff}title = \"Referral \u{fc}\"\r\ncopies = 0b10\r\ngiven = [\"Timothy\", \"Paul\"]\r\nmode.scaled.by = -3\r\n\
                     [patient]\r\nidentifier = '007'\r\nbirth_date = 2008-01-06\r\n";
    let json_text = "\u{feff}{\"title\": \"Referral \\u00fc\", \"copies\": 2,\r\n \"given\": [\"Timothy\", \"Paul\"], \"mode\": {\"scaled\": \
                     {\"by\": -3}}, \"patient\": {\"identifier\": \"007\", \"birth_date\": \"2008-01-06\"}}\r\n";
    assert_eq!(toml::<Sidecar>(toml_text.as_bytes()), Ok(expected));
    assert_eq!(json::<Sidecar>(json_text.as_bytes()), toml::<Sidecar>(toml_text.as_bytes()));
    assert_eq!(
        json::<Sidecar>(br#"{"title": "x", "mode": "resend", "copies": null}"#).unwrap().mode,
        Some(Mode::Resend)
    );
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_one() {
    let error = toml_error("# a comment\n\ntittle = \"secret\"");
    assert_eq!(
        error.to_string(),
        "line 3, column 1: \"tittle\" is not a key that is known here; did you mean \"title\"?"
    );
    assert_eq!((error.key.as_deref(), error.nearest.as_deref()), (Some("tittle"), Some("title")));
    let error = json_error("{\"title\": \"x\", \"patient\": {\n  \"identifer\": \"secret\"}}");
    assert_eq!(
        error.to_string(),
        "line 2, column 3: \"identifer\" is not a key that is known here; did you mean \"identifier\"?"
    );
    let error = toml_error("title = 'x'\n[patient]\ncolour = 'secret'");
    assert_eq!(
        error.to_string(),
        "line 3, column 1: \"colour\" is not a key that is known here; known are \"identifier\", \"birth_date\""
    );
}

#[test]
fn a_key_can_neither_flood_nor_steer_a_screen() {
    let error = json_error(r#"{"ti\u001b[2Jtle\u007f\n": "secret"}"#);
    assert!(error.to_string().contains("\"ti[2Jtle\""), "{error}");
    assert!(toml_error(&format!("{} = 1", "k".repeat(20_000))).to_string().len() < 500);
}

#[test]
fn the_first_unknown_key_of_the_file_is_the_one_named() {
    assert_eq!(toml_error("zebra = 1\nabacus = 2\n").key.as_deref(), Some("zebra"));
}

#[test]
fn a_key_that_is_there_twice() {
    assert_eq!(toml_error("title = 'a'\n\"title\" = 'b'").to_string(), "line 2, column 1: \"title\" is there twice");
    assert_eq!(
        json_error("{\"title\": \"a\", \"title\": \"b\"}").to_string(),
        "line 1, column 16: \"title\" is there twice"
    );
    let twice = br#"{"a": 1, "b": 2, "\u0061": 3}"#;
    assert_eq!(json::<std::collections::BTreeMap<String, u8>>(twice).unwrap_err().key.as_deref(), Some("a"));
}

#[test]
fn a_missing_key() {
    assert_eq!(toml_error("copies = 1").to_string(), "line 1, column 1: \"title\" is missing");
    assert_eq!(toml_error("title = 'x'\n[patient]\n").to_string(), "line 2, column 1: \"identifier\" is missing");
    assert_eq!(
        json_error("{\"title\": \"x\",\n\"patient\": {}}").to_string(),
        "line 2, column 12: \"identifier\" is missing"
    );
}

#[test]
fn a_wrong_type_names_the_key_and_not_the_value() {
    for (text, message) in [
        ("title = 4711", "line 1, column 9: \"title\" must be text in quotes, not a whole number"),
        (
            "title = 'x'\ncopies = 'secret'",
            "line 2, column 10: \"copies\" must be a whole number that is not negative, not text",
        ),
        ("title = 'x'\ncopies = -4711", "line 2, column 10: \"copies\" must be a whole number that is not negative"),
        ("title = 'x'\ngiven = 'secret'", "line 2, column 9: \"given\" must be a list in [ ], not text"),
        (
            "title = 'x'\ngiven = ['secret', 4711]",
            "line 2, column 20: \"given\" must be text in quotes, not a whole number",
        ),
        ("title = 'x'\npatient = 'secret'", "line 2, column 11: \"patient\" must be a table, not text"),
        (
            "title = 'x'\nmode = 'resent'",
            "line 2, column 8: \"mode\" must be one of \"search\", \"resend\", \"scaled\"; did you mean \"resend\"?",
        ),
        (
            "title = 'x'\n[patient]\nidentifier = '1'\nbirth_date = '4711'",
            "line 4, column 14: \"birth_date\" has a value that is not allowed here",
        ),
        ("title = 'x'\ncopies = 99999999999999999999", "line 2, column 10: this whole number is too large"),
    ] {
        assert_eq!(toml_error(text).to_string(), message);
    }
    let error = json_error("{\"title\": null}");
    assert_eq!(error.to_string(), "line 1, column 11: \"title\" must be text in quotes, not null");
    assert_eq!(json_error("[4711]").to_string(), "line 1, column 2: must be text in quotes, not a whole number");
}

#[test]
fn syntax_errors_say_where_and_quote_nothing() {
    for text in [
        "title = secret",
        "title = \"secret",
        "title 'secret'",
        "title = 'x'\n[patient\nidentifier = 'secret'",
        "title = '''secret",
        "title = 2008-secret",
        "title = \"sec\\qret\"",
        "= secret",
    ] {
        let error = toml_error(text);
        assert!(error.message.starts_with("this is not valid TOML: "), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for (text, place) in [
        ("", (1, 1)),
        ("{\"title\": secret}", (1, 11)),
        ("{\"title\": \"secret", (1, 11)),
        ("{\"title\": \"sec\\qret\"}", (1, 11)),
        ("{\"title\": \"x\",}", (1, 15)),
        ("{\"title\"; \"secret\"}", (1, 9)),
        ("{\"title\": \"x\"} \"secret\"", (1, 16)),
        ("{'title': 'secret'}", (1, 2)),
        ("{\"title\": \"x\"\n\"given\": []}", (2, 1)),
        ("{\"copies\": 01}", (1, 12)),
        ("{\"copies\": 1e999}", (1, 12)),
    ] {
        let error = json_error(text);
        assert!(error.message.starts_with("this is not valid JSON: "), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!((error.line, error.column), place, "{text}: {error}");
    }
    assert!(json_error(&"[".repeat(100_000)).message.contains("nested too deeply"));
}

#[test]
fn encodings_are_recognised() {
    let utf16: Vec<u8> = "\u{feff}title = 'x'".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [&utf16[..], &utf16[2..]] {
        assert!(toml::<Sidecar>(bytes).unwrap_err().message.contains("save it as UTF-8"));
    }
    let error = toml::<Sidecar>(b"copies = 1\ntitle = 'M\xfcller'").unwrap_err();
    assert_eq!((error.line, error.column), (2, 11));
    assert!(error.message.contains("save it as UTF-8") && !error.message.contains('M'), "{error}");
}

#[test]
fn columns_count_characters() {
    let error = json_error("{\"title\": \"\u{fc}\u{fc}\", \"colour\": 1}");
    assert_eq!(error.column, 17);
}

#[test]
fn nearest_knows_slips_of_the_hand() {
    let known = ["referral", "progress-note", "lab"];
    for (word, meant) in [
        ("referal", Some("referral")),
        ("Referral", Some("referral")),
        ("refrerral", Some("referral")),
        ("refrreal", Some("referral")),
        ("progres-noet", Some("progress-note")),
        ("lba", Some("lab")),
        ("xyz", None),
        ("", None),
        ("x", None),
    ] {
        assert_eq!(nearest(word, known), meant, "{word}");
    }
    assert_eq!(distance(&['a', 'b', 'c', 'd'], &['b', 'a', 'd', 'c']), 2);
}

#[test]
fn a_visitors_own_free_text_never_gets_out() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Chatty;
    impl TryFrom<String> for Chatty {
        type Error = String;
        fn try_from(text: String) -> Result<Self, String> {
            Err(format!("I dislike {text}"))
        }
    }
    let error = json::<Chatty>(b"\"secret\"").unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

/// Whatever serde_json and toml think of a text, we think the same.
#[derive(Debug, PartialEq)]
struct Any(serde_json::Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Any)
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1.0e6..1.0e6).prop_map(|float: f64| float.into()),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn valid_json_reads_as_it_was_written(value in json_value(), pretty: bool) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        // Compared with its own reading: serde_json rounds some decimal numbers by a hair.
        let theirs: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(json::<Any>(&text).map(|any| any.0), Ok(theirs));
    }

    #[test]
    fn json_is_refused_exactly_when_serde_json_refuses_it(text in "[\\[\\]{}:,\"\\\\ 0-9.eE+a-]{0,12}") {
        let ours = json::<Any>(text.as_bytes());
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(theirs) => match ours {
                Ok(ours) => prop_assert_eq!(ours.0, theirs),
                Err(error) => prop_assert!(error.message.contains("is there twice"), "{}", error),
            },
            Err(_) => prop_assert!(ours.is_err()),
        }
    }

    #[test]
    fn no_bytes_make_a_panic(bytes: Vec<u8>, text in "[\\[\\]{}=:,.\"'\\\\ #\r\n0-9T+a-z\u{fc}-]{0,40}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            let _ = toml::<Sidecar>(bytes);
            let _ = json::<Sidecar>(bytes);
            let _ = toml::<Any>(bytes);
        }
    }

    #[test]
    fn no_value_gets_into_a_message(value in "[A-Z]{9}", shape in 0..6usize) {
        let text = match shape {
            0 => format!("title = {value}"),
            1 => format!("title = \"{value}"),
            2 => format!("title = 'x'\ncopies = '{value}'"),
            3 => format!("title = 'x'\nmode = '{value}'"),
            4 => format!("title = 'x'\npatient = ['{value}']"),
            _ => format!("tilte = '{value}'"),
        };
        let error = toml_error(&text).to_string();
        prop_assert!(!error.contains(&value), "{}", error);
    }
}
