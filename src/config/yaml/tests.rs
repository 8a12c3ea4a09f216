use super::*;

fn source(text: &str) -> Source {
    Source {
        path: PathBuf::from("a.yaml"),
        text: text.to_owned(),
    }
}

fn problems(text: &str) -> Vec<String> {
    parse(&source(text))
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The tree in one line, with the positions of scalars.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar(scalar) => {
            format!(
                "{}@{}:{}",
                scalar.text, node.position.line, node.position.column
            )
        }
        Value::Sequence(items) => {
            let items: Vec<_> = items.iter().map(show).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Mapping(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, node)| format!("{}:{}", key.name, show(node)))
                .collect();
            format!("{{{}}}", entries.join(" "))
        }
    }
}

fn shown(text: &str) -> String {
    show(&parse(&source(text)).unwrap())
}

#[test]
fn knows_where_everything_stands() {
    assert_eq!(
        shown("a: 1.10\nb:\n  - true\n  - {c: \"x\"}\nd:\n"),
        "{a:1.10@1:4 b:[true@3:5 {c:x@4:9}] d:null}"
    );
    assert_eq!(
        shown("{\"a\": [\"b\", 1], \"c\":{}}"),
        "{a:[b@1:8 1@1:13] c:{}}"
    );
    assert_eq!(shown(""), "{}");
    assert_eq!(shown("# nothing\n"), "{}");
    assert_eq!(shown("a: \"~\"\nb: ~\nc: ''"), "{a:~@1:4 b:null c:@3:4}");
}

#[test]
fn later_files_win_and_mappings_merge() {
    let earlier = parse(&source("a: {x: 1, y: 2}\nb: [1, 2]\nc: 1")).unwrap();
    let later = parse(&source("a: {y: 3, z: 4}\nb: [5]\nc: {d: 1}\ne: 6")).unwrap();
    assert_eq!(
        show(&merge(earlier, later)),
        "{a:{x:1@1:8 y:3@1:8 z:4@1:14} b:[5@2:5] c:{d:1@3:8} e:6@4:4}"
    );
}

#[test]
fn reports_every_duplicate() {
    assert_eq!(
        problems("a: 1\nb: {c: 1, c: 2}\na: 3"),
        [
            "a.yaml:2:11: `c` is given twice\n    the first time is at a.yaml:2:5; remove one of them",
            "a.yaml:3:1: `a` is given twice\n    the first time is at a.yaml:1:1; remove one of them",
        ]
    );
}

#[test]
fn refuses_what_makes_a_text_mean_something_else() {
    for text in [
        "a: &x 1\nb: 2",
        "a: &x 1\nb: *x",
        "a: !!str 1",
        "a: 1\n---\nb: 2",
        "? [a]\n: 1",
        "{a: 1",
        "a: 'x",
        "a: b: c",
    ] {
        assert!(!problems(text).is_empty(), "{text}");
    }
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(problems(&deep).len(), 1);
}
