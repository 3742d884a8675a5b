use super::*;
use proptest::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};

const VECTOR: &str = r#"{"id":"3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10","issued":"2026-01-02T03:04:05Z","links":[{"href":"https://store.example/h?a=1&b=<2>","rel":"hint","type":"text/html"}],"provider":"https://store.example","rights":{"copy":0,"print":10},"user":{"id":"독자-1"}}"#;

#[test]
fn the_vector_of_255_bytes() {
    let shuffled = json!({
        "user": { "id": "독자-1" },
        "rights": { "print": 10, "copy": 0 },
        "provider": "https://store.example",
        "links": [{ "type": "text/html", "rel": "hint", "href": "https://store.example/h?a=1&b=<2>" }],
        "issued": "2026-01-02T03:04:05Z",
        "id": "3f0c1a52-9c1e-4b8e-8a37-0d6b6f3f2a10",
    });
    let text = canonical(&shuffled).expect("integers only");
    assert_eq!((text.as_str(), text.len()), (VECTOR, 255));
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    assert_eq!(hash, "8cbeea48b1da29f00a5984d11310605248aa8dea04b8133448acbcac13b66aea");
}

#[test]
fn names_are_sorted_by_code_point_not_by_utf_16() {
    let value = json!({ "\u{1f600}": 1, "\u{ff5e}": 2, "b": 3, "B": 4, "": 5 });
    assert_eq!(canonical(&value).expect("integers"), "{\"\":5,\"B\":4,\"b\":3,\"\u{ff5e}\":2,\"\u{1f600}\":1}");
}

#[test]
fn only_what_must_be_is_escaped() {
    let text = canonical(&json!("\"\\/\u{1}\n\u{1f}\u{7f}\u{2028}<&>한")).expect("a string");
    assert_eq!(text, "\"\\\"\\\\/\\u0001\\n\\u001f\u{7f}\u{2028}<&>한\"");
}

#[test]
fn a_member_can_be_left_out() {
    let Value::Object(object) = json!({ "b": 1, "signature": {}, "a": { "signature": 2 } }) else {
        panic!("an object")
    };
    assert_eq!(canonical_object(&object, Some("signature")).expect("integers"), r#"{"a":{"signature":2},"b":1}"#);
}

#[test]
fn numbers_are_integers() {
    assert_eq!(canonical(&json!({ "a": [1.5] })), Err(NotCanonical::Number));
    let whole = format!("[{},{},0]", u64::MAX, i64::MIN);
    assert_eq!(canonical(&parse(whole.as_bytes()).expect("64 bits")).as_deref(), Ok(whole.as_str()));
    for text in ["1.0", "1e3", "-0", "18446744073709551616", "01"] {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn depth_is_bounded_both_ways() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok_and(|value| canonical(&value).is_ok()));
    assert!(parse(nested(DEPTH_MAX + 1).as_bytes()).is_err());
    assert!(parse(nested(100_000).as_bytes()).is_err());
    let deep = (0..=DEPTH_MAX).fold(Value::Null, |value, _| json!({ "a": value }));
    assert_eq!(canonical(&deep), Err(NotCanonical::Depth));
}

#[test]
fn a_member_that_stands_twice_is_refused() {
    for text in [r#"{"a":1,"a":2}"#, r#"{"b":{"a":1,"\u0061":1}}"#, "{} {}", "", "\u{feff}{}", "{\"a\":1,}"] {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
}

/// Values without fractions, of few names so that they meet.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec(("[a-c\u{e000}\u{10000}]{0,2}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same value as another writer would put it: members the other way round, white space everywhere.
fn written_otherwise(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[ {} ]", items.iter().map(written_otherwise).collect::<Vec<_>>().join(" ,\n")),
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by_key(|(name, _)| std::cmp::Reverse(*name));
            let member = |(name, value): &(&String, &Value)| {
                format!("{} : {}", serde_json::to_string(name).expect("a string"), written_otherwise(value))
            };
            format!("{{\t{} }}", members.iter().map(member).collect::<Vec<_>>().join(" , "))
        }
        leaf => leaf.to_string(),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in values()) {
        let text = canonical(&value).expect("shallow, integers only");
        prop_assert_eq!(&parse(text.as_bytes()).expect("canonical text is JSON"), &value);
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).expect("canonical text is JSON"), &value);
    }

    #[test]
    fn the_order_of_members_does_not_matter(value in values()) {
        let other = parse(written_otherwise(&value).as_bytes()).expect("JSON");
        prop_assert_eq!(canonical(&other), canonical(&value));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = parse(&bytes) {
            prop_assert!(canonical(&value).is_ok());
        }
    }
}
