//! The forms of values, as JSON Schema (draft 7, which editors know best).
//!
//! Every scalar may come from the environment (`${NAME}`), and a key without a value is the same as no key.

use serde_json::{Map, Value, json};

use crate::config::limits::COUNT_MAX;

/// What a value may be, and what is said about it.
#[derive(Debug, Clone)]
pub(super) struct Form {
    constraints: Map<String, Value>,
    description: Option<String>,
    default: Option<Value>,
}

impl Form {
    /// As these constraints have it, which must be an object.
    pub(super) fn new(constraints: Value) -> Self {
        let constraints = match constraints {
            Value::Object(constraints) => constraints,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        Self {
            constraints,
            description: None,
            default: None,
        }
    }

    /// As one of the definitions has it.
    pub(super) fn of(definition: &str) -> Self {
        Self::new(reference(definition))
    }

    /// One of these words.
    pub(super) fn word(words: &[&str]) -> Self {
        Self::new(json!({ "anyOf": [{ "enum": words }, reference("variable")] }))
    }

    pub(super) fn boolean() -> Self {
        Self::new(json!({
            "anyOf": [{ "type": "boolean" }, { "enum": ["true", "false"] }, reference("variable")],
        }))
    }

    /// A text that the expression matches somewhere.
    pub(super) fn matching(expression: &str) -> Self {
        Self::new(json!({ "type": "string", "pattern": or_variable(expression) }))
    }

    pub(super) fn list(item: Self) -> Self {
        Self::new(json!({ "type": "array", "items": item.build() }))
    }

    /// A list that must not be empty.
    pub(super) fn some(item: Self) -> Self {
        Self::list(item).and("minItems", json!(1))
    }

    /// A mapping with free keys, which the expression matches.
    pub(super) fn map(keys: &str, value: Self) -> Self {
        Self::new(json!({
            "type": "object",
            "propertyNames": { "pattern": keys },
            "additionalProperties": value.build(),
        }))
    }

    /// A mapping with these keys and no others.
    pub(super) fn mapping<'k>(
        required: &[&str],
        keys: impl IntoIterator<Item = (&'k str, Self)>,
    ) -> Self {
        let properties: Map<_, _> = keys
            .into_iter()
            .map(|(key, form)| {
                let form = if required.contains(&key) {
                    form
                } else {
                    form.or_nothing()
                };
                (key.to_owned(), form.build())
            })
            .collect();
        let form = Self::new(json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        }));
        if required.is_empty() {
            form
        } else {
            form.and("required", json!(required))
        }
    }

    /// With one more constraint.
    pub(super) fn and(mut self, keyword: &str, value: Value) -> Self {
        self.constraints.insert(keyword.to_owned(), value);
        self
    }

    pub(super) fn says(mut self, description: &str) -> Self {
        self.description = Some(description.to_owned());
        self
    }

    pub(super) fn default(mut self, default: impl Into<Value>) -> Self {
        self.default = Some(default.into());
        self
    }

    /// The same, or nothing at all.
    pub(super) fn or_nothing(mut self) -> Self {
        const PLAIN: [&str; 9] = [
            "type",
            "minLength",
            "pattern",
            "items",
            "minItems",
            "propertyNames",
            "properties",
            "additionalProperties",
            "required",
        ];
        let is_plain = self
            .constraints
            .keys()
            .all(|it| PLAIN.contains(&it.as_str()));
        if let (1, Some(Value::Array(forms))) =
            (self.constraints.len(), self.constraints.get_mut("anyOf"))
        {
            forms.push(json!({ "type": "null" }));
            return self;
        }
        match self.constraints.get_mut("type") {
            Some(Value::Array(types)) if is_plain => types.push(json!("null")),
            Some(Value::String(only)) if is_plain => {
                let types = json!([only.as_str(), "null"]);
                self.constraints.insert("type".to_owned(), types);
            }
            Some(_) | None => {
                let own = Value::Object(std::mem::take(&mut self.constraints));
                let either = json!([own, { "type": "null" }]);
                self.constraints.insert("anyOf".to_owned(), either);
            }
        }
        self
    }

    pub(super) fn build(self) -> Value {
        let mut built = self.constraints;
        // What stands beside a reference is not looked at.
        if let Some(referred) = built.remove("$ref") {
            if self.description.is_none() && self.default.is_none() {
                return json!({ "$ref": referred });
            }
            built.insert("allOf".to_owned(), json!([{ "$ref": referred }]));
        }
        if let Some(description) = self.description {
            built.insert("description".to_owned(), Value::String(description));
        }
        if let Some(default) = self.default {
            built.insert("default".to_owned(), default);
        }
        Value::Object(built)
    }
}

/// That a key is there with a value.
pub(super) fn present(key: &str) -> Value {
    json!({ "required": [key], "properties": { key: { "not": { "type": "null" } } } })
}

fn reference(definition: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{definition}") })
}

fn or_variable(expression: &str) -> String {
    format!("{expression}|{VARIABLE}")
}

const VARIABLE: &str = r"\$\{[A-Za-z0-9_]+\}";

/// The definitions of scalars, by name.
pub(super) fn scalars() -> Vec<(&'static str, Form)> {
    let text = |form: Value, expression: &str| {
        let written = json!({ "type": "string", "pattern": or_variable(expression) });
        Form::new(json!({ "anyOf": [form, written] }))
    };
    let unit = "(ms|s|m|h|d)";
    let above_zero = "[0-9]*[1-9][0-9]*";
    let bytes = " *(B|KiB|MiB|GiB|TiB)?";
    let duration = format!("^(0|([0-9]+{unit})+)$");
    let some_duration = format!("^([0-9]+{unit})*{above_zero}{unit}([0-9]+{unit})*$");
    vec![
        (
            "variable",
            Form::new(json!({ "type": "string", "pattern": VARIABLE })),
        ),
        (
            "text",
            Form::new(json!({ "type": ["string", "number", "boolean"], "minLength": 1 })),
        ),
        (
            "count",
            text(
                json!({ "type": "integer", "minimum": 0, "maximum": COUNT_MAX }),
                "^[0-9]+$",
            ),
        ),
        (
            "count_above_zero",
            text(
                json!({ "type": "integer", "minimum": 1, "maximum": COUNT_MAX }),
                &format!("^{above_zero}$"),
            ),
        ),
        (
            "size",
            text(
                json!({ "type": "integer", "minimum": 0 }),
                &format!("^[0-9]+{bytes}$"),
            ),
        ),
        (
            "size_above_zero",
            text(
                json!({ "type": "integer", "minimum": 1 }),
                &format!("^{above_zero}{bytes}$"),
            ),
        ),
        ("duration", text(json!({ "enum": [0] }), &duration)),
        ("duration_above_zero", Form::matching(&some_duration)),
        (
            "digest",
            Form::matching("^sha256:[0-9a-f]{64}$|^sha512:[0-9a-f]{128}$"),
        ),
        (
            "images",
            Form::matching(r"^\*\*$|^[a-z0-9._:*\[\]-]+/[a-z0-9._*/-]+$"),
        ),
        ("repository", Form::matching("^[a-z0-9.:-]+/[a-z0-9._/-]+$")),
    ]
}
