//! Parameters of statements, with their types.

use chrono::{DateTime, Utc};
use tokio_postgres::types::{ToSql, Type};

/// A parameter of a statement, which knows its type on the server.
pub(crate) trait Arg: ToSql + Sync + Send {
    /// The type.
    fn sql_type(&self) -> Type;
    /// The value.
    fn value(&self) -> &(dyn ToSql + Sync);
}

macro_rules! args {
    ($($rust:ty => $sql:ident, $array:ident;)*) => {$(
        args!(@one $rust, $sql);
        args!(@one Option<$rust>, $sql);
        args!(@one Vec<$rust>, $array);
        args!(@one Option<Vec<$rust>>, $array);
        args!(@one Vec<Option<$rust>>, $array);
    )*};
    (@one $rust:ty, $sql:ident) => {
        impl Arg for $rust {
            fn sql_type(&self) -> Type {
                Type::$sql
            }

            fn value(&self) -> &(dyn ToSql + Sync) {
                self
            }
        }
    };
}

args! {
    bool => BOOL, BOOL_ARRAY;
    i16 => INT2, INT2_ARRAY;
    i32 => INT4, INT4_ARRAY;
    i64 => INT8, INT8_ARRAY;
    f32 => FLOAT4, FLOAT4_ARRAY;
    f64 => FLOAT8, FLOAT8_ARRAY;
    DateTime<Utc> => TIMESTAMPTZ, TIMESTAMPTZ_ARRAY;
    String => TEXT, TEXT_ARRAY;
    &str => TEXT, TEXT_ARRAY;
    Vec<u8> => BYTEA, BYTEA_ARRAY;
    &[u8] => BYTEA, BYTEA_ARRAY;
}
