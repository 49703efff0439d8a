//! A table of the file during the check: its keys, their positions and known problems. Keys are
//! checked independently, so that one problem does not hide others.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue, ValueDeserializer};

use super::explain::{explain, is_missing_field};
use super::problem::Problem;
use super::secret_values::{defect, of_url, of_webhook, too_short, trimmed};
use super::shape::{Shape, quoted};
use super::substitute::{SubstitutionFault, expand};
use super::surroundings::{Found, Surroundings};

/// A value in which references were replaced.
struct Replaced {
    span: Range<usize>,
    /// The text as written in the file.
    written: String,
}

pub(crate) struct Table<'i> {
    /// Its path, such as `stages.prose`.
    pub(crate) path: String,
    /// The position of its name.
    pub(crate) header: Range<usize>,
    /// References that could not be resolved; a problem only if the table is used.
    pub(crate) unresolved: Vec<Problem>,
    /// True if references were left unresolved: the settings must not be used.
    pub(crate) left: bool,
    entries: DeTable<'i>,
    /// Values in which references were replaced; they are never shown.
    replaced: Vec<Replaced>,
    /// The inserted values, with the key that contains them.
    references: Vec<(String, String)>,
    found: Found,
    strict: bool,
    /// Keys with a problem; their values must not be used.
    broken: BTreeSet<String>,
    /// The positions of those problems. No second problem is reported there.
    faults: Vec<Range<usize>>,
}

impl<'i> Table<'i> {
    /// Takes ownership of a table and replaces its references.
    pub(crate) fn new(
        path: String,
        header: Range<usize>,
        table: DeTable<'i>,
        around: Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut this = Self {
            path,
            header,
            unresolved: Vec::new(),
            left: false,
            entries: table,
            replaced: Vec::new(),
            references: Vec::new(),
            found: around.found.clone(),
            strict: around.strict,
            broken: BTreeSet::new(),
            faults: Vec::new(),
        };
        let mut table = std::mem::take(&mut this.entries);
        for (key, value) in &mut table {
            let key = key.get_ref().as_ref();
            this.replace(key, key, value, around, problems);
        }
        this.entries = table;
        // A component receives its config and may echo secrets in it.
        this.found.add(this.referred("config"));
        this
    }

    /// The values that were inserted into a key's value.
    fn referred(&self, key: &str) -> Vec<String> {
        self.references.iter().filter(|(of, _)| of == key).map(|(_, value)| value.clone()).collect()
    }

