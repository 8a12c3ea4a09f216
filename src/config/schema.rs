//! The JSON Schema of the configuration, for editors and for who writes configuration by program.
//!
//! It accepts what the reader accepts as far as a schema can tell: whether a file exists, an expression compiles or two
//! values fit together, only the reader knows. A test holds its keys and words against the reader's.

mod form;
mod policies;
mod sections;

use serde_json::{Map, Value, json};

use form::Form;

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let root = Form::mapping(&[], sections::all()).build();
    let mut schema = Map::new();
    if let Value::Object(root) = root {
        schema.extend(root);
    }
    let definitions: Map<_, _> = form::scalars()
        .into_iter()
        .chain(policies::definitions())
        .map(|(name, form)| (name.to_owned(), form.build()))
        .collect();
    schema.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    schema.insert("title".to_owned(), json!("Configuration of countersign"));
    schema.insert(
        "description".to_owned(),
        json!("`countersign serve --config FILE`; config/reference.yaml explains every key."),
    );
    schema.insert("definitions".to_owned(), Value::Object(definitions));
    Value::Object(schema)
}
