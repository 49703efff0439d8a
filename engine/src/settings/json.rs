//! Values that are passed on as JSON.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::DeValue;

use super::problem::Problem;
use super::table::Table;

/// Reports what JSON does not have: dates and infinite numbers.
pub(super) fn check_json(table: &Table<'_>, key: &str, problems: &mut Vec<Problem>) {
    if let Some(value) = table.value(key) {
        check_value(value, table, key, problems);
    }
}

fn check_value(value: &DeValue<'_>, table: &Table<'_>, key: &str, problems: &mut Vec<Problem>) {
    let mut bad = |what, hint| table.flag(problems, key, format!("JSON has no {what}"), hint);
    match value {
        DeValue::Datetime(_) => bad("dates", "write the date in quotes"),
        DeValue::Float(number) if !number.as_str().parse::<f64>().is_ok_and(f64::is_finite) => {
            bad("infinite numbers", "write a finite number");
        }
        DeValue::Array(items) => {
            items.iter().for_each(|item| check_value(item.get_ref(), table, key, problems));
        }
        DeValue::Table(entries) => {
            entries.iter().for_each(|(_, value)| check_value(value.get_ref(), table, key, problems));
        }
        _ => {}
    }
}

/// Restores the references in a key's table as written in the file.
pub(super) fn write_back(table: &Table<'_>, key: &str, shown: &mut Map<String, Value>) {
    let Some(DeValue::Table(entries)) = table.value(key) else { return };
    for (key, value) in entries {
        if let Some(shown) = shown.get_mut(key.get_ref().as_ref()) {
            write_value(shown, value, table);
        }
    }
}

fn write_value(shown: &mut Value, value: &Spanned<DeValue<'_>>, table: &Table<'_>) {
    match (shown, value.get_ref()) {
        (Value::Array(shown), DeValue::Array(items)) => {
            shown.iter_mut().zip(items.iter()).for_each(|(shown, item)| write_value(shown, item, table));
        }
        (Value::Object(shown), DeValue::Table(entries)) => {
            for (key, value) in entries {
                if let Some(shown) = shown.get_mut(key.get_ref().as_ref()) {
                    write_value(shown, value, table);
                }
            }
        }
        (shown, _) => {
            if let Some(written) = table.written_at(&value.span()) {
                *shown = written.into();
            }
        }
    }
}
