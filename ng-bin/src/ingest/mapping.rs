//! Which column fills which field: `--map weight=mass`.
//!
//! It knows names only; a source binds it to its own header. It never reads a row.

use super::field::{Field, nearest};

/// One field and the column (or, in NDJSON, the key) that fills it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The field.
    pub field: Field,
    /// A CSV column's name, or a key; dots lead into nested objects.
    pub column: String,
}

/// The bindings of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    bindings: Vec<Binding>,
    chosen: bool,
}

/// Why a mapping can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// There is no `=`, or nothing on one side of it.
    #[error("--map {given}: write field=column, as in --map weight=mass")]
    Malformed {
        /// What was given.
        given: String,
    },
    /// No field has this name.
    #[error("--map {name}=…: no field is called `{name}`{}; the fields are id, domain, entity, weight, \
             timestamp, flags, radius, strength and L1.x to L8.z", meant(.suggestion.as_deref()))]
    UnknownField {
        /// What was given.
        name: String,
        /// The nearest field's name.
        suggestion: Option<String>,
    },
    /// A field is given two columns.
    #[error("{field} is mapped twice, to `{first}` and to `{second}`: keep one")]
    Twice {
        /// The field.
        field: Field,
        /// Its first column.
        first: String,
        /// Its second column.
        second: String,
    },
    /// A domain without an id.
    #[error(
        "domain is mapped without id: the lane chooses the domain of an id that it chooses; map id as well"
    )]
    DomainWithoutId,
    /// The file has no such column.
    #[error("{file} has no column `{column}` (for {field}){}; its columns are {}", meant(.suggestion.as_deref()), columns.join(", "))]
    UnknownColumn {
        /// The source's name.
        file: String,
        /// The field that it was to fill.
        field: Field,
        /// The column that is not there.
        column: String,
        /// The nearest column's name.
        suggestion: Option<String>,
        /// What the header has.
        columns: Vec<String>,
    },
    /// No mapping was given, and no column has a field's name.
    #[error("{file}: no column is named like a field (id, weight, L1.x, …): say what they mean with --map field=column; \
             its columns are {}", columns.join(", "))]
    NothingMapped {
        /// The source's name.
        file: String,
        /// What the header has.
        columns: Vec<String>,
    },
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

impl Default for Mapping {
    /// Each column fills the field that has its name; other columns are ignored.
    fn default() -> Self {
        let bindings = Field::all().map(|field| Binding { field, column: field.name().to_owned() }).collect();
        Self { bindings, chosen: false }
    }
}

impl Mapping {
    /// A mapping from `field=column` arguments; the default one if there are none.
    ///
    /// The first `=` divides, so a column's name may contain others. A column may fill several
    /// fields; columns that are not named are ignored.
    ///
    /// # Errors
    /// [`MappingError`] for the first argument that can't be used.
    pub fn parse<S: AsRef<str>>(given: &[S]) -> Result<Self, MappingError> {
        if given.is_empty() {
            return Ok(Self::default());
        }
        let mut bindings: Vec<Binding> = Vec::with_capacity(given.len());
        for item in given {
            let item = item.as_ref();
            let (name, column) = item
                .split_once('=')
                .map(|(name, column)| (name.trim(), column.trim()))
                .filter(|(name, column)| !name.is_empty() && !column.is_empty())
                .ok_or_else(|| MappingError::Malformed { given: item.to_owned() })?;
            let field = Field::from_name(name).ok_or_else(|| MappingError::UnknownField {
                name: name.to_owned(),
                suggestion: nearest(name, Field::all().map(Field::name)).map(str::to_owned),
            })?;
            if let Some(first) = bindings.iter().find(|binding| binding.field == field) {
                let (first, second) = (first.column.clone(), column.to_owned());
                return Err(MappingError::Twice { field, first, second });
            }
            bindings.push(Binding { field, column: column.to_owned() });
        }
        let has = |field| bindings.iter().any(|binding| binding.field == field);
        if has(Field::Domain) && !has(Field::Id) {
            return Err(MappingError::DomainWithoutId);
        }
        Ok(Self { bindings, chosen: true })
    }

    /// The bindings, in the order given.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// Whether the user chose it; then each of its columns must exist.
    #[must_use]
    pub const fn is_chosen(&self) -> bool {
        self.chosen
    }

    /// The bindings with the place of each one's column in `header`.
    pub(super) fn bind(&self, file: &str, header: &[String]) -> Result<Vec<(Field, usize)>, MappingError> {
        let mut bound = Vec::with_capacity(self.bindings.len());
        for Binding { field, column } in &self.bindings {
            match header.iter().position(|name| name == column) {
                Some(place) => bound.push((*field, place)),
                None if self.chosen => {
                    return Err(MappingError::UnknownColumn {
                        file: file.to_owned(),
                        field: *field,
                        column: column.clone(),
                        suggestion: nearest(column, header.iter().map(String::as_str)).map(str::to_owned),
                        columns: header.to_vec(),
                    });
                }
                None => {}
            }
        }
        if bound.is_empty() {
            return Err(MappingError::NothingMapped { file: file.to_owned(), columns: header.to_vec() });
        }
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(given: &[&str]) -> String {
        Mapping::parse(given).unwrap_err().to_string()
    }

    #[test]
    fn each_unusable_mapping_says_what_to_write() {
        assert_eq!(refused(&["weight"]), "--map weight: write field=column, as in --map weight=mass");
        assert_eq!(refused(&["=x"]), "--map =x: write field=column, as in --map weight=mass");
        assert_eq!(
            refused(&["wieght=m"]),
            "--map wieght=…: no field is called `wieght` (did you mean `weight`?); the fields are id, domain, \
             entity, weight, timestamp, flags, radius, strength and L1.x to L8.z"
        );
        assert_eq!(refused(&["id=a", "id=b"]), "id is mapped twice, to `a` and to `b`: keep one");
        assert_eq!(
            refused(&["domain=d"]),
            "domain is mapped without id: the lane chooses the domain of an id that it chooses; map id as well"
        );
    }

    #[test]
    fn a_column_that_is_not_there_is_named_with_those_that_are() {
        let header = ["mass".to_owned(), "when".to_owned()];
        let error = Mapping::parse(&["weight=mas"]).unwrap().bind("a.csv", &header).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.csv has no column `mas` (for weight) (did you mean `mass`?); its columns are mass, when"
        );
        let error = Mapping::default().bind("a.csv", &header).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.csv: no column is named like a field (id, weight, L1.x, …): say what they mean with \
             --map field=column; its columns are mass, when"
        );
    }

    #[test]
    fn a_columns_name_may_contain_an_equals_sign() {
        let mapping = Mapping::parse(&["L1.X=a=b"]).unwrap();
        assert_eq!(mapping.bindings()[0].column, "a=b");
        assert_eq!(mapping.bindings()[0].field.name(), "L1.x");
    }
}
