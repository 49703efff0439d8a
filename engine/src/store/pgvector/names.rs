//! Names of tables.

/// Maximum length of a name: suffixes follow it, and PostgreSQL cuts names at 63 bytes.
const LONGEST: usize = 40;

/// The tables of a store. `SCHEMA.NAME` holds records, tables whose names begin with it the rest.
#[derive(Debug, Clone)]
pub(super) struct Names {
    schema: Option<String>,
    table: String,
}

/// The partitions of a namespace.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The namespace's number.
    pub(super) number: i32,
    /// Records: id, metadata, text.
    pub(super) records: String,
    /// Vectors, with the number of their file.
    pub(super) vectors: String,
    /// Words, with their counts.
    pub(super) words: String,
}

impl Names {
    /// `None` for a text that is not a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (schema, table) = match text.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, text),
        };
        let good = is_name(table) && schema.is_none_or(is_name);
        good.then(|| Self { schema: schema.map(str::to_owned), table: table.to_owned() })
    }

    pub(super) fn records(&self) -> String {
        self.with("")
    }

    pub(super) fn vectors(&self) -> String {
        self.with("_vectors")
    }

    pub(super) fn words(&self) -> String {
        self.with("_words")
    }

    pub(super) fn files(&self) -> String {
        self.with("_files")
    }

    pub(super) fn frequencies(&self) -> String {
        self.with("_frequencies")
    }

    pub(super) fn namespaces(&self) -> String {
        self.with("_namespaces")
    }

    pub(super) fn info(&self) -> String {
        self.with("_info")
    }

    pub(super) fn rows(&self) -> String {
        self.with("_rows")
    }

    pub(super) fn part(&self, number: i32) -> Part {
        let with = |of: &str| self.with(&format!("{of}_{number}"));
        Part { number, records: with(""), vectors: with("_vectors"), words: with("_words") }
    }

    fn with(&self, suffix: &str) -> String {
        let table = &self.table;
        match &self.schema {
            Some(schema) => format!("\"{schema}\".\"{table}{suffix}\""),
            None => format!("\"{table}{suffix}\""),
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables() {
        let records = |text| Names::parse(text).map(|names| names.part(7).records);
        assert_eq!(records("docs").as_deref(), Some("\"docs_7\""));
        assert_eq!(records("search.docs_2").as_deref(), Some("\"search\".\"docs_2_7\""));
        for bad in ["", "Docs", "a.b.c", ".a", "a.", "1a", "a-b", "a\"b", &"a".repeat(41)] {
            assert!(Names::parse(bad).is_none(), "{bad}");
        }
    }
}
