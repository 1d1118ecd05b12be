//! The table of keys as JSON Schema (draft 2020-12), for editors.
//!
//! What the schema refuses, the loader refuses. The loader refuses more: rules between two keys,
//! and layers that a program was built without.

use serde_json::{Map, Number, Value, json};

use super::named;
use super::reference::takes;
use super::sections::StackConfig;
use super::setting::{MOST, Real, Rule, Shape, Whole};
use super::table::{Field, Section};

/// The schema as JSON text, the same whatever is compiled in.
#[must_use]
pub fn render_schema() -> String {
    let mut root = table(&StackConfig::SECTION);
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".to_owned(), json!("Configuration of the NeuroGraph observability stack"));
    // A value of numbers, strings and maps with string keys is always written.
    let mut text = serde_json::to_string_pretty(&Value::Object(root)).unwrap_or_default();
    text.push('\n');
    text
}

/// One table of the file with the tables in it.
fn table(section: &Section) -> Map<String, Value> {
    let mut properties = Map::new();
    for field in section.fields {
        properties.insert(field.key.to_owned(), Value::Object(key(field)));
    }
    for name in section.children() {
        if let Some(inner) = Section::named(&format!("{}{name}", section.prefix)) {
            properties.insert(name.to_owned(), Value::Object(table(inner)));
        }
    }
    if let Some(name) = named::within(section) {
        properties.insert(name.to_owned(), quotas());
    }
    let mut about = section.about.join(" ");
    if let Some(layer) = section.layer {
        about += &format!("\nNeeds the Cargo feature `{}`.", layer.feature());
    }
    let mut out = Map::new();
    out.insert("description".to_owned(), json!(about));
    out.insert("type".to_owned(), json!("object"));
    out.insert("additionalProperties".to_owned(), json!(false));
    out.insert("properties".to_owned(), Value::Object(properties));
    out
}

/// Tables of the user's own names.
fn quotas() -> Value {
    let mut properties = Map::new();
    for key in named::keys() {
        let mut one = shape_of(key.shape);
        one.insert("description".to_owned(), json!(format!("{}\n{}", key.about, followed(key.live))));
        if let Some(default) = key.default {
            one.insert("default".to_owned(), default.to_json());
        }
        properties.insert(key.name.to_owned(), Value::Object(one));
    }
    let table = json!({"type": "object", "additionalProperties": false, "properties": properties});
    json!({
        "description": "Quotas and pools by name, as many as are wanted.",
        "type": "object",
        "propertyNames": {"pattern": "^[^/]{1,100}$", "not": {"const": "tokens"}},
        "additionalProperties": table,
    })
}

fn key(field: &Field) -> Map<String, Value> {
    let mut about = format!("{}\nTakes {}.", field.about.join(" "), takes(field));
    let shape = (field.shape)();
    if let Shape::Choice(names, _) = shape {
        for name in names {
            about += &format!("\n{}: {}", name.name, name.about);
        }
    }
    about += &format!("\nVariable {}.", field.variable());
    about += &format!(" {}", followed(field.live));
    let mut out = shape_of(shape);
    out.insert("description".to_owned(), json!(about));
    out.insert("default".to_owned(), (field.get)(&StackConfig::tabled()).to_json());
    out
}

const fn followed(live: bool) -> &'static str {
    if live { "A running stack follows a change." } else { "Needs a restart." }
}

fn shape_of(shape: Shape) -> Map<String, Value> {
    let schema = match shape {
        Shape::Whole(limits) => whole(limits),
        Shape::Real(Real { min, max }) => json!({"type": "number", "minimum": min, "maximum": max}),
        Shape::Switch => json!({"type": "boolean"}),
        Shape::Text => json!({"type": "string"}),
        // No path contains a NUL character.
        Shape::Path(true) => json!({"type": "string", "pattern": "^[^\\u0000]*$"}),
        Shape::Path(false) => json!({"type": "string", "pattern": "^[^\\u0000]+$"}),
        Shape::Choice(names, _) => {
            let names: Vec<&str> = names.iter().map(|name| name.name).collect();
            json!({"type": "string", "enum": names})
        }
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn whole(limits: Whole) -> Value {
    let mut out = json!({"type": "integer", "minimum": limits.min});
    if let Value::Object(out) = &mut out {
        if limits.max != MOST {
            out.insert("maximum".to_owned(), json!(limits.max));
        }
        match limits.rule {
            Rule::Any => {}
            Rule::MultipleOf(step) => drop(out.insert("multipleOf".to_owned(), json!(step))),
            Rule::PowerOfTwo => {
                let powers: Vec<u64> = (0..63)
                    .map(|shift| 1 << shift)
                    .filter(|n| (limits.min..=limits.max).contains(n))
                    .collect();
                out.insert("enum".to_owned(), json!(powers));
            }
        }
    }
    out
}

impl super::Scalar<'_> {
    /// As JSON has it; null where JSON has no such value.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Whole(number) => Number::from_i128(*number).map_or(Value::Null, Value::Number),
            Self::Real(number) => json!(number),
            Self::Switch(on) => json!(on),
            Self::Text(text) => json!(text),
            Self::Foreign(_) => Value::Null,
        }
    }
}
