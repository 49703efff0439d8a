//! What is known about the tables.

/// The most components of an index of vectors in single precision.
pub(super) const MOST_INDEXED: usize = 2000;

/// What is known about the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tables {
    /// Components per vector.
    pub(super) dimensions: usize,
}

impl Tables {
    /// The expression that an index of the column `v` is built on and that queries order by, and its operator class.
    pub(super) fn indexed(self) -> (String, &'static str) {
        if self.dimensions <= MOST_INDEXED {
            ("v".to_owned(), "vector_cosine_ops")
        } else {
            (format!("(v::halfvec({}))", self.dimensions), "halfvec_cosine_ops")
        }
    }

    /// The distance by which an index orders: of the column `v` to the vector in a placeholder.
    pub(super) fn distance(self, placeholder: &str) -> String {
        if self.dimensions <= MOST_INDEXED {
            format!("(v.v <=> {placeholder}::vector)")
        } else {
            let n = self.dimensions;
            format!("((v.v::halfvec({n})) <=> ({placeholder}::vector::halfvec({n})))")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_vectors_are_indexed_in_half_precision() {
        assert_eq!(Tables { dimensions: 2000 }.indexed().1, "vector_cosine_ops");
        assert_eq!(Tables { dimensions: 2001 }.indexed().0, "(v::halfvec(2001))");
        assert!(Tables { dimensions: 3072 }.distance("$1").contains("halfvec(3072)"));
    }
}