    fn replace(
        &mut self,
        top: &str,
        path: &str,
        value: &mut Spanned<DeValue<'i>>,
        around: Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) => match expand(text, around) {
                Ok(expanded) => {
                    self.found.add(of_url(&expanded.text));
                    self.references.extend(expanded.values.into_iter().map(|value| (top.to_owned(), value)));
                    if expanded.text != *text {
                        let new = DeString::Owned(expanded.text.into_owned());
                        let written = std::mem::replace(text, new).into_owned();
                        self.replaced.push(Replaced { span, written });
                    }
                }
                Err(faults) => {
                    self.broken.insert(top.to_owned());
                    self.faults.push(span.clone());
                    for fault in faults {
                        let path = format!("{}.{path}", self.path);
                        match fault {
                            SubstitutionFault::Malformed { message, hint } => {
                                problems.push(Problem::at(path, span.clone(), message).hint(hint));
                            }
                            SubstitutionFault::Missing { message, hint } => {
                                self.unresolved.push(Problem::at(path, span.clone(), message).hint(hint));
                            }
                            SubstitutionFault::Left => self.left = true,
                        }
                    }
                }
            },
            DeValue::Array(items) => {
                for item in items.iter_mut() {
                    self.replace(top, path, item, around, problems);
                }
            }
            DeValue::Table(table) => {
                for (key, value) in table {
                    let path = format!("{path}.{}", quoted(key.get_ref()));
                    self.replace(top, &path, value, around, problems);
                }
            }
            _ => {}
        }
    }

    /// Removes a key.
    pub(crate) fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'i>>> {
        self.entries.remove(key)
    }

    /// True if the file has this key, even with an invalid value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// True if no problem is known for these keys.
    pub(crate) fn sound(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| !self.broken.contains(*key))
    }

    /// True if a reference was replaced here. Such a value may be a secret and is not shown.
    pub(crate) fn replaced_at(&self, span: &Range<usize>) -> bool {
        self.replaced.iter().any(|one| one.span.start < span.end && span.start < one.span.end)
    }

    /// The text of a value as written, with its references; `None` if it has none.
    pub(crate) fn written_at(&self, span: &Range<usize>) -> Option<&str> {
        self.replaced.iter().find(|one| one.span == *span).map(|one| one.written.as_str())
    }

    /// The position of a key's value, or of the table's name if the key is missing.
    pub(crate) fn span(&self, key: &str) -> Range<usize> {
        self.entries.get(key).map_or_else(|| self.header.clone(), Spanned::span)
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<&DeValue<'i>> {
        self.entries.get(key).map(Spanned::get_ref)
    }

    /// The value and position of a key in an inline table.
    pub(crate) fn inner(&self, key: &str, inner: &str) -> Option<&Spanned<DeValue<'i>>> {
        self.value(key)?.as_table()?.get(inner)
    }

    /// The strings in a list with their positions.
    pub(crate) fn texts(&self, key: &str) -> Vec<(Range<usize>, &str)> {
        let items = self.entries.get(key).and_then(|value| value.get_ref().as_array());
        items
            .into_iter()
            .flat_map(|items| items.iter())
            .filter_map(|item| Some((item.span(), item.get_ref().as_str()?)))
            .collect()
    }

    /// The positions of a list's items.
    pub(crate) fn item_spans(&self, key: &str) -> Vec<Range<usize>> {
        let items = self.entries.get(key).and_then(|value| value.get_ref().as_array());
        items.into_iter().flat_map(|items| items.iter()).map(Spanned::span).collect()
    }

    /// Reports a problem at a key's value, unless the key already has one.
    pub(crate) fn flag(
        &self,
        problems: &mut Vec<Problem>,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.flag_at(problems, key, self.span(key), message, hint);
    }

    /// Reports a problem inside a key's value, unless that position already has one.
    pub(crate) fn flag_at(
        &self,
        problems: &mut Vec<Problem>,
        key: &str,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let reported = self.faults.iter().any(|fault| fault.start < span.end && span.start < fault.end);
        let stand_in = !self.has(key) && !self.sound(&[key]);
        if !reported && !stand_in {
            problems.push(Problem::at(format!("{}.{key}", self.path), span, message).hint(hint));
        }
    }

    /// Reports unknown and missing keys according to the schema, and every value of the wrong type.
    /// Returns the settings with placeholders for invalid values, so that the other values can
    /// still be checked. If problems were reported, the value must not be used for anything else.
    pub(crate) fn read<T: DeserializeOwned>(
        &mut self,
        shape: &Shape,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        self.settle_secrets(shape, problems);
        let mut table = std::mem::take(&mut self.entries);
        let unknown = shape.check_keys(&self.path, &self.header, &mut table, problems);
        self.broken.extend(unknown);
        for (key, value) in &table {
            let name = key.get_ref().as_ref();
            if self.broken.contains(name) {
                continue;
            }
            let mut seen = BTreeSet::new();
            for variant in variants(value) {
                let single = DeTable::from_iter([(key.clone(), variant)]);
                let Err(error) = from_table::<T>(single) else { continue };
                if is_missing_field(&error) {
                    continue;
                }
                let span = error.span().unwrap_or_else(|| value.span());
                self.broken.insert(name.to_owned());
                self.faults.push(span.clone());
                if seen.insert((span.start, span.end)) {
                    let replaced = self.replaced_at(&span);
                    let whole = span == value.span();
                    let path = format!("{}.{name}", self.path);
                    problems.push(explain(&error, path, name, span, replaced, whole));
                }
            }
        }
        let sound = |(key, _): &(&Spanned<DeString<'i>>, _)| !self.broken.contains(key.get_ref().as_ref());
        let mut whole: DeTable<'_> =
            table.iter().filter(sound).map(|(key, value)| (key.clone(), value.clone())).collect();
        for (key, stand_in) in shape.stand_ins() {
            if !whole.contains_key(key.as_str()) {
                self.broken.insert(key.clone());
                whole.insert(Spanned::new(0..0, key.into()), Spanned::new(0..0, stand_in));
            }
        }
        self.entries = table;
        from_table(whole).ok()
    }
}

impl Table<'_> {
    /// Trims the values of secret keys, reports those that no service can accept, and registers all
    /// of them for masking.
    fn settle_secrets(&mut self, shape: &Shape, problems: &mut Vec<Problem>) {
        for key in shape.secret_keys() {
            if self.broken.contains(key) {
                continue; // its value is an unresolved reference
            }
            let Some(value) = self.entries.get_mut(key) else { continue };
            let span = value.span();
            let DeValue::String(text) = value.get_mut() else { continue };
            let value = trimmed(text).to_owned();
            if value != **text {
                *text = DeString::Owned(value.clone());
            }
            self.found.add(self.referred(key));
            self.found.add(if key.ends_with("url") { of_webhook(&value) } else { vec![value.clone()] });
            let short = (self.strict && too_short(&value)).then(|| {
                (
                    "is shorter than 8 characters".to_owned(),
                    "a secret this short can be guessed, and cannot be masked in messages",
                )
            });
            if let Some((message, hint)) = defect(&value).or(short) {
                self.flag_at(problems, key, span.clone(), message, hint);
                self.broken.insert(key.to_owned());
                self.faults.push(span);
            }
        }
    }
}

fn from_table<T: DeserializeOwned>(table: DeTable<'_>) -> Result<T, toml::de::Error> {
    T::deserialize(ValueDeserializer::from(Spanned::new(0..0, DeValue::Table(table))))
}

/// The value reduced to one leaf at a time, so that each error in it is found, and finally the
/// whole value, for errors that no single leaf causes.
fn variants<'i>(value: &Spanned<DeValue<'i>>) -> Vec<Spanned<DeValue<'i>>> {
    let span = value.span();
    let mut out: Vec<_> = match value.get_ref() {
        DeValue::Array(items) if items.len() > 1 => items
            .iter()
            .flat_map(variants)
            .map(|item| {
                let mut array = DeArray::new();
                array.push(item);
                Spanned::new(span.clone(), DeValue::Array(array))
            })
            .collect(),
        DeValue::Table(table) if table.len() > 1 => table
            .iter()
            .flat_map(|(key, value)| variants(value).into_iter().map(move |value| (key.clone(), value)))
            .map(|entry| Spanned::new(span.clone(), DeValue::Table(DeTable::from_iter([entry]))))
            .collect(),
        _ => Vec::new(),
    };
    out.push(value.clone());
    out
}
